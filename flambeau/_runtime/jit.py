"""From IR text to callable machine code, once per process, and once per machine with the disk cache."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import lru_cache
from queue import Empty, PriorityQueue
from typing import TYPE_CHECKING, NamedTuple

from flambeau._runtime import cache, image, parts, support, targets

if TYPE_CHECKING:
    from flambeau._runtime.llvm import Compiler, Linker

_LENGTHS = struct.Struct("<QQ")
_SWITCH_SECONDS = 5e-4
"""How long a thread that has compiled something waits until the one that plans lets it have Python's lock (5 ms otherwise, in which it could compile
half a kernel, and it waits for the lock four times a kernel)."""

_TOGETHER = 60_000
"""So many characters of IR are worth a module of LLVM's, in which each function costs 0.3 ms, and 1.9 if it is alone: some 1,200 lines, or 40 ms."""

_lock = threading.RLock()
_addresses: dict[str, int] = {}
_sources: dict[str, bytes] = {}  # IR text, compressed: somebody may ask for it
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


_LATER = 0
"""The first number of a task that another process is at: it comes after all others, whose first numbers are negative."""
_LAST = (1, 0, None)
"""What comes after all tasks. It stays in the queue: how many threads there are does not matter."""
_GLANCE_SECONDS = 2e-3
"""Between two looks at what another process is compiling, if there is nothing else to do."""


class Compilation:
    """Kernels that are compiled by other threads while more are being asked for.

    The context holds the lock of this module, and its threads end with it, so that none survives a fork.
    """

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._loaded: dict[str, _Entry] = {}
        self._compiled: dict[str, _Entry] = {}
        self._errors: list[Exception] = []
        self._tasks: PriorityQueue[tuple[int, int, _Task | None]] = PriorityQueue()
        """The longest first, so that no core is left with a long one."""
        self._threads: list[threading.Thread] = []
        self._quick = ExitStack()

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
            self._quick.close()
            _lock.release()

    def add(self, name: str, text: str) -> None:
        """Ask for a kernel; a name that the process or this object knows is not asked for again."""
        if name in _addresses or name in self._asked:
            return
        self._asked.add(name)
        if self._load(name, text):
            return
        rest, apart = parts.split(text)
        for part, source in apart.items():
            self.add(part, source)
        if not self._threads:
            self._hurry()
        self._tasks.put((-len(rest), len(self._asked), _Task(name, text, rest, tuple(apart))))
        if len(self._threads) < targets.available_cores():
            thread = threading.Thread(target=self._work, name="flambeau-compile", daemon=True)
            with suppress(RuntimeError):  # the interpreter is exiting and starts no threads any more
                thread.start()
                self._threads.append(thread)

    def _load(self, name: str, text: str) -> bool:
        """Take a kernel from the disk cache, if it is there."""
        found = _find(name, self._asked)
        if found is None or zlib.decompress(found[name].ir).decode() != text:
            return False
        self._loaded.update(found)
        self._asked.update(found)
        return True

    def finish(self) -> None:
        """Wait until all kernels are compiled, and link them: their addresses are known from now on.

        Raises:
            ValueError: LLVM finds something wrong with a kernel's IR.
        """
        start = time.perf_counter()
        self._complete()
        if self._errors:
            raise self._errors[0]
        _link(self._loaded | self._compiled)
        _count(loaded=self._loaded, compiled=self._compiled)
        _counts["seconds"] += time.perf_counter() - start

    def _hurry(self) -> None:
        """See to it that compiling is quick, until the context ends."""
        self._quick.enter_context(_quick())
        self._quick.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_SECONDS)

    def _work(self) -> None:
        """Compile what was asked for until there is nothing more to come."""
        while tasks := self._take():
            own = [task for task in tasks if self._is_ours(task)]
            try:
                compiled = _compile(own) if own else {}
                self._compiled.update(compiled)
                for name, entry in compiled.items():
                    _write(name, entry)  # 0.4 ms each, which would be all that is left to wait for in the end
            except Exception as error:  # for finish() to raise
                self._errors.append(error)
            finally:
                for task in own:
                    cache.disclaim("kernel", task.name)

    def _is_ours(self, task: _Task) -> bool:
        """Whether to compile a kernel now: not one that another process is compiling, which comes later, or has compiled meanwhile."""
        if not cache.claim("kernel", task.name):
            self._tasks.put((_LATER, time.monotonic_ns(), task))  # behind the others that wait
            return False
        if self._load(task.name, task.text):
            cache.disclaim("kernel", task.name)
            return False
        return True

    def _take(self) -> list[_Task]:
        """Wait for a kernel; and more, if they are short, enough are left for the others, and none calls another. None if there is nothing more to come."""
        length, _, task = self._tasks.get()
        if length == _LATER:
            time.sleep(_GLANCE_SECONDS)
        if task is None:
            self._tasks.put(_LAST)  # for the others
            return []
        with self._tasks.mutex:
            left = len(task.rest) - sum(length for length, *_ in self._tasks.queue if length < 0)
        tasks, called = [task], set(task.parts)
        room = min(_TOGETHER, left // (2 * targets.available_cores() or 1)) - len(task.rest)
        while room > 0 and image.is_understood(targets.current().triple):
            try:
                entry = self._tasks.get_nowait()
            except Empty:
                break
            *_, task = entry
            if task is None or task.name in called or any(each.name in task.parts for each in tasks):
                self._tasks.put(entry)
                break
            tasks.append(task)
            called.update(task.parts)
            room -= len(task.rest)
        return tasks

    def _complete(self) -> None:
        """Help with what is left, and let the threads end."""
        self._tasks.put(_LAST)
        self._work()
        while self._threads:
            self._threads[-1].join()
            self._threads.pop()


def load_kernels(names: Iterable[str]) -> dict[str, int]:
    """The addresses of those kernels that this process or the disk cache knows by name; compiles nothing, needs no IR.

    For programs that come from the disk cache. It trusts that a name follows from the kernel's IR.
    """
    names = list(names)
    start = time.perf_counter()
    with _lock:
        entries: dict[str, _Entry] = {}
        for name in names:
            if name not in _addresses and name not in entries:
                entries |= _find(name, entries) or {}
        _link(entries)
        _count(loaded=entries, compiled=())
        _counts["seconds"] += time.perf_counter() - start
    return {name: _addresses[name] for name in names if name in _addresses}


def ir(name: str) -> str:
    """The IR text of a kernel of this process."""
    return zlib.decompress(_sources[name]).decode()


def assembly(name: str) -> str:
    """The assembly of a kernel of this process (compiled anew, as only object code is kept)."""
    text = ir(name)
    with _lock, _quick(), _compiler() as compiler:
        return compiler.assembly(text)


def statistics() -> dict[str, float]:
    """How many kernels were ``compiled``, ``loaded`` from disk, ``reused`` in memory, and the ``seconds`` spent on the first two.

    Parts, which kernels share, are not counted.
    """
    return dict(_counts)


class _Task(NamedTuple):
    """A kernel to be compiled: its text, and what is left of that without its parts."""

    name: str
    text: str
    rest: str
    parts: tuple[str, ...]


class _Entry(NamedTuple):
    """A kernel as the disk cache keeps it."""

    ir: bytes  # compressed
    parts: tuple[str, ...]  # the names of the functions that were compiled apart
    code: bytes  # an image, or an object file if no image can be made of it


def _compile(tasks: Sequence[_Task]) -> dict[str, _Entry]:
    """Compile kernels, all at once if no error is among them, and images can be made of them."""
    start = time.perf_counter()
    with _compiler() as compiler:
        try:
            code = compiler.object_code(*[task.rest for task in tasks])
        except ValueError as error:
            if len(tasks) == 1:
                raise ValueError(f"kernel {tasks[0].name!r}: {error}") from None
            return _compile(tasks[:1]) | _compile(tasks[1:])
    images = [image.flatten(code, task.name) for task in tasks]
    if len(tasks) > 1 and None in images:
        return _compile(tasks[:1]) | _compile(tasks[1:])
    per_character = (time.perf_counter() - start) / sum(len(task.rest) for task in tasks)
    entries = {}
    for task, made in zip(tasks, images, strict=True):
        entries[task.name] = entry = _Entry(zlib.compress(task.text.encode(), 1), task.parts, made or code)
        sizes = f"{len(task.rest)} bytes of IR, {len(entry.code)} of object code"
        _log(f"compiled {task.name} in {len(task.rest) * per_character * 1e3:.1f} ms, as it was in no cache ({sizes})")
    return entries


def _find(name: str, known: Container[str]) -> dict[str, _Entry] | None:
    """What the disk cache has of a kernel and of those of its parts that are neither in memory nor ``known``; ``None`` unless all."""
    entry = _read(name)
    if entry is None:
        return None
    found = {name: entry}
    for part in entry.parts:
        if part not in _addresses and part not in known:
            if (content := _read(part)) is None:
                return None
            found[part] = content
    return found


def _read(name: str) -> _Entry | None:
    content = cache.get("kernel", name)
    if content is None:
        return None
    lengths = _LENGTHS.unpack_from(content)
    middle, end = _LENGTHS.size + lengths[0], _LENGTHS.size + sum(lengths)
    return _Entry(content[_LENGTHS.size : middle], tuple(content[middle:end].decode().split()), content[end:])


def _write(name: str, entry: _Entry) -> None:
    names = " ".join(entry.parts).encode()
    cache.put("kernel", name, _LENGTHS.pack(len(entry.ir), len(names)) + entry.ir + names + entry.code)


def _count(loaded: Iterable[str], compiled: Iterable[str]) -> None:
    for name in loaded:
        _log(f"loaded {name} from the disk cache")
        _counts["loaded"] += not parts.is_part(name)
    _counts["compiled"] += sum(not parts.is_part(name) for name in compiled)


def _link(entries: Mapping[str, _Entry]) -> None:
    """Give kernels their addresses, those first that others call."""
    for calling in (False, True):
        _link_round({name: entry for name, entry in entries.items() if bool(entry.parts) is calling})


def _link_round(entries: Mapping[str, _Entry]) -> None:
    images = {name: entry.code for name, entry in entries.items() if image.is_image(entry.code)}
    objects = {name: entry.code for name, entry in entries.items() if name not in images}
    shared = {part: _addresses[part] for entry in entries.values() for part in entry.parts}
    addresses = {}
    if images:
        called = {symbol for code in images.values() for symbol in image.imports(code)}
        addresses.update(image.load(images, shared | _helpers(called.intersection(support.SOURCES))))
    if objects:
        called = {symbol for code in objects.values() for symbol in support.mentioned(code)}
        addresses.update(_linker().link(objects, shared | _helpers(called.difference(objects))))
    _sources.update((name, entry.ir) for name, entry in entries.items())
    _addresses.update(addresses)  # last: who finds an address finds the source


def _helpers(names: Iterable[str]) -> dict[str, int]:
    return compile_kernels({name: support.SOURCES[name] for name in names})


@contextmanager
def _compiler() -> Iterator[Compiler]:
    """A compiler that no other thread is using; a failed one is usable again, since each module has its own context."""
    from flambeau._runtime.llvm import Compiler

    try:
        compiler = _idle_compilers.pop()
    except IndexError:
        compiler = Compiler(targets.current())
    try:
        yield compiler
    finally:
        _idle_compilers.append(compiler)


def _quick() -> AbstractContextManager[None]:
    from flambeau._runtime.llvm import quick

    return quick()


@lru_cache(maxsize=1)
def _linker() -> Linker:
    from flambeau._runtime.llvm import Linker

    return Linker(targets.current())


def _log(message: str) -> None:
    if "compile" in os.environ.get("FLAMBEAU_LOG", "").split(","):
        print(f"flambeau: {message}", file=sys.stderr)


if hasattr(os, "register_at_fork"):
    # Nobody may be inside LLVM while the process forks: the child would inherit locks that no thread of its own releases.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
