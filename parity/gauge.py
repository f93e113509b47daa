"""Vectors that are only determined up to a phase, or a rotation, such as eigenvectors: ours are turned to PyTorch's before they are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Tensors = Sequence[torch.Tensor]


def _phases(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """What each column of ours has to be multiplied by."""
    overlap = (ours.conj() * theirs).sum(-2, keepdim=True)
    return torch.where(overlap == 0, torch.ones_like(overlap), overlap.sgn())


def _turned(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Ours, rotated within the space that its columns span."""
    return ours @ (ours.mH @ theirs)


def _eigenvectors(ours: Tensors, theirs: Tensors) -> Tensors:
    return ours[0], ours[1] * _phases(ours[1], theirs[1])


def _singular_vectors(ours: Tensors, theirs: Tensors, *, adjoint: bool) -> Tensors:
    """Pairs of left and right vectors share a phase; those that complete full matrices are any basis of the rest."""
    steps = ours[1].shape[-1]
    u, v = (each[0] for each in (ours, theirs)), (each[2].mH if adjoint else each[2] for each in (ours, theirs))
    (our_u, their_u), (our_v, their_v) = u, v
    phases = _phases(our_u[..., :steps], their_u[..., :steps])
    left, right = (
        torch.cat((mine[..., :steps] * phases, _turned(mine[..., steps:], other[..., steps:])), -1)
        for mine, other in ((our_u, their_u), (our_v, their_v))
    )
    return left, ours[1], right.mH if adjoint else right


GAUGES: dict[str, Callable[[Tensors, Tensors], Tensors]] = {
    "linalg_eig": _eigenvectors,
    "linalg_eigh": _eigenvectors,
    "linalg_svd": lambda ours, theirs: _singular_vectors(ours, theirs, adjoint=True),
    "svd": lambda ours, theirs: _singular_vectors(ours, theirs, adjoint=False),
}
"""For each operator, what turns our results to PyTorch's where both are equally right."""
