"""Distances and similarities between vectors."""

from __future__ import annotations

import numpy

import flambeau
from flambeau._tensor.tensor import Tensor


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Computes ‖x₁ - x₂ + ``eps``‖_p over the last dimension.

    Args:
        x1: (N, D) or (D).
        x2: (N, D) or (D), broadcast.
        p: the exponent of the norm.
        eps: keeps the gradient finite where the vectors are equal.
        keepdim: whether the result keeps a last dimension of 1.
    """
    dim = max(x1.dim(), x2.dim()) - 1
    return flambeau.norm(x1 - x2 + eps, p, dim, keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Computes x₁·x₂ / (max(‖x₁‖, ``eps``) max(‖x₂‖, ``eps``)) along ``dim``; the tensors are broadcast.

    Raises:
        RuntimeError: the tensors are not floating-point.
    """
    dtype = flambeau.promote_types(x1.dtype, x2.dtype)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    x1, x2 = flambeau.broadcast_tensors(x1.to(dtype), x2.to(dtype))
    # Each vector is divided before they are multiplied: the product cannot overflow.
    x1, x2 = (x / flambeau.linalg.vector_norm(x, 2, dim, keepdim=True).clamp_min(eps) for x in (x1, x2))
    return (x1 * x2).sum(dim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Computes the p-norm distance of every pair of rows i < j of (N, D), as a vector of N (N - 1) / 2 elements."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    first, second = (flambeau.tensor(rows.tolist(), dtype=flambeau.int64) for rows in numpy.triu_indices(input.size(0), 1))
    difference = input[first] - input[second]
    distance = flambeau.norm(difference, p, 1)
    if p == 0:  # a count, whose gradient is zero here, while a norm of order 0 has none
        distance = distance + difference.masked_fill(flambeau.ones_like(difference, dtype=flambeau.bool), 0.0).sum(1)
    return distance
