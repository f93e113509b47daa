"""The generalised Pareto distribution."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all


class GeneralizedPareto(Distribution):
    """``P(x > loc + scale z) = (1 + concentration z)^(-1 / concentration)``, and ``exp(-z)`` where the concentration is 0."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        upper = flambeau.where(self.concentration < 0, self.loc - self.scale / self.concentration, inf)
        return constraints.interval(self.loc, upper)

    def _exponential(self) -> Tensor:
        return flambeau.isclose(self.concentration, flambeau.zeros_like(self.concentration))

    def _safe(self) -> Tensor:
        return flambeau.where(self._exponential(), 1.0, self.concentration)

    @property
    def mean(self) -> Tensor:
        return flambeau.where(self.concentration < 1, self.loc + self.scale / (1 - self.concentration), inf)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        return flambeau.where(c < 0.5, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), inf)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(flambeau.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def _log_survival(self, z: Tensor) -> Tensor:
        c = self._safe()
        return flambeau.where(self._exponential(), -z, -flambeau.log1p(c * z) / c)

    def log_prob(self, value: Tensor) -> Tensor:
        z = (self._checked(value) - self.loc) / self.scale
        c = self._safe()
        curved = -(1 + 1 / c) * flambeau.log1p(c * z)
        return flambeau.where(self._exponential(), -z, curved) - self.scale.log()

    def log_survival_function(self, value: Tensor) -> Tensor:
        """``log P(x > value)``."""
        return self._log_survival((self._checked(value) - self.loc) / self.scale)

    def log_cdf(self, value: Tensor) -> Tensor:
        return flambeau.log1p(-flambeau.exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return -flambeau.expm1(self.log_survival_function(value))

    def icdf(self, value: Tensor) -> Tensor:
        c = self._safe()
        log_survival = flambeau.log1p(-value)
        z = flambeau.where(self._exponential(), -log_survival, flambeau.expm1(-c * log_survival) / c)
        return self.loc + self.scale * z

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1
