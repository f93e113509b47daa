"""The processor that kernels are made for.

``FLAMBEAU_CPU`` chooses the instruction set: ``native`` (the default), or one of the x86-64 levels ``x86-64-v4``
(AVX-512), ``x86-64-v3`` (AVX2 and FMA) and ``x86-64-v2`` (SSE4.2). Level 2 has no fused multiply-add: ``llvm.fma``
becomes a call of the C library's ``fma`` a lane, which gives the same bits and is some fifty times slower, so that level
serves to test and for very old machines only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_X86_LEVELS = {"x86-64-v4": (512, 32), "x86-64-v3": (256, 16), "x86-64-v2": (128, 16)}
_INSTRUCTION_SETS = {128: (), 256: ("avx2",), 512: ("avx2", "avx512bw", "avx512f", "avx512vl")}
"""What generators of kernels may ask for, by LLVM's names, for each size of a vector register in bits."""
_FAST_GATHER = "fast-gather"
"""LLVM's name for gathers that take less time than a load for each lane. (Zen 4 takes a lane apart for each of them.)"""
_CACHE_FALLBACK = {1: 32 << 10, 2: 1 << 20, 3: 8 << 20}
_SYSFS_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_CPU_INFO = Path("/proc/cpuinfo")
_CPU_FIELDS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
_ARM_FIELDS = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features")
"""What ``/proc/cpuinfo`` says about the code that a processor runs."""


_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
"""Numbers of Linux: a system call of x86-64, one of its codes, and the state that holds matrix registers."""


@dataclass(frozen=True)
class Target:
    """An instruction set, with the sizes that a schedule depends on.

    Two processes with equal ``(cpu, features)`` make equal object code. Cache sizes are those of the machine that runs.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bits: int
    vector_registers: int
    has_fma: bool
    has_bf16_dot: bool
    has_amx: bool
    has_vnni: bool
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int

    @property
    def has_pairs(self) -> bool:
        """Whether pairs of bfloat16 are multiplied: by long vectors, where there are no matrix registers."""
        return self.has_bf16_dot and self.vector_bits == 512 and not self.has_amx

    @property
    def multiplies_once(self) -> bool:
        """Whether the processor carries out one multiply-add of 512 bits in each cycle, and not two."""
        return self.cpu == "znver4"

    @property
    def instruction_sets(self) -> tuple[str, ...]:
        """What the target has of the instruction sets that generators of kernels may ask for, by LLVM's names. Results are the same without them."""
        gathers = self.vector_bits == 512 and not self.cpu.startswith("znver")
        return (*_INSTRUCTION_SETS[self.vector_bits], *([_FAST_GATHER] if gathers else []))

    def lanes(self, bits: int) -> int:
        """How many elements of ``bits`` bits one vector register holds."""
        return self.vector_bits // bits

    def register_tile(self, bits: int = 32) -> tuple[int, int]:
        """Rows and columns of the accumulator of a contraction of ``bits``-bit numbers.

        Columns lie in two vectors, rows are broadcast, and some registers stay free for operands: 14 x 2 accumulators of 32
        registers (8 x 2 of short vectors on AArch64), 6 x 2 of 16, 4 x 2 where a multiply-add needs a temporary.
        """
        if self.vector_registers >= 32:
            rows = 14 if self.vector_bits >= 512 else 8
        else:
            rows = 6 if self.has_fma else 4
        return rows, 2 * self.lanes(bits)


@lru_cache(maxsize=1)
def current() -> Target:
    """The target of this process: ``FLAMBEAU_CPU``, or the processor that we run on."""
    return named(os.environ.get("FLAMBEAU_CPU") or "native")


def named(name: str) -> Target:
    """The target called ``native``, ``x86-64-v4``, ``x86-64-v3`` or ``x86-64-v2``."""
    if name == "native":
        return _native()
    if name not in _X86_LEVELS:
        raise ValueError(f"FLAMBEAU_CPU must be 'native' or one of {sorted(_X86_LEVELS)}, but is {name!r}")
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise ValueError(f"FLAMBEAU_CPU={name} needs an x86-64 processor, but this one is {platform.machine()!r}")
    from flambeau._runtime import llvm

    vector_bits, registers = _X86_LEVELS[name]
    features = "-prefer-256-bit" if vector_bits == 512 else ""
    triple, _, _ = llvm.host()
    has_fma = name != "x86-64-v2"
    return Target(name, triple, name, features, vector_bits, registers, has_fma, False, False, False, *cache_sizes())


def _native() -> Target:
    from flambeau._runtime import llvm

    triple, cpu, has = llvm.host()
    if platform.machine().lower() in ("arm64", "aarch64"):
        return Target("native", triple, cpu, _flags(has), 128, 32, True, has.get("bf16", False), False, False, *cache_sizes())
    has["prefer-256-bit"] = False
    if all(has.get(feature, False) for feature in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
        level = "x86-64-v4"
    else:
        level = "x86-64-v3" if has.get("avx2", False) and has.get("fma", False) else "x86-64-v2"
    vector_bits, registers = _X86_LEVELS[level]
    has_amx = vector_bits == 512 and has.get("amx-tile", False) and has.get("amx-bf16", False) and _may_use_amx()
    return Target(
        "native", triple, cpu, _flags(has), vector_bits, registers, has.get("fma", False), has.get("avx512bf16", False), has_amx,
        _knows_vnni(), *cache_sizes(),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _may_use_amx() -> bool:
    """Ask Linux for the matrix registers (AMX), whose state it saves only for processes that do; threads and forks have what we are given.

    It has to be asked in each process, also in one that loads code from the cache: `identity` sees to that.
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    try:
        import ctypes

        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA) == 0
    except (OSError, AttributeError):
        return False


def has_vnni() -> bool:
    """Whether the target of this process has dot products of bytes, found without LLVM, which takes long to import."""
    return (os.environ.get("FLAMBEAU_CPU") or "native") == "native" and _knows_vnni()


@lru_cache(maxsize=1)
def has_carryless_products() -> bool:
    """Whether the target of this process multiplies polynomials over two elements, found without LLVM."""
    return (os.environ.get("FLAMBEAU_CPU") or "native") == "native" and "pclmulqdq" in _linux_flags()


@lru_cache(maxsize=1)
def _knows_vnni() -> bool:
    """Whether this processor adds four products of bytes to each lane of 512 bits, as Linux says."""
    return {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= _linux_flags()


def _linux_flags() -> set[str]:
    """What Linux says that the first processor has; nothing for other processors than those of x86."""
    line = next((each for each in _cpu_info() if each.partition(":")[0].strip() == "flags"), "")
    return set(line.split())


def _flags(has: dict[str, bool]) -> str:
    return ",".join(f"{'+' if there else '-'}{feature}" for feature, there in sorted(has.items()))


@lru_cache(maxsize=1)
def identity() -> str:
    """What stands for this processor, ``FLAMBEAU_CPU`` and this LLVM: equal texts mean equal targets and object code.

    It is found without LLVM, which takes long to import, where the system says which processor it runs on.
    """
    processor, llvm = _processor(), _llvm_version()
    if processor is None or llvm is None:
        from flambeau._runtime.llvm import version

        target = current()
        processor, llvm = f"{target.cpu} {target.features}", version()
    name = os.environ.get("FLAMBEAU_CPU") or "native"
    registers = "matrix registers" if name == "native" and _may_use_amx() else ""
    return "\0".join((name, platform.machine(), registers, processor, llvm))


def _processor() -> str | None:
    """What Linux says of the first processor that concerns code."""
    kept = [line for line in _cpu_info() if line.partition(":")[0].strip() in (*_CPU_FIELDS, *_ARM_FIELDS)]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest() if kept else None


def _cpu_info() -> list[str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        with open(_CPU_INFO) as file:
            return file.read(8192).partition("\n\n")[0].splitlines()
    except OSError:
        return []


def _llvm_version() -> str | None:
    """The version of ``llvmlite``, which has its LLVM built in, from its source."""
    package = importlib.util.find_spec("llvmlite")
    for folder in (package and package.submodule_search_locations) or ():
        try:
            return Path(folder, "_version.py").read_text()
        except OSError:
            continue
    return None


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=4)
def cache_sizes(directory: Path = _SYSFS_CACHES) -> tuple[int, int, int]:
    """Bytes of the data caches of levels 1, 2 and 3 as Linux reports them, or typical sizes where it does not. They are read once: that takes
    a millisecond, and planning asks for them at one loop nest in seven."""
    sizes = dict(_CACHE_FALLBACK)
    for index in directory.glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue  # a container that hides its caches
        if kind != "Instruction" and size[-1:] in ("K", "M"):
            sizes[int(level)] = int(size[:-1]) << (10 if size[-1] == "K" else 20)
    return sizes[1], sizes[2], sizes[3]
