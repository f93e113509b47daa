"""Which of PyTorch's operators a call of ours is.

A rule takes a call's operands and its static attributes (by name) and gives a ``Call`` of one operator, or makes several and returns their result.
``own`` is what has no rule: an operator of this package's by its own name, ``flambeau.linalg_qr``, so that nothing goes unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from flambeau import ops
from flambeau._dispatch import gradients
from flambeau._ops.copying import channels_last, channels_last_3d, contiguous_format
from flambeau._ops.indexing import INDEX_VIEW
from flambeau._ops.operator import PLAIN_NUMBERS, Operator
from flambeau._ops.registry import OPERATORS
from flambeau._ops.views import SLICE, SPLIT, ViewOperator
from flambeau._tensor.overriding import disabled_torch_dispatch
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype
from flambeau.export._indexing import index_steps
from flambeau.ops import OpOverload, OpOverloadPacket

ATEN = ops.aten

MAKERS = {"empty": "memory_format", "normal": "Tensor_float"}
"""Operators that make tensors, with the overloads of those that have no default."""


class Call(NamedTuple):
    """A call of one of PyTorch's operators: what ``add`` and ``Tensor`` name, or in place what ``add_`` and ``Tensor`` name."""

    name: str
    overload: str
    args: tuple
    kwargs: dict[str, Any] | None = None

    def __call__(self, inplace: bool = False) -> Any:
        key = (self.name + "_" if inplace else self.name, self.overload)
        func = _overloads.get(key)
        if func is None:
            func = _overloads[key] = getattr(getattr(ATEN, key[0]), self.overload)
        return func(*self.args, **(self.kwargs or {}))


_overloads: dict[tuple[str, str], OpOverload] = {}


class Rule:
    """How calls of an operator are put.

    Attributes:
        op: the operator
        seen: what stands for it in the histories of calls that were put as PyTorch's operators
    """

    def __init__(self, op: Operator, rule: Callable[..., Any]) -> None:
        self.op = op
        self.seen = gradients.SEEN[op.name](op) if op.name in gradients.SEEN else op
        self._rule = rule

    def call(self, operands: tuple, statics: tuple) -> tuple[Operator, Any]:
        """The result of a call, and whose formulas go with it."""
        found = self._rule(*operands, **dict(zip(self.op.statics, statics, strict=True)))
        if found is None:
            return self.op, own(self.op)(*operands, **({"statics": statics} if statics else {}))
        found = found() if found.__class__ is Call else found
        return self.seen, tuple(found) if isinstance(found, (tuple, list)) else found

    def is_inplace(self, target: Any, operands: tuple) -> bool:
        """Whether PyTorch has an operator that overwrites the target by the result."""
        return operands[:1] != () and operands[0] is target and self.op.name in _IN_PLACE

    def write(self, target: Any, operands: tuple, statics: tuple) -> None:
        """Overwrite a tensor by the first result of a call."""
        if self.is_inplace(target, operands):
            found = self._rule(*operands, **dict(zip(self.op.statics, statics, strict=True)))
            if found.__class__ is Call and ops._function(found.name + "_") is not None:
                found(inplace=True)
                return
        _, result = self.call(operands, statics)
        ATEN.copy_.default(target, result[0] if result.__class__ is tuple else result)


_rules: dict[str, Rule] = {}


def rule(op: Operator) -> Rule:
    """The rule of an operator."""
    found = _rules.get(op.name)
    if found is None:
        found = _rules[op.name] = Rule(op, _RULES.get(op.name) or _regular(op) or (lambda *operands, **statics: None))
    return found


class _Own(ops.Namespace):
    """The operators of this package: ``torch.ops.flambeau``."""

    def __getattr__(self, name: str) -> OpOverloadPacket:
        if name not in OPERATORS:
            return super().__getattr__(name)
        packet = self.__dict__[name] = OpOverloadPacket(name, OPERATORS[name], self._name)
        return packet


OWN = ops.NAMESPACES["flambeau"] = _Own("flambeau")


def own(op: Operator) -> OpOverload:
    """An operator that PyTorch has not."""
    return getattr(OWN, op.name).default


def named(name: str, function: Callable) -> OpOverload:
    """A function as an operator of this package's."""
    return OpOverloadPacket(name, function, "flambeau").default


_asked: dict[type, bool] = {}


def is_asked(cls: type) -> bool:
    """Whether a class has a ``__torch_dispatch__``."""
    known = _asked.get(cls)
    if known is None:
        method = getattr(cls, "__torch_dispatch__", None)
        known = _asked[cls] = method is not None and method is not disabled_torch_dispatch
    return known


# -- elementwise ---------------------------------------------------------------------------------------------------------

_WITH_NUMBERS = frozenset({"add", "sub", "mul", "div"})
"""Whose overload for tensors takes numbers as well."""
_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_SCALAR = frozenset(
    {"fmod", "remainder", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", *_MIRRORED}
)
"""Whose overloads are for tensors and for a number at the right."""


def _is_number(operand: Any) -> bool:
    return operand.__class__ in PLAIN_NUMBERS


def _lifted(operand: Any, like: Any) -> Any:
    """A number as a tensor without dimensions, beside another operand."""
    if not _is_number(operand):
        return operand
    dtype = like.layout.dtype
    if operand.__class__ is float and dtype.category < dt.FLOAT:
        dtype = get_default_dtype()
    return ATEN.scalar_tensor.default(operand, dtype=dtype, device=CPU)


def _binary(name: str) -> Callable[..., Any]:
    def rule(input: Any, other: Any) -> Any:
        if name in _WITH_NUMBERS:
            if not _is_number(input):
                return Call(name, "Tensor", (input, other))
            if name in ("add", "mul"):
                return Call(name, "Tensor", (other, input))
            if name == "sub":
                return Call("rsub", "Scalar", (other, input))
            return Call(name, "Tensor", (_lifted(input, other), other))
        if name in _SCALAR:
            if _is_number(input) and name in _MIRRORED:
                return Call(_MIRRORED[name], "Scalar", (other, input))
            if _is_number(other):
                return Call(name, "Scalar", (input, other))
            return Call(name, "Tensor", (_lifted(input, other), other))
        return Call(name, "default", (_lifted(input, other), _lifted(other, input)))

    return rule


def _regular(op: Operator) -> Callable[..., Any] | None:
    """The rule of an operator that is PyTorch's of the same name, of one or two operands."""
    if op.statics or op.variadic or op.name.startswith("_") or ops._function(op.name) is None:
        return None
    if op.operands == ("input", "other"):
        return _binary(op.name)
    return (lambda input: Call(op.name, "default", (input,))) if len(op.operands) == 1 else None


def _power(input: Any, other: Any) -> Call:
    overload = "Scalar" if _is_number(input) else "Tensor_Scalar" if _is_number(other) else "Tensor_Tensor"
    return Call("pow", overload, (input, other))


def _scaled(name: str) -> Callable[..., Call]:
    return lambda input, other, alpha: Call(name, "Tensor", (_lifted(input, other), other), {"alpha": alpha})


def _clamp(input: Any, low: Any = None, high: Any = None) -> Call | None:
    bounds = [each for each in (low, high) if each is not None]
    if _is_number(input) or len({_is_number(each) for each in bounds}) > 1:
        return None
    bounds = [low] if high is None else [low, high]
    return Call("clamp", "default" if _is_number(bounds[-1]) else "Tensor", (input, *bounds))


def _where(condition: Any, input: Any, other: Any) -> Call:
    overload = {(False, False): "self", (False, True): "ScalarOther", (True, False): "ScalarSelf", (True, True): "Scalar"}
    return Call("where", overload[_is_number(input), _is_number(other)], (condition, input, other))


def _valued(name: str, *more: str) -> Callable[..., Call]:
    """The rule of an operator whose last operand is a tensor or a number, without ``more`` of its static attributes."""
    return lambda *operands, **statics: Call(name, "Scalar" if _is_number(operands[-1]) else "Tensor", operands)


def _plain(name: str) -> Callable[..., Call]:
    """The rule of an operator whose operands and static attributes are PyTorch's arguments."""
    return lambda *operands, **statics: Call(name, "default", (*operands, *[_listed(each) for each in statics.values()]))


def _listed(value: Any) -> Any:
    return list(value) if value.__class__ is tuple else value


def _fill(input: Any, value: Any) -> Call:
    if value.__class__ is int and value == 0:
        return Call("zero", "default", (input,))
    return Call("fill", "Scalar" if _is_number(value) else "Tensor", (input, value))


# -- reductions ----------------------------------------------------------------------------------------------------------


def _reduced(name: str, overload: str) -> Callable[..., Call | None]:
    def rule(input: Any, axes: tuple, keepdim: bool, dtype: Any = None) -> Call:
        source = input.layout.dtype
        usual = dt.int64 if name in ("sum", "prod") and source.category < dt.FLOAT else source
        options = {} if dtype is None or dtype is usual else {"dtype": dtype}
        if len(axes) == input.layout.ndim and not keepdim and name not in ("amax", "amin"):
            return Call(name, "default", (input,), options)
        if overload in ("dim", "dim_int") and name != "mean":  # one dimension only
            return Call(name, overload, (input, *axes, keepdim), options) if len(axes) == 1 else None
        return Call(name, overload, (input, list(axes), *((keepdim,) if keepdim or name != "mean" else ())), options)

    return rule


def _var(input: Any, axes: tuple, keepdim: bool, dtype: Any, correction: Any) -> Call | None:
    if dtype is not input.layout.dtype:
        return None
    return Call("var", "correction", (input, list(axes)), {"correction": correction, "keepdim": keepdim})


def _argument(name: str, overload: str = "default") -> Callable[..., Call]:
    return lambda input, dim, keepdim: Call(name, overload, (input, dim, keepdim))


def _running(name: str) -> Callable[..., Call]:
    def rule(input: Any, dim: int, dtype: Any) -> Call:
        usual = dt.int64 if input.layout.dtype.category < dt.FLOAT else input.layout.dtype
        return Call(name, "default", (input, dim), {} if dtype is usual else {"dtype": dtype})

    return rule


# -- products ------------------------------------------------------------------------------------------------------------


def _bmm(input: Any, mat2: Any) -> Any:
    lead = input.layout.shape[:-2]
    if len(lead) < 2:
        return Call("bmm" if lead else "mm", "default", (input, mat2))
    count = prod(lead)
    a, b = (each.reshape(count, *each.layout.shape[-2:]) for each in (input, mat2))
    return ATEN.view.default(ATEN.bmm.default(a, b), [*lead, input.layout.shape[-2], mat2.layout.shape[-1]])


def _sum_of_products(name: str) -> Callable[..., Any]:
    def rule(mat1: Any, mat2: Any, alpha: Any, input: Any = None, beta: Any = 1) -> Any:
        if input is None:
            return ATEN.mul.Tensor(_bmm(mat1, mat2)(), alpha)
        return Call(name, "default", (input, mat1, mat2), {key: each for key, each in (("beta", beta), ("alpha", alpha)) if each != 1})

    return rule


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    shape = input.layout.shape
    rows = input if len(shape) == 2 else input.reshape(prod(shape[:-1]), shape[-1])
    turned = ATEN.t.default(weight)
    product = ATEN.mm.default(rows, turned) if bias is None else ATEN.addmm.default(bias, rows, turned)
    return product if len(shape) == 2 else ATEN.view.default(product, [*shape[:-1], weight.layout.shape[0]])


def _convolution(transposed: bool) -> Callable[..., Call | None]:
    def rule(input: Any, weight: Any, bias: Any = None, **statics: Any) -> Call | None:
        extra = gradients.output_padding(transposed, input.layout, weight.layout, **statics)
        if extra is None:
            return None
        stride, padding, dilation = (list(statics[name]) for name in ("stride", "padding", "dilation"))
        return Call("convolution", "default", (input, weight, bias, stride, padding, dilation, transposed, extra, statics["groups"]))

    return rule


# -- layers --------------------------------------------------------------------------------------------------------------


def _norm(input: Any, eps: float, weight: Any = None, bias: Any = None, **statics: Any) -> Any:
    kind = gradients.norm_kind(input.layout, **statics)
    if kind == "layer":
        normalized = [input.layout.shape[axis] for axis in statics["axes"]]
        return (*ATEN.native_layer_norm.default(input, normalized, weight, bias, eps), None)
    if kind == "group":
        count, groups, *rest = statics["shape"]
        sizes = count, groups * rest[0], prod(rest[1:]), groups
        return (*ATEN.native_group_norm.default(input, weight, bias, *sizes, eps), None)
    return None


def _nll(input: Any, target: Any, weight: Any = None, *, reduction: int, ignore_index: int) -> Call | None:
    if input.layout.ndim > 2:
        return None
    return Call("nll_loss_forward", "default", (input, target, weight, reduction, ignore_index))


def _max_pool(input: Any, **statics: Any) -> Any:
    window = gradients.pool_window(input.layout, **statics)
    if window is None:
        return None
    values, places = getattr(ATEN, gradients.max_pool_name(statics["kernel"])).default(input, *window)
    return values, places, None


def _avg_pool(input: Any, **statics: Any) -> Call | None:
    window = gradients.pool_window(input.layout, **statics)
    if window is None:
        return None
    return Call(f"avg_pool{len(statics['kernel'])}d", "default", (input, *window, statics["count_include_pad"], statics["divisor"]))


def _embedding(weight: Any, indices: Any, padding_idx: int, scale_grad_by_freq: bool) -> Call:
    more = (padding_idx, scale_grad_by_freq) if scale_grad_by_freq else (padding_idx,) if padding_idx != -1 else ()
    return Call("embedding", "default", (weight, indices, *more))


# -- indices, joining ------------------------------------------------------------------------------------------------------


def _cat(*tensors: Any, dim: int) -> Call:
    return Call("cat", "default", (list(tensors), dim) if dim else (list(tensors),))


def _spread(indices: Sequence[Any], axes: Sequence[int]) -> list[Any]:
    """Indices by dimension; ``None`` for those that are not indexed."""
    found: list[Any] = [None] * (max(axes) + 1)
    for axis, index in zip(axes, indices, strict=True):
        found[axis] = index
    return found


def _scatter_add(input: Any, index: Any, src: Any, dim: int, combine: str, name: str) -> Call | None:
    return Call("scatter_add", "default", (input, dim, index, src)) if name == "scatter_add" else None


# -- making, copying ---------------------------------------------------------------------------------------------------------


def _options(layout: Layout, usual: Any) -> dict[str, Any]:
    return {**({} if layout.dtype is usual else {"dtype": layout.dtype}), "device": CPU, "pin_memory": False}


def _full(value: Any, layout: Layout) -> Call | None:
    if not layout.contiguous or not _is_number(value):
        return None
    return Call(
        "full", "default", (list(layout.shape), value), _options(layout, get_default_dtype() if value.__class__ is float else dt.int64)
    )


def _constant(layout: Layout, number: Any) -> Call | None:
    if not layout.contiguous or number not in (0, 1):
        return None
    return Call("ones" if number else "zeros", "default", (list(layout.shape),), _options(layout, get_default_dtype()))


def _arange(start: Any, step: Any, layout: Layout) -> Call | None:
    if start.__class__ is not int or step.__class__ is not int:
        return None
    end = start + step * layout.numel
    if start == 0 and step == 1:
        return Call("arange", "default", (end,), _options(layout, dt.int64))
    return Call("arange", "start_step", (start, end, step), _options(layout, dt.int64))


def _eye(layout: Layout) -> Call:
    rows, columns = layout.shape
    overload, sizes = ("default", (rows,)) if rows == columns else ("m", (rows, columns))
    return Call("eye", overload, sizes, _options(layout, get_default_dtype()))


def _to_copy(input: Any, layout: Layout) -> Call | None:
    source = input.layout
    options: dict[str, Any] = {} if layout.dtype is source.dtype else {"dtype": layout.dtype}
    if layout is not lay.like(source, layout.dtype):
        formats = [each for each in (contiguous_format, channels_last, channels_last_3d) if each.ndim in (None, layout.ndim)]
        fitting = [each for each in formats if each.layout(layout) is layout]
        if not fitting:
            return None
        options["memory_format"] = fitting[0]
    return Call("_to_copy" if "dtype" in options else "clone", "default", (input,), options)


_RULES: dict[str, Callable[..., Any]] = {
    "pow": _power,
    "square": lambda input: Call("pow", "Tensor_Scalar", (input, 2)),
    "_fixed_power": lambda input, exponent: Call("pow", "Tensor_Scalar", (input, exponent)),
    "_add_scaled": _scaled("add"),
    "_sub_scaled": _scaled("sub"),
    "trunc_divide": lambda input, other: Call("div", "Tensor_mode", (_lifted(input, other), other), {"rounding_mode": "trunc"}),
    "addcmul": lambda input, first, second, value: Call(
        "addcmul", "default", (input, first, second), {} if value == 1 else {"value": value}
    ),
    "addcdiv": lambda input, first, second, value: Call(
        "addcdiv", "default", (input, first, second), {} if value == 1 else {"value": value}
    ),
    "lerp": _valued("lerp"),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda input, high: _clamp(input, None, high),
    "where": _where,
    "masked_fill": lambda input, mask, value, inplace: Call(
        "masked_fill", "Scalar" if _is_number(value) else "Tensor", (input, mask, value)
    ),
    "fill": _fill,
    "copy": lambda input, src: Call("copy", "default", (input, src)),
    "sum": _reduced("sum", "dim_IntList"),
    "mean": _reduced("mean", "dim"),
    "amax": _reduced("amax", "default"),
    "amin": _reduced("amin", "default"),
    "prod": _reduced("prod", "dim_int"),
    "any": _reduced("any", "dim"),
    "all": _reduced("all", "dim"),
    "var": _var,
    "argmax": _argument("argmax"),
    "argmin": _argument("argmin"),
    "max": _argument("max", "dim"),
    "min": _argument("min", "dim"),
    "cumsum": _running("cumsum"),
    "cumprod": _running("cumprod"),
    "sort": lambda input, dim, size, descending: Call("sort", "default", (input, dim, descending)),
    "topk": lambda input, dim, size, largest: Call("topk", "default", (input, size, dim, largest)),
    "addmm": _sum_of_products("addmm"),
    "baddbmm": _sum_of_products("baddbmm"),
    "bmm": _bmm,
    "dot": lambda input, tensor: Call("dot", "default", (input, tensor)),
    "mv": lambda input, vec: Call("mv", "default", (input, vec)),
    "linear": _linear,
    "convolution": _convolution(False),
    "conv_transpose": _convolution(True),
    "native_norm": _norm,
    "nll_loss": _nll,
    "max_pool": lambda input, **statics: _first_two(_max_pool(input, **statics)),
    "_tapped_max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "embedding": _embedding,
    "softmax": lambda input, dim: Call("_softmax", "default", (input, dim, False)),
    "log_softmax": lambda input, dim: Call("_log_softmax", "default", (input, dim, False)),
    "_softmax_backward": lambda grad, output, dim: Call("_softmax_backward_data", "default", (grad, output, dim, output.layout.dtype)),
    "_log_softmax_backward": lambda grad, output, dim: Call(
        "_log_softmax_backward_data", "default", (grad, output, dim, output.layout.dtype)
    ),
    "_relu_backward": lambda grad, output: Call("threshold_backward", "default", (grad, output, 0)),
    "gelu": lambda input, approximate: Call("gelu", "default", (input,), {} if approximate == "none" else {"approximate": approximate}),
    "elu": _plain("elu"),
    "leaky_relu": _plain("leaky_relu"),
    "hardtanh": _plain("hardtanh"),
    "softplus": _plain("softplus"),
    "threshold": _plain("threshold"),
    "softshrink": _plain("softshrink"),
    "hardshrink": _plain("hardshrink"),
    "glu": _plain("glu"),
    "cat": _cat,
    "flip": _plain("flip"),
    "tril": _plain("tril"),
    "triu": _plain("triu"),
    "gather": lambda input, index, dim, name: Call("gather", "default", (input, dim, index)),
    "index_select": lambda input, index, dim: Call("index_select", "default", (input, dim, index)),
    "scatter_add": _scatter_add,
    "index": lambda input, *indices, axes: Call("index", "Tensor", (input, _spread(indices, axes))),
    "index_put": lambda input, values, *indices, axes, accumulate: Call(
        "index_put", "default", (input, _spread(indices, axes), values, *((True,) if accumulate else ()))
    ),
    "full": _full,
    "_constant": _constant,
    "arange": _arange,
    "eye": _eye,
    "_to_copy": _to_copy,
}

_IN_PLACE = frozenset({
    *_WITH_NUMBERS, *_SCALAR, "pow", "square", "_fixed_power", "_add_scaled", "_sub_scaled", "trunc_divide", "addcmul", "addcdiv", "lerp", "clamp", "clamp_min", "clamp_max",
    "masked_fill", "fill", "copy", "relu", "silu", "elu", "leaky_relu", "hardtanh", "threshold", "index_put", "tril", "triu", "neg", "exp", "log", "sqrt", "rsqrt", "reciprocal",
    "tanh", "sigmoid", "sin", "cos", "abs", "floor", "ceil", "trunc", "sign", "erf", "floor_divide", "logical_not", "logical_and", "logical_or", "bitwise_not", "cumsum", "scatter_add",
})  # fmt: skip
"""Operators whose calls in place are PyTorch's operators of the same name, with an underscore."""


def _first_two(found: Any) -> Any:
    return None if found is None else found[:2]


def seen_view(operator: ViewOperator) -> ViewOperator:
    """What stands for a view in histories."""
    return gradients.SEEN_VIEWS.get(operator, operator)


# -- views ---------------------------------------------------------------------------------------------------------------


def view(source: Any, layout: Layout, operator: ViewOperator, statics: tuple) -> Any:
    """A view, by PyTorch's operators."""
    shape = list(layout.shape)
    name = operator.name
    if layout.dtype is not source.layout.dtype:
        return getattr(ATEN, name).default(source)
    if name == "view":
        return ATEN.view.default(source, shape)
    if name == "expand":
        return ATEN.expand.default(source, shape)
    if name == "permute":
        return ATEN.permute.default(source, list(statics))
    if name == "transpose":
        return ATEN.transpose.int(source, *statics)
    if name == "unsqueeze":
        return ATEN.unsqueeze.default(source, *statics)
    if name in ("select", "unbind"):
        return ATEN.select.int(source, *statics)
    if name in ("t", "alias"):
        return getattr(ATEN, name).default(source)
    if name == "squeeze":
        return _squeezed(source, layout)
    if operator in (SLICE, SPLIT):
        axis, start, step = statics
        end = max(start, start + (layout.shape[axis] - 1) * step + 1)
        return ATEN.slice.Tensor(source, axis, start, end, *((step,) if step != 1 else ()))
    if operator is INDEX_VIEW:
        found = _indexed(source, statics)
        if found is not None:
            return found
    return ATEN.as_strided.default(source, shape, list(layout.strides), layout.offset)


def _squeezed(source: Any, layout: Layout) -> Any:
    ones = [axis for axis, size in enumerate(source.layout.shape) if size == 1]
    gone = source.layout.ndim - layout.ndim
    if gone == len(ones):
        return ATEN.squeeze.dim(source, ones[0]) if gone == 1 else ATEN.squeeze.dims(source, ones) if gone else ATEN.squeeze.default(source)
    return ATEN.view.default(source, list(layout.shape))


def _indexed(source: Any, index: tuple) -> Any:
    """``source[index]``; nothing if that is no series of PyTorch's views."""
    steps = index_steps(index, source.layout.ndim)
    if steps is None:
        return None
    if not steps:
        return ATEN.alias.default(source)
    for name, args in steps:
        source = getattr(getattr(ATEN, name), _STEPS[name])(source, *args)
    return source


_STEPS = {"select": "int", "slice": "Tensor", "unsqueeze": "default", "index": "Tensor"}
