"""Quantized batch normalization with relu."""

from __future__ import annotations

from flambeau.ao.nn.quantized.modules.normalization import quantized_batch_norm

__all__ = ["BNReLU2d", "BNReLU3d"]

BNReLU2d, BNReLU3d = (quantized_batch_norm(rank, relu=True) for rank in (2, 3))
for _each in (BNReLU2d, BNReLU3d):
    _each.__module__ = __name__
