"""What ``compile`` makes of a module: another one, as in PyTorch, whose parameters are called ``_orig_mod.…``."""

from __future__ import annotations

from typing import Any

from flambeau.nn import Module

__all__ = ["OptimizedModule"]

_OWN = ("_orig_mod", "training", "dynamo_ctx")


class OptimizedModule(Module):
    """A module that calls another one; attributes that it lacks are the other one's, and so are those that are set.

    Its ``state_dict`` has PyTorch's names, so that files of compiled modules can be exchanged.

    Args:
        mod: the module, which stays what it is
        dynamo_ctx: what is called in the place of the module, if it is a function
    """

    def __init__(self, mod: Module, dynamo_ctx: object = None) -> None:
        super().__init__()
        self._orig_mod = mod
        self.training = mod.training
        self.dynamo_ctx = dynamo_ctx

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        return (self.dynamo_ctx if callable(self.dynamo_ctx) else self._orig_mod)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        modules = self.__dict__.get("_modules", {})
        if "_orig_mod" not in modules:  # while it is made, or copied
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return modules["_orig_mod"] if name == "_orig_mod" else getattr(modules["_orig_mod"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or "_orig_mod" not in self.__dict__.get("_modules", {}) or name in self.__dict__:
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        if name in _OWN or name in self.__dict__:
            super().__delattr__(name)
        else:
            delattr(self._orig_mod, name)

    def __len__(self) -> int:
        return len(self._orig_mod)

    def __bool__(self) -> bool:
        return True

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._orig_mod)})
