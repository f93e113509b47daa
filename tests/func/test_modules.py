"""Modules as functions."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import func, nn


def test_modules_as_functions() -> None:
    models = [nn.Linear(3, 2) for _ in range(4)]
    parameters, buffers = func.stack_module_state(models)
    x = flambeau.randn(5, 3)
    found = func.vmap(lambda p, b: func.functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    for each, model in zip(found, models, strict=True):
        np.testing.assert_allclose(each.detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    gradients = func.grad(lambda p: func.functional_call(models[0], p, x).sum())(dict(models[0].named_parameters()))
    np.testing.assert_allclose(gradients["bias"].detach().numpy(), [5, 5])


def test_modules_that_do_not_go_together() -> None:
    with pytest.raises(RuntimeError, match="at least one model"):
        func.stack_module_state([])
    with pytest.raises(RuntimeError, match="same class"):
        func.stack_module_state([nn.Linear(2, 2), nn.Bilinear(2, 2, 2)])


def test_batch_norms_of_an_ensemble_keep_statistics_each() -> None:
    models = [nn.BatchNorm1d(3) for _ in range(2)]
    parameters, buffers = func.stack_module_state(models)
    x = flambeau.randn(2, 5, 3)
    found = func.vmap(lambda p, b, x: func.functional_call(models[0], (p, b), (x,)))(parameters, buffers, x)
    for number, model in enumerate(models):
        np.testing.assert_allclose(found[number].detach().numpy(), model(x[number]).detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(buffers["running_mean"][number].numpy(), model.running_mean.numpy(), rtol=1e-5)
    assert buffers["num_batches_tracked"].tolist() == [1, 1]


def test_batch_norms_without_statistics() -> None:
    model = func.replace_all_batch_norm_modules_(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    assert model[1].running_mean is None and not list(model[1].buffers())
    parameters = {name: each.detach() for name, each in model.named_parameters()}
    x = flambeau.randn(2, 5, 3)
    found = func.vmap(lambda x: func.functional_call(model, parameters, x))(x)
    np.testing.assert_allclose(found[1].numpy(), model(x[1]).detach().numpy(), rtol=1e-4, atol=1e-5)
