"""Classes that are asked before a function of PyTorch's runs on them, and modes that are asked about every call.

See ``_tensor/overriding.py`` for how functions come to ask.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from importlib import import_module
from types import FunctionType
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau import _ops as ops
from flambeau._tensor import overriding

__all__ = [
    "BaseTorchFunctionMode", "TorchFunctionMode", "enable_reentrant_dispatch", "get_default_nowrap_functions", "get_ignored_functions", "get_overridable_functions", "get_testing_overrides",
    "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic", "is_tensor_like", "is_tensor_method_or_property",
    "resolve_name", "wrap_torch_function",
]  # fmt: skip


class TorchFunctionMode:
    """A context that is asked about every call of a function.

    Example::

        >>> class Counting(flambeau.overrides.TorchFunctionMode):
        ...     calls = 0
        ...     def __torch_function__(self, func, types, args=(), kwargs=None):
        ...         self.calls += 1
        ...         return func(*args, **(kwargs or {}))
        >>> with Counting() as counting:
        ...     x = flambeau.ones(2).exp()
        >>> counting.calls
        2
    """

    def __torch_function__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """What a call returns instead; call ``func`` to have it run. The mode is not asked meanwhile."""
        raise NotImplementedError

    def __enter__(self) -> TorchFunctionMode:
        overriding.activate()
        overriding.STATE.modes.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        overriding.STATE.modes.pop()


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that lets every function run."""

    def __torch_function__(self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


# -- asking ----------------------------------------------------------------------------------------------------------


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a mode, or the class of one of the arguments, is to be asked."""
    state = overriding.STATE
    return state.all and bool(state.modes or (state.classes and any(overriding.is_asked(type(each)) for each in relevant_args)))


def has_torch_function_unary(tensor: Any) -> bool:
    """As ``has_torch_function``, for one argument."""
    return has_torch_function((tensor,))


def has_torch_function_variadic(*args: Any) -> bool:
    """As ``has_torch_function``, for the arguments."""
    return has_torch_function(args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """What the mode or the classes of ``relevant_args`` say that ``public_api(*args, **kwargs)`` is.

    Raises:
        TypeError: all that were asked returned ``NotImplemented``
    """
    return overriding.ask(public_api, overriding.overloaded(relevant_args), args, kwargs)


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """A decorator for functions that ask; ``dispatcher`` takes their arguments and returns the relevant ones."""

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def asking(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(asking, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return asking

    return decorate


@contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """A context for calls from within a handler, which may ask again in any case."""
    yield


def is_tensor_like(inp: Any) -> bool:
    """Whether a value is a tensor, or stands in for one: its class has a ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(type(inp), "__torch_function__")


# -- which functions -------------------------------------------------------------------------------------------------

_NAMESPACES = {"nn.functional": "torch.nn.functional", "linalg": "torch.linalg", "fft": "torch.fft", "special": "torch.special"}
_IGNORED = frozenset({
    "can_cast", "compile", "get_default_dtype", "get_num_threads", "get_printoptions", "get_rng_state", "initial_seed", "install_as_torch", "is_grad_enabled",
    "is_inference_mode_enabled", "is_storage", "is_tensor", "manual_seed", "seed", "set_default_dtype", "set_num_threads", "set_printoptions", "set_rng_state", "typename",
})  # fmt: skip
"""Functions that concern no tensor."""
_IGNORED_METHODS = frozenset({
    "__class_getitem__", "__deepcopy__", "__dir__", "__hash__", "__init__", "__init_subclass__", "__new__", "__reduce_ex__", "__torch_function__", "_array", "_make_subclass",
    "as_subclass",
})  # fmt: skip


def _functions() -> Iterator[tuple[str, str, FunctionType]]:
    """The namespace and name of each function that asks, and the function."""
    names = {name for family in ops.FAMILIES for name in family.PUBLIC} | set(vars(flambeau.nn.functional)) & set(vars(flambeau))
    homes = [(flambeau, "torch", sorted(names | set(flambeau._aliases.FUNCTIONS)))]
    for path, shown in _NAMESPACES.items():
        module = import_module(f"flambeau.{path}")
        homes.append((module, shown, getattr(module, "__all__", None) or sorted(vars(module))))
    for home, shown, listed in homes:
        for name in listed:
            function = getattr(home, name, None)
            if isinstance(function, FunctionType) and name not in _IGNORED and not name.startswith("_"):
                yield shown, name, function


def _methods() -> Iterator[tuple[str, Any]]:
    """The name of each method and property of tensors, and what it is."""
    for cls in Tensor.__mro__[:-1]:
        for name, value in vars(cls).items():
            if name not in _IGNORED_METHODS:
                yield name, value


_CALLED = {
    "__abs__": "abs", "__add__": "add", "__ge__": "ge", "__gt__": "gt", "__iadd__": "add_", "__ifloordiv__": "floor_divide_", "__imod__": "remainder_", "__imul__": "mul_",
    "__isub__": "sub_", "__itruediv__": "div_", "__le__": "le", "__lt__": "lt", "__matmul__": "matmul", "__mod__": "remainder", "__mul__": "mul", "__ne__": "ne", "__neg__": "neg",
    "__pos__": "positive", "__radd__": "add", "__rand__": "bitwise_and", "__rmul__": "mul", "__ror__": "bitwise_or", "__rxor__": "bitwise_xor", "__sub__": "sub",
    "__truediv__": "div",
}  # fmt: skip
"""Python's operators that a class is told of as methods with names."""


def _overridable() -> list[tuple[FunctionType, Any]]:
    """All functions, methods and getters of properties that ask, each with what a class is told that was called."""
    found: dict[int, tuple[FunctionType, Any]] = {id(function): (function, function) for _, _, function in _functions()}
    for name, value in dict(reversed([*_methods()])).items():
        if isinstance(value, FunctionType):
            if name.startswith("__"):
                value.__name__ = name
            found.setdefault(id(value), (value, getattr(Tensor, _CALLED.get(name, name))))
        elif isinstance(value, property) and isinstance(value.fget, FunctionType) and not name.startswith("_"):
            found.setdefault(id(value.fget), (value.fget, value.__get__))
    return list(found.values())


@lru_cache(maxsize=1)
def _names() -> dict[int, str]:
    named: dict[int, str] = {}
    for shown, name, function in _functions():
        if id(function) not in named or (shown == "torch" and name in _CALLED.values()):  # lt, which is less, too
            named[id(function)] = f"{shown}.{name}"
    for name, value in _methods():
        named.setdefault(id(value), f"torch.Tensor.{name}")
    return named


def resolve_name(f: Any) -> str | None:
    """The name of a function or method as one would write it, or ``None`` if it is not one that asks."""
    if getattr(f, "__name__", "") == "__get__" and isinstance(f.__self__, property):
        name = _names().get(id(f.__self__))
        return None if name is None else f"{name}.__get__"
    return _names().get(id(f), getattr(f, "__torch_name__", None))


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether a function is a method of tensors, or reads one of their properties."""
    return getattr(func, "__name__", "") == "__get__" or any(value is func for _, value in _methods())


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """The functions that ask, by the modules (and the class) that they belong to."""
    found: dict[Any, list[Callable]] = {Tensor: [value for _, value in _methods() if isinstance(value, FunctionType)]}
    for shown, _, function in _functions():
        home = flambeau if shown == "torch" else import_module(shown.replace("torch", "flambeau", 1))
        found.setdefault(home, []).append(function)
    return found


@lru_cache(maxsize=1)
def get_testing_overrides() -> dict[Callable, Callable]:
    """A function for each one that asks, which takes the same arguments and returns -1: for tests of classes with a ``__torch_function__``."""
    return {told: _stand_in(told if isinstance(told, FunctionType) else function) for function, told in _overridable()}


def _stand_in(function: Callable) -> Callable:
    taken = inspect.signature(function)

    def stand_in(*args: Any, **kwargs: Any) -> int:
        taken.bind(*args, **kwargs)
        return -1

    stand_in.__name__ = function.__name__
    stand_in.__signature__ = taken
    return stand_in


def get_ignored_functions() -> set[Callable]:
    """Functions that never ask."""
    return {getattr(flambeau, name) for name in _IGNORED if hasattr(flambeau, name)}


def get_default_nowrap_functions() -> set[Callable]:
    """What ``Tensor.__torch_function__`` does not make instances of the subclass."""
    return {Tensor.__dict__["grad"].__get__}
