"""Functions that kernels share are compiled once, also by other processes, and what is not fit to be shared stays where it is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau._runtime import cache, jit, parts
from tests._runtime.test_jit import fresh_name


def module(name: str, table: str = "@table.0", attributes: str = "noinline", work: int = 60, factor: float = 3.0) -> str:
    """A kernel that multiplies a float by ``factor`` with a long helper, which adds ``work`` times a constant that is 0."""
    sums = [f"  %x{number + 1} = fadd float %x{number}, %zero" for number in range(work)]
    return "\n".join(
        [
            f"{table} = private unnamed_addr constant [1 x float] [float 0.0]",
            "declare float @llvm.fabs.f32(float)",
            f"define internal float @helper(float %x0) {attributes} {{",
            f"  %zero = load float, ptr {table}",
            *sums,
            f"  %size = call float @llvm.fabs.f32(float %x{work})",
            "  ret float %size",
            "}",
            f"define void @{name}(ptr %value) {{",
            "  %x = load float, ptr %value",
            "  %size = call float @helper(float %x)",
            f"  %product = fmul float %size, {factor}",
            "  store float %product, ptr %value",
            "  ret void",
            "}",
            "",
        ]
    )


def apply(address: int, number: float) -> float:
    value = ctypes.c_float(number)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(value))
    return value.value


def test_split_leaves_a_declaration() -> None:
    rest, apart = parts.split(module("f"))
    ((name, source),) = apart.items()
    assert parts.is_part(name) and not parts.is_part("k_1")
    assert f"declare float @{name}(float %x0)\n" in rest and f"call float @{name}(float %x)" in rest and "@helper" not in rest
    assert f"define float @{name}(float %x0) {{" in source and source.count("fadd") == 60
    assert parts.split(source) == (source, {})


def test_a_part_is_the_same_wherever_it_stands() -> None:
    """Neither the kernel nor how its module numbers constants matters; what the function does matters."""
    first, second = (set(parts.split(module(name, table))[1]) for name, table in (("f", "@table.0"), ("g", "@table.7")))
    assert first == second
    assert set(parts.split(module("f", work=61))[1]) != first


@pytest.mark.parametrize(
    "source",
    [
        module("f", attributes=""),  # it may be inlined
        module("f", work=5),  # too short
        module("f").replace("ptr @table.0\n", "ptr @table.0, !nontemporal !0\n") + "!0 = !{i32 1}\n",
        module("f").replace("@llvm.fabs.f32(float %x60)", "@other(float %x60)")
        + "define internal float @other(float %x) {\n  ret float %x\n}\n",
    ],
    ids=["to be inlined", "short", "metadata", "calls a function of the module"],
)
def test_what_stays(source: str) -> None:
    assert parts.split(source) == (source, {})


def test_a_part_may_be_called_by_its_address(cache_home: Path) -> None:
    source = module(name := fresh_name()).replace(
        "  %size = call float @helper(float %x)\n",
        "  %place = alloca ptr\n  store volatile ptr @helper, ptr %place\n  %f = load volatile ptr, ptr %place\n  %size = call float %f(float %x)\n",
    )
    rest, ((part, _),) = parts.split(source)[0], parts.split(source)[1].items()
    assert f"store volatile ptr @{part}, ptr %place" in rest and "@helper" not in rest
    assert apply(jit.compile_kernels({name: source})[name], -2.0) == 6.0


def test_functions_that_say_the_same_are_one_part() -> None:
    text = module("f")
    start, end = text.index("define internal"), text.index("define void")
    twice = text[:end] + text[start:end].replace("@helper", "@other") + text[end:].replace("@helper", "@other")
    rest, apart = parts.split(twice)
    (name,) = apart
    assert rest.count("declare float @part_") == 1 and f"call float @{name}(" in rest


def test_kernels_share_a_part(cache_home: Path) -> None:
    first, second = fresh_name(), fresh_name()
    before = jit.statistics()["compiled"]
    addresses = jit.compile_kernels({first: module(first), second: module(second, "@table.5", factor=5.0)})
    assert (apply(addresses[first], -2.0), apply(addresses[second], -2.0)) == (6.0, 10.0)
    assert jit.statistics()["compiled"] == before + 2  # the part is not a kernel
    assert jit.ir(first) == module(first) and "helper" in jit.assembly(first)
    (part,) = parts.split(module(first))[1]
    assert jit.load_kernels([part]).keys() == {part}


_LOAD = """
from flambeau._runtime import jit
from tests._runtime.test_parts import apply, module
names = ["parts_1", "parts_2"]
addresses = jit.load_kernels(names)
print(len(addresses), *[apply(addresses[name], -2.0) for name in names if name in addresses])
"""


def test_another_process_loads_a_kernel_with_its_parts(cache_home: Path, python: Callable[..., str]) -> None:
    python("""
from flambeau._runtime import jit
from tests._runtime.test_parts import module
jit.compile_kernels({"parts_1": module("parts_1"), "parts_2": module("parts_2", factor=5.0)})
""")
    assert python(_LOAD).split() == ["2", "6.0", "10.0"]


def test_a_kernel_without_its_part_is_missing(cache_home: Path, python: Callable[..., str]) -> None:
    """A cache that is trimmed, or damaged, may have lost the part alone."""
    compile_both = """
from flambeau._runtime import jit
from tests._runtime.test_parts import apply, module
sources = {"parts_1": module("parts_1"), "parts_2": module("parts_2", factor=5.0)}
addresses = jit.compile_kernels(sources)
print(apply(addresses["parts_1"], -2.0), int(jit.statistics()["compiled"]))
"""
    assert python(compile_both).split() == ["6.0", "2"]
    (part,) = parts.split(module("f"))[1]
    directory = cache._directory()
    assert directory is not None
    Path(cache._path(directory, "kernel", part)).unlink()
    assert python(_LOAD).split() == ["0"]
    found, compiled = python(compile_both).split()
    assert found == "6.0" and int(compiled) <= 1  # what still has its code gets the new part, once that is there
    assert python(compile_both).split() == ["6.0", "0"]
