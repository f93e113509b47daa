"""Dual tensors."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau import nn
from flambeau.autograd import Function
from flambeau.autograd import forward_ad as fwad


def test_tangents_are_products_with_the_jacobian() -> None:
    x, v = flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, 0.5])
    with fwad.dual_level():
        dual = fwad.make_dual(x, v)
        primal, tangent = fwad.unpack_dual(dual)
        assert tangent is v and primal.tolist() == x.tolist()
        y = flambeau.stack([dual.sin().sum(), (dual * dual.flip(0)).sum()])
        assert fwad.unpack_dual(y).tangent.tolist() == pytest.approx([(x.cos() * v).sum().item(), 5.0])
        assert not fwad.unpack_dual(y).primal.requires_grad
        assert fwad.unpack_dual(flambeau.ones(1)).tangent is None
    assert fwad.unpack_dual(x).tangent is None


def test_parameters_as_dual_tensors() -> None:
    layer = nn.Linear(3, 2)
    x = flambeau.randn(4, 3)
    weight = layer.weight
    tangent = flambeau.randn(2, 3)
    with fwad.dual_level():
        del layer.weight
        layer.weight = fwad.make_dual(weight, tangent)
        assert flambeau.allclose(fwad.unpack_dual(layer(x)).tangent, x @ tangent.T)


class Sine(Function):
    @staticmethod
    def forward(ctx: Any, x: flambeau.Tensor) -> flambeau.Tensor:
        ctx.save_for_forward(x)
        return x.sin()

    @staticmethod
    def jvp(ctx: Any, tangent: flambeau.Tensor) -> flambeau.Tensor:
        (x,) = ctx.saved_tensors
        return tangent * x.cos()


def test_functions_with_a_jvp_of_their_own() -> None:
    x, v = flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, 0.5])
    with fwad.dual_level():
        tangent = fwad.unpack_dual(Sine.apply(fwad.make_dual(x, v))).tangent
    assert flambeau.allclose(tangent, v * x.cos())
    leaf = x.clone().requires_grad_()
    Sine.apply(leaf).sum().backward()
    assert flambeau.allclose(leaf.grad, x.cos())


def test_errors() -> None:
    with pytest.raises(RuntimeError, match="no level exists"):
        fwad.make_dual(flambeau.ones(1), flambeau.ones(1))
    with fwad.dual_level():
        with pytest.raises(RuntimeError, match="same sizes"):
            fwad.make_dual(flambeau.ones(1), flambeau.ones(2))
        with pytest.raises(ValueError, match="floating point"):
            fwad.make_dual(flambeau.ones(1, dtype=flambeau.int64), flambeau.ones(1))
        with pytest.raises(RuntimeError, match="Nested"), fwad.dual_level():
            pass
    with pytest.raises(RuntimeError, match="exit a forward AD level"):
        fwad.exit_dual_level()
