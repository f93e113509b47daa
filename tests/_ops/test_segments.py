"""Reductions of segments: against loops in NumPy, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

REDUCTIONS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min}


def _expected(reduce: str, data: np.ndarray, offsets: list[int], neutral: float) -> np.ndarray:
    parts = [data[begin:end] for begin, end in zip(offsets, offsets[1:])]
    return np.stack([REDUCTIONS[reduce](part, 0) if len(part) else np.full(data.shape[1:], neutral) for part in parts])


@pytest.mark.parametrize(
    "reduce, neutral", [("sum", 0.0), ("mean", np.nan), ("prod", 1.0), ("max", -np.inf), ("min", np.inf)], ids=list(REDUCTIONS)
)
@pytest.mark.parametrize("offsets", [[0, 2, 5, 5, 6], [0, 0, 6], [1, 3, 4], [0]], ids=str)
def test_each_segment_is_reduced(reduce, neutral, offsets):
    data = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    if len(offsets) > 1:
        want = _expected(reduce, data, offsets, neutral)
        got = flambeau.segment_reduce(flambeau.tensor(data), reduce, offsets=flambeau.tensor(offsets))
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)
    if offsets[0] == 0 and offsets[-1] == 6:
        lengths = flambeau.tensor(np.diff(offsets))
        np.testing.assert_allclose(flambeau.segment_reduce(flambeau.tensor(data), reduce, lengths=lengths).numpy(), want, rtol=1e-6)
    if len(offsets) == 1:
        assert flambeau.segment_reduce(flambeau.tensor(data), reduce, offsets=flambeau.tensor(offsets)).shape == (0, 3)


def test_an_inner_axis_has_segments_of_its_own_in_each_row():
    data = flambeau.arange(12.0).reshape(2, 3, 2)
    got = flambeau.segment_reduce(data, "sum", lengths=flambeau.tensor([[1, 2], [3, 0]]), axis=1)
    assert got.tolist() == [[[0, 1], [6, 8]], [[24, 27], [0, 0]]]


def test_initial_is_part_of_every_segment():
    data = flambeau.tensor([1.0, 2.0, 3.0])
    lengths = flambeau.tensor([2, 0, 1])
    for reduce, want in {"sum": [13, 10, 13], "mean": [6.5, 10, 13], "prod": [20, 10, 30], "max": [10, 10, 10], "min": [1, 10, 3]}.items():
        assert flambeau.segment_reduce(data, reduce, lengths=lengths, initial=10).tolist() == want


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradients(reduce):
    data = flambeau.randn(7, 2, dtype=flambeau.float64, requires_grad=True)
    lengths = flambeau.tensor([3, 1, 3])
    assert flambeau.autograd.gradcheck(lambda data: flambeau.segment_reduce(data, reduce, lengths=lengths), (data,))


@pytest.mark.parametrize(
    "call, message",
    [
        ({"reduce": "sum"}, "either lengths or offsets must be given"),
        ({"reduce": "median", "lengths": [6]}, "must be one of sum, mean, prod, max, min, but got 'median'"),
        ({"reduce": "sum", "lengths": [7]}, "must add up to the size of the dimension, 6"),
        ({"reduce": "sum", "lengths": [-1, 7]}, "must not be negative"),
        ({"reduce": "sum", "lengths": [6.0]}, "must be of int32 or int64"),
        ({"reduce": "sum", "lengths": [[6]]}, "must have the dimensions of data before axis 0"),
        ({"reduce": "sum", "lengths": [6], "indices": [0]}, "not by indices"),
    ],
)
def test_what_is_refused(call, message):
    given = {name: flambeau.tensor(value) if isinstance(value, list) else value for name, value in call.items()}
    with pytest.raises(RuntimeError, match=message):
        flambeau.segment_reduce(flambeau.ones(6, 2), **given)


def test_data_and_axis_are_checked():
    with pytest.raises(RuntimeError, match="floating-point"):
        flambeau.segment_reduce(flambeau.ones(6).long(), "sum", lengths=flambeau.tensor([6]))
    with pytest.raises(IndexError, match="out of range"):
        flambeau.segment_reduce(flambeau.ones(6), "sum", lengths=flambeau.tensor([6]), axis=3)
    with pytest.raises(TypeError, match="'data'"):
        flambeau.segment_reduce(3, "sum", lengths=flambeau.tensor([6]))
