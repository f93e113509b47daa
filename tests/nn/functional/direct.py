"""Convolutions as they are defined, in float64 and in NumPy alone: the oracle of the tests here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

LETTERS = "xyz"


class Settings(NamedTuple):
    """Everything that says what a convolution is, but its numbers; a tuple has a number for each spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    sides: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


def same_sides(sizes: tuple[int, ...], settings: Settings) -> tuple[tuple[int, int], ...]:
    """The smallest padding that lets windows start at every ``stride``-th position; half of it goes before, the odd one after."""
    found = []
    for size, kernel, stride, dilation in zip(sizes, settings.kernel, settings.stride, settings.dilation, strict=True):
        starts = range(0, size, stride)
        total = max(starts[-1] + dilation * (kernel - 1) + 1 - size, 0)
        found.append((total // 2, total - total // 2))
    return tuple(found)


def _places(settings: Settings, outputs: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """For each place of the kernel: the place, and which positions of the padded input it meets."""
    for place in product(*map(range, settings.kernel)):
        zipped = zip(place, settings.stride, settings.dilation, outputs, strict=True)
        yield place, tuple(slice(k * d, k * d + s * (count - 1) + 1, s) for k, s, d, count in zipped)


def convolution(x: np.ndarray, w: np.ndarray, settings: Settings, mode: str = "zeros") -> np.ndarray:
    """``out[n, c, o] = Σ w[c, d, k] x[n, d, o * stride + k * dilation - before]``: x (N, C, *), w (C_out, C / groups, *kernel)."""
    groups, rank = settings.groups, len(settings.kernel)
    edges = [(0, 0), (0, 0), *settings.sides]
    numpys = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    padded = np.pad(x, edges, mode=numpys[mode])
    outputs = tuple(
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(padded.shape[2:], settings.kernel, settings.stride, settings.dilation, strict=True)
    )
    padded = padded.reshape(x.shape[0], groups, x.shape[1] // groups, *padded.shape[2:])
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    axes = LETTERS[:rank]
    out = np.zeros((x.shape[0], groups, w.shape[0] // groups, *outputs), padded.dtype)
    for place, met in _places(settings, outputs):
        out += np.einsum(f"ngd{axes},gcd->ngc{axes}", padded[(..., *met)], grouped[(..., *place)])
    return out.reshape(x.shape[0], w.shape[0], *outputs)


def transposed(y: np.ndarray, w: np.ndarray, settings: Settings, sizes: tuple[int, ...]) -> np.ndarray:
    """Each input is added, times the kernel, to the outputs that it meets: y (N, C, *), w (C, C_out / groups, *kernel), to (N, C_out, *sizes)."""
    groups, rank = settings.groups, len(settings.kernel)
    extents = tuple(size + sum(side) for size, side in zip(sizes, settings.sides, strict=True))
    reach = tuple(
        max(extent, (count - 1) * s + d * (k - 1) + 1)
        for extent, count, s, d, k in zip(extents, y.shape[2:], settings.stride, settings.dilation, settings.kernel, strict=True)
    )
    grouped = y.reshape(y.shape[0], groups, y.shape[1] // groups, *y.shape[2:])
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    axes = LETTERS[:rank]
    whole = np.zeros((y.shape[0], groups, w.shape[1], *reach), y.dtype)
    for place, met in _places(settings, y.shape[2:]):
        whole[(..., *met)] += np.einsum(f"ngc{axes},gcd->ngd{axes}", grouped, weights[(..., *place)])
    inner = tuple(slice(before, before + size) for size, (before, _) in zip(sizes, settings.sides, strict=True))
    return whole[(..., *inner)].reshape(y.shape[0], groups * w.shape[1], *sizes)
