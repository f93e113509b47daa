"""Reading packages, and importing from them."""

from __future__ import annotations

import builtins
import io
import linecache
import os
import pickle
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, BinaryIO

from flambeau._serialization import names
from flambeau._serialization.names import our_module
from flambeau._serialization.tensors import LoadedStorage, StorageType
from flambeau.package._records import Records
from flambeau.package.file_structure_representation import Directory, structure
from flambeau.package.glob_group import GlobPattern
from flambeau.package.importer import Importer
from flambeau.package.mangling import demangle, new_parent
from flambeau.serialization import restore_at

__all__ = ["PackageImporter"]


class PackageImporter(Importer):
    """A package to import from; its modules are apart from those of this Python, and from those of other packages.

    To make it, and to read text, sources and the structure, runs nothing of the package. ``import_module`` and ``load_pickle`` **run its
    code**, by design: use them for packages that you trust.

    Args:
        file_or_buffer: a path, or a stream that can seek
        module_allowed: says for the name of each module that the package needs from outside whether it may have it

    Raises:
        ImportError: it needs a module that is not allowed
        RuntimeError: the file is damaged, or no package
    """

    def __init__(
        self, file_or_buffer: str | os.PathLike | BinaryIO, module_allowed: Callable[[str], bool] = lambda module_name: True
    ) -> None:
        self._records = Records(file_or_buffer)
        self.filename = self._records.name
        self._parent = new_parent()
        self.extern_modules = self._records.text(".data/extern_modules").split()
        for name in self.extern_modules:
            if not module_allowed(name):
                raise ImportError(f"the package {self.filename} needs the module {name!r} from outside, which module_allowed refuses")
        self.modules: dict[str, ModuleType] = {}
        self._sources: dict[str, str] = {}  # of modules, the paths of their records
        self._packages: set[str] = set()
        for path in self._records.paths():
            if path.endswith(".py") and not path.startswith(".data/"):
                self._add_source(path)
        self._builtins = {**vars(builtins), "__import__": self._import_statement}

    def _add_source(self, path: str) -> None:
        parts = path.removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__" and len(parts) > 1
        parts = parts[:-1] if is_package else parts
        self._sources[".".join(parts)] = path
        self._packages.update(".".join(parts[:count]) for count in range(1, len(parts) + is_package))

    # -- what is in it -------------------------------------------------------------------------------------------------------

    def id(self) -> str:
        """What the names of its modules begin with: ``<torch_package_0>``."""
        return self._parent

    def python_version(self) -> str | None:
        """The version of Python that made the package, if it is known."""
        return self._records.text(".data/python_version").strip() if ".data/python_version" in self._records else None

    def file_structure(self, *, include: GlobPattern = "**", exclude: GlobPattern = ()) -> Directory:
        """The files that fit patterns, as a tree."""
        return structure(self.filename, self._records.paths(), include, exclude)

    def load_binary(self, package: str, resource: str) -> bytes:
        """The bytes of a file.

        Raises:
            RuntimeError: there is none
        """
        return self._records.read(_path(package, resource))

    def load_text(self, package: str, resource: str, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text in a file."""
        return self.load_binary(package, resource).decode(encoding, errors)

    def get_source(self, module_name: str) -> str:
        """The code of a module, which is not run.

        Raises:
            ImportError: the package has no code of such a module
        """
        path = self._sources.get(demangle(module_name))
        if path is None:
            raise ImportError(f"{self.filename} has no code of a module {demangle(module_name)!r}", name=module_name)
        return self._records.text(path)

    def get_resource_reader(self, fullname: str) -> Any:
        """The files of a package of modules, as ``importlib.resources`` asks for them."""
        from flambeau.package._resources import ResourceReader

        return ResourceReader(self._records, demangle(fullname)) if demangle(fullname) else None

    # -- importing -----------------------------------------------------------------------------------------------------------

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module from the package, or one that it names as external; **runs its code**.

        Args:
            name: the module; with dots in front it is relative to ``package``

        Raises:
            ModuleNotFoundError: it is neither in the package nor external
        """
        level = len(name) - len(name.lstrip("."))
        return self._module(_absolute(name[level:], package or "", level))

    def _module(self, name: str) -> ModuleType:
        if name in self.modules:
            return self.modules[name]
        if self._is_extern(name):
            module = self._extern(name)
        else:
            above, _, last = name.rpartition(".")
            parent = self._module(above) if above else None
            if name in self.modules:  # importing the parent has imported it
                return self.modules[name]
            module = self._execute(name)
            if parent is not None:
                setattr(parent, last, module)
        self.modules.setdefault(name, module)
        return module

    def _is_extern(self, name: str) -> bool:
        # The compiler itself knows what is in __future__; that it is imported as well means nothing.
        return name == "__future__" or any(name == extern or name.startswith(f"{extern}.") for extern in self.extern_modules)

    def _extern(self, name: str) -> ModuleType:
        from importlib import import_module

        return import_module(our_module(name))

    def _execute(self, name: str) -> ModuleType:
        """Run a module's code."""
        path = self._sources.get(name)
        if path is None and name not in self._packages:
            raise ModuleNotFoundError(
                f"{self.filename} has no module {name!r}, and it is none of the modules that it imports from outside: "
                f"{', '.join(self.extern_modules) or 'none'}",
                name=name,
            )
        module = ModuleType(f"{self._parent}.{name}")
        is_package = name in self._packages
        file = f"{self._parent}.{path or name.replace('.', '/')}"
        module.__dict__.update(
            __builtins__=self._builtins, __file__=file, __loader__=self, __package__=name if is_package else name.rpartition(".")[0], __torch_package__=True
        )  # fmt: skip
        if is_package:
            module.__path__ = [file.rpartition("/")[0]] if path else []
        self.modules[name] = module
        try:
            if path is not None:
                source = self._records.text(path)
                linecache.cache[file] = (len(source), None, source.splitlines(True), file)  # so that tracebacks show its lines
                exec(compile(source.removeprefix("\ufeff"), file, "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            del self.modules[name]
            raise
        return self.modules[name]

    def _import_statement(self, name: str, globals: Any = None, locals: Any = None, fromlist: tuple = (), level: int = 0) -> ModuleType:
        """What ``import`` does in a module of the package."""
        absolute = _absolute(name, (globals or {}).get("__package__") or "", level)
        module = self._module(absolute)
        if not fromlist:
            return module if level else self._module(absolute.partition(".")[0])
        if hasattr(module, "__path__"):
            wanted = [*fromlist, *getattr(module, "__all__", ())] if "*" in fromlist else fromlist
            for each in wanted:
                if each != "*" and not hasattr(module, each) and (self._is_extern(absolute) or self._has(f"{absolute}.{each}")):
                    self._import_part(f"{absolute}.{each}")
        return module

    def _has(self, name: str) -> bool:
        return name in self._sources or name in self._packages or self._is_extern(name)

    def _import_part(self, name: str) -> None:
        try:
            self._module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, our_module(name)):
                raise

    # -- pickles -------------------------------------------------------------------------------------------------------------

    def load_pickle(self, package: str, resource: str, map_location: Any = None) -> Any:
        """Unpickle an object; **runs code of the package**, from which its classes are imported.

        Args:
            package, resource: where it was saved
            map_location: where tensors go that were on another device, as for ``torch.load``

        Raises:
            RuntimeError: there is no such pickle
        """
        storages: dict[str, LoadedStorage] = {}
        reduced: dict[Any, Any] = {}
        restore = restore_at(map_location)

        def persistent_load(identity: tuple) -> Any:
            if identity[0] == "reduce_package":
                _, key, function, args = identity
                if key not in reduced:
                    reduced[key] = function(self, *args)
                return reduced[key]
            if identity[0] != "storage" or len(identity) != 5 or not isinstance(identity[1], StorageType):
                raise pickle.UnpicklingError(f"unknown persistent id {identity!r}")
            _, storage_type, key, location, numel = identity
            if key not in storages:
                storages[key] = restore(self._storage(storage_type, key, numel), location)
            return storages[key]

        unpickler = _Unpickler(io.BytesIO(self.load_binary(package, resource)))
        unpickler.importer = self
        unpickler.persistent_load = persistent_load
        return unpickler.load()

    def _storage(self, storage_type: StorageType, key: str, numel: int) -> LoadedStorage:
        record = f".data/{key}.memory" if f".data/{key}.memory" in self._records else f".data/{key}"
        nbytes = self._records.size(record)
        if numel * storage_type.dtype.itemsize != nbytes:
            raise RuntimeError(f"record {record} has {nbytes} bytes, but the object expects {numel} elements of {storage_type.dtype!r}")
        storage = LoadedStorage.empty(nbytes, storage_type.dtype)
        if nbytes:
            memoryview(storage.data().data).cast("B")[:] = self._records.read(record)
        if "byteorder" in self._records and self._records.text("byteorder") != sys.byteorder:
            storage.swap_bytes()
        return storage

    def __repr__(self) -> str:
        return f"PackageImporter({self.filename!r})"


class _Unpickler(pickle.Unpickler):
    importer: PackageImporter

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("torch", "torchvision"):
            return names.find(module, name)
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        found: Any = self.importer.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found


def _path(package: str, resource: str) -> str:
    return f"{package.replace('.', '/')}/{resource}" if package else resource


def _absolute(name: str, package: str, level: int) -> str:
    """A name without dots in front.

    Raises:
        ImportError: it leads out of the package
    """
    if not level:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        raise ImportError(f"the relative import of {'.' * level}{name} leads out of the package {package!r}")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])
