"""Functions of the package that PyTorch keeps in a module of its own."""

from __future__ import annotations

import flambeau

atleast_1d = flambeau.atleast_1d  # type: ignore[attr-defined]
atleast_2d = flambeau.atleast_2d  # type: ignore[attr-defined]
atleast_3d = flambeau.atleast_3d  # type: ignore[attr-defined]
block_diag = flambeau.block_diag  # type: ignore[attr-defined]
broadcast_shapes = flambeau.broadcast_shapes  # type: ignore[attr-defined]
broadcast_tensors = flambeau.broadcast_tensors  # type: ignore[attr-defined]
cartesian_prod = flambeau.cartesian_prod  # type: ignore[attr-defined]
cdist = flambeau.cdist  # type: ignore[attr-defined]
chain_matmul = flambeau.chain_matmul  # type: ignore[attr-defined]
einsum = flambeau.einsum  # type: ignore[attr-defined]
lu = flambeau.lu  # type: ignore[attr-defined]
meshgrid = flambeau.meshgrid  # type: ignore[attr-defined]
norm = flambeau.norm  # type: ignore[attr-defined]
split = flambeau.split  # type: ignore[attr-defined]
stft = flambeau.stft  # type: ignore[attr-defined]
tensordot = flambeau.tensordot  # type: ignore[attr-defined]
unique = flambeau.unique  # type: ignore[attr-defined]
unique_consecutive = flambeau.unique_consecutive  # type: ignore[attr-defined]
unravel_index = flambeau.unravel_index  # type: ignore[attr-defined]

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "cartesian_prod",
    "cdist",
    "chain_matmul",
    "einsum",
    "lu",
    "meshgrid",
    "norm",
    "split",
    "stft",
    "tensordot",
    "unique",
    "unique_consecutive",
    "unravel_index",
]
