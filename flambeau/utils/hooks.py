"""Hooks: their handles, and which of them a file loses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from flambeau import Tensor
from flambeau.nn.hooks import BackwardHook as BackwardHook
from flambeau.nn.hooks import RemovableHandle as RemovableHandle

__all__ = ["BackwardHook", "RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]

_F = TypeVar("_F", bound=Callable)


def unserializable_hook(f: _F) -> _F:
    """Marks a hook that need not be saved: :func:`warn_if_has_hooks` says nothing of it."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor: Tensor) -> None:
    """Warns of the hooks of a tensor, which no file keeps."""
    hooks = getattr(tensor.node, "hooks", None) if tensor.node is not None else None
    for hook in (hooks.outputs.get(tensor.output_nr, {}) if hooks else {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the function with "
                "@torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=2,
            )
