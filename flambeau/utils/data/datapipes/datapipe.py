"""What all pipes are: datasets with functional names for the pipes that can be put after them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from flambeau.utils.data.datapipes._passes import FEEDBACK, counted, described
from flambeau.utils.data.dataset import Dataset, IterableDataset

__all__ = ["DataChunk", "IterDataPipe", "MapDataPipe"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Functional:
    """Functional names: ``pipe.name(…)`` is what the registered function makes of ``pipe`` and the arguments."""

    functions: ClassVar[dict[str, Callable]]
    getstate_hook: ClassVar[Callable | None] = None
    reduce_ex_hook: ClassVar[Callable | None] = None

    def __getattr__(self, name: str) -> Any:
        function = type(self).functions.get(name)
        if function is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return functools.update_wrapper(functools.partial(function, self), function, assigned=("__doc__",))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *type(self).functions})

    def __repr__(self) -> str:
        return type(self).__qualname__

    def __getstate__(self) -> Any:
        hook = type(self).getstate_hook
        return self.__dict__ if hook is None else hook(self.__dict__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        hook = type(self).reduce_ex_hook
        if hook is not None:
            try:
                return hook(self)
            except NotImplementedError:
                pass
        return super().__reduce_ex__(protocol)

    @classmethod
    def register_function(cls, function_name: str, function: Callable) -> None:
        """Gives all pipes of this kind a method ``function_name``, which calls ``function(pipe, …)``."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: type) -> None:
        """Gives all pipes of this kind a method ``function_name`` that makes a ``cls_to_register`` of the pipe.

        Raises:
            Exception: the name is taken
        """
        if function_name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {function_name} as it is already taken")

        @functools.wraps(cls_to_register, assigned=("__doc__", "__name__", "__qualname__", "__module__"), updated=())
        def make(pipe: Any, *args: Any, **options: Any) -> Any:
            return cls_to_register(pipe, *args, **options)

        cls.functions[function_name] = make

    @classmethod
    def set_getstate_hook(cls, hook_fn: Callable | None) -> None:
        """Lets ``hook_fn`` change the state that pipes of this kind are pickled with; ``None`` takes it away.

        Raises:
            RuntimeError: there is one already
        """
        if cls.getstate_hook is not None and hook_fn is not None:
            raise RuntimeError("Attempt to override existing getstate_hook: set it to None first")
        cls.getstate_hook = None if hook_fn is None else staticmethod(hook_fn)

    @classmethod
    def set_reduce_ex_hook(cls, hook_fn: Callable | None) -> None:
        """Lets ``hook_fn`` say how pipes of this kind are pickled, as ``__reduce_ex__`` does; ``None`` takes it away.

        A pipe for which it raises ``NotImplementedError`` is pickled as always.

        Raises:
            RuntimeError: there is one already
        """
        if cls.reduce_ex_hook is not None and hook_fn is not None:
            raise RuntimeError("Attempt to override existing reduce_ex_hook: set it to None first")
        cls.reduce_ex_hook = None if hook_fn is None else staticmethod(hook_fn)


class IterDataPipe(_Functional, IterableDataset[_T_co]):
    """A pipe that is iterated.

    A subclass defines ``__iter__``, and ``__len__`` if the number of samples is known. A pipe has one iterator at a time:
    making another starts again from the first sample (:meth:`reset`), and the older one raises ``RuntimeError`` from then on.
    Use ``fork`` where several are to read the same pipe.

    Example:
        >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
        >>> pipe = IterableWrapper(range(5)).map(float).batch(2)
        >>> list(pipe), len(pipe)
        ([[0.0, 1.0], [2.0, 3.0], [4.0]], 3)
    """

    functions: ClassVar[dict[str, Callable]] = {}
    _valid_iterator_id: int | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__iter__" in vars(cls):
            cls.__iter__ = counted(vars(cls)["__iter__"])

    @counted
    def __iter__(self) -> Iterator[_T_co]:
        return self  # of a subclass that defines __next__

    def reset(self) -> None:
        """Called when a pass begins: sets back what a subclass keeps between samples."""

    def _begin_pass(self) -> int:
        """Makes the iterators of all earlier passes invalid, and returns the number of the new one."""
        self._valid_iterator_id = 0 if self._valid_iterator_id is None else self._valid_iterator_id + 1
        self.reset()
        return self._valid_iterator_id

    def _check_pass(self, number: int) -> None:
        if number != self._valid_iterator_id:
            raise RuntimeError(
                "This iterator has been invalidated because another iterator has been created from the same IterDataPipe: "
                f"{described(self)}\nThis may be caused by multiple references to the same IterDataPipe. We recommend using "
                f"`.fork()` if that is necessary.{FEEDBACK}"
            )


class MapDataPipe(_Functional, Dataset[_T_co]):
    """A pipe that is indexed: a subclass defines ``__getitem__`` and ``__len__``.

    Indices need not be numbers, and a pipe that changes samples does so when they are asked for.

    Example:
        >>> from flambeau.utils.data.datapipes.map import SequenceWrapper
        >>> pipe = SequenceWrapper(range(5)).map(float)
        >>> pipe[3], len(pipe)
        (3.0, 5)
    """

    functions: ClassVar[dict[str, Callable]] = {}


class DataChunk(list[_T]):
    """A batch of samples as a pipe hands it on: a list that keeps its ``items``."""

    def __init__(self, items: Any) -> None:
        items = list(items)
        super().__init__(items)
        self.items = items

    def as_str(self, indent: str = "") -> str:
        """The samples in brackets, after ``indent``."""
        return f"{indent}[{', '.join(str(item) for item in self)}]"

    def raw_iterator(self) -> Iterator[_T]:
        """Iterates over the samples, also where a subclass iterates in another way."""
        return iter(self.items)
