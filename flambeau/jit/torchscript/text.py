"""How TorchScript writes values as text: `str(x)`, `"{}".format(x)` and `"%d" % x`.

Python's own formatting is of no use here: its fields reach attributes of what is formatted, and a width can ask for any amount of memory.
"""

from __future__ import annotations

from typing import Any

__all__ = ["format_braces", "format_percent", "shown"]

_INT64 = 1 << 63
_SPECIFIERS = {"d": "%d", "i": "%d", "f": "%f", "e": "%e", "s": "", "c": "%c"}


def shown(value: Any) -> str:
    """A value as text: whole numbers end in a point, others have 17 digits, and texts in containers have no quotes."""
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < _INT64
        return f"{int(value)}." if whole else f"{value:.17g}"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    if isinstance(value, dict):
        return "{" + ", ".join([f"{shown(key)}: {shown(each)}" for key, each in value.items()]) + "}"
    return str(value)


def format_braces(template: str, *values: Any) -> str:
    """The text with a value in the place of each ``{}``.

    Raises:
        ValueError: there are more places than values
    """
    first, *rest = template.split("{}")
    if len(rest) > len(values):
        raise ValueError(f"the text {template!r} has places for {len(rest)} values, but there are {len(values)}")
    return first + "".join([shown(value) + piece for value, piece in zip(values, rest)])


def format_percent(template: str, *values: Any) -> str:
    """The text with a value in the place of each ``%s``, ``%d``, ``%f`` and so on, as in C, without widths.

    Raises:
        ValueError: a specifier is not known, or there are more or fewer values than places
    """
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    remaining = list(values)
    pieces: list[str] = []
    position = 0
    while (found := template.find("%", position)) >= 0:
        pieces.append(template[position:found])
        kind = template[found + 1 : found + 2]
        position = found + 2
        if kind == "%":
            pieces.append("%")
        elif kind not in _SPECIFIERS:
            raise ValueError(f"The specifier %{kind} is not supported in TorchScript format strings")
        elif not remaining:
            raise ValueError("Too few arguments for format string")
        else:
            value = remaining.pop(0)
            pieces.append(shown(value) if kind == "s" else _SPECIFIERS[kind] % value)
    if remaining:
        raise ValueError("Too many arguments for format string")
    return "".join([*pieces, template[position:]])
