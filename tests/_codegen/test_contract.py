"""Contractions against a plain chain of multiply-adds, to the last bit: matrix products, convolutions, their gradients."""

from __future__ import annotations

import random
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from flambeau._codegen.contract import Bound, Contract, Epilogue, Operand, plan, planning
from flambeau._codegen.contract.arithmetic import compute_dtype, narrow, register_tile
from flambeau._codegen.contract.blocking import best_blocking, block_of_chain, describe_side
from flambeau._codegen.contract.bordered import band, bordered, strip
from flambeau._codegen.contract.chains import TERMS
from flambeau._codegen.contract.existing import across_images, existing, listing
from flambeau._codegen.contract.micro import split_rows
from flambeau._codegen.contract.normal import Column, normalise
from flambeau._runtime import targets
from flambeau._types import dtype as types
from tests._codegen.contractions import (
    DTYPES,
    buffers_of,
    check,
    convolution,
    in_lanes,
    matmul,
    needed,
    numbers,
    positions,
    reference,
    row_major,
    run,
)


@pytest.mark.parametrize("order", ["mk,kn,mn", "km,kn,mn", "mk,nk,mn", "km,nk,mn", "mk,kn,nm", "mk,nk,nm"])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (32, 64, 64), (5, 7, 3), (17, 300, 33), (70, 700, 130), (1, 100, 200), (200, 90, 1), (16, 20, 500)]
)
def test_matrix_product(m, k, n, order):
    check(matmul(m, k, n, order=order))


@pytest.mark.parametrize("n", [1, 7, 15, 16, 17, 31, 33, 47, 49, 95])
def test_columns_in_place_that_fill_no_register_tile(n):
    """The last panel starts earlier, and computes some columns again, or is masked where there are too few columns."""
    check(matmul(17, 40, n))
    check(matmul(15, 300, n, types.float64))


@pytest.mark.parametrize("of", DTYPES, ids=lambda of: of.name)
@pytest.mark.parametrize("order", ["mk,kn,mn", "km,nk,mn", "mk,nk,nm"])
def test_dtypes(of, order):
    check(matmul(19, 37, 41, of, order=order))
    check(matmul(33, 600, 70, of, order=order))


def every_way(contract: Contract):
    """Set the planner's choices: both orientations, operands packed by each tile or by a call before, blocks of several sizes."""
    normal = normalise(contract)
    tile = register_tile(contract.a.dtype, targets.current())
    for oriented in [normal, normal.swapped()] if tile.parts == 1 else [normal]:
        for a, b in [("tile", "tile"), ("call", "tile"), ("tile", "call"), ("call", "call"), ("panel", "tile")]:
            for m_block, n_block, limit in [(10**6, 32, 256), (74, 64, 100), (29, 96, 40)]:
                choice = best_blocking(normal, tile, targets.current())
                m, n = (prod(axis[0] for axis in group) for group in (oriented.m, oriented.n))
                chunk = block_of_chain(oriented, limit, tile.width)
                columns = min(n_block, -(-n // tile.lanes) * tile.lanes)
                sides = {"left": (oriented.a, oriented.m, a), "right": (oriented.b, oriented.n, b)}
                chosen = []
                for name, (column, lanes, where) in sides.items():
                    side = describe_side(oriented, column, lanes, chunk, tile, left=name == "left")
                    chosen.append(replace(side, where=where))
                if a == "panel" and (chosen[0].mode != "steps" or oriented.a.bounds):
                    continue
                yield replace(
                    choice, normal=oriented, chunk=chunk, a=chosen[0], b=chosen[1],
                    m_block=min(m, m_block), n_block=columns // tile.lanes * tile.lanes,
                )  # fmt: skip


def check_every_way(contract: Contract, buffers: dict[str, np.ndarray], expected: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the planner chooses, the bits are the same."""
    for choice in every_way(contract):
        monkeypatch.setattr(planning, "best_blocking", lambda *_, choice=choice: choice)
        buffers["out"] = np.zeros_like(buffers["out"])
        run(contract, buffers, split=3)
        np.testing.assert_array_equal(buffers["out"].view(np.uint8), expected.view(np.uint8), str((choice.a, choice.b, choice.m_block)))


@pytest.mark.parametrize(
    "contract",
    [
        matmul(147, 130, 70),
        matmul(147, 130, 70, order="km,nk,nm", batch=(2,)),
        matmul(60, 70, 40, types.complex64, order="km,nk,mn"),
        convolution(2, 9, 40, (11, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
        convolution(2, 9, 10, (11, 9), (3, 3), (2, 2), (1, 1), (1, 1), gradient="weight"),
        convolution(1, 6, 10, (11, 9), (3, 3), (2, 2), (1, 1), (1, 1), 2, channels_last=True),
    ],
    ids=["plain", "transposed", "complex", "convolution", "gradient", "channels_last"],
)
def test_every_way_gives_the_same_bits(contract, monkeypatch):
    buffers = buffers_of(contract)
    check_every_way(contract, buffers, reference(contract, buffers), monkeypatch)


@pytest.mark.parametrize("broadcast", ["", "a", "b"])
def test_batches(broadcast):
    check(matmul(20, 30, 40, batch=(2, 3), broadcast=broadcast))
    check(matmul(70, 64, 500, order="km,nk,mn", batch=(3,), broadcast=broadcast))


@pytest.mark.parametrize("of", [types.float32, types.float64, types.bfloat16, types.int64], ids=lambda of: of.name)
@pytest.mark.parametrize(("m", "k", "n"), [(13, 8, 37), (31, 1, 48), (6, 64, 16), (70, 3, 130), (25, 65, 33)])
@pytest.mark.parametrize("order", ["mk,kn,mn", "mk,nk,mn", "km,kn,mn", "mk,kn,nm"])
def test_register_tiles_of_short_sums_are_finished_in_registers(monkeypatch, of, m, k, n, order):
    """A bias and a residual, with a second result: as if sums waited in memory, also at the edges, which go there."""
    monkeypatch.setattr(planning, "_MANY", 1)
    target, compute = targets.named("x86-64-v3"), compute_dtype(of)
    plain = matmul(m, k, n, of, order=order)

    def body(builder, value, reads):
        total = builder.add(value, in_lanes(builder, reads[0], value))
        return [narrow(builder, total, of, compute), narrow(builder, builder.add(total, reads[1]), of, compute)]

    def contract(is_short: bool) -> Contract:
        return replace(
            plain, writes=(plain.out,), reads=(Operand(compute, (0, 1)), Operand(compute, plain.out.strides)),
            epilogue=Epilogue("add twice", body, is_short),
        )  # fmt: skip

    results = []
    for is_short in (False, True):
        made = plan(contract(is_short), target)
        if order == "mk,kn,mn" or not (
            is_short and k <= 64
        ):  # others may broadcast the other operand, whose rows are columns of the result
            assert ("@direct(" in made.calls[-1].source) == (is_short and k <= 64)
        buffers = {
            "a": numbers(m * k, of),
            "b": numbers(k * n, of, 1),
            "read0": numbers(n, compute, 2),
            "read1": numbers(m * n, compute, 3),
        }
        buffers |= {name: np.zeros(m * n, of.numpy) for name in ("out", "write0")}
        run(contract(is_short), buffers, target, split=2)
        results.append([buffers[name].view(np.uint8) for name in ("out", "write0")])
    for ordinary, direct in zip(*results, strict=True):
        np.testing.assert_array_equal(ordinary, direct)
    assert results[0][0].any()


def test_an_empty_sum_is_zero_whatever_memory_holds():
    contract = matmul(5, 0, 40)
    buffers = {"a": np.full(1, np.nan, np.float32), "b": np.full(1, np.nan, np.float32), "out": np.ones(200, np.float32)}
    run(contract, buffers)
    assert (buffers["out"] == 0).all()


@pytest.mark.parametrize(("m", "n", "batch"), [(0, 3, ()), (3, 0, ()), (3, 3, (2, 0))])
def test_an_empty_output_needs_no_call(m, n, batch):
    assert plan(matmul(m, 4, n, batch=batch), targets.current()).calls == []


CONVOLUTIONS = [
    (2, 3, 16, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 16, 40, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (3, 20, 33, (9, 11), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (2, 8, 12, (12, 10), (3, 2), (2, 3), (1, 0), (1, 2), 1),
    (1, 3, 64, (30, 30), (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (2, 12, 18, (8, 8), (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 6, 6, (9, 9), (5, 5), (1, 1), (2, 2), (1, 1), 6),
    (4, 5, 7, (50,), (9,), (1,), (4,), (1,), 1),
    (2, 64, 48, (40,), (5,), (2,), (0,), (3,), 1),
    (2, 4, 6, (5, 6, 7), (3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), 2),
    (1, 1, 1, (40, 40), (20, 20), (1, 1), (10, 10), (1, 1), 1),
    (1, 70, 20, (20, 20), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 21, 20, (32, 32), (2, 2), (1, 1), (1, 1), (1, 1), 1),  # rows of memory that evict each other
    # Stride and dilation are equal along a dimension without padding: its positions and its taps are equally far apart.
    (2, 8, 16, (14, 8), (3, 3), (2, 1), (0, 1), (2, 1), 2),
    (2, 9, 3, (13, 6, 2), (2, 4, 1), (3, 1, 1), (0, 1, 0), (3, 1, 1), 3),
    # Rows of one place are neighbours in memory, but not with their border.
    (1, 1, 1, (16, 1), (1, 2), (1, 1), (0, 1), (1, 1), 1),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("gradient", ["", "weight"])
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_convolution(shape, gradient, channels_last):
    check(convolution(*shape, channels_last=channels_last, gradient=gradient))


SPECIAL = ("best_sliding", "best_casting", "best_summing", "best_casting_sums", "best_skinny", "best_passing", "best_dot")
"""The ways that are no blocking."""


@pytest.fixture
def through_tables(monkeypatch):
    """Read the operand that has bounds, or axes of its own, through tables: where it lies, or in a copy that a call before or each tile makes."""

    def force(contract: Contract, where: str = "table", listed: bool = False, across: bool = False) -> bool:
        """Whether that can be done; if wanted with lists of the steps that exist, and with rows that go across images."""
        normal, tile = normalise(contract), register_tile(contract.a.dtype, targets.current())
        for oriented in (normal, normal.swapped()):
            if across and (oriented := across_images(oriented)) is None:
                continue
            if oriented.a.bounds or (oriented.is_swapped and not oriented.b.bounds):
                if oriented.a.bounds and bordered(oriented.a, [*oriented.batch, *oriented.m, *oriented.k], tile) is None:
                    return False
                choice = best_blocking(oriented, tile, targets.current())
                sides = [
                    describe_side(oriented, column, lanes, oriented.chain, tile, left=left)
                    for column, lanes, left in ((oriented.a, oriented.m, True), (oriented.b, oriented.n, False))
                ]
                a, b = (replace(side, where=each) for side, each in zip(sides, (where, "tile"), strict=True))
                if where == "band":
                    a.band = band(oriented.a, oriented.m, oriented.k, oriented.batch, tile)
                    if a.band is None:
                        return False
                if listed:
                    a.listings = listing(oriented, oriented.chain)
                    if not a.listings:
                        return False
                if where == "strip":
                    outer, cut, *inner = [oriented.k[: oriented.split], *oriented.k[oriented.split :]]
                    a.strip = strip(oriented.a, outer, cut, [*oriented.m, *inner], oriented.batch, tile)
                    if a.strip is None:
                        return False
                m, n = (prod(axis[0] for axis in group) for group in (oriented.m, oriented.n))
                made = replace(
                    choice,
                    normal=oriented,
                    chunk=min(oriented.chain, 3) if where == "strip" else oriented.chain,
                    a=a,
                    b=b,
                    m_block=min(m, 44),
                    n_block=min(n // tile.lanes + 1, 2) * tile.lanes,
                )
                monkeypatch.setattr(planning, "best_blocking", lambda *_, made=made: made)
                for special in SPECIAL:
                    monkeypatch.setattr(planning, special, lambda *_: None)
                return True
        return False

    return force


TABLES = [(shape, channels_last, types.float32) for shape in CONVOLUTIONS for channels_last in (False, True)]
# Other dtypes are copied, with their border, alike whatever the order.
TABLES += [(shape, True, of) for shape in CONVOLUTIONS if any(shape[6]) for of in (types.float64, types.bfloat16, types.int16)]


@pytest.mark.parametrize(("shape", "channels_last", "of"), TABLES, ids=lambda each: getattr(each, "name", str(each)))
def test_windows_are_read_through_tables(through_tables, shape, channels_last, of):
    contract = convolution(*shape, of, channels_last=channels_last)
    is_nest = shape[6] != (1, 0, 1)  # a volume that is padded along every other dimension is none
    assert through_tables(contract) is is_nest
    check(contract, split=3)


WITH_BORDERS = [
    (shape, channels_last, of) for shape, channels_last, of in TABLES if any(shape[6]) and (channels_last or of is types.float32)
]


@pytest.mark.parametrize(("shape", "channels_last", "of"), WITH_BORDERS, ids=lambda each: getattr(each, "name", str(each)))
def test_tiles_copy_what_they_read_with_its_border(through_tables, shape, channels_last, of):
    contract = convolution(*shape, of, channels_last=channels_last)
    is_nest = shape[6] != (1, 0, 1)
    assert through_tables(contract, "band") is is_nest
    for split in (1, 3):
        check(contract, split=split)


LISTED = [
    *WITH_BORDERS,
    # Places without any tap; more kinds of places than there are lists; rows in each other's place in every image.
    *[((3, 7, 20, (5, 6), (1, 1), (1, 1), (2, 1), (1, 1), 1), channels_last, types.float32) for channels_last in (False, True)],
    *[((2, 7, 33, (12, 12), (9, 9), (1, 1), (4, 4), (1, 1), 1), channels_last, types.float32) for channels_last in (False, True)],
    *[((8, 40, 33, (7, 5), (3, 3), (1, 1), (1, 1), (1, 1), 1), channels_last, types.float32) for channels_last in (False, True)],
]


@pytest.mark.parametrize(("where", "across"), [("table", False), ("band", False), ("table", True)])
@pytest.mark.parametrize(("shape", "channels_last", "of"), LISTED, ids=lambda each: getattr(each, "name", str(each)))
def test_padding_is_not_multiplied(through_tables, shape, channels_last, of, where, across):
    contract = convolution(*shape, of, channels_last=channels_last)
    images, sizes, kernel, padding = shape[0], shape[3], shape[4], shape[6]
    has_lists = padding != (1, 0, 1) and prod(kernel) <= TERMS  # the copy is a nest, and no chain ends among taps
    free = [images, *[size for size, border in zip(sizes, padding, strict=True) if not border]]
    has_other_order = sum(extent > 1 for extent in free) == 1  # one axis of rows, mostly images, that no bound is about
    assert through_tables(contract, where, listed=True, across=across) is (has_lists and (has_other_order or not across))
    if has_lists and (has_other_order or not across):
        assert "@lists(" in plan(contract, targets.current()).calls[-1].source
        for split in (1, 3):
            check(contract, split=split)


def test_what_is_infinite_may_meet_padding(through_tables):
    """The product of an infinite weight with padding is NaN or left out; all other results are what they are elsewhere."""
    contract = convolution(2, 3, 3, (8, 9), (3, 3), (1, 1), (1, 1), (1, 1))
    assert through_tables(contract, listed=True)
    buffers = {"a": np.full(81, np.inf, np.float32), "b": np.ones(432, np.float32), "out": np.zeros(432, np.float32)}
    expected = reference(contract, buffers)
    run(contract, buffers)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(buffers["out"][known], expected[known])
    assert 0 < known.sum() < known.size


@pytest.mark.parametrize(("images", "size", "part"), [(8, 7, (19 / 21) ** 2), (8, 14, (40 / 42) ** 2), (1, 8, (22 / 24))])
def test_how_many_products_exist(images, size, part):
    """Of one place in eight images all padding is left out, of rows of eight places that of the first and the last row."""
    normal = normalise(convolution(images, 40, 32, (size, size), (3, 3), (1, 1), (1, 1), (1, 1))).swapped()
    rows = (across_images(normal) if images > 1 else None) or normal
    assert existing(rows, 8, False) == pytest.approx(part)


@pytest.mark.parametrize("channels_last", [True, False])
def test_tables_of_vectors_of_two_numbers(channels_last):
    """Tables are written four numbers at a time, more than such a vector has: what lies behind them stays as it is."""
    sse = targets.named("x86-64-v2")
    for shape in ((1, 3, 33, (9, 9), (7, 7), (2, 2), (3, 3), (1, 1), 1), (2, 20, 64, (9, 9), (3, 3), (2, 2), (1, 1), (1, 1), 1)):
        check(convolution(*shape, types.float64, channels_last=channels_last), sse)


@pytest.mark.parametrize("where", ["table", "band"])
def test_kernels_of_long_vectors(through_tables, monkeypatch, where):
    """Those that AVX-512 has, compiled for this processor: register tiles of 14 rows, but of 8 where each row has an address."""
    wide = replace(targets.current(), vector_bits=512, vector_registers=32)
    monkeypatch.setattr(targets, "current", lambda: wide)
    check(matmul(37, 300, 40))
    contract = convolution(2, 16, 40, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1))
    assert through_tables(contract, where)
    check(contract, split=1)


@pytest.mark.parametrize(("shape", "channels_last", "of"), WITH_BORDERS, ids=lambda each: getattr(each, "name", str(each)))
def test_tiles_copy_what_a_block_of_the_sum_reads(through_tables, shape, channels_last, of):
    """Gradients by the weight: a block sums over a few rows of positions."""
    contract = convolution(*shape, of, channels_last=channels_last, gradient="weight")
    if through_tables(contract, "strip"):
        check(contract, split=2)


def test_gradients_by_the_weight_copy_rows_of_the_image():
    contract = convolution(4, 128, 128, (56, 56), (3, 3), (2, 2), (1, 1), (1, 1), channels_last=True, gradient="weight")
    target = replace(targets.named("x86-64-v4"), l1_bytes=48 << 10, l2_bytes=2 << 20)  # whatever this machine has
    choice = best_blocking(normalise(contract), register_tile(types.float32, target), target)
    assert choice.a.where == "strip"


def test_what_lies_beside_scattered_sums_counts(monkeypatch):
    """Momentum behind a gradient by the weight: column by column each of its lines would be fetched for every few numbers."""
    monkeypatch.setattr(targets, "available_cores", lambda: 2)
    target = replace(targets.named("x86-64-v4"), cpu="znver4", l1_bytes=32 << 10, l2_bytes=1 << 20)
    contract = convolution(4, 256, 256, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1), gradient="weight")
    for beside, has_near_columns in (((), False), ((contract.out, contract.out), True)):
        normal = best_blocking(normalise(replace(contract, reads=beside)), register_tile(types.float32, target), target).normal
        assert (normal.n[-1][normal.out.index] == 1) == has_near_columns


PIXELS = [
    (2, 32, 18, (9, 7), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (3, 64, 5, (12, 10), (3, 2), (2, 3), (1, 1), (1, 2), 1),
    (2, 64, 12, (40,), (5,), (2,), (3,), (2,), 2),
    (1, 32, 7, (5, 6, 7), (3, 2, 3), (1, 2, 1), (1, 1, 2), (1, 1, 1), 1),
]


@pytest.mark.parametrize("of", [types.float32, types.float64, types.bfloat16, types.int16], ids=lambda of: of.name)
@pytest.mark.parametrize("where", ["tile", "call"])
@pytest.mark.parametrize("shape", PIXELS, ids=str)
def test_channels_of_a_pixel_are_packed_together(monkeypatch, shape, where, of):
    """Gradients by the weight with the channels innermost, without mask registers: a pixel's channels all exist, or none does."""
    short = replace(targets.current(), vector_bits=256, vector_registers=16, has_amx=False)
    monkeypatch.setattr(targets, "current", lambda: short)
    contract, tile = convolution(*shape, of, channels_last=True, gradient="weight"), register_tile(of, short)
    channels, *kernel = contract.n
    group, row, *taps, channel = row_major(*contract.batch, *contract.m, *kernel, channels)  # the weight has its channels innermost, too
    contract = replace(contract, out=replace(contract.out, strides=(group, row, channel, *taps)))
    normal = normalise(contract)
    normal = normal if normal.b.bounds else normal.swapped()
    choice = best_blocking(normal, tile, short)
    sides = [
        describe_side(normal, column, lanes, normal.chain, tile, left=left)
        for column, lanes, left in ((normal.a, normal.m, True), (normal.b, normal.n, False))
    ]
    assert sides[1].mode == "together"
    a, b = (replace(side, where=each) for side, each in zip(sides, ("tile", where), strict=True))
    made = replace(
        choice, normal=normal, chunk=normal.chain, a=a, b=b, m_block=min(prod(axis[0] for axis in normal.m), 11), n_block=2 * tile.lanes
    )
    monkeypatch.setattr(planning, "best_blocking", lambda *_: made)
    for special in ("best_sliding", "best_summing", "best_casting_sums", "best_skinny", "best_passing"):
        monkeypatch.setattr(planning, special, lambda *_: None)
    check(contract, split=3)


def random_convolution(seed: int, gradient: str = "") -> Contract:
    """Windows of any dimension; stride and dilation are equal in a third of its dimensions, and a third have no padding."""
    random_ = random.Random(seed)
    kernel, stride, padding, dilation, size = [], [], [], [], []
    for _ in range(random_.randint(1, 3)):
        kernel.append(random_.choice([1, 2, 3, 4]))
        stride.append(random_.choice([1, 1, 2, 3]))
        dilation.append(random_.choice([stride[-1], 1, 2]))
        padding.append(random_.choice([0, 1, 3]))
        reach = dilation[-1] * (kernel[-1] - 1) + 1
        size.append(random_.randint(max(1, reach - 2 * padding[-1]), reach + 9))
    groups = random_.choice([1, 1, 2, 3])
    channels = [groups * random_.choice([1, 2, 5, 8, 17]) for _ in range(2)]
    settings = (tuple(each) for each in (size, kernel, stride, padding, dilation))
    return convolution(random_.randint(1, 4), *channels, *settings, groups, channels_last=random_.random() < 0.6, gradient=gradient)


@pytest.mark.parametrize("seed", range(40))
def test_any_windows_are_read_through_tables(through_tables, seed):
    contract = random_convolution(seed)
    for where in ("table", "band", "strip"):
        if through_tables(contract, where):
            check(contract, split=2)
    contract = random_convolution(seed, "weight")
    if through_tables(contract, "strip"):
        check(contract, split=2)


def test_a_band_has_all_that_a_block_of_rows_reads():
    normal = normalise(convolution(2, 8, 16, (9, 7), (3, 3), (1, 1), (1, 1), (1, 1), channels_last=True)).swapped()
    found = band(normal.a, normal.m, normal.k, normal.batch, register_tile(types.float32, targets.current()))
    row = found.copy.row
    assert row == (7 + 2) * 8
    assert found.numbers(2 * 9 * 7) == found.copy.numbers == 2 * (9 + 2) * row
    assert found.numbers(7) == 3 * row
    assert found.numbers(8, tiles=1) == 4 * row  # and one place of the next row of the image
    assert found.numbers(8) == 6 * row  # places of two images


def test_channels_last_is_read_through_tables():
    normal = normalise(convolution(2, 64, 64, (56, 56), (3, 3), (1, 1), (1, 1), (1, 1), channels_last=True))
    choice = best_blocking(normal, register_tile(types.float32, targets.current()), targets.current())
    assert choice.a.where in ("table", "band")
    assert choice.normal.is_swapped


def test_rows_that_evict_each_other_are_copied_panel_by_panel():
    """14 rows that are 4 KiB apart, and 12 ways."""
    target = replace(targets.named("x86-64-v4"), l1_bytes=48 << 10, l2_bytes=2 << 20)
    tile = register_tile(types.float32, target)
    assert best_blocking(normalise(matmul(512, 1024, 512)), tile, target).a.where == "panel"
    assert best_blocking(normalise(matmul(512, 1040, 512)), tile, target).a.where == "place"


def test_an_operand_whose_lines_evict_each_other_is_not_read_in_place():
    """3 x 3 windows of 512 channels: taps of a weight with its channels innermost are 2 KiB apart."""
    contract = convolution(1, 512, 512, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), channels_last=True)
    weight = replace(contract.a, strides=(0, 512 * 4608, 4608, 1, 3 * 512, 512))
    normal = normalise(replace(contract, a=weight))
    choice = best_blocking(normal, register_tile(types.float32, targets.current()), targets.current())
    assert choice.normal.a.bounds  # what is read through tables is the image, which has a border


@pytest.mark.parametrize(
    ("strides", "bounds", "extents"),
    [((1, 0), ((1, 0), (0, 1)), (4, 5)), ((7, 1), ((1, 1),), (4, 5)), ((-1, 20), ((0, 1),), (4, 5)), ((1, 5), ((0, 1),), (9, 5))],
    ids=["no stride", "one coordinate for both", "backwards", "runs overlap"],
)
def test_memory_that_is_no_nest_gets_no_border(strides, bounds, extents):
    operand = Operand(types.float32, strides, 0, tuple(Bound(each, -1, 3) for each in bounds))
    columns = Column(operand, 1, tuple(range(2, 2 + len(bounds))))
    axes = [(extent, stride, *[each[i] for each in bounds]) for i, (extent, stride) in enumerate(zip(extents, strides, strict=True))]
    assert bordered(columns, axes, register_tile(types.float32, targets.current())) is None


@pytest.mark.parametrize("of", [types.float64, types.bfloat16, types.float16, types.complex64, types.int16], ids=lambda of: of.name)
@pytest.mark.parametrize("gradient", ["", "weight"])
def test_convolution_dtypes(of, gradient):
    check(convolution(2, 6, 20, (9, 7), (3, 3), (1, 1), (1, 1), (1, 1), 2, of, gradient=gradient))


@pytest.mark.parametrize("split", [1, 3])
def test_tiles_are_independent(split):
    check(matmul(300, 400, 300, order="km,nk,mn"), split=split)
    check(convolution(2, 64, 70, (20, 20), (3, 3), (1, 1), (1, 1), (1, 1)), split=split)
    check(convolution(2, 30, 70, (20, 20), (3, 3), (1, 1), (1, 1), (1, 1), gradient="weight"), split=split)


def random_contract(seed: int) -> Contract:
    """Any affine accesses: a few axes in each group, random memory orders, gaps, steps, and bounds."""
    random_ = random.Random(seed)
    groups = [tuple(random_.choice([1, 2, 3, 5, 8, 17, 33]) for _ in range(random_.randint(0, 2 + (i > 0)))) for i in range(4)]
    while prod(prod(group) for group in groups) > 300_000:
        groups = [tuple(max(1, extent // 2) for extent in group) for group in groups]
    batch, m, n, k = groups

    def operand(extents: tuple[int, ...], repeats: bool, bounds: bool) -> Operand:
        order = list(range(len(extents)))
        random_.shuffle(order)
        strides, step = [0] * len(extents), 1
        for axis in order:
            strides[axis] = step
            if repeats and random_.random() < 0.2:
                strides[axis] = random_.choice([0, 1, 2])  # overlaps, as windows do
            else:
                step = step * extents[axis] + random_.choice([0, 0, 0, 3])
        made = []
        for _ in range(random_.randint(0, 2) if bounds else 0):
            coefficients = tuple(random_.choice([0, 0, 1, 2]) for _ in extents)
            reach = sum(c * (extent - 1) for c, extent in zip(coefficients, extents, strict=True))
            made.append(Bound(coefficients, -random_.randint(0, 3), max(1, reach - random_.randint(0, 3))))
        return Operand(types.float32, tuple(strides), random_.choice([0, 7]), tuple(made))

    a, b, out = operand(batch + m + k, True, True), operand(batch + k + n, True, True), operand(batch + m + n, False, False)
    return Contract(batch, m, n, k, a, b, out)


@pytest.mark.parametrize("seed", range(60))
def test_random_accesses(seed):
    check(random_contract(seed))


@pytest.mark.parametrize("of", [types.float32, types.bfloat16, types.complex64], ids=lambda of: of.name)
def test_every_other_element_of_the_output(of):
    """The gradient of a convolution of stride 2 is computed a phase at a time."""
    contract = convolution(2, 5, 6, (11, 70), (3, 3), (1, 1), (1, 1), (1, 1), of=of)
    out = contract.out
    check(replace(contract, out=replace(out, strides=tuple(2 * stride for stride in out.strides), offset=1)))


@pytest.mark.parametrize("of", [types.float32, types.bfloat16, types.complex64], ids=lambda of: of.name)
@pytest.mark.parametrize("taps", [1, 2, 4, 13])
def test_every_other_tap(taps, of):
    """A phase of a transposed convolution: rows of the left operand are short runs of every other number, from the last one on or from the first."""
    for step in (2, -2):
        rows, channels, columns = 37, 9, 40
        offset = 0 if step > 0 else 2 * (taps - 1)
        a = Operand(of, (2 * taps * channels, 2 * taps, step), offset)
        b = Operand(of, (taps * columns, columns, 1))
        check(Contract((), (rows,), (columns,), (channels, taps), a, b, Operand(of, (columns, 1))))


def test_negative_strides():
    """A flipped kernel, as an input's gradient has."""
    contract = matmul(20, 30, 40)
    a = replace(contract.a, strides=(30, -1), offset=29)
    check(replace(contract, a=a))
    check(replace(contract, b=replace(contract.b, strides=(40, -1), offset=39)))
    check(replace(contract, out=replace(contract.out, strides=(40, -1), offset=39)))


def bias(contract: Contract, strides: tuple[int, ...]) -> Contract:
    """Add a further operand to the sum, then round to the output's dtype."""
    of, compute = contract.out.dtype, compute_dtype(contract.out.dtype)

    def body(builder, value, reads):
        return [narrow(builder, builder.add(value, in_lanes(builder, reads[0], value)), of, compute)]

    return replace(contract, reads=(Operand(of, strides),), epilogue=Epilogue("add", body))


@pytest.mark.parametrize("of", [types.float32, types.bfloat16], ids=lambda of: of.name)
@pytest.mark.parametrize("strides", [(1, 0), (0, 1), (45, 1), (1, 20)], ids=["rows", "columns", "along", "both"])
def test_epilogue(strides, of):
    plain = matmul(20, 300, 45, of)
    contract = bias(plain, strides)
    buffers = buffers_of(plain)
    added = numbers(needed(contract.reads[0], (20, 45)), of, 7)
    sums = {"a": buffers["a"], "b": buffers["b"], "out": np.zeros(20 * 45, np.float32)}
    reference_sums = reference(replace(plain, out=replace(plain.out, dtype=types.float32)), sums)
    run(contract, buffers | {"read0": added})
    addend = added[positions(contract.reads[0], (20, 45)).reshape(-1)]
    if of is types.bfloat16:
        expected = reference_sums + (addend.astype(np.uint32) << 16).view(np.float32)
        bits = expected.view(np.uint32)
        expected = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    else:
        expected = reference_sums + addend
    np.testing.assert_array_equal(buffers["out"], expected)


@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v2"])
def test_other_targets_give_the_same_bits(name):
    target = targets.named(name)
    check(matmul(33, 70, 50, order="mk,nk,mn"), target)
    check(matmul(20, 30, 40, types.float64), target)
    check(matmul(20, 30, 40, types.float16), target)
    check(matmul(9, 10, 11, types.complex64), target)
    for gradient in ("", "weight"):
        check(convolution(1, 6, 8, (9, 7), (3, 3), (1, 1), (1, 1), (1, 1), gradient=gradient), target)


@pytest.mark.parametrize("count", range(1, 60))
def test_rows_are_split_completely(count):
    assert sum(split_rows(count, (14, 8, 4, 1))) == count
