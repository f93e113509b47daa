"""Activations: relu, gelu, silu and their kin, each one operator that rounds once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import into
from flambeau._ops.autocast import low
from flambeau._ops.elementwise import infer_float, infer_same
from flambeau._ops.joining import cat
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _activation(
    name: str, body: Callable[..., Node], numbers: tuple[str, ...] = (), *, statics: tuple[str, ...] = (), infer: Callable = infer_float
) -> Operator:
    """An operator whose element is ``body(graph, x, *numbers, *statics)``, computed in the compute dtype and rounded once."""

    def lower(graph: Graph, operands: list[Node], given: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        wide = [graph.cast(operand, dtype.compute) for operand in operands]
        return graph.cast(body(graph, *wide, *given), dtype)

    def shape(operands: tuple, given: tuple) -> Layout:
        return infer((operands[0],), given)

    return Operator(name, ("input", *numbers), statics, infer=shape, lower=lower)


def _no_bool(operands: tuple, statics: tuple) -> Layout:
    if operands[0].dtype is dt.bool:
        raise RuntimeError("Boolean inputs not supported for relu")
    if operands[0].dtype.is_complex:
        raise NotImplementedError(f'"clamp_min_scalar_cpu" not implemented for {operands[0].dtype!r}')
    return infer_same(operands, statics)


def _wide(input: Tensor) -> Tensor:
    """The operand of a gradient's formula in the compute dtype, so that what half precision is rounded to is the formula's result alone."""
    return FUNCTIONS.cast(input, input.layout.dtype.compute)


def _gate(grad: Tensor, condition: Tensor) -> Tensor:
    return FUNCTIONS.where(condition, grad, 0.0)


def _maximum_of_zero(graph: Graph, x: Node) -> Node:
    return graph.map("maximum", x, 0 if x.dtype.category < dt.FLOAT else 0.0)


def _lower_positive_gate(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    grad, result = operands
    zero = 0 if result.dtype.category < dt.FLOAT else 0.0
    return graph.where(result <= zero, graph.constant(0, grad.dtype), grad)  # NaN lets it through


RELU = _activation("relu", _maximum_of_zero, infer=_no_bool)
POSITIVE_GATE = Operator(
    "_relu_backward",
    ("grad_output", "output"),
    infer=lambda operands, statics: lay.like(operands[1], operands[0].dtype),
    lower=_lower_positive_gate,
)
POSITIVE_GATE.gradient(grad_output=lambda grad, output: POSITIVE_GATE(grad, output))
RELU.gradient(input=lambda grad, result: POSITIVE_GATE(grad, result))


def _sigmoid(graph: Graph, x: Node) -> Node:
    return graph.map("sigmoid", x)


SILU = _activation("silu", lambda graph, x: x * _sigmoid(graph, x) if x.dtype.is_complex else graph.map("silu", x))


def _silu_gradient(grad: Tensor, input: Tensor) -> Tensor:
    input = _wide(input)
    gate = input.sigmoid()
    return grad * (gate * (1 + input * (1 - gate)))


SILU.gradient(input=_silu_gradient)

_SQRT_HALF = math.sqrt(0.5)
_TANH_SCALE = math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715


def _gelu(graph: Graph, x: Node, approximate: str) -> Node:
    if approximate == "tanh":
        inner = (x + x * x * x * _TANH_CUBE) * _TANH_SCALE
        return x * 0.5 * (graph.map("tanh", inner) + 1.0)
    return graph.map("gelu", x)


GELU = _activation("gelu", _gelu, statics=("approximate",))


def _gelu_gradient(grad: Tensor, input: Tensor, approximate: str) -> Tensor:
    input = _wide(input)
    if approximate == "tanh":
        inner = ((input + input * input * input * _TANH_CUBE) * _TANH_SCALE).tanh()
        slope = (1 - inner * inner) * ((1 + 3 * _TANH_CUBE * input * input) * _TANH_SCALE)
        return grad * (0.5 * (1 + inner) + 0.5 * input * slope)
    density = (input * input * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
    below = 0.5 * (1 + (input * _SQRT_HALF).erf()) if input.layout.dtype is dt.float64 else FUNCTIONS.ndtr(input)
    return grad * (below + input * density)


GELU.gradient(input=_gelu_gradient)


def _positive(graph: Graph, x: Node, positive: Node, other: Node) -> Node:
    return graph.where(x > 0.0, positive, other)


def _elu(graph: Graph, x: Node, alpha: Node, scale: Node, input_scale: Node) -> Node:
    return _positive(graph, x, x * scale, graph.map("expm1", x * input_scale) * (alpha * scale))


ELU = _activation("elu", _elu, ("alpha", "scale", "input_scale")).gradient(
    input=lambda grad, input, alpha, scale, input_scale: FUNCTIONS.where(
        input > 0, grad * scale, grad * ((_wide(input) * input_scale).exp() * (alpha * scale * input_scale))
    )
)
LEAKY_RELU = _activation("leaky_relu", lambda graph, x, slope: _positive(graph, x, x, x * slope), ("negative_slope",)).gradient(
    input=lambda grad, input, negative_slope: FUNCTIONS.where(input > 0, grad, grad * negative_slope)
)
HARDTANH = _activation(
    "hardtanh",
    lambda graph, x, low, high: graph.map("minimum", graph.map("maximum", x, low), high),
    ("min_val", "max_val"),
    infer=infer_same,
).gradient(input=lambda grad, input, min_val, max_val: _gate(grad, (input > min_val) & (input < max_val)))


def _clip6(graph: Graph, x: Node) -> Node:
    return graph.map("minimum", graph.map("maximum", x, 0.0), 6.0)


HARDSIGMOID = _activation("hardsigmoid", lambda graph, x: _clip6(graph, x + 3.0) / 6.0).gradient(
    input=lambda grad, input: _gate(grad / 6, (input > -3) & (input < 3))
)
HARDSWISH = _activation("hardswish", lambda graph, x: x * _clip6(graph, x + 3.0) / 6.0).gradient(
    input=lambda grad, input: FUNCTIONS.where(input <= -3, 0.0, FUNCTIONS.where(input < 3, grad * (_wide(input) / 3 + 0.5), grad))
)


def _softplus(graph: Graph, x: Node, beta: Node, threshold: Node) -> Node:
    scaled = x * beta
    return graph.where(scaled > threshold, x, graph.map("log1p", graph.map("exp", scaled)) / beta)


SOFTPLUS = _activation("softplus", _softplus, ("beta", "threshold")).gradient(
    input=lambda grad, input, beta, threshold: FUNCTIONS.where(input * beta > threshold, grad, grad * (_wide(input) * beta).sigmoid())
)


def _log_sigmoid(graph: Graph, x: Node) -> Node:
    return graph.map("minimum", x, 0.0) - graph.map("log1p", graph.map("exp", -graph.map("abs", x)))


LOG_SIGMOID = _activation("log_sigmoid", _log_sigmoid).gradient(input=lambda grad, input: grad * (-_wide(input)).sigmoid())


def _mish(graph: Graph, x: Node) -> Node:
    return x * graph.map("tanh", graph.map("log1p", graph.map("exp", x)))


def _mish_gradient(grad: Tensor, input: Tensor) -> Tensor:
    input = _wide(input)
    gate = input.sigmoid()
    inner = softplus(input).tanh()
    return grad * (inner + input * gate * (1 - inner * inner))


MISH = _activation("mish", _mish).gradient(input=_mish_gradient)
SOFTSHRINK = _activation(
    "softshrink", lambda graph, x, lambd: graph.where(x > lambd, x - lambd, graph.where(x < -lambd, x + lambd, x * 0.0)), ("lambd",)
).gradient(input=lambda grad, input, lambd: _gate(grad, (input > lambd) | (input < -lambd)))
HARDSHRINK = _activation("hardshrink", lambda graph, x, lambd: graph.where((x >= -lambd) & (x <= lambd), 0.0, x), ("lambd",)).gradient(
    input=lambda grad, input, lambd: _gate(grad, (input > lambd) | (input < -lambd))
)
THRESHOLD = _activation(
    "threshold", lambda graph, x, limit, value: graph.where(x <= limit, value, x), ("threshold", "value"), infer=infer_same
).gradient(input=lambda grad, input, threshold: _gate(grad, input > threshold))


def relu(input: Tensor) -> Tensor:
    """``max(input, 0)``, element by element; NaN stays NaN."""
    return RELU(input)


def relu_(input: Tensor) -> Tensor:
    """In-place version of ``relu()``."""
    return RELU.inplace(input, input)


def silu(input: Tensor) -> Tensor:
    """``input * sigmoid(input)``."""
    return SILU(input)


def mish(input: Tensor) -> Tensor:
    """``input * tanh(softplus(input))``."""
    return MISH(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """``input`` times the normal distribution function of ``input``, exactly or by its ``"tanh"`` approximation."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, but got {approximate!r}")
    return GELU(input, statics=(approximate,))


def elu(input: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """``scale * input`` above 0, ``scale * alpha * (exp(input_scale * input) - 1)`` below."""
    return ELU(input, alpha, scale, input_scale)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """``input`` above 0, ``negative_slope * input`` below."""
    return LEAKY_RELU(input, negative_slope)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``input`` clipped to ``[min_val, max_val]``; the gradient is 0 at the ends."""
    return HARDTANH(input, min_val, max_val)


def relu6(input: Tensor) -> Tensor:
    """``input`` clipped to ``[0, 6]``."""
    return HARDTANH(input, 0.0, 6.0)


def hardsigmoid(input: Tensor) -> Tensor:
    """``clip(input + 3, 0, 6) / 6``."""
    return HARDSIGMOID(input)


def hardswish(input: Tensor) -> Tensor:
    """``input * clip(input + 3, 0, 6) / 6``."""
    return HARDSWISH(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``; the input itself where ``beta * input`` exceeds the threshold."""
    return SOFTPLUS(input, beta, threshold)


def log_sigmoid(input: Tensor) -> Tensor:
    """``log(sigmoid(input))``, without overflow."""
    return LOG_SIGMOID(input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input moved towards 0 by ``lambd``, and 0 within that distance."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return SOFTSHRINK(input, lambd)


def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """The input, and 0 where it lies within ``lambd`` of 0."""
    result = HARDSHRINK(input, lambd)
    return result if out is None else into(out, result)


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """The input where it exceeds the threshold, else ``value``."""
    return THRESHOLD(input, threshold, value)


def selu(input: Tensor) -> Tensor:
    """The self-normalising exponential linear unit (Klambauer et al., arXiv:1706.02515)."""
    return ELU(input, 1.6732632423543772, 1.0507009873554805, 1.0)


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``max(0, input) + min(0, alpha * (exp(input / alpha) - 1))``."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return ELU(input, alpha, 1.0, 1.0 / alpha)


def _infer_glu(operands: tuple, statics: tuple) -> Layout:
    source, axis = operands[0], statics[0]
    half = lay.slice_axis(source, axis, 0, source.shape[axis] // 2)
    return lay.elementwise(half.shape, source.dtype, (half,))


def _lower_glu(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    source, axis = operands[0], statics[0]
    half = source.shape[axis] // 2
    value, gate = (graph.wide(source.slice(axis, start, half)) for start in (0, half))
    return graph.cast(value * graph.map("sigmoid", gate), layouts[0].dtype)


def _glu_gradient(grad: Tensor, input: Tensor, dim: int) -> Tensor:
    half = input.layout.shape[dim] // 2
    wide = input.to(input.layout.dtype.compute)  # rounded once, in the end
    value, share = wide.narrow(dim, 0, half), wide.narrow(dim, half, half).sigmoid()
    return cat((grad * share, grad * value * share * (1 - share)), dim)


GLU = Operator("glu", ("input",), ("dim",), infer=_infer_glu, lower=_lower_glu)
GLU.gradient(input=_glu_gradient)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along ``dim`` times the sigmoid of the second."""
    if input.layout.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {size}")
    if input.layout.dtype.category != dt.FLOAT:
        return input.narrow(dim, 0, size // 2) * input.narrow(dim, size // 2, size // 2).sigmoid()
    return GLU(input, statics=(lay.wrap_axis(dim, input.layout.ndim),))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """``input`` above 0, ``weight * input`` below, with one weight or one for each channel (dimension 1)."""
    input, weight = low(input, weight)
    count = weight.layout.numel
    if weight.layout.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.layout.ndim}")
    if count > 1:
        channels = input.layout.shape[1] if input.layout.ndim > 1 else 1
        if channels != count:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {count}, and channel size = {channels}."
            )
        weight = weight.reshape(count, *(1,) * (input.layout.ndim - 2))
    elif weight.layout.ndim and input.layout.ndim == 0:
        weight = weight.reshape(())
    return FUNCTIONS.where(input > 0, input, weight * input)


def _inplace(operator: Operator, *defaults: Any, statics: tuple = ()) -> Callable:
    def function(input: Tensor, *numbers: float) -> Tensor:
        return operator.inplace(input, input, *(*numbers, *defaults[len(numbers) :]), statics=statics)

    function.__name__ = function.__qualname__ = operator.name + "_"
    function.__doc__ = f"In-place version of ``{operator.name}()``."
    return function


silu_ = _inplace(SILU)
mish_ = _inplace(MISH)
elu_ = _inplace(ELU, 1.0, 1.0, 1.0)
leaky_relu_ = _inplace(LEAKY_RELU, 0.01)
hardtanh_ = _inplace(HARDTANH, -1.0, 1.0)
relu6_ = _inplace(HARDTANH, 0.0, 6.0)
hardsigmoid_ = _inplace(HARDSIGMOID)
hardswish_ = _inplace(HARDSWISH)
selu_ = _inplace(ELU, 1.6732632423543772, 1.0507009873554805, 1.0)
threshold_ = _inplace(THRESHOLD)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """In-place version of ``celu()``."""
    return ELU.inplace(input, input, alpha, 1.0, 1.0 / alpha)


PUBLIC = ("celu", "celu_", "hardshrink", "prelu", "relu", "relu_", "selu", "selu_", "threshold", "threshold_")
METHODS = ("hardshrink", "prelu", "relu", "relu_")
