"""Distributions against SciPy's, their samples against their own moments, and the errors of bad parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import flambeau
from flambeau import distributions as dist


def tensor(*values: Any) -> Any:
    return flambeau.tensor(values if len(values) > 1 else values[0], dtype=flambeau.float64)


FACTOR = [[1.0, 0, 0], [0.3, 2, 0], [0.1, -0.4, 0.7]]
COVARIANCE = np.array(FACTOR) @ np.array(FACTOR).T
AGAINST_SCIPY: dict[str, tuple[Callable[[], dist.Distribution], Any]] = {
    "Normal": (lambda: dist.Normal(tensor(0.5), tensor(2.0)), stats.norm(0.5, 2)),
    "Uniform": (lambda: dist.Uniform(tensor(-1.0), tensor(3.0)), stats.uniform(-1, 4)),
    "Laplace": (lambda: dist.Laplace(tensor(0.5), tensor(2.0)), stats.laplace(0.5, 2)),
    "Cauchy": (lambda: dist.Cauchy(tensor(0.5), tensor(2.0)), stats.cauchy(0.5, 2)),
    "Exponential": (lambda: dist.Exponential(tensor(2.0)), stats.expon(scale=0.5)),
    "Gamma": (lambda: dist.Gamma(tensor(2.5), tensor(3.0)), stats.gamma(2.5, scale=1 / 3)),
    "Chi2": (lambda: dist.Chi2(tensor(3.0)), stats.chi2(3)),
    "Beta": (lambda: dist.Beta(tensor(1.5), tensor(3.0)), stats.beta(1.5, 3)),
    "StudentT": (lambda: dist.StudentT(tensor(5.0), tensor(1.0), tensor(2.0)), stats.t(5, 1, 2)),
    "FisherSnedecor": (lambda: dist.FisherSnedecor(tensor(5.0), tensor(7.0)), stats.f(5, 7)),
    "Gumbel": (lambda: dist.Gumbel(tensor(1.0), tensor(2.0)), stats.gumbel_r(1, 2)),
    "HalfNormal": (lambda: dist.HalfNormal(tensor(2.0)), stats.halfnorm(scale=2)),
    "HalfCauchy": (lambda: dist.HalfCauchy(tensor(2.0)), stats.halfcauchy(scale=2)),
    "LogNormal": (lambda: dist.LogNormal(tensor(0.5), tensor(0.7)), stats.lognorm(0.7, scale=np.exp(0.5))),
    "Pareto": (lambda: dist.Pareto(tensor(2.0), tensor(4.0)), stats.pareto(4, scale=2)),
    "Weibull": (lambda: dist.Weibull(tensor(2.0), tensor(1.5)), stats.weibull_min(1.5, scale=2)),
    "InverseGamma": (lambda: dist.InverseGamma(tensor(4.0), tensor(3.0)), stats.invgamma(4, scale=3)),
    "VonMises": (lambda: dist.VonMises(tensor(0.3), tensor(2.0)), stats.vonmises(2, 0.3)),
    "GeneralizedPareto": (lambda: dist.GeneralizedPareto(tensor(1.0), tensor(2.0), tensor(0.2)), stats.genpareto(0.2, 1, 2)),
    "Bernoulli": (lambda: dist.Bernoulli(tensor(0.3)), stats.bernoulli(0.3)),
    "Geometric": (lambda: dist.Geometric(tensor(0.3)), stats.geom(0.3, loc=-1)),
    "Binomial": (lambda: dist.Binomial(10, tensor(0.3)), stats.binom(10, 0.3)),
    "NegativeBinomial": (lambda: dist.NegativeBinomial(tensor(4.0), tensor(0.3)), stats.nbinom(4, 0.7)),
    "Poisson": (lambda: dist.Poisson(tensor(3.5)), stats.poisson(3.5)),
    "Dirichlet": (lambda: dist.Dirichlet(tensor(0.5, 3.0, 1.0)), stats.dirichlet([0.5, 3, 1])),
    "Multinomial": (lambda: dist.Multinomial(7, tensor(0.25, 0.6, 0.15)), stats.multinomial(7, [0.25, 0.6, 0.15])),
    "MultivariateNormal": (
        lambda: dist.MultivariateNormal(tensor(0.0, 1, 2), tensor(COVARIANCE)),
        stats.multivariate_normal([0, 1, 2], COVARIANCE),
    ),
    "LowRankMultivariateNormal": (
        lambda: dist.LowRankMultivariateNormal(tensor(0.0, 1), tensor([1.0], [0.5]), tensor(1.0, 2)),
        stats.multivariate_normal([0, 1], [[2, 0.5], [0.5, 2.25]]),
    ),
    "Wishart": (lambda: dist.Wishart(tensor(5.0), tensor(COVARIANCE)), stats.wishart(5, COVARIANCE)),
}
SYMMETRIC = {"HalfCauchy", "Cauchy"}  # no moments


@pytest.mark.parametrize("name", AGAINST_SCIPY)
def test_log_prob_against_scipy(name: str) -> None:
    make, reference = AGAINST_SCIPY[name]
    flambeau.manual_seed(0)
    ours = make()
    values = ours.sample((6,))
    logarithm = reference.logpdf if hasattr(reference, "logpdf") and name not in _DISCRETE else reference.logpmf
    rows = values.numpy()
    expected = logarithm(rows) if rows.ndim == 1 else np.array([np.squeeze(logarithm(row)) for row in rows])
    np.testing.assert_allclose(ours.log_prob(values).numpy(), expected, rtol=1e-9, atol=1e-9)
    if rows.ndim == 1 and name != "VonMises":
        with contextlib.suppress(NotImplementedError):
            np.testing.assert_allclose(ours.cdf(values).numpy(), reference.cdf(rows), rtol=1e-9, atol=1e-12)


_DISCRETE = {"Bernoulli", "Geometric", "Binomial", "NegativeBinomial", "Poisson", "Multinomial"}


@pytest.mark.parametrize(
    "name", [name for name in AGAINST_SCIPY if name not in SYMMETRIC | {"VonMises", "Wishart", "Dirichlet", "Multinomial"}]
)
def test_moments_and_entropy_against_scipy(name: str) -> None:
    make, reference = AGAINST_SCIPY[name]
    ours = make()
    mean = reference.mean if not callable(reference.mean) else reference.mean()
    np.testing.assert_allclose(ours.mean.numpy(), mean, rtol=1e-9, atol=1e-12)
    if hasattr(reference, "var"):
        np.testing.assert_allclose(ours.variance.numpy(), reference.var(), rtol=1e-9, atol=1e-12)
    try:
        entropy = ours.entropy()
    except NotImplementedError:
        return
    np.testing.assert_allclose(entropy.numpy(), reference.entropy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in AGAINST_SCIPY if name not in SYMMETRIC | {"VonMises"}])
def test_samples_have_the_moments(name: str) -> None:
    flambeau.manual_seed(1)
    ours = AGAINST_SCIPY[name][0]()
    samples = ours.sample((20_000,)).numpy()
    error = 6 * np.sqrt(ours.variance.numpy() / len(samples))
    assert np.all(np.abs(samples.mean(0) - ours.mean.numpy()) <= error)


@pytest.mark.parametrize(
    "name", ["Normal", "Gamma", "Beta", "Dirichlet", "Gumbel", "Laplace", "LogNormal", "Weibull", "Exponential", "Uniform"]
)
def test_gradients_of_samples(name: str) -> None:
    """The mean of ``rsample`` moves as the mean does."""
    flambeau.manual_seed(2)
    ours = AGAINST_SCIPY[name][0]()
    parameter, *others = ours.arg_constraints
    value = getattr(ours, parameter).detach().clone().requires_grad_()
    made = type(ours)(**{parameter: value, **{each: getattr(ours, each).detach() for each in others}})
    weights = flambeau.arange(1, made.event_shape.numel() + 1, dtype=flambeau.float64)
    (found,) = flambeau.autograd.grad((made.rsample((20_000,)).mean(0) * weights).sum(), value, retain_graph=True)
    (expected,) = flambeau.autograd.grad((made.mean * weights).sum(), value)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.12, atol=0.03)


def test_categorical_and_one_hot() -> None:
    probs = tensor([0.25, 0.6, 0.15], [0.25, 0.25, 0.5])
    categorical = dist.Categorical(probs)
    np.testing.assert_allclose(categorical.log_prob(flambeau.tensor([1, 2])).numpy(), np.log([0.6, 0.5]))
    np.testing.assert_allclose(categorical.entropy().numpy(), -(probs * probs.log()).sum(-1).numpy())
    assert categorical.enumerate_support().tolist() == [[0, 0], [1, 1], [2, 2]]
    flambeau.manual_seed(0)
    counts = np.bincount(categorical.sample((10_000,))[:, 0].numpy(), minlength=3) / 10_000
    np.testing.assert_allclose(counts, [0.25, 0.6, 0.15], atol=0.02)
    one_hot = dist.OneHotCategorical(probs)
    np.testing.assert_allclose(one_hot.log_prob(flambeau.eye(3, dtype=flambeau.float64)[1:]).numpy(), np.log([0.6, 0.5]))
    through = dist.OneHotCategoricalStraightThrough(probs.requires_grad_())
    assert through.rsample().sum(-1).tolist() == pytest.approx([1, 1])
    assert through.rsample().requires_grad


def test_mixture_is_the_sum_of_its_parts() -> None:
    weights, means = tensor(0.3, 0.7), tensor(-1.0, 2.0)
    mixture = dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(means, tensor(1.0, 0.5)))
    x = np.linspace(-3, 4, 9)
    expected = 0.3 * stats.norm(-1, 1).pdf(x) + 0.7 * stats.norm(2, 0.5).pdf(x)
    np.testing.assert_allclose(mixture.log_prob(tensor(*x)).exp().numpy(), expected)
    assert float(mixture.mean) == pytest.approx(0.3 * -1 + 0.7 * 2)
    assert mixture.sample((5,)).shape == (5,)


@pytest.mark.parametrize("family", [dist.ContinuousBernoulli, dist.Kumaraswamy])
def test_densities_integrate_to_one(family: Any) -> None:
    ours = family(tensor(0.3)) if family is dist.ContinuousBernoulli else family(tensor(1.5), tensor(3.0))
    x = flambeau.linspace(1e-4, 1 - 1e-4, 20_001, dtype=flambeau.float64)
    density = ours.log_prob(x).exp()
    assert float(flambeau.trapezoid(density, x)) == pytest.approx(1, abs=1e-3)
    assert float(flambeau.trapezoid(density * x, x)) == pytest.approx(float(ours.mean), abs=1e-3)


def test_samples_of_correlation_factors_are_valid() -> None:
    flambeau.manual_seed(0)
    lkj = dist.LKJCholesky(4, tensor(1.5))
    factor = lkj.sample((50,))
    assert bool(lkj.support.check(factor).all())
    np.testing.assert_allclose((factor @ factor.mT).diagonal(dim1=-2, dim2=-1).numpy(), 1)


def test_relaxed_samples_approach_the_corners() -> None:
    flambeau.manual_seed(0)
    cold = dist.RelaxedOneHotCategorical(tensor(0.01), probs=tensor(0.2, 0.3, 0.5)).rsample((200,))
    assert float(cold.max(-1).values.mean()) > 0.97
    np.testing.assert_allclose(cold.sum(-1).numpy(), 1)
    warm = dist.RelaxedBernoulli(tensor(2.0), probs=tensor(0.3))
    x = flambeau.linspace(1e-5, 1 - 1e-5, 20_001, dtype=flambeau.float64)
    assert float(flambeau.trapezoid(warm.log_prob(x).exp(), x)) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("name", AGAINST_SCIPY)
def test_expand_keeps_the_density(name: str) -> None:
    ours = AGAINST_SCIPY[name][0]()
    wide = ours.expand((2, 3))
    assert wide.batch_shape == (2, 3) and wide.event_shape == ours.event_shape
    value = ours.sample()
    np.testing.assert_allclose(wide.log_prob(value).numpy(), np.full((2, 3), float(ours.log_prob(value))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dist.Normal(0.0, -1.0), "scale"),
        (lambda: dist.Uniform(1.0, 0.0), "low"),
        (lambda: dist.Categorical(probs=tensor(-1.0, 2.0)), "probs"),
        (lambda: dist.Categorical(), "Either"),
        (lambda: dist.Bernoulli(0.5, 0.5), "Either"),
        (lambda: dist.Dirichlet(tensor(1.0)), "one-dimensional"),
        (lambda: dist.Normal(0.0, 1.0).log_prob(flambeau.tensor(float("nan"))), "support"),
        (lambda: dist.Bernoulli(0.5).log_prob(flambeau.tensor(0.5)), "support"),
        (lambda: dist.MultivariateNormal(tensor(0.0, 1)), "Exactly one"),
        (lambda: dist.Normal("a", 1.0), "Input arguments"),
    ],
)
def test_bad_arguments(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_validation_can_be_turned_off() -> None:
    assert float(dist.Normal(0.0, -1.0, validate_args=False).scale) == -1


def test_an_expand_that_others_wrote_finds_its_instance() -> None:
    class Same(dist.Normal):
        pass

    class Other(dist.Normal):
        def __init__(self, scale: flambeau.Tensor) -> None:
            super().__init__(0.0, scale)

    same, other = Same(0.0, 1.0), Other(flambeau.ones(2))
    assert type(same._get_checked_instance(dist.Normal)) is Same and same._get_checked_instance(dist.Normal, other) is other
    with pytest.raises(NotImplementedError, match="Other has a constructor of its own"):
        other._get_checked_instance(dist.Normal)
