"""Modules that a TorchScript archive holds."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor
from flambeau.jit._script import ScriptModule
from flambeau.jit.torchscript.interpreter import Interpreter
from flambeau.jit.torchscript.source import Class, Function
from flambeau.nn import Module, Parameter

__all__ = ["RecursiveScriptModule", "ScriptMethod"]


class ScriptMethod:
    """A method of a module of a TorchScript program.

    Attributes:
        name: its name
        code: its source
    """

    def __init__(self, owner: RecursiveScriptModule, function: Function) -> None:
        self._owner, self._function = owner, function
        self.name = self.__name__ = function.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._owner._interpreter.run(self._function, [self._owner, *args], kwargs)

    @property
    def owner(self) -> RecursiveScriptModule:
        """The module."""
        return self._owner

    @property
    def code(self) -> str:
        return self._function.source


class RecursiveScriptModule(ScriptModule):
    """A module of a TorchScript program: its parameters, buffers and submodules are those of any module, its methods are the program's.

    Attributes:
        original_name: the name of its class, where it was written
        code: the source of its `forward`
    """

    def __init__(self, definition: Class, interpreter: Interpreter) -> None:
        attributes = self.__dict__
        attributes["_definition"], attributes["_interpreter"] = definition, interpreter
        attributes["_slots"] = {}
        super().__init__()

    # -- what the program sees ---------------------------------------------------------------------------------------------

    def _slot(self, name: str) -> Any:
        """An attribute: a parameter, a buffer, a submodule, a value or a constant of the class."""
        for members in (self._parameters, self._buffers, self._modules, self._slots):
            if name in members:
                return members[name]
        if name == "training":
            return self.training
        if name in self._definition.constants:
            return self._interpreter.value(self._definition.constants[name], {})
        raise AttributeError(f"the TorchScript module {self._definition.name} has no attribute {name!r}")

    def _set_slot(self, name: str, value: Any) -> None:
        if name == "training":
            self.__dict__["training"] = bool(value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif name in self._definition.parameters and (value is None or isinstance(value, Tensor)):
            is_one = value is None or isinstance(value, Parameter)
            self.register_parameter(name, value if is_one else Parameter(value, value.requires_grad))
        elif name in self._definition.buffers and (value is None or isinstance(value, Tensor)):
            self.register_buffer(name, value)
        else:
            self._slots[name] = value

    # -- what Python sees --------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program's `forward`.

        Raises:
            NotImplementedError: the module has none
            RuntimeError: the arguments do not fit
            jit.Error: the program raises it
        """
        function = self._definition.methods.get("forward")
        if function is None:
            raise NotImplementedError(f"the TorchScript module {self._definition.name} has no method forward")
        return self._interpreter.run(function, [self, *args], kwargs)

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        definition = attributes.get("_definition")
        if definition is not None:
            if name in definition.methods:
                return ScriptMethod(self, definition.methods[name])
            if name in attributes["_slots"] or name in definition.constants:
                return self._slot(name)
        if name in ("graph", "inlined_graph"):
            raise AttributeError(f"there are no graphs of TorchScript here, and so no {name!r}: `code` is the source, which is interpreted")
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_slots", ()):
            self._slots[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def original_name(self) -> str:
        return self._definition.name.rpartition(".")[2]

    @property
    def code(self) -> str:
        return self.__getattr__("forward").code

    def save(self, f: Any, **options: Any) -> None:
        """Save it for `jit.load`."""
        from flambeau import jit

        jit.save(self, f, **options)

    def extra_repr(self) -> str:
        return f"original_name={self.original_name}"
