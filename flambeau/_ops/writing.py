"""Writing over tensors: what may be written, and what the write means for history and for others that share the memory."""

from __future__ import annotations

import ctypes
import weakref
from sys import getrefcount
from typing import Any

from flambeau._ops.node import UNSEEN, AccumulateGrad, GradNode, set_history
from flambeau._ops.registry import FUNCTIONS, OPERATORS, new_tensor
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL, adopt
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU
from flambeau._types.dtype import TITLES
from flambeau._types.layout import Layout
from flambeau._types.promotion import can_cast


def check_writable(target: TensorBase, name: str) -> None:
    """Check that an in-place operator may write ``target``.

    Raises:
        RuntimeError: its elements overlap in memory, it is a leaf (or a view of one) that requires grad, one of several views with a history that a call
            returned, or inference mode made it and has been left.
    """
    if target.memory.version < 0 and not LOCAL.tape.fresh:
        raise RuntimeError(
            f"Inplace update to inference tensor outside InferenceMode is not allowed ({name}): nothing counts its versions. x.clone() is an ordinary "
            "tensor, and torch.no_grad() instead of torch.inference_mode() makes them from the start"
        )
    if lay.may_overlap(target.layout):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            f"Please clone() the tensor before performing the operation. ({name} on shape {list(target.layout.shape)}, strides {list(target.layout.strides)})"
        )
    if LOCAL.tape.grad:
        if isinstance(target.node, AccumulateGrad):
            raise RuntimeError(f"a leaf Variable that requires grad is being used in an in-place operation. ({name})")
        if target.base is not None and isinstance(target.base.node, AccumulateGrad):
            raise RuntimeError(f"a view of a leaf Variable that requires grad is being used in an in-place operation. ({name})")
        if target.base is not None and target.node is not None and (maker := FUNCTIONS.one_of_several(target)) is not None:
            raise RuntimeError(
                f"Output of {maker} is a view and is being modified inplace. It is one of several views that one call returned: "
                f"use narrow(), an index, or an operator that is not in place instead. ({name})"
            )


def check_result(target: TensorBase, result: Layout, name: str) -> None:
    """Check that a result may be written into ``target``.

    Raises:
        RuntimeError: it has another shape, or its dtype cannot be cast.
    """
    if result.shape != target.layout.shape:
        raise RuntimeError(
            f"output with shape {list(target.layout.shape)} doesn't match the broadcast shape {list(result.shape)} ({name} cannot enlarge the tensor that it writes)"
        )
    if not can_cast(result.dtype, target.layout.dtype):
        raise RuntimeError(f"result type {TITLES[result.dtype]} can't be cast to the desired output type {TITLES[target.layout.dtype]}")


def write(target: TensorBase, value: TensorBase) -> None:
    """Overwrite ``target``'s elements by ``value``'s (of the same shape), as recorded; no history, no checks.

    ``value`` must be a fresh result that nobody else will write.
    """
    if LOCAL.tape.batched:
        LOCAL.tape.write(target, value)
        return
    layout = target.layout
    storage = target.memory
    if storage.device is not CPU or value.memory.device is not CPU:
        from flambeau._ops import meta

        meta.write(target, value)
        return
    covers = layout.dense and layout.offset == 0 and layout.numel * layout.dtype.itemsize == storage.nbytes
    if covers:
        source = value
        fresh = value.memory.tape is LOCAL.tape and value.memory.slot not in LOCAL.tape.inputs
        if value.layout is not layout or not fresh or value.memory is storage:
            source = OPERATORS["_write_all"](value, statics=(layout,))
        adopt(storage, source.memory)
    elif storage.exported and storage.is_seen:
        _write_seen(target, value)
    elif layout.numel:
        flat = lay.contiguous((storage.nbytes // layout.dtype.itemsize,), layout.dtype)
        if not lay.may_overlap(layout):
            layout.memo[storage.nbytes] = flat  # native code does the next write of this kind
        base = new_tensor(storage, flat)
        adopt(storage, OPERATORS["_write_part"](base, value, statics=(layout,)).memory)
    else:
        storage.version += 1
    if is_unseen(target):
        storage.version -= 1
    if storage.exported:
        LOCAL.tape.flush()


def _write_seen(target: TensorBase, value: TensorBase) -> None:
    """Write a part of a storage that others see: those elements alone, for others may write the rest at the same time."""
    if target.layout.numel:
        if value.layout.dtype is not target.layout.dtype:
            value = FUNCTIONS.cast(value, target.layout.dtype)
        target._array()[...] = value._array()
    target.memory.version += 1


_CELLS: dict[dt.dtype, tuple[Any, tuple[type, ...]]] = {
    dt.float32: (ctypes.c_float, (float, int, bool)), dt.float64: (ctypes.c_double, (float, int, bool)), dt.int64: (ctypes.c_int64, (int,)),
    dt.bool: (ctypes.c_bool, (bool,)),
}  # fmt: skip
"""By dtype, an element in memory and the numbers that become one as they are."""

_FEW = 8
_places: dict[tuple[int, dt.dtype], set[int]] = {}


def write_number(target: TensorBase, number: Any) -> bool:
    """Write a number over one element of many at once; whether that was done, and need not be recorded.

    A place is part of a program. Where such writes go to few places (by size of the memory), they are left to be recorded with all else; if to
    ever new ones, as in a loop that fills a matrix, no program would come again.
    """
    layout, storage = target.layout, target.memory
    cell, kinds = _CELLS.get(layout.dtype, (None, ()))
    if layout.numel != 1 or storage.nbytes == layout.dtype.itemsize or number.__class__ not in kinds:
        return False
    if number.__class__ is int and not -(2**63) <= number < 2**63:
        return False
    places = _places.setdefault((storage.nbytes, layout.dtype), set())
    if len(places) < _FEW:
        places.add(layout.offset)
        return False
    tape, base = LOCAL.tape, target.base
    known = target.node is None and (base is None or base.node is None or base.node is UNSEEN)
    if not known or tape.batched or tape.entered is not None or storage.exported or storage.device is not CPU:
        return False
    if storage.tape is not None and storage.slot not in storage.tape.inputs:
        storage.materialize()
    if storage.tape is not None or storage.error is not None or getrefcount(storage.buffer) != 2:  # somebody is yet to read what lies there
        return False
    assert storage.buffer is not None
    cell.from_address(storage.buffer.address + layout.offset * layout.dtype.itemsize).value = number
    storage.buffer.changes()
    storage.version += not is_unseen(target)
    return True


def is_unseen(target: TensorBase) -> bool:
    """Whether autograd does not see what is written through the tensor: ``x.data``, or a view of it."""
    return target.base is not None and target.base.node is UNSEEN


def show(target: TensorBase) -> None:
    """Let autograd see from now on what is written through a tensor that was made by ``data``, and gets a history."""
    if is_unseen(target):
        target.base.node = None
        target.base.__dict__.setdefault("_views", []).append(weakref.ref(target))


def rebase(target: TensorBase, node: GradNode | None) -> None:
    """Set the history of a tensor that was overwritten, and of the tensors that it shares its memory with."""
    if target.base is not None:
        show(target)
        FUNCTIONS.copy_slices(target.base, target, node)
        return
    set_history(target, node)
    views = target.__dict__.get("_views")
    if views:
        for reference in views:
            view = reference()
            if view is not None:
                FUNCTIONS.regenerate(target, view)
