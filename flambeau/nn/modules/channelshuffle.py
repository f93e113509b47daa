"""Rearrangement of channels."""

from __future__ import annotations

from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """Takes channels from ``groups`` groups in turn (Zhang et al. 2017, arXiv:1707.01083).

    Shape:
        (N, C, ...) to the same.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
