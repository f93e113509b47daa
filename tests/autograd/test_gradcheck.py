"""gradcheck finds wrong gradients, and passes right ones."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau.autograd import Function, gradcheck, gradgradcheck
from flambeau.autograd.gradcheck import GradcheckError
from tests.autograd.functions import Cube


class Square(Function):
    """``x * x`` with a gradient and a second gradient that are ``wrong`` by a factor."""

    wrong = second = 1.0

    @classmethod
    def with_errors(cls, wrong: float, second: float) -> Any:
        return type("Square", (cls,), {"wrong": wrong, "second": second})

    @staticmethod
    def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: flambeau.Tensor) -> flambeau.Tensor:
        (x,) = ctx.saved_tensors
        right = 2 * x * gradient * ctx.function.wrong
        return right * ctx.function.second + right.detach() * (1 - ctx.function.second)


def inputs(*shape: int, dtype: Any = flambeau.float64) -> flambeau.Tensor:
    flambeau.manual_seed(3)
    return flambeau.randn(*shape, dtype=dtype).requires_grad_()


def test_right_gradients_pass() -> None:
    assert gradcheck(Square.apply, (inputs(2, 3),)) and gradgradcheck(Square.apply, (inputs(2, 3),))
    assert gradcheck(lambda x, y: (x @ y, x.exp()), (inputs(2, 3), inputs(3, 2)))
    assert gradcheck(lambda z: (z * z).abs(), (inputs(3, dtype=flambeau.complex128),))


def test_a_wrong_gradient_is_found() -> None:
    wrong = Square.with_errors(1.01, 1.0)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(wrong.apply, (inputs(2, 3),))
    assert not gradcheck(wrong.apply, (inputs(2, 3),), raise_exception=False)


def test_a_wrong_second_gradient_is_found() -> None:
    wrong = Square.with_errors(1.0, 1.1)
    assert gradcheck(wrong.apply, (inputs(2, 3),))
    with pytest.raises(GradcheckError):
        gradgradcheck(wrong.apply, (inputs(2, 3),))


def test_a_missing_gradient_is_found() -> None:
    with pytest.raises(GradcheckError):
        gradcheck(lambda x, y: x * y.detach(), (inputs(2), inputs(2)))


def test_an_input_must_require_grad() -> None:
    with pytest.raises(ValueError, match="requires_grad"):
        gradcheck(flambeau.exp, (flambeau.ones(2, dtype=flambeau.float64),))


def test_inputs_that_do_not_lie_in_order() -> None:
    assert gradcheck(lambda x: x * x.t(), (inputs(3, 3).detach().t().requires_grad_(),))
    assert gradcheck(lambda x: x.sum(), (inputs(0, 3),))
    assert gradcheck(flambeau.sin, (inputs(),))


class SineAndCosine(Function):
    """Its backward pass is given ``None`` for gradients that are undefined, and may forget that both can be."""

    forgets = False

    @staticmethod
    def forward(ctx: Any, x: flambeau.Tensor) -> tuple[flambeau.Tensor, flambeau.Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx: Any, of_sine: flambeau.Tensor | None, of_cosine: flambeau.Tensor | None) -> Any:
        (x,) = ctx.saved_tensors
        found = flambeau.ones_like(x) if ctx.function.forgets and of_sine is None and of_cosine is None else None
        if of_sine is not None:
            found = of_sine * x.cos()
        if of_cosine is not None:
            part = -of_cosine * x.sin()
            found = part if found is None else found + part
        return found


def test_undefined_gradients_count_as_zeros() -> None:
    assert gradcheck(SineAndCosine.apply, (inputs(3),)) and gradgradcheck(SineAndCosine.apply, (inputs(3),))
    both = type("SineAndCosine", (SineAndCosine,), {"forgets": True})
    with pytest.raises(GradcheckError, match="undefined or zero when the gradient of all outputs is undefined .* that of input 0"):
        gradcheck(both.apply, (inputs(3),))
    assert gradcheck(both.apply, (inputs(3),), check_undefined_grad=False)

    class Careless(Cube):
        @staticmethod
        def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
            ctx.set_materialize_grads(False)
            return Cube.forward(ctx, x)

    with pytest.raises(GradcheckError, match="fails where the gradient of all outputs is undefined"):
        gradcheck(Careless.apply, (inputs(3),))
    assert gradcheck(Cube.apply, (inputs(3),))
