"""Run-time parameters by name: a kernel's ``params`` array is laid out in the order in which its code asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flambeau._codegen.ir import Builder, Value, i64

Reader = Callable[[str], Value]


class Parameters:
    """The names of the parameters that the functions of one module read."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._positions: dict[str, int] = {name: position for position, name in enumerate(names)}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._positions)

    def reader(self, builder: Builder, pointer: Value) -> Reader:
        """A function from a parameter's name to its value; each is loaded once, in the entry block."""
        loaded: dict[str, Value] = {}

        def read(name: str) -> Value:
            if name not in loaded:
                position = self._positions.setdefault(name, len(self._positions))
                address = builder.at_entry(f"getelementptr i64, ptr {pointer.text}, i64 {position}", "ptr")
                loaded[name] = builder.at_entry(f"load i64, ptr {address.text}, align 8", "i64")
            return loaded[name]

        return read


def dot(builder: Builder, numbers: list[Value], read: Reader, names: list[str], start: Value | None = None) -> Value:
    """``start + sum(numbers[i] * read(names[i]))``."""
    total = start or i64(0)
    for number, name in zip(numbers, names, strict=True):
        total = builder.add(total, builder.mul(number, read(name)))
    return total


def decomposed(f: Builder, read: Reader, group: str, axes: int, linear: Value) -> list[Value]:
    """The indices of a linear position, row-major."""
    indices: list[Value] = []
    for axis in reversed(range(1, axes)):
        extent = read(f"{group}{axis}.extent")
        indices.insert(0, f.binary("urem", linear, extent))
        linear = f.binary("udiv", linear, extent)
    return [linear, *indices]
