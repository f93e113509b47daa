"""From IR text to callable machine code, once per process, and once per machine with the disk cache."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from . import cache, support, targets

if TYPE_CHECKING:
    from .llvm import Compiler, Linker

_LENGTH = struct.Struct("<Q")

_lock = threading.RLock()
_addresses: dict[str, int] = {}
_sources: dict[str, str | bytes] = {}  # IR text; compressed until somebody asks, if it came from the disk cache
_idle_compilers: list[Compiler] = []
_counts = {"compiled": 0, "loaded": 0, "reused": 0, "seconds": 0.0}


def compile_kernels(sources: Mapping[str, str]) -> dict[str, int]:
    """The addresses of kernels, given as modules of IR text that each define one function, named as its key.

    A kernel is compiled at most once in a process: asking again is a dictionary look-up. Asking for a known name with other
    IR is a ``ValueError``. Safe to call from several threads.
    """
    if all(name in _addresses for name in sources):
        _counts["reused"] += len(sources)
    else:
        with _lock:
            _make({name: text for name, text in sources.items() if name not in _addresses})
    for name, text in sources.items():
        if text != ir(name):
            raise ValueError(f"kernel {name!r} exists in this process with other IR: a kernel's name must follow from its IR")
    return {name: _addresses[name] for name in sources}


def load_kernels(names: Iterable[str]) -> dict[str, int]:
    """The addresses of those kernels that this process or the disk cache knows by name; compiles nothing, needs no IR.

    For programs that come from the disk cache. It trusts that a name follows from the kernel's IR.
    """
    names = list(names)
    with _lock:
        entries = {name: entry for name in names if name not in _addresses and (entry := _read(name)) is not None}
        _load(entries)
    return {name: _addresses[name] for name in names if name in _addresses}


def ir(name: str) -> str:
    """The IR text of a kernel of this process."""
    text = _sources[name]
    if isinstance(text, bytes):
        text = _sources[name] = zlib.decompress(text).decode()
    return text


def assembly(name: str) -> str:
    """The assembly of a kernel of this process (compiled anew, as only object code is kept)."""
    text = ir(name)
    with _lock, _compiler() as compiler:
        return compiler.assembly(text)


def statistics() -> dict[str, float]:
    """How many kernels were ``compiled``, ``loaded`` from disk, ``reused`` in memory, and the ``seconds`` spent on the first two."""
    return dict(_counts)


class _Entry(NamedTuple):
    """A kernel as the disk cache keeps it."""

    ir: bytes  # compressed
    code: bytes


def _make(sources: Mapping[str, str]) -> None:
    """Load or compile kernels that this process does not have yet. The lock is held."""
    start = time.perf_counter()
    entries, missing = {}, {}
    for name, text in sources.items():
        entry = _read(name)
        if entry is not None and zlib.decompress(entry.ir).decode() == text:
            entries[name] = entry
        else:
            missing[name] = text
    _load(entries)
    if missing:
        entries = dict(zip(missing, _compile_all(missing), strict=True))
        _link(entries)
        for name, entry in entries.items():
            cache.put("kernel", name, _LENGTH.pack(len(entry.ir)) + entry.ir + entry.code)
    _counts["compiled"] += len(missing)
    _sources.update(sources)
    _counts["seconds"] += time.perf_counter() - start


def _compile_all(sources: Mapping[str, str]) -> list[_Entry]:
    """Compile modules, in parallel if there are several; the threads live no longer than this, so that none survives a fork."""
    threads = min(len(sources), targets.available_cores())
    if threads == 1:
        return [_compile(name, text) for name, text in sources.items()]
    with ThreadPoolExecutor(threads, "flambeau-compile") as pool:
        try:
            entries = pool.map(_compile, sources, sources.values())
        except RuntimeError:  # the interpreter is exiting and starts no threads any more
            entries = map(_compile, sources, sources.values())
        return list(entries)


def _compile(name: str, text: str) -> _Entry:
    start = time.perf_counter()
    with _compiler() as compiler:
        try:
            code = compiler.object_code(text)
        except ValueError as error:
            raise ValueError(f"kernel {name!r}: {error}") from None
    milliseconds = (time.perf_counter() - start) * 1e3
    _log(f"compiled {name} in {milliseconds:.1f} ms, as it was in no cache ({len(text)} bytes of IR, {len(code)} of object code)")
    return _Entry(zlib.compress(text.encode(), 1), code)


def _read(name: str) -> _Entry | None:
    content = cache.get("kernel", name)
    if content is None:
        return None
    (length,) = _LENGTH.unpack_from(content)
    return _Entry(content[_LENGTH.size : _LENGTH.size + length], content[_LENGTH.size + length :])


def _load(entries: Mapping[str, _Entry]) -> None:
    """Link what the disk cache had."""
    _link(entries)
    _counts["loaded"] += len(entries)
    for name in entries:
        _log(f"loaded {name} from the disk cache")


def _link(entries: Mapping[str, _Entry]) -> None:
    if entries:
        needed = {helper for name, entry in entries.items() for helper in support.mentioned(entry.code) if helper not in entries}
        imports = compile_kernels({helper: support.SOURCES[helper] for helper in needed})
        addresses = _linker().link({name: entry.code for name, entry in entries.items()}, imports)
        _sources.update((name, entry.ir) for name, entry in entries.items())
        _addresses.update(addresses)  # last: who finds an address finds the source


@contextmanager
def _compiler() -> Iterator[Compiler]:
    """A compiler that no other thread is using; a failed one is usable again, since each module has its own context."""
    from .llvm import Compiler

    try:
        compiler = _idle_compilers.pop()
    except IndexError:
        compiler = Compiler(targets.current())
    try:
        yield compiler
    finally:
        _idle_compilers.append(compiler)


@lru_cache(maxsize=1)
def _linker() -> Linker:
    with _compiler() as compiler:
        return compiler.linker()


def _log(message: str) -> None:
    if "compile" in os.environ.get("FLAMBEAU_LOG", "").split(","):
        print(f"flambeau: {message}", file=sys.stderr)


if hasattr(os, "register_at_fork"):
    # Nobody may be inside LLVM while the process forks: the child would inherit locks that no thread of its own releases.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
