"""Functions with a forward and a backward of the user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import func
from flambeau.autograd import Function, gradcheck, gradgradcheck
from flambeau.autograd.function import InplaceFunction, once_differentiable
from tests.autograd.functions import Cube, leaf


class Scale(Function):
    """With ``setup_context``, an argument that is no tensor, and two results."""

    @staticmethod
    def forward(x: flambeau.Tensor, factor: float) -> tuple[flambeau.Tensor, flambeau.Tensor]:
        return x * factor, x + factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, scaled: flambeau.Tensor, moved: flambeau.Tensor) -> tuple:
        return scaled * ctx.factor + moved, None


def test_the_backward_is_used_and_can_be_differentiated() -> None:
    x = leaf(1.0, -2.0)
    y = Cube.apply(x)
    assert y.tolist() == [1.0, -8.0] and "Cube" in y.grad_fn.name()
    assert gradcheck(Cube.apply, (x,)) and gradgradcheck(Cube.apply, (x,))


def test_several_results_and_arguments_without_gradient() -> None:
    x = leaf(1.0, 2.0)
    scaled, moved = Scale.apply(x, 5.0)
    scaled.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [5.0, 5.0]
    (scaled + moved).sum().backward()
    assert x.grad.tolist() == [11.0, 11.0]


def test_no_gradient_goes_on_as_zeros() -> None:
    """As in PyTorch: a function is asked, and given zeros, also where a later one gave no gradient."""

    class Stops(Cube):
        @staticmethod
        def backward(ctx: Any, gradient: flambeau.Tensor) -> None:
            return None

    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (Stops.apply(Cube.apply(x) * 2) + Stops.apply(y.exp())).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0] and y.grad is None


def test_a_wrong_number_of_gradients_is_an_error() -> None:
    class Wrong(Cube):
        @staticmethod
        def backward(ctx: Any, gradient: flambeau.Tensor) -> tuple:
            return gradient, gradient

    with pytest.raises(RuntimeError, match="incorrect number of gradients .expected 1, got 2"):
        Wrong.apply(leaf(1.0)).sum().backward()


def test_a_gradient_of_a_wrong_shape_is_an_error() -> None:
    class Wrong(Cube):
        @staticmethod
        def backward(ctx: Any, gradient: flambeau.Tensor) -> flambeau.Tensor:
            return flambeau.ones(5)

    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"Function WrongBackward returned an invalid gradient at index 0 - got \[5\] .* \[2\]"):
        Wrong.apply(x).sum().backward()
    Cube.apply(x).sum().backward()
    assert x.grad.tolist() == [3.0, 12.0]


def test_next_functions_are_those_of_tensors() -> None:
    result = Scale.apply(leaf(1.0), 3.0)[0]
    assert [node.name() for node, _ in result.grad_fn.next_functions] == ["torch::autograd::AccumulateGrad"]


def test_a_saved_tensor_that_was_changed_is_an_error() -> None:
    x = leaf(1.0, 2.0) * 1
    y = Cube.apply(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_results_without_gradient() -> None:
    class Signs(Function):
        @staticmethod
        def forward(ctx: Any, x: flambeau.Tensor) -> tuple:
            sign = (x > 0).double()
            ctx.mark_non_differentiable(sign)
            return x * sign, sign

        @staticmethod
        def backward(ctx: Any, gradient: flambeau.Tensor, ignored: flambeau.Tensor) -> flambeau.Tensor:
            return gradient * 2

    x = leaf(1.0, -2.0)
    y, sign = Signs.apply(x)
    assert y.requires_grad and not sign.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_needs_input_grad() -> None:
    seen = []

    class Sees(Function):
        @staticmethod
        def forward(ctx: Any, a: flambeau.Tensor, b: flambeau.Tensor) -> flambeau.Tensor:
            return a + b

        @staticmethod
        def backward(ctx: Any, gradient: flambeau.Tensor) -> tuple:
            seen.append(ctx.needs_input_grad)
            return gradient, None

    Sees.apply(leaf(1.0), flambeau.ones(1, dtype=flambeau.float64)).sum().backward()
    assert seen == [(True, False)]


def test_once_differentiable_has_no_second_derivative() -> None:
    class Once(Cube):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, gradient: flambeau.Tensor) -> flambeau.Tensor:
            (x,) = ctx.saved_tensors
            return gradient * 3 * x**2

    x = leaf(2.0)
    (first,) = flambeau.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    assert first.tolist() == [12.0]
    with pytest.raises(RuntimeError):
        flambeau.autograd.grad(first.sum(), x)


def test_without_grad_there_is_no_history() -> None:
    with flambeau.no_grad():
        assert not Cube.apply(leaf(1.0)).requires_grad
    assert not Cube.apply(flambeau.ones(1)).requires_grad


def test_a_forward_or_backward_that_is_missing_says_so() -> None:
    class Half(Function):
        @staticmethod
        def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
            return x * 0.5

    with pytest.raises(NotImplementedError, match="forward"):
        Function.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="backward"):
        Half.apply(leaf(1.0)).sum().backward()


class Scaled(Function):
    """Whose backward is not the derivative of its forward, so that it shows which of the two was used."""

    @staticmethod
    def forward(x, y):
        return x * y, x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx, first, second):
        x, y, sine = ctx.saved_tensors
        return 3 * first * y + second * x.cos(), 2 * first * x * sine.sum()


def test_a_function_that_is_mapped_keeps_its_backward() -> None:
    x = flambeau.tensor([[0.5, -1.0], [2.0, 0.25]])

    def value(x):
        first, second = Scaled.apply(x, x * 2)
        return first.sum() + (second * second).sum()

    inside = func.vmap(func.grad(value))(x)
    looped = flambeau.stack([func.grad(value)(row) for row in x])
    np.testing.assert_allclose(inside.numpy(), looped.numpy(), rtol=1e-6)
    np.testing.assert_allclose(func.grad(lambda x: func.vmap(value)(x).sum())(x).numpy(), looped.numpy(), rtol=1e-6)
    twice = func.grad(lambda x: (func.vmap(func.grad(value))(x) ** 2).sum())(x)
    again = func.grad(lambda x: sum((func.grad(value)(row) ** 2).sum() for row in x))(x)
    np.testing.assert_allclose(twice.numpy(), again.numpy(), rtol=1e-5)


def test_a_function_with_a_rule_for_vmap() -> None:
    class Sine(Function):
        @staticmethod
        def forward(x):
            return flambeau.from_numpy(np.sin(x.detach().numpy()))

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[0].cos()

        @staticmethod
        def vmap(info, in_dims, x):
            assert (info.batch_size, info.randomness, in_dims) == (3, "error", (0,))
            return Sine.apply(x).t(), 1

    x = flambeau.randn(3, 2)
    np.testing.assert_allclose(func.vmap(Sine.apply)(x).numpy(), np.sin(x.numpy()), rtol=1e-6)
    for gradient in (func.vmap(func.grad(lambda x: Sine.apply(x).sum())), func.grad(lambda x: func.vmap(Sine.apply)(x).sum())):
        np.testing.assert_allclose(gradient(x).numpy(), np.cos(x.numpy()), rtol=1e-6)


def test_names_of_programs_written_long_ago() -> None:
    class Rounded(InplaceFunction):
        @staticmethod
        def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, grad: flambeau.Tensor) -> flambeau.Tensor:
            return grad * 3

    x = flambeau.ones(2, requires_grad=True)
    with flambeau.autograd.set_multithreading_enabled(False):
        Rounded.apply(x).sum().backward()
    assert x.grad.tolist() == [3, 3] and not Rounded().inplace and Rounded(True).inplace


def test_a_leaf_that_forward_changes_in_place_is_an_error() -> None:
    class AddOne(Function):
        @staticmethod
        def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
            ctx.mark_dirty(x)
            return x.add_(1)

        @staticmethod
        def backward(ctx: Any, grad: flambeau.Tensor) -> flambeau.Tensor:
            return grad

    with pytest.raises(RuntimeError, match=r"a leaf Variable that requires grad is being used in an in-place operation\. \(AddOne\)"):
        AddOne.apply(leaf(1.0, 2.0))
    assert AddOne.apply(flambeau.ones(2)).tolist() == [2.0, 2.0]
