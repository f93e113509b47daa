"""Where modules come from: this Python, packages, or several of them in order."""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

from flambeau._serialization.names import our_module
from flambeau.package.mangling import demangle, is_mangled

__all__ = ["Importer", "ObjMismatchError", "ObjNotFoundError", "OrderedImporter", "sys_importer"]


class ObjNotFoundError(Exception):
    """An object cannot be reached by its own name."""


class ObjMismatchError(Exception):
    """An object's name leads to another object."""


class Importer(ABC):
    """Finds modules by name, and names of objects."""

    modules: dict[str, ModuleType]

    @abstractmethod
    def import_module(self, module_name: str) -> ModuleType:
        """The module of a name."""

    def get_name(self, obj: Any, name: str | None = None) -> tuple[str, str]:
        """The module and the name by which a class or function is found.

        Raises:
            ObjNotFoundError: there is nothing under its name
            ObjMismatchError: there is something else
        """
        name = name or getattr(obj, "__qualname__", None) or obj.__name__
        mangled = self.whichmodule(obj, name)
        module_name = demangle(mangled)
        try:
            found: Any = self.import_module(module_name)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ObjNotFoundError(
                f"{obj!r} cannot be pickled: {self} finds nothing under its name {module_name}.{name} ({error})"
            ) from error
        if found is not obj:
            where = (
                f" It comes from {mangled.partition('.')[0]}: give its importer to the PackageExporter, too." if is_mangled(mangled) else ""
            )
            raise ObjMismatchError(f"{obj!r} cannot be pickled: its name {module_name}.{name} means another object to {self}.{where}")
        return module_name, name

    def whichmodule(self, obj: Any, name: str) -> str:
        """The name of the module that an object is from."""
        home = getattr(obj, "__module__", None)
        if home is not None:
            return home
        for module_name, module in list(sys.modules.items()):
            if module_name not in ("__main__", "__mp_main__") and getattr(module, name, None) is obj:
                return module_name
        return "__main__"


class _SysImporter(Importer):
    """The modules of this Python; ``torch`` is Flambeau."""

    def import_module(self, module_name: str) -> ModuleType:
        return importlib.import_module(our_module(module_name))

    def __repr__(self) -> str:
        return "sys_importer"


sys_importer = _SysImporter()
"""The importer of what this Python imports by itself."""


class OrderedImporter(Importer):
    """Several importers, of which the first that knows a module counts.

    Args:
        args: the importers
    """

    def __init__(self, *args: Importer) -> None:
        self._importers = list(args)

    def import_module(self, module_name: str) -> ModuleType:
        """The module of a name.

        Raises:
            ModuleNotFoundError: no importer knows it
        """
        for importer in self._importers:
            try:
                return importer.import_module(module_name)
            except ModuleNotFoundError as error:
                if error.name not in (None, module_name, *_above(module_name)):
                    raise  # the module is there, and misses another one
        raise ModuleNotFoundError(f"no importer of {self} knows {module_name}", name=module_name)

    def get_name(self, obj: Any, name: str | None = None) -> tuple[str, str]:
        last: Exception | None = None
        for importer in self._importers:
            try:
                return importer.get_name(obj, name)
            except (ObjNotFoundError, ObjMismatchError) as error:
                last = error
        raise last or ObjNotFoundError(f"{obj!r} cannot be pickled: there is no importer")

    def __repr__(self) -> str:
        return f"OrderedImporter({', '.join(map(repr, self._importers))})"


def _above(module_name: str) -> list[str]:
    parts = module_name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
