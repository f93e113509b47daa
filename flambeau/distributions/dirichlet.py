"""The Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Sequence

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.exp_family import ExponentialFamily


class Dirichlet(ExponentialFamily):
    """Over vectors of probabilities: ``prod_i x_i^(concentration_i - 1) / B(concentration)``."""

    _mean_carrier_measure = 0.0
    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        flat = (self.concentration < 1).all(dim=-1, keepdim=True)  # then the density is largest at a corner
        corner = flambeau.nn.functional.one_hot(self.concentration.argmax(-1), self.concentration.shape[-1]).to(mode)
        return flambeau.where(flat, corner, mode)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return flambeau._sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        return (
            flambeau.xlogy(self.concentration - 1.0, value).sum(-1)
            + flambeau.lgamma(self.concentration.sum(-1))
            - flambeau.lgamma(self.concentration).sum(-1)
        )

    def entropy(self) -> Tensor:
        k = self.concentration.size(-1)
        total = self.concentration.sum(-1)
        return (
            flambeau.lgamma(self.concentration).sum(-1) - flambeau.lgamma(total) - (k - total) * flambeau.digamma(total)
            - ((self.concentration - 1.0) * flambeau.digamma(self.concentration)).sum(-1)
        )  # fmt: skip

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration - 1,)

    def _log_normalizer(self, x: Tensor) -> Tensor:
        return flambeau.lgamma(x + 1).sum(-1) - flambeau.lgamma((x + 1).sum(-1))
