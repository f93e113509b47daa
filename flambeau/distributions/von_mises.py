"""The von Mises distribution, of angles."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all, lazy_property


class VonMises(Distribution):
    """``exp(concentration cos(x - loc)) / (2 pi I0(concentration))``; samples lie in [-pi, pi)."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The circular variance, ``1 - I1(concentration) / I0(concentration)``."""
        return 1 - flambeau.special.i1e(self.concentration) / flambeau.special.i0e(self.concentration)

    @lazy_property
    def _proposal(self) -> Tensor:
        kappa = self.concentration.double()
        tau = 1 + (1 + 4 * kappa**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
        return flambeau.where(kappa < 1e-5, 1 / kappa + kappa, (1 + rho**2) / (2 * rho))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """By rejection from a wrapped Cauchy distribution (Best and Fisher, 1979)."""
        shape = self._extended_shape(sample_shape)
        with flambeau.no_grad():
            kappa, proposal = self.concentration.double().expand(shape), self._proposal.expand(shape)
            x = flambeau.zeros(shape, dtype=flambeau.float64)
            done = flambeau.zeros(shape, dtype=flambeau.bool)
            while not done.all():
                u1, u2, u3 = flambeau.rand((3, *shape), dtype=flambeau.float64).unbind()
                z = flambeau.cos(pi * u1)
                f = (1 + proposal * z) / (proposal + z)
                c = kappa * (proposal - f)
                accept = ((c * (2 - c) - u2) > 0) | ((c / u2).log() + 1 - c >= 0)
                x = flambeau.where(accept, (u3 - 0.5).sign() * f.clamp(-1, 1).acos(), x)
                done = done | accept
            return ((x + pi + self.loc) % (2 * pi) - pi).to(self.loc.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        norm = log(2 * pi) + flambeau.log(flambeau.special.i0e(self.concentration)) + self.concentration
        return self.concentration * flambeau.cos(value - self.loc) - norm
