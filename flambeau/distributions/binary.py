"""What the distributions of a chance have in common: it is given as a probability or as log odds."""

from __future__ import annotations

from typing import Any

from flambeau import Size, Tensor
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


class Binary(Distribution):
    """A distribution with a parameter that is either ``probs`` or ``logits``; the other is computed when it is asked for."""

    def _set_chance(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Keep the one that is given, broadcast with other parameters, which are returned.

        Raises:
            ValueError: both or neither are given.
        """
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        value, *rest = broadcast_all(logits if probs is None else probs, *others)
        setattr(self, "logits" if probs is None else "probs", value)
        return rest

    @lazy_property
    def logits(self) -> Tensor:
        """``log(probs / (1 - probs))``."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """``1 / (1 + exp(-logits))``."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self) -> Tensor:
        """The one that was given."""
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.logits

    @property
    def param_shape(self) -> Size:
        return self._param.shape
