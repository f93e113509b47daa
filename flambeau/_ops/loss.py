"""Losses that are operators of their own: negative log likelihood and binary cross entropy."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau._ops.operator import Operator
from flambeau._ops.positions import unravel
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

NONE, MEAN, SUM = range(3)


def _axis(input: Layout) -> int:
    """The axis of the classes."""
    return 0 if input.ndim == 1 else 1


def _infer_nll(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    input, target = operands[:2]
    axis = _axis(input)
    classes = input.shape[axis]
    wanted = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.shape != wanted:
        batches_differ = bool(wanted) and target.shape[:1] != wanted[:1]
        raise (ValueError if batches_differ else RuntimeError)(
            f"nll_loss: an input of shape {list(input.shape)} ({classes} classes) needs a target of shape {list(wanted)}, but got a target of shape {list(target.shape)}"
        )
    if target.dtype not in (dt.int64, dt.uint8):
        raise RuntimeError(
            f"nll_loss: expected scalar type Long but found {dt.TITLES[target.dtype]}: targets are classes, as target.long()"
        )
    if classes == 0 and target.numel:
        raise IndexError(f"nll_loss: every target is out of range for 0 classes, in an input of shape {list(input.shape)}")
    if len(operands) == 3 and operands[2].shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: {list(operands[2].shape)}"
        )
    shape = wanted if statics[0] == NONE else ()
    return lay.contiguous(shape, input.dtype), lay.contiguous((), input.dtype)


def _picked(graph: Graph, operands: list[Node], statics: tuple, classes: int) -> tuple[Node, Node]:
    """The target, with ignored positions as class 0, and the weight of each position (0 where ignored)."""
    target = graph.cast(operands[1], dt.int64)
    ignore_index = statics[1]
    ignored = target.equals(ignore_index)

    def make(position: int, value: int) -> Exception:
        return IndexError(
            f"nll_loss: target {value} is out of range for {classes} classes (rule: 0 <= target < C or target == ignore_index (= {ignore_index})), "
            f"at position {unravel(position, target.shape)}: Target {value} is out of bounds."
        )

    outside = (target < 0) | (target >= classes)
    if target.numel:
        graph.check(outside & ~ignored, target, make)
    place = graph.where(outside | ignored, 0, target)  # where it is safe to read, although the check fails
    dtype = operands[0].dtype.compute
    if len(operands) == 3:
        source = operands[2].plain
        layout = lay.layout(place.shape, (0,) * place.ndim, source.layout.offset, source.dtype)
        weight = graph.wide(graph.gather(source, layout, [place], [source.layout.strides[0]]))
    else:
        weight = graph.constant(1.0, dtype, place.shape)
    return place, graph.where(ignored, 0.0, weight)


def _lower_nll(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
    input = operands[0].plain
    axis = 0 if input.ndim == 1 else 1
    place, weight = _picked(graph, operands, statics, input.shape[axis])
    strides = input.layout.strides
    layout = lay.layout(place.shape, (*strides[:axis], *strides[axis + 1 :]), input.layout.offset, input.dtype)
    losses = graph.where(weight.equals(0.0), 0.0, -graph.wide(graph.gather(input, layout, [place], [strides[axis]])) * weight)
    axes = range(place.ndim)
    total = weight.sum(axes) if place.ndim else weight
    if statics[0] == NONE:
        return graph.cast(losses, layouts[0].dtype), graph.cast(total, layouts[1].dtype)
    loss = losses.sum(axes) if place.ndim else losses
    return graph.cast(loss / total if statics[0] == MEAN else loss, layouts[0].dtype), graph.cast(total, layouts[1].dtype)


NLL_LOSS = Operator(
    "nll_loss", ("input", "target", "weight"), ("reduction", "ignore_index"), infer=_infer_nll, lower=_lower_nll, keeps_origin=True
)


def _infer_nll_backward(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(statics[2], operands[0].dtype)


def _lower_nll_backward(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """``-weight * grad`` at the target's class, 0 at the others."""
    grad, target, total = operands[:3]
    shape = statics[2]
    axis = 0 if len(shape) == 1 else 1
    place, weight = _picked(graph, [grad, target, *operands[3:]], (statics[0], statics[1]), shape[axis])
    value = -graph.wide(grad).expand(place.shape) * weight
    if statics[0] == MEAN:  # over nothing, where all are ignored: these have no gradient even so
        value = graph.where(graph.cast(target, dt.int64).equals(statics[1]), 0.0, value / graph.wide(total).expand(place.shape))
    hit = graph.iota(shape, axis).equals(place.unsqueeze(axis).expand(shape))
    return graph.cast(graph.where(hit, value.unsqueeze(axis).expand(shape), 0.0), layouts[0].dtype)


NLL_BACKWARD = Operator(
    "_nll_loss_backward",
    ("grad_output", "target", "total", "weight"),
    ("reduction", "ignore_index", "shape"),
    infer=_infer_nll_backward,
    lower=_lower_nll_backward,
    keeps_origin=True,
)


def _nll_gradient(
    grad0: Tensor, target: Tensor, weight: Tensor | None, result1: Tensor, input_shape: tuple, reduction: int, ignore_index: int
) -> Tensor:
    operands = (grad0, target, result1.detach(), *(() if weight is None else (weight,)))
    return NLL_BACKWARD(*operands, statics=(reduction, ignore_index, input_shape))


NLL_LOSS.gradient(input=_nll_gradient)


def _nll_again(grad: Tensor, target: Tensor, total: Tensor, weight: Tensor | None, reduction: int, ignore_index: int) -> Tensor:
    operands = (grad, target, *(() if weight is None else (weight,)))
    return NLL_LOSS(*operands, statics=(reduction, ignore_index))[0]


NLL_BACKWARD.gradient(grad_output=_nll_again)


def nll_loss_nd(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = MEAN, ignore_index: int = -100) -> Tensor:
    """``-weight[target] * input[target]`` for each position, their weighted mean, or their sum.

    Shapes: input ``(C)``, ``(N, C)`` or ``(N, C, *)``; target ``()``, ``(N)`` or ``(N, *)``.

    Raises:
        IndexError: a target is no class (at the flush).
        RuntimeError: targets are neither int64 nor uint8.
    """
    operands = (input, target) if weight is None else (input, target, weight)
    return NLL_LOSS(*operands, statics=(reduction, ignore_index))[0]


# -- binary cross entropy --------------------------------------------------------------------------------------------


def _infer_bce(operands: tuple, statics: tuple) -> Layout:
    input, target = operands[:2]
    if input.shape != target.shape:
        raise ValueError(
            f"Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}) is deprecated. Please ensure they have the same size."
        )
    if input.dtype is not target.dtype:
        raise RuntimeError(
            f"binary_cross_entropy: found dtype {dt.TITLES[target.dtype]} but expected {dt.TITLES[input.dtype]}: target must have the dtype of "
            "the input, as target.to(input.dtype)"
        )
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"\"binary_cross_entropy\" not implemented for '{dt.TITLES[input.dtype]}': probabilities are fractions")
    return lay.elementwise(input.shape, input.dtype, operands[:2])


def _lower_bce(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    x, target = (graph.wide(operand) for operand in operands)
    shape = x.shape

    def make(position: int, detail: int) -> Exception:
        return RuntimeError(
            f"all elements of input should be between 0 and 1 (binary_cross_entropy, at position {unravel(position, shape)})"
        )

    if prod(shape):
        graph.check(~((x >= 0.0) & (x <= 1.0)), graph.constant(0, dt.int64, shape), make)
    high = graph.map("maximum", graph.map("log", x), -100.0)
    low = graph.map("maximum", graph.map("log1p", -x), -100.0)
    return graph.cast((target - 1.0) * low - target * high, layouts[0].dtype)


BCE = Operator("binary_cross_entropy", ("input", "target"), infer=_infer_bce, lower=_lower_bce, keeps_origin=True)
BCE.gradient(
    input=lambda grad, input, target: grad * (input - target) / ((1 - input) * input).clamp(min=1e-12),
    target=lambda grad, input: grad * ((-input).log1p().clamp(min=-100) - input.log().clamp(min=-100)),
)


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = MEAN) -> Tensor:
    """``-(target * log(input) + (1 - target) * log(1 - input))``, the logarithms not below -100; weighted, and averaged or summed."""
    loss = BCE(input, target)
    if weight is not None:
        loss = loss * weight
    return loss if reduction == NONE else loss.mean() if reduction == MEAN else loss.sum()


PUBLIC = ()
METHODS = ()
