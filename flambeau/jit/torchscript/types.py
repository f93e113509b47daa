"""The types of TorchScript: what annotations say, and what a caller from Python gives."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau.jit.torchscript.codes import DTYPES, number_of
from flambeau.jit.torchscript.objects import ScriptObject

__all__ = ["Type", "dotted", "is_instance", "parsed", "received"]


class Type(NamedTuple):
    """A type: its name, dotted for those of the program itself, and what stands in brackets behind it."""

    name: str
    arguments: tuple[Type, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.arguments))}]" if self.arguments else self.name


def dotted(node: ast.expr) -> str | None:
    """The text of a name with dots, or nothing if it is something else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def parsed(node: ast.expr | None) -> Type:
    """The type that an annotation says.

    Raises:
        ValueError: it is none
    """
    if node is None:
        return Type("Any")
    if isinstance(node, ast.Constant) and node.value is None:
        return Type("NoneType")
    if isinstance(node, ast.Subscript) and (name := dotted(node.value)):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return Type(name, tuple([parsed(each) for each in inside]))
    if name := dotted(node):
        return Type(name)
    raise ValueError(f"a type in TorchScript is a name, with types in brackets, not {ast.unparse(node)}")


_PLAIN: dict[str, type | tuple[type, ...]] = {
    "Tensor": Tensor, "int": int, "float": float, "bool": bool, "str": str, "complex": complex, "number": (int, float, complex),
    "NoneType": type(None), "Device": flambeau.device, "Generator": flambeau.Generator,
}  # fmt: skip


def is_instance(value: Any, type: Type) -> bool:
    """Whether a value inside the program is of a type."""
    name, arguments = type
    if name in _PLAIN:
        return isinstance(value, _PLAIN[name]) and (name not in ("int", "number") or not isinstance(value, bool))
    if name == "Optional":
        return value is None or is_instance(value, arguments[0])
    if name == "Union":
        return any(is_instance(value, each) for each in arguments)
    if name == "List":
        return isinstance(value, list) and all(is_instance(each, arguments[0]) for each in value)
    if name == "Dict":
        return isinstance(value, dict) and all(
            is_instance(key, arguments[0]) and is_instance(each, arguments[1]) for key, each in value.items()
        )
    if name == "Tuple":
        return isinstance(value, tuple) and len(value) == len(arguments) and all(map(is_instance, value, arguments))
    return name == "Any" or getattr(value, "torchscript_name", None) == name


def received(value: Any, type: Type) -> Any:
    """A caller's argument as the program has it: numbers and containers are converted as PyTorch converts them.

    Raises:
        TypeError: it is of another type
    """
    name, arguments = type
    if name == "Tensor" and isinstance(value, (Tensor, int, float, complex)):
        return value if isinstance(value, Tensor) else flambeau.tensor(value)
    if name == "int" and isinstance(value, DTYPES):
        return number_of(value)
    if name == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if name == "Device" and isinstance(value, str):
        return flambeau.device(value)
    if name == "Optional":
        return None if value is None else received(value, arguments[0])
    if name == "List" and isinstance(value, (list, tuple)):
        return [received(each, arguments[0]) for each in value]
    if name == "Dict" and isinstance(value, dict):
        return {received(key, arguments[0]): received(each, arguments[1]) for key, each in value.items()}
    if name == "Tuple" and isinstance(value, tuple) and len(value) == len(arguments):
        return tuple([received(each, wanted) for each, wanted in zip(value, arguments, strict=True)])
    if name == "Union":
        fitting = next((each for each in arguments if is_instance(value, each)), None)
        if fitting is not None:
            return received(value, fitting)
    if is_instance(value, type) or (name.startswith("__torch__") and _may_be_of_the_program(value)):
        return value
    raise TypeError(f"a value of type '{type}' is expected, but it is of type '{value.__class__.__name__}'")


def _may_be_of_the_program(value: Any) -> bool:
    """Whether a value may be of a class of the program: an implementation of an interface, or a named tuple that the caller has made."""
    return isinstance(value, (ScriptObject, tuple, flambeau.nn.Module))
