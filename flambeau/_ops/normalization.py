"""Normalisation: batch, group, layer and root-mean-square norms, by the same two reductions.

Each computes ``(x - E[x]) / sqrt(Var[x] + eps) * weight + bias``; they differ in the axes of the statistics. The variance is that of the
elements less their mean, in a second pass over data that is in cache, so that it is right where the mean is large; half precision is
computed in float32.

Sources: Ioffe and Szegedy, arXiv:1502.03167; Wu and He, arXiv:1803.08494; Ba et al., arXiv:1607.06450; Zhang and Sennrich, arXiv:1910.07467.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau._ops.operator import Operator, write
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph, Node
    from flambeau._tensor.tensor import Tensor

Shape = tuple[int, ...]

# The operators see every norm alike: an array of ``shape`` (a refinement of the input's), statistics over ``axes``, and a weight and bias
# that belong to ``affine`` axes. Statics are (shape, axes, affine).


def _grouped_strides(source: Layout, shape: Shape) -> Layout:
    """The layout of a result that keeps the input's order in memory."""
    return lay.like(source, source.dtype)


def _statistics_layout(shape: Shape, axes: Shape, dtype: dt.dtype) -> Layout:
    return lay.contiguous(tuple(size for axis, size in enumerate(shape) if axis not in axes), dtype)


def _infer_norm(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    shape, axes, _ = statics
    source = operands[0]
    statistics = _statistics_layout(shape, axes, source.dtype.compute)
    return _grouped_strides(source, shape), statistics, statistics, statistics


def _fit(graph: Graph, node: Node, shape: Shape, affine: Shape) -> Node:
    """A weight or bias, in the compute dtype, broadcast to ``shape``."""
    return graph.wide(node).reshape(tuple(shape[axis] if axis in affine else 1 for axis in range(len(shape)))).expand(shape)


def _keep(shape: Shape, axes: Shape) -> Shape:
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def _lower_norm(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, ...]:
    shape, axes, affine = statics
    eps = operands[1]
    x = graph.wide(operands[0]).reshape(shape)
    count = float(prod(shape[axis] for axis in axes))
    kept = _keep(shape, axes)
    mean = x.sum(axes) / count
    centered = x - mean.reshape(kept)
    variance = graph.map("square", centered).sum(axes) / count
    rstd = graph.map("rsqrt", variance + graph.cast(eps, x.dtype))
    result = centered * rstd.reshape(kept)
    for number, operand in enumerate(operands[2:]):
        fitted = _fit(graph, operand, shape, affine)
        result = result * fitted if number == 0 else result + fitted
    return graph.cast(result, layouts[0].dtype).reshape(layouts[0].shape), mean, rstd, variance


NORM = Operator(
    "native_norm",
    ("input", "eps", "weight", "bias"),
    ("shape", "axes", "affine"),
    infer=_infer_norm,
    lower=_lower_norm,
    grad_name="NativeGroupNormBackward0",
)


def _infer_norm_input(operands: tuple, statics: tuple) -> Layout:
    return lay.like(operands[1], operands[1].dtype)


def _lower_norm_input(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """``rstd * (g - mean(g) - xhat * mean(g * xhat))`` with ``g = grad * weight``."""
    shape, axes, affine = statics
    grad, x = (graph.wide(operand).reshape(shape) for operand in operands[:2])
    kept = _keep(shape, axes)
    mean, rstd = (operand.reshape(kept) for operand in operands[2:4])
    if len(operands) == 5:
        grad = grad * _fit(graph, operands[4], shape, affine)
    normal = (x - mean) * rstd
    count = float(prod(shape[axis] for axis in axes))
    first = grad.sum(axes) / count
    second = (grad * normal).sum(axes) / count
    result = (grad - first.reshape(kept) - normal * second.reshape(kept)) * rstd
    return graph.cast(result, layouts[0].dtype).reshape(layouts[0].shape)


NORM_INPUT = Operator(
    "_norm_input_backward",
    ("grad_output", "input", "mean", "rstd", "weight"),
    ("shape", "axes", "affine"),
    infer=_infer_norm_input,
    lower=_lower_norm_input,
)


def _infer_norm_weight(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    shape, _, affine, parameter, dtype = statics
    return lay.contiguous(parameter, dtype), lay.contiguous(parameter, dtype)


def _lower_norm_weight(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> tuple[Node, Node]:
    """The gradients of weight and bias: ``sum(grad * xhat)`` and ``sum(grad)`` over all axes that they do not have."""
    shape, axes, affine, parameter, dtype = statics
    grad, x = (graph.wide(operand).reshape(shape) for operand in operands[:2])
    kept = _keep(shape, axes)
    mean, rstd = (operand.reshape(kept) for operand in operands[2:4])
    others = tuple(axis for axis in range(len(shape)) if axis not in affine)
    normal = (x - mean) * rstd
    weight = (grad * normal).sum(others)
    bias = grad.sum(others)
    return graph.cast(weight, dtype).reshape(parameter), graph.cast(bias, dtype).reshape(parameter)


NORM_WEIGHT = Operator(
    "_norm_weight_backward",
    ("grad_output", "input", "mean", "rstd"),
    ("shape", "axes", "affine", "parameter", "dtype"),
    infer=_infer_norm_weight,
    lower=_lower_norm_weight,
)


def _xhat(input: Tensor, mean: Tensor, rstd: Tensor, statics: tuple) -> Tensor:
    """The normalised input as a differentiable function of the input alone (the statistics are computed again)."""
    shape, axes, _ = statics
    x = input.to(input.dtype.compute).reshape(shape)
    centered = x - x.mean(axes, keepdim=True)
    variance = (centered * centered).mean(axes, keepdim=True)
    eps = (1.0 / (rstd * rstd)).reshape(_keep(shape, axes)).detach() - variance.detach()
    return centered * (variance + eps).rsqrt()


def _composite_input(grad: Tensor, input: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, statics: tuple) -> Tensor:
    """``NORM_INPUT`` in public operators, for its own gradients."""
    shape, axes, affine = statics
    x = input.to(input.dtype.compute).reshape(shape)
    centered = x - x.mean(axes, keepdim=True)
    variance = (centered * centered).mean(axes, keepdim=True)
    eps = (1.0 / (rstd * rstd)).reshape(_keep(shape, axes)).detach() - variance.detach()
    scale = (variance + eps).rsqrt()
    normal = centered * scale
    g = grad.to(x.dtype).reshape(shape)
    if weight is not None:
        g = g * weight.to(x.dtype).reshape(tuple(shape[axis] if axis in affine else 1 for axis in range(len(shape))))
    return ((g - g.mean(axes, keepdim=True) - normal * (g * normal).mean(axes, keepdim=True)) * scale).reshape(input.shape).to(input.dtype)


def _again(function: Any, inputs: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: int) -> Tensor | None:
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
        pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None and output.requires_grad]
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
        mean: Tensor,
        rstd: Tensor,
        weight: Tensor | None,
        shape: Shape,
        axes: Shape,
        affine: Shape,
    ) -> Tensor | None:
        statics = (shape, axes, affine)
        inputs = [grad_output, input] if weight is None else [grad_output, input, weight]
        return _again(
            lambda *given: _composite_input(given[0], given[1], mean, rstd, given[2] if weight is not None else None, statics),
            inputs,
            (grad,),
            position,
        )

    return formula


NORM_INPUT.gradient(grad_output=_input_again(0), input=_input_again(1), weight=_input_again(2))


def _weight_again(position: int) -> Any:
    def formula(
        grad0: Tensor,
        grad1: Tensor,
        grad_output: Tensor,
        input: Tensor,
        mean: Tensor,
        rstd: Tensor,
        shape: Shape,
        axes: Shape,
        affine: Shape,
        parameter: Shape,
    ) -> Tensor | None:
        def composite(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            others = tuple(axis for axis in range(len(shape)) if axis not in affine)
            g = grad.to(x.dtype.compute).reshape(shape)
            return (g * _xhat(x, mean, rstd, (shape, axes, affine))).sum(others).reshape(parameter), g.sum(others).reshape(parameter)

        return _again(composite, (grad_output, input), (grad0, grad1), position)

    return formula


NORM_WEIGHT.gradient(grad_output=_weight_again(0), input=_weight_again(1))


def _norm_input(
    grad0: Tensor, input: Tensor, weight: Tensor | None, result1: Tensor, result2: Tensor, shape: Shape, axes: Shape, affine: Shape
) -> Tensor:
    operands = (grad0, input, result1.detach(), result2.detach(), *(() if weight is None else (weight,)))
    return NORM_INPUT(*operands, statics=(shape, axes, affine))


def _norm_parameter(which: int) -> Any:
    def formula(
        grad0: Tensor, input: Tensor, weight_layout: Layout, result1: Tensor, result2: Tensor, shape: Shape, axes: Shape, affine: Shape
    ) -> Tensor:
        statics = (shape, axes, affine, weight_layout.shape, weight_layout.dtype)
        return NORM_WEIGHT(grad0, input, result1.detach(), result2.detach(), statics=statics)[which]

    return formula


NORM.gradient(input=_norm_input, weight=_norm_parameter(0), bias=_norm_parameter(1))


def _affine_operands(weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
    if weight is None and bias is not None:
        from flambeau._ops.creation import ones_like

        weight = ones_like(bias)
    return tuple(each for each in (weight, bias) if each is not None)


# -- group and layer norm --------------------------------------------------------------------------------------------


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Tensor:
    """Normalise each group of channels of each sample: input ``(N, C, *)``, weight and bias ``(C)``.

    Raises:
        RuntimeError: ``C`` is not divisible by ``num_groups``, or a weight has the wrong length.
    """
    shape = input.layout.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"group_norm: expected at least 2 dimensions (N, C, *) for input tensor but received {len(shape)}, of shape {list(shape)}"
        )
    count, channels = shape[:2]
    if num_groups <= 0:
        raise RuntimeError(f"group_norm: num_groups must be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(shape)} and num_groups={num_groups}: "
            f"num_channels (={channels}) must be divisible by num_groups (={num_groups})"
        )
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.layout.shape != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape {list(parameter.layout.shape)} and input of shape {list(shape)}"
            )
    rest = shape[2:]
    full = (count, num_groups, channels // num_groups, *rest)
    if input.layout.numel == 0:
        return _empty_norm(input, weight, bias)
    return NORM(input, eps, *_affine_operands(weight, bias), statics=(full, tuple(range(2, len(full))), (1, 2)))[0]


def _empty_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Of no elements: the input itself as far as values go, with zero gradients for weight and bias."""
    result = input * 1
    for parameter in (weight, bias):
        if parameter is not None:
            result = result + parameter.sum() * 0
    return result


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalise over the last dimensions, which must have ``normalized_shape``; so must weight and bias.

    Raises:
        RuntimeError: the shapes do not agree.
    """
    normalized = tuple(normalized_shape)
    shape = input.layout.shape
    _check_normalized("layer_norm", shape, normalized, weight, bias)
    if input.layout.numel == 0:
        return _empty_norm(input, weight, bias)
    input = input.contiguous()  # as its result is, whatever the input's strides are
    lead = len(shape) - len(normalized)
    axes = tuple(range(lead, len(shape)))
    return NORM(input, eps, *_affine_operands(weight, bias), statics=(shape, axes, axes))[0]


def _check_normalized(name: str, shape: Shape, normalized: Shape, weight: Tensor | None, bias: Tensor | None) -> None:
    if not normalized:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []"
        )
    for what, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.layout.shape != normalized:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape {list(parameter.layout.shape)} and normalized_shape = {list(normalized)}"
            )
    if len(shape) < len(normalized) or shape[len(shape) - len(normalized) :] != normalized:
        stars = ", ".join(["*", *map(str, normalized)])
        raise RuntimeError(
            f"Given normalized_shape={list(normalized)}, expected input with shape [{stars}], but got input of size{list(shape)} ({name})"
        )


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """``input / sqrt(mean(input²) + eps) * weight`` over the last dimensions."""
    normalized = tuple(normalized_shape)
    _check_normalized("rms_norm", input.layout.shape, normalized, weight, None)
    axes = tuple(range(input.layout.ndim - len(normalized), input.layout.ndim))
    if eps is None:
        eps = {"float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}.get(input.layout.dtype.name, 2.0**-23)
    x = input.to(input.layout.dtype.compute)
    result = (x * ((x * x).mean(axes, keepdim=True) + eps).rsqrt()).to(input.layout.dtype)
    return result if weight is None else result * weight


# -- batch norm ------------------------------------------------------------------------------------------------------


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    """Normalise each channel (dimension 1) by the statistics of the batch when training, else by the running ones.

    When training, ``running_mean`` and ``running_var`` move towards the batch's mean and unbiased variance by ``momentum``.
    """
    shape = input.layout.shape
    channels = shape[1]
    for name, parameter in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.layout.shape != (channels,):
            raise RuntimeError(f"{name} should contain {channels} elements not {parameter.layout.numel} (input has shape {list(shape)})")
    column = (1, channels, *(1,) * (len(shape) - 2))
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("running_mean and running_var must be defined in evaluation mode")
        compute = input.layout.dtype.compute
        scale = (running_var.to(compute) + eps).rsqrt()
        if weight is not None:
            scale = scale * weight.to(compute)
        shift = -running_mean.to(compute) * scale
        if bias is not None:
            shift = shift + bias.to(compute)
        return (input.to(compute) * scale.reshape(column) + shift.reshape(column)).to(input.layout.dtype)
    if input.layout.numel == 0:
        return _empty_norm(input, weight, bias)
    axes = (0, *range(2, len(shape)))
    result, mean, _, variance = NORM(input, eps, *_affine_operands(weight, bias), statics=(shape, axes, (1,)))
    count = input.layout.numel // channels
    if running_mean is not None and running_var is not None:
        with _no_grad():
            unbiased = variance.detach() * (count / max(count - 1, 1))
            for running, batch in ((running_mean, mean.detach()), (running_var, unbiased)):
                write(running, (running * (1 - momentum) + batch.to(running.layout.dtype) * momentum))
    return result


def _no_grad() -> Any:
    from flambeau.autograd.grad_mode import no_grad

    return no_grad()


PUBLIC = ("batch_norm", "group_norm", "layer_norm", "rms_norm")
METHODS = ()
