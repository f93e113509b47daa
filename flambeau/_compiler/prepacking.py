"""Prepacked weights: operands of contractions that stay packed from one run to the next.

Before: each run of a program copies a weight into the order in which its micro-kernel reads it. After: the second run that finds the weight with the
bytes that the first one found copies it into memory that is kept, and those after it leave the copying out. So it is with whatever else is made of a
weight alone: its numbers as bfloat16, for one.

What is kept belongs to the weight's buffer (``Buffer.packed``) and is dropped with it, or when its bytes change. So training, which changes weights
after each use, keeps nothing; frozen weights, evaluation and accumulated gradients do. Operands that are no parameter's are packed each time.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau._runtime.allocator import Buffer, allocate

if TYPE_CHECKING:
    from flambeau._runtime.launch import Launch
    from flambeau._runtime.pool import Program

LEAST_KEPT = 1 << 16
"""Bytes of a weight from which on it is kept: less is packed in a dozen microseconds, and native code runs a program that keeps nothing."""
MOST_KEPT = 1 << 29
"""Bytes of packed weights in the process: beyond this they are packed at each run, as memory matters more."""
PATIENCE, RESTS = 8, 200
"""A program that found nothing to keep so many times in a row is probably one of training: it looks again after so many runs, which native code
can begin (``_tape/native``)."""

_kept_bytes = 0
_expected: weakref.WeakSet[Any] = weakref.WeakSet()
"""Storages of weights that programs have been planned to find packed."""


def expected(weights: Mapping[int, Any]) -> tuple[int, ...]:
    """The slots of weights, given with their storages, that a program may be planned to find packed: all, or none if that is too much to keep.

    A weight that is packed for one run alone is better read where it lies.
    """
    together = _expected | set(weights.values())
    if sum(each.nbytes for each in together) > MOST_KEPT:
        return ()
    _expected.update(weights.values())
    return tuple(weights)


class PackedOperand(NamedTuple):
    """An operand that a program packs before it uses it: by a call that does nothing else, or within the call that uses it.

    Attributes:
        slot: of the input that it is
        nbytes: when packed
        key: what names the way of packing
        call: that packs it
        slots: of the words in the program's parameters that are the table slot of the packed operand
        offset: where it lies in the arena when a call of its own packs it; the words behind ``slots`` contain it
        mode: of the word that tells the call that uses it whether it is kept (``_codegen/contract/kernel.py``); -1 if a call of its own packs it
    """

    slot: int
    nbytes: int
    key: str
    call: int
    slots: tuple[int, ...]
    offset: int = 0
    mode: int = -1


class _Kept:
    """Memory for a packed operand, and whether it is ``ready``: a run has filled it."""

    __slots__ = ("buffer", "ready")

    def __init__(self, nbytes: int) -> None:
        global _kept_bytes
        self.buffer = allocate(nbytes)
        self.ready = False
        _kept_bytes += nbytes

    def __del__(self) -> None:
        global _kept_bytes
        _kept_bytes -= self.buffer.nbytes


_AGAIN, _KEEPING, _KEPT = 0, 1, 2
"""Whether a run packs an operand for itself, or for itself and others, or finds it packed."""


class Prepacking:
    """The operands of one program, and where they lie at the moment: packed at each run, or kept.

    Args:
        operands: of the program
        native: its calls
        arena: the table slot of the arena
        first: that of the first operand that is kept; one for each follows
    """

    def __init__(self, operands: Sequence[PackedOperand], native: Program, arena: int, first: int) -> None:
        self._operands = operands
        self._native = native
        self._arena = arena
        self._first = first
        self._states = [_AGAIN] * len(operands)
        self._resume: list[Any] = [None] * len(operands)  # what takes the call of an operand up again that is left out
        self._in_vain = 0
        self._launch: Launch | None = None

    @property
    def is_in_vain(self) -> bool:
        """Whether it is time to rest."""
        return self._in_vain >= PATIENCE

    def rest(self, launch: Launch) -> None:
        """Keep nothing as long as ``launch`` is good: it has the operands in the arena."""
        self._launch = launch
        self._in_vain = 0

    def begin(self, inputs: Mapping[int, Buffer], storages: Sequence[Any], table: MutableSequence[int]) -> list[_Kept]:
        """Let a run find the operands where they are kept; returns what it fills, which is ready once the run has ended well."""
        if self._launch is not None and self._launch.passes():
            return []
        self._launch = None
        filling = []
        for number, operand in enumerate(self._operands):
            kept = _find(inputs[operand.slot], storages[operand.slot] if storages else None, operand)
            if kept is not None:
                table[self._first + number] = kept.buffer.address
                if not kept.ready:
                    filling.append(kept)
            state = _AGAIN if kept is None else _KEPT if kept.ready else _KEEPING
            if state != self._states[number]:
                self._change(number, state)
        self._in_vain = 0 if any(self._states) else self._in_vain + 1
        return filling

    def _change(self, number: int, state: int) -> None:
        """Tell the program's calls where an operand lies."""
        operand, params = self._operands[number], self._native.params
        moves = bool(state) - bool(self._states[number])
        self._states[number] = state
        for place in operand.slots:
            params[place] = self._first + number if state else self._arena
            if operand.mode < 0:
                params[place + 1] -= moves * operand.offset
        if operand.mode >= 0:
            params[operand.mode] = state
        elif state == _KEPT:
            self._resume[number] = self._native.skip(operand.call)
        elif self._resume[number] is not None:
            self._resume[number]()
            self._resume[number] = None


def _find(buffer: Buffer, storage: Any, operand: PackedOperand) -> _Kept | None:
    """What is kept of a weight; ``None`` if it is not one, or has not come twice with the same bytes."""
    if not getattr(storage, "weight", False) or type(buffer) is not Buffer:  # other memory may be written by others
        return None
    packed = getattr(buffer, "packed", None)
    if packed is False:
        return None
    if not isinstance(packed, dict):
        packed = buffer.packed = {}
    if operand.key not in packed:
        packed[operand.key] = None
        return None
    kept = packed[operand.key]
    if kept is None and _kept_bytes + operand.nbytes <= MOST_KEPT:
        kept = packed[operand.key] = _Kept(operand.nbytes)
    return kept
