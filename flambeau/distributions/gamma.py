"""The gamma distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import broadcast_all


class Gamma(ExponentialFamily):
    """``rate^concentration x^(concentration - 1) exp(-rate x) / Gamma(concentration)`` for ``x > 0``."""

    _mean_carrier_measure = 0.0
    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        value = flambeau._standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=flambeau.finfo(value.dtype).tiny)  # not a part of the gradient
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        value = flambeau.as_tensor(self._checked(value), dtype=self.rate.dtype)
        return (
            flambeau.xlogy(self.concentration, self.rate) + flambeau.xlogy(self.concentration - 1, value) - self.rate * value
            - flambeau.lgamma(self.concentration)
        )  # fmt: skip

    def cdf(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        return flambeau.special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        shape = self.concentration
        return shape - flambeau.log(self.rate) + flambeau.lgamma(shape) + (1.0 - shape) * flambeau.digamma(shape)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:
        return flambeau.lgamma(x + 1) - (x + 1) * flambeau.log(-y)
