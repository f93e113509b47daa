"""Arithmetic and functions of one element: values against NumPy, gradients against differences, and error texts."""

from __future__ import annotations

import cmath
from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional

UNARY = {
    "abs": np.abs, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "neg": np.negative,
    "floor": np.floor, "ceil": np.ceil, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "square": np.square, "reciprocal": np.reciprocal,
    "expm1": np.expm1, "log1p": np.log1p, "atan": np.arctan, "rsqrt": lambda x: 1 / np.sqrt(x), "sign": np.sign,
}  # fmt: skip
BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "pow": np.power,
    "atan2": np.arctan2,
}
SHAPES = [(), (7,), (3, 5), (0, 4), (2, 1, 3)]
LAYOUTS: dict[str, Callable] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, -1) if x.dim() else x,
    "strided": lambda x: x[..., ::2] if x.dim() else x,
}


def positive(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.3, 2.5, shape)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, shape: tuple, layout: str) -> None:
    x = LAYOUTS[layout](flambeau.tensor(positive(*shape)))
    np.testing.assert_allclose(getattr(flambeau, name)(x).numpy(), UNARY[name](np.array(x.numpy())), rtol=1e-12)


@pytest.mark.parametrize("shapes", [((), ()), ((3, 5), (3, 5)), ((3, 1), (5,)), ((0, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (2, 3))])
@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(name: str, shapes: tuple) -> None:
    x, y = (positive(*shape) + number for number, shape in enumerate(shapes))
    found = getattr(flambeau, name)(flambeau.tensor(x), flambeau.tensor(y))
    np.testing.assert_allclose(found.numpy(), BINARY[name](x, y), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in UNARY if name not in ("floor", "ceil", "sign")])
def test_unary_gradients(name: str) -> None:
    x = flambeau.tensor(positive(2, 3)).t().requires_grad_()
    assert gradcheck(getattr(flambeau, name), (x,)) and gradgradcheck(getattr(flambeau, name), (x,))


@pytest.mark.parametrize("name", BINARY)
def test_binary_gradients(name: str) -> None:
    x, y = flambeau.tensor(positive(2, 1)).requires_grad_(), flambeau.tensor(positive(3) + 0.7).requires_grad_()
    assert gradcheck(getattr(flambeau, name), (x, y)) and gradgradcheck(getattr(flambeau, name), (x, y))


def test_complex_modulus_has_a_gradient() -> None:
    z = flambeau.tensor(positive(3) + 1j * positive(3)).requires_grad_()
    assert gradcheck(lambda z: (z * z).abs(), (z,))
    assert flambeau.sgn(flambeau.tensor([3 + 4j, 0j])).tolist() == pytest.approx([0.6 + 0.8j, 0j])


def test_special_values() -> None:
    x = flambeau.tensor([float("nan"), float("inf"), -float("inf"), 0.0])
    assert x.isnan().tolist() == [True, False, False, False]
    assert flambeau.maximum(x, flambeau.zeros(4)).isnan().tolist() == [True, False, False, False]
    assert (1 / x)[1:].tolist() == [0.0, -0.0, float("inf")]


def test_integer_division_rounds_down_and_true_division_gives_floats() -> None:
    x = flambeau.tensor([-7, 7])
    assert (x // 2).tolist() == [-4, 3] and (x % 3).tolist() == [2, 1]
    assert (x / 2).dtype is flambeau.float32 and (x / 2).tolist() == [-3.5, 3.5]


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match the size of tensor b \(4\)"):
        flambeau.ones(3) + flambeau.ones(4)


def test_in_place_cannot_enlarge_or_change_the_category() -> None:
    with pytest.raises(RuntimeError, match=r"output with shape \[1\] doesn't match the broadcast shape \[3\]"):
        flambeau.ones(1).add_(flambeau.ones(3))
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        flambeau.arange(3).add_(1.5)


@pytest.mark.parametrize("exponent", [3, 3.0, 0.5, -0.5, -1, -2, -1.0])
def test_powers_with_short_ways(exponent: float) -> None:
    x = flambeau.tensor([0.5, 2.0, 3.0, 7.25], dtype=flambeau.float64, requires_grad=True)
    np.testing.assert_allclose((x**exponent).tolist(), np.array(x.tolist()) ** exponent, rtol=1e-15)
    assert gradcheck(lambda x: x**exponent, (x,)) and gradgradcheck(lambda x: x**exponent, (x,))
    y = flambeau.tensor([0.5, 2.0])
    assert y.pow_(exponent).tolist() == (flambeau.tensor([0.5, 2.0]) ** exponent).tolist()
    z = flambeau.tensor([2, -3])
    if exponent == 3:
        assert (z**exponent).dtype is (flambeau.int64 if isinstance(exponent, int) else flambeau.float32) and (z**exponent).tolist() == [
            8,
            -27,
        ]
    assert (y ** complex(exponent)).is_complex()


def test_addcmul_and_logarithms_of_sums_lose_no_bits() -> None:
    draw = np.random.default_rng(3)
    x, a, b = (draw.standard_normal(4000).astype(np.float32) for _ in range(3))
    exact = a.astype(np.float64) * b + x
    assert np.array_equal(flambeau.addcmul(*map(flambeau.tensor, (x, a, b))).numpy(), exact.astype(np.float32))
    left, right = (flambeau.tensor(each * 30, requires_grad=True) for each in (x, a))
    flambeau.logaddexp(left, right).sum().backward()
    share = 1 / (1 + np.exp((a * np.float32(30)).astype(np.float64) - (x * np.float32(30))))
    kept = share > 1e-30
    np.testing.assert_allclose(left.grad.numpy()[kept], share[kept], rtol=5e-6)
    infinite = flambeau.tensor([float("inf"), -float("inf"), 1.0])
    assert flambeau.logaddexp2(infinite, infinite).tolist() == [float("inf"), -float("inf"), 2.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda z: z > z,
        lambda z: z >= 1,
        lambda z: z.max(),
        lambda z: flambeau.bitwise_not(z.real),
        lambda z: z.real | 1,
        lambda z: z.real << 1,
    ],
)
def test_dtypes_that_an_operator_does_not_take_are_refused_at_the_call(call):
    z = flambeau.ones(2, dtype=flambeau.complex64)
    with pytest.raises(NotImplementedError):
        call(z)
    with pytest.raises(NotImplementedError):
        call(z.to("meta"))


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
@pytest.mark.parametrize(
    "function, least",
    [
        (lambda x: flambeau.logaddexp2(x[0], x[1]), -2),
        (lambda x: flambeau.special.multigammaln(x, 3), 1.1),
        (lambda x: functional.glu(x, 0), -1),
        (lambda x: functional.mse_loss(x[0], x[1], reduction="none"), -1),
        (lambda x: functional.huber_loss(x[0], x[1].flip(0), reduction="none"), -1),
        (lambda x: functional.smooth_l1_loss(x[0], x[1].flip(0), reduction="none", beta=0.7), -1),
    ],
    ids=["logaddexp2", "multigammaln", "glu", "mse_loss", "huber_loss", "smooth_l1_loss"],
)
def test_functions_of_several_steps_are_rounded_once(function: Callable, least: float, dtype: flambeau.dtype) -> None:
    x = flambeau.linspace(least, least + 2, 200).reshape(2, 100).to(dtype).requires_grad_()
    wide = x.detach().double().requires_grad_()
    found, exact = function(x), function(wide)
    pairs = ((found, exact), (*flambeau.autograd.grad(found.sum(), x), *flambeau.autograd.grad(exact.sum(), wide)))
    for one, other in pairs:
        near = other.abs().clamp_min(other.abs().max() / 1000)
        assert ((one.double() - other).abs() / near).max() <= 0.55 * flambeau.finfo(dtype).eps


def test_sums_with_alpha_are_rounded_once() -> None:
    random = np.random.default_rng(3)
    x, y = random.normal(size=(64, 9)).astype(np.float32), random.normal(size=9).astype(np.float32)
    wide = y.astype(np.float64) * np.float32(1.7)
    a, b = flambeau.tensor(x), flambeau.tensor(y)
    for sign, function, in_place in ((1, flambeau.add, a.clone().add_), (-1, flambeau.sub, a.clone().sub_)):
        exact = (x + sign * wide).astype(np.float32)  # the sum in double precision is exact to 29 bits more
        np.testing.assert_allclose(function(a, b, alpha=1.7).numpy(), exact, rtol=0, atol=0)
        np.testing.assert_array_equal(in_place(b, alpha=1.7).numpy(), exact)
    a.requires_grad_()
    b.requires_grad_()
    result = flambeau.sub(a, b, alpha=2.5)
    assert result.grad_fn.name() == "SubBackward0"
    result.sum().backward()
    assert (a.grad == 1).all() and (b.grad == -2.5 * 64).all()
    assert flambeau.add(flambeau.tensor([1, 2]), flambeau.tensor([3, 4]), alpha=2).tolist() == [7, 10]
    half = flambeau.add(flambeau.tensor([1.0], dtype=flambeau.bfloat16), flambeau.tensor([3.0], dtype=flambeau.bfloat16), alpha=1 / 3)
    assert half.item() == 2.0
    with pytest.raises(RuntimeError, match="must not be a floating point number"):
        flambeau.add(flambeau.tensor([1]), flambeau.tensor([2]), alpha=0.5)


def test_complex_functions_of_huge_and_tiny_numbers() -> None:
    extremes = [
        complex(1.5e308, 1.5e308),
        complex(3e-310, 3e-310),
        complex(-1e200, 1e-200),
        complex(1, 1e-200),
        complex(1, -1e-300),
        1e300j,
    ]
    z = flambeau.tensor(extremes, dtype=flambeau.complex128)
    for name in ("log", "sqrt", "atanh", "atan"):
        exact = [getattr(cmath, name)(number) for number in extremes]
        np.testing.assert_allclose(getattr(z, name)().numpy(), exact, rtol=1e-14, err_msg=name)
    for dtype in (flambeau.complex64, flambeau.complex128):
        assert flambeau.tensor([-1000 + 1j, -1e4 - 2j], dtype=dtype).sigmoid().tolist() == [0, 0]
        np.testing.assert_allclose(flambeau.tensor([1000 + 1j, 0.5 + 0j], dtype=dtype).sigmoid().numpy(), [1, 0.62245933], rtol=1e-6)


def test_gradients_that_are_passed_on() -> None:
    """Of nextafter where there is a step, and of logit where there is a logarithm."""
    x = flambeau.tensor([1.0, 2.0, 3.0], requires_grad=True)
    flambeau.nextafter(x, flambeau.tensor([2.0, 1.0, 3.0])).backward(flambeau.tensor([1.0, 2.0, 3.0]))
    assert x.grad.tolist() == [1, 2, 0]
    y = flambeau.tensor([0.5, -1.0, 2.0, 0.0], requires_grad=True)
    flambeau.logit(y).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [4, np.nan, np.nan, np.inf])


def test_hurwitz_zeta_of_large_exponents() -> None:
    scipy_special = pytest.importorskip("scipy.special")
    s, q = np.array([22.953, 26.9, 6.48, 6.15, 1.5, 70.0]), np.array([6.5668, 28.8, 7.29, 5.917, 3.0, 11.0])
    found = flambeau.special.zeta(flambeau.tensor(s), flambeau.tensor(q)).numpy()
    np.testing.assert_allclose(found, scipy_special.zeta(s, q), rtol=2e-14)


def test_a_bound_beside_a_number_counts_as_one() -> None:
    """As in PyTorch, where it becomes one; two tensors count as tensors."""
    small, one = flambeau.ones(2, dtype=flambeau.int16), flambeau.tensor(1.0, dtype=flambeau.float16)
    assert small.clamp(0, one).dtype is flambeau.float32 and small.clamp(one, 2.0).dtype is flambeau.float32
    assert small.clamp(one - 1, one).dtype is small.clamp(max=one).dtype is flambeau.float16
    assert small.clamp(0, flambeau.tensor(1)).dtype is flambeau.int16
    assert one.clamp(0, flambeau.tensor(0.5, dtype=flambeau.float64)).dtype is flambeau.float16
    assert flambeau.tensor([True]).clamp(2, flambeau.tensor(3, dtype=flambeau.int8)).dtype is flambeau.int64
