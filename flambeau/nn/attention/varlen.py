"""Attention of sequences that lie one behind the other, without padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import flambeau
from flambeau import Tensor

__all__ = ["AuxRequest", "varlen_attn"]


class AuxRequest(NamedTuple):
    """What `varlen_attn` is to give besides.

    Attributes:
        lse: the logarithm of the sum of the scores' exponentials, (H, T_q)
    """

    lse: bool = False


def varlen_attn(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor | None, max_q: int, max_k: int, *, return_aux: AuxRequest | None = None,
    scale: float | None = None, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False, seqused_k: Tensor | None = None,
    block_table: Tensor | None = None, num_splits: int | None = None,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Attention of each sequence's queries to its own keys.

    $$\\operatorname{softmax}(s\\, Q_n K_n^\\top + M)\\, V_n$$ for each sequence n. The positions of sequences are read, so that what was recorded is computed.

    Args:
        query: (T_q, H, D), the queries of all sequences
        key, value: (T_k, H, D); with `enable_gqa` H may be a divisor of the queries'
        cu_seq_q: (N + 1), where each sequence of queries begins, and where the last one ends
        cu_seq_k: (N + 1), the same of keys
        max_q, max_k: the longest sequence's lengths
        return_aux: what to give besides
        scale: s; 1/√D by default
        window_size: how many keys before and behind its own place a query sees, -1 for all: `(-1, 0)` is causal. Where there are more keys than queries,
            the last query is at the last key.
        enable_gqa: let several heads of queries share one of keys
        seqused_k: (N), how many of each sequence's keys count
        num_splits: for PyTorch's sake
        block_table: has to be nothing: keys lie one behind the other

    Returns:
        (T_q, H, D), and the logarithms if they were asked for.

    Raises:
        ValueError: shapes or positions do not fit
        NotImplementedError: keys are in pages

    Example:
        >>> import flambeau
        >>> from flambeau.nn.attention.varlen import varlen_attn
        >>> x, starts = flambeau.ones(5, 2, 4), flambeau.tensor([0, 2, 5])
        >>> varlen_attn(x, x, x, starts, starts, 3, 3, window_size=(-1, 0)).shape
        torch.Size([5, 2, 4])
    """
    if block_table is not None:
        raise NotImplementedError("varlen_attn with a block_table: keys in pages are not known here, put them one behind the other")
    _check_shapes(query, key, value, enable_gqa)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    has_logarithms = return_aux is not None and return_aux.lse
    outputs, logarithms = [], []
    for own, seen in _sequences(cu_seq_q, query.shape[0], cu_seq_k, key.shape[0], seqused_k):
        q, k, v = query[own].transpose(0, 1), key[seen].transpose(0, 1), value[seen].transpose(0, 1)
        mask = _window(q.shape[1], k.shape[1], window_size)
        attended = flambeau.nn.functional.scaled_dot_product_attention(
            q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), mask, scale=factor, enable_gqa=q.shape[0] != k.shape[0]
        )
        outputs.append(attended[0].transpose(0, 1))
        if has_logarithms:
            scores = q @ k.repeat_interleave(q.shape[0] // k.shape[0], 0).mT * factor
            logarithms.append((scores if mask is None else scores.masked_fill(~mask, -math.inf)).float().logsumexp(-1))
    output = flambeau.cat(outputs) if outputs else query.new_zeros(query.shape)
    return (output, flambeau.cat(logarithms, 1)) if has_logarithms else output


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> None:
    if query.dim() != 3 or key.dim() != 3 or value.shape[:2] != key.shape[:2]:
        raise ValueError(
            f"varlen_attn takes query (T_q, H, D), key and value (T_k, H, D), not {tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}"
        )
    heads, shared = query.shape[1], key.shape[1]
    if heads != shared and (not enable_gqa or heads % shared):
        raise ValueError(f"varlen_attn: {heads} heads of queries and {shared} of keys; with enable_gqa these have to divide those")


def _sequences(starts_q: Tensor, queries: int, starts_k: Tensor | None, keys: int, used: Tensor | None) -> Iterator[tuple[slice, slice]]:
    """Where each sequence's queries lie, and the keys that count for it."""
    own = _positions("cu_seq_q", starts_q, queries)
    seen = own if starts_k is None else _positions("cu_seq_k", starts_k, keys)
    if len(own) != len(seen):
        raise ValueError(f"cu_seq_q is of {len(own) - 1} sequences, cu_seq_k of {len(seen) - 1}")
    ends = seen[1:] if used is None else [first + count for first, count in zip(seen, used.tolist())]
    return zip(map(slice, own, own[1:]), map(slice, seen, ends))


def _positions(name: str, positions: Tensor, length: int) -> list[int]:
    found = positions.tolist() if positions.dim() == 1 else []
    if not found or found[0] != 0 or found[-1] > length or any(a > b for a, b in zip(found, found[1:])):
        raise ValueError(f"{name} holds positions from 0 up to at most {length}, in order, not {found or tuple(positions.shape)}")
    return found


def _window(queries: int, keys: int, window: tuple[int, int]) -> Tensor | None:
    """(L, S), which keys each query sees; nothing, if all."""
    left, right = window
    if left < 0 and right < 0:
        return None
    distance = flambeau.arange(keys) - (flambeau.arange(queries) + keys - queries).unsqueeze(1)
    seen = flambeau.ones(queries, keys, dtype=flambeau.bool)
    if left >= 0:
        seen = seen & (distance >= -left)
    if right >= 0:
        seen = seen & (distance <= right)
    return seen
