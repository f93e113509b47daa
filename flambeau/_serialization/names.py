"""Names in files are PyTorch's: ``torch.nn.modules.linear.Linear`` stands for ``flambeau.nn.modules.linear.Linear``.

And which further names a user allows files to build (``add_safe_globals``).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from flambeau._serialization.tensors import GLOBALS

SafeGlobal = Callable | tuple[Callable, str]

_PAIRS = (("flambeau.vision", "torchvision"), ("flambeau", "torch"))
_MOVED = {"torch.tensor": "torch._tensor"}  # modules that PyTorch has renamed


def torch_module(module: str) -> str:
    """PyTorch's name of one of our modules; other modules keep theirs."""
    return _with_prefix(module, _PAIRS)


def our_module(module: str) -> str:
    """Our name of one of PyTorch's modules; other modules keep theirs."""
    return _with_prefix(module, tuple((theirs, ours) for ours, theirs in _PAIRS))


def _with_prefix(module: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        if module == old or module.startswith(old + "."):
            return new + module[len(old) :]
    return module


def safe(module: str, name: str) -> Any:
    """What a file may build under a name.

    Raises:
        KeyError: nothing.
    """
    path = f"{_MOVED.get(module, module)}.{name}"
    if path == "torch.nn.parameter.Parameter":
        from flambeau.nn.parameter import Parameter

        return Parameter
    found = GLOBALS.get(path)
    return (_allowed | _HERE.allowed)[path] if found is None else found


def find(module: str, name: str) -> Any:
    """Import what a name of PyTorch's, or of any module, stands for.

    Raises:
        ImportError, AttributeError: there is no such thing here.
    """
    try:
        return safe(module, name)
    except KeyError:
        found = import_module(our_module(module))
        for part in name.split("."):
            found = getattr(found, part)
        return found


def is_importable(value: Any, module: str, name: str) -> bool:
    """Whether importing this name gives this very object."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


# ------------------------------------------------------------------------------------------ what the user allows

_allowed: dict[str, Callable] = {}


class _Here(threading.local):
    """What contexts allow, in this thread: another one may be loading a file that nobody trusts."""

    allowed: dict[str, Callable] = {}  # noqa: RUF012 (exchanged, never changed)


_HERE = _Here()


def _path(value: SafeGlobal) -> tuple[str, Callable]:
    if isinstance(value, tuple):
        value, path = value
        if not isinstance(path, str):
            raise TypeError(f"expected (callable, full path), but the path is of type {type(path).__name__}")
        module, _, name = path.rpartition(".")
    elif hasattr(value, "__module__") and hasattr(value, "__qualname__"):
        module, name = value.__module__, value.__qualname__
    else:
        raise TypeError(f"expected a class or function, or a pair of one and its full path, but got {value!r}")
    return f"{torch_module(module)}.{name}", value


def add_safe_globals(safe_globals: list[SafeGlobal]) -> None:
    """Let files that are loaded with ``weights_only=True`` build these classes and call these functions, from now on.

    Only allow what does no harm whatever arguments a file passes to it.

    Args:
        safe_globals: classes and functions; or pairs of one and the full path by which files name it

    Example:
        >>> import fractions
        >>> flambeau.serialization.add_safe_globals([fractions.Fraction])
        >>> flambeau.serialization.clear_safe_globals()
    """
    _allowed.update(map(_path, safe_globals))


def clear_safe_globals() -> None:
    """Allow no more than what is always allowed."""
    _allowed.clear()


def get_safe_globals() -> list[SafeGlobal]:
    """What ``add_safe_globals`` has allowed: classes and functions, or pairs of one and a path that is not its own."""
    return [value if _path(value)[0] == path else (value, path) for path, value in (_allowed | _HERE.allowed).items()]


def is_allowed(value: Any) -> bool:
    """Whether the user allows files to build or call this object."""
    return any(value is each for each in (*_allowed.values(), *_HERE.allowed.values()))


class safe_globals:
    """A context in which files that this thread loads may build these classes and call these functions besides those allowed already.

    Example:
        >>> import fractions
        >>> with flambeau.serialization.safe_globals([fractions.Fraction]):
        ...     len(flambeau.serialization.get_safe_globals())
        1
    """

    def __init__(self, safe_globals: list[SafeGlobal]) -> None:
        self._values = safe_globals

    def __enter__(self) -> None:
        self._before = _HERE.allowed
        _HERE.allowed = _HERE.allowed | dict(map(_path, self._values))

    def __exit__(self, *error: object) -> None:
        _HERE.allowed = self._before
