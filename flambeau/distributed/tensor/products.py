"""Products of matrices: along a dimension of the mesh the batch, the rows, the columns, or what is summed over is shared out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flambeau
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.placement_types import Partial, Placement, Shard
from flambeau.distributed.tensor.ways import WHOLE, Call, Way, argument, choose, remembered, run

__all__ = ["addmm", "linear", "matmul", "scaled_dot_product_attention"]


def _ways_of_product(first: DTensor, second: DTensor, ndim: int, axis: int) -> Iterator[tuple[Placement, Placement, Placement]]:
    """How two factors and their product, of ``ndim`` dimensions, may lie."""
    rows, columns = first.dim() >= 2, second.dim() >= 2
    if rows:
        yield Shard(first.dim() - 2), WHOLE, Shard(ndim - (2 if columns else 1))
    if columns:
        yield WHOLE, Shard(second.dim() - 1), Shard(ndim - 1)
    yield Shard(first.dim() - 1), Shard(max(second.dim() - 2, 0)), Partial()
    for dim in range(max(first.dim(), second.dim()) - 2):  # of the batch, counted in the product
        own, other = dim - (ndim - first.dim()), dim - (ndim - second.dim())
        size = max(first.shape[own] if own >= 0 else 1, second.shape[other] if other >= 0 else 1)
        cut = [Shard(place) if place >= 0 and each.shape[place] == size else WHOLE for each, place in ((first, own), (second, other))]
        yield cut[0], cut[1], Shard(dim)
    for one, swap in ((first, False), (second, True)):
        placement = one.placements[axis]
        if isinstance(placement, Partial) and placement.reduce_op in ("sum", "avg"):
            yield (WHOLE, placement, placement) if swap else (placement, WHOLE, placement)


def _product_shape(first: DTensor, second: DTensor) -> tuple[int, ...]:
    batch = flambeau.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    inner = first.shape[-1], second.shape[-2] if second.dim() > 1 else second.shape[0]
    if inner[0] != inner[1]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({list(first.shape)} and {list(second.shape)})")
    return (*batch, *first.shape[-2:-1], *(second.shape[-1:] if second.dim() > 1 else ()))


def _plan_of_product(call: Call) -> tuple[list[Way], tuple[int, ...]]:
    first, second = call.tensors
    shape = _product_shape(first, second)
    ways = choose(call, lambda call, axis: [([one, other], out) for one, other, out in _ways_of_product(first, second, len(shape), axis)])
    return ways, shape


matmul = remembered(_plan_of_product)
"""``matmul``, ``mm``, ``bmm``, ``mv``, ``dot`` and ``@``."""


def reversed_matmul(call: Call) -> Any:
    """``other @ self``, told as a method of ``self``."""
    return flambeau.matmul(call.args[1], call.args[0])


def linear(call: Call) -> Any:
    """``linear``: a product with the transpose, and a bias.

    Parts of a sum get the bias once: it is added to their sum.
    """
    input, weight = argument(call, 0, "input"), argument(call, 1, "weight")
    bias = argument(call, 2, "bias")
    if weight.dim() != 2 or input.dim() < 1 or input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({list(input.shape)} and {list(weight.shape)} transposed)")
    ndim, shape = input.dim(), (*input.shape[:-1], weight.shape[0])

    def ways(call: Call, axis: int) -> Iterator[Way]:
        for dim in range(ndim - 1):
            yield [Shard(dim), WHOLE], Shard(dim)
        yield [WHOLE, Shard(0)], Shard(ndim - 1)
        yield [Shard(ndim - 1), Shard(1)], Partial()
        for placement, other in ((input.placements[axis], False), (weight.placements[axis], True)):
            if placement.is_partial("sum") or placement.is_partial("avg"):
                yield ([WHOLE, placement] if other else [placement, WHOLE]), placement

    plain = Call(call.function, (input, weight), {})
    chosen = choose(plain, ways)
    if bias is None:
        return run(plain, chosen, shape)
    if any(isinstance(output, Partial) for _, output in chosen):
        return run(plain, chosen, shape) + bias
    placed = [(Shard(0) if out.is_shard(ndim - 1) else WHOLE) for _, out in chosen]
    with_bias = Call(call.function, (input, weight, bias), {})
    return run(with_bias, [([*inputs, own], out) for (inputs, out), own in zip(chosen, placed)], shape)


def addmm(call: Call) -> Any:
    """``addmm``, ``addmv``, ``baddbmm``, ``addbmm``: as a product and a sum."""
    input, first, second = call.args[:3]
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    product = flambeau.matmul(first, second)
    if call.name == "addbmm":
        product = product.sum(0)
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else product + (input if beta == 1 else input * beta)


def scaled_dot_product_attention(call: Call) -> Any:
    """Attention: batches and heads concern each other not at all."""
    query, key, value = call.tensors[:3]
    shape = (*flambeau.broadcast_shapes(query.shape[:-2], value.shape[:-2]), query.shape[-2], value.shape[-1])
    drops = argument(call, 4, "dropout_p", 0.0)
    same = query.shape[:-2] == key.shape[:-2] == value.shape[:-2] and not drops

    def ways(call: Call, axis: int) -> Iterator[Way]:
        for dim in range(query.dim() - 2) if same else ():
            masks = []
            for mask in call.tensors[3:]:
                own = dim - (query.dim() - mask.dim())
                masks.append(Shard(own) if own >= 0 and mask.shape[own] == query.shape[dim] else WHOLE)
            yield [Shard(dim)] * 3 + masks, Shard(dim)

    return run(call, choose(call, ways), shape)
