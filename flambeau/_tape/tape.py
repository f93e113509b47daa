"""The tape: what has been called but not computed.

A tape is a cursor in a trie (``trie.py``).  In the steady state recording is a dictionary look-up: the child already knows the layouts of the
results.

Slots number the values of a tape in the order in which they appear: a storage that the tape has not seen becomes an input
and takes the next slot, and so do the results of each record.  Equal keys therefore mean equal programs.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from sys import getrefcount
from threading import get_ident
from typing import TYPE_CHECKING, Any

from flambeau._compiler.prepacking import expected
from flambeau._tape.cuts import CUTS, LONG
from flambeau._tape.native import WARM
from flambeau._tape.storage import INFERENCE, Storage, TensorBase, set_flush_readers
from flambeau._tape.trie import TRIE, TrieNode
from flambeau._types.dtype import FLOAT
from flambeau._types.errors import TensorAsNumberError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._runtime.allocator import Buffer

MAX_SLOTS = -1 if os.environ.get("FLAMBEAU_EAGER", "0") not in ("", "0") else 8192
"""A tape is flushed when it has more values than this, so that a loop that nobody looks at stays bounded; with ``FLAMBEAU_EAGER=1``
after every record, for debuggers."""

SNAPSHOT_BYTES = 1 << 20
"""A foreign storage up to this size is copied when it is read; a larger one makes the tape flush at once."""


Compile = Callable[[list[TrieNode], tuple], Any]
_compile: Compile | None = None


def set_compiler(compile: Compile) -> None:
    """Set the function that makes a program of the records on a path and what is alive after them."""
    global _compile
    _compile = compile


def _own_references() -> int:
    """What ``getrefcount`` gives in ``Tape.alive`` for a storage that only the tape holds; versions of Python differ."""
    values = [Storage(None, 0)]
    for _, storage in enumerate(values):
        return getrefcount(storage)
    raise AssertionError


_OWN_REFERENCES = _own_references()

_lock = threading.RLock()
"""Held while a tape is flushed or a storage changes its value; while something is recorded only if there are several threads."""

_share: Callable[[], None] | None = None


def set_share(share: Callable[[], None]) -> None:
    """Set the function that makes recording hold ``recording_lock()`` from now on; it is called once, by the second thread."""
    global _share
    _share = share


_native: Any = None
_quick: Callable[[Tape], bool] = lambda tape: False
"""Flushes a tape in native code (``native/``) if that is nothing out of the ordinary, and says whether it did."""
_warmth = 0.0
_go_native: Callable[[], Any] | None = None


def set_native(load: Callable[[], Any]) -> None:
    """Set the function that loads the native code when a process has flushed often enough to profit."""
    global _go_native
    _go_native = load


def warm(worth: float = 1.0) -> None:
    """Count a flush, or what takes as much of the time of one in Python; the native code is loaded when there have been ``WARM``, if there is one
    thread only."""
    global _warmth, _go_native, _native, _quick
    _warmth += worth
    if _warmth >= WARM and _share is not None and _go_native is not None and MAX_SLOTS >= 0:
        load, _go_native = _go_native, None
        _native = load()
        if _native is not None:
            _quick = _native.flush
            _native.set("thread", get_ident())
            _native.set("inference", _has_inferred)
            _follow(LOCAL.tape)


def _follow(tape: Tape) -> None:
    """Let native code record on this tape, if it is of the plain kind."""
    _native.hold("lock", _lock.acquire)
    _native.hold("unlock", _lock.release)
    _native.set("tape", id(tape) if type(tape) is Tape else 0)


_has_inferred = False
"""Whether some thread has been in inference mode: if none has, native code need not look whether tensors are of that."""


def set_inference(tape: Tape, mode: bool) -> None:
    """Let what is made from now on be of inference mode, or ordinary."""
    global _has_inferred
    tape.fresh = INFERENCE if mode else 0
    if mode and not _has_inferred:
        _has_inferred = True
        if _native is not None:
            _native.set("inference", True)


def recording_lock() -> threading.RLock:
    """The lock of all tapes."""
    return _lock


def _guard_recording() -> None:
    """Make recording safe, since this thread may touch what another one records."""
    global _share
    with _lock:
        share, _share = _share, None
        if _native is not None:
            _native.set("tape", 0)
    if share is not None:
        share()


class Tape:
    """What one thread has recorded since its last flush.

    Another thread that needs a value flushes the tape that the value is pending on. One lock guards all tapes; recording takes
    it only once a second thread has appeared, so that programs of one thread never pay for it.

    Attributes:
        cursor: the trie node of the last record
        flushed: the cursor before the last flush
        values: the storage of each slot; ``None`` if a newer slot has the storage's bytes, or for a snapshot
        inputs: the memory of each slot that is an input
        entered: if somebody wants to know them, the storages that became inputs, in order
        numbers: the run-time scalars recorded
        replaced: for a slot that is a storage's new value: the slot of the value before
        limit: the tape is flushed after a record that leaves more slots than this
        grad: whether operators build the autograd graph in this thread
        fresh: the version that new storages have: 0, or `INFERENCE` if the thread is in inference mode
        passing: whether a backward pass is recorded just now
        thread: the thread that records
    """

    batched = False
    """Whether calls on this tape are not recorded here: they stand for calls of all samples (``_ops/batching/``), or somebody is asked about each."""
    dispatches = False
    """Whether somebody is asked about each call (``_dispatch/``)."""

    __slots__ = (
        "__weakref__", "cursor", "entered", "flushed", "flushing", "fresh", "grad", "inputs", "limit", "numbers", "passing", "replaced", "thread",
        "values",
    )  # fmt: skip

    def __init__(self) -> None:
        self.grad = True
        self.fresh = 0
        self.thread = get_ident()
        self.flushing = self.passing = False
        self.entered: list[Storage] | None = None
        self.cursor = TRIE.root
        self._reset()

    @property
    def root(self) -> Tape:
        """The tape that records what is called here: this one."""
        return self

    @property
    def latest(self) -> TrieNode:
        """The record of the last call, also if it made the tape flush."""
        return self.cursor if self.cursor.parent is not None else self.flushed

    def _reset(self) -> None:
        self.flushed = self.cursor
        self.cursor = TRIE.root
        self.values: list[Storage | None] = []
        self.inputs: dict[int, Buffer] = {}
        self.numbers: list[Any] = []
        self.replaced: dict[int, int] = {}
        self.limit = MAX_SLOTS

    # -- recording -------------------------------------------------------------------------------------------------

    def enter(self, storage: Storage) -> int:
        """The slot of a storage that this tape does not know yet: it becomes an input."""
        if storage.tape is not None:
            storage.materialize()  # pending in another thread
        if storage.error is not None:
            raise storage.error
        buffer = storage.buffer
        assert buffer is not None
        slot = len(self.values)
        if not storage.exported or not storage.is_seen:
            self.values.append(storage)
            self.inputs[slot] = buffer
            storage.tape = self
            storage.slot = slot
        elif storage.nbytes <= SNAPSHOT_BYTES:
            self.values.append(None)
            self.inputs[slot] = buffer.copy()
        else:
            self.values.append(None)
            self.inputs[slot] = buffer
            self.limit = -1
        if self.entered is not None:
            self.entered.append(storage)
        return slot

    def extend(self, key: tuple, op: Any, statics: tuple, operands: tuple, origin: tuple[str, int] | None) -> TrieNode:
        """Make the trie node of a record that was not seen here before.

        Raises:
            TensorAsNumberError: a static attribute is a tensor, whose bytes would have to be looked at while the program is made.
            Exception: what the operator's shape rule raises.
        """
        if _holds_tensor(statics):
            raise TensorAsNumberError(
                f"{op.name}(): a size, or another number that programs are compiled for, is a tensor: pass its item()"
            )
        layouts = op.infer(tuple(operand[1] for operand in operands), statics)
        node = TrieNode()
        node.op, node.statics, node.operands, node.origin = op, statics, operands, origin
        node.layouts = layouts if type(layouts) is tuple else (layouts,)
        node.single = node.layouts[0] if len(node.layouts) == 1 else None
        node.sizes = tuple([layout.numel * layout.dtype.itemsize for layout in node.layouts])
        node.nbytes = node.sizes[0]
        node.differentiable = op.differentiable and any(layout.dtype.category >= FLOAT for layout in node.layouts)
        node.wanted = -1
        node.passed = self.passing
        node.used = TRIE.generation
        node.parent = self.cursor
        node.depth = self.cursor.depth + 1
        node.first = len(self.values)
        node.slots = node.first + len(node.layouts)
        node.scalars = len(self.numbers)
        self.cursor[key] = node
        TRIE.size += 1
        if CUTS.single:
            CUTS.place(node)
        return node

    def follow(
        self, end: TrieNode, entries: Iterable[tuple[int, Storage]], kept: Iterable[tuple[int, int]], numbers: Sequence
    ) -> list[Storage]:
        """Record at once what others have recorded before on the way from the cursor to ``end``.

        Args:
            entries: the inputs that the records on the way bring, each with its slot, in order
            kept: the slots of results that somebody will hold, each with its size; no other result can be reached
            numbers: the run-time scalars

        Returns:
            The storages of the results that are kept.
        """
        values = self.values
        found = []
        try:
            for slot, storage in entries:
                values += [None] * (slot - len(values))
                self.enter(storage)
            values += [None] * (end.slots - len(values))
            self.numbers += numbers
            for slot, nbytes in kept:
                values[slot] = storage = Storage(None, nbytes, self, slot)
                found.append(storage)
            self.cursor = end  # last: up to here all of it can be undone
        except BaseException:
            self.undo()
            raise
        return found

    def undo(self) -> None:
        """Forget what a call that failed has entered since the last record."""
        known = self.cursor.slots
        for slot in range(known, len(self.values)):
            storage = self.values[slot]
            if storage is not None and storage.tape is self:
                storage.tape = None
            self.inputs.pop(slot, None)
        del self.values[known:]
        del self.numbers[self.cursor.scalars :]

    # -- flushing --------------------------------------------------------------------------------------------------

    def alive(self) -> tuple[tuple[int, int], ...]:
        """The slots whose bytes somebody can still reach, each with the input slot that it may overwrite (or -1)."""
        replaced = self.replaced
        inputs = self.inputs
        found = []
        for slot, storage in enumerate(self.values):
            if storage is not None and getrefcount(storage) > _OWN_REFERENCES and slot not in inputs:
                old = replaced.get(slot, -1)
                while old in replaced and old not in inputs:
                    old = replaced[old]
                # The old bytes are seen by others, or the tape of another thread has them as an input (a fourth reference).
                if old >= 0 and (old not in inputs or storage.exported or getrefcount(inputs[old]) > 3):
                    old = -1
                found.append((slot, old))
        return tuple(found)

    def unread(self) -> list[Storage]:
        """The results of operands that no record reads, also those that nobody can reach: to hold them lets a flush compute them."""
        path = self.cursor.path()
        read = {slot for record in path for slot, layout in record.operands if not isinstance(layout, type)}
        slots = [range(record.first, record.slots) for record in path if record.operands]
        return [self.values[slot] for results in slots if read.isdisjoint(results) for slot in results if self.values[slot] is not None]

    def flush(self) -> None:
        """Compute every value that is alive, and start anew.

        Raises:
            Exception: what an operator found wrong with its data; all values that do not depend on it are computed.
        """
        if _quick(self):
            return
        if self.thread != get_ident():
            _guard_recording()
        with _lock:
            cursor = self.cursor
            if cursor.parent is None or self.flushing:
                return
            alive = self.alive()
            cursor.used = TRIE.generation
            self.flushing = True
            values, run = self.values, None
            try:
                program = cursor.programs.get(alive)
                recurs = program is not None
                if recurs:
                    CUTS.recurred(cursor)
                else:
                    program = self._find_program(cursor, alive)
                run = program.start(self.inputs, self.numbers, values)
                program.execute(run)
                self._commit(zip(program.results, run.results))
            except BaseException as error:
                if self.values is not values:
                    raise  # interrupted when all was done
                results = dict(zip(program.results, run.results, strict=True)) if run is not None and run.finished else {}
                if isinstance(error, Exception):
                    self._salvage(alive, error, results)
                    self._blame(error, results)
                elif not results:
                    raise  # interrupted before anything was overwritten: everything stays pending
                self._commit(results.items())
                raise
            else:
                run.release()
                if _native is None:
                    warm()
                elif recurs or cursor.depth < LONG:  # or nobody would see that a long one comes again
                    _keep_launch(cursor, alive, program)
            finally:
                self.flushing = False

    def _salvage(self, alive: tuple[tuple[int, int], ...], error: BaseException, results: dict[int, Buffer]) -> None:
        """After a failure, compute what does not depend on the records that fail.

        A storage that such a record was to overwrite keeps the bytes that it had before.
        """
        path = self.cursor.path()
        lost: set[int] = set()
        while True:
            failed = getattr(error, "record", None)
            if failed is None:  # no fault of the data
                return
            kept = []
            for record in path:
                if record is failed or any(slot in lost for slot, layout in record.operands if not isinstance(layout, type)):
                    lost.update(range(record.first, record.slots))
                else:
                    kept.append(record)
            path = kept
            source: dict[int, int] = {}  # where the bytes of a storage that is alive come from
            for slot, _ in alive:
                origin: int | None = slot
                while origin in lost:
                    origin = self.replaced.get(origin)
                if origin is not None and origin not in self.inputs:
                    source[slot] = origin
            try:
                assert _compile is not None
                program = _compile(path, tuple((origin, -1) for origin in sorted(set(source.values()))))
                run = program.start(self.inputs, self.numbers)
                run.execute()
            except Exception as again:
                error = again
                continue
            found = dict(zip(program.results, run.results, strict=True))
            results.update((slot, found[origin]) for slot, origin in source.items())
            return

    def _find_program(self, cursor: TrieNode, alive: tuple) -> Any:
        """A program that computes at least what is alive: one made before, or a new one."""
        wanted = set(alive)
        program = next((each for known, each in cursor.programs.items() if wanted.issubset(known)), None)
        if program is None:
            assert _compile is not None
            program = _compile(cursor.path(), alive, self._weights())
            TRIE.programs += 1
            CUTS.made(cursor)
        cursor.programs[alive] = program
        return program

    def _weights(self) -> tuple[int, ...]:
        """The inputs that are likely to be the same in the next run: weights, unless they are trained."""
        found = {slot: self.values[slot] for slot in self.inputs if getattr(self.values[slot], "weight", False)}
        return expected(found) if found and not (self.grad and self.cursor.trains) else ()

    def _blame(self, error: Exception, results: dict[int, Buffer]) -> None:
        """Let those who read what is not among the results have the error."""
        for slot, storage in enumerate(self.values):
            if storage is not None and storage.tape is self:
                if storage.buffer is None and slot not in results:
                    storage.error = error
                storage.tape = None

    def _commit(self, results: Iterable[tuple[int, Buffer]]) -> None:
        """Give every storage that is alive its bytes, and clear the tape."""
        values = self.values
        for slot in self.inputs:
            storage = values[slot]
            if storage is not None and storage.tape is self:  # it may have become one of another thread's tape
                storage.tape = None
        for slot, buffer in results:
            storage = values[slot]
            if storage is None:  # the program computes more than is wanted
                continue
            storage.tape = None
            if storage.exported and storage.buffer is not None:
                storage.buffer.copy_from(buffer)
            else:
                storage.buffer = buffer
        self._reset()
        if TRIE.size > TRIE.turn:
            TRIE.age()


def _holds_tensor(static: Any) -> bool:
    if isinstance(static, Layout):
        static = static.shape
    return any(map(_holds_tensor, static)) if isinstance(static, tuple) else isinstance(static, TensorBase)


def _keep_launch(cursor: TrieNode, alive: tuple[tuple[int, int], ...], program: Any) -> None:
    """Let native code run a program the next time."""
    launch = program.launch()
    if launch is not None:
        if cursor.launches is None:
            cursor.launches = {}
        cursor.launches[b"".join([_PAIR.pack(*pair) for pair in alive])] = launch


_PAIR = Struct("=2q")

_tapes: weakref.WeakSet[Tape] = weakref.WeakSet()
"""The tapes of all threads."""


class _Local(threading.local):
    """``LOCAL.tape`` is the tape of the current thread."""

    def __init__(self) -> None:
        self.tape = Tape()
        with _lock:
            _tapes.add(self.tape)
        if "LOCAL" in globals():
            _guard_recording()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if _native is not None and _share is not None and value.thread == get_ident():
            _follow(value)


LOCAL = _Local()


def switch(tape: Tape) -> None:
    """Let this thread go on with another tape of its own: what ``LOCAL.tape = tape`` does, in a tenth of the time."""
    LOCAL.__dict__["tape"] = tape
    if _native is not None and _share is not None:
        _native.words[_native.tape_word] = id(tape) if type(tape) is Tape else 0


def _after_fork_in_child() -> None:
    """A forked process starts with a clean tape; what was pending is computed on the old one if somebody asks for it."""
    global _lock
    _lock = threading.RLock()  # a thread that is not here may hold the old one
    old = LOCAL.tape
    LOCAL.tape = tape = Tape()
    tape.grad, tape.fresh = old.grad, old.fresh
    _tapes.clear()
    _tapes.add(tape)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def flush() -> None:
    """Compute what this thread has recorded."""
    LOCAL.tape.flush()


def settle() -> None:
    """Compute what this thread has recorded, also what the program has called and dropped: for those who ask how long that takes."""
    tape = LOCAL.tape.root
    unread = tape.unread()
    tape.flush()
    del unread


def flush_readers(storage: Storage) -> None:
    """Compute all records that read or make the bytes of ``storage``, in every thread."""
    own = LOCAL.tape.root
    if _share is not None and storage.tape is None and own.cursor.parent is None:
        return  # one thread, and nothing recorded: 0.2 µs, not 0.6
    with _lock:
        for tape in [own] if _share is not None else list(_tapes):  # there has been one thread only: a set takes 1.5 µs
            if tape is storage.tape or storage.buffer in tape.inputs.values():
                tape.flush()
        if storage.tape is not None:  # made by a tape whose thread has ended
            storage.tape.flush()


set_flush_readers(flush_readers)


def boundary() -> None:
    """A natural place to compute what has been recorded, such as the end of an optimizer's step."""
    LOCAL.tape.flush()


def adopt(storage: Storage, value: Storage) -> None:
    """Make the pending bytes of ``value``, which nobody else holds, the new bytes of ``storage`` (a write of all of it), which becomes as large."""
    with _lock:
        _adopt(storage, value)


def _adopt(storage: Storage, value: Storage) -> None:
    tape = value.tape
    fits = value.nbytes <= storage.nbytes
    storage.nbytes = max(storage.nbytes, value.nbytes)
    if tape is None:  # the record made the tape flush: the bytes are there
        _take(storage, value)
        return
    slot = value.slot
    values = tape.values
    if storage.tape is tape:
        old = storage.slot
        values[old] = None
        if fits:  # else the new bytes may not be written where the old ones are
            tape.replaced[slot] = old
    elif storage.tape is not None:
        storage.materialize()  # pending in another thread: let it finish before it is overwritten
    values[slot] = storage
    storage.tape = tape
    storage.slot = slot
    storage.version += 1
    storage.error = None


def _take(storage: Storage, value: Storage) -> None:
    """Give the computed bytes of ``value`` to ``storage``."""
    if storage.tape is not None:
        storage.materialize()
        if storage.tape is not None:  # an input of records to come: they keep the old memory
            storage.tape.values[storage.slot] = None
            storage.tape = None
    assert value.buffer is not None
    if storage.exported and storage.buffer is not None:
        storage.buffer.copy_from(value.buffer)
    else:
        storage.buffer = value.buffer
    storage.slot = -1
    storage.version += 1
    storage.error = None
