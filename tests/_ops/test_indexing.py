"""Indexing against NumPy, which has the same rules; where it differs, against what PyTorch documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck

ARRAY = np.arange(24).reshape(2, 3, 4)
BASIC_AND_ADVANCED: dict[str, Callable[[Callable], Any]] = {
    "number": lambda t: 1,
    "negative": lambda t: (-1, 0, -2),
    "slices": lambda t: (slice(None, None, 2), slice(1, None), slice(-3, -1)),
    "ellipsis": lambda t: (..., 2),
    "new dimension": lambda t: (None, 1, ..., None),
    "true": lambda t: True,
    "false": lambda t: False,
    "true among others": lambda t: (None, True, 1),
    "true at the end": lambda t: (..., True),
    "rows": lambda t: t([[0, 1], [1, 0]]),
    "negative positions": lambda t: (slice(None), t([0, -1])),
    "neighbours": lambda t: (slice(None), t([0, -1]), t([1, -2])),
    "apart": lambda t: (t([0, 1]), slice(None), t([1, 3])),
    "broadcast": lambda t: (t([[0], [1]]), t([0, 1, 2])),
    "a list": lambda t: (slice(None), [0, 2]),
    "nothing": lambda t: t(np.zeros(0, np.int64)),
    "mask of all": lambda t: t(ARRAY > 5),
    "mask of rows": lambda t: t([True, False]),
    "mask of columns": lambda t: (slice(None), t([True, False, True])),
    "mask and number": lambda t: (1, t([True, False, True])),
}


@pytest.mark.parametrize("name", BASIC_AND_ADVANCED)
def test_reading(name: str) -> None:
    expected = ARRAY[BASIC_AND_ADVANCED[name](np.asarray)]
    for x in (flambeau.tensor(ARRAY), flambeau.tensor(ARRAY.transpose(2, 0, 1).copy()).permute(1, 2, 0)):
        found = x[BASIC_AND_ADVANCED[name](flambeau.tensor)]
        assert tuple(found.shape) == expected.shape and np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("name", BASIC_AND_ADVANCED)
def test_writing(name: str) -> None:
    expected, x = ARRAY.copy(), flambeau.tensor(ARRAY)
    expected[BASIC_AND_ADVANCED[name](np.asarray)] = -1
    x[BASIC_AND_ADVANCED[name](flambeau.tensor)] = -1
    assert np.array_equal(x.numpy(), expected)


def test_the_result_has_the_order_of_memory_of_what_is_read() -> None:
    x = flambeau.tensor(ARRAY)
    assert x[None].stride() == (24, 12, 4, 1) and x[True].stride() == (24, 12, 4, 1)
    assert x.transpose(0, 2)[flambeau.tensor([0, 1])].stride() == (6, 1, 3)


@pytest.mark.parametrize(
    "index, error, message",
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        ((0, 0, 0, 0), IndexError, "too many indices"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (1.5, IndexError, "only integers, slices"),
        ([0.5], IndexError, "must be long, int, byte or bool"),
        ([True, False, True], IndexError, "The shape of the mask"),
        (([0, 1], [0, 1, 2]), IndexError, "could not be broadcast together"),
        ((..., ...), IndexError, "single ellipsis"),
    ],
)
def test_errors(index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        flambeau.tensor(ARRAY)[index]


def test_index_put_adds_where_positions_repeat() -> None:
    x = flambeau.zeros(4)
    places = (flambeau.tensor([1, 1, -1]),)
    assert x.index_put(places, flambeau.tensor([1.0, 2.0, 3.0]), accumulate=True).tolist() == [0, 3, 0, 3]
    assert x.index_put_(places, flambeau.tensor([1.0, 2.0, 3.0])) is x and x.tolist() == [0, 2, 0, 3]
    half = flambeau.zeros(1, dtype=flambeau.bfloat16).index_put(
        (flambeau.zeros(999, dtype=flambeau.int32),), flambeau.ones(()).bfloat16(), True
    )
    assert half.item() == flambeau.tensor(999.0).bfloat16().item()


def test_masks() -> None:
    x, mask = flambeau.arange(6.0).reshape(2, 3), flambeau.tensor([True, False, True])
    assert x.masked_select(mask).tolist() == [0, 2, 3, 5]
    assert x.masked_fill(mask, 9).tolist() == x.masked_fill(mask, flambeau.tensor(9 + 0j)).tolist() == [[9, 1, 9], [9, 4, 9]]
    assert x.masked_scatter(mask, flambeau.tensor([7.0, 8, 9, 10, 11])).tolist() == [[7, 1, 8], [9, 4, 10]]
    with pytest.raises(RuntimeError, match="at least 4 elements"):
        x.masked_scatter(mask, flambeau.ones(3))
    with pytest.raises(RuntimeError, match="only supports boolean masks"):
        x.masked_fill(mask.int(), 1)
    with pytest.raises(RuntimeError, match="without overflow"):
        x.masked_fill(mask, flambeau.tensor(1j))
    assert x.nonzero().stride() == (1, 5) and x.nonzero(as_tuple=True)[1].tolist() == [1, 2, 0, 1, 2]


def test_take_and_put() -> None:
    x = flambeau.tensor(ARRAY)
    assert x.take(flambeau.tensor([[0, -1]])).tolist() == [[0, 23]]
    assert x.put(flambeau.tensor([1, -1]), flambeau.tensor([7, 8])).reshape(-1)[[1, 23]].tolist() == [7, 8]
    with pytest.raises(IndexError, match="index 24 is out of bounds"):
        x.take(flambeau.tensor([24])).tolist()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[flambeau.tensor([0, 1, 0]), flambeau.tensor([2, 2, 0])],
        lambda x: x[:, flambeau.tensor([True, False, True])],
        lambda x: x[True, ..., None],
        lambda x: x.take(flambeau.tensor([0, 5, 5])),
        lambda x: x.masked_scatter(flambeau.tensor([True, False, True]), x * 2),
    ],
)
def test_gradients(function: Callable) -> None:
    assert gradcheck(function, flambeau.tensor(np.random.default_rng(0).standard_normal((2, 3)), requires_grad=True))


def test_gradients_of_a_view_of_a_view_can_be_differentiated() -> None:
    """The gradient of the inner slice is itself a view that does not begin where its memory does."""
    x = flambeau.tensor(np.random.default_rng(0).standard_normal((2, 3, 4)), requires_grad=True)
    assert gradgradcheck(lambda x: x[0][:, :2] * x[1][:, 1:3], x)


OUT_OF_RANGE = [
    ("float16", -1e5),
    ("float32", 1e39),
    ("complex64", 1e39j),
    ("float32", 1j),
    ("int64", float("nan")),
    ("int8", 300),
    ("uint8", -256),
]


@pytest.mark.parametrize(("dtype", "value"), OUT_OF_RANGE)
@pytest.mark.parametrize(
    "write",
    [
        lambda x, value: x.fill_(value),
        lambda x, value: flambeau.full((2,), value, dtype=x.dtype),
        lambda x, value: flambeau.full_like(x, value),
        lambda x, value: x.masked_fill(x == 0, value),
        lambda x, value: x.masked_fill_(x == 0, value),
        lambda x, value: x.index_fill(0, flambeau.tensor([1]), value),
        lambda x, value: x.scatter(0, flambeau.tensor([1]), value),
        lambda x, value: flambeau.constant_pad_nd(x, (1, 1), value),
    ],
)
def test_numbers_out_of_range_are_no_elements(write: Callable, dtype: str, value: Any) -> None:
    with pytest.raises(RuntimeError, match="without overflow"):
        write(flambeau.zeros(2, dtype=getattr(flambeau, dtype)), value)


def test_numbers_that_are_elements_after_all() -> None:
    """Infinity and NaN, a complex number without imaginary part, negative numbers that wrap, anything as a truth value."""
    half, byte, truth = (flambeau.zeros(1, dtype=dtype) for dtype in (flambeau.float16, flambeau.uint8, flambeau.bool))
    assert half.fill_(float("-inf")).item() == float("-inf") and half.masked_fill(half < 0, float("nan")).isnan().all()
    assert half.fill_(3 + 0j).item() == 3 and byte.fill_(-1).item() == 255 and byte.fill_(2.9).item() == 2
    assert truth.fill_(float("nan")).item() is True and truth.fill_(0.5j).item() is True


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
def test_what_is_assigned_to_half_precision_may_become_infinite(dtype: Any) -> None:
    """As in PyTorch, where ``fill_`` with the same number raises."""
    x = flambeau.zeros(3, dtype=dtype)
    x[0], x[flambeau.tensor([1])] = -1e39, 1e39
    assert x.tolist() == [float("-inf"), float("inf"), 0.0]
    most = flambeau.finfo(dtype).max
    x[0], x[flambeau.tensor([1])] = most * 1.0001, -most * 1.0001  # nearer to the largest number than to what would come next
    assert x.tolist() == [most, -most, 0.0]


def test_indices_have_64_or_32_bits() -> None:
    x, short = flambeau.arange(4.0), flambeau.tensor([1], dtype=flambeau.int16)
    for call in (lambda: x[short], lambda: x.index_put((short,), x[0])):
        with pytest.raises(IndexError, match="must be long, int, byte or bool"):
            call()
    with pytest.raises(RuntimeError, match=r"take\(\): Expected a long tensor"):
        x.take(short.int())
    assert x[short[0]].item() == x[np.array([1], np.int16)].item() == 1  # numbers, and arrays of others, are converted


def test_order_of_memory_of_results() -> None:
    x = flambeau.arange(24.0).reshape(4, 3, 2).permute(2, 1, 0)
    assert x.masked_fill(x > 3, 0.0).is_contiguous()
    assert x.clone().masked_fill_(x > 3, 0.0).stride() == x.stride()
    assert x.put(flambeau.tensor([0]), flambeau.tensor([5.0])).stride() == x.stride()
    assert flambeau.nn.functional.pad(x, (1, 1)).is_contiguous()
    assert flambeau.nn.functional.pad(x, (0, -1)).stride() == (1, 2, 6)


def test_one_value_where_a_condition_holds_waits() -> None:
    """Nobody has to know where: nothing is computed at the call."""
    numbers = np.arange(12.0).reshape(3, 4)
    x = flambeau.tensor(numbers)
    x[x > 5] = -1
    x[flambeau.tensor([True, False, True])] = flambeau.tensor(7)
    assert x.memory.pending
    numbers[numbers > 5] = -1
    numbers[[0, 2]] = 7
    np.testing.assert_array_equal(x.numpy(), numbers)
    with pytest.raises(IndexError, match="does not match"):
        x[x[:2] > 0] = 0.0


def test_only_so_many_ways_to_look_are_remembered() -> None:
    x = flambeau.arange(10_000)
    assert [x[position].item() for position in (0, 1, -1)] == [0, 1, 9_999]
    for position in range(6_000):
        x[position]
    assert len(x.layout.memo) < 5_000


def test_views_that_live_do_not_make_new_ones_slow() -> None:
    """What is known of a tensor's views is looked through each time that they have doubled, not for each new one."""
    x = flambeau.zeros(20_000, 2)
    rows = x.unbind()
    assert len(rows) == 20_000 and len(vars(x)["_views"]) == 20_000
    x.add_(1)
    assert rows[-1].tolist() == [1.0, 1.0]
    del rows
    for _ in range(40_000):
        x[:1]
    assert len(vars(x)["_views"]) < 40_000
    with pytest.raises(IndexError, match="without dimensions"):
        flambeau.tensor(1.0).unbind()
    with pytest.raises(RuntimeError, match="must not be negative"):
        x.split([-1, 20_001])


@pytest.mark.parametrize("value", [[1, 2], (1, 2), np.ones(2)], ids=["list", "tuple", "array"])
def test_assigning_a_sequence_asks_for_a_tensor(value: Any) -> None:
    x = flambeau.zeros(2, 2)
    with pytest.raises(TypeError, match=r"can't assign a \w+ to part of a tensor; make one of it: x\[...\] = torch.tensor\(value\)"):
        x[0] = value
    x[0] = np.array(3.0)
    assert x.tolist() == [[3.0, 3.0], [0.0, 0.0]]
