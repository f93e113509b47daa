"""Linear maps, products of matrices and attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flambeau
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
        return input._with(func(input._values, weight, bias))
    input = input.contiguous()
    rows = func(input._values.reshape(-1, size), weight, bias)
    sizes = [(*piece[:-1], rows.shape[-1]) for piece in input.sizes]
    return StridedNestedTensor.of(rows.reshape(-1), sizes)


def embedding(func: Callable, *args: Any, **options: Any) -> Any:
    """``embedding`` of a nested tensor of indices."""
    indices = next(each for each in (*args, *options.values()) if isinstance(each, NestedTensor))
    if isinstance(indices, StridedNestedTensor):
        indices = indices.contiguous()
    rows = func(
        *[indices._values if isinstance(each, NestedTensor) else each for each in args],
        **{key: indices._values if isinstance(each, NestedTensor) else each for key, each in options.items()},
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
        raise RuntimeError(_not_supported(func.__name__, self, other))
    if isinstance(self, JaggedTensor) and isinstance(other, JaggedTensor):
        return _over_rows(func.__name__, self, other)
    nested, dense = (self, other) if isinstance(self, JaggedTensor) else (other, self)
    inner = self.dim() - 1 if nested is self else other.dim() - 2
    if nested._dim == inner:
        raise RuntimeError(_not_supported(func.__name__, self, other) + ": pieces differ in the dimension that is summed over")
    if dense.dim() == 2 and nested is self:
        return self._with(self._values @ other)
    if dense.dim() == 2 and nested._dim < nested.dim() - 2:
        return nested._with(dense @ nested._values)
    padded = (self.padded() if nested is self else self) @ (other.padded() if nested is other else other)
    if padded.dim() != nested.dim() or padded.shape[0] != len(nested._ragged):
        raise RuntimeError(_not_supported(func.__name__, self, other))
    return nested.like_padded(padded)


def _not_supported(name: str, self: Any, other: Any) -> str:
    return f"{name}(): not supported between inputs of shapes {tuple(self.layout.shape)} and {tuple(other.layout.shape)}"


def _over_rows(name: str, self: JaggedTensor, other: JaggedTensor) -> Any:
    """Products that sum over the rows of each piece, or that leave them alone."""
    if self._ragged is not other._ragged or self.dim() != other.dim():
        raise RuntimeError(_not_supported(name, self, other) + ", whose pieces are not the same")
    last = self.dim() - 1
    if self._dim == last and other._dim == last - 1:
        return self.padded() @ other.padded()
    if self._dim == other._dim < last - 1:
        order = [self._dim - 1, *[dim for dim in range(last) if dim != self._dim - 1]]
        product = self._values.permute(order) @ other._values.permute(order)
        return self._with(product.movedim(0, self._dim - 1))
    raise RuntimeError(
        _not_supported(name, self, other) + ", as the product would differ in two dimensions; for attention there is "
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
        raise RuntimeError(f"{name}: expected two nested tensors with the same number of pieces that are matrices, got {self.dim()} and {other.dim()} dimensions")
    for a, b in zip(first, second):
        if a[-1] != b[-2] or a[:-2] != b[:-2]:
            raise RuntimeError(f"{name}: Nested tensors cannot be matrix multiplied: there are pieces of sizes {a} and {b}")
    sizes = tuple([(*a[:-1], b[-1]) for a, b in zip(first, second)])
    return of_padded(self.padded() @ other.padded(), sizes)


# -- attention -------------------------------------------------------------------------------------------------------


def attention(
    func: Callable,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """``scaled_dot_product_attention`` of each piece by itself.

    Args:
        query: (B, H, j, E), or (B, j, E)
        key: (B, H, k, E), of the same pieces or others
        value: (B, H, k, E_v)
        attn_mask: not implemented for nested tensors

    Raises:
        ValueError: some of the three are nested and some not, or there is a mask.
        RuntimeError: keys and values have different pieces.
    """
    if not all(isinstance(each, NestedTensor) for each in (query, key, value)):
        found = ", ".join(f"{name}.is_nested: {each.is_nested}" for name, each in (("query", query), ("key", key), ("value", value)))
        raise ValueError(f"Expected query, key, and value to be nested tensors, but got {found} instead.")
    if attn_mask is not None:
        raise ValueError("attn_mask is not implemented for nested tensors; is_causal=True is, or to_padded_tensor() with a mask")
    if isinstance(query, StridedNestedTensor):
        return _strided_attention(func, query, key, value, dropout_p, is_causal, scale, enable_gqa)
    if key._ragged is not value._ragged or not query.dim() == key.dim() == value.dim():
        raise RuntimeError(
            f"scaled_dot_product_attention: key and value must have the same pieces, got sizes {tuple(key.layout.shape)} and "
            f"{tuple(value.layout.shape)}"
        )
    rows = query.dim() - 2
    if not query._dim == key._dim == value._dim or query._dim > rows:
        raise RuntimeError("scaled_dot_product_attention: query, key and value must have their ragged dimension at the same place, not the last")
    if query._dim < rows:  # each row of each piece is a batch of its own
        if query._ragged is not key._ragged:
            raise RuntimeError(_not_supported("scaled_dot_product_attention", query, key))
        moved = [each._values.movedim(each._dim - 1, 0) for each in (query, key, value)]
        options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
        return query._with(func(*moved, **options).movedim(0, query._dim - 1))
    result = _masked(func, query, key, value, dropout_p, is_causal, scale, enable_gqa)
    return query.like_padded(result)


def _masked(
    func: Callable,
    query: JaggedTensor,
    key: JaggedTensor,
    value: JaggedTensor,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    """Attention in a padded batch. One program serves all lengths of pieces, as these are in the mask.

    With the same pieces on both sides a causal mask hides what follows a piece: its rows see none after themselves.
    """
    q, k, v = query.padded(), key.padded(), value.padded()
    present = None
    if not is_causal or query._ragged is not key._ragged:
        present = key._ragged.padded(key._rows, k.shape[-2])[1]
        present = present.reshape(len(key._ragged), *(1,) * (k.dim() - 2), k.shape[-2])
    return func(q, k, v, present, dropout_p, is_causal, scale, enable_gqa)


def _strided_attention(
    func: Callable, query: Any, key: Any, value: Any, dropout_p: float, is_causal: bool, scale: float | None, enable_gqa: bool
) -> Any:
    for a, b, c in zip(query.sizes, key.sizes, value.sizes):
        if a[-1] != b[-1] or b[-2] != c[-2] or b[:-2] != c[:-2]:
            raise RuntimeError(f"scaled_dot_product_attention: there are pieces of sizes {a}, {b} and {c}, which do not fit")
    if not isinstance(query.layout.shape[-1], int):
        raise RuntimeError("scaled_dot_product_attention: the pieces of a query must have the same last dimension")
    ones = StridedNestedTensor.of(flambeau.ones(sum(math.prod(size[:-1]) for size in key.sizes), dtype=flambeau.bool), [size[:-1] for size in key.sizes])
    present = ones.padded().unsqueeze(-2)
    padded = func(query.padded(), key.padded(), value.padded(), present, dropout_p, is_causal, scale, enable_gqa)
    return of_padded(padded, tuple([(*a[:-1], c[-1]) for a, c in zip(query.sizes, value.sizes)]))
