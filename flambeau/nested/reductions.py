"""Sums, means, extrema over some dimensions, and softmax along one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau.nested.elementwise import elementwise
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.strided import StridedNestedTensor, of_padded
from flambeau.nested.tensor import NestedTensor, wrapped


def _lowest(dtype: DType) -> Any:
    if dtype is flambeau.bool:
        return False
    return float("-inf") if dtype.is_floating_point else flambeau.iinfo(dtype).min


def _highest(dtype: DType) -> Any:
    if dtype is flambeau.bool:
        return True
    return float("inf") if dtype.is_floating_point else flambeau.iinfo(dtype).max


NEUTRAL: dict[str, Callable[[DType], Any]] = {
    "sum": lambda dtype: 0, "mean": lambda dtype: 0, "prod": lambda dtype: 1, "any": lambda dtype: 0, "all": lambda dtype: 1, "max": _lowest, "amax": _lowest, "argmax": _lowest,
    "min": _highest, "amin": _highest, "argmin": _highest, "logsumexp": lambda dtype: float("-inf"), "count_nonzero": lambda dtype: 0,
}  # fmt: skip
"""What pieces are padded with, so that it changes no result."""


def reduce(func: Callable, self: Any, dim: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """A reduction over all elements, or over some dimensions.

    Raises:
        RuntimeError: over the dimension of pieces, but not over the one in which they differ.
    """
    if "axis" in options:
        dim = options.pop("axis")
    dims = None if dim is None or dim == () else [wrapped(self, each) for each in (dim if isinstance(dim, (tuple, list)) else (dim,))]
    if dims is None or len(set(dims)) == self.dim():
        values = self._packed() if isinstance(self, JaggedTensor) else self.contiguous()._elements
        result = func(values, **options)
        return result.reshape((1,) * self.dim()) if keepdim and dims is not None else result
    if isinstance(self, JaggedTensor):
        return _reduce_jagged(func, self, dims, keepdim, options)
    return _reduce_strided(func, self, dims, keepdim, options)


def _reduce_jagged(func: Callable, self: JaggedTensor, dims: list[int], keepdim: bool, options: dict) -> Any:
    name, several = func.__name__, len(dims) > 1
    if self._dim not in dims:
        if 0 in dims:
            raise RuntimeError(
                f"{name}(): reducing along the batch dimension but not the ragged dimension is not supported for nested tensors (dim={dims})"
            )
        inner = [dim - 1 for dim in dims]
        lost = 0 if keepdim else sum(dim < self._dim for dim in dims)
        results = func(self._elements, inner if several else inner[0], **_kept(name, keepdim), **options)
        return _each(results, lambda result: JaggedTensor.of(result, self._ragged, self._dim - lost))
    if 0 in dims:
        inner = [dim - 1 for dim in dims if dim]
        results = func(self._packed(), inner if len(inner) > 1 else inner[0], **_kept(name, keepdim), **options)
        return _each(results, lambda result: result.unsqueeze(0) if keepdim else result)
    padded = self.padded(NEUTRAL[name](self.dtype))
    if name != "mean" or not _has_mean(options.get("dtype") or self.dtype):  # which ``mean`` refuses
        return func(padded, dims if several else dims[0], **_kept(name, keepdim), **options)
    total = flambeau.sum(padded, dims, keepdim=keepdim, **options)
    others = 1
    for dim in dims:
        others *= 1 if dim == self._dim else padded.shape[dim]
    counts = (self._ragged.counts * others).to(total.dtype)
    return total / counts.reshape(-1, *(1,) * (total.dim() - 1))


def _has_mean(dtype: DType) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _kept(name: str, keepdim: bool) -> dict:
    return {"keepdim": True} if keepdim else {}


def _each(results: Any, made: Callable) -> Any:
    """One result or several, as what ``made`` makes of them."""
    if isinstance(results, tuple):
        parts = [made(each) for each in results]
        return results._make(parts) if hasattr(results, "_make") else tuple(parts)
    return made(results)


def _reduce_strided(func: Callable, self: StridedNestedTensor, dims: list[int], keepdim: bool, options: dict) -> Any:
    name = func.__name__
    if 0 in dims:
        raise RuntimeError(f"{name}(): the pieces of a nested tensor of layout torch.strided are not reduced over one another (dim={dims})")
    sizes = tuple(
        [
            tuple([1 if dim + 1 in dims else size for dim, size in enumerate(piece) if keepdim or dim + 1 not in dims])
            for piece in self.sizes
        ]
    )
    given = dims if len(dims) > 1 else dims[0]
    padded = self.padded(NEUTRAL[name](self.dtype))
    if name != "mean" or not _has_mean(options.get("dtype") or self.dtype):
        return _each(func(padded, given, **_kept(name, keepdim), **options), lambda result: of_padded(result, sizes))
    total = of_padded(flambeau.sum(padded, given, keepdim=keepdim, **options), sizes)
    ones = StridedNestedTensor.of(flambeau.ones(self.numel(), dtype=total.dtype), self.sizes).padded()
    return total / of_padded(ones.sum(given, keepdim=keepdim), sizes)


# -- along a dimension -----------------------------------------------------------------------------------------------


def softmax(func: Callable, input: Any, dim: int | None = None, *args: Any, **options: Any) -> Any:
    """``softmax`` or ``log_softmax`` along a dimension of each piece.

    Raises:
        RuntimeError: along the dimension of pieces.
    """
    dim = wrapped(input, -1 if dim is None else dim)
    if dim == 0:
        raise RuntimeError(f"{func.__name__}(): not supported when reducing across the batch dimension for NestedTensor (dim=0)")
    if options.get("dtype") is not None:
        input = input.to(options.pop("dtype"))
    if not input.is_floating_point():
        raise RuntimeError(f"{func.__name__}() of a nested tensor needs a floating-point dtype, got {input.dtype}; dtype= converts it")
    if isinstance(input, JaggedTensor):
        if dim != input._dim:
            return input._with(func(input._elements, dim - 1, *args, **options))
        if input._ragged.lengths is not None:
            return input.like_padded(func(input.padded(float("-inf")), dim, *args, **options))
        return _softmax_of_rows(input, func.__name__)
    if dim == input.dim() - 1 and input.is_contiguous() and input.layout.shape[-1]:
        rows = input._elements.reshape(-1, input.layout.shape[-1])
        return input._with(func(rows, -1, *args, **options).reshape(-1))
    return of_padded(func(input.padded(float("-inf")), dim, *args, **options), input.sizes)


def _softmax_of_rows(input: JaggedTensor, name: str) -> JaggedTensor:
    """Softmax over the rows of each piece. Padding would be exponentials of minus infinity, which take longer than others."""
    sign = -1 if name == "softmin" else 1
    wide = input.to(input.dtype.compute) * sign
    shifted = wide - wide.detach().amax(input._dim, keepdim=True)
    exponentials = shifted.exp()
    sums = exponentials.sum(input._dim, keepdim=True)
    return (shifted - sums.log() if name == "log_softmax" else exponentials / sums).to(input.dtype)


ALONG: dict[str, tuple[int, int | None]] = {
    "argsort": (1, -1), "cumprod": (1, None), "cumsum": (1, None), "flip": (1, None), "glu": (1, -1), "index_select": (1, None), "logcumsumexp": (1, None), "normalize": (2, 1),
    "sort": (1, -1), "topk": (2, -1), "cummax": (1, None), "cummin": (1, None), "std": (1, None), "var": (1, None), "vector_norm": (2, None), "norm": (2, None),
}  # fmt: skip
"""Functions along a dimension in which pieces agree: the place of the dimension among their arguments, and what it is if left out."""


def along(func: Callable, *args: Any, **options: Any) -> Any:
    """A function of the values of a jagged tensor along a dimension in which the pieces agree.

    Raises:
        NotImplementedError: along another.
    """
    name = func.__name__
    place, default = ALONG[name]
    self = args[0]
    given = args[place] if len(args) > place else options.pop("dim", default)
    if given is None or not isinstance(self, JaggedTensor):
        raise NotImplementedError(f"{name}() is implemented along a dimension of torch.jagged tensors; use values(), or to_padded_tensor()")
    dims = [wrapped(self, each) for each in (given if isinstance(given, (tuple, list)) else (given,))]
    if 0 in dims or self._dim in dims:
        raise NotImplementedError(
            f"{name}() along dimension {given}, of pieces or in which they differ, is not implemented; use to_padded_tensor(), or unbind()"
        )
    inner: Any = [dim - 1 for dim in dims] if isinstance(given, (tuple, list)) else dims[0] - 1
    others = [each._elements if isinstance(each, NestedTensor) else each for each in args]
    if len(args) > place:
        others[place] = inner
    else:
        options["dim"] = inner
    results = func(*others, **options)
    gone = self._elements.dim() - (results[0] if isinstance(results, tuple) else results).dim()
    lost = sum(dim < self._dim for dim in dims) if gone else 0
    return _each(results, lambda result: JaggedTensor.of(result, self._ragged, self._dim - lost))


def layer_norm(func: Callable, input: Any, normalized_shape: Sequence[int], *args: Any, **options: Any) -> Any:
    """``layer_norm`` or ``rms_norm`` over the last dimensions, in which all pieces agree.

    Raises:
        RuntimeError: the pieces differ in one of them, or they have other sizes.
    """
    wanted = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    shape = tuple(input.layout.shape)
    if len(wanted) >= len(shape) or shape[len(shape) - len(wanted) :] != wanted:
        raise RuntimeError(
            f"Given normalized_shape={list(wanted)}, expected input of shape [*, {', '.join(map(str, wanted))}], got {shape}"
        )
    if isinstance(input, JaggedTensor):
        return input._with(func(input._elements, normalized_shape, *args, **options))
    input = input.contiguous()
    return input._with(func(input._elements.reshape(-1, *wanted), normalized_shape, *args, **options).reshape(-1))


def extremum(func: Callable, self: Any, other: Any = None, keepdim: bool = False, **options: Any) -> Any:
    """``max`` and ``min``: of all elements, along a dimension, or of two tensors."""
    if isinstance(other, Tensor) or not isinstance(self, NestedTensor):
        return elementwise(func, self, other)
    if "dim" in options:
        other = options.pop("dim")
    return reduce(func, self, other, keepdim, **options)
