"""The transformer: its layers, encoder and decoder (Vaswani et al. 2017, arXiv:1706.03762)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.functional._multi_head_attention import canonical_mask
from flambeau.nn.modules.attention import MultiheadAttention
from flambeau.nn.modules.container import ModuleList
from flambeau.nn.modules.dropout import Dropout
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.normalization import LayerNorm

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]


def _activation(activation: str | Callable) -> Callable:
    if not isinstance(activation, str):
        return activation
    functions = {"relu": F.relu, "gelu": F.gelu}
    if activation not in functions:
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return functions[activation]


def _clones(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class _Layer(Module):
    """What encoder and decoder layers share: self-attention, two linear maps, and whether norms come first."""

    def _make_attention(self, name: str, d_model: int, nhead: int, dropout: float, batch_first: bool, **kwargs: Any) -> None:
        attention = MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **kwargs)
        setattr(self, name, attention)

    def _make_feed_forward(self, d_model: int, size: int, dropout: float, **kwargs: Any) -> None:
        self.linear1 = Linear(d_model, size, **kwargs)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(size, d_model, **kwargs)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _self_attention(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        attend = self.self_attn
        return attend(x, x, x, attn_mask=mask, key_padding_mask=padding, is_causal=is_causal, need_weights=False)[0]

    def _residual(self, x: Tensor, norm: Module, dropout: Module, block: Callable[[Tensor], Tensor]) -> Tensor:
        """x + block(x) with a normalisation before the block, or behind the sum."""
        if self.norm_first:
            return x + dropout(block(norm(x)))
        return norm(x + dropout(block(x)))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each with a residual connection and a layer normalisation.

    Args:
        d_model: the size of the features.
        nhead: the heads of the attention.
        dim_feedforward: the size between the two linear maps.
        dropout: the probability of dropout.
        activation: ``"relu"``, ``"gelu"`` or a function.
        layer_norm_eps: added to the variance.
        batch_first: whether the batch is the first dimension, instead of the sequence.
        norm_first: whether normalisations come before the blocks (Xiong et al. 2020, arXiv:2002.04745), instead of behind them.
        bias: whether linear maps and normalisations have biases.
        device: where the parameters lie.
        dtype: their dtype.

    Example:
        >>> flambeau.nn.TransformerEncoderLayer(d_model=16, nhead=4)(flambeau.zeros(10, 2, 16)).shape
        torch.Size([10, 2, 16])
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        kwargs = {"bias": bias, "device": device, "dtype": dtype}
        self._make_attention("self_attn", d_model, nhead, dropout, batch_first, **kwargs)
        self._make_feed_forward(d_model, dim_feedforward, dropout, **kwargs)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, **kwargs)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, **kwargs)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        other = None if src_mask is None else src_mask.dtype
        padding = canonical_mask(src_key_padding_mask, "src_key_padding_mask", other, "src_mask", src.dtype)
        mask = canonical_mask(src_mask, "src_mask", None, "", src.dtype, False)
        x = self._residual(src, self.norm1, self.dropout1, lambda y: self._self_attention(y, mask, padding, is_causal))
        return self._residual(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output and a feed-forward network; see :class:`TransformerEncoderLayer`."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        kwargs = {"bias": bias, "device": device, "dtype": dtype}
        self._make_attention("self_attn", d_model, nhead, dropout, batch_first, **kwargs)
        self._make_attention("multihead_attn", d_model, nhead, dropout, batch_first, **kwargs)
        self._make_feed_forward(d_model, dim_feedforward, dropout, **kwargs)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps=layer_norm_eps, **kwargs)
        self.norm2 = LayerNorm(d_model, eps=layer_norm_eps, **kwargs)
        self.norm3 = LayerNorm(d_model, eps=layer_norm_eps, **kwargs)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation(activation)

    def _attention_to(self, x: Tensor, memory: Tensor, mask: Tensor | None, padding: Tensor | None, causal: bool) -> Tensor:
        attend = self.multihead_attn
        return attend(x, memory, memory, attn_mask=mask, key_padding_mask=padding, is_causal=causal, need_weights=False)[0]

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        x = self._residual(
            tgt,
            self.norm1,
            self.dropout1,
            lambda y: self._self_attention(y, tgt_mask, tgt_key_padding_mask, tgt_is_causal),
        )
        x = self._residual(
            x,
            self.norm2,
            self.dropout2,
            lambda y: self._attention_to(y, memory, memory_mask, memory_key_padding_mask, memory_is_causal),
        )
        return self._residual(x, self.norm3, self.dropout3, self._feed_forward)


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Args:
        encoder_layer: the layer, which is copied.
        num_layers: how many.
        norm: what normalises the output, if anything.
        enable_nested_tensor: whether padding at the ends of sequences is zero in the output (before ``norm``) where there is nothing to
            train: in evaluation, without gradients, with no other mask, and with layers that PyTorch has fused kernels for. There it
            computes such a batch as a nested tensor, which leaves padding out; here padding is computed, and then overwritten.
        mask_check: accepted; that no padding precedes an element is always checked.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        other = None if mask is None else mask.dtype
        padding = canonical_mask(src_key_padding_mask, "src_key_padding_mask", other, "mask", src.dtype)
        mask = canonical_mask(mask, "mask", None, "", src.dtype, False)
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=bool(is_causal), src_key_padding_mask=padding)
        if padding is not None and mask is None and self._leaves_padding_out(src):
            absent = padding != 0
            at_ends = ~(absent[:, :-1] & ~absent[:, 1:]).any()
            output = output.masked_fill((absent & at_ends).unsqueeze(-1), 0.0)
        return output if self.norm is None else self.norm(output)

    def _leaves_padding_out(self, src: Tensor) -> bool:
        """Whether PyTorch computes a padded batch as a nested tensor, whose padding is zero."""
        if not self.enable_nested_tensor or self.training or src.dim() != 3 or not self.num_layers:
            return False
        layer = self.layers[0]
        if not isinstance(layer, TransformerEncoderLayer) or layer.training or layer.norm_first or layer.activation not in (F.relu, F.gelu):
            return False
        attention = layer.self_attn
        if not attention.batch_first or attention.num_heads % 2 or attention.in_proj_bias is None or layer.norm1.eps != layer.norm2.eps:
            return False
        tracked = flambeau.is_grad_enabled() and (src.requires_grad or any(each.requires_grad for each in layer.parameters()))
        return not tracked and not flambeau.is_autocast_enabled("cpu")


class TransformerDecoder(Module):
    """A stack of decoder layers.

    Args:
        decoder_layer: the layer, which is copied.
        num_layers: how many.
        norm: what normalises the output, if anything.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        output = tgt
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """Encoder and decoder.

    Args:
        d_model: the size of the features.
        nhead: the heads of the attention.
        num_encoder_layers: the encoder's layers.
        num_decoder_layers: the decoder's layers.
        dim_feedforward: the size between the two linear maps of a layer.
        dropout: the probability of dropout.
        activation: ``"relu"``, ``"gelu"`` or a function.
        custom_encoder: used instead of the encoder.
        custom_decoder: used instead of the decoder.
        layer_norm_eps: added to the variance.
        batch_first: whether the batch is the first dimension, instead of the sequence.
        norm_first: whether normalisations come before the blocks of a layer.
        bias: whether linear maps and normalisations have biases.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        src (S, N, d_model) and tgt (T, N, d_model) to (T, N, d_model).
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder
        if custom_encoder is None:
            self.encoder = TransformerEncoder(TransformerEncoderLayer(*layer), num_encoder_layers, norm())
        self.decoder = custom_decoder
        if custom_decoder is None:
            self.decoder = TransformerDecoder(TransformerDecoderLayer(*layer), num_decoder_layers, norm())
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.size(batch) != tgt.size(batch):
            raise RuntimeError(
                f"the batch number of src and tgt must be equal, got {tuple(src.shape)} and {tuple(tgt.shape)}, whose batch is dimension "
                f"{batch} (batch_first={self.batch_first})"
            )
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError(
                f"the feature number of src and tgt must be equal to d_model (={self.d_model}), got {src.size(-1)} and {tgt.size(-1)}"
            )
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz): -∞ above the diagonal, 0 elsewhere."""
        return flambeau.triu(flambeau.full((sz, sz), float("-inf"), dtype=dtype, device=device), diagonal=1)
