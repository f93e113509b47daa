"""Reading TorchScript archives: what `torch.jit.save` of PyTorch writes.

An archive is a zip file: ``data.pkl`` is a pickle of the tree of modules with the bytes of its tensors beside it, ``constants.pkl`` one of tensors
that the program names, and ``code/`` its source. The pickles are read by the reader of weights, which builds no objects but the program's own.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from flambeau import Tensor
from flambeau._serialization.archive import ArchiveReader
from flambeau._serialization.unpickling import WeightsReader
from flambeau.jit.torchscript.interpreter import Interpreter
from flambeau.jit.torchscript.module import RecursiveScriptModule
from flambeau.jit.torchscript.objects import ScriptObject
from flambeau.jit.torchscript.source import Class, Function, read_source
from flambeau.nn import Parameter
from flambeau.serialization import MAP_LOCATION, names_meta, restore_at, storages_of

__all__ = ["is_archive", "load_archive"]

_LONGEST_SOURCE = 1 << 26
_VERSIONS = ("version", ".data/version")
"""Where an archive says which version of PyTorch's operators its program is for."""
_DAMAGED = (
    ArithmeticError, AttributeError, LookupError, NameError, RecursionError, TypeError, ValueError, struct.error, pickle.UnpicklingError,
)  # fmt: skip


def is_archive(stream: BinaryIO) -> bool:
    """Whether a file is a TorchScript archive; its position stays."""
    start = stream.tell()
    magic = stream.read(4)
    try:
        return magic == b"PK\x03\x04" and "constants.pkl" in ArchiveReader(stream)
    except RuntimeError:
        return False
    finally:
        stream.seek(start)


def load_archive(stream: BinaryIO, map_location: MAP_LOCATION = None, extra_files: dict[str, Any] | None = None) -> RecursiveScriptModule:
    """The module in an archive.

    Args:
        stream: the file
        map_location: where tensors go, as in ``load``
        extra_files: the bytes of files that were saved with it are put in for the names in this dictionary

    Raises:
        RuntimeError: the file is damaged, or is no TorchScript
    """
    archive = ArchiveReader(stream)
    source = _code(archive)
    definitions = _definitions(source)
    files = {**source, **{name: archive.read(name) for name in _VERSIONS if name in archive}}
    try:
        constants = _unpickled(archive, "constants", map_location, Interpreter(definitions, ()))
        interpreter = Interpreter(definitions, tuple(constants), files)
        module = _unpickled(archive, "data", map_location, interpreter)
    except _DAMAGED as error:
        raise RuntimeError(f"the TorchScript program in this file is damaged: {error}") from error
    if not isinstance(module, RecursiveScriptModule):
        raise RuntimeError(f"this TorchScript archive holds a {type(module).__name__}, and no module")
    for name in extra_files or ():
        if extra_files is not None and f"extra/{name}" in archive:
            extra_files[name] = archive.read(f"extra/{name}")
    return module


def _code(archive: ArchiveReader) -> dict[str, bytes]:
    """The records with source, which are text."""
    left = _LONGEST_SOURCE
    found: dict[str, bytes] = {}
    for record in archive.names("code"):
        if record.endswith(".py"):
            found[record] = archive.read_source(record, left)
            left -= len(found[record])
    return found


def _definitions(files: dict[str, bytes]) -> dict[str, Class | Function]:
    found: dict[str, Class | Function] = {}
    for record, text in files.items():
        qualifier = record.removeprefix("code/").removesuffix(".py").replace("/", ".")
        try:
            found.update(read_source(text.decode(), qualifier, record))
        except UnicodeDecodeError as error:
            raise RuntimeError(f"{record} of this archive is no text: {error}") from error
    return found


def _unpickled(archive: ArchiveReader, name: str, map_location: MAP_LOCATION, interpreter: Interpreter) -> Any:
    storages = storages_of(archive, name, restore_at(map_location), nowhere=names_meta(map_location))
    return _ProgramReader(io.BytesIO(archive.read(f"{name}.pkl")), storages, interpreter).load()


def _same(value: Any, *tag: Any) -> Any:
    return value


_TAGS = frozenset(["build_boollist", "build_doublelist", "build_intlist", "build_tensorlist", "restore_type_tag"])
"""Functions of ``torch.jit._pickle``, which say of which type a list or a dictionary is."""


class _ProgramReader(WeightsReader):
    """A reader of weights that also builds modules and objects of the classes that the program's source defines."""

    def __init__(self, stream: BinaryIO, persistent_load: Callable, interpreter: Interpreter) -> None:
        super().__init__(stream, persistent_load)
        self._interpreter = interpreter
        self._parameters: dict[int, tuple[Tensor, Parameter]] = {}
        self._modules: list[RecursiveScriptModule] = []

    def load(self) -> Any:
        loaded = super().load()
        for module in self._modules:
            for name, value in module._slots.items():
                module._slots[name] = self._with_parameters(value)
        return loaded

    def _global(self, module: str, name: str) -> None:
        found = self._interpreter.definitions.get(f"{module}.{name}")
        if isinstance(found, Class):
            self._push(found)
        elif module == "torch.jit._pickle" and name in _TAGS:
            self._callable.add(id(_same))
            self._push(_same)
        elif module.split(".")[0] == "__torch__":
            raise pickle.UnpicklingError(f"it holds an object of the class {module}.{name}, which its source does not define")
        else:
            super()._global(module, name)

    def _reduce(self) -> None:
        if isinstance(self._stack[-2], Class):  # a member of an enumeration
            value, definition = self._pop(), self._pop()
            self._push(self._interpreter.member_of(definition, *(value if isinstance(value, tuple) else (value,))))
        else:
            super()._reduce()

    def _new(self, keywords: dict[str, Any] | None = None) -> None:
        definition = self._stack[-2]
        if not isinstance(definition, Class):
            return super()._new(keywords)
        self._pop(), self._pop()
        if definition.kind == "Module":
            made = RecursiveScriptModule(definition, self._interpreter)
            self._modules.append(made)
            return self._push(made)
        return self._push(ScriptObject(definition))

    def _build(self) -> None:
        target = self._stack[-2]
        if not isinstance(target, (RecursiveScriptModule, ScriptObject)):
            return super()._build()
        state = self._pop()
        restore = target._definition.methods.get("__setstate__")
        if restore is not None:
            self._interpreter.call(restore, [target, state], {})
        elif isinstance(target, ScriptObject):
            target._fields.update(state)
        else:
            for name, value in state.items():
                is_parameter = name in target._definition.parameters and isinstance(value, Tensor)
                target._set_slot(name, self._parameter(value) if is_parameter else value)
        return None

    def _parameter(self, tensor: Tensor) -> Parameter:
        """The parameter that a tensor is, the same wherever the tensor is."""
        if id(tensor) not in self._parameters:
            self._parameters[id(tensor)] = (tensor, Parameter(tensor.detach(), tensor.requires_grad))
        return self._parameters[id(tensor)][1]

    def _with_parameters(self, value: Any) -> Any:
        """A value with the parameters in the place of the tensors that they are."""
        if isinstance(value, Tensor):
            return self._parameters.get(id(value), (value, value))[1]
        if isinstance(value, list):
            value[:] = map(self._with_parameters, value)
        elif isinstance(value, dict):
            value.update({key: self._with_parameters(each) for key, each in value.items()})
        elif type(value) is tuple:
            return tuple(map(self._with_parameters, value))
        return value


_ProgramReader.operations = {
    **WeightsReader.operations,
    pickle.REDUCE: _ProgramReader._reduce,
    pickle.NEWOBJ: _ProgramReader._new,
    pickle.BUILD: _ProgramReader._build,
}
