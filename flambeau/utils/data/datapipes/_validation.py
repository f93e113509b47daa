"""Decorators that hold a pipe to its annotations."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["argument_validation", "runtime_validation", "runtime_validation_disabled"]


def argument_validation(f: Callable) -> Callable:
    """Checks, at each call of ``f``, that the arguments annotated as pipes are such pipes.

    Raises:
        TypeError: one is not
    """
    signature = inspect.signature(f)

    @functools.wraps(f)
    def checked(*args: Any, **options: Any) -> Any:
        bound = signature.bind(*args, **options)
        for name, hint in typing.get_type_hints(f).items():
            kind = typing.get_origin(hint) or hint
            if name not in bound.arguments or not (isinstance(kind, type) and issubclass(kind, (IterDataPipe, MapDataPipe))):
                continue
            value = bound.arguments[name]
            if not isinstance(value, kind):
                raise TypeError(f"Expected argument '{name}' as a {kind.__name__}, but found {type(value)}")
        return f(*args, **options)

    return checked


class runtime_validation_disabled:
    """Within this context, :func:`runtime_validation` lets everything pass."""

    on = True

    def __init__(self) -> None:
        self._before = runtime_validation_disabled.on
        runtime_validation_disabled.on = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        runtime_validation_disabled.on = self._before


def runtime_validation(f: Callable) -> Callable:
    """Checks each sample that an ``__iter__`` yields against its annotation, ``-> Iterator[…]``.

    Raises:
        TypeError: ``f`` is no ``__iter__``
        RuntimeError: when a sample is of another type
    """
    if f.__name__ != "__iter__":
        raise TypeError(f"Can not decorate function {f.__name__} with 'runtime_validation': it is for __iter__")

    @functools.wraps(f)
    def checked(self: Any) -> Iterator:
        of = typing.get_args(typing.get_type_hints(f).get("return"))
        for sample in f(self):
            if of and runtime_validation_disabled.on and not _matches(sample, of[0]):
                raise RuntimeError(f"Expected an instance as subtype of {of[0]}, but found {sample}({type(sample)})")
            yield sample

    return checked


def _matches(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; what cannot be checked without using the value up is taken as right."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, each) for each in args)
    if origin is typing.Literal:
        return value in args
    if hint is None:
        return value is None
    if not isinstance(origin or hint, type):  # Any, a type variable
        return True
    if not isinstance(value, origin or hint):
        return False
    if origin is tuple and args[-1] is not Ellipsis:
        return len(value) == len(args) and all(map(_matches, value, args))
    if isinstance(value, collections.abc.Mapping) and len(args) == 2:
        return all(_matches(key, args[0]) and _matches(item, args[1]) for key, item in value.items())
    if args and isinstance(value, (tuple, list, collections.abc.Set)):
        return all(_matches(item, args[0]) for item in value)
    return True
