"""Attention of each piece by itself, in padded batches of pieces of similar lengths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.moving import moved
from flambeau.nested.products import not_supported
from flambeau.nested.ragged import Groups, Ragged
from flambeau.nested.strided import StridedNestedTensor, of_padded
from flambeau.nested.tensor import NestedTensor


def attention(
    func: Callable,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """``scaled_dot_product_attention`` of each piece by itself.

    Args:
        query: (B, H, j, E), or (B, j, E)
        key: (B, H, k, E), of the same pieces or others
        value: (B, H, k, E_v)
        attn_mask: not implemented for nested tensors

    Raises:
        ValueError: some of the three are nested and some not, or there is a mask.
        RuntimeError: keys and values have different pieces.
    """
    if not all(isinstance(each, NestedTensor) for each in (query, key, value)):
        found = ", ".join(f"{name}.is_nested: {each.is_nested}" for name, each in (("query", query), ("key", key), ("value", value)))
        raise ValueError(f"Expected query, key, and value to be nested tensors, but got {found} instead.")
    if attn_mask is not None:
        error = RuntimeError if isinstance(query, StridedNestedTensor) else ValueError
        raise error("attn_mask is not implemented for nested tensors; is_causal=True is, or to_padded_tensor() with a mask")
    if isinstance(query, StridedNestedTensor):
        return _strided_attention(func, query, key, value, dropout_p, is_causal, scale, enable_gqa)
    if key._ragged is not value._ragged or not query.dim() == key.dim() == value.dim():
        raise RuntimeError(
            f"scaled_dot_product_attention: key and value must have the same pieces, got sizes {tuple(key.layout.shape)} and "
            f"{tuple(value.layout.shape)}"
        )
    rows = query.dim() - 2
    if not query._dim == key._dim == value._dim or query._dim > rows:
        raise RuntimeError(
            "scaled_dot_product_attention: query, key and value must have their ragged dimension at the same place, not the last"
        )
    if query._dim < rows:  # each row of each piece is a batch of its own
        if query._ragged is not key._ragged:
            raise RuntimeError(not_supported("scaled_dot_product_attention", query, key))
        batches = [each.rows_first() for each in (query, key, value)]
        options = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
        return query._with(query.rows_back(func(*batches, **options)))
    return _in_groups(func, query, key, value, dropout_p, is_causal, scale, enable_gqa)


def _in_groups(
    func: Callable,
    query: JaggedTensor,
    key: JaggedTensor,
    value: JaggedTensor,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> JaggedTensor:
    """Attention in padded batches of pieces of similar lengths, which are in the masks.

    With the same pieces on both sides a causal mask hides what follows a piece: its rows see none after themselves.
    """
    by_query, by_key = _groups(query._ragged, key._ragged)
    queries, keys, values = _padded(query, by_query), _padded(key, by_key), _padded(value, by_key)
    results = []
    for q, k, v, (numbers, _) in zip(queries, keys, values, by_key):
        present = None if is_causal and query._ragged is key._ragged else _present(key, numbers, k)
        result = func(q, k, v, present, dropout_p, is_causal, scale, enable_gqa)
        results.append(result.movedim(-2, 1).flatten(0, 1))
    there, back = query._ragged.padding_in_groups(query._rows, by_query)
    rows = moved(results[0] if len(results) == 1 else flambeau.cat(results), back, there)
    return query._with(query.rows_back(rows))


def _padded(tensor: JaggedTensor, groups: Groups) -> list[Tensor]:
    """The pieces of each group, (pieces, …, rows, E)."""
    rows = tensor.rows_first()
    padded = moved(rows, *tensor._ragged.padding_in_groups(tensor._rows, groups))
    parts = padded.split([len(numbers) * length for numbers, length in groups])
    return [part.reshape(len(numbers), length, *rows.shape[1:]).movedim(1, -2) for part, (numbers, length) in zip(parts, groups)]


def _present(key: JaggedTensor, numbers: tuple[int, ...], padded: Tensor) -> Tensor | None:
    """Which keys of a padded batch there are, (pieces, 1, 1, keys), or ``None`` if all."""
    sizes, length = key._ragged.sizes, padded.shape[-2]
    if all(sizes[number] == length for number in numbers):
        return None
    present = np.arange(length) < np.array([sizes[number] for number in numbers])[:, None]
    return flambeau.from_numpy(present).reshape(len(numbers), *(1,) * (padded.dim() - 2), length)


_WORTHWHILE = 0.7
"""Groups are made if they save this much of the scores. A group more is an operator more: some 0.1 ms, and 2 ms for a batch of new lengths."""
_FEW = 1 << 17
"""With so many scores in one batch nothing is saved."""


def _groups(query: Ragged, key: Ragged) -> tuple[Groups, Groups]:
    """Pieces of similar lengths, and what queries and keys of each group are padded to.

    Within a group lengths differ by a factor of the square root of 2, with keys of other pieces by 2.
    """
    together: dict[tuple[int, int], list[int]] = {}
    steps = 2 if query is key else 1
    for number, (rows, others) in enumerate(zip(query.sizes, key.sizes)):
        together.setdefault((round(steps * math.log2(rows + 8)), round(steps * math.log2(others + 8))), []).append(number)
    groups = [
        (tuple(numbers), max(query.sizes[each] for each in numbers), max(key.sizes[each] for each in numbers))
        for _, numbers in sorted(together.items())
    ]
    whole = (tuple(range(len(query))), query.longest, key.longest)
    scores = len(query) * query.longest * key.longest
    if scores <= _FEW or sum(len(numbers) * rows * others for numbers, rows, others in groups) > _WORTHWHILE * scores:
        groups = [whole]
    return tuple([(numbers, rows) for numbers, rows, _ in groups]), tuple([(numbers, others) for numbers, _, others in groups])


def _strided_attention(
    func: Callable, query: Any, key: Any, value: Any, dropout_p: float, is_causal: bool, scale: float | None, enable_gqa: bool
) -> Any:
    for a, b, c in zip(query.sizes, key.sizes, value.sizes):
        if a[-1] != b[-1] or b[-2] != c[-2] or b[:-2] != c[:-2]:
            raise RuntimeError(f"scaled_dot_product_attention: there are pieces of sizes {a}, {b} and {c}, which do not fit")
    if not isinstance(query.layout.shape[-1], int):
        raise RuntimeError("scaled_dot_product_attention: the pieces of a query must have the same last dimension")
    rows = [size[:-1] for size in key.sizes]
    present = StridedNestedTensor.of(flambeau.ones(sum(map(math.prod, rows)), dtype=flambeau.bool), rows).padded().unsqueeze(-2)
    padded = func(query.padded(), key.padded(), value.padded(), present, dropout_p, is_causal, scale, enable_gqa)
    return of_padded(padded, tuple([(*a[:-1], c[-1]) for a, c in zip(query.sizes, value.sizes)]))


# -- with the weights of a module ------------------------------------------------------------------------------------


def multi_head_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    key_padding_mask: Tensor | None,
    need_weights: bool,
    attn_mask: Tensor | None,
    is_causal: bool,
) -> Any:
    """What ``nn.MultiheadAttention`` does with nested tensors, (B, j, E).

    Raises:
        AssertionError: something is asked for that is only there for padded batches.
    """
    refused = {
        "batch_first=False": not module.batch_first,
        "need_weights=True": need_weights,
        "key_padding_mask (nested tensors have no padding)": key_padding_mask is not None,
        "attn_mask without is_causal=True": attn_mask is not None and not is_causal,
        "add_bias_kv=True": module.bias_k is not None,
        "add_zero_attn=True": module.add_zero_attn,
    }
    for what, asked in refused.items():
        if asked:
            raise AssertionError(f"MultiheadAttention does not support {what} with nested tensors")
    if not all(isinstance(each, NestedTensor) and each.dim() == 3 for each in (query, key, value)):
        raise AssertionError("MultiheadAttention: query, key and value must all be nested tensors of 3 dimensions, (B, j, E)")
    linear, heads = flambeau.nn.functional.linear, (module.num_heads, module.head_dim)
    biases = (None, None, None) if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    if module.in_proj_weight is None:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    else:
        weights = module.in_proj_weight.chunk(3)
    if query is key and key is value and module.in_proj_weight is not None:
        projected = linear(query, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
    else:
        projected = [linear(x, weight, bias) for x, weight, bias in zip((query, key, value), weights, biases)]
    q, k, v = (each.unflatten(-1, heads).transpose(1, 2) for each in projected)
    dropout = module.dropout if module.training else 0.0
    output = flambeau.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=is_causal)
    return module.out_proj(output.transpose(1, 2).contiguous().flatten(-2))
