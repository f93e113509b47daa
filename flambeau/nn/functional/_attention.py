"""Scaled dot-product attention."""

from __future__ import annotations

import math

import flambeau
from flambeau._ops.attention import check_dtypes, result_layout
from flambeau._ops.autocast import low, outside
from flambeau._ops.nn import attention, attention_weights
from flambeau._tape.tape import LOCAL
from flambeau._tensor.tensor import Tensor
from flambeau._types import layout as lay
from flambeau.nn.functional._common import shape_text
from flambeau.nn.functional._dropout import dropout


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Computes dropout(softmax(q kᵀ · scale + mask)) v (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        query: q, (..., L, E).
        key: k, (..., S, E).
        value: v, (..., S, E_v).
        attn_mask: broadcast to (..., L, S): booleans that are true where a key takes part, or numbers that are added.
        dropout_p: the probability with which a weight is dropped, always.
        is_causal: whether position i sees the keys up to i only, and of these what ``attn_mask`` leaves.
        scale: 1/√E if left out.
        enable_gqa: whether several heads of ``query`` share one of ``key`` and ``value``.

    Returns:
        (..., L, E_v).

    Raises:
        RuntimeError: the shapes do not fit.
    """
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() < 2:
            raise RuntimeError(f"scaled_dot_product_attention: {name} must have at least 2 dimensions, got shape {shape_text(tensor)}")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query (..., L, E), key (..., S, E) and value (..., S, E_v) must agree in E and S, got "
            f"{shape_text(query)}, {shape_text(key)} and {shape_text(value)}"
        )
    if is_causal and attn_mask is not None:
        seen = flambeau.ones(query.size(-2), key.size(-2), dtype=flambeau.bool).tril()
        attn_mask = attn_mask & seen if attn_mask.dtype == flambeau.bool else attn_mask.masked_fill(~seen, float("-inf"))
        is_causal = False
    if enable_gqa:
        return _as_queries_lie(_grouped(query, key, value, attn_mask, dropout_p, is_causal, scale), query, key, value)
    if scale is None:
        scale = 1.0 / math.sqrt(query.size(-1)) if query.size(-1) else 1.0
    if dropout_p == 0.0 and _is_fused(query, key, value, attn_mask, is_causal):
        return attention(query, key, value, attn_mask, is_causal, scale)
    found = outside(_by_weights, *low(query, key, value), attn_mask, dropout_p, is_causal, scale)
    return found if dropout_p or (attn_mask is not None and attn_mask.requires_grad) else _as_queries_lie(found, query, key, value)


def _by_weights(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float, is_causal: bool, scale: float) -> Tensor:
    """Attention by way of its weights, which are float32 for half precision too, as in the kernels that never store them."""
    check_dtypes(*[each.layout for each in (query, key, value, mask) if each is not None])
    dtype = query.layout.dtype
    query, key, value = (each.to(each.layout.dtype.compute) for each in (query, key, value))
    weights = attention_weights(query, key, mask, is_causal, scale)
    return ((dropout(weights, dropout_p) if dropout_p else weights) @ value).to(dtype)


def _as_queries_lie(result: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The result, in the memory order that a kernel of attention gives it."""
    wanted = result_layout(query.layout, key.layout, value.layout, query.layout.dtype)
    if result.layout.strides == wanted.strides or result.layout.shape != wanted.shape:
        return result
    order = lay.memory_order(wanted)
    return result.permute(order).contiguous().permute(sorted(range(len(order)), key=order.__getitem__))


_FEW_QUERIES = 4
"""With fewer queries the scores are few, and to multiply rows by a matrix is faster than to copy that: 1.2 times for one query."""


def _is_fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> bool:
    """Whether the kernels that never store the scores are used."""
    if not query.is_floating_point() or not query.numel() or not key.numel() or not value.numel():
        return False
    if query.size(-2) < _FEW_QUERIES and not is_causal:
        return False
    return mask is None or not (mask.requires_grad or (LOCAL.tape.batched and LOCAL.tape.is_tracked(mask)))


def _grouped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float, is_causal: bool, scale: float | None
) -> Tensor:
    """Attention of several heads of ``query`` to each head of ``key`` and ``value``, which are not copied."""
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() < 3:
            raise RuntimeError(
                f"scaled_dot_product_attention: with enable_gqa {name} (..., H, L, E) needs heads, got shape {shape_text(tensor)}"
            )
    heads, groups = query.size(-3), key.size(-3)
    if value.size(-3) != groups or not groups or heads % groups:
        raise RuntimeError(
            "scaled_dot_product_attention: Number of heads in key and value must divide the number of heads in query, got "
            f"{groups} and {value.size(-3)} for {heads}"
        )
    if mask is not None and mask.dim() > 2:
        mask = mask.unflatten(-3, (groups, heads // groups)) if mask.size(-3) == heads else mask.unsqueeze(-3)
    query, key, value = query.unflatten(-3, (groups, heads // groups)), key.unsqueeze(-3), value.unsqueeze(-3)
    return scaled_dot_product_attention(query, key, value, mask, dropout_p, is_causal, scale).flatten(-4, -3)
