"""Where a sum is cut into chains: what decides the bits of a contraction's results, and depends on the extents of k alone.

The error of a chain of fused multiply-adds grows with its length.  So a chain has some 192 terms, and the chains are added up: of normal
numbers that makes the error of 65536 terms more than 11 times smaller, and that of a million more than 16 times.
"""

from __future__ import annotations

from math import prod

TERMS = 192
"""Terms of a chain: its panel of columns fills half of a first-level cache of 48 KB, and adding it up costs less than 2 % of its time.

With 256 errors of products of some hundreds of terms were up to twice PyTorch's, and are the same now; matrices of 1024 take 2 % longer, convolutions
no longer. With 128 they would be a quarter smaller yet, and matrices take another 2 %."""
FEW_TERMS = 32
"""Terms of a chain where all of a sum could be one, over windows of volumes: 3 x 3 x 3 with few channels.

One chain for 4 channels has 1.7 times the error of PyTorch's transposed convolution of volumes, which adds up 27 products of matrices, in its own
test data; a chain for each channel has half the error, in the same time (whole windows stay whole, and most of the time is not spent on sums).
"""
_MULTIPLE = 32
"""Chains along the innermost axis are whole vectors of any target, and whole groups of matrix registers."""


def cut(k: tuple[int, ...], terms: int = TERMS) -> tuple[int, int]:
    """Chains of about ``terms`` over axes of k as boxes: which axis is cut, into chunks of how many.

    The axes before it are iterated one by one, those after it are whole. Of more than ``terms ** 2`` terms in all there would be more chains than
    terms of each, and the sum of chains would have the larger error: chains are as many as their terms then, to a power of two.
    """
    while terms * terms * 4 <= prod(k):
        terms *= 2
    if prod(k) <= terms * 5 // 4:
        if len(k) < 4 or prod(k[1:]) > FEW_TERMS or terms != TERMS:
            return 0, k[0] if k else 1
        terms = FEW_TERMS
    inner = prod(k)
    for position, extent in enumerate(k):
        inner //= extent
        if inner <= terms:
            return position, in_parts(extent, inner, terms, _MULTIPLE)
    raise AssertionError("the last axis has nothing inside it")


def in_parts(extent: int, inner: int, limit: int, multiple: int) -> int:
    """The size of equal parts of an axis, each of whose places is ``inner`` terms: a part has about ``limit`` terms."""
    if extent * inner <= limit * 5 // 4:
        return extent
    chunk = -(-extent // -(-extent * inner // limit))
    return min(extent, -(-chunk // multiple) * multiple) if inner == 1 else chunk
