"""What backward passes call where a call was seen: PyTorch's operators for gradients, where ours are other ones.

A ``Seen`` operator stands in a history in the place of the operator that was called, and has other formulas; all else is the operator's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from flambeau import ops
from flambeau._ops.conv_shapes import output_sizes, transposed_sizes
from flambeau._ops.elementwise import conj
from flambeau._ops.indexing import INDEX_VIEW
from flambeau._ops.matrix import matmul
from flambeau._ops.node import GradNode
from flambeau._ops.operator import Operator, fit
from flambeau._ops.views import SELECT, SLICE, SPLIT, UNBIND, ViewOperator
from flambeau._types import layout as lay
from flambeau._types.layout import Layout
from flambeau.export._indexing import index_steps

ATEN = ops.aten


class Seen(Operator):
    """An operator with other formulas.

    Args:
        op: the operator
        joint: one formula for all operands, which returns their gradients; it is given ``wanted``, a truth value for each
        formulas: one for each operand, as ``Operator.gradient`` has them

    Of several results, the first one has a gradient: those of PyTorch's operators that are statistics or positions have none.
    """

    def __init__(self, op: Operator, joint: Callable | None = None, **formulas: Callable) -> None:
        self.__dict__.update(op.__dict__)
        self.keeps_origin, self.native = op.keeps_origin, op.native
        self._formulas, self._plans = {}, {}
        self.joint = joint
        if joint is not None:
            formulas = dict.fromkeys(op._formulas, joint)
        self.gradient(**formulas)

    def _values(self, node: GradNode, grads: tuple) -> dict[str, Any]:
        return super()._values(node, (grads[0], *(False,) * (len(node.record.layouts) - 1)))

    def backward(self, node: GradNode, grads: tuple) -> tuple:
        if self.joint is None or node.saved is None:
            return super().backward(node, grads)
        values = self._values(node, grads)
        values["wanted"] = [edge is not None for edge in node.inputs]
        parameters = self._formulas[next(iter(self._formulas))][1]
        found = self.joint(*[values[each] if each in values else self._extra(each, node) for each in parameters])
        layouts = [layout for _, layout in node.record.operands]
        return tuple(
            [
                None if edge is None or grad is None else fit(grad, layout)
                for edge, grad, layout in zip(node.inputs, found, layouts, strict=True)
            ]
        )


def absent(value: Any) -> Any:
    """An optional operand; ``False`` stands for one that is not there where others follow."""
    return None if value is False else value


# -- what operators' static attributes are in PyTorch's arguments ------------------------------------------------------------


def output_padding(
    transposed: bool, input: Layout, weight: Layout, stride: tuple, padding: tuple, dilation: tuple, groups: int, sizes: tuple
) -> list[int] | None:
    """What PyTorch calls so; nothing if a convolution pads more on one side than on the other."""
    sides = tuple([(each, each) for each in padding])
    places = input.shape[2:], weight.shape[2:], stride, sides
    if not transposed:
        return [0] * len(sizes) if output_sizes(*places, dilation) == sizes else None
    least = transposed_sizes(*places, (0,) * len(sizes), dilation)
    extra = [size - smallest for size, smallest in zip(sizes, least, strict=True)]
    fits = all(0 <= each < max(step, spread) for each, step, spread in zip(extra, stride, dilation, strict=True))
    return extra if fits else None


def norm_kind(input: Layout, shape: tuple, axes: tuple, affine: tuple, centered: bool) -> str:
    """Which norm it is: ``"layer"``, ``"group"``, or none that PyTorch has an operator for."""
    if centered and shape == input.shape and axes == affine == tuple(range(input.ndim - len(axes), input.ndim)):
        return "layer"
    if centered and affine == (1, 2) and axes == tuple(range(2, len(shape))):
        return "group"
    return ""


def max_pool_name(kernel: tuple) -> str:
    """The operator's name."""
    return f"max_pool{len(kernel)}d_with_indices"


def pool_window(
    input: Layout, kernel: tuple, stride: tuple, padding: tuple, sizes: tuple, dilation: tuple | None = None, **more: Any
) -> Any:
    """``kernel_size, stride, padding[, dilation], ceil_mode``; nothing for one dimension, which PyTorch pools as two."""
    rank = len(kernel)
    if rank == 1:
        return None
    sides = tuple([(each, each) for each in padding])
    spread = dilation or (1,) * rank
    ceil_mode = output_sizes(input.shape[input.ndim - rank :], kernel, stride, sides, spread) != sizes
    lists = [list(each) for each in (kernel, stride, padding)]
    return (*lists, ceil_mode) if dilation is None else (*lists, list(dilation), ceil_mode)


# -- the formulas ----------------------------------------------------------------------------------------------------------


def _convolution(transposed: bool) -> Callable[..., tuple]:
    def formula(
        grad: Any, input: Any, weight: Any, stride: tuple, padding: tuple, dilation: tuple, groups: int, sizes: tuple, wanted: list[bool]
    ) -> tuple:
        extra = output_padding(transposed, input.layout, weight.layout, stride, padding, dilation, groups, sizes)
        bias = [grad.layout.shape[1]] if len(wanted) == 3 else None
        lists = [list(each) for each in (stride, padding, dilation)]
        mask = [*wanted, False][:3]
        return tuple(ATEN.convolution_backward.default(grad, input, weight, bias, *lists, transposed, extra, groups, mask))[: len(wanted)]

    return formula


def _norm(
    grad0: Any, input: Any, weight: Any, bias: Any, result1: Any, result2: Any, shape: tuple, axes: tuple, affine: tuple, centered: bool,
    wanted: list[bool],
) -> tuple:  # fmt: skip
    mask = [wanted[0], *wanted[2:], False, False][:3]
    if norm_kind(input.layout, shape, axes, affine, centered) == "layer":
        normalized = [input.layout.shape[axis] for axis in axes]
        found = ATEN.native_layer_norm_backward.default(grad0, input, normalized, result1, result2, weight, bias, mask)
    else:
        count, groups, *rest = shape
        channels, positions = groups * rest[0], prod(rest[1:])
        found = ATEN.native_group_norm_backward.default(grad0, input, result1, result2, weight, count, channels, positions, groups, mask)
    return (found[0], None, *found[1:])[: len(wanted)]


def _nll(grad0: Any, input: Any, target: Any, weight: Any, result1: Any, reduction: int, ignore_index: int) -> Any:
    return ATEN.nll_loss_backward.default(grad0, input, target, weight, reduction, ignore_index, result1)


def _max_pool(grad0: Any, input: Any, result1: Any, kernel: tuple, stride: tuple, padding: tuple, dilation: tuple, sizes: tuple) -> Any:
    window = pool_window(input.layout, kernel, stride, padding, sizes, dilation)
    return getattr(ATEN, f"{max_pool_name(kernel)}_backward").default(grad0, input, *window, result1)


def _avg_pool(
    grad: Any, input: Any, kernel: tuple, stride: tuple, padding: tuple, sizes: tuple, count_include_pad: bool, divisor: int | None
) -> Any:
    window = pool_window(input.layout, kernel, stride, padding, sizes)
    return getattr(ATEN, f"avg_pool{len(kernel)}d_backward").default(grad, input, *window, count_include_pad, divisor)


def _embedding(grad: Any, weight_layout: Layout, indices: Any, padding_idx: int, scale_grad_by_freq: bool) -> Any:
    return ATEN.embedding_dense_backward.default(grad, indices, weight_layout.shape[0], padding_idx, scale_grad_by_freq)


def _gelu(grad: Any, input: Any, approximate: str) -> Any:
    return ATEN.gelu_backward.default(grad, input, **({} if approximate == "none" else {"approximate": approximate}))


SEEN: dict[str, Callable[[Operator], Seen]] = {
    "convolution": lambda op: Seen(op, _convolution(False)),
    "conv_transpose": lambda op: Seen(op, _convolution(True)),
    "native_norm": lambda op: Seen(op, _norm),
    "nll_loss": lambda op: Seen(op, input=_nll),
    "max_pool": lambda op: Seen(op, input=_max_pool),
    "_tapped_max_pool": lambda op: Seen(op, input=_max_pool),
    "avg_pool": lambda op: Seen(op, input=_avg_pool),
    "embedding": lambda op: Seen(op, weight=_embedding),
    "gelu": lambda op: Seen(op, input=_gelu),
    "silu": lambda op: Seen(op, input=lambda grad, input: ATEN.silu_backward.default(grad, input)),
    "tanh": lambda op: Seen(op, input=lambda grad, result: ATEN.tanh_backward.default(grad, result)),
    "sigmoid": lambda op: Seen(op, input=lambda grad, result: ATEN.sigmoid_backward.default(grad, result)),
    "leaky_relu": lambda op: Seen(
        op, input=lambda grad, input, negative_slope: ATEN.leaky_relu_backward.default(grad, input, negative_slope, False)
    ),
}
"""By the name of the operator that was called, what stands for it in histories."""


# -- views -----------------------------------------------------------------------------------------------------------------


def _index_gradient(grad: Any, source: Layout, statics: tuple) -> Any:
    """What goes back through ``source[index]``: the steps of the index, one after the other."""
    steps = index_steps(statics, source.ndim) or []
    layouts = [lay.contiguous(source.shape, source.dtype)]
    for name, (dim, *rest) in steps:
        before = layouts[-1]
        if name == "select":
            layouts.append(lay.select(before, dim, rest[0] % before.shape[dim]))
        elif name == "unsqueeze":
            layouts.append(lay.unsqueeze(before, dim))
        else:
            first, last, step = slice(*rest).indices(before.shape[dim])
            layouts.append(lay.slice_axis(before, dim, first, len(range(first, last, step)), step))
    for (name, (dim, *rest)), before in reversed(list(zip(steps, layouts, strict=False))):
        sizes = list(before.shape)
        if name == "select":
            grad = ATEN.select_backward.default(grad, sizes, dim, *rest)
        elif name == "unsqueeze":
            grad = ATEN.squeeze.dim(grad, dim)
        else:
            first, last, step = slice(*rest).indices(before.shape[dim])
            grad = ATEN.slice_backward.default(grad, sizes, dim, first, last, step)
    return grad


def _slice_gradient(grad: Any, source: Layout, statics: tuple) -> Any:
    axis, start, step = statics
    end = max(start, start + (grad.layout.shape[axis] - 1) * step + 1)
    return ATEN.slice_backward.default(grad, list(source.shape), axis, start, end, step)


_SLICE = ViewOperator("slice", _slice_gradient)
_SELECT = ViewOperator("select", lambda grad, source, statics: ATEN.select_backward.default(grad, list(source.shape), *statics))
SEEN_VIEWS = {INDEX_VIEW: ViewOperator("slice", _index_gradient), SLICE: _SLICE, SPLIT: _SLICE, SELECT: _SELECT, UNBIND: _SELECT}
"""What stands for views in histories."""


# -- what is one operator of PyTorch's and several of ours -------------------------------------------------------------------


class Whole(Seen):
    """An operator of PyTorch's as histories have it, for which nothing of ours is recorded as a whole.

    Args:
        name, operands, statics, infer: as an ``Operator`` has them
        grad_name: what its node is called
        joint, formulas: as above
    """

    def __init__(
        self, name: str, operands: tuple[str, ...], statics: tuple[str, ...], infer: Callable, grad_name: str, joint: Callable | None = None,
        **formulas: Callable,
    ) -> None:  # fmt: skip
        self.name, self.grad_name = name, grad_name
        self.names = self.operands = operands
        self.statics, self.infer, self.variadic = statics, infer, False
        self._formulas, self._plans = {}, {}
        self.joint = joint
        self.gradient(**(formulas if joint is None else dict.fromkeys(operands, joint)))


def _infer_batch_norm(operands: tuple, statics: tuple) -> tuple[Layout, ...]:
    source = operands[0]
    channels = lay.contiguous((source.shape[1],), source.dtype)
    return lay.like(source, source.dtype), channels, channels


def _batch_norm(
    grad0: Any, input: Any, weight: Any, running_mean: Any, running_var: Any, result1: Any, result2: Any, training: bool, eps: float,
    wanted: list[bool],
) -> tuple:  # fmt: skip
    given = (absent(each) for each in (weight, running_mean, running_var))
    found = ATEN.native_batch_norm_backward.default(grad0, input, *given, result1, result2, training, eps, wanted[:3])
    return (*found, None, None)


BATCH_NORM = Whole(
    "native_batch_norm",
    ("input", "weight", "bias", "running_mean", "running_var"),
    ("training", "momentum", "eps"),
    _infer_batch_norm,
    "NativeBatchNormBackward0",
    _batch_norm,
)


def _scaled(grad: Any, factor: Any) -> Any:
    return grad if factor == 1 else grad * factor


def _product(name: str, grad_name: str) -> Whole:
    """``beta * input + alpha * (first @ second)``."""
    return Whole(
        name,
        ("input", "first", "second"),
        ("beta", "alpha"),
        lambda operands, statics: lay.contiguous((*operands[1].shape[:-1], operands[2].shape[-1]), operands[1].dtype),
        grad_name,
        input=lambda grad, beta: _scaled(grad, beta),
        first=lambda grad, second, alpha: matmul(_scaled(grad, alpha), conj(second).transpose(-1, -2)),
        second=lambda grad, first, alpha: matmul(conj(first).transpose(-1, -2), _scaled(grad, alpha)),
    )


PRODUCTS = {"addmm": _product("addmm", "AddmmBackward0"), "baddbmm": _product("baddbmm", "BaddbmmBackward0")}
