"""The Kullback-Leibler divergence of distributions, a formula for each pair of families."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, pi
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions.bernoulli import Bernoulli
from flambeau.distributions.beta import Beta
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.continuous_bernoulli import ContinuousBernoulli
from flambeau.distributions.dirichlet import Dirichlet
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.geometric import Geometric
from flambeau.distributions.gumbel import EULER, Gumbel
from flambeau.distributions.half_normal import HalfNormal
from flambeau.distributions.independent import Independent
from flambeau.distributions.laplace import Laplace
from flambeau.distributions.log_normal import LogNormal
from flambeau.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from flambeau.distributions.multivariate_normal import MultivariateNormal, mahalanobis
from flambeau.distributions.normal import Normal
from flambeau.distributions.one_hot_categorical import OneHotCategorical
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.poisson import Poisson
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import _sum_rightmost
from flambeau.distributions.wishart import Wishart

Formula = Callable[[Any, Any], Tensor]
_FORMULAS: dict[tuple[type, type], Formula] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Formula], Formula]:
    """Enter a formula for ``kl_divergence(p, q)`` of these classes (a decorator).

    Raises:
        TypeError: not classes of distributions.
    """
    for kind in (type_p, type_q):
        if not isinstance(kind, type):  # a class of another package's may stand for distributions, too
            raise TypeError(f"Expected a Distribution subclass but got {kind}")

    def enter(function: Formula) -> Formula:
        _FORMULAS[type_p, type_q] = function
        return function

    return enter


def _formula(p: type, q: type) -> Formula | None:
    """The formula of the nearest classes that they are subclasses of."""
    found = [
        (p.__mro__.index(left) + q.__mro__.index(right), formula)
        for (left, right), formula in _FORMULAS.items()
        if issubclass(p, left) and issubclass(q, right)
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """``E_p[log p(x) - log q(x)]``, of the batch's shape.

    >>> from flambeau.distributions import Normal
    >>> flambeau.distributions.kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)

    Raises:
        NotImplementedError: no formula is known for this pair.
    """
    formula = _formula(type(p), type(q))
    if formula is None:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}")
    return formula(p, q)


def _x_log_x(x: Tensor) -> Tensor:
    return flambeau.xlogy(x, x)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Any, q: Any) -> Tensor:
    softplus = flambeau.nn.functional.softplus
    hit = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    hit = flambeau.where(p.probs == 0, 0.0, flambeau.where(q.probs == 0, inf, hit))
    miss = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return hit + flambeau.where(p.probs == 1, 0.0, flambeau.where(q.probs == 1, inf, miss))


@register_kl(Beta, Beta)
def _beta_beta(p: Any, q: Any) -> Tensor:
    return _dirichlet_dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Binomial, Binomial)
def _binomial_binomial(p: Any, q: Any) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    divergence = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return flambeau.where(p.total_count > q.total_count, inf, divergence)


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Any, q: Any) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = flambeau.where((q.probs == 0).expand_as(terms), inf, terms)
    return flambeau.where((p.probs == 0).expand_as(terms), 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p: Any, q: Any) -> Tensor:
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_continuous(p: Any, q: Any) -> Tensor:
    return p.mean * (p.logits - q.logits) + p._log_norm() + flambeau.log1p(-p.probs) - q._log_norm() - flambeau.log1p(-q.probs)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norm = total.lgamma() - b.sum(-1).lgamma() + (b.lgamma() - a.lgamma()).sum(-1)
    return norm + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Exponential, Exponential)
def _exponential_exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _gamma_gamma(p: Any, q: Any) -> Tensor:
    return (
        q.concentration * (p.rate / q.rate).log() + flambeau.lgamma(q.concentration) - flambeau.lgamma(p.concentration)
        + (p.concentration - q.concentration) * flambeau.digamma(p.concentration) + (q.rate - p.rate) * (p.concentration / p.rate)
    )  # fmt: skip


@register_kl(Geometric, Geometric)
def _geometric_geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - flambeau.log1p(-q.probs) / p.probs - q.logits


@register_kl(Gumbel, Gumbel)
def _gumbel_gumbel(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    shift = (q.loc - p.loc) / q.scale
    return -ratio.log() - shift - 1 + ratio * EULER + flambeau.exp(shift + (1 + ratio).lgamma()) - EULER


@register_kl(HalfNormal, HalfNormal)
def _half_normal_half_normal(p: Any, q: Any) -> Tensor:
    return _normal_normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace_laplace(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    distance = (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * flambeau.exp(-distance / p.scale) - 1


@register_kl(LogNormal, LogNormal)
def _log_normal_log_normal(p: Any, q: Any) -> Tensor:
    return _normal_normal(p.base_dist, q.base_dist)


@register_kl(Normal, Normal)
def _normal_normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    difference = p.loc - q.loc
    z = difference / p.scale
    mean = (2 / pi) ** 0.5 * p.scale * flambeau.exp(-0.5 * z.pow(2)) + difference * flambeau.erf(0.5**0.5 * z)
    return -flambeau.log(p.scale / q.scale) + mean / q.scale - (0.5 + 0.5 * log(0.5 * pi))


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with different event shapes cannot be computed")
    left, right = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    log_ratio = right.diagonal(dim1=-2, dim2=-1).log().sum(-1) - left.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    shape = flambeau.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    solved = flambeau.linalg.solve_triangular(right.expand((*shape, -1, -1)), left.expand((*shape, -1, -1)), upper=False)
    return log_ratio + 0.5 * (solved.pow(2).sum((-2, -1)) + mahalanobis(right, q.loc - p.loc) - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: Any, q: Any) -> Tensor:
    return _multivariate(MultivariateNormal(p.loc, scale_tril=p.scale_tril), MultivariateNormal(q.loc, scale_tril=q.scale_tril))


@register_kl(Pareto, Pareto)
def _pareto_pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    divergence = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return flambeau.where(p.scale < q.scale, inf, divergence)


@register_kl(Poisson, Poisson)
def _poisson_poisson(p: Any, q: Any) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniform_uniform(p: Any, q: Any) -> Tensor:
    divergence = ((q.high - q.low) / (p.high - p.low)).log()
    return flambeau.where((q.low > p.low) | (q.high < p.high), inf, divergence)


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    low = (q.concentration1 - 1) * ((_x_log_x(p.high) - _x_log_x(p.low)) - width) / width
    high = (q.concentration0 - 1) * ((_x_log_x(1 - p.high) - _x_log_x(1 - p.low)) + width) / width
    norm = q.concentration1.lgamma() + q.concentration0.lgamma() - (q.concentration1 + q.concentration0).lgamma()
    return flambeau.where((p.high > 1) | (p.low < 0), inf, high - low + norm - width.log())


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Tensor:
    return flambeau.where((q.low > 0) | (q.high < 1), inf, -p.entropy() + (q.high - q.low).log())


@register_kl(Cauchy, Cauchy)
def _cauchy_cauchy(p: Any, q: Any) -> Tensor:
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Wishart, Wishart)
def _wishart_wishart(p: Any, q: Any) -> Tensor:
    half_p, half_q = (each._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1) for each in (p, q))
    size, difference = p.event_shape[-1], p.df - q.df
    shape = flambeau.broadcast_shapes(p._unbroadcasted_scale_tril.shape[:-2], q._unbroadcasted_scale_tril.shape[:-2])
    solved = flambeau.linalg.solve_triangular(
        q._unbroadcasted_scale_tril.expand((*shape, -1, -1)), p._unbroadcasted_scale_tril.expand((*shape, -1, -1)), upper=False
    )
    digammas = flambeau.digamma((p.df.unsqueeze(-1) - flambeau.arange(size, dtype=p.df.dtype)) / 2).sum(-1)
    return (
        q.df * (half_q - half_p) + p.df / 2 * (solved.pow(2).sum((-2, -1)) - size)
        + flambeau.mvlgamma(q.df / 2, size) - flambeau.mvlgamma(p.df / 2, size) + difference / 2 * digammas
    )  # fmt: skip


@register_kl(Independent, Independent)
def _independent_independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed_transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


# -- pairs of different families: -H(p) - E_p[log q(x)], by the moments that q's logarithm asks for ---------------------


def _mean_log(p: Any) -> Tensor:
    """``E[log x]``."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Exponential):
        return -p.rate.log() - EULER
    if isinstance(p, Uniform):
        return (_x_log_x(p.high) - _x_log_x(p.low)) / (p.high - p.low) - 1
    if isinstance(p, Gamma):
        return p.concentration.digamma() - p.rate.log()
    return p.scale.log() + p.alpha.reciprocal()  # Pareto


def _mean_exp(p: Any, t: Tensor) -> Tensor:
    """``E[exp(-t x)]``, for positive ``t``."""
    if isinstance(p, Normal):
        return flambeau.exp(0.5 * (t * p.scale).pow(2) - t * p.loc)
    if isinstance(p, Exponential):
        return p.rate / (p.rate + t)
    if isinstance(p, Gamma):
        return (1 + t / p.rate) ** -p.concentration
    return (flambeau.exp(-t * p.low) - flambeau.exp(-t * p.high)) / (t * (p.high - p.low))  # Uniform


def _to_normal(p: Any, q: Any) -> Tensor:
    spread = p.variance + (p.mean - q.loc).pow(2)
    return -p.entropy() + 0.5 * log(2 * pi) + q.scale.log() + spread / (2 * q.scale.pow(2))


def _to_exponential(p: Any, q: Any) -> Tensor:
    return _where_positive(p, -p.entropy() - q.rate.log() + q.rate * p.mean)


def _to_gamma(p: Any, q: Any) -> Tensor:
    norm = q.concentration * q.rate.log() - q.concentration.lgamma()
    return _where_positive(p, -p.entropy() - norm - (q.concentration - 1) * _mean_log(p) + q.rate * p.mean)


def _to_gumbel(p: Any, q: Any) -> Tensor:
    return -p.entropy() + q.scale.log() + (p.mean - q.loc) / q.scale + flambeau.exp(q.loc / q.scale) * _mean_exp(p, 1 / q.scale)


def _to_pareto(p: Any, q: Any) -> Tensor:
    divergence = -p.entropy() - q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _mean_log(p)
    return flambeau.where(p.low < q.scale, inf, divergence)


def _to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    divergence = -p.entropy() - p.mean * q.logits - flambeau.log1p(-q.probs) - q._log_norm()
    return flambeau.where((p.low < 0) | (p.high > 1), inf, divergence) if isinstance(p, Uniform) else divergence


def _from_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    return flambeau.where((q.low > 0) | (q.high < 1), inf, -p.entropy() + (q.high - q.low).log())


def _where_positive(p: Any, divergence: Tensor) -> Tensor:
    return flambeau.where(p.low < 0, inf, divergence) if isinstance(p, Uniform) else divergence


def _outside(p: Any, q: Any) -> Tensor:
    """``p`` gives weight to values that ``q`` rules out."""
    return flambeau.full(flambeau.broadcast_shapes(p.batch_shape, q.batch_shape), inf, dtype=p.mean.dtype)


def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


for _formula_of, _from, _to in (
    (_to_normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform), (Normal,)),
    (_to_exponential, (Beta, ContinuousBernoulli, Gamma, Pareto, Uniform), (Exponential,)),
    (_to_gamma, (Beta, Exponential, Pareto, Uniform), (Gamma,)),
    (_to_gumbel, (Exponential, Gamma, Normal, Uniform), (Gumbel,)),
    (_to_pareto, (Uniform,), (Pareto,)),
    (_to_continuous_bernoulli, (Beta, Uniform), (ContinuousBernoulli,)),
    (_from_continuous_bernoulli, (ContinuousBernoulli,), (Uniform,)),
    (_bernoulli_poisson, (Bernoulli,), (Poisson,)),
    (_outside, (Beta, ContinuousBernoulli), (Pareto,)),
    (_outside, (Exponential, Gamma), (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (_outside, (Gumbel, Laplace, Normal), (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (_outside, (Pareto,), (Beta, ContinuousBernoulli, Uniform)),
    (_outside, (Poisson,), (Bernoulli, Binomial)),
):
    for _p in _from:
        for _q in _to:
            register_kl(_p, _q)(_formula_of)
