"""``torch.ao.nn.qat.dynamic``: layers for training whose inputs will be quantized when they come."""

from __future__ import annotations

from flambeau.ao.nn.qat.modules import linear

__all__ = ["Linear"]


class Linear(linear.Linear):
    """``nn.Linear`` that rounds its weight; its input is rounded by the range of each batch."""
