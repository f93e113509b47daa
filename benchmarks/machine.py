"""What this machine can do at most: multiply-adds a second, and bytes a second."""

from __future__ import annotations

import ctypes
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

CHAINS = 12  # independent accumulators: more than a multiply-add's latency times its throughput
ROUNDS = 2_000_000  # some four milliseconds, beside which waking the threads takes no time


def describe(threads: int) -> dict[str, float | str | int]:
    """The processor's name, and its measured limits for float32 with that many threads."""
    return {
        "processor": processor_name(),
        "threads": threads,
        "gflops": multiply_add_limit(threads) / 1e9,
        "gbytes": copy_limit(threads) / 1e9,
    }


def processor_name() -> str:
    """The processor as Linux names it, or its architecture elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def multiply_add_limit(threads: int) -> float:
    """Floating-point operations a second of a loop that does nothing but float32 multiply-adds in registers."""
    lanes = 16 if "avx512f" in _features() else 8 if "avx2" in _features() else 4
    kernel = _compile(_multiply_add_ir(lanes), "spin")
    spin = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(kernel)
    sinks = [np.zeros(lanes, np.float32) for _ in range(threads)]
    seconds = _fastest(threads, lambda thread: spin(ROUNDS, sinks[thread].ctypes.data), tries=100)
    return threads * ROUNDS * CHAINS * lanes * 2 / seconds


def copy_limit(threads: int, size: int = 1 << 28) -> float:
    """Bytes read and written a second by a copy far larger than the caches."""
    source = np.ones(size, np.uint8)
    target = np.zeros(size, np.uint8)
    bounds = np.linspace(0, size, threads + 1, dtype=int)

    def copy(thread: int) -> None:
        part = slice(bounds[thread], bounds[thread + 1])
        np.copyto(target[part], source[part])

    return 2 * size / _fastest(threads, copy, tries=20)


def _fastest(threads: int, work: Callable[[int], None], tries: int) -> float:
    """The shortest time in which that many threads, started together, do their shares."""
    best = float("inf")
    for _ in range(tries):
        start = threading.Barrier(threads + 1)

        def share(thread: int, start: threading.Barrier = start) -> None:
            start.wait()
            work(thread)

        crew = [threading.Thread(target=share, args=(thread,)) for thread in range(threads)]
        for member in crew:
            member.start()
        begin = time.perf_counter()
        start.wait()
        for member in crew:
            member.join()
        best = min(best, time.perf_counter() - begin)
    return best


def _multiply_add_ir(lanes: int) -> str:
    vector = f"<{lanes} x float>"
    phis = "\n".join(f"  %a{i} = phi {vector} [ %start, %entry ], [ %b{i}, %loop ]" for i in range(CHAINS))
    steps = "\n".join(f"  %b{i} = call {vector} @llvm.fma({vector} %a{i}, {vector} %start, {vector} %start)" for i in range(CHAINS))
    sums = "\n".join(f"  %s{i + 1} = fadd {vector} %s{i}, %b{i}" for i in range(CHAINS))
    return f"""
declare {vector} @llvm.fma({vector}, {vector}, {vector})
define void @spin(i64 %rounds, ptr %sink) {{
entry:
  %start = load {vector}, ptr %sink, align 4
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{steps}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %rounds
  br i1 %more, label %loop, label %done
done:
  %s0 = fadd {vector} %start, zeroinitializer
{sums}
  store {vector} %s{CHAINS}, ptr %sink, align 4
  ret void
}}
"""


def _features() -> set[str]:
    return {name for name, present in llvm.get_host_cpu_features().items() if present}


_linked: list[object] = []  # compiled code lives as long as what linked it


def _compile(ir: str, name: str) -> int:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    features["prefer-256-bit"] = False
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2, jit=True
    )
    jit = llvm.create_lljit_compiler(machine)
    library = llvm.JITLibraryBuilder().add_ir(ir).export_symbol(name).link(jit, name)
    _linked.extend((jit, library))
    return library[name]
