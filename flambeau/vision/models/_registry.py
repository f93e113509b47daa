"""The models by name, and what to say to somebody who wants trained weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from flambeau.nn import Module

__all__ = ["get_model", "get_model_builder", "list_models", "model"]

Builder = TypeVar("Builder", bound=Callable[..., Module])

_BUILDERS: dict[str, Callable[..., Module]] = {}


def model(build: Callable[..., Module]) -> Callable[..., Module]:
    """Registers a builder under its name, and gives it the arguments that all of torchvision's builders have.

    ``weights`` (in the past ``pretrained``) may only say that there are none; ``progress`` is that of a download.
    """

    @functools.wraps(build)
    def builder(weights: Any = None, progress: bool = True, *, pretrained: Any = None, **options: Any) -> Module:
        for wanted in (weights, pretrained):
            if wanted:
                raise ValueError(
                    f"{build.__name__} has no trained weights to offer ({wanted!r}): Flambeau has no hub and downloads nothing. "
                    "Build the model with weights=None and load a state dict of torchvision's with load_state_dict; the keys are the same"
                )
        return build(**options)

    _BUILDERS[build.__name__] = builder
    return builder


def get_model_builder(name: str) -> Callable[..., Module]:
    """The function that builds the model ``name``.

    Raises:
        ValueError: there is no such model.
    """
    try:
        return _BUILDERS[name.lower()]
    except KeyError:
        raise ValueError(f"Unknown model {name}: there are {', '.join(list_models())}") from None


def get_model(name: str, **config: Any) -> Module:
    """Builds the model ``name``.

    Example:
        >>> sum(p.numel() for p in get_model("resnet18", num_classes=10).parameters())
        11181642
    """
    return get_model_builder(name)(**config)


def list_models() -> list[str]:
    """The names of all models, sorted."""
    return sorted(_BUILDERS)
