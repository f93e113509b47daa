"""Mean and variance: right wherever the mean lies and whatever comes first, and computed with what they are of."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as functional

EPS = 2.0**-23


def _rows(kind: str, dtype: type = np.float32) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((6, 1500))
    first = {"outlier": 1e6, "small outlier": 30.0, "infinite": 3e38}.get(kind)
    if first is not None:
        x[:, 0] = first
    scale, mean = {"huge": (1e30, 0.0), "tiny": (1e-30, 0.0), "far": (1.0, 1e6), "further": (1e-3, -1e3)}.get(kind, (1.0, 0.0))
    return (x * scale + mean).astype(dtype)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("kind", ["normal", "outlier", "small outlier", "huge", "tiny", "far", "further", "infinite"])
def test_deviation_and_mean(kind: str, across: bool) -> None:
    x = _rows(kind)
    wide = x.astype(np.float64)
    if across:
        x, wide = np.ascontiguousarray(x.T), wide.T
    deviation, mean = flambeau.std_mean(flambeau.tensor(x), 0 if across else 1)
    axis = 0 if across else 1
    assert np.all(np.abs(deviation.numpy() / wide.std(axis, ddof=1) - 1) <= EPS)
    assert np.all(np.abs(mean.numpy() - wide.mean(axis)) <= EPS * np.abs(wide.mean(axis)))


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16, flambeau.float64])
def test_other_dtypes(dtype: flambeau.dtype) -> None:
    x = flambeau.tensor(_rows("normal") + 3.0).to(dtype)
    wide = x.to(flambeau.float64).numpy()
    tolerance = flambeau.finfo(dtype).eps * (8 if dtype is flambeau.float64 else 1)  # NumPy adds up in float64, too
    assert np.allclose(x.var(1).to(flambeau.float64).numpy(), wide.var(1, ddof=1), rtol=tolerance, atol=0)


def test_what_is_not_a_number_stays_in_its_row() -> None:
    x = _rows("normal")
    x[1, 0], x[2, 700], x[3, 0] = np.nan, np.inf, np.inf
    deviation = flambeau.tensor(x).std(1).numpy()
    assert np.isnan(deviation[1:4]).all()
    assert np.isfinite(deviation[[0, 4, 5]]).all()


def test_equal_elements_have_no_variance() -> None:
    assert not flambeau.full((3, 70), 0.1).var(1).numpy().any()
    assert flambeau.tensor([[2.5]]).var(1, correction=0).item() == 0
    assert np.isnan(flambeau.empty(0, 3).var(0).numpy()).all()


SOURCES: dict[str, Callable] = {
    "sum": lambda x, y: x + y,
    "sum with channels": lambda x, y: (x + y[:, :, :1, :1]).relu(),
    "turned": lambda x, y: (x * 2).transpose(2, 3) + y,
    "part": lambda x, y: (x + y)[:, 4:, 1:, 2:],
    "every second": lambda x, y: (x - y)[:, ::2],
    "backwards": lambda x, y: (x - y).flip(2),
    "border": lambda x, y: functional.pad(x, (1, 1, 1, 1)) * 2,
    "copy": lambda x, y: (x + 1).contiguous(memory_format=flambeau.channels_last),
    "softmax": lambda x, y: x.softmax(1) + y,
    "long": lambda x, y: sum((x * k for k in range(20)), y),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_what_is_computed_before_gives_the_same_bits(name: str, last: bool) -> None:
    generator = np.random.default_rng(1)
    x, y = (flambeau.tensor(generator.standard_normal((2, 8, 6, 6)).astype(np.float32)) for _ in range(2))
    if last:
        x, y = (each.contiguous(memory_format=flambeau.channels_last) for each in (x, y))
    source = SOURCES[name](x, y)
    found = [functional.group_norm(source, 2), source.var((2, 3)), functional.instance_norm(source)]
    result = [each.numpy() for each in found]
    source = SOURCES[name](x, y)
    source.numpy()  # is in memory from here on
    again = [functional.group_norm(source, 2), source.var((2, 3)), functional.instance_norm(source)]
    assert all(np.array_equal(one, each.numpy()) for one, each in zip(result, again, strict=True))


def test_one_kernel_has_the_sum_and_its_norm() -> None:
    x, t = flambeau.randn(4, 64, 7, 9), flambeau.randn(4, 64)
    with flambeau.no_grad():
        assert len(flambeau.explain(lambda: functional.group_norm(x + t[:, :, None, None], 8)).kernels) == 1


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64])
@pytest.mark.parametrize(
    "row", [[math.inf, 1, 2, 3], [1, -math.inf, 2, 3], [math.inf, -math.inf, 1, 2], [math.nan, 1, 2, 3], [math.inf] * 4]
)
def test_the_mean_of_what_is_not_finite(row: list[float], dtype: flambeau.dtype) -> None:
    """An infinity at the start of a row, which stands for its mean, is no other than one behind it."""
    x = flambeau.tensor(row, dtype=dtype)
    for values in (x[:, None], x[:, None] + flambeau.zeros(4, 3, dtype=dtype)):  # rows and columns
        mean, variance = flambeau.zeros(values.shape[1], dtype=dtype), flambeau.ones(values.shape[1], dtype=dtype)
        flambeau.nn.functional.batch_norm(values, mean, variance, training=True, momentum=1.0)
        np.testing.assert_array_equal(mean.numpy(), np.full(mean.shape, sum(row)))
        assert np.isnan(variance.numpy()).all()


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.bfloat16, flambeau.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_deviations_whose_squares_are_out_of_range(scale: float, dtype: flambeau.dtype) -> None:
    x = flambeau.tensor([1.0, 2.0, 4.0, 8.0], dtype=dtype) * scale
    exact = np.std(x.double().numpy(), ddof=1)
    assert abs(x.std().item() / exact - 1) <= flambeau.finfo(dtype).eps
    assert abs(flambeau.std_mean(x)[1].item() / x.double().mean().item() - 1) <= flambeau.finfo(dtype).eps
