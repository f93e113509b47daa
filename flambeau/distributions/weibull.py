"""The Weibull distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gumbel import EULER
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, PowerTransform
from flambeau.distributions.utils import broadcast_all


class Weibull(TransformedDistribution):
    """``scale e^(1 / concentration)`` of an exponential ``e`` of rate 1."""

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(flambeau.ones_like(self.scale), validate_args=validate_args)
        transforms = [PowerTransform(self.concentration_reciprocal), AffineTransform(0, self.scale)]
        super().__init__(base, transforms, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(self.scale.expand(batch_shape), self.concentration.expand(batch_shape), validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * flambeau.exp(flambeau.lgamma(1 + self.concentration_reciprocal))

    @property
    def mode(self) -> Tensor:
        return self.scale * ((self.concentration - 1) / self.concentration) ** self.concentration.reciprocal()

    @property
    def variance(self) -> Tensor:
        once, twice = flambeau.lgamma(1 + self.concentration_reciprocal), flambeau.lgamma(1 + 2 * self.concentration_reciprocal)
        return self.scale.pow(2) * (flambeau.exp(twice) - flambeau.exp(2 * once))

    def entropy(self) -> Tensor:
        return EULER * (1 - self.concentration_reciprocal) + flambeau.log(self.scale * self.concentration_reciprocal) + 1
