"""The multivariate normal distribution whose covariance is a diagonal and a matrix of low rank."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import _standard_normal, lazy_property


class LowRankMultivariateNormal(Distribution):
    """Covariance ``cov_factor cov_factor^T + diag(cov_diag)``, never inverted as a whole (Woodbury's identity).

    Args:
        loc: ``(..., d)``; cov_factor: ``(..., d, rank)``; cov_diag: ``(..., d)``, positive
    """

    arg_constraints = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2:-1] != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if cov_diag.shape[-1:] != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")
        batch = flambeau.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc = loc.expand(batch + event)
        self.cov_factor = cov_factor.expand(batch + cov_factor.shape[-2:])
        self.cov_diag = cov_diag.expand(batch + event)
        super().__init__(batch, event, validate_args=validate_args)

    @lazy_property
    def _capacitance(self) -> Tensor:
        """The Cholesky factor of ``I + W^T D^-1 W``."""
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        return flambeau.linalg.cholesky(scaled @ self.cov_factor + flambeau.eye(self.cov_factor.shape[-1], dtype=self.loc.dtype))

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return self.cov_factor @ self.cov_factor.mT + flambeau.diag_embed(self.cov_diag)

    @lazy_property
    def scale_tril(self) -> Tensor:
        return flambeau.linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        scaled = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        a = flambeau.linalg.solve_triangular(self._capacitance, scaled, upper=False)
        return flambeau.diag_embed(self.cov_diag.reciprocal()) - a.mT @ a

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        low = _standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc.dtype, self.loc.device)
        noise = _standard_normal(shape, self.loc.dtype, self.loc.device)
        return self.loc + (self.cov_factor @ low.unsqueeze(-1)).squeeze(-1) + self.cov_diag.sqrt() * noise

    def log_determinant(self) -> Tensor:
        """Of the covariance matrix."""
        return 2 * self._capacitance.diagonal(dim1=-2, dim2=-1).log().sum(-1) + self.cov_diag.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        difference = self._checked(value) - self.loc
        projected = (self.cov_factor.mT / self.cov_diag.unsqueeze(-2)) @ difference.unsqueeze(-1)
        shape = flambeau.broadcast_shapes(self._capacitance.shape[:-2], projected.shape[:-2])
        solved = flambeau.linalg.solve_triangular(
            self._capacitance.expand((*shape, -1, -1)), projected.expand((*shape, -1, -1)), upper=False
        )
        distance = (difference.pow(2) / self.cov_diag).sum(-1) - solved.pow(2).sum((-2, -1))
        return -0.5 * (self._event_shape[0] * log(2 * pi) + self.log_determinant() + distance)

    def entropy(self) -> Tensor:
        entropy = 0.5 * (self._event_shape[0] * (1.0 + log(2 * pi)) + self.log_determinant())
        return entropy.expand(self._batch_shape)
