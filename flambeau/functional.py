"""Functions of the package that PyTorch keeps in a module of its own."""

from __future__ import annotations

import flambeau

atleast_1d = flambeau.atleast_1d
atleast_2d = flambeau.atleast_2d
atleast_3d = flambeau.atleast_3d
block_diag = flambeau.block_diag
broadcast_shapes = flambeau.broadcast_shapes
broadcast_tensors = flambeau.broadcast_tensors
cartesian_prod = flambeau.cartesian_prod
cdist = flambeau.cdist
chain_matmul = flambeau.chain_matmul
einsum = flambeau.einsum
lu = flambeau.lu
meshgrid = flambeau.meshgrid
norm = flambeau.norm
split = flambeau.split
stft = flambeau.stft
tensordot = flambeau.tensordot
unique = flambeau.unique
unique_consecutive = flambeau.unique_consecutive
unravel_index = flambeau.unravel_index

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
