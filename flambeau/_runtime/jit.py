"""From IR text to callable machine code, once per process, and once per machine with the disk cache."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from . import cache, image, support, targets

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
    if not all(name in _addresses for name in sources):
        with Compilation() as compilation:
            for name, text in sources.items():
                compilation.add(name, text)
            compilation.finish()
    else:
        _counts["reused"] += len(sources)
    for name, text in sources.items():
        if text != ir(name):
            raise ValueError(f"kernel {name!r} exists in this process with other IR: a kernel's name must follow from its IR")
    return {name: _addresses[name] for name in sources}


class Compilation:
    """Kernels that are compiled by other threads while more are being asked for.

    The context holds the lock of this module, and its threads end with it, so that none survives a fork.
    """

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}
        self._loaded: dict[str, _Entry] = {}
        self._compiled: dict[str, _Entry] = {}
        self._errors: list[Exception] = []
        self._tasks: SimpleQueue[tuple[str, str] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Compilation:
        _lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with suppress(Empty):
                while True:
                    self._tasks.get_nowait()  # what was given up
            self._complete()
        finally:
            _lock.release()

    def add(self, name: str, text: str) -> None:
        """Ask for a kernel; a name that the process or this object knows is not asked for again."""
        if name in _addresses or name in self._sources:
            return
        self._sources[name] = text
        entry = _read(name)
        if entry is not None and zlib.decompress(entry.ir).decode() == text:
            self._loaded[name] = entry
            return
        self._tasks.put((name, text))
        if len(self._threads) < targets.available_cores():
            thread = threading.Thread(target=self._work, name="flambeau-compile", daemon=True)
            with suppress(RuntimeError):  # the interpreter is exiting and starts no threads any more
                thread.start()
                self._threads.append(thread)

    def finish(self) -> None:
        """Wait until all kernels are compiled, and link them: their addresses are known from now on.

        Raises:
            ValueError: LLVM finds something wrong with a kernel's IR.
        """
        start = time.perf_counter()
        self._complete()
        if self._errors:
            raise self._errors[0]
        _load(self._loaded)
        _link(self._compiled)
        for name, entry in self._compiled.items():
            cache.put("kernel", name, _LENGTH.pack(len(entry.ir)) + entry.ir + entry.code)
        _counts["compiled"] += len(self._compiled)
        _sources.update(self._sources)
        _counts["seconds"] += time.perf_counter() - start

    def _work(self) -> None:
        """Compile what was asked for until there is nothing more to come."""
        while (task := self._tasks.get()) is not None:
            name, text = task
            try:
                self._compiled[name] = _compile(name, text)
            except Exception as error:  # for finish() to raise
                self._errors.append(error)

    def _complete(self) -> None:
        """Help with what is left, and let the threads end."""
        for _ in range(len(self._threads) + 1):
            self._tasks.put(None)
        self._work()
        while self._threads:
            self._threads.pop().join()


def load_kernels(names: Iterable[str]) -> dict[str, int]:
    """The addresses of those kernels that this process or the disk cache knows by name; compiles nothing, needs no IR.

    For programs that come from the disk cache. It trusts that a name follows from the kernel's IR.
    """
    names = list(names)
    start = time.perf_counter()
    with _lock:
        entries = {name: entry for name in names if name not in _addresses and (entry := _read(name)) is not None}
        _load(entries)
        _counts["seconds"] += time.perf_counter() - start
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
    code: bytes  # an image, or an object file if no image can be made of it


def _compile(name: str, text: str) -> _Entry:
    start = time.perf_counter()
    with _compiler() as compiler:
        try:
            code = compiler.object_code(text)
        except ValueError as error:
            raise ValueError(f"kernel {name!r}: {error}") from None
    milliseconds = (time.perf_counter() - start) * 1e3
    _log(f"compiled {name} in {milliseconds:.1f} ms, as it was in no cache ({len(text)} bytes of IR, {len(code)} of object code)")
    return _Entry(zlib.compress(text.encode(), 1), image.flatten(code, name) or code)


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
    """Give kernels their addresses."""
    images = {name: entry.code for name, entry in entries.items() if image.is_image(entry.code)}
    objects = {name: entry.code for name, entry in entries.items() if name not in images}
    addresses = {}
    if images:
        called = {symbol for code in images.values() for symbol in image.imports(code)}
        addresses.update(image.load(images, _helpers(called.intersection(support.SOURCES))))
    if objects:
        called = {symbol for code in objects.values() for symbol in support.mentioned(code)}
        addresses.update(_linker().link(objects, _helpers(called.difference(objects))))
    _sources.update((name, entry.ir) for name, entry in entries.items())
    _addresses.update(addresses)  # last: who finds an address finds the source


def _helpers(names: Iterable[str]) -> dict[str, int]:
    return compile_kernels({name: support.SOURCES[name] for name in names})


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
