"""Tables of vectors with 8 bits a number."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._ops.quantization import SCALE_SUMS
from flambeau._types.dtype import dtype as DType
from flambeau.ao.nn.quantized.modules.utils import quantize_weight, without_packed

__all__ = ["Embedding", "EmbeddingBag", "EmbeddingPackedParams"]


class EmbeddingPackedParams(nn.Module):
    """A quantized table (rows, columns), with a scale and a zero point, float32, for each row."""

    _version = 1

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: DType = flambeau.quint8) -> None:
        super().__init__()
        if dtype is not flambeau.quint8:
            raise NotImplementedError(f"a quantized table is of torch.quint8, got {dtype!r}")
        self.dtype = dtype
        integers = flambeau.zeros(num_embeddings, embedding_dim, dtype=flambeau.uint8)
        scales, zero_points = flambeau.ones(num_embeddings), flambeau.zeros(num_embeddings)
        self.set_weight(flambeau._make_per_channel_quantized_tensor(integers, scales, zero_points, 0))

    def set_weight(self, weight: Any) -> None:
        """Take this quantized table."""
        if weight.dtype is not flambeau.quint8 or weight.qscheme() is not flambeau.per_channel_affine_float_qparams:
            raise RuntimeError(
                f"a quantized table is of torch.quint8 with float parameters for each row (torch.per_channel_affine_float_qparams), got {weight.dtype!r} "
                f"with {weight.qscheme()!r}; use torch.ao.quantization.float_qparams_weight_only_qconfig"
            )
        self._packed_weight = weight

    def _weight(self) -> Any:
        return self._packed_weight

    def forward(self, x: Tensor) -> Tensor:
        return x

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "dtype"] = self.dtype
        destination[prefix + "_packed_weight"] = self._packed_weight

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *rest: Any) -> None:
        self.dtype = state_dict.pop(prefix + "dtype", self.dtype)
        if prefix + "_packed_weight" in state_dict:
            self.set_weight(state_dict.pop(prefix + "_packed_weight"))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *rest)

    def __repr__(self) -> str:
        return repr(self._packed_weight)

    def rows(self, indices: Tensor) -> Tensor:
        """The rows with these numbers, as float32."""
        weight = self._packed_weight
        numbers = weight._integers[indices].to(flambeau.float32)
        scale, zero_point = weight._grid.scale[indices].unsqueeze(-1), weight._grid.zero_point[indices].unsqueeze(-1)
        return SCALE_SUMS(numbers, scale, -zero_point * scale)


class Embedding(nn.Module):
    """``nn.Embedding`` with a quantized table; the vectors come as float32.

    Example::

        >>> from flambeau.ao.nn import quantized
        >>> quantized.Embedding(10, 12)(flambeau.tensor([9, 6, 5])).shape
        torch.Size([3, 12])
    """

    _version = 1

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Any = None, dtype: DType = flambeau.quint8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self._packed_params = EmbeddingPackedParams(num_embeddings, embedding_dim, dtype)
        if _weight is not None:
            if tuple(_weight.shape) != (num_embeddings, embedding_dim):
                raise AssertionError(
                    f"a table of shape {list(_weight.shape)} does not fit num_embeddings={num_embeddings} and embedding_dim={embedding_dim}"
                )
            self._packed_params.set_weight(_weight)

    def forward(self, indices: Tensor) -> Tensor:
        return self._packed_params.rows(indices)

    def _get_name(self) -> str:
        return "QuantizedEmbedding"

    def __repr__(self) -> str:
        return without_packed(self)

    def extra_repr(self) -> str:
        return (
            f"num_embeddings={self.num_embeddings}, embedding_dim={self.embedding_dim}, dtype={self._packed_params.dtype}, "
            f"qscheme={self.weight().qscheme()}"
        )

    def set_weight(self, w: Any) -> None:
        """Take this quantized table."""
        self._packed_params.set_weight(w)

    def weight(self) -> Any:
        """The quantized table."""
        return self._packed_params._weight()

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized table of a float one with a ``qconfig``, or of one that was trained with rounding."""
        made = cls(mod.num_embeddings, mod.embedding_dim)
        made.set_weight(_table(mod))
        return made


def _table(mod: Any) -> Any:
    observer = mod.weight_fake_quant if hasattr(mod, "weight_fake_quant") else mod.qconfig.weight()
    if observer.dtype is not flambeau.quint8 or observer.qscheme is not flambeau.per_channel_affine_float_qparams:
        raise AssertionError(
            "tables are quantized by torch.per_channel_affine_float_qparams; set the module's qconfig to torch.ao.quantization.float_qparams_weight_only_qconfig"
        )
    observer(mod.weight.detach())
    return quantize_weight(mod.weight, observer)


class EmbeddingBag(Embedding):
    """``nn.EmbeddingBag`` with a quantized table; the sums (or means) come as float32."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        mode: str = "sum", sparse: bool = False, _weight: Any = None, include_last_offset: bool = False, dtype: DType = flambeau.quint8,
    ) -> None:  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, _weight=_weight, dtype=dtype)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, indices: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        rows = self._packed_params.rows(indices.reshape(-1))  # of all the table only those that are asked for
        places = flambeau.arange(indices.numel()).reshape(indices.shape)
        return nn.functional.embedding_bag(
            places, rows, offsets, mode=self.mode, per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset
        )

    def _get_name(self) -> str:
        return "QuantizedEmbeddingBag"

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized table of a float one with a ``qconfig``, or of one that was trained with rounding."""
        made = cls(mod.num_embeddings, mod.embedding_dim, mode=mod.mode, include_last_offset=mod.include_last_offset)
        made.set_weight(_table(mod))
        return made
