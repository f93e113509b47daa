"""Masks of causal attention for queries and keys of different numbers."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tensor.overriding import disabled_torch_function

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Which corner of the matrix of queries and keys the diagonal starts from."""

    UPPER_LEFT = auto()
    LOWER_RIGHT = auto()


class CausalBias(Tensor):
    """A mask (true where a query sees a key) that remembers what it is."""

    __torch_function__ = disabled_torch_function

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> Any:
        shift = seq_len_kv - seq_len_q if variant == CausalVariant.LOWER_RIGHT else 0
        mask = flambeau.ones(seq_len_q, seq_len_kv, dtype=flambeau.bool).tril(diagonal=shift).as_subclass(cls)
        mask.variant, mask.seq_len_q, mask.seq_len_kv = variant, seq_len_q, seq_len_kv
        return mask


def causal_upper_left(*size: int) -> CausalBias:
    """The mask in which query i sees the keys up to i.

    Args:
        size: the numbers of queries and keys
    """
    queries, keys = size
    return CausalBias(CausalVariant.UPPER_LEFT, queries, keys)


def causal_lower_right(*size: int) -> CausalBias:
    """The mask in which the last query sees all keys, the one before all but the last, and so on.

    Args:
        size: the numbers of queries and keys
    """
    queries, keys = size
    return CausalBias(CausalVariant.LOWER_RIGHT, queries, keys)
