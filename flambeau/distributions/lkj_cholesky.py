"""The LKJ distribution of Cholesky factors of correlation matrices (Lewandowski, Kurowicka and Joe, 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Any

import flambeau
from flambeau import Size, Tensor
from flambeau.distributions import constraints
from flambeau.distributions.beta import Beta
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import _standard_normal, broadcast_all


class LKJCholesky(Distribution):
    """``L`` with the probability of ``L L^T`` proportional to ``det(L L^T)^(concentration - 1)``; sampled by the onion method."""

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        batch = self.concentration.size()
        offset = flambeau.cat([flambeau.zeros(1), flambeau.arange(dim - 1)]).to(self.concentration.dtype)
        start = self.concentration.unsqueeze(-1) + 0.5 * (dim - 2)
        self._beta = Beta(offset + 0.5, start - 0.5 * offset)
        super().__init__(batch, Size((dim, dim)), validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> LKJCholesky:
        new = super().expand(batch_shape, _instance)
        new.dim = self.dim
        new._beta = self._beta.expand((*batch_shape, self.dim))
        return new

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with flambeau.no_grad():
            square = self._beta.sample(sample_shape).unsqueeze(-1)  # of a row's length below the diagonal
            direction = _standard_normal(self._extended_shape(sample_shape), self.concentration.dtype, self.concentration.device).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :].fill_(0.0)
            w = flambeau.sqrt(square) * direction
            tiny = flambeau.finfo(w.dtype).tiny
            return w + flambeau.diag_embed(flambeau.clamp(1 - flambeau.sum(w**2, dim=-1), min=tiny).sqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        diagonal = self._checked(value).diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - flambeau.arange(2, self.dim + 1)
        unnormalised = (order * diagonal.log()).sum(-1)
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        normalise = 0.5 * less * log(pi) + flambeau.mvlgamma(alpha - 0.5, less) - flambeau.lgamma(alpha) * less
        return unnormalised - normalise
