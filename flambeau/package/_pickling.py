"""Pickles in packages: classes by their names within the package, tensors' bytes beside the pickle."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any

from flambeau._serialization import pickling
from flambeau._serialization.names import torch_module
from flambeau._serialization.tensors import NAMES, StorageReference, StorageType
from flambeau.package.importer import Importer
from flambeau.package.mangling import demangle

__all__ = ["dumps"]


def dumps(
    obj: Any, importer: Importer, protocol: int, identify: Callable[[StorageReference], tuple], reduced: Callable[[Any], tuple | None]
) -> tuple[bytes, dict[str, list[str]]]:
    """An object as a pickle, and the names that it needs, by their modules.

    Args:
        importer: which knows the classes' names
        identify: gives the persistent id of a storage
        reduced: gives the persistent id of an object that packages itself, or nothing
    """
    needed: dict[str, list[str]] = {}

    class Pickler(pickling._TorchNames, pickle._Pickler):
        def persistent_id(self, obj: Any) -> tuple | None:
            return identify(obj) if type(obj) is StorageReference else reduced(obj)

        def reducer_override(self, obj: Any) -> Any:
            # A function that is reduced to a name goes through ``save_global`` below, as classes do.
            return obj.__qualname__ if type(obj) is FunctionType else super().reducer_override(obj)

        def save_global(self, obj: Any, name: str | None = None) -> None:
            home = getattr(obj, "__module__", None) or ""
            if type(obj) is StorageType or id(obj) in NAMES or torch_module(home) != home:
                super().save_global(obj, name)
                module = obj.module if type(obj) is StorageType else NAMES[id(obj)][0] if id(obj) in NAMES else torch_module(home)
                needed.setdefault(module, []).append(name or getattr(obj, "__qualname__", ""))
                return
            module, name = importer.get_name(obj, name)
            needed.setdefault(module, []).append(name)
            if demangle(home) == home:
                super().save_global(obj, name)
                return
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())  # a class within a class was pickled with dots, as in protocol 4
            self.memoize(obj)

    stream = io.BytesIO()
    Pickler(stream, protocol=protocol).dump(obj)
    return stream.getvalue(), needed
