"""Sums of products of bytes, against NumPy's integers."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._compiler.interpret import Interpreter
from flambeau._compiler.verify import verify
from flambeau._ops.byte_products import BYTE_CONV, BYTE_LINEAR, QUAD
from flambeau._runtime import targets
from tests._compiler.graphs import pending

pytestmark = pytest.mark.skipif(not targets.current().has_vnni, reason="needs a processor with dot products of bytes (AVX512-VNNI)")


def packed(weight: np.ndarray) -> tuple[flambeau.Tensor, flambeau.Tensor]:
    """A weight (out, …, in) filled up to fours, and its sums."""
    filled = np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, -weight.shape[-1] % QUAD)])
    return flambeau.from_numpy(filled), flambeau.from_numpy(weight.reshape(len(weight), -1).sum(1, dtype=np.int32))


def random_bytes(*shape: int, signed: bool = False) -> np.ndarray:
    random = np.random.default_rng(sum(shape))
    return random.integers(-128, 128, shape).astype(np.int8) if signed else random.integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 64), (4,), (7, 3), (2, 3, 130), (33, 1), (0, 8)])
def test_linear(shape):
    x, w = random_bytes(*shape), random_bytes(19, shape[-1], signed=True)
    result = BYTE_LINEAR(flambeau.from_numpy(x), *packed(w), 77)
    np.testing.assert_array_equal(result.numpy(), ((x.astype(np.int64) - 77) @ w.T.astype(np.int64)).astype(np.float32))


def test_the_largest_sums():
    """All products are the same: 255 * -128. Before the zero point is taken off, sums are far beyond 16 bits."""
    x, w = np.full((5, 4001), 255, np.uint8), np.full((20, 4001), -128, np.int8)
    for zero_point in (0, 255):
        result = BYTE_LINEAR(flambeau.from_numpy(x), *packed(w), zero_point)
        assert (result.numpy() == np.float32((255 - zero_point) * -128 * 4001)).all()


@pytest.mark.parametrize("view", [lambda x: x[1:, 1:], lambda x: x.transpose(0, 1), lambda x: x[:, ::2], lambda x: x[1].expand(5, 8)])
def test_views_that_are_no_fours(view):
    x = random_bytes(8, 8)
    seen = view(flambeau.from_numpy(x))
    w = random_bytes(17, seen.shape[1], signed=True)
    result = BYTE_LINEAR(seen, *packed(w), 3)
    np.testing.assert_array_equal(result.numpy(), (seen.numpy().astype(np.int64) - 3) @ w.T.astype(np.int64))


def test_what_was_just_computed():
    """Bytes that the same program makes are read as fours, and the graph means the same."""
    x, w = random_bytes(6, 12), random_bytes(18, 12, signed=True)
    result = BYTE_LINEAR(flambeau.from_numpy(x) + 9, *packed(w), 100) * 2
    graph, roots, inputs, numbers = pending()
    verify(graph)
    (root,) = [node for node in roots.values() if node.shape == (6, 18)]
    expected = (((x + np.uint8(9)).astype(np.int64) - 100) @ w.T.astype(np.int64)) * 2
    np.testing.assert_array_equal(Interpreter(graph, inputs, numbers).value(root), expected)
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_convolution(groups, stride, padding):
    x, w = random_bytes(2, 8, 9, 7), random_bytes(20, 3, 3, 8 // groups, signed=True)
    sizes = tuple((size + 2 * padding - 3) // stride + 1 for size in (9, 7))
    result = BYTE_CONV(flambeau.from_numpy(x), *packed(w), 60, statics=((stride,) * 2, (padding,) * 2, (1, 1), groups, sizes))
    around = np.pad(x.astype(np.int64) - 60, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (2, 3))[:, :, ::stride, ::stride]
    windows = windows.reshape(2, groups, 8 // groups, *sizes, 3, 3)
    expected = np.einsum("ngdhwij,gcijd->ngchw", windows, w.astype(np.int64).reshape(groups, 20 // groups, 3, 3, 8 // groups))
    np.testing.assert_array_equal(result.numpy(), expected.reshape(2, 20, *sizes))
    assert result.is_contiguous(memory_format=flambeau.channels_last)
