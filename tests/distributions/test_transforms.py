"""Transforms: back again, and their Jacobians against autograd."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.distributions import constraints, transforms
from flambeau.distributions.constraint_registry import biject_to, transform_to

X = flambeau.tensor([-1.3, -0.2, 0.4, 1.1], dtype=flambeau.float64)
ELEMENTWISE = [
    transforms.ExpTransform(), transforms.SigmoidTransform(), transforms.SoftplusTransform(), transforms.TanhTransform(),
    transforms.AffineTransform(1.0, -2.0), transforms.ComposeTransform([transforms.AffineTransform(0.0, 2.0), transforms.ExpTransform()]),
    transforms.ComposeTransform([transforms.ExpTransform(), transforms.PowerTransform(flambeau.tensor(0.7, dtype=flambeau.float64))]),
]  # fmt: skip
VECTORS = [transforms.StickBreakingTransform(), transforms.CorrCholeskyTransform()]


@pytest.mark.parametrize("transform", ELEMENTWISE, ids=repr)
def test_elementwise(transform: transforms.Transform) -> None:
    x = X.clone().requires_grad_()
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y).detach().numpy(), X.numpy(), rtol=1e-9)
    (slope,) = flambeau.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(transform.log_abs_det_jacobian(x, y).detach().numpy(), slope.abs().log().numpy(), rtol=1e-9, atol=1e-12)
    assert bool(transform.codomain.check(y).all())


@pytest.mark.parametrize("transform", VECTORS, ids=repr)
def test_vectors(transform: transforms.Transform) -> None:
    x = flambeau.tensor([0.3, -0.5, 0.8], dtype=flambeau.float64)
    y = transform(x)
    assert bool(transform.codomain.check(y).all())
    assert tuple(y.shape) == tuple(transform.forward_shape(x.shape)) and tuple(transform.inverse_shape(y.shape)) == tuple(x.shape)
    np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy(), rtol=1e-9)
    if isinstance(transform, transforms.StickBreakingTransform):
        jacobian = flambeau.autograd.functional.jacobian(lambda x: transform(x)[..., :-1], x)
    else:
        rows, columns = flambeau.tril_indices(y.shape[-1], y.shape[-1], -1)
        jacobian = flambeau.autograd.functional.jacobian(lambda x: transform(x)[rows, columns], x)
    assert float(transform.log_abs_det_jacobian(x, y)) == pytest.approx(np.log(abs(np.linalg.det(jacobian.numpy()))))


@pytest.mark.parametrize("registry", [biject_to, transform_to])
@pytest.mark.parametrize(
    "constraint",
    [constraints.real, constraints.positive, constraints.unit_interval, constraints.interval(-2.0, 3.0), constraints.less_than(1.0),
     constraints.greater_than_eq(2.0), constraints.simplex, constraints.lower_cholesky, constraints.corr_cholesky],
    ids=repr,
)  # fmt: skip
def test_registered_transforms_lead_into_the_region(registry, constraint) -> None:
    x = flambeau.randn(4, 3, 3, dtype=flambeau.float64) if constraint.event_dim == 2 else flambeau.randn(4, 3, dtype=flambeau.float64)
    if constraint is constraints.corr_cholesky:
        x = x[:, 0]
    assert bool(constraint.check(registry(constraint)(x)).all())


def test_cached_inverse_is_the_very_tensor() -> None:
    transform = transforms.ExpTransform(cache_size=1)
    x = flambeau.randn(3)
    assert transform.inv(transform(x)) is x


def test_the_class_of_inverses_is_found_where_packages_look_for_it() -> None:
    inverse = transforms.SoftmaxTransform().inv
    assert type(inverse) is transforms._InverseTransform and "_InverseTransform" not in transforms.__all__


def test_parts_of_a_tensor() -> None:
    transform = transforms.CatTransform([transforms.ExpTransform(), transforms.AffineTransform(0.0, 3.0)], dim=0, lengths=[1, 3])
    np.testing.assert_allclose(transform(X).numpy(), [np.exp(-1.3), -0.6, 1.2, 3.3])
    np.testing.assert_allclose(transform.inv(transform(X)).numpy(), X.numpy())
