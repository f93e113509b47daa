"""The Wishart distribution, of positive definite matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.multivariate_normal import precision_to_scale_tril
from flambeau.distributions.utils import lazy_property, vec_to_tril_matrix


class Wishart(Distribution):
    """The scatter matrix of ``df`` normal vectors with a covariance; sampled by Bartlett's decomposition.

    Args:
        df: degrees of freedom, above the dimension less one
        covariance_matrix, precision_matrix, scale_tril: one of the covariance, its inverse, its Cholesky factor
    """

    arg_constraints = {
        "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky,
        "df": constraints.greater_than(0),
    }  # fmt: skip
    support = constraints.positive_definite
    has_rsample = True

    def __init__(
        self, df: Any, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        names = [name for name, matrix in given.items() if matrix is not None]
        if len(names) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        param: Any = given[names[0]]
        if param.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        df = df if isinstance(df, Tensor) else flambeau.tensor(df, dtype=param.dtype)
        batch = flambeau.broadcast_shapes(param.shape[:-2], df.shape)
        event = param.shape[-2:]
        self.df = df.expand(batch)
        setattr(self, names[0], param.expand((*batch, -1, -1)))
        if bool((self.df <= event[-1] - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {event[-1] - 1}.")
        if scale_tril is not None:
            self._unbroadcasted_scale_tril = scale_tril
        elif covariance_matrix is not None:
            self._unbroadcasted_scale_tril = flambeau.linalg.cholesky(covariance_matrix)
        else:
            self._unbroadcasted_scale_tril = precision_to_scale_tril(param)
        self._chi2 = Chi2(self.df.unsqueeze(-1) - flambeau.arange(event[-1], dtype=param.dtype).expand((*batch, -1)))
        super().__init__(batch, event, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Wishart:
        new = super().expand(batch_shape, _instance)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        new._chi2 = self._chi2.expand((*batch_shape, self.event_shape[-1]))
        return new

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._unbroadcasted_scale_tril.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return (self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        return flambeau.cholesky_inverse(self._unbroadcasted_scale_tril).expand(self._batch_shape + self._event_shape)

    @property
    def mean(self) -> Tensor:
        return self.df.view((*self._batch_shape, 1, 1)) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return flambeau.where(factor <= 0, float("nan"), factor).view((*self._batch_shape, 1, 1)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self.df.view((*self._batch_shape, 1, 1)) * (v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        diagonal = self._chi2.rsample(sample_shape).clamp(min=flambeau.finfo(self._unbroadcasted_scale_tril.dtype).tiny).sqrt()
        p = self._event_shape[-1]
        below = flambeau.randn((*sample_shape, *self._batch_shape, p * (p - 1) // 2), dtype=self._unbroadcasted_scale_tril.dtype)
        factor = self._unbroadcasted_scale_tril @ (flambeau.diag_embed(diagonal) + vec_to_tril_matrix(below, diag=-1))
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        nu, p = self.df, self._event_shape[-1]
        half_log_det = self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return (
            -nu * (p * log(2) / 2 + half_log_det) - flambeau.mvlgamma(nu / 2, p) + (nu - p - 1) / 2 * flambeau.linalg.slogdet(value).logabsdet
            - flambeau.cholesky_solve(value, self._unbroadcasted_scale_tril).diagonal(dim1=-2, dim2=-1).sum(dim=-1) / 2
        )  # fmt: skip

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        half_log_det = self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        digammas = flambeau.digamma(nu.unsqueeze(-1) / 2 - flambeau.arange(p, dtype=nu.dtype) / 2).sum(-1)
        return (p + 1) * (p * log(2) / 2 + half_log_det) + flambeau.mvlgamma(nu / 2, p) - (nu - p - 1) / 2 * (digammas) + nu * p / 2
