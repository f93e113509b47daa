"""Storages: the bytes that tensors share, computed or still to be computed."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from flambeau._types.device import CPU, META, device
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    import numpy

    from flambeau._runtime.allocator import Buffer
    from flambeau._tape.tape import Tape


WATCHED: set[int] = set()
"""Threads that somebody wants to know of whether they look at bytes, for then data may tell them what to do next; one that does is removed."""


INFERENCE = -(2**62)
"""The version of a storage that is made in inference mode: below zero, however often it is written."""


class Storage:
    """The memory behind one or more tensors.

    A storage that a tape knows (``tape`` is set) has its newest bytes in value ``slot`` of that tape: an input, or
    the result of a record that has not run yet.  Otherwise its bytes are in ``buffer``.

    Attributes:
        nbytes: the size
        version: counts writes; autograd compares it with the version of what it saved. Below zero where inference mode made it (`INFERENCE`)
        exported: false, or others (NumPy, DLPack, another process) see the buffer and may write it, so that it must not be swapped: ``True``,
            or references to what they hold
        error: set if the bytes could not be computed; reading raises it
        device: where the bytes are
        place: where the tensor says that they are
        wrapped: whether there are none because a class does something else instead (``_dispatch/``)
        weight: set if they are those of a parameter, which many programs may read between two changes
    """

    __slots__ = ("__weakref__", "buffer", "error", "exported", "nbytes", "slot", "tape", "version", "weight")

    weight: bool

    tape: Tape | None
    slot: Any  # a number; on a level of vmap what stands for all samples
    buffer: Buffer | None
    nbytes: int
    version: int
    exported: bool | tuple[weakref.ref, ...]
    error: BaseException | type[BaseException] | None
    device: device = CPU
    place: device = CPU
    wrapped = False

    def __init__(self, buffer: Buffer | None, nbytes: int, tape: Tape | None = None, slot: Any = -1) -> None:
        self.buffer = buffer
        self.nbytes = nbytes
        self.tape = tape
        self.slot = slot
        self.version = 0 if tape is None else tape.fresh
        self.exported = False
        self.error = None

    def materialize(self) -> Buffer:
        """Compute the bytes if they are pending, and return the memory that holds them.

        Raises:
            Exception: what computing them raised, now or when it was tried first.
        """
        if WATCHED:
            WATCHED.discard(get_ident())
        tape = self.tape  # which another thread may flush at any moment
        if tape is not None and self.slot not in tape.inputs:
            tape.flush()
        if self.error is not None:
            raise self.error
        if self.buffer is None:
            raise RuntimeError("this value was not computed")
        return self.buffer

    def pin(self) -> int:
        """The address of the bytes, which are computed if they are pending, for somebody who may write there."""
        buffer = self.materialize()
        buffer.packed = False
        return buffer.address

    def export(self, array: numpy.ndarray) -> None:
        """Let others see the memory through ``array``: records that have yet to read it are computed first, in whatever thread they are."""
        if not self.exported:
            _flush_readers(self)
        if self.exported is True:
            return
        if not isinstance(array.base, ctypes.Array):  # memory of somebody else
            self.exported = True
            return
        others = [each for each in self.exported or () if each() is not None]
        self.exported = (*others, weakref.ref(array.base))
        if self.buffer is not None:
            self.buffer.changes()

    @property
    def is_seen(self) -> bool:
        """Whether others see the memory now: arrays that were made of it may be gone, with all views of them."""
        if self.exported and self.exported is not True and not any(each() is not None for each in self.exported):
            self.exported = False
        return bool(self.exported)

    @property
    def pending(self) -> bool:
        """Whether the newest bytes are still to be computed."""
        tape = self.tape
        return tape is not None and self.slot not in tape.inputs


class NoElements(NotImplementedError):
    """Somebody asks for the elements of a tensor on the meta device."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "a tensor on the meta device has a shape, a dtype and strides, but no elements that could be looked at or copied. "
            "module.to_empty(device='cpu'), torch.empty_like(tensor, device='cpu') or load_state_dict(..., assign=True) give it memory"
        )


class MetaStorage(Storage):
    """What stands in for the bytes of tensors on the meta device. No tape takes it as an input: ``Tape.enter`` raises its error."""

    __slots__ = ()

    device = place = META

    def __init__(self, nbytes: int) -> None:
        super().__init__(None, nbytes)
        self.error = NoElements


_flush_readers: Callable[[Storage], None]


def set_flush_readers(function: Callable[[Storage], None]) -> None:
    """Set ``tape.flush_readers``, which computes all records that read or make the bytes of a storage."""
    global _flush_readers
    _flush_readers = function


class TensorBase:
    """What the recording path knows of a tensor; ``flambeau.Tensor`` adds the methods.

    Attributes:
        memory: the bytes
        layout: how the elements lie in them
        node: the gradient node whose output the tensor is, or ``None``; a leaf that requires grad has an accumulator
        output_nr: which output of ``node``
        base: the tensor that this one is a view of, for autograd; ``None`` if it is no differentiable view
    """

    __slots__ = ("__dict__", "__weakref__", "base", "layout", "memory", "node", "output_nr")

    memory: Storage
    layout: Layout
    base: TensorBase | None
    output_nr: int
