"""Decorators for classes of pipes: functional names, and the promise that nothing is random."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["functional_datapipe", "guaranteed_datapipes_determinism", "non_deterministic"]


class functional_datapipe:
    """Registers a class of pipes under a functional name: ``@functional_datapipe("name")`` makes ``pipe.name(…)``.

    Raises:
        Exception: the name is taken

    Example:
        >>> @functional_datapipe("every_other")
        ... class EveryOther(IterDataPipe):
        ...     def __init__(self, source):
        ...         self.source = source
        ...     def __iter__(self):
        ...         for position, sample in enumerate(self.source):
        ...             if position % 2 == 0:
        ...                 yield sample
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> list(IterableWrapper("abcde").every_other())
        ['a', 'c', 'e']
    """

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        if enable_df_api_tracing:
            raise NotImplementedError("functional_datapipe: pipes of data frames are not traced; leave enable_df_api_tracing out")
        self.name = name

    def __call__(self, cls: type) -> type:
        for kind in (IterDataPipe, MapDataPipe):
            if issubclass(cls, kind):
                kind.register_datapipe_as_function(self.name, cls)
        return cls


class guaranteed_datapipes_determinism:
    """Within this context, pipes that are marked as :func:`non_deterministic` cannot be made."""

    on = False

    def __init__(self) -> None:
        self._before = guaranteed_datapipes_determinism.on
        guaranteed_datapipes_determinism.on = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        guaranteed_datapipes_determinism.on = self._before


def non_deterministic(arg: Any) -> Any:
    """Marks a class of pipes whose samples, or whose order, may differ from run to run.

    Args:
        arg: the class; or a function of the arguments that a pipe is made with, which says whether that one is random

    Raises:
        TypeError: something other than a class of pipes; and, inside of :class:`guaranteed_datapipes_determinism`, when such
            a pipe is made
    """
    if isinstance(arg, type):
        return _marked(arg, lambda *args, **options: True)
    if not callable(arg):
        raise TypeError(f"{arg} can not be decorated by non_deterministic: pass a class of pipes, or a function of its arguments")
    return lambda cls: _marked(cls, arg)


def _marked(cls: Any, is_random: Callable[..., bool]) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, IterDataPipe)):
        name = getattr(cls, "__name__", cls)
        raise TypeError(f"Only `IterDataPipe` can be decorated with `non_deterministic`, but {name} is found")
    make = cls.__init__

    @functools.wraps(make)
    def checked(self: Any, *args: Any, **options: Any) -> None:
        if guaranteed_datapipes_determinism.on and is_random(*args, **options):
            raise TypeError(
                f"{cls.__name__} is non-deterministic, but you set 'guaranteed_datapipes_determinism': leave the context to make one"
            )
        make(self, *args, **options)

    cls.__init__ = checked
    return cls
