"""Scatter, gather and their kin: against loops in NumPy, their gradients, their errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._runtime import targets
from flambeau.autograd import gradcheck, gradgradcheck

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool", "complex64"]
SHAPES = [
    ((5,), (9,)),  # a vector, with repetitions
    ((40, 33), (40, 33)),
    ((40, 33), (17, 20)),  # an index smaller than the target
    ((7, 40, 3), (7, 40, 3)),
    ((300, 64), (300, 1)),  # one step: lanes across rows
    ((3, 40_000), (2, 36_000)),  # large enough for several owners
]
COMBINE = {"set": lambda old, new: new, "add": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def data(shape: tuple, dtype: str, seed: int) -> flambeau.Tensor:
    generator = np.random.default_rng(seed)
    values = generator.integers(-3, 4, shape).astype(np.float64)  # exact in every dtype, in every order
    if dtype == "uint8":
        values = np.abs(values)
    return flambeau.tensor(values).to(getattr(flambeau, dtype))


def index_of(shape: tuple, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, size, shape)


def scattered(target: np.ndarray, dim: int, index: np.ndarray, source: np.ndarray, combine: str) -> np.ndarray:
    """Element by element, in row-major order."""
    result = target.copy()
    for place in np.ndindex(index.shape):
        at = (*place[:dim], index[place], *place[dim + 1 :])
        result[at] = COMBINE[combine](result[at], source[place])
    return result


def call(target: flambeau.Tensor, dim: int, index: flambeau.Tensor, source: flambeau.Tensor, combine: str) -> flambeau.Tensor:
    if combine == "set":
        return target.scatter(dim, index, source)
    return target.scatter_add(dim, index, source) if combine == "add" else target.scatter_reduce(dim, index, source, combine)


def cut(index: tuple, target: tuple, dim: int) -> tuple:
    return tuple(size if axis == dim else min(size, limit) for axis, (size, limit) in enumerate(zip(index, target, strict=True)))


MEANINGFUL = [
    (dtype, combine)
    for dtype in DTYPES
    for combine in COMBINE
    if not (dtype == "complex64" and combine in ("amax", "amin")) and not (dtype == "bool" and combine != "set")
]


@pytest.mark.parametrize("dtype, combine", MEANINGFUL)
def test_scatter_of_every_dtype(dtype: str, combine: str) -> None:
    target, source = data((6, 19), dtype, 1), data((6, 19), dtype, 2)
    index = index_of((6, 19), 6)
    wide = flambeau.complex128 if dtype == "complex64" else flambeau.float64
    expected = scattered(target.to(wide).numpy(), 0, index, source.to(wide).numpy(), combine)
    if dtype in ("int8", "uint8"):
        expected = expected.astype(np.int64).astype(dtype).astype(np.float64)
    for kind in (flambeau.int64, flambeau.int32):
        found = call(target, 0, flambeau.tensor(index).to(kind), source, combine)
        assert found.dtype is target.dtype
        assert found.to(wide).tolist() == expected.tolist()


@pytest.mark.parametrize("combine", ["set", "add"])
@pytest.mark.parametrize("shape, size", SHAPES)
def test_scatter_of_every_shape(shape: tuple, size: tuple, combine: str) -> None:
    for dim in range(-1, len(shape) - 1):
        axis = dim % len(shape)
        size = cut(size, shape, axis)
        target, source, index = data(shape, "float64", 1), data(size, "float64", 2), index_of(size, shape[axis])
        expected = scattered(target.numpy(), axis, index, source.numpy(), combine)
        assert np.array_equal(call(target, dim, flambeau.tensor(index), source, combine).numpy(), expected)
        in_place = target.clone()
        (in_place.scatter_ if combine == "set" else in_place.scatter_add_)(dim, flambeau.tensor(index), source)
        assert np.array_equal(in_place.numpy(), expected)


@pytest.mark.parametrize("shape, size", SHAPES)
def test_gather_of_every_shape(shape: tuple, size: tuple) -> None:
    for axis in range(len(shape)):
        size = cut(size, shape, axis)
        source, index = data(shape, "float32", 1), index_of(size, shape[axis])
        expected = np.take_along_axis(source.numpy()[tuple(slice(size[a] if a != axis else None) for a in range(len(shape)))], index, axis)
        assert np.array_equal(source.gather(axis, flambeau.tensor(index)).numpy(), expected)
        assert np.array_equal(source.gather(axis, flambeau.tensor(index).int()).numpy(), expected)


def test_the_last_in_row_major_order_wins_on_any_number_of_threads() -> None:
    index, source = flambeau.tensor(index_of((3, 30_000), 40)), flambeau.arange(90_000).reshape(3, 30_000)
    expected = scattered(np.full((3, 40), -1), 1, index.numpy(), source.numpy(), "set")
    before = flambeau.get_num_threads()
    try:
        for threads in (1, 2, 3):
            flambeau.set_num_threads(threads)
            assert np.array_equal(flambeau.full((3, 40), -1).scatter(1, index, source).numpy(), expected)
    finally:
        flambeau.set_num_threads(before)


def in_order(start: np.ndarray, index: np.ndarray, values: np.ndarray) -> np.ndarray:
    sums = start.copy()
    for place, value in zip(index, values, strict=True):
        sums[place] += value
    return sums


@pytest.mark.parametrize("count, features, parts", [(30_000, 1, 1), (70_001, 1, 2), (70_001, 5, 8)])
def test_sums_are_added_in_row_major_order_or_by_parts_of_it(count: int, features: int, parts: int) -> None:
    draw, index, each = np.random.default_rng(0), index_of((count,), 7), count // parts
    values, start = draw.standard_normal(count).astype(np.float32), np.ones(7, np.float32)
    expected, last = start, 0
    if parts > 1:
        last = parts * each
        zeros = np.zeros(7, np.float32)
        sums = [in_order(zeros, index[first : first + each], values[first : first + each]) for first in range(0, last, each)]
        while len(sums) > 1:  # the order of a sum of few
            half = len(sums) // 2
            sums = [one + other for one, other in zip(sums[:half], sums[half:], strict=True)]
        expected = start + sums[0]
    expected = in_order(expected, index[last:], values[last:])
    rows = flambeau.tensor(values).unsqueeze(1).expand(-1, features)
    before = flambeau.get_num_threads()
    try:
        for threads in (1, 2, 3):
            flambeau.set_num_threads(threads)
            found = flambeau.ones(7, features).index_add(0, flambeau.tensor(index), rows)
            assert np.array_equal(found.numpy(), np.stack([expected] * features, 1))
    finally:
        flambeau.set_num_threads(before)
    if features == 1:
        assert np.array_equal(flambeau.ones(7).scatter_add_(0, flambeau.tensor(index), flambeau.tensor(values)).numpy(), expected)


def test_an_index_that_is_out_of_bounds_is_found_in_each_part() -> None:
    for place in ([0, 5], [2, 70_000], [1, 69_999]):
        index = flambeau.tensor(index_of((3, 70_001), 7))
        index[tuple(place)] = 7
        target = flambeau.zeros(3, 7)
        with pytest.raises(IndexError, match=re.escape(f"at position {place}")):
            target.scatter_add_(1, index, flambeau.ones(3, 70_001)).numpy()


@pytest.mark.parametrize("shape, rows, axis", [((3000, 1003), 2500, 0), ((2, 3000, 1003), 1600, 1), ((70_000, 49), 40_000, 0)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_columns_of_what_is_larger_than_the_cache(monkeypatch: pytest.MonkeyPatch, shape: tuple, rows: int, axis: int, dtype: str) -> None:
    first, _, third = targets.cache_sizes()
    monkeypatch.setattr("flambeau._runtime.targets.cache_sizes", lambda: (first, 1 << 20, third))
    size = tuple(rows if number == axis else extent for number, extent in enumerate(shape))
    index, source = index_of(size, shape[axis]), data(shape, dtype, 1)
    exact = source.to(flambeau.complex64).numpy()
    expected = np.take_along_axis(exact, index, axis)
    found = flambeau.gather(source, axis, flambeau.tensor(index))
    assert np.array_equal(found.to(flambeau.complex64).numpy(), expected)
    index[..., 700 % shape[-1]] = shape[axis]
    with pytest.raises(IndexError, match="is out of bounds"):
        flambeau.gather(source, axis, flambeau.tensor(index)).to(flambeau.complex64).numpy()


def test_half_precision_is_rounded_once() -> None:
    many = flambeau.zeros(1, dtype=flambeau.bfloat16).scatter_add(
        0, flambeau.zeros(1000, dtype=flambeau.int64), flambeau.ones(1000).bfloat16()
    )
    assert many.item() == 1000


def test_numbers_and_reductions_as_arguments() -> None:
    x, index = flambeau.ones(3, 4), flambeau.tensor([[0, 3], [1, 1], [2, 0]])
    assert x.scatter(1, index, 5).sum().item() == 12 - 5 + 25
    assert x.scatter(1, index, value=5.0, reduce="add").tolist()[1] == [1, 11, 1, 1]
    assert x.scatter(-1, index, flambeau.full((3, 2), 3.0), reduce="multiply").tolist()[1] == [1, 9, 1, 1]
    assert x.scatter_(1, index, 7, reduce="multiply") is x and x[1, 1].item() == 49
    with pytest.raises(RuntimeError, match="add or multiply"):
        x.scatter(1, index, 5, reduce="mean")


def test_an_index_of_nothing_changes_nothing() -> None:
    x = flambeau.ones(3, 4)
    nothing = flambeau.zeros(0, 4, dtype=flambeau.int64)
    assert x.scatter(0, nothing, 5).tolist() == x.tolist() and x.gather(0, nothing).shape == (0, 4)
    assert x.index_select(1, flambeau.tensor([], dtype=flambeau.int64)).shape == (3, 0)
    assert x.index_add(0, flambeau.tensor([], dtype=flambeau.int64), flambeau.ones(0, 4)).tolist() == x.tolist()
    assert flambeau.zeros(()).scatter(0, flambeau.tensor(0), 2.0).item() == 2


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce_with_and_without_the_targets_own(reduce: str, include_self: bool) -> None:
    target, source, index = [4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 9.0], [0, 0, 2, 2]
    groups = [[4.0] * include_self + [1.0, 2.0], [5.0], [6.0] * include_self + [3.0, 9.0]]
    function = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    found = flambeau.tensor(target).scatter_reduce(0, flambeau.tensor(index), flambeau.tensor(source), reduce, include_self=include_self)
    assert found.tolist() == pytest.approx([function(group) for group in groups])
    if reduce != "sum":
        rows = flambeau.tensor(target).index_reduce(0, flambeau.tensor(index), flambeau.tensor(source), reduce, include_self=include_self)
        assert rows.tolist() == found.tolist()


# -- in place ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("columns", [6, 4])
def test_an_expanded_index_is_as_good_as_a_whole_one(reduce: str, columns: int) -> None:
    target, source = data((5, 6), "float32", 1), data((9, 6), "float32", 2)
    index = flambeau.tensor(index_of((9, 1), 4)).expand(9, columns)
    for include_self in (False, True):
        found = target.scatter_reduce(0, index, source, reduce, include_self=include_self)
        assert found.tolist() == target.scatter_reduce(0, index.contiguous(), source, reduce, include_self=include_self).tolist()


def test_in_place_writes_the_memory_of_the_tensor_and_its_views() -> None:
    x = flambeau.zeros(4, 3)
    address = x.data_ptr()
    x.scatter_(0, flambeau.tensor([[1, 2, 3]]), 1.0)
    assert x.data_ptr() == address and x.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    x[:, 1].scatter_add_(0, flambeau.tensor([0, 0, 2]), flambeau.tensor([1.0, 2.0, 3.0]))
    assert x[:, 1].tolist() == [3, 0, 4, 0]
    x.t().index_add_(1, flambeau.tensor([3]), flambeau.ones(3, 1))
    assert x[3].tolist() == [1, 1, 2]


def test_reading_before_and_after_a_write_in_the_same_program() -> None:
    x = flambeau.tensor([1.0, 2.0, 3.0])
    x.tolist()
    before = x * 2
    x.scatter_(0, flambeau.tensor([0]), 10.0)
    after = x * 2
    assert before.tolist() == [2, 4, 6] and after.tolist() == [20, 4, 6]


# -- errors ------------------------------------------------------------------------------------------------------------

_BAD = flambeau.tensor([[0, 1], [2, 4]])
OUT_OF_BOUNDS = {
    "gather": lambda: flambeau.zeros(3, 4).gather(1, _BAD),
    "scatter": lambda: flambeau.zeros(3, 4).scatter(1, _BAD, 1.0),
    "scatter_add": lambda: flambeau.zeros(3, 4).scatter_add(1, _BAD, flambeau.ones(2, 2)),
    "scatter_reduce": lambda: flambeau.zeros(3, 4).scatter_reduce(1, _BAD, flambeau.ones(2, 2), "amax"),
    "index_select": lambda: flambeau.zeros(3, 4).index_select(1, flambeau.tensor([0, 0, 0, 4])),
    "index_add": lambda: flambeau.zeros(3, 4).index_add(1, flambeau.tensor([0, 0, 0, 4]), flambeau.ones(3, 4)),
    "index_copy": lambda: flambeau.zeros(3, 4).index_copy(1, flambeau.tensor([0, 0, 0, 4]), flambeau.ones(3, 4)),
    "index_fill": lambda: flambeau.zeros(3, 4).index_fill(1, flambeau.tensor([0, 0, 0, 4]), 1.0),
    "index": lambda: flambeau.zeros(3, 4)[:, flambeau.tensor([0, 0, 0, 4])],
    "index_put_": lambda: flambeau.zeros(3, 4).index_put((flambeau.tensor([0]), flambeau.tensor([0, 0, 0, 4])), flambeau.tensor(1.0)),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_out_of_bounds_names_value_position_dimension_and_line(name: str) -> None:
    place = (
        r"\[1, 1\] of an index of shape \[2, 2\]"
        if name in ("gather", "scatter", "scatter_add", "scatter_reduce")
        else r"\[3\] of an index of shape \[4\]"
    )
    message = rf"{name}.*: index 4 is out of bounds for dimension 1 with size 4 \(at position {place}\).*test_gathering\.py:\d+"
    for kind in (IndexError, RuntimeError):
        with pytest.raises(kind, match=message):
            OUT_OF_BOUNDS[name]().tolist()
    assert flambeau.zeros(2).scatter(0, flambeau.tensor([1]), 1.0).tolist() == [0, 1]


def test_an_error_leaves_the_target_as_it_was() -> None:
    x = flambeau.arange(40_000.0).reshape(40, 1000)
    expected = x.tolist()
    index = flambeau.zeros(40, 1000, dtype=flambeau.int64)
    index[39, 998] = -1
    x.scatter_(0, index, 5.0)
    with pytest.raises(IndexError, match=r"index -1 is out of bounds .* position \[39, 998\]"):
        x.sum().item()
    assert x.tolist() == expected
    x.add_(1.0)  # in one program with a failure that comes later
    y = x.gather(0, index)
    with pytest.raises(IndexError):
        y.tolist()
    assert x[0, 0].item() == 1


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_the_first_of_several_bad_lanes_is_reported(dtype: str) -> None:
    x = flambeau.arange(24.0).reshape(3, 8)
    index = flambeau.zeros(3, 77, dtype=getattr(flambeau, dtype))
    index[2, 0] = index[1, 70] = 9  # the last is behind the whole vectors of its row
    with pytest.raises(IndexError, match=r"index 9 .* position \[1, 70\]"):
        x.gather(1, index).tolist()
    index[1, 35], index[1, 33] = 9, -5
    with pytest.raises(IndexError, match=r"index -5 .* position \[1, 33\]"):
        x.gather(1, index).tolist()
    with pytest.raises(IndexError, match=r"index 9 .* position \[1, 35\]"):  # -5 counts from the end
        x[0][index].tolist()
    index[1], index[2] = 7, -8
    assert x[0][index].tolist() == x.numpy()[0][index.numpy()].tolist()


def test_the_first_bad_place_is_reported_on_any_number_of_threads() -> None:
    index = flambeau.zeros(64, 4096, dtype=flambeau.int64)
    index[7, 5] = 70
    index[50, 1] = 80
    before = flambeau.get_num_threads()
    try:
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            for function in (lambda: flambeau.zeros(64, 4096).gather(0, index), lambda: flambeau.zeros(64, 4096).scatter(0, index, 1.0)):
                with pytest.raises(IndexError, match=r"index 70 .* position \[7, 5\]"):
                    function().tolist()
    finally:
        flambeau.set_num_threads(before)


def test_shapes_and_dtypes_are_checked_at_the_call() -> None:
    x, index = flambeau.zeros(3, 4), flambeau.zeros(3, 4, dtype=flambeau.int64)
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        x.gather(0, index[0])
    with pytest.raises(RuntimeError, match="no larger than self"):
        x.gather(0, flambeau.zeros(3, 5, dtype=flambeau.int64))
    with pytest.raises(RuntimeError, match="no larger than src"):
        x.scatter(0, index, flambeau.zeros(2, 4))
    with pytest.raises(RuntimeError, match="int32/int64"):
        x.gather(0, index.float())
    with pytest.raises(RuntimeError, match="self.dtype to be equal to src.dtype"):
        x.scatter(0, index, flambeau.zeros(3, 4).double())
    with pytest.raises(IndexError, match="supposed to be a vector"):
        x.index_select(0, index)


def test_out_may_not_share_memory_with_what_is_read() -> None:
    x, index = flambeau.arange(6.0), flambeau.tensor([0, 1, 2])
    with pytest.raises(RuntimeError, match="single memory location"):
        flambeau.gather(x, 0, index, out=x)
    with pytest.raises(RuntimeError, match="single memory location"):
        flambeau.take(x, index, out=x[2:5])
    out = flambeau.empty(3)
    assert flambeau.gather(x, 0, index, out=out) is out and out.tolist() == [0, 1, 2]


# -- gradients ---------------------------------------------------------------------------------------------------------


def leaf(*shape: int, seed: int = 0) -> flambeau.Tensor:
    return flambeau.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


_INDEX = flambeau.tensor([[0, 1, 2], [0, 0, 2], [1, 1, 1]])
DIFFERENTIABLE = {
    "gather": lambda x, s: x.gather(1, _INDEX),
    "scatter": lambda x, s: x.scatter(1, _INDEX, s),
    "scatter of a smaller index": lambda x, s: x.scatter(1, _INDEX[:2, :2], s),
    "scatter add": lambda x, s: x.scatter(1, _INDEX, s, reduce="add"),
    "scatter multiply": lambda x, s: x.scatter(1, _INDEX, s, reduce="multiply"),
    "scatter multiply by a number": lambda x, s: x.scatter(1, _INDEX, 3.0, reduce="multiply") + s[0, 0],
    "scatter_add of a smaller index": lambda x, s: x.scatter_add(0, _INDEX[:1], s),
    "index_add": lambda x, s: x.index_add(1, _INDEX[0], s, alpha=2),
    "index_copy": lambda x, s: x.index_copy(1, _INDEX[1], s),
    "index_fill": lambda x, s: x.index_fill(1, _INDEX[1], s[0, 0]),
    "index_put": lambda x, s: x.index_put((_INDEX[1], _INDEX[0]), s[0], accumulate=True),
    "take_along_dim": lambda x, s: x.take_along_dim(_INDEX[:1], 0),
    **{
        f"scatter_reduce {reduce} {own}": lambda x, s, reduce=reduce, own=own: x.scatter_reduce(1, _INDEX, s, reduce, include_self=own)
        for reduce in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    },
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    operands = leaf(3, 3), leaf(3, 3, seed=1)
    assert gradcheck(DIFFERENTIABLE[name], operands)
    assert gradgradcheck(DIFFERENTIABLE[name], operands)


@pytest.mark.parametrize("zeros", [[0], [0, 1], [3], [0, 1, 3]])
def test_gradients_of_products_with_zeros(zeros: list[int]) -> None:
    values = np.array([2.0, -3.0, 1.5, 4.0, 0.5])
    values[zeros] = 0
    operands = flambeau.tensor([1.5, 0.0, -2.0], dtype=flambeau.float64, requires_grad=True), flambeau.tensor(values, requires_grad=True)
    product = lambda x, s: x.scatter_reduce(0, flambeau.tensor([0, 0, 0, 1, 2]), s, "prod")
    assert gradcheck(product, operands)
    assert gradgradcheck(product, operands)


def test_ties_share_the_gradient_of_a_maximum() -> None:
    x, s = flambeau.tensor([2.0, 0.0], requires_grad=True), flambeau.tensor([2.0, 2.0, 1.0, 1.0], requires_grad=True)
    x.scatter_reduce(0, flambeau.tensor([0, 0, 0, 1]), s, "amax").sum().backward()
    third = pytest.approx(1 / 3)
    assert x.grad.tolist() == [third, 0] and s.grad.tolist() == [third, third, 0, 1]


def test_of_values_for_one_place_the_last_has_the_gradient() -> None:
    s = flambeau.tensor([1.0, 2.0, 3.0], requires_grad=True)
    flambeau.zeros(2).scatter(0, flambeau.tensor([1, 1, 0]), s).sum().backward()
    assert s.grad.tolist() == [0, 1, 1]


# -- embedding ---------------------------------------------------------------------------------------------------------


def test_embedding_and_its_gradient() -> None:
    table = leaf(5, 3)
    rows = flambeau.tensor([[0, 4], [4, 2]])
    found = flambeau.nn.functional.embedding(rows, table, padding_idx=2)
    assert np.array_equal(found.detach().numpy(), table.detach().numpy()[rows.numpy()])
    found.sum().backward()
    assert table.grad[:, 0].tolist() == [1, 0, 0, 0, 2]
    scaled = flambeau.nn.functional.embedding(rows, table, scale_grad_by_freq=True)
    assert flambeau.autograd.grad(scaled.sum(), table)[0][:, 0].tolist() == [1, 0, 1, 0, 1]
    with pytest.raises(IndexError, match="index 5 is out of range for a table of 5 rows"):
        flambeau.nn.functional.embedding(flambeau.tensor([5]), table).tolist()


def test_max_unpool_gives_every_value_the_gradient_of_its_place() -> None:
    x = flambeau.tensor([[[1.0, 2.0]]], requires_grad=True)
    flambeau.nn.functional.max_unpool1d(x, flambeau.tensor([[[1, 1]]]), 2).sum().backward()
    assert x.grad.tolist() == [[[1, 1]]]


# -- what users try ---------------------------------------------------------------------------------------------------


def vector(*values: int) -> flambeau.Tensor:
    return flambeau.tensor(values)


NOTHING_TO_INDEX: dict[str, Callable[[], Any]] = {
    "gather": lambda: flambeau.zeros(0, 4).gather(0, flambeau.zeros(1, 4, dtype=flambeau.int64)),
    "scatter": lambda: flambeau.zeros(0, 4).scatter(0, flambeau.zeros(1, 4, dtype=flambeau.int64), 1.0),
    "scatter_reduce": lambda: flambeau.zeros(0).scatter_reduce(0, vector(0), flambeau.ones(1), "mean"),
    "index_select": lambda: flambeau.zeros(0, 4).index_select(0, vector(0)),
    "index_add": lambda: flambeau.zeros(0, 4).index_add(0, vector(0), flambeau.ones(1, 4)),
    "index_fill": lambda: flambeau.zeros(0).index_fill(0, vector(0), 1.0),
    "index": lambda: flambeau.zeros(4, 0)[vector(0), vector(1)],
    "index_put": lambda: flambeau.zeros(0, 4).index_put((vector(0),), flambeau.tensor(1.0)),
    "embedding": lambda: flambeau.nn.functional.embedding(vector(0), flambeau.zeros(0, 4)),
}


@pytest.mark.parametrize("name", NOTHING_TO_INDEX)
def test_a_dimension_of_size_0_is_out_of_bounds_at_the_call(name: str) -> None:
    """There is no memory that a kernel could read or write."""
    with pytest.raises(IndexError, match=rf"{name.removesuffix('_put')}.*(size 0|table of 0 rows)") as error:
        NOTHING_TO_INDEX[name]()
    assert isinstance(error.value, RuntimeError)


def test_a_number_without_dimensions_takes_an_index_of_one_dimension() -> None:
    x, index, src = flambeau.tensor(1.0), vector(0, 0), flambeau.tensor([2.0, 3.0])
    assert x.scatter(0, index, src).tolist() == 3.0
    assert x.scatter_add(0, index, src).tolist() == 6.0
    assert x.scatter_reduce(0, index, src, "mean").tolist() == 2.0
    with pytest.raises(IndexError, match="index 1 is out of bounds for dimension 0 with size 1"):
        x.scatter(0, vector(1), src).item()
    x.scatter_(0, index, src)
    assert x.item() == 3.0
    assert gradcheck(lambda x, src: x.scatter(0, index, src), (x.double().requires_grad_(), src.double().requires_grad_()))


def test_results_are_contiguous_unless_in_place() -> None:
    x, index = flambeau.rand(3, 4).t(), flambeau.zeros(1, 3, dtype=flambeau.int64)
    src = flambeau.ones(1, 3)
    results = (
        x.scatter(0, index, 1.0), x.scatter_add(0, index, src), x.scatter_reduce(0, index, src, "amax"),
        x.index_add(0, vector(1), src), x.index_copy(0, vector(1), src), x.index_reduce(0, vector(1), src, "prod"),
    )  # fmt: skip
    for result in results:
        assert result.stride() == (3, 1)
    assert x.scatter_(0, index, 1.0).stride() == (1, 4)


def test_a_number_is_written_in_place_and_has_its_gradient() -> None:
    x = flambeau.ones(3, 2, requires_grad=True)
    y = x * 2
    y.scatter_(0, flambeau.tensor([[1, 2]]), 5.0)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 2.0], [0.0, 2.0], [2.0, 0.0]]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x, i: x.scatter(0.0, i, 1.0), TypeError, "dim must be an int, not 0.0"),
        (lambda x, i: x.gather(True, i), TypeError, "dim must be an int, not True"),
        (lambda x, i: x.scatter(0, i, 1j), RuntimeError, "cannot be converted to type float32 without overflow"),
        (lambda x, i: x.index_fill(0, i[0], 1j), RuntimeError, "cannot be converted to type float32 without overflow"),
        (lambda x, i: x.index_fill(0, i, 1.0), RuntimeError, "Index is supposed to be a vector"),
        (lambda x, i: x.bool().scatter_reduce(0, i, x[:1].bool(), "mean"), NotImplementedError, "'mean' is not implemented for torch.bool"),
        (lambda x, i: x.cfloat().scatter_reduce(0, i, x[:1].cfloat(), "amax"), NotImplementedError, "not implemented for torch.complex64"),
        (lambda x, i: x.index_copy(0, i[0], x[:1]), IndexError, r"Number of indices \(2\) should be equal to source.size\(dim\): \(1\)"),
        (lambda x, i: flambeau.tensor(1.0).index_add(0, i[0][:1], x[0][:1]), RuntimeError, r"Got self.shape = \[\] source.shape = \[1\]"),
        (lambda x, i: flambeau.scatter(x, 0, i, 1.0, out=x.double()), RuntimeError, "Expected out tensor to have dtype torch.float32"),
        (lambda x, i: flambeau.scatter(x[:2], 0, i, 1.0, out=x[1:]), RuntimeError, "refer to a single memory location"),
        (lambda x, i: flambeau.index_select(x, 0, i[0], out=x[:2].double()), RuntimeError, "must have the same scalar type"),
        (lambda x, i: x.index_put(i, x), TypeError, "argument 'indices' must be tuple of Tensors, not Tensor"),
        (
            lambda x, i: x.index_put((i,), 1.0),
            TypeError,
            r"argument 'values'( \(position 3\))? must be Tensor, not float",
        ),  # not by Python 3.10
        (lambda x, i: x.index_put((), x), RuntimeError, "indices must have an element"),
    ],
)
def test_mistakes(call: Callable, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        call(flambeau.rand(3, 2), flambeau.tensor([[0, 1]]))


def test_out_may_be_the_input_itself() -> None:
    x = flambeau.zeros(3)
    assert flambeau.scatter(x, 0, vector(1), 5.0, out=x) is x
    assert x.tolist() == [0.0, 5.0, 0.0]


def test_alpha_is_an_element_of_the_source() -> None:
    place, three = flambeau.tensor([0]), flambeau.tensor([3])
    for dtype, alpha, expected in (("int32", 1.7, 4), ("uint8", -1, 254), ("bool", 0, True), ("float16", 1.5, 5.5)):
        dtype = getattr(flambeau, dtype)
        assert flambeau.ones(1, dtype=dtype).index_add(0, place, three.to(dtype), alpha=alpha).item() == expected
    with pytest.raises(RuntimeError, match="without overflow"):
        flambeau.ones(1, dtype=flambeau.uint8).index_add(0, place, three.to(flambeau.uint8), alpha=300)


@pytest.mark.parametrize("include_self", [True, False])
def test_mean_of_complex_numbers(include_self: bool) -> None:
    x, source = flambeau.tensor([1j, 5.0]), flambeau.tensor([2.0, 4j])
    found = x.scatter_reduce(0, flambeau.tensor([0, 0]), source, "mean", include_self=include_self)
    np.testing.assert_allclose(found.numpy(), [(2 + 5j) / 3 if include_self else 1 + 2j, 5.0], rtol=1e-6)


def test_a_copy_of_the_start_of_something_larger() -> None:
    """What is written to is as large as the view, not as what the view is the start of."""
    for _ in range(20):
        start, index = flambeau.arange(1024.0)[:4], flambeau.tensor([0, 1])
        assert start.index_fill(0, index, 9.0).tolist() == [9, 9, 2, 3]
        assert start.index_add(0, index, flambeau.ones(2)).tolist() == [1, 2, 2, 3]


@pytest.mark.parametrize("write", ["index_add_", "index_copy_", "scatter_", "scatter_add_", "index_fill_"])
def test_a_tensor_may_be_written_to_again_before_backward(write: str) -> None:
    x, index = flambeau.ones(3, 2, dtype=flambeau.float64, requires_grad=True), flambeau.tensor([0, 1, 3])
    target = flambeau.zeros(4, 2, dtype=flambeau.float64)
    for factor in (1, 2, 3):
        value = x * factor
        if write == "index_fill_":
            target.index_fill_(0, index[:1], value.sum())
        else:
            getattr(target, write)(0, index if write.startswith("index") else index[:, None].expand(3, 2), value)
    target.sum().backward()
    assert x.grad.tolist() == [[6.0 if write in ("index_add_", "scatter_add_", "index_fill_") else 3.0] * 2] * 3


def test_zeros_that_are_written_through_a_view_of_another_shape() -> None:
    target, index = flambeau.zeros(4, 6), flambeau.tensor([0, 7, 7, 23])
    target.view(-1).index_add_(0, index, flambeau.ones(4))
    target.view(-1).scatter_add_(0, index, flambeau.ones(4))
    expected = np.zeros(24, np.float32)
    np.add.at(expected, [0, 7, 7, 23], 2.0)
    assert target.flatten().tolist() == expected.tolist()
