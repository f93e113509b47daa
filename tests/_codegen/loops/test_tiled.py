"""Maps that read along one digit and write along another: squares are transposed in registers."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

DTYPES = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64, np.complex64]


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (17, 31), (64, 257), (65, 300), (1000, 9), (9, 1000)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_transposed_copy(shape: tuple[int, int], dtype: type) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) * 100).astype(dtype)
    assert np.array_equal(flambeau.tensor(x).t().contiguous().numpy(), x.T)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 16, 9, 20), (3, 40, 33, 17)])
def test_to_channels_last_and_back(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    last = flambeau.tensor(x).contiguous(memory_format=flambeau.channels_last)
    assert last.stride() == (x[0].size, 1, shape[1] * shape[3], shape[1])
    assert np.array_equal(last.numpy(), x)
    assert np.array_equal(last.contiguous().numpy(), x)


def test_what_lies_either_way_is_computed_together() -> None:
    draw = np.random.default_rng(0)
    x, y, row = (draw.standard_normal(shape).astype(np.float32) for shape in ((50, 70), (70, 50), (50,)))
    result = flambeau.tensor(x).t() * flambeau.tensor(y) + flambeau.tensor(row)
    assert np.array_equal(result.contiguous().numpy(), x.T * y + row)


def test_a_part_of_a_transposed_tensor() -> None:
    x = np.arange(90 * 70, dtype=np.float32).reshape(90, 70)
    part = flambeau.tensor(x)[3:80, 5:66].t()
    assert np.array_equal((part + 1).contiguous().numpy(), x[3:80, 5:66].T + 1)
    assert np.array_equal(flambeau.tensor(x).flip(0).t().contiguous().numpy(), x[::-1].T)


@pytest.mark.parametrize("step", [2, 3, 4, 5, -1])
@pytest.mark.parametrize("length", [1, 2, 16, 33, 64])
def test_steps_in_memory(step: int, length: int) -> None:
    """Short strides are read as consecutive elements and shuffled, which must not touch memory beyond the last one."""
    x = np.arange(length * abs(step), dtype=np.float32)
    source = flambeau.tensor(x).flip(0) if step < 0 else flambeau.tensor(x)[::step]
    assert np.array_equal((source * 2).numpy(), x[::step] * 2)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float16, np.float64, np.complex64])
def test_backwards(dtype: type) -> None:
    x = np.arange(4 * 37).reshape(4, 37).astype(dtype)
    assert np.array_equal(flambeau.tensor(x).flip(1).contiguous().numpy(), x[:, ::-1])
    assert np.array_equal(flambeau.tensor(x).flip(0, 1)[:, 5:].contiguous().numpy(), x[::-1, ::-1][:, 5:])
