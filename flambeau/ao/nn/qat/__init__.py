"""``torch.ao.nn.qat``: layers that round their weight as the quantized ones will, for training."""

from __future__ import annotations

from flambeau.ao.nn.qat import dynamic as dynamic
from flambeau.ao.nn.qat.modules import Conv1d, Conv2d, Conv3d, Embedding, EmbeddingBag, Linear

__all__ = ["Conv1d", "Conv2d", "Conv3d", "Embedding", "EmbeddingBag", "Linear"]
