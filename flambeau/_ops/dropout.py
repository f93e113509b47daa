"""Dropout. Which elements are kept is drawn when the function is called; the products are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._ops.creation import empty_like, new_empty
from flambeau._ops.generators import default_generator
from flambeau._ops.meta import nowhere
from flambeau._ops.operator import Operator
from flambeau._runtime import random as streams
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_dropout(operands: tuple, statics: tuple) -> lay.Layout:
    return lay.like(operands[0], operands[0].dtype)


def _lower_dropout(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple) -> Node:
    x, mask, scale = operands
    dtype = x.dtype
    kept = graph.cast(graph.cast(mask, dtype.compute) * graph.cast(scale, dtype.compute), dtype)
    return graph.cast(graph.wide(x) * graph.wide(kept), dtype)


DROPOUT = Operator("dropout", ("input", "mask", "scale"), infer=_infer_dropout, lower=_lower_dropout, grad_name="MulBackward0")
DROPOUT.gradient(input=lambda grad, mask, scale: DROPOUT(grad, mask, scale))


def _mask(input: Tensor, p: float) -> Tensor:
    """True for what is kept. It is drawn in the order in which the elements of the result lie in memory."""
    layout = input.layout
    if input.memory.device is not CPU:
        return nowhere(lay.contiguous(layout.shape, dt.bool))
    if LOCAL.tape.batched:
        return LOCAL.tape.draw(lambda shape: _drawn_mask(lay.contiguous(shape, dt.bool), p), layout.shape)
    return _drawn_mask(lay.like(layout, dt.bool), p)


def _drawn_mask(layout: lay.Layout, p: float) -> Tensor:
    mask = new_empty(layout)
    assert mask.memory.buffer is not None
    streams.write_bernoulli(default_generator.engine, mask.memory.buffer.address, layout.numel, 1 - p)
    return mask


def _check_chance(p: float) -> None:
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    """Each element set to 0 with probability ``p``, the others divided by ``1 - p``; the input itself when not training."""
    _check_chance(p)
    if not input.layout.numel or not train or p == 0:
        return input
    if p == 1:
        return input * 0.0
    if LOCAL.tape.dispatches:
        return input * empty_like(input).bernoulli_(1.0 - p).div_(1.0 - p)
    return DROPOUT(input, _mask(input, p), 1.0 / (1.0 - p))


def dropout_(input: Tensor, p: float = 0.5, train: bool = True) -> Tensor:
    """In-place version of ``dropout()``."""
    _check_chance(p)
    if not input.layout.numel or not train or p == 0:
        return input
    if p == 1:
        return input.mul_(0.0)
    if LOCAL.tape.dispatches:
        return input.mul_(empty_like(input).bernoulli_(1.0 - p).div_(1.0 - p))
    return DROPOUT.inplace(input, input, _mask(input, p), 1.0 / (1.0 - p))


PUBLIC = ("dropout", "dropout_")
METHODS = ()
