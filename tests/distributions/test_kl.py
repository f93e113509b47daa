"""Divergences against sums and integrals of ``p (log p - log q)``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import distributions as dist
from flambeau.distributions.kl import _formula


def number(value: float) -> Any:
    return flambeau.tensor(value, dtype=flambeau.float64)


LINE = {
    "Normal": dist.Normal(number(0.2), number(0.8)), "Laplace": dist.Laplace(number(0.1), number(0.9)), "Gumbel": dist.Gumbel(number(0.1), number(1.2)),
    "Exponential": dist.Exponential(number(1.5)), "Gamma": dist.Gamma(number(2.5), number(2.0)), "Beta": dist.Beta(number(2.5), number(1.5)),
    "Uniform": dist.Uniform(number(0.2), number(0.9)), "ContinuousBernoulli": dist.ContinuousBernoulli(number(0.3)),
    "HalfNormal": dist.HalfNormal(number(0.7)), "LogNormal": dist.LogNormal(number(0.1), number(0.5)), "Pareto": dist.Pareto(number(0.1), number(5.0)),
    "Cauchy": dist.Cauchy(number(0.1), number(0.4)),
}  # fmt: skip


def known(family: dict) -> list[tuple[str, str]]:
    """The pairs that have a closed form."""
    return [pair for pair in itertools.product(family, family) if _formula(*(type(family[name]) for name in pair)) is not None]


# HalfNormal and LogNormal are both transformed, but not alike
PAIRS = [pair for pair in known(LINE) if not ({"HalfNormal", "LogNormal", "Gumbel", "Pareto"} >= set(pair) and pair[0] != pair[1])]


@pytest.mark.parametrize(("name_p", "name_q"), PAIRS)
def test_continuous(name_p: str, name_q: str) -> None:
    p, q = LINE[name_p], LINE[name_q]
    other = {"Normal": dist.Normal(number(-0.3), number(1.1)), "Cauchy": dist.Cauchy(number(-0.3), number(0.8))}.get(name_q, q)
    found = float(dist.kl_divergence(p, other))
    reach = 4000.0 if "Cauchy" in name_p or "Pareto" in name_p else 40.0
    x = number(0.0) + flambeau.from_numpy(np.unique(np.concatenate([np.linspace(-3, 5, 80_001), np.linspace(-reach, reach, 80_001)])))
    inside = p.support.check(x)
    x = x[inside]
    if not bool(other.support.check(x).all()):
        assert found == float("inf")
        return
    with flambeau.no_grad():
        log_p, log_q = p.log_prob(x), other.log_prob(x)
        integrand = flambeau.where((log_p > -700) & (log_q > -1e300), log_p.exp() * (log_p - log_q), 0.0)
    assert found == pytest.approx(float(flambeau.trapezoid(integrand, x)), abs=4e-3)


COUNTS = {
    "Bernoulli": dist.Bernoulli(number(0.3)), "Geometric": dist.Geometric(number(0.4)), "Poisson": dist.Poisson(number(2.5)),
    "Binomial": dist.Binomial(8, number(0.3)),
}  # fmt: skip


@pytest.mark.parametrize(("name_p", "name_q"), known(COUNTS))
def test_discrete(name_p: str, name_q: str) -> None:
    p, q = COUNTS[name_p], {"Geometric": dist.Geometric(number(0.6)), "Poisson": dist.Poisson(number(1.5))}.get(name_q, COUNTS[name_q])
    found = float(dist.kl_divergence(p, q))
    k = flambeau.arange(0, 200, dtype=flambeau.float64)
    k = k[p.support.check(k)]
    if not bool(q.support.check(k).all()):
        assert found == float("inf")
        return
    log_p = p.log_prob(k)
    assert found == pytest.approx(float((log_p.exp() * (log_p - q.log_prob(k))).sum()), rel=1e-6)


def test_vectors() -> None:
    flambeau.manual_seed(0)
    factor = flambeau.tensor([[1.0, 0.0], [0.4, 0.7]], dtype=flambeau.float64)
    p = dist.MultivariateNormal(flambeau.zeros(2, dtype=flambeau.float64), scale_tril=factor)
    q = dist.MultivariateNormal(flambeau.ones(2, dtype=flambeau.float64), flambeau.eye(2, dtype=flambeau.float64) * 2)
    x = p.sample((200_000,))
    assert float(dist.kl_divergence(p, q)) == pytest.approx(float((p.log_prob(x) - q.log_prob(x)).mean()), rel=0.02)
    p, q = dist.Dirichlet(factor[1] + 1), dist.Dirichlet(factor[1] * 3)
    x = p.sample((20_000,))
    assert float(dist.kl_divergence(p, q)) == pytest.approx(float((p.log_prob(x) - q.log_prob(x)).mean()), rel=0.1, abs=0.01)
    p, q = dist.Wishart(number(4.0), factor @ factor.mT), dist.Wishart(number(5.0), flambeau.eye(2, dtype=flambeau.float64))
    x = p.sample((20_000,))
    assert float(dist.kl_divergence(p, q)) == pytest.approx(float((p.log_prob(x) - q.log_prob(x)).mean()), rel=0.05)


def test_unknown_pair() -> None:
    with pytest.raises(NotImplementedError, match="Poisson"):
        dist.kl_divergence(dist.Normal(0.0, 1.0), dist.Poisson(number(1.0)))
