"""What PyTorch's compiler makes of modules."""

from __future__ import annotations

from flambeau.nn import Module

__all__ = ["OptimizedModule"]


class OptimizedModule(Module):
    """What PyTorch's `compile` makes of a module, to ask whether a module is one: none is, for `compile` returns the module itself.

    Raises:
        NotImplementedError: when called
    """

    def __init__(self, mod: Module, dynamo_ctx: object = None) -> None:
        raise NotImplementedError("torch.compile(module) is the module itself, whose operators are compiled in any case")
