"""Reductions along memory: rows of every length, runs of several digits, and what a row keeps between its phases."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau._codegen import loops
from flambeau._types import dtype as dt
from tests._codegen.loops.order import ordered_sum

LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 100, 4095, 4096, 4097, 9000)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_row_is_added_in_order(length: int) -> None:
    x = np.random.default_rng(length).standard_normal((5, length)).astype(np.float32)
    assert np.array_equal(flambeau.tensor(x).sum(1).numpy(), ordered_sum(x, (1,)))


@pytest.mark.parametrize("length", [33, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128])
@pytest.mark.parametrize("count", [32, 33, 47, 100])
def test_short_rows_are_folded_together(length: int, count: int) -> None:
    """A tile is sixteen rows, the last one fewer."""
    x = np.random.default_rng(length).standard_normal((count, length)).astype(np.float32)
    ours = flambeau.tensor(x)
    assert np.array_equal(ours.sum(1).numpy(), ordered_sum(x, (1,)))
    assert np.array_equal(ours.amax(1).numpy(), x.max(1)) and np.array_equal(ours.argmin(1).numpy(), x.argmin(1))
    whole = flambeau.tensor((x * 9).astype(np.int16))
    assert np.array_equal(whole.sum(1).numpy(), whole.numpy().sum(1)) and np.array_equal(whole.amin(1).numpy(), whole.numpy().min(1))
    apart = flambeau.stack([flambeau.softmax(row, 0) for row in ours])
    assert flambeau.equal(flambeau.softmax(ours, 1), apart)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_short_rows_in_place_and_strided(dtype: str) -> None:
    """What is written where something was read is not computed twice; rows of a slice lie apart."""
    x = flambeau.tensor(np.random.default_rng(0).standard_normal((50, 3, 80))).to(getattr(flambeau, dtype))
    rows = x[:, 1, 5:72]
    wanted = flambeau.stack([flambeau.layer_norm(row.clone(), (67,)) for row in rows])
    assert flambeau.equal(flambeau.layer_norm(rows, (67,)), wanted)
    again = rows.clone()
    again.sub_(again.mean(1, keepdim=True)).div_(again.norm(dim=1, keepdim=True))
    flambeau.flush()
    apart = [row.clone() for row in rows]
    for row, found in zip(apart, again, strict=True):
        row.sub_(row.mean(0, keepdim=True))
        assert flambeau.equal(row.div_(row.norm(dim=0, keepdim=True)), found)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 40, 9), (2, 3, 4096), (4, 8, 16), (2, 300, 49), (1, 1, 1), (3, 2, 5000), (90, 8, 3)])
def test_a_weight_along_part_of_the_run_changes_no_lane(shape: tuple[int, int, int]) -> None:
    """The run has two digits and the weight only one: the row is walked by segments, or the weight is repeated if they are short."""
    draw = np.random.default_rng(0)
    x, w = (draw.standard_normal(size).astype(np.float32) for size in (shape, (shape[1], 1)))
    result = (flambeau.tensor(x) * flambeau.tensor(w)).sum((1, 2))
    assert np.array_equal(result.numpy(), ordered_sum(x * w, (1, 2)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("positions", [2, 5, 16, 50])
def test_what_is_repeated_is_what_it_was(positions: int, dtype: str) -> None:
    """A weight that is needed for a sum and after it, and one times the sum, which is known after it."""
    draw = np.random.default_rng(positions)
    x, w, v = (flambeau.tensor(draw.standard_normal(size)).to(getattr(flambeau, dtype)) for size in ((40, 6, positions), (6, 1), (6, 1)))
    fused = (x * w - v * (x * w).sum((1, 2), keepdim=True)).numpy()
    product = (x * w).numpy()
    level = (v * flambeau.tensor(product).sum((1, 2), keepdim=True)).numpy()
    assert np.array_equal(fused, (flambeau.tensor(product) - flambeau.tensor(level)).numpy())


@pytest.mark.parametrize("count", [2, 3, 15, 16, 33, 129])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.softmax(1),
        lambda x: x.log_softmax(1),
        lambda x: x.exp() / x.exp().sum(1, keepdim=True),
        lambda x: (x.tanh() * x.tanh().sum(1, keepdim=True), x.exp() - x.exp().amax(1, keepdim=True)),
    ],
    ids=["softmax", "log_softmax", "quotient", "two"],
)
def test_rows_of_which_all_is_repeated(function: Callable, count: int) -> None:
    """Each number ``count`` times in a row: what is made of it is the same along the last digit, whatever phase needs it."""
    for rows, columns in ((1, 4), (3, 17)):
        x = flambeau.tensor(np.random.default_rng(count).standard_normal((rows, columns)), dtype=flambeau.float32)
        flambeau.flush()
        fused = function(x.unsqueeze(2).expand(rows, columns, count).reshape(rows, -1))
        flambeau.flush()
        plain = function(flambeau.tensor(np.repeat(x.numpy(), count, 1)))
        for one, other in zip(fused, plain, strict=True):
            assert np.array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("seed", range(24))
def test_programs_of_rows_that_repeat(seed: int) -> None:
    """Drawn at random, of numbers that are the same along the last digit, along the one before, and along none: with and without a flush after each line."""
    draw = random.Random(seed)
    rows, channels, size = draw.choice([1, 2, 3]), draw.choice([2, 5, 8, 17, 40]), draw.choice([2, 3, 8, 15, 17, 33, 100, 129])
    flambeau.manual_seed(seed)
    dtype = draw.choice([flambeau.float32, flambeau.float32, flambeau.float64, flambeau.bfloat16])
    level, each, other = (flambeau.randn(*shape).to(dtype) for shape in ((rows, channels, 1), (rows, channels, size), (channels, 1)))
    flambeau.flush()

    def program(is_eager: bool) -> list[flambeau.Tensor]:
        draw = random.Random(seed)
        pool = [x.expand(rows, channels, size).reshape(rows, -1) for x in (level, each, other)]
        totals = [pool[0].sum(1, keepdim=True)]
        for _ in range(draw.randint(3, 9)):
            kind, x = draw.random(), draw.choice(pool)
            if kind < 0.3:
                pool.append(draw.choice([flambeau.exp, flambeau.tanh, flambeau.sigmoid, flambeau.sin])(x.clamp(-3, 3)))
            elif kind < 0.55:
                pool.append(draw.choice([flambeau.add, flambeau.mul, flambeau.sub, flambeau.maximum])(x, draw.choice(pool)))
            elif kind < 0.75:
                totals.append(draw.choice([flambeau.sum, flambeau.amax, flambeau.mean])(x, 1, keepdim=True))
            else:
                pool.append(draw.choice([flambeau.add, flambeau.mul, flambeau.sub])(x, draw.choice(totals)))
            if is_eager:
                flambeau.flush()
        return [pool[-1], draw.choice(pool), *totals[-2:]]

    fused = program(False)
    flambeau.flush()
    for one, two in zip(fused, program(True), strict=True):
        assert np.array_equal(one.double().numpy(), two.double().numpy(), equal_nan=True)


@pytest.mark.parametrize("shape", [(6, 4, 20, 3), (70, 2, 9, 9), (2, 3, 80, 80), (9, 2, 1, 1), (5000, 1, 3, 1)])
def test_short_lines_share_lanes(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert np.array_equal(flambeau.tensor(x).sum((0, 2, 3)).numpy(), ordered_sum(x, (0, 2, 3)))


@pytest.mark.parametrize("shape", [(5, 1, 1037), (3, 4, 9), (2, 40, 33), (4, 2, 1), (1, 3, 5000), (50, 1, 100)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_lanes_that_wait_in_memory_are_added_in_order(shape: tuple[int, int, int], dtype: str) -> None:
    """So much is computed at a position that a phase goes by single registers, and walks the run as one digit or by segments."""
    draw = np.random.default_rng(0)
    x, w = (flambeau.tensor(draw.standard_normal(size)).to(getattr(flambeau, dtype)) for size in (shape, (shape[1], 1)))

    def much(x: flambeau.Tensor, w: flambeau.Tensor | float) -> flambeau.Tensor:
        for _ in range(4):
            x = (x * w + 0.5).abs().sqrt() - x * x * 0.25
        return x

    for weight in (w, 0.75):
        computed = much(x, weight)
        flambeau.flush()
        normalised = lambda y: flambeau.layer_norm(y, y.shape[1:])
        for total in (lambda y: y.sum((1, 2)), lambda y: y.amax((1, 2)), lambda y: y - y.mean((1, 2), keepdim=True), normalised):
            assert flambeau.equal(total(much(x, weight)), total(computed)), total


@pytest.mark.parametrize("length", [1, 10, 33, 1000, 20_000])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 2e-15), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_a_row_with_several_phases(length: int, dtype: str, tolerance: float) -> None:
    """Up to ``MOST_KEPT`` elements the powers are kept in scratch memory from the phase that adds them to the one that divides them."""
    x = flambeau.randn(3, length).to(getattr(flambeau, dtype))
    exact = x.double().numpy()
    powers = np.exp(exact - exact.max(1, keepdims=True))
    wanted = powers / powers.sum(1, keepdims=True)
    smallest = 2.0**-25 if dtype == "float16" else 0.0  # half a step of its subnormal numbers
    assert np.allclose(flambeau.softmax(x, 1).double().numpy(), wanted, rtol=tolerance, atol=smallest)


def test_only_costly_work_is_kept() -> None:
    access = loops.Access(dt.float32, (True, True), 1)

    def spec(op: str, keep: bool) -> loops.LoopSpec:
        body = (
            loops.Instr("load", dt.float32, (), (0, ())),
            loops.Instr("map", dt.float32, (0,), (op,)),
            loops.Instr("reduce", dt.float32, (1,), ("sum",)),
            loops.Instr("map", dt.float32, (1, 2), ("div",)),
            loops.Instr("store", dt.float32, (3,), (1,)),
        )
        return loops.LoopSpec("row", 1, 0, 1, (access, access), body, keep=keep)

    assert [loops.kernel(spec(*each)).kept for each in (("exp", True), ("exp", False), ("neg", True))] == [1, 0, 0]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64, np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("shape", [(3, 1), (4, 33), (2, 5000)])
def test_every_dtype(dtype: type, shape: tuple[int, int]) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)
    result = flambeau.tensor(x).sum(1).numpy()
    wide = {np.float32: np.float64, np.complex64: np.complex128}.get(dtype)
    assert np.all(np.abs(result - x.sum(1, dtype=wide)) <= 2**-22 * np.abs(x).sum(1, dtype=np.float64))
    if dtype is not np.complex64:
        assert np.array_equal(flambeau.tensor(x).amax(1).numpy(), x.max(1))


def test_nothing_to_add() -> None:
    for shape, axes in itertools.product([(0, 4), (4, 0), (0, 0)], [(0,), (1,), (0, 1)]):
        assert flambeau.zeros(shape).sum(axes).tolist() == np.zeros(shape).sum(axes).tolist()


@pytest.mark.parametrize("size", [5, 16, 33])
@pytest.mark.parametrize("count", [1, 9, 40])
def test_what_is_the_same_along_a_row_is_summed_and_stored(size: int, count: int) -> None:
    """Values that are stored for each position, though each row has one, and a sum of what is computed of them."""
    columns = [flambeau.randn(count, 1) for _ in range(2)]
    found = []
    for spread in (lambda column: column.expand(count, size), lambda column: column.repeat(1, size)):
        x, y = map(spread, columns)
        near = (x - y).clamp(-1, 1)
        beyond = (x - y) - 0.5 * near
        found.append((near, beyond, (near * beyond / 3).sum()))
        flambeau.flush()
    for ours, wanted in zip(*found, strict=True):
        assert flambeau.equal(ours, wanted)
