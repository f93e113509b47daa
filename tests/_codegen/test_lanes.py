from __future__ import annotations

import numpy as np
import pytest

from flambeau._codegen.ir import Module
from flambeau._codegen.lanes import Lanes, polynomial, rarely, seldom
from tests._codegen.elementwise import run_lanes


def test_notation_appends_instructions():
    builder = Module().function("f", [("<4 x float>", "x"), ("<4 x i32>", "n")])
    x, n = (Lanes(builder, parameter) for parameter in builder.parameters)
    assert ((2.0 - x) * x / 3.0).type == "<4 x float>"
    assert ((n + 1) << 2 ^ n).type == "<4 x i32>"
    assert ((x < 1.0) & ~(n == 0)).type == "<4 x i1>"
    text = str(builder)
    for instruction in ("fsub", "fmul", "fdiv", "shl", "xor", "fcmp olt", "icmp eq"):
        assert instruction in text


def test_signs_choose_instructions():
    builder = Module().function("f", [("i32", "n")])
    for signed in (True, False):
        n = Lanes(builder, builder.parameters[0], signed)
        n / 3, n % 3, n >> 1, n < 3
    text = str(builder)
    for instruction in ("sdiv", "srem", "ashr", "icmp slt", "udiv", "urem", "lshr", "icmp ult"):
        assert instruction in text


def test_lanes_have_no_truth_value():
    builder = Module().function("f", [("float", "x")])
    x = Lanes(builder, builder.parameters[0])
    with pytest.raises(TypeError, match="use select"):
        assert 0.0 < x < 1.0


def test_limits_keep_nan():
    x = np.array([-5.0, 0.5, np.nan, 7.0], np.float32)
    np.testing.assert_array_equal(run_lanes(lambda x: x.at_most(1.0).at_least(-1.0), x, width=4), [-1.0, 0.5, np.nan, 1.0])


def test_polynomial_is_evaluated_with_one_rounding_a_step():
    x = np.linspace(-1, 1, 16)
    np.testing.assert_allclose(run_lanes(lambda x: polynomial(x, (1.0, -2.0, 0.5, 3.0)), x), 1 - 2 * x + 0.5 * x**2 + 3 * x**3, rtol=1e-14)


@pytest.mark.parametrize("width", [1, 4])
def test_rarely_replaces_only_lanes_that_meet_the_condition(width):
    def body(x: Lanes) -> Lanes:
        first, second = rarely(x > 2.0, [x, x + 1.0], lambda: [x * 10.0, x * 100.0])
        return first + second

    x = np.array([1.0, 3.0, 2.0, 4.0, 0.0, 1.0, 1.0, 2.0])
    np.testing.assert_array_equal(run_lanes(body, x, width=width), np.where(x > 2, 110 * x, 2 * x + 1))


@pytest.mark.parametrize("width", [1, 4, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_seldom_done_is_done_where_the_condition_holds(width, dtype):
    def body(x: Lanes) -> Lanes:
        first, second = seldom("times_ten", x, [x, x + 1.0], lambda x: x > 2.0, lambda x: [x * 10.0, x * 100.0])
        return first + second

    x = np.linspace(-3, 3, 64, dtype=dtype)
    expected = np.where(x > 2, x * dtype(10) + x * dtype(100), x + (x + dtype(1)))
    np.testing.assert_array_equal(run_lanes(body, x, width=width), expected)
