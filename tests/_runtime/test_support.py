from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy
import pytest

from flambeau._runtime import support, targets
from flambeau._runtime.jit import compile_kernels

_TYPES = {"h": ("half", numpy.uint16), "b": ("bfloat", numpy.uint16), "s": ("float", numpy.float32), "d": ("double", numpy.float64)}
_EDGES = [0.0, 2.0**-24, 2.0**-25, 2.0**-25 + 2.0**-40, 3 * 2.0**-25, 2.0**-14, 65504.0, 65519.9, 65520.0, 65536.0, 1e30, 1e-45, numpy.inf]


def convert(name: str, values: numpy.ndarray) -> numpy.ndarray:
    """Call one of the functions on each value. ``__truncdfhf2``: from d(ouble) to h(alf)."""
    before, after = _TYPES[name[-5]], _TYPES[name[-3]]
    wrapper = f"test{name}"
    source = f"""{support.SOURCES[name].replace(f"define {after[0]}", f"define internal {after[0]}")}
define void @{wrapper}(ptr %from, ptr %to, i64 %count) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %from.at = getelementptr {before[0]}, ptr %from, i64 %i
  %x = load {before[0]}, ptr %from.at
  %y = call {after[0]} @{name}({before[0]} %x)
  %to.at = getelementptr {after[0]}, ptr %to, i64 %i
  store {after[0]} %y, ptr %to.at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
    address = compile_kernels({wrapper: source})[wrapper]
    result = numpy.empty(len(values), after[1])
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(address)(values.ctypes.data, result.ctypes.data, len(values))
    return result


def samples(dtype: type) -> numpy.ndarray:
    """Numbers of every size, halfway cases, their neighbours, and edges, of both signs."""
    halves = numpy.arange(0x7C00, dtype=numpy.uint16).view(numpy.float16).astype(numpy.float64)
    midpoints = (halves[:-1] + halves[1:]) / 2
    random = numpy.exp2(numpy.random.default_rng(0).uniform(-40, 30, 20_000))
    values = numpy.concatenate([halves, midpoints, random, _EDGES]).astype(dtype)
    values = numpy.concatenate([values, numpy.nextafter(values, dtype(0)), numpy.nextafter(values, dtype(numpy.inf))])
    return numpy.concatenate([values, -values])


def test_extends_every_half() -> None:
    halves = numpy.arange(1 << 16, dtype=numpy.uint16)
    result = convert("__extendhfsf2", halves)
    expected = halves.view(numpy.float16).astype(numpy.float32)
    number = ~numpy.isnan(expected)
    numpy.testing.assert_array_equal(result.view(numpy.uint32)[number], expected.view(numpy.uint32)[number])
    assert numpy.isnan(result[~number]).all()


@pytest.mark.parametrize(("name", "dtype"), [("__truncsfhf2", numpy.float32), ("__truncdfhf2", numpy.float64)])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_rounds_to_half_as_numpy_does(name: str, dtype: type) -> None:
    values = samples(dtype)
    numpy.testing.assert_array_equal(convert(name, values), values.astype(numpy.float16).view(numpy.uint16))


def test_rounds_float_to_bfloat() -> None:
    values = samples(numpy.float32)
    bits = values.view(numpy.uint32).astype(numpy.uint64)
    numpy.testing.assert_array_equal(convert("__truncsfbf2", values), (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def test_rounds_double_to_bfloat_once() -> None:
    one = numpy.array([1.0])
    tie = one + 2.0**-8  # halfway between 1 and the next bfloat16
    values = numpy.concatenate([one, tie, tie + 2.0**-40, tie - 2.0**-40, -tie - 2.0**-40, 3 * tie / 3 + 2.0**-7])
    assert [hex(bits) for bits in convert("__truncdfbf2", values)] == ["0x3f80", "0x3f80", "0x3f81", "0x3f80", "0xbf81", "0x3f82"]


@pytest.mark.parametrize("name", sorted(set(support.SOURCES) - {"__extendhfsf2"}))
def test_nan_stays_nan(name: str) -> None:
    dtype = _TYPES[name[-5]][1]
    (bits,) = convert(name, numpy.array([numpy.nan], dtype))
    exponent = 0x7C00 if name[-3] == "h" else 0x7F80
    assert bits & exponent == exponent and bits & (exponent ^ 0x7FFF)


@pytest.mark.skipif(targets.platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86-64 processor")
def test_old_processors_get_them(python: Callable[..., str]) -> None:
    python(
        """
import ctypes, numpy
from flambeau._runtime.jit import assembly, compile_kernels
source = '''define void @round(ptr %x) {
  %a = load <8 x float>, ptr %x, align 4
  %b = fptrunc <8 x float> %a to <8 x half>
  %c = fpext <8 x half> %b to <8 x float>
  store <8 x float> %c, ptr %x, align 4
  ret void
}'''
x = numpy.linspace(-3, 3, 8, dtype=numpy.float32)
expected = x.astype(numpy.float16).astype(numpy.float32)
ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compile_kernels({"round": source})["round"])(x.ctypes.data)
assert (x == expected).all()
assert "__truncsfhf2" in assembly("round")
""",
        FLAMBEAU_CPU="x86-64-v2",
    )
