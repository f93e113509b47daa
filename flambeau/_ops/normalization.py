"""Normalisation: batch, group, layer and root-mean-square norms, by the same two reductions.

Each computes ``(x - E[x]) / sqrt(Var[x] + eps) * weight + bias``; they differ in the axes of the statistics, and the root-mean-square norm in
that it takes 0 for the mean.

Mean and variance (``moments.py``) are float64. The mean is taken off in two parts, so that all of its bits count: the statistics are right where the mean is
a million standard deviations, and at 1e30. The rest of what is done for each element is in the compute dtype (float32 for half precision).

Sources: Ioffe and Szegedy, arXiv:1502.03167; Wu and He, arXiv:1803.08494; Ba et al., arXiv:1607.06450; Zhang and Sennrich, arXiv:1910.07467.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau._ops.copying import suggested_format
from flambeau._ops.moments import kept, moments
from flambeau._ops.operator import Operator
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Shape = tuple[int, ...]

# The operators see every norm alike: an array of ``shape`` (a refinement of the input's), statistics over ``axes``, and a weight and bias
# that belong to ``affine`` axes. Without ``centered`` the mean is taken as 0.
STATICS = ("shape", "axes", "affine", "centered")


def _infer_norm(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    shape, axes, *_ = statics
    source = operands[0]
    left = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    precise, rounded = (lay.contiguous(left, dtype) for dtype in (dt.float64, source.dtype.compute))
    return suggested_format(source).layout(lay.contiguous(source.shape, source.dtype)), precise, rounded, precise


def _fit(graph: Graph, node: Node, shape: Shape, affine: Shape) -> Node:
    """A weight or bias, in the compute dtype, broadcast to ``shape``."""
    return graph.wide(node).reshape(tuple(shape[axis] if axis in affine else 1 for axis in range(len(shape)))).expand(shape)


def _steps(axes: Shape, affine: Shape, layout: Layout) -> tuple[Shape, ...]:
    """The axes of the statistics, in the steps in which they are reduced.

    Where channels lie side by side in memory the positions come first: a vector is then one of channels, of several groups if need be.
    """
    positions, channels = _parts(axes, affine)
    return (positions, channels) if positions and channels and _channels_last(layout) else (axes,)


def _channels_last(layout: Layout) -> bool:
    return layout.ndim > 2 and layout.strides[1] == 1 and layout.shape[1] > 1


def _parts(axes: Shape, affine: Shape) -> tuple[Shape, Shape]:
    """The axes that a weight does not have, and those that it has."""
    return tuple(axis for axis in axes if axis not in affine), tuple(axis for axis in axes if axis in affine)


def _spread(graph: Graph, statistic: Node | None, shape: Shape, steps: Sequence[Shape]) -> Any:
    """A statistic (if there is one) as it is read for each element: in nested steps each channel has one of its own."""
    if statistic is None:
        return None
    if len(steps) > 1:
        statistic = graph.copy(statistic.expand(kept(shape, steps[0])))
    return statistic.expand(shape)


def _lower_norm(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    shape, axes, affine, centered = statics
    inner, *channels = steps = _steps(axes, affine, layouts[0])
    mean, variance = moments(graph, operands[0].reshape(shape), inner, centered)
    for axes_left in channels:
        mean, variance = _together(graph, mean, variance, axes_left)
    rstd = graph.cast(graph.map("rsqrt", variance + graph.cast(operands[1], dt.float64)), layouts[2].dtype)
    normalise = _Normaliser(graph, mean if centered else None, rstd, shape, steps)
    with graph.apart("norm: result"):
        result = normalise(operands[0])
        parameters = [_fit(graph, operand, shape, affine) for operand in operands[2:]]
        if parameters:
            result = result * parameters[0] if len(parameters) == 1 else graph.map("fma", result, *parameters)
        result = graph.cast(result, layouts[0].dtype).reshape(layouts[0].shape)
    return result, *(each.reshape(layouts[1].shape) for each in (mean, rstd, variance))


def _together(graph: Graph, mean: Node, variance: Node, axes: Shape) -> tuple[Node, Node]:
    """Mean and variance of parts of equal size as those of the whole: the means of the parts vary, too."""
    count = float(prod(mean.shape[axis] for axis in axes))
    whole = graph.reduce("sum", mean, axes, keepdim=True) / count
    spread = graph.map("square", mean - whole.expand(mean.shape))
    return whole, graph.reduce("sum", variance + spread, axes, keepdim=True) / count


def _less(x: Node, shift: Node | None) -> Node:
    return x if shift is None else x - shift


class _Normaliser:
    """Divides what is left without the mean by the standard deviation.

    The mean has two parts, the second being what the first has no bits for: it is divided on its own, and taken off as the rest is multiplied.
    """

    def __init__(self, graph: Graph, mean: Node | None, rstd: Node, shape: Shape, steps: Sequence[Shape]) -> None:
        self.graph = graph
        self.shape = shape
        self.rstd = _spread(graph, rstd, shape, steps)
        self.leading = self.rest = None
        if mean is not None:
            leading = graph.cast(mean, rstd.dtype)
            self.leading = _spread(graph, leading, shape, steps)
            if mean.dtype is not rstd.dtype:
                rest = (graph.cast(leading, mean.dtype) - mean) * graph.cast(rstd, mean.dtype)
                self.rest = _spread(graph, graph.cast(rest, rstd.dtype), shape, steps)

    def __call__(self, x: Node) -> Node:
        x = _less(self.graph.wide(x).reshape(self.shape), self.leading)
        return x * self.rstd if self.rest is None else self.graph.map("fma", x, self.rstd, self.rest)


NORM = Operator(
    "native_norm",
    ("input", "eps", "weight", "bias"),
    STATICS,
    infer=_infer_norm,
    lower=_lower_norm,
    grad_name="NativeGroupNormBackward0",
)

# -- gradients -------------------------------------------------------------------------------------------------------


FEW_POSITIONS = 128
"""With fewer positions a channel it is dearer to fold a sum for each channel of each sample than to read everything once more."""


class _Backward:
    """What both gradients are made of. With ``g`` the gradient and ``n`` the normalised input: the sums of ``g n`` and of ``g``."""

    def __init__(self, graph: Graph, operands: Sequence[Node], shape: Shape, axes: Shape, affine: Shape, centered: bool) -> None:
        self.graph = graph
        self.operands = operands
        self.shape = shape
        self.positions, self.channels = _parts(axes, affine)
        many = prod(shape[axis] for axis in self.positions) >= FEW_POSITIONS
        self.nested = bool(self.positions and self.channels) and (many or _channels_last(operands[1].layout))
        self.steps = (self.positions, self.channels) if self.nested else (axes,)
        mean, rstd = (operand.reshape(kept(shape, axes)) for operand in operands[2:4])
        self.normalise = _Normaliser(graph, mean if centered else None, rstd, shape, self.steps)

    def grad_and_normal(self) -> tuple[Node, Node]:
        """The gradient and the normalised input."""
        return self.graph.wide(self.operands[0]).reshape(self.shape), self.normalise(self.operands[1])

    def totals(self, axes: Shape, weight: Node | None) -> list[Node]:
        """The sums over ``axes`` of ``g n`` and ``g``, each times a weight that was broadcast to the shape of the input.

        Sums over the positions of a channel serve both gradients. Where there are none, each gradient computes what it adds: to keep the products is to
        write and read as much as the input once more.
        """
        graph = self.graph
        inner = self.positions if self.nested else axes
        outer = tuple(axis for axis in axes if axis not in inner)
        with graph.apart("norm: sums" if self.nested else f"norm: sums over {axes}"):
            grad, normal = self.grad_and_normal()
            level = weight is None or inner == self.positions  # the weight is the same for all that is added
            if not level:
                grad = grad * weight
            totals = [graph.reduce("sum", each, inner, keepdim=True) for each in (grad * normal, grad)]
            if level and weight is not None:
                totals = [total * _at_start(weight, inner) for total in totals]
            return [graph.reduce("sum", total, outer, keepdim=True) if outer else total for total in totals]


def _at_start(weight: Node, axes: Shape) -> Node:
    """A weight that is the same along ``axes``, at the start of these."""
    for axis in axes:
        weight = weight.slice(axis, 0, 1)
    return weight


def _infer_norm_input(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[1], operands[1].dtype)


def _lower_norm_input(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """``rstd * (g - mean(g) - n * mean(g * n))`` with ``g = grad * weight`` and the normalised input ``n``."""
    shape, axes, affine, centered = statics
    backward = _Backward(graph, operands, shape, axes, affine, centered)
    weight = _fit(graph, operands[4], shape, affine) if len(operands) == 5 else None
    count = float(prod(shape[axis] for axis in axes))
    along, level = (_spread(graph, total / count, shape, backward.steps) for total in backward.totals(axes, weight))
    with graph.apart("norm: input"):
        grad, normal = backward.grad_and_normal()
        result = grad if weight is None else grad * weight
        result = _less(result, level if centered else None) - normal * along
        return graph.cast(result * backward.normalise.rstd, layouts[0].dtype).reshape(layouts[0].shape)


NORM_INPUT = Operator(
    "_norm_input_backward",
    ("grad_output", "input", "mean", "rstd", "weight"),
    STATICS,
    infer=_infer_norm_input,
    lower=_lower_norm_input,
)


def _infer_norm_weight(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    *_, parameter, dtype = statics
    return lay.contiguous(parameter, dtype), lay.contiguous(parameter, dtype)


def _lower_norm_weight(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
    """The gradients of weight and bias: ``sum(grad * n)`` and ``sum(grad)`` over all axes that they do not have."""
    shape, axes, affine, centered, parameter, dtype = statics
    others = tuple(axis for axis in range(len(shape)) if axis not in affine)
    weight, bias = _Backward(graph, operands, shape, axes, affine, centered).totals(others, None)
    return graph.cast(weight, dtype).reshape(parameter), graph.cast(bias, dtype).reshape(parameter)


NORM_WEIGHT = Operator(
    "_norm_weight_backward",
    ("grad_output", "input", "mean", "rstd"),
    (*STATICS, "parameter", "dtype"),
    infer=_infer_norm_weight,
    lower=_lower_norm_weight,
)


def _norm_input(
    grad0: Tensor,
    input: Tensor,
    weight: Tensor | None,
    result1: Tensor,
    result2: Tensor,
    shape: Shape,
    axes: Shape,
    affine: Shape,
    centered: bool,
) -> Tensor:
    operands = (grad0, input, result1.detach(), result2.detach(), *(() if weight is None else (weight,)))
    return NORM_INPUT(*operands, statics=(shape, axes, affine, centered))


def _norm_parameter(which: int) -> Any:
    def formula(
        grad0: Tensor,
        input: Tensor,
        weight_layout: Layout,
        result1: Tensor,
        result2: Tensor,
        shape: Shape,
        axes: Shape,
        affine: Shape,
        centered: bool,
    ) -> Tensor:
        statics = (shape, axes, affine, centered, weight_layout.shape, weight_layout.dtype)
        return NORM_WEIGHT(grad0, input, result1.detach(), result2.detach(), statics=statics)[which]

    return formula


NORM.gradient(input=_norm_input, weight=_norm_parameter(0), bias=_norm_parameter(1))

# -- gradients of the gradients: the same formulas in public operators (and in float64), through autograd ---------------


def widened(input: Tensor, shape: Shape) -> Tensor:
    return input.to(dt.float64).reshape(shape)


def _normal_again(input: Tensor, rstd: Tensor, statics: tuple) -> tuple[Tensor, Tensor]:
    """The normalised input and the factor that normalises it, as differentiable functions of the input."""
    shape, axes, _, centered = statics
    x = widened(input, shape)
    if centered:
        x = x - x.mean(axes, keepdim=True)
    variance = (x * x).mean(axes, keepdim=True)
    eps = (1.0 / widened(rstd, kept(shape, axes)).square()).detach() - variance.detach()
    scale = (variance + eps).rsqrt()
    return x * scale, scale


def _input_gradient(grad: Tensor, input: Tensor, rstd: Tensor, weight: Tensor | None, statics: tuple) -> Tensor:
    """What ``NORM_INPUT`` computes."""
    shape, axes, affine, centered = statics
    normal, scale = _normal_again(input, rstd, statics)
    g = widened(grad, shape)
    if weight is not None:
        g = g * widened(weight, tuple(shape[axis] if axis in affine else 1 for axis in range(len(shape))))
    result = g - normal * (g * normal).mean(axes, keepdim=True)
    if centered:
        result = result - g.mean(axes, keepdim=True)
    return (result * scale).reshape(input.shape).to(input.dtype)


def _parameter_gradients(grad: Tensor, input: Tensor, rstd: Tensor, parameter: Shape, statics: tuple) -> tuple[Tensor, Tensor]:
    """What ``NORM_WEIGHT`` computes."""
    shape, _, affine, _ = statics
    others = tuple(axis for axis in range(len(shape)) if axis not in affine)
    g = widened(grad, shape)
    normal, _ = _normal_again(input, rstd, statics)
    return (g * normal).sum(others).reshape(parameter), g.sum(others).reshape(parameter)


def again(function: Any, inputs: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: int) -> Tensor | None:
    """The gradient of one input of a composite, through autograd (differentiable where the graph is being recorded)."""
    from flambeau import autograd

    create = LOCAL.tape.grad
    with autograd.enable_grad():
        # Only the input that is asked for needs a path; others keep their history if the graph is to be recorded.
        leaves = [value if create and value.requires_grad else value.detach() for value in inputs]
        if not leaves[wanted].requires_grad:
            leaves[wanted].requires_grad_()
        outputs = function(*leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [
            (output, grad.to(output.dtype))
            for output, grad in zip(outputs, grads, strict=True)
            if grad is not None and output.requires_grad
        ]
        if not pairs:
            return None
        return autograd.grad(
            [each[0] for each in pairs], [leaves[wanted]], [each[1] for each in pairs], create_graph=create, allow_unused=True
        )[0]


def _input_again(position: int) -> Any:
    def formula(
        grad: Tensor,
        grad_output: Tensor,
        input: Tensor,
        rstd: Tensor,
        weight: Tensor | None,
        shape: Shape,
        axes: Shape,
        affine: Shape,
        centered: bool,
    ) -> Tensor | None:
        statics = (shape, axes, affine, centered)
        inputs = [grad_output, input] if weight is None else [grad_output, input, weight]
        return again(lambda g, x, w=None: _input_gradient(g, x, rstd, w, statics), inputs, (grad,), position)

    return formula


NORM_INPUT.gradient(grad_output=_input_again(0), input=_input_again(1), weight=_input_again(2))


def _weight_again(position: int) -> Any:
    def formula(
        grad0: Tensor,
        grad1: Tensor,
        grad_output: Tensor,
        input: Tensor,
        rstd: Tensor,
        shape: Shape,
        axes: Shape,
        affine: Shape,
        centered: bool,
        parameter: Shape,
    ) -> Tensor | None:
        statics = (shape, axes, affine, centered)
        return again(lambda g, x: _parameter_gradients(g, x, rstd, parameter, statics), (grad_output, input), (grad0, grad1), position)

    return formula


NORM_WEIGHT.gradient(grad_output=_weight_again(0), input=_weight_again(1))


PUBLIC = ()
METHODS = ()
