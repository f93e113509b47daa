from __future__ import annotations

import threading

import pytest

from flambeau._runtime import targets
from flambeau._runtime.llvm import Compiler, Linker, quick
from tests._runtime.little_kernels import scale


def test_object_code_is_reproducible() -> None:
    first, second = (Compiler(targets.current()).object_code(scale("f", 2.0)) for _ in range(2))
    assert first == second


def test_helpers_are_inlined_and_stack_slots_promoted() -> None:
    source = """
define internal float @helper(float %x) alwaysinline {
  %slot = alloca float
  store float %x, ptr %slot
  %value = load float, ptr %slot
  %sum = fadd float %value, %value
  ret float %sum
}
define float @f(float %x) {
  %result = call float @helper(float %x)
  ret float %result
}
"""
    assembly = Compiler(targets.current()).assembly(source)
    assert "call" not in assembly and "helper" not in assembly
    assert "(%rsp)" not in assembly and "[sp" not in assembly


def test_floating_point_is_not_reassociated_nor_contracted() -> None:
    source = """define float @f(float %a, float %b, float %c) {
  %product = fmul float %a, %b
  %sum = fadd float %product, %c
  %zero = fmul float %sum, 0.0
  %result = fadd float %sum, %zero
  ret float %result
}"""
    assembly = Compiler(targets.current()).assembly(source)
    assert "fmadd" not in assembly and "fmla" not in assembly
    assert assembly.count("mulss") == 2 or assembly.count("fmul") == 2


def test_compiling_does_not_wait_for_the_lock_of_llvmlite() -> None:
    """Somebody holds that lock while we compile: this would hang if we needed it."""
    import llvmlite.binding as binding

    compiler = Compiler(targets.current())
    done = threading.Event()

    def compile_one() -> None:
        compiler.object_code(scale("f", 2.0))
        done.set()

    with binding.ffi.lib._lock:
        thread = threading.Thread(target=compile_one)
        thread.start()
        assert done.wait(timeout=60)
    thread.join()


def test_links_objects_that_refer_to_imports() -> None:
    import ctypes

    compiler = Compiler(targets.current())
    linker = Linker(targets.current())
    callback = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda number: number + 1)
    source = """declare i64 @increment(i64)
define i64 @twice(i64 %x) {
  %one = call i64 @increment(i64 %x)
  %two = call i64 @increment(i64 %one)
  ret i64 %two
}"""
    objects = {"twice": compiler.object_code(source)}
    with pytest.raises(RuntimeError, match="twice"):
        linker.link(objects, {})
    address = linker.link(objects, {"increment": ctypes.cast(callback, ctypes.c_void_p).value or 0})["twice"]
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(40) == 42


def test_loop_strength_reduction_is_off_for_us_alone() -> None:
    """Pointers that run along in a loop take another register each: with the option, an index serves both."""
    source = """define void @f(ptr %a, ptr %b, i64 %n, i64 %step) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %at = mul i64 %i, %step
  %p = getelementptr float, ptr %a, i64 %at
  %x = load float, ptr %p
  %q = getelementptr float, ptr %b, i64 %i
  store float %x, ptr %q
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %done
done:
  ret void
}
"""
    compiler = Compiler(targets.current())
    before = compiler.assembly(source)
    with quick():
        during = compiler.assembly(source)
    assert "mul" in during and "mul" not in before
    assert compiler.assembly(source) == before
