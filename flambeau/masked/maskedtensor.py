"""Tensors some of whose elements are not there: a tensor and a mask that go through functions together.

https://docs.pytorch.org/docs/stable/masked.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flambeau
from flambeau import Tensor, masked
from flambeau._tensor.function_names import is_property, name_of
from flambeau._tensor.overriding import Disabled
from flambeau.fx.node import leaves, map_aggregate

__all__ = ["MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"]

_ELEMENTWISE = frozenset({
    "abs", "absolute", "acos", "acosh", "add", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh",
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clamp", "clip", "conj_physical", "cos", "cosh", "deg2rad",
    "digamma", "div", "divide", "eq", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "ge", "greater",
    "greater_equal", "gt", "i0", "isfinite", "isinf", "isnan", "le", "less", "less_equal", "lgamma", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logit", "lt", "maximum", "minimum", "mul", "multiply", "nan_to_num", "ne", "neg", "negative", "nextafter", "not_equal", "ones_like",
    "positive", "pow", "rad2deg", "reciprocal", "relu", "remainder", "round", "rsqrt", "sgn", "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "sub", "subtract",
    "tan", "tanh", "true_divide", "trunc", "xlogy", "zeros_like", "empty_like", "rand_like", "randn_like", "full_like",
    "bfloat16", "bool", "byte", "char", "double", "float", "half", "int", "long", "short", "to", "type",
    "clone", "contiguous", "detach", "fill_", "requires_grad_", "zero_",
})  # fmt: skip
"""Functions that compute each element by itself: the result is there where the operands are."""
_MOVING = frozenset({
    "__getitem__", "broadcast_to", "cat", "chunk", "diagonal", "expand", "flatten", "flip", "index_select", "mT", "T", "movedim", "narrow", "permute", "ravel", "repeat", "reshape", "roll",
    "select", "split", "squeeze", "stack", "swapaxes", "swapdims", "t", "take_along_dim", "tensor_split", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "where",
})  # fmt: skip
"""Functions that do not look at elements: the mask goes the same way."""
_REDUCING = frozenset({"all", "amax", "amin", "argmax", "argmin", "mean", "prod", "std", "sum", "var"})
_ALONG = frozenset({"cumprod", "cumsum", "log_softmax", "logsumexp", "softmax", "softmin"})
"""What `torch.masked` computes along a dimension."""
_ASKING = frozenset({
    "backward", "data_ptr", "dim", "element_size", "get_device", "is_complex", "is_contiguous", "is_floating_point", "is_signed", "item", "ndimension", "nelement", "numel",
    "register_hook", "register_post_accumulate_grad_hook", "retain_grad", "size", "storage_offset", "stride", "__bool__", "__float__", "__hash__", "__index__", "__int__", "__len__",
})  # fmt: skip
"""What asks for no elements, or for the only one."""
_DTYPES = frozenset({
    flambeau.bool, flambeau.int8, flambeau.int16, flambeau.int32, flambeau.int64, flambeau.float16, flambeau.bfloat16, flambeau.float32, flambeau.float64,
})  # fmt: skip


class MaskedTensor(Tensor):
    """A tensor with a mask, which says of each element whether it is there: a function gives nothing where its operands have nothing.

    Functions of single elements keep the mask, those that move elements move it, and reductions leave out what is not there. Two masked operands must have
    the same mask, and a plain tensor beside a masked one has its mask. Other functions are refused: what they should do is not said.

    Args:
        data: the elements, of a real dtype, which are copied; those that are not there may be anything
        mask: bool, of the same shape
        requires_grad: whether gradients are wanted; use :func:`as_masked_tensor` for data that has a history

    Raises:
        TypeError: ``data`` or ``mask`` is no plain tensor, or has another dtype
        ValueError: their shapes differ

    Example:
        >>> import flambeau
        >>> from flambeau.masked import masked_tensor
        >>> x = masked_tensor(flambeau.tensor([1.0, flambeau.nan, 3.0]), flambeau.tensor([True, False, True]))
        >>> x * 2
        MaskedTensor(
          [  2.0000,       --,   6.0000]
        )
        >>> x.mean().item()
        2.0
    """

    _there: Tensor

    def __new__(cls, data: Any, mask: Any, requires_grad: bool = False) -> MaskedTensor:
        _check(data, mask)
        made = _masked(data.detach().clone(), mask.detach())
        with Disabled():
            return made.requires_grad_(requires_grad)

    def __init__(self, data: Any, mask: Any, requires_grad: bool = False) -> None:
        pass

    def get_data(self) -> Tensor:
        """All elements, also those that are not there."""
        return _data(self)

    def get_mask(self) -> Tensor:
        """Which elements are there."""
        return self._there

    def to_tensor(self, value: Any) -> Tensor:
        """The elements, and ``value`` in the place of those that are not there."""
        return flambeau.where(self._there, _data(self), flambeau.scalar_tensor(value, dtype=self.dtype))

    @property
    def grad(self) -> Any:
        """The gradient, which is there where the tensor is."""
        with Disabled():
            found = Tensor.grad.__get__(self)
        return None if found is None else _masked(_data(found), self._there)

    @grad.setter
    def grad(self, value: Any) -> None:
        with Disabled():
            Tensor.grad.__set__(self, value if value is None else _data(value))

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return MaskedTensor, (_data(self).detach(), self._there, self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> MaskedTensor:
        return memo.setdefault(id(self), MaskedTensor(_data(self), self._there.clone(), self.requires_grad))

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = _call(func, args, kwargs)
        if found is NotImplemented:
            raise TypeError(f"{name_of(func)}() is not defined for a MaskedTensor: call it with x.get_data() or x.to_tensor(value)")
        return found

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        elements = _data(self).detach()
        if self.dim() == 0:
            there = self._there.item()
            return f"MaskedTensor({_text(elements.item(), True, self.dtype.is_floating_point) if there else '--'}, {there})"
        lines = _lines(elements.tolist(), self._there.tolist(), self.dtype.is_floating_point, "  ")
        return "\n".join(["MaskedTensor(", *lines, ")"])

    __str__ = __repr__


def masked_tensor(data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
    """A :class:`MaskedTensor` of its own: a leaf, whose gradients do not flow into ``data``."""
    return MaskedTensor(data, mask, requires_grad)


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """A tensor and a mask as a :class:`MaskedTensor`, through which gradients flow into ``data``.

    Raises:
        TypeError, ValueError: as for :class:`MaskedTensor`
    """
    _check(data, mask)
    return _masked(data, mask)


def is_masked_tensor(obj: Any, /) -> bool:
    """Whether an object is a :class:`MaskedTensor`."""
    return isinstance(obj, MaskedTensor)


# -- inside ------------------------------------------------------------------------------------------------------------


def _check(data: Any, mask: Any) -> None:
    for name, each in (("data", data), ("mask", mask)):
        if not isinstance(each, Tensor) or is_masked_tensor(each):
            raise TypeError(f"{name} must be a Tensor, not {type(each).__name__}")
    if mask.dtype is not flambeau.bool:
        raise TypeError(f"mask must have dtype bool, not {mask.dtype}")
    if data.dtype not in _DTYPES:
        raise TypeError(f"{data.dtype} is not supported in MaskedTensor")
    if data.dim() != mask.dim():
        raise ValueError(f"data.dim() must equal mask.dim(), but they are {data.dim()} and {mask.dim()}")
    if data.shape != mask.shape:
        raise ValueError(f"data.size() must equal mask.size(), but they are {tuple(data.shape)} and {tuple(mask.shape)}")


def _masked(data: Tensor, mask: Tensor) -> MaskedTensor:
    with Disabled():
        made = data.as_subclass(MaskedTensor)
    made._there = mask
    return made


def _data(value: Any) -> Any:
    """A masked tensor's elements as a plain tensor; anything else as it is."""
    if not is_masked_tensor(value):
        return value
    with Disabled():
        return value.as_subclass(Tensor)


def _mask(value: Any) -> Any:
    """A masked tensor's mask; anything else as it is."""
    return value._there if is_masked_tensor(value) else value


def _joined_mask(value: Any) -> Any:
    """A masked tensor's mask, and that of a plain tensor that it is joined with, whose elements are all there."""
    return flambeau.ones_like(value, dtype=flambeau.bool) if isinstance(value, Tensor) and not is_masked_tensor(value) else _mask(value)


def _call(func: Callable, args: Any, kwargs: dict[str, Any]) -> Any:
    """A function's result for masked tensors, or that it has none."""
    name = name_of(func)
    plain = name.rstrip("_")
    tensors = [leaf for leaf in leaves((args, kwargs)) if is_masked_tensor(leaf)]
    if plain in _ELEMENTWISE or name in _ELEMENTWISE:
        return _elementwise(func, tensors, args, kwargs)
    if name == "__iter__":
        return iter(_call(Tensor.unbind, args, {}))
    if name in _MOVING:
        if name == "where":
            return _where(func, *args, **kwargs)
        data = func(*map_aggregate(args, _data), **map_aggregate(kwargs, _data))
        mask = _joined_mask if name in ("cat", "stack") else _mask
        masks = func(*map_aggregate(args, mask), **map_aggregate(kwargs, mask))
        return _masked(data, masks) if isinstance(data, Tensor) else tuple(map(_masked, data, masks))
    if name in _REDUCING:
        return _reduce(name, *args, **kwargs)
    if name in _ALONG:
        return _along(name, *args, **kwargs)
    if name in _ASKING or is_property(func):
        with Disabled():
            return func(*args, **kwargs)
    return NotImplemented


def _elementwise(func: Callable, tensors: list[Any], args: Any, kwargs: dict[str, Any]) -> Any:
    mask = tensors[0]._there
    for other in tensors[1:]:
        if other._there is not mask and not flambeau.equal(other._there, mask):
            raise ValueError("Input masks must match: make them equal first, for example with masked_tensor(x.get_data(), mask)")
    result = func(*map_aggregate(args, _data), **map_aggregate(kwargs, _data))
    if result.shape != mask.shape:
        raise ValueError(f"a MaskedTensor of shape {tuple(mask.shape)} cannot be broadcast to {tuple(result.shape)}: expand it first")
    first = args[0] if args else None
    if is_masked_tensor(first) and result.memory is first.memory and result.layout is first.layout:
        return first  # written in place
    return _masked(result, mask)


def _where(func: Callable, condition: Tensor, input: Any, other: Any) -> MaskedTensor:
    data = func(_data(condition), _data(input), _data(other))
    there = [each._there if is_masked_tensor(each) else flambeau.tensor(True) for each in (input, other)]
    return _masked(data, flambeau.where(_data(condition), *there).expand(data.shape))


def _reduce(name: str, input: MaskedTensor, dim: Any = None, keepdim: bool = False, **options: Any) -> MaskedTensor:
    """Reduce what is there; the result is there where anything is."""
    data, mask = _data(input), input._there
    if name == "all":
        filled = flambeau.where(mask, data, flambeau.ones_like(data))
        result = filled.all() if dim is None else filled.all(dim, keepdim)
    elif dim is None and name in ("argmax", "argmin"):
        result = getattr(masked, name)(data.flatten(), 0, mask=mask.flatten(), **options)
    else:
        if name in ("std", "var"):
            options = {"unbiased": options.pop("unbiased", options.pop("correction", 1) != 0), **options}
        result = getattr(masked, name)(data, dim, keepdim=keepdim, mask=mask, **options)
    there = mask.any() if dim is None else _any(mask, dim, keepdim)
    return _masked(result, there.expand(result.shape))


def _any(mask: Tensor, dim: Any, keepdim: bool) -> Tensor:
    for each in sorted((dim,) if isinstance(dim, int) else dim, key=lambda axis: axis % mask.dim(), reverse=True):
        mask = mask.any(each, keepdim)
    return mask


def _along(name: str, input: MaskedTensor, dim: Any = None, *args: Any, **kwargs: Any) -> MaskedTensor:
    """What is computed along a dimension, of what is there."""
    if dim is None:
        raise TypeError(f"{name}() of a MaskedTensor needs a dim")
    data, mask = _data(input), input._there
    kwargs.pop("_stacklevel", None)
    if name == "logsumexp":
        keepdim = bool(args[0] if args else kwargs.get("keepdim", False))
        return _masked(masked.logsumexp(data, dim, keepdim=keepdim, mask=mask), _any(mask, dim, keepdim))
    return _masked(getattr(masked, name)(data, dim, mask=mask, **{key: value for key, value in kwargs.items() if value is not None}), mask)


# -- text --------------------------------------------------------------------------------------------------------------


def _text(value: Any, there: bool, floating: bool) -> str:
    if not there:
        return f"{'--':>8}"
    return f"{value:8.4f}" if floating else str(value)


def _lines(values: Sequence, mask: Sequence, floating: bool, indent: str) -> Iterator[str]:
    """The lines of a list of lists, as PyTorch sets them."""
    if not values or not isinstance(values[0], list):
        yield f"{indent}[" + ", ".join(_text(value, there, floating) for value, there in zip(values, mask, strict=True)) + "]"
        return
    yield f"{indent}["
    for number, (inner, there) in enumerate(zip(values, mask, strict=True)):
        lines = list(_lines(inner, there, floating, indent + "  "))
        yield from lines[:-1]
        yield lines[-1] + ("," if number < len(values) - 1 else "")
    yield f"{indent}]"
