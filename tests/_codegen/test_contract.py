"""Contractions against a plain chain of multiply-adds, to the last bit: matrix products, convolutions, their gradients."""

from __future__ import annotations

import ctypes
import random
from dataclasses import replace
from functools import cache
from math import prod

import numpy as np
import pytest

from flambeau._codegen.contract import Bound, Contract, Epilogue, Operand, plan, planning
from flambeau._codegen.contract.arithmetic import compute_dtype, multiply_add, narrow, register_tile, widen
from flambeau._codegen.contract.blocking import best_blocking, describe_side, split_k
from flambeau._codegen.contract.micro import split_rows
from flambeau._codegen.contract.normal import normalise
from flambeau._codegen.ir import Module, constant
from flambeau._codegen.scalar import registers
from flambeau._runtime import jit, support, targets
from flambeau._runtime.llvm import Compiler
from flambeau._types import dtype as types

KERNEL = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, ctypes.c_void_p)
DTYPES = [
    types.float32, types.float64, types.float16, types.bfloat16, types.complex64, types.complex128,
    types.int8, types.uint8, types.int16, types.int32, types.int64,
]  # fmt: skip


@cache
def compiler_of(target: targets.Target):
    compiler = Compiler(target)
    return compiler, compiler.linker()


@cache
def linked(target: targets.Target, name: str, source: str):
    compiler, linker = compiler_of(target)
    code = compiler.object_code(source)
    helpers = jit.compile_kernels({helper: support.SOURCES[helper] for helper in support.mentioned(code)})
    return KERNEL(linker.link({name: code}, helpers)[name])


class Memory:
    """Bytes at a 64-byte boundary."""

    def __init__(self, size: int, fill: int = 0xA5) -> None:
        self.bytes = np.full(size + 128, fill, np.uint8)
        self.address = -(-self.bytes.ctypes.data // 64) * 64


def run(contract: Contract, buffers: dict[str, np.ndarray], target: targets.Target | None = None, split: int | None = None) -> None:
    """Compute a contraction, each call at once or ``split`` tiles at a time, last first."""
    target = target or targets.current()
    planned = plan(contract, target)
    slots, addresses, kept = {}, [0, 0], []
    for name, array in buffers.items():
        slots[name] = len(addresses)
        addresses.append(array.ctypes.data)
    for number, size in enumerate(planned.temporaries):
        kept.append(Memory(size))
        slots[f"t{number}"] = len(addresses)
        addresses.append(kept[-1].address)
    table = np.array(addresses, np.int64)
    for call in planned.calls:
        params = np.array(call.params, np.int64)
        for position, name in call.buffers:
            params[position] = slots[name]
        kernel = linked(target, call.kernel, call.source)
        scratch = Memory(call.scratch_bytes)
        step = split or call.tiles
        for begin in reversed(range(0, call.tiles, step)):
            kernel(table.ctypes.data, params.ctypes.data, begin, min(begin + step, call.tiles), scratch.address)
        assert (scratch.bytes[scratch.address - scratch.bytes.ctypes.data + call.scratch_bytes :] == 0xA5).all(), "scratch overrun"
    for memory, size in zip(kept, planned.temporaries, strict=True):
        assert (memory.bytes[memory.address - memory.bytes.ctypes.data + size :] == 0xA5).all(), "temporary overrun"


# -- the reference -----------------------------------------------------------------------------------------------------


def positions(operand: Operand, extents: tuple[int, ...]) -> np.ndarray:
    """The element number that each index reads, or -1 outside the bounds."""
    index = np.indices(extents, dtype=np.int64).reshape(len(extents), prod(extents))
    where = operand.offset + np.tensordot(np.array(operand.strides, np.int64).reshape(-1), index, 1)
    for bound in operand.bounds:
        coordinate = bound.start + np.tensordot(np.array(bound.coefficients, np.int64).reshape(-1), index, 1)
        where = np.where((coordinate >= 0) & (coordinate < bound.extent), where, -1)
    return where.reshape(extents)


def dense(operand: Operand, buffer: np.ndarray, groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """The operand's elements as a contiguous array with one axis for each group."""
    where = positions(operand, sum(groups, ()))
    values = np.where(where < 0, np.zeros((), buffer.dtype), buffer[where]) if where.size else np.zeros(where.shape, buffer.dtype)
    return np.ascontiguousarray(values.reshape([prod(group) for group in groups]))


@cache
def naive(a_type: types.dtype, out_type: types.dtype):
    """One element after the other: out[m, n] is a chain over k of a[m, k] * b[k, n]."""
    module = Module([feature[1:] for feature in targets.current().features.split(",")])
    f = module.function("kernel", [("ptr", "table"), ("ptr", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")])
    table, params, begin, end, _ = f.parameters
    a, b, out = (f.load(f.offset(table, i, "ptr"), "ptr") for i in range(3))
    n, k = (f.load(f.offset(params, i, "i64"), "i64") for i in range(2))
    tile = replace(register_tile(a_type, targets.current()), width=1)
    zeros = [constant(tile.element, 0)] * tile.parts

    def element(base, index):
        value = registers.load(f, f.offset(base, index, f"[{a_type.itemsize} x i8]"), a_type, 1)
        return registers.unpack(widen(f, value, a_type, tile.compute))

    with f.loop(begin, end) as row, f.loop(0, n) as column:
        with f.loop(0, k, carried=zeros) as step:
            left = element(a, f.add(f.mul(row.index, k), step.index))
            right = element(b, f.add(f.mul(step.index, n), column.index))
            step.carry(*multiply_add(f, tile, left, right, step.carried))
        value = narrow(f, registers.pack(step.carried), out_type, tile.compute)
        place = f.offset(out, f.add(f.mul(row.index, n), column.index), f"[{out_type.itemsize} x i8]")
        registers.store(f, value, place, out_type)
    f.ret()
    name = f"naive_{a_type.name}_{out_type.name}"
    return linked(targets.current(), name, str(module).replace("@kernel(", f"@{name}("))


def reference(contract: Contract, buffers: dict[str, np.ndarray]) -> np.ndarray:
    """What ``out`` must hold, in a copy of its buffer."""
    a = dense(contract.a, buffers["a"], (contract.batch, contract.m, contract.k))
    b = dense(contract.b, buffers["b"], (contract.batch, contract.k, contract.n))
    batch, m, k, n = *a.shape, b.shape[2]
    result = np.zeros((batch, m, n), contract.out.dtype.numpy)
    kernel = naive(contract.a.dtype, contract.out.dtype)
    params = np.array([n, k], np.int64)
    for i in range(batch):
        table = np.array([a[i].ctypes.data, b[i].ctypes.data, result[i].ctypes.data], np.int64)
        kernel(table.ctypes.data, params.ctypes.data, 0, m, None)
    out = buffers["out"].copy()
    where = positions(contract.out, contract.batch + contract.m + contract.n)
    out[where.reshape(-1)] = result.reshape(-1)
    return out


def numbers(size: int, of: types.dtype, seed: int = 0) -> np.ndarray:
    random_ = np.random.default_rng(seed)
    if of is types.bfloat16:
        return (random_.standard_normal(size).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if of.numpy.kind in "iu":
        limits = np.iinfo(of.numpy)
        return random_.integers(limits.min, limits.max, size, of.numpy, endpoint=True)
    if of.is_complex:
        return (random_.standard_normal(size) + 1j * random_.standard_normal(size)).astype(of.numpy)
    return random_.standard_normal(size).astype(of.numpy)


def needed(operand: Operand, extents: tuple[int, ...]) -> int:
    where = positions(operand, extents)
    return int(where.max(initial=0)) + 1


def buffers_of(contract: Contract) -> dict[str, np.ndarray]:
    sizes = {
        "a": (contract.a, contract.batch + contract.m + contract.k),
        "b": (contract.b, contract.batch + contract.k + contract.n),
        "out": (contract.out, contract.batch + contract.m + contract.n),
    }
    return {name: numbers(needed(operand, extents), operand.dtype, seed) for seed, (name, (operand, extents)) in enumerate(sizes.items())}


def check(contract: Contract, target: targets.Target | None = None, split: int | None = None) -> None:
    buffers = buffers_of(contract)
    expected = reference(contract, buffers)
    run(contract, buffers, target, split)
    np.testing.assert_array_equal(buffers["out"].view(np.uint8), expected.view(np.uint8))


# -- contractions ------------------------------------------------------------------------------------------------------


def row_major(*extents: int) -> tuple[int, ...]:
    return tuple(prod(extents[i + 1 :]) for i in range(len(extents)))


def matmul(
    m: int, k: int, n: int, of: types.dtype = types.float32, *, order: str = "mk,kn,mn", batch: tuple[int, ...] = (), broadcast: str = ""
) -> Contract:
    """``order`` gives the memory order of each operand's axes: ``km,kn,mn`` has a transposed left one."""
    extents = {"m": m, "k": k, "n": n}
    operands = []
    for name, axes, wanted in zip(("a", "b", "out"), order.split(","), ("mk", "kn", "mn"), strict=True):
        strides = dict(zip(axes, row_major(*[extents[axis] for axis in axes]), strict=True))
        size = prod(extents[axis] for axis in axes)
        batches = [0 if name in broadcast.split() else size * stride for stride in row_major(*batch)]
        operands.append(Operand(of, (*batches, *[strides[axis] for axis in wanted])))
    return Contract(batch, (m,), (n,), (k,), *operands)


def convolution(
    n: int, c_in: int, c_out: int, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...],
    dilation: tuple[int, ...], groups: int = 1, of: types.dtype = types.float32, channels_last: bool = False, gradient: str = "",
) -> Contract:  # fmt: skip
    """A convolution of any dimension as its forward pass, or the gradient of its ``weight``."""
    dims = len(size)
    result = tuple((size[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in range(dims))
    ci, co = c_in // groups, c_out // groups

    def image(channels: int, extents: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
        """Strides of sample, channel and positions."""
        if channels_last:
            sample, *positions, channel = row_major(n, *extents, channels)
        else:
            sample, channel, *positions = row_major(n, channels, *extents)
        return sample, channel, tuple(positions)

    x_n, x_c, x_p = image(c_in, size)
    y_n, y_c, y_p = image(c_out, result)
    w_o, w_i, *w_p = row_major(c_out, ci, *kernel)
    offset = -sum(padding[d] * x_p[d] for d in range(dims))
    taps = tuple(dilation[d] * x_p[d] for d in range(dims))
    moves = tuple(stride[d] * x_p[d] for d in range(dims))

    def bounds(before: int, order: str) -> tuple[Bound, ...]:
        """The bounds of the input's coordinates; ``order`` says where its positions (p), taps (t) and other axes are."""
        made = []
        for d in range(dims):
            coefficients: list[int] = [0] * before
            for part in order:
                if part == "p":
                    coefficients += [stride[d] if i == d else 0 for i in range(dims)]
                elif part == "t":
                    coefficients += [dilation[d] if i == d else 0 for i in range(dims)]
                else:
                    coefficients.append(0)
            made.append(Bound(tuple(coefficients), -padding[d], size[d]))
        return tuple(made)

    if gradient == "weight":
        a = Operand(of, (y_c * co, y_c, y_n, *y_p))
        b = Operand(of, (x_c * ci, x_n, *moves, x_c, *taps), offset, bounds(1, ".p.t"))
        out = Operand(of, (w_o * co, w_o, w_i, *w_p))
        return Contract((groups,), (co,), (ci, *kernel), (n, *result), a, b, out)
    a = Operand(of, (0, w_o * co, w_o, w_i, *w_p))
    b = Operand(of, (x_n, x_c * ci, x_c, *taps, *moves), offset, bounds(2, ".tp"))
    out = Operand(of, (y_n, y_c * co, y_c, *y_p))
    return Contract((n, groups), (co,), result, (ci, *kernel), a, b, out)


@pytest.mark.parametrize("order", ["mk,kn,mn", "km,kn,mn", "mk,nk,mn", "km,nk,mn", "mk,kn,nm", "mk,nk,nm"])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (32, 64, 64), (5, 7, 3), (17, 300, 33), (70, 700, 130), (1, 100, 200), (200, 90, 1), (16, 20, 500)]
)
def test_matrix_product(m, k, n, order):
    check(matmul(m, k, n, order=order))


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
        for a, b in [("tile", "tile"), ("call", "tile"), ("tile", "call"), ("call", "call")]:
            for m_block, n_block, limit in [(10**6, 32, 256), (74, 64, 100), (29, 96, 40)]:
                choice = best_blocking(normal, tile, targets.current())
                m, n = (prod(axis[0] for axis in group) for group in (oriented.m, oriented.n))
                split, chunk = split_k(oriented.k, limit, tile.width)
                columns = min(n_block, -(-n // tile.lanes) * tile.lanes)
                sides = {"left": (oriented.a, oriented.m, a), "right": (oriented.b, oriented.n, b)}
                chosen = []
                for name, (column, lanes, where) in sides.items():
                    side = describe_side(oriented, column, lanes, split, chunk, tile, left=name == "left")
                    chosen.append(replace(side, where=where))
                yield replace(
                    choice, normal=oriented, split=split, chunk=chunk, a=chosen[0], b=chosen[1],
                    m_block=min(m, m_block), n_block=columns // tile.lanes * tile.lanes,
                )  # fmt: skip


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
    expected = reference(contract, buffers)
    for choice in every_way(contract):
        monkeypatch.setattr(planning, "best_blocking", lambda *_, choice=choice: choice)
        buffers["out"] = np.zeros_like(buffers["out"])
        run(contract, buffers, split=3)
        np.testing.assert_array_equal(buffers["out"].view(np.uint8), expected.view(np.uint8), str((choice.a, choice.b, choice.m_block)))


@pytest.mark.parametrize("broadcast", ["", "a", "b"])
def test_batches(broadcast):
    check(matmul(20, 30, 40, batch=(2, 3), broadcast=broadcast))
    check(matmul(70, 64, 500, order="km,nk,mn", batch=(3,), broadcast=broadcast))


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
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("gradient", ["", "weight"])
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_convolution(shape, gradient, channels_last):
    check(convolution(*shape, channels_last=channels_last, gradient=gradient))


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
        return narrow(builder, builder.add(value, reads[0]), of, compute)

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
