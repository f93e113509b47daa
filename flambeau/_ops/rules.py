"""What goes with every shape rule, where a call is recorded that was not recorded before: flags are bools, and the lowering takes the dtypes.

A record that is known pays for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from flambeau._types import dtype as dt
from flambeau._types.errors import ArgumentError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._ops.operator import Operator

_FLAGS = frozenset((
    "accumulate", "align_corners", "centered", "count_include_pad", "descending", "full_matrices", "hermitian", "is_causal", "keepdim", "largest", "left", "reverse", "right",
    "scale_grad_by_freq", "unitriangular", "upper",
))  # fmt: skip
"""Static attributes that are true or false."""

_WHOLE = frozenset((dt.bool, dt.int8, dt.int16, dt.int32, dt.int64))
_REFUSED = {
    **dict.fromkeys((
        "_grid_sample", "_resample", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "leaky_relu", "log_sigmoid", "mish", "silu", "softplus",
        "softshrink",
    ), _WHOLE),
    **dict.fromkeys(("abs", "ceil", "floor", "hardtanh", "max_pool", "round", "threshold", "trunc"), frozenset((dt.bool,))),
}  # fmt: skip
"""Dtypes that an operator could compute, and PyTorch's does not."""

_COMMON = frozenset((dt.float32, dt.float64, dt.float16, dt.bfloat16, dt.int64, dt.int32, dt.uint8, dt.bool, float, int, bool))
"""Dtypes and classes of numbers with which every operator is tested, or refuses them by its rule."""


def checked(op: Operator, infer: Callable[[tuple, tuple], Any]) -> Callable[[tuple, tuple], Any]:
    """The shape rule of an operator, which refuses what its lowering would fail on, too.

    Raises:
        TypeError: a flag is no bool
        NotImplementedError: the operator is not defined for the dtypes
    """
    flags = [(place, name) for place, name in enumerate(op.statics) if name in _FLAGS]
    refused = _REFUSED.get(op.name, frozenset())
    lowered: set[tuple] = set()

    @wraps(infer)
    def rule(operands: tuple, statics: tuple) -> Any:
        for place, name in flags:
            if not isinstance(statics[place], (bool, int)):
                raise ArgumentError(f"{op.name}(): argument '{name}' must be bool, not {type(statics[place]).__name__}")
        if refused and getattr(operands[0], "dtype", None) in refused:
            raise NotImplementedError(f"{op.name}() is not implemented for {operands[0].dtype!r}")
        layouts = infer(operands, statics)
        dtypes = tuple([operand if isinstance(operand, type) else operand.dtype for operand in operands])
        if not _COMMON.issuperset(dtypes):
            key = (*dtypes, *[each for each in statics if isinstance(each, dt.dtype)])
            if key not in lowered:
                _try(op, operands, statics, layouts if isinstance(layouts, tuple) else (layouts,))
                lowered.add(key)
        return layouts

    return rule


def _try(op: Operator, operands: tuple, statics: tuple, layouts: tuple[Layout, ...]) -> None:
    """Lower a call to a graph of its own, for what is wrong with its dtypes."""
    from flambeau._compiler import graph as building

    graph = building.Graph()
    nodes = []
    for slot, operand in enumerate(operands):
        if isinstance(operand, type):
            nodes.append(building.number_node(graph, slot, operand))
        else:
            nodes.append(graph.view(graph.input(slot, operand.dtype, -1), operand))
    try:
        op.lower(graph, nodes, statics, layouts)
    except NotImplementedError as error:
        raise NotImplementedError(f"{op.name}(): {error}") from None
