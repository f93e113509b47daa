"""Multi-head attention as one function of its weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import flambeau
from flambeau._ops.autocast import low
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._attention import scaled_dot_product_attention
from flambeau.nn.functional._common import shape_text
from flambeau.nn.functional._dropout import dropout
from flambeau.nn.functional._linear import linear


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Computes multi-head attention; see :class:`flambeau.nn.MultiheadAttention`, which holds the weights.

    Args:
        query: (L, N, E) or (L, E).
        key: (S, N, E_k) or (S, E_k).
        value: (S, N, E_v) or (S, E_v).
        embed_dim_to_check: E.
        num_heads: how many heads share E.
        in_proj_weight: (3 E, E), the stacked weights of queries, keys and values.
        in_proj_bias: (3 E).
        bias_k: (1, 1, E), appended to the keys.
        bias_v: (1, 1, E), appended to the values.
        add_zero_attn: whether a key and a value of zeros are appended.
        dropout_p: the probability with which a weight is dropped in training.
        out_proj_weight: (E, E).
        out_proj_bias: (E).
        training: whether weights are dropped.
        key_padding_mask: (N, S) or (S); keys that do not take part.
        need_weights: whether the attention weights are returned.
        attn_mask: (L, S) or (N · heads, L, S); pairs that do not take part.
        use_separate_proj_weight: whether the next three are used in the place of ``in_proj_weight``.
        q_proj_weight: (E, E).
        k_proj_weight: (E, E_k).
        v_proj_weight: (E, E_v).
        static_k: (N · heads, S, E / heads), keys that are projected already.
        static_v: (N · heads, S, E / heads), values that are projected already.
        average_attn_weights: whether the weights returned are averaged over the heads.
        is_causal: says that ``attn_mask`` is the causal one.

    Returns:
        (L, N, E) or (L, E), and the weights (N, L, S), (N, heads, L, S) or ``None``.

    Raises:
        AssertionError: the tensors' shapes, E and ``num_heads`` do not fit together, or a mask holds integers.
        RuntimeError: ``attn_mask`` has another shape, or is missing where ``is_causal`` speaks of it.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = _as_batch(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, size = query.shape
    if size != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}")
    head = size // num_heads
    if head * num_heads != size:
        raise AssertionError(f"embed_dim {size} not divisible by num_heads {num_heads}")
    attn_mask, key_padding_mask, is_causal = _masks(query, attn_mask, key_padding_mask, is_causal, need_weights)
    _check_mask(attn_mask, length, key.size(0), batch * num_heads)
    if use_separate_proj_weight:
        q, k, v = _project_separately(query, key, value, (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias)
    else:
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)
    if bias_k is not None or bias_v is not None:
        k, v = _with_biases(k, v, bias_k, bias_v, static_k is not None or static_v is not None)
    q = _heads(q, batch * num_heads, head)
    k = _heads(k, batch * num_heads, head) if static_k is None else _static("static_k", static_k, batch * num_heads, head)
    v = _heads(v, batch * num_heads, head) if static_v is None else _static("static_v", static_v, batch * num_heads, head)
    if add_zero_attn:
        k, v = _with_zeros(k), _with_zeros(v)
    mask = _merged_mask(attn_mask, key_padding_mask, (batch, num_heads, k.size(1)), (bias_k is not None) + bool(add_zero_attn))
    q, k, v = (x.view(batch, num_heads, x.size(1), head) for x in (q, k, v))
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        output, weights = _attend_openly(q, k, v, mask, dropout_p)
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        output, weights = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal), None
    output = linear(output.permute(2, 0, 1, 3).reshape(length, batch, size), out_proj_weight, out_proj_bias)
    if batched:
        return output, weights
    return output.squeeze(1), None if weights is None else weights.squeeze(0)


# -- sequences -------------------------------------------------------------------------------------------------------


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None, heads: int) -> bool:
    """Checks the arguments of multi-head attention; returns whether they have a batch dimension."""
    dims = query.dim()
    if dims not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor")
    kind = "batched (3-D)" if dims == 3 else "unbatched (2-D)"
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {dims}-D but found {key.dim()}-D and {value.dim()}-D tensors"
        )
    if padding is not None and padding.dim() != dims - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {dims - 1}-D but found {padding.dim()}-D tensor instead"
        )
    if mask is not None:
        if mask.dim() not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor instead"
            )
        expected = (heads, query.shape[0], key.shape[0])
        if dims == 2 and mask.dim() == 3 and tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {shape_text(mask)}")
    return dims == 3


def _project(query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values from one stacked weight; what is the same tensor is multiplied once."""
    if key.shape != value.shape:
        raise AssertionError(f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
    size = query.size(-1)
    if query is key and key is value:
        q, k, v = linear(query, weight, bias).chunk(3, dim=-1)
        return q.contiguous(), k.contiguous(), v.contiguous()
    weights = weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    if key is value:
        q = linear(query, weights[0], biases[0])
        k, v = linear(key, weight[size:], None if bias is None else bias[size:]).chunk(2, dim=-1)
        return q, k.contiguous(), v.contiguous()
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))


def _project_separately(query: Tensor, key: Tensor, value: Tensor, weights: tuple, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values from a weight each, and the stacked bias."""
    if key.shape[:2] != value.shape[:2]:
        raise AssertionError(f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's {tuple(value.shape[:2])}")
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(linear(x, weight, b) for x, weight, b in zip((query, key, value), weights, biases))


def _as_batch(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(L, E) as (L, 1, E); what is the same tensor stays the same."""
    batches = {id(x): x.unsqueeze(1) for x in (query, key, value)}
    return batches[id(query)], batches[id(key)], batches[id(value)]


def _with_biases(key: Tensor, value: Tensor, bias_k: Tensor | None, bias_v: Tensor | None, is_static: bool) -> tuple[Tensor, Tensor]:
    """Projected keys and values (S, N, E) with a trained one (1, 1, E) behind them."""
    if bias_k is None or bias_v is None:
        raise AssertionError("bias_k and bias_v must be given together")
    if is_static:
        raise AssertionError("bias cannot be added to static key or value.")
    batch = key.size(1)
    return flambeau.cat([key, bias_k.repeat(1, batch, 1)]), flambeau.cat([value, bias_v.repeat(1, batch, 1)])


def _heads(x: Tensor, heads: int, size: int) -> Tensor:
    """(S, N, E) as (N · heads, S, E / heads)."""
    return x.view(x.shape[0], heads, size).transpose(0, 1)


def _static(name: str, x: Tensor, heads: int, size: int) -> Tensor:
    """Keys or values that are projected already, if their shape is (N · heads, S, E / heads)."""
    if x.size(0) != heads or x.size(2) != size:
        raise AssertionError(f"expecting {name} of shape ({heads}, S, {size}), but got {shape_text(x)}")
    return x


def _with_zeros(x: Tensor) -> Tensor:
    """Keys or values (N · heads, S, E / heads) with one of zeros behind them."""
    return flambeau.cat([x, flambeau.zeros(x.size(0), 1, x.size(2), dtype=x.dtype, device=x.device)], 1)


def _attend_openly(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float) -> tuple[Tensor, Tensor]:
    """Attention that also returns the weights, (N, heads, L, S)."""
    scores = query * math.sqrt(1.0 / query.size(-1)) @ key.transpose(-2, -1)
    weights = flambeau.softmax(scores if mask is None else scores + low(mask)[0], -1)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p)
    return weights @ value, weights


# -- masks -----------------------------------------------------------------------------------------------------------


def canonical_mask(
    mask: Tensor | None, name: str, other_type: Any, other_name: str, target_type: Any, check_other: bool = True
) -> Tensor | None:
    """``mask`` as numbers to add: where a boolean one is true, -∞."""
    if mask is None:
        return None
    is_float = mask.is_floating_point()
    if mask.dtype != flambeau.bool and not is_float:
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.", stacklevel=3)
    if is_float:
        return mask
    return flambeau.zeros_like(mask, dtype=target_type).masked_fill_(mask, float("-inf"))


def _masks(
    query: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool, need_weights: bool
) -> tuple[Tensor | None, Tensor | None, bool]:
    """Both masks as numbers to add, and whether the causal mask is left to the kernel."""
    other = None if attn_mask is None else attn_mask.dtype
    key_padding_mask = canonical_mask(key_padding_mask, "key_padding_mask", other, "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        return None, None, True
    return canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False), key_padding_mask, False


def _check_mask(mask: Tensor | None, length: int, keys: int, heads: int) -> None:
    """Refuses a mask that is neither (L, S) nor (N · heads, L, S)."""
    if mask is None:
        return
    expected = (length, keys) if mask.dim() == 2 else (heads, length, keys)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {shape_text(mask)}, but should be {expected}.")


def _merged_mask(mask: Tensor | None, padding: Tensor | None, sizes: tuple[int, int, int], appended: int) -> Tensor | None:
    """Both masks in one, with as many columns of zeros as keys were appended: (1 or N, 1 or heads, 1 or L, S), of ``sizes`` N, heads and S."""
    batch, heads, keys = sizes
    if mask is not None:
        mask = mask.view(1, 1, *mask.shape) if mask.dim() == 2 else mask.unflatten(0, (batch, heads))
    if padding is not None:
        expected = (batch, keys - appended)
        if tuple(padding.shape) != expected:
            raise AssertionError(f"expected key_padding_mask of shape {expected}, but got {shape_text(padding)}")
        padding = padding.unsqueeze(1).unsqueeze(1)
        mask = padding if mask is None else mask + padding
    return flambeau.constant_pad_nd(mask, (0, appended), 0.0) if mask is not None and appended else mask
