"""Exponential families."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.autograd import grad
from flambeau.distributions.distribution import Distribution


class ExponentialFamily(Distribution):
    """Distributions of density ``exp(t(x) · η - A(η) + k(x))`` with natural parameters η, whose entropy follows from A alone.

    A subclass gives η (``_natural_params``), A (``_log_normalizer``) and the mean of k (``_mean_carrier_measure``).

    Source: F. Nielsen, R. Nock, "Entropies and cross-entropies of exponential families", ICIP 2010
    """

    @property
    def _mean_carrier_measure(self) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no closed form for its entropy")

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *args: Any, **kwargs: Any) -> Tensor:  # a subclass names the parameters
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """``A(η) - η · ∇A(η)`` less the mean of k."""
        natural = [each.detach().requires_grad_() for each in self._natural_params]
        with flambeau.enable_grad():
            normalizer = self._log_normalizer(*natural)
            gradients = grad(normalizer.sum(), natural, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for value, gradient in zip(natural, gradients, strict=True):
            result = result - (value * gradient).reshape((*self._batch_shape, -1)).sum(-1)
        return result
