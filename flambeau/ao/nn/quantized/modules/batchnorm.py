"""Batch normalization of quantized tensors."""

from __future__ import annotations

from flambeau.ao.nn.quantized.modules.normalization import quantized_batch_norm

__all__ = ["BatchNorm2d", "BatchNorm3d"]

BatchNorm2d, BatchNorm3d = (quantized_batch_norm(rank) for rank in (2, 3))
for _each in (BatchNorm2d, BatchNorm3d):
    _each.__module__ = __name__
