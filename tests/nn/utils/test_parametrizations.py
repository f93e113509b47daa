"""Weights that stay orthogonal: whatever the map, whatever is assigned, and while they are trained."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.nn.utils.parametrizations import orthogonal

SHAPES = [(3, 3), (5, 3), (3, 5)]


def is_orthogonal(weight: flambeau.Tensor) -> bool:
    tall = weight if weight.shape[0] >= weight.shape[1] else weight.mT
    return np.allclose((tall.mT @ tall).detach().numpy(), np.eye(tall.shape[1]), atol=1e-5)


@pytest.mark.parametrize("trivialized", [True, False])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_weight_stays_orthogonal(shape: tuple[int, int], kind: str | None, trivialized: bool) -> None:
    flambeau.manual_seed(0)
    layer = orthogonal(nn.Linear(shape[1], shape[0]), orthogonal_map=kind, use_trivialization=trivialized)
    assert is_orthogonal(layer.weight)
    before = layer.weight.detach().clone()
    optimizer = flambeau.optim.SGD(layer.parameters(), lr=0.1)
    (layer(flambeau.randn(4, shape[1])) ** 3).sum().backward()
    optimizer.step()
    assert is_orthogonal(layer.weight) and not np.allclose(layer.weight.detach().numpy(), before.numpy())


@pytest.mark.parametrize(("kind", "trivialized"), [("matrix_exp", True), ("cayley", True), ("householder", True), ("householder", False)])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_orthogonal_weight_can_be_assigned(shape: tuple[int, int], kind: str, trivialized: bool) -> None:
    layer = orthogonal(nn.Linear(shape[1], shape[0]), orthogonal_map=kind, use_trivialization=trivialized)
    wanted = flambeau.linalg.qr(flambeau.randn(max(shape), min(shape))).Q
    wanted = wanted if shape[0] >= shape[1] else wanted.mT
    layer.weight = wanted
    np.testing.assert_allclose(layer.weight.detach().numpy(), wanted.numpy(), atol=1e-5)


def test_complex_weights() -> None:
    layer = nn.Linear(3, 3, dtype=flambeau.complex64)
    weight = orthogonal(layer).weight
    np.testing.assert_allclose((weight.mH @ weight).detach().numpy(), np.eye(3), atol=1e-5)
    with pytest.raises(ValueError, match="does not support complex"):
        orthogonal(nn.Linear(3, 3, dtype=flambeau.complex64), orthogonal_map="householder")
