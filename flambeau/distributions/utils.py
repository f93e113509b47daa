"""What the distributions share: broadcasting of parameters, probabilities and logits, and properties that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape; numbers take the tensors' dtype, or the default one.

    Raises:
        ValueError: a value is neither a number nor a tensor.
    """
    if not all(isinstance(value, (Tensor, int, float, bool)) for value in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__.")
    tensors = [value for value in values if isinstance(value, Tensor)]
    dtype = tensors[0].dtype if tensors else flambeau.get_default_dtype()
    return flambeau.broadcast_tensors(*[value if isinstance(value, Tensor) else flambeau.tensor(value, dtype=dtype) for value in values])


def _standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    """Draws from the normal distribution of mean 0 and variance 1; packages import it."""
    return flambeau.normal(flambeau.zeros(shape, dtype=dtype, device=device), flambeau.ones(shape, dtype=dtype, device=device))


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities at least the dtype's epsilon away from 0 and 1."""
    eps = flambeau.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities from log odds (binary) or from unnormalised log probabilities (over the last dimension)."""
    return flambeau.sigmoid(logits) if is_binary else functional.softmax(logits, dim=-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log odds (binary) or log probabilities, of probabilities clamped away from 0 and 1."""
    clamped = clamp_probs(probs)
    return flambeau.log(clamped) - flambeau.log1p(-clamped) if is_binary else flambeau.log(clamped)


class lazy_property:
    """A method that is computed at its first use, with gradients, and is then an attribute."""

    def __init__(self, wrapped: Callable[[Any], Tensor]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with flambeau.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def _sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last ``dim`` dimensions."""
    return value if dim == 0 else value.reshape((*value.shape[: value.dim() - dim], -1)).sum(-1)


def tril_matrix_to_vec(matrix: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle of square matrices as vectors, row by row.

    Raises:
        ValueError: the diagonal lies outside the matrix.
    """
    n = matrix.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = flambeau.tril_indices(n, n, diag)
    return matrix[..., rows, columns]


def vec_to_tril_matrix(vector: Tensor, diag: int = 0) -> Tensor:
    """The inverse of ``tril_matrix_to_vec``.

    Raises:
        ValueError: no square matrix has so many elements below the diagonal.
    """
    length = vector.shape[-1]
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * length + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if abs(n - round(n)) > flambeau.finfo(vector.dtype).eps:
        raise ValueError(
            f"The size of last dimension is {length} which cannot be expressed as the lower triangular part of a square D x D matrix."
        )
    size = round(n)
    rows, columns = flambeau.tril_indices(size, size, diag)
    matrix = vector.new_zeros((*vector.shape[:-1], size, size))
    matrix[..., rows, columns] = vector
    return matrix


__all__ = [
    "_sum_rightmost",
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]
