"""Pickling with PyTorch's names, and with the bytes of storages beside the pickle."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from operator import attrgetter
from types import FunctionType, ModuleType
from typing import Any, BinaryIO

from flambeau._serialization.names import is_importable, torch_module
from flambeau._serialization.tensors import NAMES, StorageReference, StorageType, get_layout, reduce_tensor
from flambeau._tensor.tensor import Tensor
from flambeau._types.strided import layout as Kind


class Storages:
    """The storages that a pickle refers to: each gets a key, and is written once however many tensors share it."""

    def __init__(self) -> None:
        self.by_key: dict[str, StorageReference] = {}
        self._keys: dict[int, str] = {}

    def key(self, reference: StorageReference) -> str:
        """The key of a storage.

        Raises:
            RuntimeError: the storage is there with another dtype; files have one dtype per storage.
        """
        key = self._keys.setdefault(id(reference.memory), str(len(self._keys)))
        known = self.by_key.setdefault(key, reference)
        if known.type is not reference.type:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types: "
                f"one is {known.type.name}, another {reference.type.name}. Save a copy (tensor.clone()) of one"
            )
        return key


def dump(obj: Any, stream: BinaryIO, pickle_module: ModuleType, protocol: int, identify: Callable[[StorageReference], tuple]) -> None:
    """Pickle an object; ``identify`` gives the persistent id of a storage.

    Raises:
        TypeError: the pickler of ``pickle_module`` is not made of Python's own. Only that one, ``pickle._Pickler``, can write names that
            cannot be imported here, such as ``torch.FloatStorage``; the one in C looks each of them up.
    """
    base = getattr(pickle_module, "_Pickler", pickle_module.Pickler)
    if not issubclass(base, pickle._Pickler):
        raise TypeError(f"{pickle_module.__name__}.Pickler cannot save tensors: it is not derived from Python's pickle._Pickler")

    class Pickler(_TorchNames, base):
        def persistent_id(self, obj: Any) -> tuple | None:
            return identify(obj) if type(obj) is StorageReference else None

    Pickler(stream, protocol=protocol).dump(obj)


class _TorchNames:
    """What makes one of Python's picklers write PyTorch's names."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return reduce_tensor(obj)
        if type(obj) is StorageType:
            return obj.name
        if type(obj) is Kind:
            return get_layout, (repr(obj),)
        if type(obj) is FunctionType and torch_module(obj.__module__ or "") != obj.__module__:
            return obj.__qualname__  # a name is given to save_global; functions are not, by themselves
        inherited = getattr(super(), "reducer_override", None)
        return NotImplemented if inherited is None else inherited(obj)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if type(obj) is StorageType:
            module, name = obj.module, obj.name
        elif id(obj) in NAMES:
            module, name = NAMES[id(obj)]
        else:
            ours = getattr(obj, "__module__", None) or ""
            module = torch_module(ours)
            name = name or getattr(obj, "__qualname__", obj.__name__)
            if module == ours:
                return super().save_global(obj, name)
            if not is_importable(obj, ours, name):
                raise pickle.PicklingError(f"cannot pickle {obj!r}: it is not found as {ours}.{name}")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        elif "." in name:  # a class within a class, which the older protocols reach attribute by attribute
            outer, _, last = name.rpartition(".")
            self.save_reduce(getattr, (attrgetter(outer)(sys.modules[obj.__module__]), last))
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)
        return None
