"""Reductions, and what concerns whole lines of elements: along the lines a tensor must not be cut, or what comes is a part of a sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, prod
from typing import Any

import flambeau
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.placement_types import Partial, Shard
from flambeau.distributed.tensor.ways import Call, Way, argument, choose, run

__all__ = ["LINES", "REDUCTIONS", "along_lines", "layer_norm", "mean", "reduction", "vector_norm"]

REDUCTIONS = {
    "sum": 1, "nansum": 1, "prod": 1, "amax": 1, "amin": 1, "all": 1, "any": 1, "logsumexp": 1, "argmax": 1, "argmin": 1, "max": 1, "min": 1,
    "std": 1, "var": 1, "median": 1, "count_nonzero": 1,
}  # fmt: skip
"""Functions that reduce dimensions, and at which place they are told which."""

LINES = {
    "softmax": 1,
    "log_softmax": 1,
    "softmin": 1,
    "cumsum": 1,
    "cumprod": 1,
    "logcumsumexp": 1,
    "sort": 1,
    "argsort": 1,
    "topk": 2,
    "flip": 1,
    "roll": 2,
}
"""Functions along one dimension that keep it, and at which place they are told which."""

_LAST = {"sort", "argsort", "topk"}


def reduced_dims(dims: Any, ndim: int) -> tuple[int, ...]:
    """The dimensions that an argument means: all, if it is ``None`` or empty."""
    if dims is None or dims == () or dims == []:
        return tuple(range(ndim))
    return tuple([dim % max(ndim, 1) for dim in ((dims,) if isinstance(dims, int) else dims)])


def _kept(dim: int, dims: tuple[int, ...], keepdim: bool) -> int:
    """Where a dimension that is not reduced is found in the result."""
    return dim if keepdim else dim - sum(other < dim for other in dims)


def _ways_of_reduction(dims: tuple[int, ...], keepdim: bool, sums: str | None) -> Callable[[Call, int], Iterator[Way]]:
    def ways(call: Call, axis: int) -> Iterator[Way]:
        tensor = call.tensors[0]
        for dim in range(tensor.dim()):
            if dim not in dims:
                yield [Shard(dim)], Shard(_kept(dim, dims, keepdim))
            elif sums is not None:
                yield [Shard(dim)], Partial(sums)
        placement = tensor.placements[axis]
        if sums is not None and (placement.is_partial("sum") or placement.is_partial("avg")) and tensor.is_floating_point():
            yield [placement], placement

    return ways


def reduction(call: Call) -> Any:
    """Reduce what is not cut on each piece; a sum over what is cut is a sum of parts."""
    tensor = call.tensors[0]
    place = REDUCTIONS[call.name]
    given = argument(call, place, "dim", call.kwargs.get("axis"))
    if len(call.tensors) > 1 or "out" in call.kwargs or not isinstance(given, (int, tuple, list, type(None))) or isinstance(given, bool):
        return run(call, choose(call, None))
    if call.name in ("std", "var") and not isinstance(given, (tuple, list)) and not tensor.is_floating_point():
        return run(call, choose(call, None))
    keepdim = bool(argument(call, place + (2 if call.name in ("std", "var") else 1), "keepdim", False))  # after `unbiased`
    return run(
        call,
        choose(call, _ways_of_reduction(reduced_dims(given, tensor.dim()), keepdim, "sum" if call.name in ("sum", "nansum") else None)),
    )


def mean(call: Call) -> Any:
    """The mean: an average of means where the pieces are equally large, and else a sum, divided."""
    tensor = call.tensors[0]
    dims = reduced_dims(argument(call, 1, "dim", call.kwargs.get("axis")), tensor.dim())
    keepdim = bool(argument(call, 2, "keepdim", False))
    cut = [(axis, each.dim) for axis, each in enumerate(tensor.placements) if isinstance(each, Shard) and each.dim in dims]
    if any(tensor.shape[dim] % call.mesh.size() for _, dim in cut):
        count = prod(tensor.shape[dim] for dim in dims)
        total = tensor.sum(dims, keepdim, dtype=call.kwargs.get("dtype"))
        return total / count
    return run(call, choose(call, _ways_of_reduction(dims, keepdim, "avg")))


def vector_norm(call: Call) -> Any:
    """``linalg.vector_norm`` and ``norm`` of an exponent: a root of a sum of powers, which is a sum of parts."""
    if call.function is flambeau.linalg.norm:  # which is one of matrices, too
        return run(call, choose(call, None))
    tensor = call.tensors[0]
    order = argument(call, 1, "ord" if call.name == "vector_norm" else "p", 2)
    dims = argument(call, 2, "dim")
    keepdim = bool(argument(call, 3, "keepdim", False))
    cut = any(isinstance(each, Shard) and each.dim in reduced_dims(dims, tensor.dim()) for each in tensor.placements)
    known = isinstance(order, (int, float)) and order not in (0, inf, -inf)
    if not cut or not known or (call.name == "norm" and isinstance(dims, (tuple, list)) and len(dims) == 2 and order != 2):
        return run(call, choose(call, _ways_of_reduction(reduced_dims(dims, tensor.dim()), keepdim, None)))
    dtype = call.kwargs.get("dtype")
    tensor = tensor if dtype is None else tensor.to(dtype)
    powers = tensor.square() if order == 2 and not tensor.is_complex() else tensor.abs().pow(order)
    total = whole_parts(powers.sum(reduced_dims(dims, tensor.dim()), keepdim))
    return total.sqrt() if order == 2 else total.pow(1 / order)


def whole_parts(tensor: DTensor) -> DTensor:
    """The tensor whole where it lies as parts."""
    from flambeau.distributed.tensor.dtensor import moved
    from flambeau.distributed.tensor.redistribute import dual

    return moved(tensor, dual(tensor.placements))


def along_lines(call: Call) -> Any:
    """Run on the pieces, if no line is cut."""
    tensor = call.tensors[0]
    default = -1 if call.name in _LAST else None
    given = argument(call, LINES[call.name], "dims" if call.name in ("flip", "roll") else "dim", default)
    if call.name == "flip" and isinstance(given, int):  # x.flip(0, 1)
        given = call.args[1:]
    if given is None or len(call.tensors) > 1:
        return run(call, choose(call, None))
    dims = reduced_dims(given, tensor.dim())
    return run(call, choose(call, lambda call, axis: [([Shard(dim)], Shard(dim)) for dim in range(tensor.dim()) if dim not in dims]))


def layer_norm(call: Call) -> Any:
    """``layer_norm`` and ``rms_norm``: the last dimensions must not be cut."""
    tensor = call.tensors[0]
    shape = argument(call, 1, "normalized_shape")
    kept = tensor.dim() - (1 if isinstance(shape, int) else len(shape))
    others = len(call.tensors) - 1
    whole = [flambeau.distributed.tensor.Replicate()] * others
    return run(call, choose(call, lambda call, axis: [([Shard(dim), *whole], Shard(dim)) for dim in range(kept)]), tensor.shape)
