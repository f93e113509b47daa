"""The continuous Bernoulli distribution (Loaiza-Ganem and Cunningham, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops.inspecting import holds_everywhere
from flambeau.distributions import constraints
from flambeau.distributions.binary import Binary
from flambeau.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs
from flambeau.nn.functional import binary_cross_entropy_with_logits


class ContinuousBernoulli(Binary):
    """``C(probs) probs^x (1 - probs)^(1 - x)`` for x in [0, 1]; near ``probs = 1/2`` (``lims``) Taylor series are used."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501), validate_args: bool | None = None
    ) -> None:
        self._set_chance(probs, logits)
        if probs is not None:
            if validate_args is not False and self._validate_args and not holds_everywhere(self.arg_constraints["probs"].check(self.probs)):
                raise ValueError("The parameter probs has invalid values")
            self.probs = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(self._param.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> ContinuousBernoulli:
        new = super().expand(batch_shape, _instance)
        new._lims = self._lims
        return new

    @lazy_property
    def probs(self) -> Tensor:
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _stable(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Tensor:
        """Probabilities outside the limits; inside, the lower limit."""
        return flambeau.where(self._stable(), self.probs, self._lims[0])

    def _log_norm(self) -> Tensor:
        cut = self._cut()
        below, above = flambeau.where(cut <= 0.5, cut, 0.0), flambeau.where(cut >= 0.5, cut, 1.0)
        norm = flambeau.log(flambeau.abs(flambeau.log1p(-cut) - flambeau.log(cut))) - flambeau.where(
            cut <= 0.5, flambeau.log1p(-2.0 * below), flambeau.log(2.0 * above - 1.0)
        )
        x = flambeau.pow(self.probs - 0.5, 2)
        return flambeau.where(self._stable(), norm, log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        cut = self._cut()
        mean = cut / (2.0 * cut - 1.0) + 1.0 / (flambeau.log1p(-cut) - flambeau.log(cut))
        x = self.probs - 0.5
        return flambeau.where(self._stable(), mean, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * flambeau.pow(x, 2)) * x)

    @property
    def stddev(self) -> Tensor:
        return flambeau.sqrt(self.variance)

    @property
    def variance(self) -> Tensor:
        cut = self._cut()
        variance = cut * (cut - 1.0) / flambeau.pow(1.0 - 2.0 * cut, 2) + 1.0 / flambeau.pow(flambeau.log1p(-cut) - flambeau.log(cut), 2)
        x = flambeau.pow(self.probs - 0.5, 2)
        return flambeau.where(self._stable(), variance, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.icdf(flambeau.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        cut = self._cut()
        cdf = (flambeau.pow(cut, value) * flambeau.pow(1.0 - cut, 1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        inside = flambeau.where(self._stable(), cdf, value)
        return flambeau.where(value <= 0.0, 0.0, flambeau.where(value >= 1.0, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        cut = self._cut()
        icdf = (flambeau.log1p(-cut + value * (2.0 * cut - 1.0)) - flambeau.log1p(-cut)) / (flambeau.log(cut) - flambeau.log1p(-cut))
        return flambeau.where(self._stable(), icdf, value)

    def entropy(self) -> Tensor:
        log_rest, log_probs = flambeau.log1p(-self.probs), flambeau.log(self.probs)
        return self.mean * (log_rest - log_probs) - self._log_norm() - log_rest
