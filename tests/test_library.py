"""Operators of the user's own."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau import Tensor, library


@library.custom_op("tests_library::scale", mutates_args=())
def scale(x: Tensor, factor: float = 2.0) -> Tensor:
    return flambeau.from_numpy(x.detach().numpy() * factor).to(x.dtype)


@scale.register_fake
def _(x: Tensor, factor: float = 2.0) -> Tensor:
    return flambeau.empty_like(x)


def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.factor = inputs[1]


scale.register_autograd(lambda ctx, grad: (grad * ctx.factor, None), setup_context=_setup)


def test_an_operator_is_called_by_its_name_and_differentiated() -> None:
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    y = flambeau.ops.tests_library.scale(x, 3.0)
    assert y.tolist() == [3.0, 6.0] and "tests_library_scale" in y.grad_fn.name()
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert flambeau.ops.tests_library.scale.default(x.detach()).tolist() == [2.0, 4.0]
    assert repr(scale) == "<CustomOpDef(tests_library::scale)>" and scale._opoverload is flambeau.ops.tests_library.scale.default
    assert set(library.opcheck(scale, (x,)).values()) == {"SUCCESS"}
    assert x.grad.tolist() == [3.0, 3.0]  # a check leaves it as it was
    with flambeau.no_grad():
        assert not scale(x).requires_grad


def test_lists_of_tensors() -> None:
    @library.custom_op("tests_library::total", mutates_args=())
    def total(parts: list[Tensor], weight: Tensor) -> Tensor:
        return sum(part.sum() for part in parts) * weight

    def setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[0], inputs[1])

    def backward(ctx: Any, grad: Tensor) -> tuple:
        *parts, weight = ctx.saved_tensors
        return [flambeau.ones_like(part) * (grad * weight).sum() for part in parts], grad * sum(part.sum() for part in parts)

    total.register_autograd(backward, setup_context=setup)
    a, b, w = (flambeau.full((2,), value, requires_grad=True) for value in (1.0, 2.0, 3.0))
    total([a, b], w).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [6.0, 6.0] and w.grad.tolist() == [6.0, 6.0]


def test_arguments_that_are_changed() -> None:
    @library.custom_op("tests_library::fill", mutates_args={"out"})
    def fill(x: Tensor, out: Tensor) -> None:
        out.copy_(x + 1)

    out = flambeau.zeros(2)
    assert fill(flambeau.ones(2), out) is None and out.tolist() == [2.0, 2.0]


def test_operators_by_schemas() -> None:
    library.define("tests_library::repeat", "(Tensor x, int n=2, *, bool negative=False) -> Tensor")

    @library.impl("tests_library::repeat", "cpu")
    def repeat(x: Tensor, n: int, negative: bool = False) -> Tensor:
        return x * (-n if negative else n)

    op = flambeau.ops.tests_library.repeat
    assert op(flambeau.ones(1)).item() == 2 and op(flambeau.ones(1), 3).item() == 3 and op(flambeau.ones(1), negative=True).item() == -2
    lib = library.Library("tests_library", "FRAGMENT")
    assert lib.define("next(Tensor x) -> Tensor") == "next"
    lib.impl("next", lambda x: x + 1, "CompositeImplicitAutograd")
    with pytest.raises(NotImplementedError, match="with_keyset"):
        lib.impl("next", lambda keys, x: x + 1, "CPU", with_keyset=True)
    x = flambeau.ones(1, requires_grad=True)
    flambeau.ops.tests_library.next(x).backward()
    assert x.grad.item() == 1


def test_schemas_of_functions() -> None:
    def f(x: Tensor, sizes: list[int], y: Tensor | None = None, *, name: str = "a") -> tuple[Tensor, Tensor]:
        return x, x

    assert (
        library.infer_schema(f, mutates_args={"x"})
        == '(Tensor(a0!) x, SymInt[] sizes, Tensor? y=None, *, str name="a") -> (Tensor, Tensor)'
    )


def test_errors() -> None:
    with pytest.raises(AttributeError, match="'_OpNamespace' 'tests_library' object has no attribute 'nothing'"):
        flambeau.ops.tests_library.nothing  # noqa: B018
    with pytest.raises(ValueError, match="must have a type annotation"):
        library.custom_op("tests_library::bad", lambda x: x, mutates_args=())
    with pytest.raises(ValueError, match="namespace::name"):
        library.define("bad", "(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="Could not find the operator"):
        library.register_fake("tests_library::unknown", lambda x: x)

    @library.custom_op("tests_library::no_gradient", mutates_args=())
    def no_gradient(x: Tensor) -> Tensor:
        return x * 2

    with pytest.raises(NotImplementedError, match="no autograd formula was registered"):
        no_gradient(flambeau.ones(1, requires_grad=True)).backward()
    with pytest.raises(OSError, match="compiled libraries"):
        flambeau.ops.load_library("x.so")

    @library.custom_op("tests_library::elsewhere", mutates_args=(), device_types="cuda")
    def elsewhere(x: Tensor) -> Tensor:
        return x

    with pytest.raises(NotImplementedError, match="no kernel for the CPU"):
        elsewhere(flambeau.ones(1))


def test_a_rule_for_vmap() -> None:
    seen = []

    @library.custom_op("tests::squares_by_numpy", mutates_args=())
    def squares(x: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.from_numpy(x.detach().numpy() ** 2)

    @squares.register_vmap
    def _(info, in_dims, x):
        seen.append((info.batch_size, in_dims))
        return squares(x), in_dims[0]

    squares.register_autograd(lambda ctx, grad: 2 * grad * ctx.x, setup_context=lambda ctx, inputs, output: setattr(ctx, "x", inputs[0]))
    x = flambeau.arange(6.0).reshape(2, 3)
    assert flambeau.vmap(squares)(x).tolist() == (x * x).tolist() and seen == [(2, (0,))]
    assert flambeau.vmap(flambeau.func.grad(lambda x: squares(x).sum()))(x).tolist() == (2 * x).tolist()
    assert flambeau.func.grad(lambda x: flambeau.vmap(squares)(x).sum())(x).tolist() == (2 * x).tolist()


def test_the_dtype_of_an_operator_inside_regions_of_autocast() -> None:
    seen = []

    @library.custom_op("users::doubled", mutates_args=())
    def doubled(x: flambeau.Tensor) -> flambeau.Tensor:
        seen.append((x.dtype, flambeau.is_autocast_enabled("cpu")))
        return x * 2

    library.register_autocast(doubled, "cpu", flambeau.bfloat16)
    doubled.register_autocast("cuda", flambeau.float16)
    with flambeau.autocast("cpu"):
        assert doubled(flambeau.ones(1)).dtype is flambeau.bfloat16
    assert doubled(flambeau.ones(1)).dtype is flambeau.float32
    assert seen == [(flambeau.bfloat16, False), (flambeau.float32, False)]
    with pytest.raises(ValueError, match="Unknown device type"):
        doubled.register_autocast("toaster", flambeau.float16)


def test_kernels_are_set_in_the_old_form_too() -> None:
    own = library.Library("users_old", "DEF")
    own.define("plus_one(Tensor x) -> Tensor")

    @library.impl(own, "plus_one", "CPU")
    def plus_one(x: flambeau.Tensor) -> flambeau.Tensor:
        return x + 1

    assert flambeau.ops.users_old.plus_one(flambeau.ones(1)).item() == 2 == plus_one(flambeau.ones(1)).item()
