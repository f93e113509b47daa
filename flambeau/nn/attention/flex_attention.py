"""Attention whose scores and mask are functions of positions.

`score_mod(score, batch, head, q_idx, kv_idx)` and `mask_mod(batch, head, q_idx, kv_idx)` are called once, with tensors of indices
that broadcast against all scores: elementwise operators and indexing of other tensors work in them as they do with single indices.
https://docs.pytorch.org/docs/stable/nn.attention.flex_attention.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau.nn.functional import scaled_dot_product_attention

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

_DEFAULT_SPARSE_BLOCK_SIZE = 128
MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def _indices(*sizes: int) -> list[Tensor]:
    """For each dimension its indices, to broadcast against the others."""
    return [flambeau.arange(size).reshape([-1 if place == dim else 1 for place in range(len(sizes))]) for dim, size in enumerate(sizes)]


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Every query attends to every key."""
    return flambeau.ones((), dtype=flambeau.bool)


def and_masks(*mask_mods: MaskMod) -> MaskMod:
    """A mask that holds where all of some masks hold."""
    return _combined(mask_mods, flambeau.logical_and)


def or_masks(*mask_mods: MaskMod) -> MaskMod:
    """A mask that holds where one of some masks holds."""
    return _combined(mask_mods, flambeau.logical_or)


def _combined(mask_mods: tuple[MaskMod, ...], combine: Callable[[Tensor, Tensor], Tensor]) -> MaskMod:
    if not mask_mods or not all(callable(each) for each in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def mask_mod(*indices: Any) -> Tensor:
        result = mask_mods[0](*indices)
        for other in mask_mods[1:]:
            result = combine(result, other(*indices))
        return result

    return mask_mod


def create_mask(mod_fn: MaskMod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None) -> Tensor:
    """Where a mask holds, as a bool tensor (B, H, Q_LEN, KV_LEN); a batch or heads of `None` count as one."""
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    mask = mod_fn(*_indices(*sizes))
    if mask.dtype != flambeau.bool:
        raise RuntimeError(f"a mask_mod gives bool, but this one gave {mask.dtype}")
    return mask.expand(sizes)


class BlockMask:
    """A mask over blocks of queries and keys; `create_block_mask` makes one.

    Attributes:
        shape: (B, H, Q_LEN, KV_LEN)
        mask_mod: the function that it was made of
        BLOCK_SIZE: rows and columns of a block
    """

    def __init__(self, mask: Tensor, mask_mod: MaskMod, block_size: tuple[int, int]) -> None:
        self._mask = mask
        self.mask_mod = mask_mod
        self.BLOCK_SIZE = block_size

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._mask.shape)

    @property
    def seq_lengths(self) -> tuple[int, int]:
        return self.shape[-2], self.shape[-1]

    def to_dense(self) -> Tensor:
        """The blocks in which something is attended to: int32 (B, H, blocks of queries, blocks of keys) of 0 and 1."""
        rows, columns = self.BLOCK_SIZE
        height, width = self.seq_lengths
        padded = flambeau.nn.functional.pad(self._mask, (0, -width % columns, 0, -height % rows))
        blocks = padded.reshape(*self.shape[:2], -(-height // rows), rows, -(-width // columns), columns)
        return blocks.any(-1).any(-2).to(flambeau.int32)

    def sparsity(self) -> float:
        """Percent of the blocks in which nothing is attended to."""
        return 100 * (1 - self.to_dense().float().mean().item())

    def numel(self) -> int:
        return math.prod(self.shape)

    def to(self, device: Any) -> BlockMask:
        return BlockMask(self._mask.to(device), self.mask_mod, self.BLOCK_SIZE)

    def __getitem__(self, index: Any) -> BlockMask:
        return BlockMask(self._mask[index], self.mask_mod, self.BLOCK_SIZE)

    def __repr__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%)"


def create_block_mask(
    mask_mod: MaskMod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE, _compile: bool = False,
) -> BlockMask:  # fmt: skip
    """The mask that a function of positions describes.

    Args:
        mask_mod: of batch, head, query and key, whether the query attends to the key
        B, H: batches and heads; `None` where the mask is the same for all
        Q_LEN, KV_LEN: how many queries and keys
        device: the CPU
        BLOCK_SIZE: rows and columns of the blocks that `to_dense` and `sparsity` tell of
    """
    block = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
    return BlockMask(create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device), mask_mod, block)


class AuxRequest(NamedTuple):
    """What ``flex_attention`` is to return besides: the logarithms of the sums of rows' powers, and the largest score of each row."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What ``flex_attention`` returns besides, (B, Hq, L) each; ``None`` for what was not asked for."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def flex_attention(
    query: Tensor, key: Tensor, value: Tensor, score_mod: ScoreMod | None = None, block_mask: BlockMask | None = None,
    scale: float | None = None, enable_gqa: bool = False, return_lse: bool = False, kernel_options: dict[str, Any] | None = None,
    *, return_aux: AuxRequest | None = None,
) -> Any:  # fmt: skip
    """Attention with scores that a function changes, where a mask allows it.

    Args:
        query: (B, Hq, L, E)
        key: (B, Hkv, S, E)
        value: (B, Hkv, S, Ev)
        score_mod: of a score and its batch, head, query and key, the score to use
        block_mask: which scores count; those of a row without any give zeros
        scale: of the scores; 1/sqrt(E) by default
        enable_gqa: whether several heads of queries share one of keys
        return_lse: return the logarithm of the sum of a row's powers too, (B, Hq, L)
        kernel_options: for PyTorch's sake
        return_aux: return an ``AuxOutput`` with what this asks for too

    Returns:
        (B, Hq, L, Ev), or a pair with the logarithms or the ``AuxOutput``

    Raises:
        ValueError: a shape does not fit, or ``return_lse`` and ``return_aux`` are both given
    """
    if not (query.dim() == key.dim() == value.dim() == 4):
        raise ValueError(
            f"flex_attention: query, key and value are (B, H, L, E), got {query.dim()}, {key.dim()} and {value.dim()} dimensions"
        )
    if return_aux is not None and return_lse:
        raise ValueError("flex_attention: return_lse and return_aux ask for the same thing: AuxRequest(lse=True) gives the logarithms, too")
    aux = return_aux or AuxRequest(lse=return_lse)
    heads, shared = query.shape[1], key.shape[1]
    if heads != shared:
        if not enable_gqa:
            raise ValueError(f"flex_attention: {heads} heads of queries, but {shared} of keys: enable_gqa lets them share")
        if heads % shared:
            raise ValueError(f"flex_attention: {shared} heads of keys do not divide {heads} heads of queries")
        key, value = (each.repeat_interleave(heads // shared, 1) for each in (key, value))
    mask = None if block_mask is None else block_mask._mask[..., : query.shape[-2], : key.shape[-2]]
    if score_mod is None and not any(aux):
        result = scaled_dot_product_attention(query, key, value, mask, scale=scale)
        result = result if mask is None else result.where(mask.any(-1, keepdim=True), 0.0)
        return result if return_aux is None else (result, AuxOutput())
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = score_mod(scores, *_indices(*scores.shape))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    lse = scores.logsumexp(-1, keepdim=True)
    weights = (scores - lse.masked_fill(lse == -math.inf, 0.0)).exp()
    result = weights.to(value.dtype) @ value
    if return_aux is not None:
        return result, AuxOutput(lse.squeeze(-1) if aux.lse else None, scores.amax(-1) if aux.max_scores else None)
    return (result, lse.squeeze(-1)) if return_lse else result
