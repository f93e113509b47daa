"""Tables of vectors that round them, for training."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor, nn
from flambeau.ao.nn.qat.modules.linear import require_float, require_qconfig

__all__ = ["Embedding", "EmbeddingBag"]

_COMMON = ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")


class Embedding(nn.Embedding):
    """``nn.Embedding`` that rounds its weight by ``qconfig.weight``."""

    _FLOAT_MODULE: Any = nn.Embedding

    def __init__(self, *args: Any, qconfig: Any = None, **options: Any) -> None:
        super().__init__(*args, **options)
        require_qconfig(self, qconfig)
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.embedding(
            input,
            self.weight_fake_quant(self.weight),
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """A table with the weight of a float one, which has a ``qconfig``."""
        require_float(cls, mod)
        return cls(**{name: getattr(mod, name) for name in _COMMON}, _weight=mod.weight, qconfig=mod.qconfig)

    def to_float(self) -> nn.Embedding:
        """The float table with this one's weight."""
        return nn.Embedding(**{name: getattr(self, name) for name in _COMMON}, _weight=self.weight.detach())


class EmbeddingBag(nn.EmbeddingBag):
    """``nn.EmbeddingBag`` that rounds its weight by ``qconfig.weight``."""

    _FLOAT_MODULE: Any = nn.EmbeddingBag

    def __init__(self, *args: Any, qconfig: Any = None, **options: Any) -> None:
        super().__init__(*args, **options)
        require_qconfig(self, qconfig)
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return nn.functional.embedding_bag(
            input, self.weight_fake_quant(self.weight), offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """A table with the weight of a float one, which has a ``qconfig``."""
        require_float(cls, mod)
        names = (*_COMMON, "mode", "include_last_offset")
        return cls(**{name: getattr(mod, name) for name in names}, _weight=mod.weight, qconfig=mod.qconfig)

    def to_float(self) -> nn.EmbeddingBag:
        """The float table with this one's weight."""
        names = (*_COMMON, "mode", "include_last_offset")
        return nn.EmbeddingBag(**{name: getattr(self, name) for name in names}, _weight=self.weight.detach())
