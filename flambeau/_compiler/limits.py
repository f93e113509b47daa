"""What the machine can do at most, measured: the yardstick of ``explain``."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flambeau._codegen import serial
from flambeau._codegen.ir import Module, i64, vector
from flambeau._codegen.loops import finish
from flambeau._runtime import jit, pool, targets
from flambeau._runtime.allocator import allocate

_CHAINS = 12
"""Independent chains of multiply-adds: two units that take four or five cycles each need ten."""
_UNROLLED = 4
_ROUNDS = 5_000
_COPIED = 64 << 20
_REPEATS = 8


@dataclass(frozen=True)
class Limits:
    """The rates that kernels are compared with.

    Attributes:
        threads: how many threads they were measured with
        flops: float32 operations a second, when nothing but multiply-adds on registers is done
        bandwidth: bytes a second that a large copy reads and writes
    """

    threads: int
    flops: float
    bandwidth: float

    def seconds(self, flops: int, nbytes: int, itemsize: int = 4) -> float:
        """The least time for so many operations on elements of ``itemsize`` bytes that move so many bytes to and from memory."""
        return max(flops * itemsize / 4 / self.flops, nbytes / self.bandwidth)


def measure() -> Limits:
    """The limits for as many threads as programs run on now; measured once (in some 0.2 s) and then remembered."""
    return _measure(pool.get_num_threads())


@lru_cache(maxsize=8)
def _measure(threads: int) -> Limits:
    tiles = 4 * threads
    name, source, operations = _multiply_add_kernel()
    address = jit.compile_kernels({name: source})[name]
    arithmetic = pool.Program([pool.Call(address, [_ROUNDS], tiles, 1, targets.current().vector_bits // 8)])
    return Limits(threads, tiles * _ROUNDS * operations / _least_time(arithmetic, []), 2 * _COPIED / _copy_time())


def _copy_time() -> float:
    name, source = serial.copy_kernel()
    address = jit.compile_kernels({name: source})[name]
    copy = pool.Program([pool.Call(address, [1, 0, 2, 0, _COPIED], _COPIED // serial.COPY_TILE)])
    buffers = allocate(_COPIED), allocate(_COPIED)
    return _least_time(copy, [buffer.address for buffer in buffers])


def _least_time(program: pool.Program, buffers: list[int]) -> float:
    errors = np.zeros(4, np.int64)
    table = np.frombuffer(struct.pack(f"{1 + len(buffers)}Q", errors.ctypes.data, *buffers), np.int64)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        program.run(table.ctypes.data)
        times.append(time.perf_counter() - start)
    return min(times)


def _multiply_add_kernel() -> tuple[str, str, int]:
    """A kernel's name, its IR, and the operations of one of the rounds that its parameter asks for."""
    target = targets.current()
    lanes = target.lanes(32)
    module = Module()
    f = module.function("KERNEL", [("ptr", "table"), ("ptr", "params"), ("i64", "begin"), ("i64", "end"), ("ptr", "scratch")])
    rounds = f.load(f.parameters[1], "i64")
    # Numbers that the compiler cannot know, with chains that settle at 2: x = x / 2 + 1.
    one = f.splat(f.cast("sitofp", f.select(f.compare("sgt", rounds, 0), i64(1), rounds), "float"), lanes)
    half = f.binary("fdiv", one, f.add(one, one))
    starts = [one] * _CHAINS
    for chain in range(1, _CHAINS):
        starts[chain] = f.add(starts[chain - 1], one)
    with f.loop(f.parameters[2], f.parameters[3]):
        with f.loop(0, rounds, 1, starts) as steps:
            chains = list(steps.carried)
            for _ in range(_UNROLLED):
                chains = [f.fma(each, half, one) if target.has_fma else f.add(f.mul(each, half), one) for each in chains]
            steps.carry(*chains)
        total = steps.carried[0]
        for chain in steps.carried[1:]:
            total = f.add(total, chain)
        f.store(total, f.parameters[4])
    f.ret()
    assert total.type == vector("float", lanes)
    return *finish(module), 2 * lanes * _CHAINS * _UNROLLED
