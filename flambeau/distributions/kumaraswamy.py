"""The Kumaraswamy distribution."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.gumbel import EULER
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, PowerTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import broadcast_all


class Kumaraswamy(TransformedDistribution):
    """``(1 - (1 - u)^(1 / concentration0))^(1 / concentration1)`` of a uniform ``u``: like the beta distribution, in closed form."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(flambeau.full_like(self.concentration0, 0), flambeau.full_like(self.concentration0, 1), validate_args=validate_args)
        transforms = [
            PowerTransform(self.concentration0.reciprocal()), AffineTransform(1.0, -1.0), PowerTransform(self.concentration1.reciprocal()),
        ]  # fmt: skip
        super().__init__(base, transforms, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(
            self.concentration1.expand(batch_shape), self.concentration0.expand(batch_shape), validate_args=self._validate_args
        )

    def _moment(self, n: int) -> Tensor:
        a, b = self.concentration1, self.concentration0
        ratio = 1 + n / a
        return flambeau.exp(b.log() + flambeau.lgamma(ratio) + flambeau.lgamma(b) - flambeau.lgamma(ratio + b))

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        mode = ((a - 1) / (a * b - 1)) ** a.reciprocal()
        return flambeau.where((a < 1) | (b < 1), float("nan"), mode)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.pow(2)

    def entropy(self) -> Tensor:
        t1 = 1 - self.concentration1.reciprocal()
        t0 = 1 - self.concentration0.reciprocal()
        harmonic = flambeau.digamma(self.concentration0 + 1) + EULER
        return t0 + t1 * harmonic - flambeau.log(self.concentration1) - flambeau.log(self.concentration0)
