"""What a TorchScript program makes that is neither a tensor nor a plain value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.jit.torchscript.source import Class

__all__ = ["EnumMember", "ScriptObject"]


class ScriptObject:
    """An object of a class of the program: its attributes lie in a dictionary, where Python's own are out of reach."""

    def __init__(self, definition: Class) -> None:
        self._definition = definition
        self._fields: dict[str, Any] = {}

    @property
    def torchscript_name(self) -> str:
        """The full name of the class."""
        return self._definition.name

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("_fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"the object of TorchScript's class {self._definition.name} has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<torch.ScriptObject of {self._definition.name}>"


class EnumMember:
    """A member of an enumeration of the program."""

    def __init__(self, torchscript_name: str, name: str, value: Any) -> None:
        self.torchscript_name, self.name, self.value = torchscript_name, name, value

    def __repr__(self) -> str:
        return f"<{self.torchscript_name.rpartition('.')[2]}.{self.name}: {self.value!r}>"
