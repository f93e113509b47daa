"""Linear maps, embeddings, and products of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.strided import StridedNestedTensor, of_padded
from flambeau.nested.tensor import NestedTensor


def _require_regular_rows(name: str, input: Any) -> int:
    """Check that all pieces have the same number of elements in the last dimension, and return it.

    Raises:
        RuntimeError: they differ.
    """
    size = input.layout.shape[-1]
    if not isinstance(size, int):
        raise RuntimeError(f"{name}: Expected all tensors in nested tensor to have the same trailing dimension, but they differ in it")
    return size


def linear(func: Callable, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    """``linear`` of the rows of all pieces."""
    if not isinstance(input, NestedTensor) or isinstance(weight, NestedTensor) or isinstance(bias, NestedTensor):
        raise RuntimeError("linear: only the input may be a nested tensor; weight and bias must be dense")
    size = _require_regular_rows("linear", input)
    if isinstance(input, JaggedTensor):
        return input._with(func(input._elements, weight, bias))
    input = input.contiguous()
    rows = func(input._elements.reshape(-1, size), weight, bias)
    sizes = [(*piece[:-1], rows.shape[-1]) for piece in input.sizes]
    return StridedNestedTensor.of(rows.reshape(-1), sizes)


def embedding(func: Callable, *args: Any, **options: Any) -> Any:
    """``embedding`` of a nested tensor of indices."""
    indices = next(each for each in (*args, *options.values()) if isinstance(each, NestedTensor))
    if isinstance(indices, StridedNestedTensor):
        indices = indices.contiguous()
    rows = func(
        *[indices._elements if isinstance(each, NestedTensor) else each for each in args],
        **{key: indices._elements if isinstance(each, NestedTensor) else each for key, each in options.items()},
    )
    if isinstance(indices, JaggedTensor):
        return indices._with(rows)
    return StridedNestedTensor.of(rows.reshape(-1), [(*piece, rows.shape[-1]) for piece in indices.sizes])


# -- products of matrices --------------------------------------------------------------------------------------------


def matmul(func: Callable, self: Any, other: Any) -> Any:
    """The products of the matrices of each piece with a matrix, with one for each piece, or with those of another nested tensor.

    Raises:
        RuntimeError: they do not fit, or the result would differ in two dimensions and is ``torch.jagged``.
    """
    if any(isinstance(each, StridedNestedTensor) for each in (self, other)):
        return _strided_matmul(func.__name__, self, other)
    if self.dim() < 2 or other.dim() < 2:
        raise RuntimeError(not_supported(func.__name__, self, other))
    if isinstance(self, JaggedTensor) and isinstance(other, JaggedTensor):
        return _over_rows(func.__name__, self, other)
    nested, dense = (self, other) if isinstance(self, JaggedTensor) else (other, self)
    inner = self.dim() - 1 if nested is self else other.dim() - 2
    if nested._dim == inner:
        raise RuntimeError(not_supported(func.__name__, self, other) + ": pieces differ in the dimension that is summed over")
    if dense.dim() == 2 and nested is self:
        return self._with(self._elements @ other)
    if dense.dim() == 2 and nested._dim < nested.dim() - 2:
        return nested._with(dense @ nested._elements)
    padded = (self.padded() if nested is self else self) @ (other.padded() if nested is other else other)
    if padded.dim() != nested.dim() or padded.shape[0] != len(nested._ragged):
        raise RuntimeError(not_supported(func.__name__, self, other))
    return nested.like_padded(padded)


def not_supported(name: str, self: Any, other: Any) -> str:
    """The beginning of the message for two tensors that are not multiplied."""
    return f"{name}(): not supported between inputs of shapes {tuple(self.layout.shape)} and {tuple(other.layout.shape)}"


def _over_rows(name: str, self: JaggedTensor, other: JaggedTensor) -> Any:
    """Products that sum over the rows of each piece, or that leave them alone."""
    if self._ragged is not other._ragged or self.dim() != other.dim():
        raise RuntimeError(not_supported(name, self, other) + ", whose pieces are not the same")
    last = self.dim() - 1
    if self._dim == last and other._dim == last - 1:
        return self.padded() @ other.padded()
    if self._dim == other._dim < last - 1:
        order = [self._dim - 1, *[dim for dim in range(last) if dim != self._dim - 1]]
        product = self._elements.permute(order) @ other._elements.permute(order)
        return self._with(product.movedim(0, self._dim - 1))
    raise RuntimeError(
        not_supported(name, self, other) + ", as the product would differ in two dimensions; for attention there is "
        "scaled_dot_product_attention, and layout=torch.strided has such products"
    )


def _strided_matmul(name: str, self: Any, other: Any) -> Any:
    if not all(isinstance(each, StridedNestedTensor) for each in (self, other)):
        nested, dense = (self, other) if isinstance(self, StridedNestedTensor) else (other, self)
        if isinstance(dense, NestedTensor) or dense.dim() != nested.dim() or dense.shape[0] != len(nested._sizes):
            raise RuntimeError(f"{name}: Expected both to be nested, or a dense batch of {len(nested._sizes)} for the other one")
        sizes = [tuple(dense.shape[1:])] * dense.shape[0]
        converted = StridedNestedTensor.of(dense.reshape(-1), sizes)
        return _strided_matmul(name, *[converted if each is dense else each for each in (self, other)])
    first, second = self.sizes, other.sizes
    if self.dim() < 3 or self.dim() != other.dim() or len(first) != len(second):
        raise RuntimeError(
            f"{name}: expected two nested tensors with the same number of pieces that are matrices, got {self.dim()} and {other.dim()} dimensions"
        )
    for a, b in zip(first, second):
        if a[-1] != b[-2] or a[:-2] != b[:-2]:
            raise RuntimeError(f"{name}: Nested tensors cannot be matrix multiplied: there are pieces of sizes {a} and {b}")
    sizes = tuple([(*a[:-1], b[-1]) for a, b in zip(first, second)])
    return of_padded(self.padded() @ other.padded(), sizes)
