from __future__ import annotations

import numpy as np
import pytest

from flambeau._codegen import scalar
from flambeau._codegen.ir import Module
from flambeau._types import dtype as types
from flambeau._types.dtype import COMPLEX, FLOAT
from flambeau._types.encoding import BYTES
from tests._codegen.elementwise import numbers, run, sample

TOLERANCE = {
    **{of: 2.0 ** -BYTES[of].digits for of in types.FLOAT8},
    types.float16: 1e-3,
    types.bfloat16: 8e-3,
    types.float32: 3e-7,
    types.float64: 5e-16,
    types.complex32: 1e-3,
    types.complex64: 4e-7,
    types.complex128: 1e-14,
}
ABSOLUTE = {"logaddexp": 2e-7, "lgamma": 2e-15, "digamma": 5e-15, "ldexp": 1e-44, "silu": 1e-43, "gelu": 1e-7}
ABSOLUTE.update(dict.fromkeys(("j0", "j1", "y0", "y1"), 3e-14))
"""What is lost where two terms cancel, or to subnormal numbers."""
LOOSE = {"erfc": 1e-13, "i0": 1e-15, "i0e": 2e-15, "i1": 4e-15, "i1e": 4e-15, "gelu": 4e-7, "ndtr": 1e-5, "lgamma": 1e-15, "digamma": 5e-15}
LOOSE.update(dict.fromkeys(("j0", "j1", "y0", "y1", "k0", "k1", "k0e", "k1e", "trigamma"), 5e-15))
"""Where SciPy, or a function that is not held to two units in the last place, is less accurate."""

CASES = [
    (name, of)
    for name, op in scalar.OPS.items()
    for of in types.DTYPES
    if op.takes(of) and not (name == "complex" and of in (types.bfloat16, *types.FLOAT8))  # these have no complex dtype
]


def _emit(name, of):
    return lambda builder, operands: scalar.emit(builder, name, of, *operands)


def _operands(name, of):
    op = scalar.OPS[name]
    sources = [of] * op.arity
    if name == "where":
        sources[0] = types.bool
    return sources, [sample(source, 256, seed) for seed, source in enumerate(sources)]


@pytest.mark.parametrize("name, of", CASES, ids=lambda value: value if isinstance(value, str) else value.name)
def test_operator(name, of):
    """Each operator agrees with its definition in NumPy, and to the bit between widths."""
    op = scalar.OPS[name]
    sources, arrays = _operands(name, of)
    result = op.result_dtype(of)
    want = numbers(op.reference(of, *arrays), result)
    single, *others = [run(_emit(name, of), arrays, sources, result, width) for width in (1, 4, 16)]
    got = numbers(single, result)
    for other in others:
        other = numbers(other, result)
        np.testing.assert_array_equal(other, got)
        if result.category == FLOAT:
            number = ~np.isnan(got)
            np.testing.assert_array_equal(np.signbit(other)[number], np.signbit(got)[number])
    if result.category >= FLOAT:
        np.testing.assert_allclose(got, want, rtol=max(TOLERANCE[result], LOOSE.get(name, 0)), atol=ABSOLUTE.get(name, 0))
    else:
        np.testing.assert_array_equal(got, want)


EXACT = ["add", "sub", "mul", "div", "sqrt", "neg", "abs", "maximum", "minimum", "floor", "round", "remainder", "fmod"]


@pytest.mark.parametrize("of", [types.float16, types.bfloat16, types.float32, types.float64], ids=repr)
@pytest.mark.parametrize("name", EXACT)
def test_arithmetic_is_rounded_correctly(name, of):
    op = scalar.OPS[name]
    sources, arrays = _operands(name, of)
    got = numbers(run(_emit(name, of), arrays, sources, of, 16), of)
    np.testing.assert_array_equal(got, numbers(op.reference(of, *arrays), of))


@pytest.mark.parametrize("of", [of for of in types.DTYPES if of.category == 1], ids=repr)
@pytest.mark.parametrize("name", ["floor_divide", "trunc_divide", "remainder", "fmod"])
def test_integer_division_never_traps(name, of):
    limits = np.iinfo(of.numpy)
    edge = np.array([limits.min, limits.max, 0, 1, limits.max - 1, limits.min + 1, 7, 100], of.numpy)
    dividends, divisors = (grid.ravel() for grid in np.meshgrid(edge, np.append(edge, np.array(-1).astype(of.numpy))))
    want = scalar.OPS[name].reference(of, dividends, divisors)
    for width in (1, 8):
        got = run(_emit(name, of), [dividends, divisors], [of, of], of, width)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("of", [types.float32, types.float64], ids=repr)
def test_fmod_of_distant_operands_is_exact(of):
    x = np.array([1e30, -1e30, 1e38, 3.0, 5e-40, 1e20, 7.5, -0.0, 1e30, 2.0, np.inf, 3.0], of.numpy)
    y = np.array([3.0, 7.0, 1e-38, np.inf, 3e-40, 1e-20, 2.5, 2.0, -np.inf, 0.0, 3.0, np.nan], of.numpy)
    got = run(_emit("fmod", of), [x, y], [of, of], of, 4)
    np.testing.assert_array_equal(got, scalar.OPS["fmod"].reference(of, x, y))
    assert np.signbit(got[7])


def test_pythons_division_of_negative_numbers():
    x, y = np.array([7.0, -7.0, 7.0, -7.0, -0.5]), np.array([2.0, 2.0, -2.0, -2.0, np.inf])
    for name, want in {"floor_divide": [3, -4, -4, 3, -1], "remainder": [1, 1, -1, -1, np.inf]}.items():
        np.testing.assert_array_equal(run(_emit(name, types.float64), [x, y], [types.float64] * 2, types.float64, 1), want)


def test_maximum_gives_nan_and_fmax_the_number():
    x, y = np.array([np.nan, 1.0, 2.0, -1.0]), np.array([1.0, np.nan, 3.0, -2.0])
    for name, want in {
        "maximum": [np.nan, np.nan, 3, -1],
        "minimum": [np.nan, np.nan, 2, -2],
        "fmax": [1, 1, 3, -1],
        "fmin": [1, 1, 2, -2],
    }.items():
        np.testing.assert_array_equal(run(_emit(name, types.float64), [x, y], [types.float64] * 2, types.float64, 4), want)


def test_multiply_add_is_rounded_once():
    x = np.full(4, 1 + 2.0**-12, np.float32)
    z = np.full(4, -(1 + 2.0**-11), np.float32)
    got = run(_emit("fma", types.float32), [x, x, z], [types.float32] * 3, types.float32, 4)
    np.testing.assert_array_equal(got, np.full(4, 2.0**-24, np.float32))


COMPLEX_FUNCTIONS = sorted(name for name, op in scalar.OPS.items() if op.arity == 1 and COMPLEX in op.bodies and op.result == "same")


@pytest.mark.parametrize("name", COMPLEX_FUNCTIONS)
def test_complex_functions_on_a_grid(name):
    """Against NumPy in the four quadrants, near the axes and the unit circle."""
    axis = np.array([-20.0, -1.5, -1.0, -0.3, -1e-3, 1e-3, 0.3, 1.0, 1.5, 20.0])
    z = (axis[:, None] + 1j * axis).ravel()
    if name == "sigmoid":
        z = z[np.abs(np.exp(-z) + 1) > 0.1]
    want = scalar.OPS[name].reference(types.complex128, z)
    got = run(_emit(name, types.complex128), [z], [types.complex128], types.complex128, 4)
    np.testing.assert_allclose(got, want, rtol=2e-13)


def test_what_an_operator_does_not_take_is_an_error():
    builder = Module().function("f", [("float", "x")])
    with pytest.raises(TypeError, match=r"bitwise_and is not defined for torch\.float32"):
        scalar.emit(builder, "bitwise_and", types.float32, builder.parameters[0], builder.parameters[0])
    with pytest.raises(TypeError, match="add takes 2 operands, but got 1"):
        scalar.emit(builder, "add", types.float32, builder.parameters[0])
