"""Multi-head attention."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.functional._multi_head_attention import canonical_mask
from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several heads (Vaswani et al. 2017, arXiv:1706.03762).

    Queries, keys and values are projected, each head attends with its part of them, and what the heads return is joined and
    projected again.

    Args:
        embed_dim: E, the size of queries and outputs.
        num_heads: how many heads share E.
        dropout: the probability with which an attention weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: whether a trained key and value are appended.
        add_zero_attn: whether a key and value of zeros are appended.
        kdim: the size of keys; E if left out.
        vdim: the size of values; E if left out.
        batch_first: whether the batch is the first dimension, instead of the sequence.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        query (L, N, E) or (L, E), key (S, N, kdim), value (S, N, vdim); output (L, N, E), and the attention weights (N, L, S)
        averaged over the heads, (N, heads, L, S) not averaged, or ``None``.

    Example:
        >>> x = flambeau.zeros(5, 2, 8)
        >>> output, weights = flambeau.nn.MultiheadAttention(8, 2)(x, x, x)
        >>> output.shape, weights.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 5, 5]))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead")
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim (={embed_dim}) must be divisible by num_heads (={num_heads})")

        def parameter(*shape: int) -> Parameter:
            return Parameter(flambeau.empty(shape, device=device, dtype=dtype))

        # One stacked weight where queries, keys and values have one size; otherwise one for each.
        same = self.kdim == embed_dim and self.vdim == embed_dim
        columns = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        for name, size in columns.items():
            self.register_parameter(name, None if same else parameter(embed_dim, size))
        self.register_parameter("in_proj_weight", parameter(3 * embed_dim, embed_dim) if same else None)
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.bias_k = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    @property
    def _qkv_same_embed_dim(self) -> bool:
        return self.in_proj_weight is not None

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Computes the outputs, and the attention weights if they are needed.

        Args:
            query: (L, N, E), (N, L, E) with ``batch_first``, or (L, E).
            key: (S, N, kdim).
            value: (S, N, vdim).
            key_padding_mask: (N, S); keys that do not take part, as booleans, or numbers that are added.
            need_weights: whether the weights are returned; without them it is faster.
            attn_mask: (L, S) or (N · heads, L, S); pairs that do not take part, or numbers that are added.
            average_attn_weights: whether the weights are averaged over the heads.
            is_causal: says that ``attn_mask`` is the causal one.

        Returns:
            The outputs in the shape of ``query``, and the weights (N, L, S), or (N, heads, L, S) if they are not averaged, or ``None``.
        """
        if query.is_nested or key.is_nested or value.is_nested:
            from flambeau.nested.attention import multi_head_attention

            return multi_head_attention(self, query, key, value, key_padding_mask, need_weights, attn_mask, is_causal), None
        other = None if attn_mask is None else attn_mask.dtype
        key_padding_mask = canonical_mask(key_padding_mask, "key_padding_mask", other, "attn_mask", query.dtype)
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
        batched = query.dim() == 3
        if self.batch_first and batched:
            query, key, value = _sequences_first(query, key, value)
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (output.transpose(0, 1) if self.batch_first and batched else output), weights


def _sequences_first(*tensors: Tensor) -> list[Tensor]:
    """(N, L, E) as (L, N, E); what is the same tensor stays the same, so that it is projected once."""
    turned = {id(tensor): tensor.transpose(0, 1) for tensor in tensors}
    return [turned[id(tensor)] for tensor in tensors]
