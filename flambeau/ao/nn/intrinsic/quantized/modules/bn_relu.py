"""Quantized batch normalization with relu."""

from __future__ import annotations

from flambeau.ao.nn.quantized.modules.normalization import _batch_norm

__all__ = ["BNReLU2d", "BNReLU3d"]

BNReLU2d, BNReLU3d = (_batch_norm(rank, relu=True) for rank in (2, 3))
for _each in (BNReLU2d, BNReLU3d):
    _each.__module__ = __name__
