"""Functions of each element: of nested tensors with the same pieces, of numbers, and of dense tensors that broadcast with the pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.strided import StridedNestedTensor, aligned, largest, of_padded
from flambeau.nested.tensor import NestedTensor

ELEMENTWISE = frozenset({
    "__and__", "__eq__", "__floordiv__", "__invert__", "__lshift__", "__or__", "__pow__", "__rdiv__", "__rfloordiv__", "__rlshift__", "__rmod__", "__rpow__", "__rrshift__",
    "__rshift__", "__rsub__", "__rtruediv__", "__xor__", "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "alike", "alpha_dropout", "angle", "asin", "asinh",
    "atan", "atan2", "atanh", "bernoulli", "bfloat16", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "bool", "byte",
    "cdouble", "ceil", "celu", "cfloat", "char", "clamp", "clamp_max", "clamp_min", "conj", "conj_physical", "copysign", "cos", "cosh", "deg2rad", "digamma", "div",
    "double", "dropout", "elu", "empty_like", "eq", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "float", "float_power", "floor", "floor_divide", "fmax", "fmin",
    "fmod", "frac", "full_like", "ge", "gelu", "gt", "half", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "heaviside", "hypot", "i0", "int", "isclose", "isfinite",
    "isinf", "isnan", "isneginf", "isposinf", "isreal", "ldexp", "le", "leaky_relu", "lerp", "lgamma", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logsigmoid", "long", "lt", "masked_fill", "maximum", "minimum", "mish", "mul", "nan_to_num", "ne", "neg",
    "nextafter", "ones_like", "polygamma", "positive", "pow", "rad2deg", "rand_like", "randint_like", "randn_like", "reciprocal", "relu", "relu6", "remainder", "resolve_conj",
    "resolve_neg", "round", "rrelu", "rsqrt", "rsub", "selu", "sgn", "short", "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "softplus", "softshrink",
    "softsign", "sqrt", "square", "sub", "tan", "tanh", "tanhshrink", "threshold", "true_divide", "trunc", "where", "xlogy", "zeros_like",
})  # fmt: skip
"""Functions each element of whose result depends on the elements there."""
IN_PLACE = frozenset({
    *(f"{name}_" for name in ELEMENTWISE), "__iand__", "__ilshift__", "__ior__", "__ipow__", "__irshift__", "__ixor__", "bernoulli_", "exponential_", "fill_", "normal_",
    "uniform_", "zero_",
})  # fmt: skip
"""Functions that change the elements of their first argument."""
LOSSES = frozenset({
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss", "l1_loss", "mse_loss", "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss",
})  # fmt: skip
"""Functions of each element, and then of all of them, that ask for no dimension."""


def elementwise(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """The function of each element."""
    like = first_nested(args, kwargs)
    fitted, options = _fitted(func, like, args, kwargs)
    return _like(like, func(*fitted, **options))


def in_place(func: Callable, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The function of each element, which takes its place.

    Raises:
        RuntimeError: ``self`` is dense, or is made of other pieces.
    """
    if not isinstance(self, NestedTensor):
        raise RuntimeError(
            f"{func.__name__}: the elements of a nested tensor cannot be written into a dense one of size {list(self.shape)}"
        )
    fitted, options = _fitted(func, self, args, kwargs)
    func(self._elements, *fitted, **options)
    return self


def loss(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """A loss of all elements, or with ``reduction="none"`` of each."""
    like = first_nested(args, kwargs)
    if isinstance(like, JaggedTensor) and like._ragged.lengths is not None and kwargs.get("reduction") != "none":
        raise RuntimeError(f"{func.__name__}: rows that belong to no piece would count; call contiguous() on both arguments first")
    fitted, options = _fitted(func, like, args, kwargs)
    result = func(*fitted, **options)
    return result if result.shape != like._elements.shape else _like(like, result)


def first_nested(args: Any, kwargs: Any) -> Any:
    """The nested tensor that says what the pieces are."""
    return next(each for each in (*args, *kwargs.values()) if isinstance(each, NestedTensor))


def _like(like: NestedTensor, result: Any) -> Any:
    return tuple([like._with(each) for each in result]) if isinstance(result, tuple) else like._with(result)


def _fitted(func: Callable, like: NestedTensor, args: tuple, kwargs: dict) -> tuple[list, dict]:
    """The arguments, with tensors that broadcast with the values of ``like`` in the place of tensors."""
    fit = _fit_jagged if isinstance(like, JaggedTensor) else _fit_strided
    name = func.__name__

    def fitted(each: Any) -> Any:
        return fit(name, like, each) if isinstance(each, Tensor) else each

    return [fitted(each) for each in args], {key: fitted(each) for key, each in kwargs.items()}


def refusal(name: str, like: NestedTensor, other: Tensor) -> RuntimeError:
    """The error for two tensors whose sizes do not fit."""
    if isinstance(like, JaggedTensor) and isinstance(other, JaggedTensor):
        why = "; pieces are the same where offsets() are: nested_tensor_from_jagged(values, other.offsets()) makes them so"
    else:
        why = "; a dense tensor broadcasts with size 1, or that of the padded batch, in the dimensions in which pieces differ"
    return RuntimeError(f"cannot call {name} with inputs of shapes {tuple(like.layout.shape)} and {tuple(other.layout.shape)}{why}")


def _fit_jagged(name: str, like: JaggedTensor, other: Tensor) -> Tensor:
    if isinstance(other, JaggedTensor):
        if other._ragged is not like._ragged or other._dim != like._dim or other.dim() != like.dim():
            raise refusal(name, like, other)
        return other._elements
    if isinstance(other, NestedTensor):
        raise RuntimeError(f"{name}: a nested tensor of layout torch.jagged does not go with one of layout torch.strided")
    if not other.dim():
        return other
    if other.dim() > like.dim():
        raise NotImplementedError(
            f"{name}: a nested tensor of size {tuple(like.layout.shape)} is not broadcast to a dense one with more dimensions, "
            f"{tuple(other.shape)}"
        )
    along = like._dim - like.dim()  # the ragged dimension, counted from the last
    if other.dim() < -along or (other.shape[along] == 1 and (other.dim() < like.dim() or other.shape[0] == 1)):
        return other.squeeze(0) if other.dim() == like.dim() else other
    return _rows_of(name, like, other)


def _rows_of(name: str, like: JaggedTensor, other: Tensor) -> Tensor:
    """What of a dense tensor with a row for each piece, or as many as the padded batch has, goes to each row of the values."""
    count, ragged = len(like._ragged), like._ragged
    if other.dim() < like.dim() or other.shape[0] not in (1, count):
        raise refusal(name, like, other)
    if other.shape[like._dim] == 1:
        rows = other.squeeze(like._dim).index_select(0, ragged.pieces(like._rows))
        return like.rows_back(rows)
    if other.shape[0] != count or other.shape[like._dim] != ragged.longest:
        raise refusal(name, like, other)
    return like.like_padded(other)._elements


def _fit_strided(name: str, like: StridedNestedTensor, other: Tensor) -> Tensor:
    if isinstance(other, StridedNestedTensor):
        if other._sizes == like._sizes and other._order == like._order:
            return other._elements
        if other.sizes != like.sizes:
            raise RuntimeError(
                f"{name} does not support broadcasting when given a NestedTensor: the pieces have sizes that differ, as in "
                f"{_first_difference(like, other)}"
            )
        return aligned(other, like)._elements
    if isinstance(other, NestedTensor):
        raise RuntimeError(f"{name}: a nested tensor of layout torch.strided does not go with one of layout torch.jagged")
    if not other.dim():
        return other
    shape = (len(like._sizes), *largest(like))
    if other.dim() > len(shape) or any(size not in (1, wanted) for size, wanted in zip(reversed(other.shape), reversed(shape))):
        raise RuntimeError(f"{name}: a dense tensor of size {tuple(other.shape)} does not broadcast with the padded batch, of size {shape}")
    return aligned(of_padded(other.expand(shape), like.sizes), like)._elements


def _first_difference(first: StridedNestedTensor, second: StridedNestedTensor) -> str:
    if len(first._sizes) != len(second._sizes):
        return f"{len(first._sizes)} and {len(second._sizes)} pieces"
    return next(f"{a} and {b}" for a, b in zip(first.sizes, second.sizes) if a != b)
