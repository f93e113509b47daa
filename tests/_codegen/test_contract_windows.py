"""The kernels for windows and for few rows give the bits of a plain chain of multiply-adds, whatever the planner thinks of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flambeau._codegen.contract import Contract, Epilogue, Operand, planning
from flambeau._codegen.contract.arithmetic import compute_dtype, narrow, register_tile
from flambeau._codegen.contract.casting import best_casting
from flambeau._codegen.contract.dot import best_dot
from flambeau._codegen.contract.normal import normalise
from flambeau._codegen.contract.passing import best_passing
from flambeau._codegen.contract.skinny import best_skinny
from flambeau._codegen.contract.sliding import best_sliding
from flambeau._codegen.contract.sliding_kernel import Slide
from flambeau._codegen.contract.summing import best_casting_sums, best_summing
from flambeau._runtime import targets
from flambeau._types import dtype as types
from tests._codegen.contractions import DTYPES, check, convolution, in_lanes, matmul, numbers, reference, run

FINDERS = {
    "best_sliding": best_sliding, "best_casting": best_casting, "best_summing": best_summing, "best_casting_sums": best_casting_sums,
    "best_skinny": best_skinny, "best_passing": best_passing, "best_dot": best_dot,
}  # fmt: skip


@pytest.fixture
def only(monkeypatch):
    """Let one way win, and no other be used; returns whether it fits a contraction."""

    def choose(wanted: str, contract: Contract, target: targets.Target | None = None) -> bool:
        for name, find in FINDERS.items():

            def chosen(*arguments, name=name, find=find):
                choice = find(*arguments) if name == wanted else None
                return choice and replace(choice, cycles=0.0)

            monkeypatch.setattr(planning, name, chosen)
        target = target or targets.current()
        normal, tile = normalise(contract), register_tile(contract.a.dtype, target)
        return normal is not None and FINDERS[wanted](contract, normal, tile, target) is not None

    return choose


# batch, channels in, channels out, size, kernel, stride, padding, dilation, groups
DEPTHWISE = [
    (2, 18, 18, (20, 40), (3, 3), (1, 1), (1, 1), (1, 1), 18),
    (2, 5, 10, (20, 40), (3, 5), (2, 2), (1, 2), (1, 2), 5),
    (1, 20, 20, (33, 21), (7, 7), (1, 1), (3, 3), (1, 1), 20),
    (2, 33, 33, (9, 7), (5, 5), (1, 1), (2, 2), (1, 1), 33),
    (2, 4, 4, (14, 50), (3, 3), (1, 1), (0, 0), (1, 1), 4),
    (3, 17, 17, (7, 7), (3, 3), (2, 2), (1, 1), (1, 1), 17),
]
GROUPED = [
    (2, 12, 18, (8, 8), (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 8, 24, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1), 2),
    (2, 8, 8, (14, 50), (3, 3), (3, 3), (1, 1), (1, 1), 4),
    (2, 64, 64, (9, 13), (3, 3), (1, 1), (2, 2), (2, 2), 4),
    (2, 4, 6, (5, 6, 7), (3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), 2),
    (2, 40, 40, (50,), (9,), (1,), (4,), (1,), 20),
]
DENSE = [
    (2, 3, 16, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 3, 64, (30, 30), (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (2, 8, 12, (12, 10), (3, 2), (2, 3), (1, 0), (1, 2), 1),
    (2, 10, 7, (19, 20), (1, 3), (1, 1), (0, 1), (1, 1), 1),
    (2, 10, 7, (19, 20), (3, 1), (1, 1), (1, 0), (1, 1), 1),
]
LONG = [
    (1, 50, 4, (6, 20), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 300, 3, (4, 20), (2, 2), (1, 1), (0, 0), (1, 1), 1),
]
"""Sums of several chains."""
LONG_GRADIENTS = [
    (13, 18, 18, (7, 7), (3, 3), (1, 1), (1, 1), (1, 1), 18),
    (3, 8, 8, (6, 6, 9), (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 4),
    (2, 5, 10, (60, 80), (3, 5), (2, 2), (1, 2), (1, 2), 5),
    (2, 6, 6, (60, 34), (3, 3), (1, 1), (1, 1), (1, 1), 3),
    (2, 4, 4, (5, 700), (3, 3), (1, 1), (1, 1), (1, 1), 4),
]
"""Their sums are cut along the samples, along the planes of a volume, along rows and along columns."""


INNERMOST = [
    (2, 128, 128, (5, 14), (3, 3), (1, 1), (1, 1), (1, 1), 8),
    (3, 24, 40, (9, 37), (3, 3), (1, 1), (1, 1), (1, 1), 2),
    (2, 48, 21, (12, 40), (5, 3), (2, 2), (2, 1), (1, 1), 3),
    (2, 20, 20, (7, 3), (3, 3), (1, 1), (2, 2), (2, 2), 1),
    (1, 60, 12, (5, 4), (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 3, 17, (30, 30), (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (2, 12, 12, (2, 2), (3, 3), (1, 1), (1, 1), (1, 1), 2),
    (2, 8, 24, (60,), (5,), (1,), (2,), (1,), 1),
]
"""Groups of several channels that are innermost: sums of several chains, few and many positions, groups and lanes that are no multiple of anything."""


@pytest.mark.parametrize("split", [None, 1])
@pytest.mark.parametrize("shape", [*LONG, *DEPTHWISE, *GROUPED, *DENSE], ids=str)
def test_windows_slide(only, shape, split):
    contract = convolution(*shape)
    assert only("best_sliding", contract)
    check(contract, split=split)


@pytest.mark.parametrize("shape", DEPTHWISE, ids=str)
def test_windows_slide_with_channels_innermost(only, shape):
    contract = convolution(*shape, channels_last=True)
    assert only("best_sliding", contract)
    check(contract, split=1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [*LONG_GRADIENTS, *DEPTHWISE, *GROUPED], ids=str)
def test_gradients_by_the_weight(only, shape, channels_last):
    contract = convolution(*shape, channels_last=channels_last, gradient="weight")
    assert only("best_summing", contract)
    check(contract)
    check(contract, split=1)


@pytest.mark.parametrize("split", [None, 1])
@pytest.mark.parametrize("shape", INNERMOST, ids=str)
@pytest.mark.parametrize(("gradient", "finder"), [("", "best_casting"), ("weight", "best_casting_sums")])
def test_numbers_of_pixels_are_broadcast(only, gradient, finder, shape, split):
    contract = convolution(*shape, channels_last=True, gradient=gradient)
    assert only(finder, contract)
    check(contract, split=split)


@pytest.mark.parametrize("split", [None, 1])
@pytest.mark.parametrize("shape", [*INNERMOST, *DENSE], ids=str)
def test_numbers_of_planes_are_broadcast(only, shape, split):
    """Contiguous images: a band is a few rows of each plane, and results are transposed."""
    contract = convolution(*shape)
    assert only("best_casting", contract)
    check(contract, split=split)


@pytest.mark.parametrize("of", [of for of in DTYPES if not of.is_complex], ids=lambda of: of.name)
def test_dtypes_of_pixels(only, of):
    for gradient, finder, channels_last in (("", "best_casting", True), ("", "best_casting", False), ("weight", "best_casting_sums", True)):
        contract = convolution(2, 24, 20, (9, 13), (3, 3), (1, 1), (1, 1), (1, 1), 2, of, channels_last=channels_last, gradient=gradient)
        assert only(finder, contract)
        check(contract)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("of", [of for of in DTYPES if not of.is_complex], ids=lambda of: of.name)
def test_dtypes_of_windows(only, of, channels_last):
    for stride, groups, channels in ((1, 6, 6), (2, 2, 8)):
        shape = (2, channels, channels, (9, 37), (3, 3), (stride, stride), (1, 1), (1, 1), groups)
        for gradient, finder in (("", "best_sliding"), ("weight", "best_summing")):
            contract = convolution(*shape, of, channels_last=channels_last, gradient=gradient)
            only(finder, contract)
            check(contract)


@pytest.mark.parametrize(("finder", "groups"), [("best_sliding", 6), ("best_casting", 2)])
def test_a_flipped_kernel(only, finder, groups):
    """The gradient by the input reads its windows backwards."""
    contract = convolution(2, 6, 6, (12, 20), (3, 3), (1, 1), (2, 2), (1, 1), groups, channels_last=finder == "best_casting")
    b = contract.b
    taps = slice(3, 5)  # batch, groups, channels in, then the places of the kernel
    move = sum(2 * stride for stride in b.strides[taps])

    def flipped(values: tuple[int, ...]) -> tuple[int, ...]:
        return (*values[:3], *[-value for value in values[taps]], *values[5:])

    bounds = tuple(bound._replace(coefficients=flipped(bound.coefficients), start=bound.start + 2) for bound in b.bounds)
    contract = replace(contract, b=replace(b, strides=flipped(b.strides), offset=b.offset + move, bounds=bounds))
    assert only(finder, contract)
    check(contract)


def test_every_other_element_of_the_output(only):
    """A phase of a transposed convolution of stride 2."""
    contract = convolution(2, 6, 6, (11, 40), (3, 3), (1, 1), (1, 1), (1, 1), 6)
    contract = replace(contract, out=replace(contract.out, strides=tuple(2 * stride for stride in contract.out.strides), offset=1))
    assert only("best_sliding", contract)
    check(contract)


@pytest.mark.parametrize("channels_last", [False, True])
def test_what_padding_hides_is_not_multiplied(only, channels_last):
    """Padding reads as 0: what lies outside is not touched, but an infinite weight makes its product NaN, as a chain does."""
    contract = convolution(1, 3, 3, (8, 9), (3, 3), (1, 1), (1, 1), (1, 1), 3, channels_last=channels_last)
    assert only("best_sliding", contract)
    buffers = {"a": np.full(27, np.inf, np.float32), "b": np.ones(216, np.float32), "out": np.zeros(216, np.float32)}
    expected = reference(contract, buffers)
    run(contract, buffers)
    np.testing.assert_array_equal(buffers["out"], expected)
    assert np.isnan(expected).any() and np.isinf(expected).any()


@pytest.mark.parametrize(
    ("finder", "channels_last"),
    [
        ("best_sliding", False),
        ("best_sliding", True),
        ("best_casting", True),
        ("best_casting", False),
        ("best_summing", False),
        ("best_casting_sums", True),
        ("best_skinny", False),
        ("best_passing", False),
    ],
)
@pytest.mark.parametrize("of", [types.float32, types.bfloat16], ids=lambda of: of.name)
def test_endings(only, finder, channels_last, of):
    """A bias, a residual and a second result; the sum itself is rounded as if nothing followed."""
    target = targets.named("x86-64-v3") if finder == "best_passing" else targets.current()
    of_rows = finder in ("best_skinny", "best_passing")
    if of_rows:
        plain = matmul(2, 40, 37, of, order="mk,nk,mn" if finder == "best_skinny" else "mk,kn,mn")
    else:
        gradient = "weight" if finder in ("best_summing", "best_casting_sums") else ""
        groups = 4 if finder.startswith("best_casting") else 20
        plain = convolution(2, 20, 20, (9, 21), (3, 3), (1, 1), (1, 1), (1, 1), groups, of, channels_last, gradient)
    extents = plain.batch + plain.m + plain.n
    constant = tuple(int(axis == len(plain.batch) + len(plain.m) - 1 - (not of_rows)) for axis in range(len(extents)))
    compute = compute_dtype(of)

    def body(builder, value, reads):
        total = builder.add(value, in_lanes(builder, reads[0], value))
        return [narrow(builder, total, of, compute), narrow(builder, builder.mul(total, reads[1]), of, compute)]

    contract = replace(
        plain, writes=(plain.out,), reads=(Operand(types.float32, constant), Operand(types.float32, plain.out.strides)),
        epilogue=Epilogue("add and multiply", body),
    )  # fmt: skip
    assert only(finder, contract, target)
    sizes = {name: int(np.prod(extents)) for name in ("out", "write0", "read1")}
    wide = replace(plain, out=replace(plain.out, dtype=types.float32))
    a, b = numbers(20_000, of), numbers(20_000, of, 1)
    sums = reference(wide, {"a": a, "b": b, "out": np.zeros(sizes["out"], np.float32)}, target)
    bias, factor = numbers(100, types.float32, 5), numbers(sizes["read1"], types.float32, 6)
    added = np.zeros_like(sums)
    index = np.indices(extents).reshape(len(extents), -1)
    place = np.tensordot(np.array(plain.out.strides), index, 1)
    added[place] = bias[np.tensordot(np.array(constant), index, 1)]
    total = sums + added
    expected = [total, total * factor]
    if of is types.bfloat16:
        words = [each.view(np.uint32) for each in expected]
        expected = [((each + 0x7FFF + ((each >> 16) & 1)) >> 16).astype(np.uint16) for each in words]
    storage = np.float32 if of is types.float32 else np.uint16
    results = [np.zeros(sizes["out"], storage) for _ in range(2)]
    run(contract, {"a": a, "b": b, "out": results[0], "write0": results[1], "read0": bias, "read1": factor}, target)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("of", [of for of in DTYPES if not of.is_complex], ids=lambda of: of.name)
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [
        (1, 100, 37),
        (2, 700, 20),
        (1, 1100, 21),
        (1, 1024, 21),
        (2, 256, 24),
        (3, 64, 33),
        (50, 70, 1),
        (33, 33, 4),
        (1, 64, 5),
        (5, 300, 37),
        (8, 70, 21),
    ],
)
def test_few_rows(only, m, k, n, of):
    order = "mk,nk,mn" if m <= 8 else "mk,kn,mn"
    for batch in ((), (3,)):
        contract = matmul(m, k, n, of, order=order, batch=batch)
        only("best_skinny", contract)
        check(contract, split=2)


@pytest.mark.parametrize("of", [of for of in DTYPES if not of.is_complex], ids=lambda of: of.name)
@pytest.mark.parametrize(("m", "k", "n"), [(1, 100, 137), (2, 700, 72), (1, 3, 33), (150, 70, 1), (2, 33, 1100), (3, 301, 50)])
def test_rows_pass_by(only, m, k, n, of):
    """Up to three rows by a matrix in row-major order, and the other way around, where vectors are short."""
    target = targets.named("x86-64-v3")
    order = "mk,kn,mn" if m <= 3 else "km,kn,mn"
    for batch in ((), (3,)):
        contract = matmul(m, k, n, of, order=order, batch=batch)
        assert only("best_passing", contract, target)
        check(contract, target, split=2)


@pytest.mark.parametrize("of", [of for of in DTYPES if not of.is_complex], ids=lambda of: of.name)
@pytest.mark.parametrize("k", [1, 3, 256, 257, 700, 1024, 1850])
def test_one_row_by_one_column(only, k, of):
    """Four chains side by side, two, and one that may be shorter, of vectors whose numbers may lie apart."""
    for order, batch in (("mk,kn,mn", ()), ("km,nk,mn", (3,))):
        contract = matmul(1, k, 1, of, order=order, batch=batch)
        assert only("best_dot", contract)
        check(contract, split=2)
        apart = replace(contract, a=replace(contract.a, strides=tuple(3 * stride for stride in contract.a.strides)))
        check(apart)


def test_a_chain_that_ends_in_minus_zero_is_stored_as_it_is(only):
    contract = matmul(1, 2, 1)
    assert only("best_dot", contract)
    buffers = {"a": np.array([0, 1e-30], np.float32), "b": np.array([0, -1e-30], np.float32), "out": np.ones(1, np.float32)}
    assert np.signbit(reference(contract, buffers)[0])
    run(contract, buffers)
    assert buffers["out"][0] == 0 and np.signbit(buffers["out"][0])


@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v2"])
def test_other_targets(only, name):
    target = targets.named(name)
    ways = (("", "best_sliding"), ("weight", "best_summing"), ("", "best_casting"), ("weight", "best_casting_sums"))
    for (gradient, finder), channels_last in [*[(way, way[1].startswith("best_casting")) for way in ways], (ways[2], False)]:
        groups = 2 if finder.startswith("best_casting") else 6
        contract = convolution(1, 6, 6, (9, 17), (3, 3), (1, 1), (1, 1), (1, 1), groups, channels_last=channels_last, gradient=gradient)
        assert only(finder, contract, target)
        check(contract, target)
    for length in (40, 1024, 1100):  # of 1024 terms, whose lines evict each other, several chains go side by side
        contract = matmul(1, length, 21, order="mk,nk,mn")
        assert only("best_skinny", contract, target)
        check(contract, target)


@pytest.mark.parametrize("slide", [Slide(3, 1, 1), Slide(3, 2, 1), Slide(5, 1, 2), Slide(3, 1, -1), Slide(1, 1, 1)], ids=str)
def test_each_position_sees_its_taps_in_order(slide):
    taps: dict[int, list[int]] = {}
    for coordinate, pairs in slide.seen(4):
        for position, tap in pairs:
            assert coordinate == position * slide.pace + tap * slide.spread - slide.first >= 0
            taps.setdefault(position, []).append(tap)
    assert taps == {position: list(range(slide.taps)) for position in range(4)}
