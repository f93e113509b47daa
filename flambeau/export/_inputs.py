"""What an exported program is called with: how its arguments come apart, and what each has to be."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.utils._pytree import TreeSpec, tree_flatten

__all__ = ["InputCheck", "Size", "arguments_of", "flat_arguments", "signature_of"]

Size = int | tuple[str, int, int]
"""A size that is fixed, or the name of a symbol, a factor and an offset."""


@dataclass(frozen=True)
class InputCheck:
    """What one input has to be: a tensor with sizes and a dtype, or a value."""

    name: str
    shape: tuple[Size, ...] | None = None
    dtype: flambeau.dtype | None = None
    value: Any = None

    def check(self, leaf: Any, symbols: dict[str, int], ranges: dict[str, tuple[int, float]]) -> None:
        """Compare an input; sizes that are free are noted in ``symbols``.

        Raises:
            AssertionError: it is something else
        """
        if self.shape is None:
            if not (type(leaf) is type(self.value) and (leaf is self.value or leaf == self.value)):
                raise _failed(f"{self.name} == {self.value!r}, not {leaf!r}: what is no tensor is part of the program")
            return
        if not isinstance(leaf, Tensor):
            raise _failed(f"{self.name} is a tensor, not a {type(leaf).__name__}")
        if leaf.dtype is not self.dtype:
            raise _failed(f"{self.name}.dtype == {self.dtype}, not {leaf.dtype}")
        shape = leaf.shape
        if len(shape) != len(self.shape):
            raise _failed(f"{self.name}.dim() == {len(self.shape)}, not {len(shape)} (shape {tuple(shape)})")
        for dim, (size, wanted) in enumerate(zip(shape, self.shape)):
            if size == wanted:
                continue
            if isinstance(wanted, int):
                raise _failed(f"{self.name}.size()[{dim}] == {wanted}, not {size}")
            self._check_free(dim, size, *wanted, symbols, ranges)

    def _check_free(
        self, dim: int, size: int, name: str, factor: int, offset: int, symbols: dict[str, int], ranges: dict[str, tuple[int, float]]
    ) -> None:
        """Compare a size that is free with what it may be, and with the others of its name."""
        value, rest = divmod(size - offset, factor)
        low, high = ranges[name]
        what = f"{self.name}.size()[{dim}]"
        if rest:
            raise _failed(f"{what} == {factor}*{name} + {offset}, which {size} is for no {name}")
        if value < low and low > 2:  # as in PyTorch, a program that takes sizes of 2 takes 0 and 1 as well, if it can
            raise _failed(f"{what} >= {factor * low + offset}, not {size}")
        if value > high:
            raise _failed(f"{what} <= {factor * high + offset}, not {size}")
        if symbols.setdefault(name, value) != value:
            raise _failed(f"{what} gives {name} = {value}, but another size gives {symbols[name]}")


def _failed(what: str) -> AssertionError:
    return AssertionError(f"Guard failed: {what}")


def signature_of(parameters: list[tuple[str, int]]) -> inspect.Signature:
    """The signature of a program's arguments, by name and kind."""
    return inspect.Signature([inspect.Parameter(name, inspect._ParameterKind(kind)) for name, kind in parameters])


def flat_arguments(signature: inspect.Signature, spec: TreeSpec, args: tuple, kwargs: dict[str, Any]) -> list[Any]:
    """The leaves of the arguments of a call.

    Raises:
        ValueError: they are others than those that the program was made with, or in other containers
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"the program was exported with the arguments {signature}: {error}") from error
    leaves, found = tree_flatten(dict(bound.arguments))
    if found != spec:
        raise ValueError(f"the program was exported with arguments of the form {spec}, but it is called with {found}")
    return leaves


def arguments_of(parameters: list[tuple[str, int]], specs: list[TreeSpec]) -> tuple[dict[str, TreeSpec], dict[str, TreeSpec]]:
    """The forms of what is given by position and by name; the parts of ``*args`` and ``**kwargs`` are arguments of their own."""
    positional: dict[str, TreeSpec] = {}
    named: dict[str, TreeSpec] = {}
    for (name, kind), spec in zip(parameters, specs, strict=True):
        if kind == inspect.Parameter.VAR_POSITIONAL:
            positional.update({f"{name}_{number}": child for number, child in enumerate(spec.children_specs)})
        elif kind == inspect.Parameter.VAR_KEYWORD:
            named.update(zip(spec.context, spec.children_specs, strict=True))
        else:
            (named if kind == inspect.Parameter.KEYWORD_ONLY else positional)[name] = spec
    return positional, named
