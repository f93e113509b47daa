"""Functions that do the same to each element: they run on the pieces, if all arguments are cut in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributed.tensor.dtensor import DTensor, local_of, moved, wrap
from flambeau.distributed.tensor.placement_types import Partial, Placement, Shard
from flambeau.distributed.tensor.ways import WHOLE, Call, Way, choose, remembered, run

__all__ = ["IN_PLACE", "NAMES", "elementwise", "in_place", "ways_of_each"]

NAMES = frozenset({
    "__abs__", "__add__", "__and__", "__eq__", "__floordiv__", "__ge__", "__gt__", "__invert__", "__le__", "__lshift__", "__lt__", "__mod__", "__mul__",
    "__ne__", "__neg__", "__or__", "__pos__", "__pow__", "__radd__", "__rand__", "__rfloordiv__", "__rmod__", "__rmul__", "__ror__", "__rpow__",
    "__rshift__", "__rsub__", "__rtruediv__", "__rxor__", "__sub__", "__truediv__", "__xor__", "abs", "absolute", "acos", "acosh", "add", "addcdiv",
    "addcmul", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "bfloat16",
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "bool", "byte", "ceil", "celu", "char",
    "clamp", "clamp_max", "clamp_min", "clip", "clone", "conj", "contiguous", "copysign", "cos", "cosh", "cpu", "deg2rad", "digamma", "div", "divide",
    "double", "elu", "empty_like", "eq", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "float", "float_power", "floor", "floor_divide", "fmax",
    "fmin", "fmod", "frac", "full_like", "ge", "gelu", "greater", "greater_equal", "gt", "half", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "heaviside", "hypot", "i0", "int", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "ldexp", "le", "leaky_relu", "lerp", "less", "less_equal",
    "lgamma", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "logit",
    "logsigmoid", "long", "lt", "masked_fill", "maximum", "minimum", "mish", "mul", "multiply", "mvlgamma", "nan_to_num", "ne", "neg", "negative",
    "nextafter", "not_equal", "ones_like", "positive", "pow", "rad2deg", "real", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt", "rsub",
    "selu", "sgn", "short", "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "softplus", "softshrink", "softsign", "sqrt", "square", "sub",
    "subtract", "tan", "tanh", "tanhshrink", "threshold", "to", "true_divide", "trunc", "type", "type_as", "where", "xlogy", "zeros_like",
})  # fmt: skip
"""Names of the functions and methods."""

_SUMS = frozenset({"add", "sub", "subtract", "__add__", "__radd__", "__sub__"})
_LINEAR = frozenset({"clone", "contiguous", "neg", "negative", "positive", "__neg__", "__pos__", "cpu", "conj", "zeros_like"})
_SCALED = frozenset({"mul", "multiply", "__mul__", "__rmul__"})
_DIVIDED = frozenset({"div", "divide", "true_divide", "__truediv__"})
_CONVERTED = frozenset({"to", "float", "double", "half", "bfloat16", "type_as"})


def ways_of_each(call: Call, axis: int) -> Iterator[Way]:
    """All cut along one dimension (those that have it, and are not broadcast there); or parts, where sums of parts are parts of sums."""
    if call.name == "where" and len(call.args) + len(call.kwargs) == 1:  # which tells the places of what is not zero
        return
    shape = flambeau.broadcast_shapes(*[each.shape for each in call.tensors])
    now = call.at(axis)
    for dim in dict.fromkeys(_cut_dims(call, axis, len(shape))):
        yield [_aligned(each, dim, shape) for each in call.tensors], Shard(dim)
    parts = next((each for each in now if isinstance(each, Partial)), None)
    if parts is not None and parts.reduce_op in ("sum", "avg") and _keeps_parts(call, now, parts):
        yield now, parts


def _cut_dims(call: Call, axis: int, ndim: int) -> Iterator[int]:
    """The dimensions of the result along which an argument is cut."""
    for tensor in call.tensors:
        placement = tensor.placements[axis]
        if isinstance(placement, Shard):
            yield placement.dim + ndim - tensor.dim()


def _aligned(tensor: DTensor, dim: int, shape: tuple[int, ...]) -> Placement:
    own = dim - (len(shape) - tensor.dim())
    return Shard(own) if own >= 0 and tensor.shape[own] == shape[dim] else WHOLE


def _keeps_parts(call: Call, now: list[Placement], parts: Partial) -> bool:
    numbers = [each for each in (*call.args, *call.kwargs.values()) if not isinstance(each, DTensor)]
    if call.name in _CONVERTED:
        return len(now) == 1 and call.tensors[0].is_floating_point() and parts.reduce_op in ("sum", "avg")
    if call.name in _SUMS:
        return len(now) == 2 and all(each == parts for each in now) and "alpha" not in call.kwargs
    if call.name in _LINEAR:
        return len(now) == 1
    if call.name in _SCALED:
        return sum(isinstance(each, Partial) for each in now) == 1 and all(isinstance(each, Partial) or each == WHOLE for each in now)
    if call.name in _DIVIDED:
        first = call.args[0] if call.args else None
        only_first = isinstance(first, DTensor) and first is call.tensors[0] and now[0] == parts and all(each == WHOLE for each in now[1:])
        return only_first and "rounding_mode" not in call.kwargs and len(numbers) <= 1
    return False


elementwise = remembered(lambda call: (choose(call, ways_of_each), None))
"""Run on the pieces."""


# -- in place -----------------------------------------------------------------------------------------------------------

IN_PLACE = frozenset(
    {name + "_" for name in NAMES if not name.endswith("_")}
    | {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__iand__", "__ior__", "__ixor__", "zero_", "fill_", "copy_"}
)
"""Names of the methods that change the elements of a tensor, each by itself."""


def in_place(call: Call) -> Any:
    """Change this process's piece of the first argument; the others are brought to where it lies.

    Raises:
        RuntimeError: it lies as parts of a sum, of which an element is not in any process
    """
    target = call.args[0]
    if not isinstance(target, DTensor):
        raise RuntimeError(f"{call.name}: an ordinary tensor cannot be changed by distributed ones: distribute it, or use full_tensor()")
    shape, others = target.shape, call.tensors[1:]
    places = []
    for axis, placement in enumerate(target.placements):
        if isinstance(placement, Shard):
            inputs: list[Placement] = [_aligned(each, placement.dim, shape) for each in others]
        else:
            inputs = [WHOLE] * len(others)
        if isinstance(placement, Partial) and not _scales_parts(call, placement):
            if not _adds_parts(call, placement) or not others or any(each.placements[axis] != placement for each in others):
                raise RuntimeError(
                    f"{call.name}: the tensor lies as {placement!r}, of which no process has an element: redistribute() it first"
                )
            inputs = [placement] * len(others)
        places.append(([placement, *inputs], placement))
    return changed(target, lambda: run(call, places, shape))


def _scales_parts(call: Call, parts: Partial) -> bool:
    """Whether parts change as what they are parts of does, by numbers that are whole."""
    linear = parts.reduce_op in ("sum", "avg") and "rounding_mode" not in call.kwargs
    return call.name == "zero_" or (linear and call.name in ("mul_", "div_", "__imul__", "__itruediv__"))


def _adds_parts(call: Call, parts: Partial) -> bool:
    """Whether parts change as what they are parts of does, by other parts."""
    return call.name == "copy_" or (parts.reduce_op in ("sum", "avg") and call.name in ("add_", "sub_", "__iadd__", "__isub__"))


def changed(target: DTensor, run_in_place: Callable[[], Any]) -> DTensor:
    """Run what changes a tensor's piece in place, and give the tensor the history of what came of it."""
    result = run_in_place()
    if isinstance(result, Tensor):
        target.memory, target.layout = result.memory, result.layout
        if (result.node is not target.node and not target.is_leaf) or (result.node is not None and target.node is None):
            target.node, target.output_nr = result.node, result.output_nr
    return target


def whole_in_place(call: Call) -> DTensor:
    """Change the whole tensor in each process, and keep this process's piece of it."""
    target = call.args[0]
    if not isinstance(target, DTensor):
        raise RuntimeError(f"{call.name}: an ordinary tensor cannot be changed by distributed ones: distribute it, or use full_tensor()")
    if any(isinstance(each, Partial) for each in target.placements):
        raise RuntimeError(
            f"{call.name}: the tensor lies as {target.placements}, of which no process has an element: redistribute() it first"
        )
    everywhere = [WHOLE] * call.mesh.ndim
    if target.requires_grad and flambeau.is_grad_enabled():
        raise RuntimeError(f"{call.name} of a distributed tensor that requires grad changes its memory in all processes: use no_grad()")
    first = moved(target, everywhere)
    if first is target:
        first = target.detach()
    whole = local_of(first).clone()
    others = [local_of(moved(each, everywhere)) if isinstance(each, DTensor) else each for each in call.args[1:]]
    call.function(whole, *others, **call.kwargs)
    piece = local_of(moved(wrap(whole, first._spec), target.placements))
    with flambeau.no_grad():
        local_of(target).detach().copy_(piece)
    return target
