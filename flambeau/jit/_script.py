"""What tells a scripted module from others: nothing but a mark, for the methods that TorchScript gives it."""

from __future__ import annotations

from typing import Any

from flambeau.nn import Module

_MARK = "_scripted"


class Error(Exception):
    """What a TorchScript program raises; a scripted function that is the function itself raises what that does."""


def mark(obj: Any) -> Any:
    """The module or function, marked as scripted; anything else as it is."""
    if hasattr(obj, "__dict__") and not isinstance(obj, type):
        obj.__dict__[_MARK] = True
    return obj


class _Marked(type):
    """The class of ``ScriptModule`` and ``ScriptFunction``: what is marked is an instance."""

    def __instancecheck__(cls, instance: Any) -> bool:
        marked = getattr(instance, "__dict__", {}).get(_MARK, False)
        return type.__instancecheck__(cls, instance) or (marked and isinstance(instance, Module) == issubclass(cls, Module))


class ScriptModule(Module, metaclass=_Marked):
    """A module that ``jit.script`` or ``jit.trace`` has returned; or a base for modules, like ``nn.Module``."""


class ScriptFunction(metaclass=_Marked):
    """A function that ``jit.script`` or ``jit.trace`` has returned.

    Raises:
        NotImplementedError: when called
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("there is no TorchScript in Flambeau: jit.script(f) is f, which is compiled when it is called")


def attribute(module: Module, name: str) -> Any:
    """What a scripted module has besides the module's own attributes: ``save``, and no code.

    Raises:
        AttributeError: there is no such attribute, or only in PyTorch
    """
    from flambeau import jit

    if name == "save":
        return lambda f, **options: jit.save(module, f, **options)
    if name == "original_name":
        return type(module).__name__
    raise AttributeError(f"{name!r}: there is no TorchScript in Flambeau: a scripted module is the module itself, and has no {name}")
