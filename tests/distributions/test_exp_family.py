"""The entropy that follows from the log normalizer alone is the one that each distribution computes for itself."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import distributions
from flambeau.distributions import ExponentialFamily

FAMILIES = [
    distributions.Normal(torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.3])),
    distributions.Gamma(torch.tensor([0.5, 3.0]), torch.tensor([2.0, 0.3])),
    distributions.Beta(torch.tensor([0.5, 3.0]), torch.tensor([2.0, 0.7])),
    distributions.Dirichlet(torch.tensor([[0.5, 3.0, 1.0], [2.0, 2.0, 2.0]])),
    distributions.Exponential(torch.tensor([0.5, 3.0])),
    distributions.Categorical(logits=torch.tensor([[0.5, 3.0, -1.0], [2.0, 0.0, 2.0]])),
    distributions.Bernoulli(torch.tensor([0.25, 0.9])),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_entropy(family):
    assert isinstance(family, ExponentialFamily)
    torch.testing.assert_close(ExponentialFamily.entropy(family), family.entropy(), rtol=1e-4, atol=1e-5)


def test_the_mean_of_a_poisson_is_the_gradient_of_its_normalizer():
    (natural,) = distributions.Poisson(torch.tensor([0.5, 4.0]))._natural_params
    natural.requires_grad_()
    distributions.Poisson(torch.ones(1))._log_normalizer(natural).sum().backward()
    torch.testing.assert_close(natural.grad, torch.tensor([0.5, 4.0]))
