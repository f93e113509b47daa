"""Layers that round their weight, for training."""

from __future__ import annotations

from flambeau.ao.nn.qat.modules.conv import Conv1d as Conv1d
from flambeau.ao.nn.qat.modules.conv import Conv2d as Conv2d
from flambeau.ao.nn.qat.modules.conv import Conv3d as Conv3d
from flambeau.ao.nn.qat.modules.embedding_ops import Embedding as Embedding
from flambeau.ao.nn.qat.modules.embedding_ops import EmbeddingBag as EmbeddingBag
from flambeau.ao.nn.qat.modules.linear import Linear as Linear

__all__ = ["Conv1d", "Conv2d", "Conv3d", "Embedding", "EmbeddingBag", "Linear"]
