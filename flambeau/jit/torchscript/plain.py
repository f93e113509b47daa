"""TorchScript's operators on values that are no tensors: numbers, texts, lists and dictionaries.

Integers have 64 bits, as in PyTorch: what is larger comes round at the other end, so that a program cannot make a number without bounds.
"""

from __future__ import annotations

import cmath
import copy
import math
import operator
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.jit.torchscript.text import format_braces, format_percent, shown

__all__ = ["CONTAINERS", "PLAIN"]

CONTAINERS = (list, dict, str, tuple)
"""What operators of containers take in front."""


def _int64(value: Any) -> Any:
    """A result: an integer in the range of 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
        return (value + (1 << 63)) % (1 << 64) - (1 << 63)
    return value


def _wrapping(function: Callable) -> Callable:
    def compute(*args: Any) -> Any:
        return _int64(function(*args))

    return compute


def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    return _int64(a + b * alpha) if alpha != 1 else _int64(a + b)


def _sub(a: Any, b: Any, alpha: Any = 1) -> Any:
    return _int64(a - b * alpha)


def _floordiv(a: Any, b: Any) -> Any:
    return a // b if isinstance(a, int) and isinstance(b, int) else math.floor(a / b) * 1.0


def _round_to_zero(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _pow(a: Any, b: Any) -> Any:
    return (complex(a) if isinstance(a, complex) else float(a)) ** b


def _shift_left(a: int, b: int) -> int:
    return _int64(a << min(b, 64))


def _bitwise_not(a: int) -> int:
    return ~a


def _function(real: Callable, complex_: Callable | None = None) -> Callable:
    def compute(value: Any, *more: Any) -> Any:
        if isinstance(value, complex) and complex_ is not None:
            return complex_(value, *more)
        try:
            return real(value, *more)
        except ValueError:  # outside the domain
            return math.nan
        except OverflowError:
            return math.inf

    return compute


def _floor(value: Any) -> int:
    return _int64(math.floor(value))


def _ceil(value: Any) -> int:
    return _int64(math.ceil(value))


def _log(value: Any, *base: Any) -> Any:
    if isinstance(value, complex):
        return cmath.log(value, *base)
    return -math.inf if value == 0 else math.log(value, *base) if value > 0 else math.nan


# -- containers ------------------------------------------------------------------------------------------------------


def _slice(values: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return values[slice(start, end, step)]


def _set_item(container: Any, key: Any, value: Any) -> Any:
    container[key] = value
    return container


def _delete(container: Any, key: Any) -> None:
    del container[key]


def _append(values: list, value: Any) -> list:
    values.append(value)
    return values


def _insert(values: list, position: int, value: Any) -> None:
    values.insert(position, value)


def _sort(values: list, reverse: bool = False) -> None:
    values.sort(reverse=reverse)


def _sorted(values: list, reverse: bool = False) -> list:
    return sorted(values, reverse=reverse)


def _as_list(values: Any) -> list:
    return list(values)


def _as_dict(pairs: Any = ()) -> dict:
    return dict(pairs)


def _is_one_of(container: Any, value: Any) -> bool:
    return value in container


def _pop(container: Any, *key: Any) -> Any:
    return container.pop(*key)


def _popitem(container: dict) -> tuple:
    return container.popitem()


def _update(container: dict, other: dict) -> None:
    container.update(other)


def _total(values: list) -> Any:
    return _int64(sum(values))


def _divmod(a: Any, b: Any) -> tuple:
    return (_floordiv(a, b), a % b)


def _largest(*values: Any) -> Any:
    return max(*values)


def _smallest(*values: Any) -> Any:
    return min(*values)


def _warn(message: str, stacklevel: int = 2) -> None:
    warnings.warn(message, stacklevel=2)


# -- texts -----------------------------------------------------------------------------------------------------------


def _method_of_text(name: str) -> Callable:
    method = getattr(str, name)

    def call(text: str, *args: Any) -> Any:
        found = method(text, *args)
        return list(found) if isinstance(found, list) else found

    return call


def _justified(name: str) -> Callable:
    method = getattr(str, name)

    def call(text: str, width: int, *fill: str) -> str:
        if width > 1 << 24:
            raise ValueError(f"{name} to a width of {width}: the longest is {1 << 24}")
        return method(text, width, *fill)

    return call


def _expand_tabs(text: str, tabsize: int = 8) -> str:
    return text.expandtabs(min(tabsize, 1 << 10))


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


_METHODS_OF_TEXT = (
    "capitalize", "casefold", "endswith", "find", "isalnum", "isalpha", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace",
    "istitle", "isupper", "join", "lower", "lstrip", "partition", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith",
    "strip", "swapcase", "title", "upper",
)  # fmt: skip

PLAIN: dict[str, Callable] = {
    # arithmetic
    "add": _add, "add_": lambda a, b: a.extend(b) or a, "sub": _sub, "mul": _wrapping(operator.mul), "div": operator.truediv, "floordiv": _floordiv,
    "floor_divide": _floordiv, "remainder": operator.mod, "fmod": math.fmod, "mathremainder": math.remainder, "pow": _pow, "neg": _wrapping(operator.neg),
    "__round_to_zero_floordiv": _round_to_zero, "divmod": _divmod, "abs": abs, "sum": _total, "max": _largest, "min": _smallest,
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "__is__": operator.is_, "__isnot__": operator.is_not, "__not__": operator.not_, "__and__": operator.and_, "__or__": operator.or_, "__xor__": operator.xor,
    "__lshift__": _shift_left, "__rshift__": operator.rshift, "bitwise_not": _bitwise_not,
    # functions of a number
    "floor": _floor, "ceil": _ceil, "round": lambda value: float(round(value)), "trunc": lambda value: float(math.trunc(value)),
    "sqrt": _function(math.sqrt, cmath.sqrt), "exp": _function(math.exp, cmath.exp), "log": _log, "log10": _function(math.log10, cmath.log10),
    "log2": _function(math.log2), "log1p": _function(math.log1p), "expm1": _function(math.expm1), "sin": _function(math.sin, cmath.sin),
    "cos": _function(math.cos, cmath.cos), "tan": _function(math.tan, cmath.tan), "asin": _function(math.asin, cmath.asin),
    "acos": _function(math.acos, cmath.acos), "atan": _function(math.atan, cmath.atan), "sinh": _function(math.sinh, cmath.sinh),
    "cosh": _function(math.cosh, cmath.cosh), "tanh": _function(math.tanh, cmath.tanh), "asinh": _function(math.asinh, cmath.asinh),
    "acosh": _function(math.acosh, cmath.acosh), "atanh": _function(math.atanh, cmath.atanh), "atan2": math.atan2, "hypot": math.hypot, "erf": math.erf,
    "erfc": math.erfc, "gamma": _function(math.gamma), "lgamma": _function(math.lgamma), "degrees": math.degrees, "radians": math.radians, "fabs": math.fabs,
    "copysign": math.copysign, "ldexp": math.ldexp, "modf": math.modf, "frexp": math.frexp, "gcd": math.gcd, "isnan": lambda value: value != value,
    "isinf": lambda value: value in (math.inf, -math.inf), "isfinite": lambda value: math.isfinite(value), "real": lambda value: value.real,
    "imag": lambda value: value.imag, "polar": cmath.rect,
    # conversions
    "Int": int, "Float": float, "Bool": bool, "Complex": complex, "str": shown, "ord": ord, "chr": chr, "hex": hex, "oct": oct, "bin": bin, "hash": hash,
    "format": format_braces, "percentFormat": format_percent, "warn": _warn,
    # containers
    "len": len, "append": _append, "extend": lambda values, more: values.extend(more), "insert": _insert, "pop": _pop, "popitem": _popitem,
    "remove": lambda values, value: values.remove(value), "reverse": lambda values: values.reverse(), "sort": _sort, "sorted": _sorted,
    "index": lambda values, value, *limits: values.index(value, *limits), "count": lambda values, value, *limits: values.count(value, *limits),
    "clear": lambda container: container.clear(), "copy": copy.copy, "list": _as_list, "dict": _as_dict, "slice": _slice, "__getitem__": operator.getitem,
    "_set_item": _set_item, "Delete": _delete, "__contains__": _is_one_of, "keys": _as_list, "values": lambda container: list(container.values()),
    "items": lambda container: list(container.items()), "get": lambda container, key, default=None: container.get(key, default),
    "setdefault": lambda container, key, value: container.setdefault(key, value), "update": _update, "all": all, "any": any,
    # texts
    **{name: _method_of_text(name) for name in _METHODS_OF_TEXT}, "replace": _replace, "expandtabs": _expand_tabs,
    **{name: _justified(name) for name in ("center", "ljust", "rjust", "zfill")},
    # loops
    "__range_length": lambda start, stop, step: len(range(start, stop, step)), "__derive_index": lambda index, start, step: start + index * step,
}  # fmt: skip
"""The operators by name."""
