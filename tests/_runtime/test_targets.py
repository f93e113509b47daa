from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau._runtime import llvm, targets
from flambeau._runtime.llvm import Compiler

# A loop over one vector: what each level should make of it.
_FMA = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define void @fma(ptr %x) {
  %a = load <16 x float>, ptr %x, align 4
  %b = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %a, <16 x float> splat (float 1.0))
  store <16 x float> %b, ptr %x, align 4
  ret void
}
"""

LEVELS = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]


def on_x86() -> bool:
    return targets.platform.machine().lower() in ("x86_64", "amd64")


needs_x86 = pytest.mark.skipif(not on_x86(), reason="needs an x86-64 processor")


def test_current_target_is_usable() -> None:
    target = targets.current()
    assert target.vector_bits in (128, 256, 512)
    assert target.lanes(32) * 32 == target.lanes(64) * 64 == target.vector_bits
    assert 4 << 10 <= target.l1_bytes < target.l2_bytes
    assert target is targets.current()


@needs_x86
@pytest.mark.parametrize(
    ("name", "register", "instruction", "lanes", "tile"),
    [
        ("x86-64-v2", "%xmm", "fmaf", 4, (4, 8)),
        ("x86-64-v3", "%ymm", "vfmadd", 8, (6, 16)),
        ("x86-64-v4", "%zmm", "vfmadd", 16, (14, 32)),
    ],
)
def test_levels(name: str, register: str, instruction: str, lanes: int, tile: tuple[int, int]) -> None:
    target = targets.named(name)
    assert target.lanes(32) == lanes
    assert target.register_tile() == tile
    assert target.register_tile(64) == (tile[0], tile[1] // 2)
    rows, columns = tile
    assert rows * columns // lanes < target.vector_registers
    assembly = Compiler(target).assembly(_FMA)
    assert register in assembly
    assert instruction in assembly
    wider = [other for other in ("%ymm", "%zmm") if other > register]
    assert not any(other in assembly for other in wider)
    assert target.has_fma == (instruction == "vfmadd")


def test_native_target_uses_its_full_vectors() -> None:
    target = targets.named("native")
    register = {128: ("%xmm", "v0.4s"), 256: ("%ymm",), 512: ("%zmm",)}[target.vector_bits]
    assembly = Compiler(target).assembly(_FMA)
    assert any(name in assembly for name in register)


def test_bfloat16_dot_product_is_there_if_the_target_says_so() -> None:
    target = targets.named("native")
    if not (on_x86() and target.has_bf16_dot):
        pytest.skip("this processor has none")
    source = """
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)
define void @dot(ptr %x, <32 x bfloat> %a, <32 x bfloat> %b) {
  %sum = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> zeroinitializer, <32 x bfloat> %a, <32 x bfloat> %b)
  store <16 x float> %sum, ptr %x, align 4
  ret void
}
"""
    assert "vdpbf16ps" in Compiler(target).assembly(source)


@pytest.mark.skipif(not targets.named("native").has_vnni, reason="this processor has none")
def test_dot_products_of_bytes_are_there_if_the_target_says_so() -> None:
    source = """
declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, <16 x i32>, <16 x i32>)
define void @dot(ptr %x, <16 x i32> %a, <16 x i32> %b) {
  %sum = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> zeroinitializer, <16 x i32> %a, <16 x i32> %b)
  store <16 x i32> %sum, ptr %x, align 4
  ret void
}
"""
    assert "vpdpbusd" in Compiler(targets.named("native")).assembly(source)


@pytest.mark.parametrize("name", ["native", "x86-64-v3"])
def test_whether_there_are_dot_products_of_bytes_is_known_without_llvm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAMBEAU_CPU", name)
    assert targets.has_vnni() == targets.named(name).has_vnni


def test_no_dot_products_of_bytes_where_linux_does_not_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(targets, "_CPU_INFO", tmp_path / "cpuinfo")
    assert not targets._knows_vnni.__wrapped__()
    (tmp_path / "cpuinfo").write_text("model name\t: Some\nflags\t\t: fpu avx512f avx512bw avx512dq avx512vl\n\nflags\t: avx512_vnni\n")
    assert not targets._knows_vnni.__wrapped__()


def test_matrix_registers_are_used_only_where_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a process that is refused them find code for them in the cache."""
    monkeypatch.delenv("FLAMBEAU_CPU", raising=False)
    identities = set()
    for may in (True, False):
        monkeypatch.setattr(targets, "_may_use_amx", lambda may=may: may)
        identities.add(targets.identity.__wrapped__())
    assert len(identities) == 2
    assert not targets.named("native").has_amx


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"FLAMBEAU_CPU must be 'native' or one of .*x86-64-v3.*, but is '8086'"):
        targets.named("8086")


def test_x86_level_on_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.platform, "machine", lambda: "aarch64")
    with pytest.raises(ValueError, match="needs an x86-64 processor, but this one is 'aarch64'"):
        targets.named("x86-64-v3")


def test_aarch64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(llvm, "host", lambda: ("aarch64-unknown-linux-gnu", "neoverse-n1", {"neon": True}))
    target = targets.named("native")
    assert (target.lanes(32), target.vector_registers, target.register_tile()) == (4, 32, (8, 8))
    assert "fmla" in Compiler(target).assembly(_FMA)


@needs_x86
@pytest.mark.parametrize("name", LEVELS)
def test_every_level_gives_the_same_bits(python: Callable[..., str], name: str) -> None:
    if name == "x86-64-v4" and targets.named("native").vector_bits < 512:
        pytest.skip("this processor has no AVX-512")
    python(
        f"source = '''{_FMA}'''"
        """
import ctypes
from fractions import Fraction
import numpy
from flambeau._runtime.jit import compile_kernels
x = (numpy.random.default_rng(0).integers(-10**7, 10**7, 16) * 1e-3).astype(numpy.float32)
exact = [Fraction(float(value)) ** 2 + 1 for value in x]
ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compile_kernels({"fma": source})["fma"])(x.ctypes.data)
for got, wanted in zip(x, exact):
    below, above = (float(numpy.nextafter(got, numpy.float32(end))) for end in (-numpy.inf, numpy.inf))
    error = abs(Fraction(float(got)) - wanted)
    assert error <= abs(Fraction(below) - wanted) and error <= abs(Fraction(above) - wanted)
""",
        FLAMBEAU_CPU=name,
    )


def test_cache_sizes_are_read(tmp_path: Path) -> None:
    for number, (level, kind, size) in enumerate([("1", "Data", "32K"), ("1", "Instruction", "99K"), ("2", "Unified", "1M")]):
        index = tmp_path / f"index{number}"
        index.mkdir()
        for name, content in (("level", level), ("type", kind), ("size", size)):
            (index / name).write_text(content + "\n")
    assert targets.cache_sizes(tmp_path) == (32 << 10, 1 << 20, 8 << 20)
    assert targets.cache_sizes(tmp_path / "nowhere") == (32 << 10, 1 << 20, 8 << 20)
