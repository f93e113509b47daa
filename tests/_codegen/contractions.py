"""Contractions to test with, plain chains of multiply-adds to compare with, and how to run kernels."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import prod

import numpy as np

from flambeau._codegen.contract import Bound, Contract, Operand, amx, plan
from flambeau._codegen.contract.arithmetic import multiply_add, narrow, register_tile, widen
from flambeau._codegen.contract.chains import TERMS, cut
from flambeau._codegen.ir import Module, constant
from flambeau._codegen.scalar import registers
from flambeau._runtime import jit, support, targets
from flambeau._runtime.llvm import Compiler, Linker
from flambeau._types import dtype as types
from flambeau._types.encoding import stored_as

KERNEL = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, ctypes.c_void_p)
ORDINARY = (types.float32, types.float64)
DTYPES = [
    types.float32, types.float64, types.float16, types.bfloat16, types.complex64, types.complex128,
    types.complex32, types.float8_e4m3fn, types.float8_e5m2,
    types.int8, types.uint8, types.int16, types.int32, types.int64,
]  # fmt: skip


def in_lanes(builder, read, value):
    """What a body is given beside a sum, in as many lanes as that: of what is the same for all it gets one."""
    return read if read.width == value.width else builder.splat(read, value.width)


@cache
def compiler_of(target: targets.Target):
    compiler = Compiler(target)
    return compiler, Linker(target)


@cache
def linked(target: targets.Target, name: str, source: str):
    """A kernel's function; for this processor as programs compile it, with parts that kernels share."""
    if target == targets.current():
        return KERNEL(jit.compile_kernels({name: source})[name])
    compiler, linker = compiler_of(target)
    code = compiler.object_code(source)
    helpers = jit.compile_kernels({helper: support.SOURCES[helper] for helper in support.mentioned(code)})
    return KERNEL(linker.link({name: code}, helpers)[name])


class Memory:
    """Bytes at a 64-byte boundary, in the beginning all subnormal numbers of 32 and of 64 bits."""

    def __init__(self, size: int) -> None:
        self.bytes = np.resize(np.array([0xA5, 0xA5, 0, 0], np.uint8), size + 128)
        self.before = self.bytes.copy()
        self.address = -(-self.bytes.ctypes.data // 64) * 64

    def is_untouched_from(self, offset: int) -> bool:
        start = self.address - self.bytes.ctypes.data + offset
        return np.array_equal(self.bytes[start:], self.before[start:])


SUBNORMAL = 2
"""What ``exceptions`` returns if a subnormal number was computed with."""
_EXCEPTIONS = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define void @exceptions(ptr %value, i1 %set) {
  br i1 %set, label %write, label %read
write:
  call void @llvm.x86.sse.ldmxcsr(ptr %value)
  ret void
read:
  call void @llvm.x86.sse.stmxcsr(ptr %value)
  ret void
}
"""


def exceptions(clear: bool = False) -> int:
    """What went wrong in floating-point arithmetic since it was cleared, as x86 keeps it; nothing elsewhere."""
    if not targets.current().triple.startswith("x86_64"):
        return 0
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_bool)(jit.compile_kernels({"exceptions": _EXCEPTIONS})["exceptions"])
    state = ctypes.c_uint32()
    function(ctypes.addressof(state), False)
    found = state.value & 0x3F
    if clear:
        state.value -= found
        function(ctypes.addressof(state), True)
    return found


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
            exceptions(True)
            kernel(table.ctypes.data, params.ctypes.data, begin, min(begin + step, call.tiles), scratch.address)
            assert not exceptions() & SUBNORMAL or contract.a.dtype not in ORDINARY, "computes with what was left in its memory"
        assert scratch.is_untouched_from(call.scratch_bytes), "scratch overrun"
    for memory, size in zip(kept, planned.temporaries, strict=True):
        assert memory.is_untouched_from(size), "temporary overrun"


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
    """One element after the other: out[m, n] is the sum of chains over k of a[m, k] * b[k, n], each from a stop to the next."""
    module = Module([feature[1:] for feature in targets.current().features.split(",")])
    f = module.function("kernel", [("ptr", "table"), ("ptr", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")])
    table, params, begin, end, _ = f.parameters
    a, b, out, stops = (f.load(f.offset(table, i, "ptr"), "ptr") for i in range(4))
    n, k, chains = (f.load(f.offset(params, i, "i64"), "i64") for i in range(3))
    tile = replace(register_tile(a_type, targets.current()), width=1)
    zeros = [constant(tile.element, 0)] * tile.parts

    def element(base, index):
        value = registers.load(f, f.offset(base, index, f"[{a_type.itemsize} x i8]"), a_type, 1)
        return registers.unpack(widen(f, value, a_type, tile.compute))

    with f.loop(begin, end) as row, f.loop(0, n) as column:
        with f.loop(0, chains, carried=zeros) as chain:
            start, stop = (f.load(f.offset(stops, f.add(chain.index, i), "i64"), "i64") for i in range(2))
            with f.loop(start, stop, carried=zeros) as step:
                left = element(a, f.add(f.mul(row.index, k), step.index))
                right = element(b, f.add(f.mul(step.index, n), column.index))
                step.carry(*multiply_add(f, tile, left, right, step.carried))
            is_first = f.compare("eq", chain.index, 0)
            chain.carry(*[f.select(is_first, one, f.add(all, one)) for all, one in zip(chain.carried, step.carried, strict=True)])
        value = narrow(f, registers.pack(chain.carried), out_type, tile.compute)
        place = f.offset(out, f.add(f.mul(row.index, n), column.index), f"[{out_type.itemsize} x i8]")
        registers.store(f, value, place, out_type)
    f.ret()
    name = f"naive_{a_type.name}_{out_type.name}"
    return linked(targets.current(), name, str(module).replace("@kernel(", f"@{name}("))


def chain_stops(k: tuple[int, ...], terms: int = TERMS) -> list[int]:
    """Where chains of about ``terms`` over k begin, and where the last one ends."""
    extents = tuple(extent for extent in k if extent > 1)
    if 0 in extents:
        return [0, 0]
    split, chunk = cut(extents, terms)
    inner, along = prod(extents[split + 1 :]), (extents or (1,))[split]
    starts = [(outer * along + place) * inner for outer in range(prod(extents[:split])) for place in range(0, along, chunk)]
    return [*starts, prod(k)]


def sums_of_matrix_registers(a: np.ndarray, b: np.ndarray, k: tuple[int, ...]) -> np.ndarray:
    """Sums over pairs of terms, a group of them after the other, as float32; the operands are bfloat16."""
    a, b = ((each.astype(np.uint32) << 16).view(np.float32) for each in (a, b))
    total = np.zeros((*a.shape[:2], b.shape[2]), np.float32)
    stops = chain_stops(k, amx.TERMS)
    for start, stop in pairwise(stops):
        for group in range(start, stop, amx.GROUP):
            of_pair = [np.zeros_like(total), np.zeros_like(total)]
            for step in range(group, min(group + amx.GROUP, stop)):
                of_pair[(step - group) % 2] += a[:, :, step, None] * b[:, step, None, :]  # these products are exact
            total += of_pair[0] + of_pair[1]
    return total


def as_bfloat16(values: np.ndarray) -> np.ndarray:
    """The bits of float32 numbers rounded to nearest."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def reference(contract: Contract, buffers: dict[str, np.ndarray], target: targets.Target | None = None) -> np.ndarray:
    """What ``out`` must hold, in a copy of its buffer."""
    a = dense(contract.a, buffers["a"], (contract.batch, contract.m, contract.k))
    b = dense(contract.b, buffers["b"], (contract.batch, contract.k, contract.n))
    batch, m, k, n = *a.shape, b.shape[2]
    result = np.zeros((batch, m, n), contract.out.dtype.numpy)
    if amx.fits(contract, target or targets.current()):
        sums = sums_of_matrix_registers(a, b, contract.k)
        result = as_bfloat16(sums) if contract.out.dtype is types.bfloat16 else sums
    else:
        kernel = naive(contract.a.dtype, contract.out.dtype)
        stops = np.array(chain_stops(contract.k), np.int64)
        params = np.array([n, k, len(stops) - 1], np.int64)
        for i in range(batch):
            table = np.array([a[i].ctypes.data, b[i].ctypes.data, result[i].ctypes.data, stops.ctypes.data], np.int64)
            kernel(table.ctypes.data, params.ctypes.data, 0, m, None)
    out = buffers["out"].copy()
    where = positions(contract.out, contract.batch + contract.m + contract.n)
    out[where.reshape(-1)] = result.reshape(-1)
    return out


def numbers(size: int, of: types.dtype, seed: int = 0) -> np.ndarray:
    random_ = np.random.default_rng(seed)
    if of.category == types.INTEGER:
        limits = np.iinfo(of.numpy)
        return random_.integers(limits.min, limits.max, size, of.numpy, endpoint=True)
    values = random_.standard_normal(size)
    return stored_as(values + 1j * random_.standard_normal(size) if of.is_complex else values, of)


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
    expected = reference(contract, buffers, target)
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
