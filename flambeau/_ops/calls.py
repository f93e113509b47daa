"""Calls that no tape records, those of samples (``batching/``) and those on the meta device: what is known of each, and its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flambeau._tape.storage import TensorBase
from flambeau._types.dtype import FLOAT
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._ops.operator import Operator
    from flambeau._tensor.tensor import Tensor

MAX_RECORDS = 20_000
"""What is known of calls is forgotten when there are more."""


class CallRecord:
    """What is known of a call: what its results are and what its history needs; on a level of ``vmap`` also what the call of all samples is.

    Attributes:
        op, statics, operands, layouts, sizes, single, differentiable, wanted, saves: as in ``TrieNode``
        direct: the static attributes of the call of all samples, if that has the same operands and is nothing else
    """

    __slots__ = ("differentiable", "direct", "layouts", "op", "operands", "saves", "single", "sizes", "statics", "wanted")

    direct: tuple | None

    def __init__(self, op: Operator, kinds: tuple, statics: tuple) -> None:
        layouts = op.infer(kinds, statics)
        self.op, self.statics = op, statics
        self.operands = tuple([(-1, kind) for kind in kinds])
        self.layouts: tuple[Layout, ...] = layouts if layouts.__class__ is tuple else (layouts,)
        self.sizes = tuple([layout.numel * layout.dtype.itemsize for layout in self.layouts])
        self.single = self.layouts[0] if len(self.layouts) == 1 else None
        self.differentiable = op.differentiable and any(layout.dtype.category >= FLOAT for layout in self.layouts)
        self.wanted = -1
        self.saves: tuple = ()
        self.direct = None


_RECORDS: dict[tuple, CallRecord] = {}


def record_of(key: tuple, op: Operator, operands: tuple, statics: tuple) -> CallRecord:
    """What is known of a call under ``key``, in which are the operator, its static attributes and the layouts of its operands.

    Raises:
        Exception: what the operator's shape rule raises.
    """
    record = _RECORDS.get(key)
    if record is None:
        kinds = tuple([operand.layout if isinstance(operand, TensorBase) else operand.__class__ for operand in operands])
        record = CallRecord(op, kinds, statics)
        if len(_RECORDS) >= MAX_RECORDS:
            _RECORDS.clear()
        _RECORDS[key] = record
    return record


def remember(op: Operator, operands: tuple, results: Sequence[Tensor], record: CallRecord) -> None:
    """Give results their history."""
    node = op._node(operands, results, record)
    for number, result in enumerate(results):
        if result.layout.dtype.category >= FLOAT:
            result.node, result.output_nr = node, number
