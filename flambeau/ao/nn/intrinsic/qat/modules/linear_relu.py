"""A linear layer and relu, with the weight rounded, for training."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn.qat.modules import linear

__all__ = ["LinearReLU"]


class LinearReLU(linear.Linear):
    """``nn.Linear`` and relu, with the weight rounded."""

    _FLOAT_MODULE: Any = nni.LinearReLU

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.relu(super().forward(input))

    def to_float(self) -> Any:
        """``intrinsic.LinearReLU`` with this one's weight and bias."""
        return nni.LinearReLU(super().to_float(), nn.ReLU())
