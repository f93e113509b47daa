"""Writing a TorchScript program back: a loaded module with the tensors and values that it holds now, and the source that it came with.

What a program is never changes, so that its records are those of the archive; the tree of modules is pickled as PyTorch's `torch.jit.save` does it: an
object is its class's name and what its fields hold, and lists and dictionaries say of which type they are.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from flambeau import Tensor
from flambeau._serialization import pickling
from flambeau._serialization.archive import ArchiveWriter
from flambeau._serialization.files import writing
from flambeau._serialization.tensors import StorageReference
from flambeau.jit.torchscript.interpreter import Interpreter
from flambeau.jit.torchscript.module import RecursiveScriptModule
from flambeau.jit.torchscript.objects import EnumMember, ScriptObject
from flambeau.jit.torchscript.types import Type, is_instance

__all__ = ["save_archive"]

_PROTOCOL = 2
_LISTS = {"Tensor": "build_tensorlist", "bool": "build_boollist", "float": "build_doublelist", "int": "build_intlist"}
"""Lists of these types have a function of ``torch.jit._pickle`` that makes them; that of other containers is told the type as text."""


def save_archive(module: RecursiveScriptModule, f: Any, extra_files: Mapping[str, str | bytes] | None = None) -> None:
    """Write a module to a file that ``jit.load``, here and in PyTorch, reads.

    Args:
        module: a module that was loaded
        f: a path, or a stream
        extra_files: further files by their names

    Raises:
        RuntimeError: an attribute that its class has is not there
    """
    interpreter = module._interpreter
    with writing(f) as stream:
        archive = ArchiveWriter(stream, "archive")
        for name, root in (("data", module), ("constants", tuple(interpreter.constants))):
            storages = pickling.Storages()
            archive.write(f"{name}.pkl", _pickled(root, storages, interpreter))
            for key, reference in storages.by_key.items():
                archive.write(f"{name}/{key}", reference.data())
        archive.write("byteorder", b"little")
        for record, source in interpreter.files.items():
            archive.write(record, source)
        for name, content in (extra_files or {}).items():
            archive.write(f"extra/{name}", content.encode() if isinstance(content, str) else content)
        archive.close(version=False)  # the program's own, which says what its operators mean, is among its files


def _pickled(root: Any, storages: pickling.Storages, interpreter: Interpreter) -> bytes:
    def identify(reference: StorageReference) -> tuple:
        return ("storage", reference.type, storages.key(reference), "cpu", reference.numel)

    class Pickler(_ProgramPickler):
        of = interpreter

    pickled = io.BytesIO()
    pickling.dump(root, pickled, SimpleNamespace(__name__=__name__, Pickler=Pickler), _PROTOCOL, identify)
    return pickled.getvalue()


class _Made:
    """What a function of PyTorch's makes of arguments when it is loaded."""

    def __init__(self, home: str, name: str, arguments: tuple) -> None:
        self.home, self.name, self.arguments = home, name, arguments


class _ProgramPickler(pickle._Pickler):
    """Pickles objects of a program's classes by their names and fields.

    Attributes:
        of: what runs the program
    """

    of: Interpreter

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._converted: dict[tuple[int, str], tuple[Any, Any]] = {}

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Tensor) and type(obj) is not Tensor:  # a parameter: that it is one, its class says
            obj = self._once(obj, lambda: obj.detach().requires_grad_(obj.requires_grad))
        if isinstance(obj, (RecursiveScriptModule, ScriptObject, EnumMember, _Made)):
            known = self.memo.get(id(obj))
            if known is not None:
                self.write(self.get(known[0]))
            else:
                self._save_object(obj)
        else:
            super().save(obj, save_persistent_id)

    def _save_object(self, obj: Any) -> None:
        if isinstance(obj, (_Made, EnumMember)):
            is_member = isinstance(obj, EnumMember)
            self._global(*(_apart(obj.torchscript_name) if is_member else (obj.home, obj.name)))
            self.save(obj.value if is_member else obj.arguments)  # PyTorch's reader takes a member's value without a tuple around it
            self.write(pickle.REDUCE)
            self.memoize(obj)
            return
        definition = obj._definition
        self._global(*_apart(definition.name))
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.memoize(obj)
        self.save(self._once(obj, lambda: self._state(obj), "state"))
        self.write(pickle.BUILD)

    def _global(self, home: str, name: str) -> None:
        self.write(pickle.GLOBAL + f"{home}\n{name}\n".encode())

    def _state(self, obj: Any) -> Any:
        """What an object holds: its fields in order, or what its class gives in their place."""
        definition = obj._definition
        if "__getstate__" in definition.methods:
            getter = definition.methods["__getstate__"]
            return self._typed(self.of.call(getter, [obj], {}), getter.returns)
        try:
            held = obj._fields if isinstance(obj, ScriptObject) else {name: obj._slot(name) for name in definition.fields}
            return {name: self._typed(held[name], kind) for name, kind in definition.fields.items()}
        except (AttributeError, KeyError) as error:
            raise RuntimeError(
                f"the object of TorchScript's class {definition.name} lacks an attribute that its class has: {error}"
            ) from error

    def _typed(self, value: Any, kind: Type) -> Any:
        """A value whose lists and dictionaries say of which type they are."""
        name, arguments = kind
        if name == "Optional":
            return None if value is None else self._typed(value, arguments[0])
        if name == "Union":
            return self._typed(value, next((each for each in arguments if is_instance(value, each)), Type("Any")))
        if name == "Tuple" and isinstance(value, tuple):
            return tuple([self._typed(each, inner) for each, inner in zip(value, arguments)])
        if name == "List" and isinstance(value, list):
            return self._once(value, lambda: self._list(value, kind))
        if name == "Dict" and isinstance(value, dict):
            key, element = arguments
            items = lambda: {self._typed(k, key): self._typed(v, element) for k, v in value.items()}
            return self._once(value, lambda: _Made("torch.jit._pickle", "restore_type_tag", (items(), str(kind))))
        if isinstance(value, tuple):  # a named one
            return tuple(value)
        return value

    def _list(self, value: list, kind: Type) -> _Made:
        (inner,) = kind.arguments
        elements = [self._typed(each, inner) for each in value]
        if inner.name in _LISTS:
            return _Made("torch.jit._pickle", _LISTS[inner.name], (elements,))
        return _Made("torch.jit._pickle", "restore_type_tag", (elements, str(kind)))

    def _once(self, value: Any, convert: Any, role: str = "") -> Any:
        """What a value is written as, the same wherever it is. (The value is kept, so that nothing else gets its identity.)"""
        key = (id(value), role)
        if key not in self._converted:
            self._converted[key] = (value, convert())
        return self._converted[key][1]


def _apart(name: str) -> tuple[str, str]:
    home, _, last = name.rpartition(".")
    return home, last
