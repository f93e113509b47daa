"""Images: what is made of an object file, and that it runs without LLVM."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau._runtime import image, targets
from tests._runtime.little_kernels import scale

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64" or platform.system() != "Linux", reason="images are ELF for x86-64")

_TABLE = """
@table = private constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
@big = private constant <16 x float> splat (float 3.0), align 64
define void @lookup(ptr %x) {
  %index = load i64, ptr %x
  %at = getelementptr [4 x i64], ptr @table, i64 0, i64 %index
  %found = load i64, ptr %at
  %vector = load <16 x float>, ptr @big, align 64
  %three = extractelement <16 x float> %vector, i64 5
  %whole = fptosi float %three to i64
  %sum = add i64 %found, %whole
  store i64 %sum, ptr %x
  ret void
}
"""

_SWITCH = """
define void @choose(ptr %x) {
  %number = load i64, ptr %x
  switch i64 %number, label %other [i64 0, label %a i64 1, label %b i64 2, label %c i64 3, label %d i64 4, label %e]
a:
  store i64 7, ptr %x
  ret void
b:
  call void @abort()
  ret void
c:
  store volatile i64 -1, ptr %x
  store i64 100, ptr %x
  ret void
d:
  %d.value = mul i64 %number, %number
  store i64 %d.value, ptr %x
  ret void
e:
  %pid = call i32 @getpid()
  %e.value = zext i32 %pid to i64
  store i64 %e.value, ptr %x
  ret void
other:
  store i64 0, ptr %x
  ret void
}
declare void @abort()
declare i32 @getpid()
"""

_BY_ADDRESS = """
declare i32 @getpid()
declare void @count(ptr)
define internal void @twice(ptr %x) noinline {
  %old = load i64, ptr %x
  %new = mul i64 %old, 2
  store i64 %new, ptr %x
  ret void
}
define void @choose(ptr %x) {
  %functions = alloca [3 x ptr]
  store ptr @count, ptr %functions
  %second = getelementptr ptr, ptr %functions, i64 1
  store ptr @twice, ptr %second
  %number = load i64, ptr %x
  %is.third = icmp eq i64 %number, 2
  br i1 %is.third, label %third, label %other
third:
  %pid = call i32 @getpid()
  %wide = zext i32 %pid to i64
  store i64 %wide, ptr %x
  ret void
other:
  %place = getelementptr ptr, ptr %functions, i64 %number
  %function = load ptr, ptr %place
  call void %function(ptr %x)
  ret void
}
"""

_WRITABLE = """
@counter = internal global i64 0
define void @count(ptr %x) {
  %old = load i64, ptr @counter
  %new = add i64 %old, 1
  store i64 %new, ptr @counter
  store i64 %new, ptr %x
  ret void
}
"""


def compiled(source: str) -> bytes:
    from flambeau._runtime.llvm import Compiler

    return Compiler(targets.current()).object_code(source)


def made(source: str, name: str) -> bytes:
    found = image.flatten(compiled(source), name)
    assert found is not None
    return found


def call(address: int, number: int) -> int:
    value = ctypes.c_int64(number)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(value))
    return value.value


def test_code_reads_its_constants() -> None:
    address = image.load({"lookup": made(_TABLE, "lookup")}, {})["lookup"]
    assert [call(address, index) for index in range(4)] == [13, 23, 33, 43]


def test_code_jumps_and_calls_c_functions() -> None:
    code = made(_SWITCH, "choose")
    assert set(image.imports(code)) == {"abort", "getpid"}
    address = image.load({"choose": code}, {})["choose"]
    assert [call(address, number) for number in (0, 2, 3, 4, 5)] == [7, 100, 9, os.getpid(), 0]


def test_code_calls_functions_by_their_address() -> None:
    """Those of other images, of which it needs the address itself, and its own."""
    code = made(_BY_ADDRESS, "choose")
    assert set(image.imports(code)) == {"count", "getpid"}
    add_ten = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int64))(lambda x: x.__setitem__(0, x[0] + 10))
    pointer = ctypes.cast(add_ten, ctypes.c_void_p).value
    assert pointer is not None
    address = image.load({"choose": code}, {"count": pointer})["choose"]
    assert [call(address, number) for number in range(3)] == [10, 2, os.getpid()]


def test_given_functions_come_before_those_of_the_process() -> None:
    stand_in = ctypes.CFUNCTYPE(ctypes.c_int32)(lambda: 45)
    pointer = ctypes.cast(stand_in, ctypes.c_void_p).value
    assert pointer is not None
    address = image.load({"choose": made(_SWITCH, "choose")}, {"getpid": pointer})["choose"]
    assert call(address, 4) == 45


def test_several_lie_together_and_stay_apart() -> None:
    codes = {f"scale{number}": made(scale(f"scale{number}", float(number)), f"scale{number}") for number in range(9)}
    addresses = image.load({**codes, "lookup": made(_TABLE, "lookup")}, {})
    for number in range(9):
        value = ctypes.c_float(5.0)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(addresses[f"scale{number}"])(ctypes.addressof(value))
        assert value.value == 5.0 * number
    assert call(addresses["lookup"], 2) == 33


def test_functions_of_one_object_file_become_an_image_each() -> None:
    from flambeau._runtime.llvm import Compiler

    code = Compiler(targets.current()).object_code(_TABLE, _SWITCH, scale("by_two", 2.0))
    images = {name: image.flatten(code, name) for name in ("lookup", "choose", "by_two")}
    assert all(images.values())
    addresses = image.load({name: made or b"" for name, made in images.items()}, {})
    assert [call(addresses["lookup"], number) for number in range(4)] == [13, 23, 33, 43]
    assert [call(addresses["choose"], number) for number in (0, 2, 3, 9)] == [7, 100, 9, 0]
    assert image.imports(images["lookup"] or b"") == [], "what another function calls is no part of it"


def test_code_is_not_writable() -> None:
    address = image.load({"lookup": made(_TABLE, "lookup")}, {})["lookup"]
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= address < end:
            assert line.split()[1] == "r-xp"
            return
    raise AssertionError("the code is in no mapping")


def test_missing_function_is_named() -> None:
    source = "declare void @no_such_function()\ndefine void @f(ptr %x) {\n  call void @no_such_function()\n  ret void\n}"
    with pytest.raises(RuntimeError, match="kernel 'f' calls 'no_such_function', which this process does not have"):
        image.load({"f": made(source, "f")}, {})


@pytest.mark.parametrize(
    "code",
    [
        lambda: compiled(_WRITABLE),
        lambda: b"",
        lambda: b"\x7fELF" + bytes(100),
        lambda: compiled(_TABLE)[:18] + struct.pack("<H", 183) + compiled(_TABLE)[20:],  # AArch64
        lambda: compiled(_TABLE).replace(b"lookup", b"lookdn"),
    ],
    ids=["writable data", "nothing", "zeros", "another processor", "another name"],
)
def test_what_an_image_cannot_express(code: Callable[[], bytes]) -> None:
    assert image.flatten(code(), "count" if code() == compiled(_WRITABLE) else "lookup") is None


def test_kernel_that_no_image_can_be_made_of_is_linked_by_llvm(python: Callable[..., str]) -> None:
    program = f"""
import ctypes
from flambeau._runtime import jit
address = jit.compile_kernels({{"count": '''{_WRITABLE}'''}})["count"]
value = ctypes.c_int64(0)
for _ in range(3):
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(value))
print(value.value, int(jit.statistics()["compiled"]))
"""
    assert python(program).split() == ["3", "1"]
    assert python(program).split() == ["3", "0"]


def test_cached_kernels_load_without_llvm(python: Callable[..., str]) -> None:
    program = f"""
import sys
from flambeau._runtime import jit
jit.compile_kernels({{"lookup": '''{_TABLE}'''}})
print(any(name.startswith(("llvmlite", "flambeau._runtime.llvm")) for name in sys.modules))
"""
    assert python(program).split() == ["True"]
    assert python(program).split() == ["False"]
