"""Making packages."""

from __future__ import annotations

import io
import linecache
import os
import platform
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from flambeau._serialization.files import writing
from flambeau._serialization.pickling import Storages
from flambeau._serialization.tensors import StorageReference
from flambeau.nn.modules._hooks import add_hook
from flambeau.package import _mock
from flambeau.package._pickling import dumps
from flambeau.package.dependencies import Action, DependencyGraph, Problem
from flambeau.package.find_file_dependencies import find_files_source_depends_on
from flambeau.package.glob_group import GlobGroup, GlobPattern
from flambeau.package.importer import Importer, OrderedImporter, sys_importer
from flambeau.package.mangling import demangle

__all__ = ["EmptyMatchError", "PackageExporter", "PackagingError"]

_NOT_IMPLICIT = ("sys", "io")  # modules of Python that reach into the process: a package that needs them has to say so
_MOCKED_SOURCE = """\
from _mock import MockedObject


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return MockedObject(__name__ + "." + name)
"""


class PackagingError(Exception):
    """A package cannot be made of what was saved; says which modules are in the way, and why.

    Attributes:
        dependency_graph: what was saved and what it needs
    """

    def __init__(self, dependency_graph: DependencyGraph, debug: bool = False) -> None:
        self.dependency_graph = dependency_graph
        lines = [""]
        for problem, entries in dependency_graph.problems():
            lines.append(f"* {problem.value}")
            for name, entry in entries.items():
                lines.append(f"    {name}, needed by {' > '.join(dependency_graph.shortest(name)[:-1]) or 'you'}")
                if entry.context:
                    lines.append(f"      {entry.context}")
        if debug:
            lines += ["", dependency_graph.dot()]
        super().__init__("\n".join(lines))


class EmptyMatchError(Exception):
    """A pattern that had to fit some module fits none."""


class _Pattern:
    """A decision about modules, made by the user."""

    def __init__(self, group: GlobGroup, action: Action, allow_empty: bool) -> None:
        self.group, self.action, self.allow_empty, self.fitted = group, action, allow_empty, False


class PackageExporter:
    """Writes a package: ``with PackageExporter("model.pt") as exporter: …``.

    Say first what is to become of modules (``intern``, ``extern``, ``mock``, ``deny``; the first pattern that fits counts), then save
    pickles and code: the modules that they need are found, and what these need in turn. PyTorch, which is Flambeau here, and Python's own
    modules are never put into a package. The file appears when the block ends, or not at all.

    Args:
        f: a path, or a stream of bytes to write to
        importer: where modules and the classes of objects are found, or several of them, in order
        debug: have errors show the whole graph

    Raises:
        PackagingError: at the end, if a needed module cannot be packaged
        EmptyMatchError: at the end, if a pattern with ``allow_empty=False`` fits nothing

    Example:
        >>> import io
        >>> from flambeau.package import PackageExporter, PackageImporter
        >>> file = io.BytesIO()
        >>> with PackageExporter(file) as exporter:
        ...     exporter.save_source_string("greeting", "def greet(name): return 'hello ' + name")
        ...     exporter.save_text("data", "names.txt", "world")
        >>> importer = PackageImporter(file)
        >>> importer.import_module("greeting").greet(importer.load_text("data", "names.txt"))
        'hello world'
    """

    def __init__(
        self, f: str | os.PathLike | BinaryIO, importer: Importer | Sequence[Importer] = sys_importer, debug: bool = False
    ) -> None:
        self._file = f
        self._debug = debug
        self.importer = importer if isinstance(importer, Importer) else OrderedImporter(*importer)
        self.dependency_graph = DependencyGraph()
        self._patterns: list[_Pattern] = []
        self._records: dict[str, bytes] = {}
        self._storages = Storages()
        self._hooks: dict[Action, OrderedDict] = {action: OrderedDict() for action in Action}
        self._reduced: dict[int, tuple[Any, tuple]] = {}
        self._unique = 0
        self._closed = False

    def __enter__(self) -> PackageExporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        self._closed = True

    # -- what becomes of modules -----------------------------------------------------------------------------------------

    def intern(self, include: GlobPattern, *, exclude: GlobPattern = (), allow_empty: bool = True) -> None:
        """Put modules into the package, if they are needed.

        Args:
            include, exclude: patterns (``GlobGroup``)
            allow_empty: whether it is no error if none is needed
        """
        self._patterns.append(_Pattern(GlobGroup(include, exclude=exclude), Action.INTERN, allow_empty))

    def extern(self, include: GlobPattern, *, exclude: GlobPattern = (), allow_empty: bool = True) -> None:
        """Have modules imported from where the package is loaded; they must be installed there."""
        self._patterns.append(_Pattern(GlobGroup(include, exclude=exclude), Action.EXTERN, allow_empty))

    def mock(self, include: GlobPattern, *, exclude: GlobPattern = (), allow_empty: bool = True) -> None:
        """Leave modules out: they can be imported, and what is in them raises ``NotImplementedError`` when it is used."""
        self._patterns.append(_Pattern(GlobGroup(include, exclude=exclude), Action.MOCK, allow_empty))

    def deny(self, include: GlobPattern, *, exclude: GlobPattern = ()) -> None:
        """Make it an error if one of these modules is needed."""
        self._patterns.append(_Pattern(GlobGroup(include, exclude=exclude), Action.DENY, True))

    def register_intern_hook(self, hook: Callable[[PackageExporter, str], None]) -> Any:
        """Call ``hook(exporter, module_name)`` for each module that is put into the package."""
        return add_hook(self._hooks[Action.INTERN], hook)

    def register_extern_hook(self, hook: Callable[[PackageExporter, str], None]) -> Any:
        """Call ``hook(exporter, module_name)`` for each module that is imported from elsewhere."""
        return add_hook(self._hooks[Action.EXTERN], hook)

    def register_mock_hook(self, hook: Callable[[PackageExporter, str], None]) -> Any:
        """Call ``hook(exporter, module_name)`` for each module that is left out."""
        return add_hook(self._hooks[Action.MOCK], hook)

    # -- code --------------------------------------------------------------------------------------------------------------

    def save_source_string(self, module_name: str, src: str, is_package: bool = False, dependencies: bool = True) -> None:
        """Put code into the package as a module.

        Args:
            module_name: the module, ``network.layers``
            src: the code
            is_package: whether other modules are below it
            dependencies: whether to find the modules that it imports
        """
        self._check_open()
        known = self.dependency_graph.add(module_name).action is Action.INTERN
        self.dependency_graph.add(module_name, action=Action.INTERN, source=src, is_package=is_package, problem=None)
        if not known:
            self._call_hooks(Action.INTERN, module_name)
        if not dependencies:
            return
        package = module_name if is_package else module_name.rpartition(".")[0]
        try:
            found = find_files_source_depends_on(src, package)
        except (SyntaxError, ValueError) as error:
            self.dependency_graph.add(module_name, problem=Problem.NOT_PYTHON, context=str(error))
            return
        for module, name in found:
            used = f"{module}.{name}" if name is not None and self._is_module(f"{module}.{name}") else module
            self.dependency_graph.connect(module_name, used)
            self.add_dependency(used)

    def save_source_file(self, module_name: str, file_or_directory: str, dependencies: bool = True) -> None:
        """Put a file, or all Python files below a folder, into the package as a module, or as a package of modules."""
        path = Path(file_or_directory)
        if not path.is_dir():
            self.save_source_string(module_name, path.read_text("utf-8"), path.name == "__init__.py", dependencies)
            return
        for file in sorted(path.rglob("*.py")):
            parts = list(file.relative_to(path).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join([module_name, *(parts[:-1] if is_package else parts)])
            self.save_source_string(name, file.read_text("utf-8"), is_package, dependencies)

    def save_module(self, module_name: str, dependencies: bool = True) -> None:
        """Put a module's code into the package. Its source is that which Python has imported.

        Raises:
            TypeError: ``module_name`` is no name
        """
        if not isinstance(module_name, str):
            raise TypeError(f"save_module takes the name of a module, such as 'network.layers', not a {type(module_name).__name__}")
        self._intern(module_name, dependencies)

    def add_dependency(self, module_name: str, dependencies: bool = True) -> None:
        """Have the package bring a module, as the patterns say."""
        graph = self.dependency_graph
        entry = graph.entries.get(module_name)
        if entry is not None and (entry.action is not None or entry.problem is not None):
            return
        if _is_implicit(module_name):
            self._decide(module_name, Action.EXTERN)
            return
        for pattern in self._patterns:
            if pattern.group.matches(module_name):
                pattern.fitted = True
                if pattern.action is Action.INTERN:
                    self._intern(module_name, dependencies)
                else:
                    self._decide(module_name, pattern.action)
                return
        graph.add(module_name, problem=Problem.UNMATCHED)

    def _decide(self, module_name: str, action: Action) -> None:
        self.dependency_graph.add(module_name, action=action, problem=Problem.DENIED if action is Action.DENY else None)
        if action is Action.MOCK:
            self._records.setdefault("_mock.py", Path(_mock.__file__).read_bytes())
            source, is_package = _MOCKED_SOURCE, self._has_path(module_name)
            self.dependency_graph.add(module_name, source=source, is_package=is_package)
        self._call_hooks(action, module_name)

    def _intern(self, module_name: str, dependencies: bool) -> None:
        module = self.importer.import_module(module_name)
        source = _source_of(module)
        if source is None:
            file = getattr(module, "__file__", None)
            compiled = file is not None and not file.endswith(".py")
            self.dependency_graph.add(module_name, problem=Problem.EXTENSION if compiled else Problem.NO_SOURCE)
            return
        self.save_source_string(module_name, source, hasattr(module, "__path__"), dependencies)

    def _is_module(self, name: str) -> bool:
        try:
            return isinstance(self.importer.import_module(name), ModuleType)
        except Exception:  # whatever a module raises while it is imported, or if there is none
            return False

    def _has_path(self, name: str) -> bool:
        try:
            return hasattr(self.importer.import_module(name), "__path__")
        except ImportError:
            return False

    def _call_hooks(self, action: Action, module_name: str) -> None:
        for hook in list(self._hooks[action].values()):
            hook(self, module_name)

    # -- objects and data --------------------------------------------------------------------------------------------------

    def save_pickle(self, package: str, resource: str, obj: Any, dependencies: bool = True, pickle_protocol: int = 3) -> None:
        """Put an object into the package; tensors that share memory share it in the package.

        Args:
            package, resource: where: a folder, written as a module's name, and a file in it
            obj: anything that can be pickled
            dependencies: whether to find the modules that its classes are in
            pickle_protocol: the version of pickle's format

        Raises:
            ObjNotFoundError, ObjMismatchError: a class or function is not found under its name
        """
        self._check_open()

        def identify(reference: StorageReference) -> tuple:
            return ("storage", reference.type, self._storages.key(reference), "cpu", reference.numel)

        data, needed = dumps(obj, self.importer, pickle_protocol, identify, self._reduce)
        if dependencies:
            entry = f"<{package}.{resource}>"
            self.dependency_graph.add(entry, is_pickle=True)
            for module, names in needed.items():
                self.dependency_graph.connect(entry, module)
                self.add_dependency(module)
                found = self.dependency_graph.entries[module]
                if found.action is Action.MOCK:
                    found.problem, found.context = Problem.MOCKED_BUT_USED, f"{', '.join(dict.fromkeys(names))} in {entry}"
        self._write(package, resource, data)

    def save_text(self, package: str, resource: str, text: str) -> None:
        """Put text into the package, in UTF-8."""
        self._write(package, resource, text.encode())

    def save_binary(self, package: str, resource: str, binary: bytes) -> None:
        """Put bytes into the package."""
        self._write(package, resource, bytes(binary))

    def get_unique_id(self) -> str:
        """A number, as text, that is given once in this package: for ``__reduce_package__``."""
        self._unique += 1
        return str(self._unique - 1)

    def _reduce(self, obj: Any) -> tuple | None:
        """How an object packages itself: its ``__reduce_package__(exporter)`` gives a function and arguments."""
        if not hasattr(type(obj), "__reduce_package__"):
            return None
        if id(obj) not in self._reduced:
            self._reduced[id(obj)] = obj, ("reduce_package", len(self._reduced), *obj.__reduce_package__(self))
        return self._reduced[id(obj)][1]

    def _write(self, package: str, resource: str, data: bytes) -> None:
        self._check_open()
        if not resource or "/" in resource or resource in (".", ".."):
            raise ValueError(f"a resource is a file's name without a folder, not {resource!r}: the folder is {package!r}")
        self._records[f"{package.replace('.', '/')}/{resource}" if package else resource] = data

    # -- what is in it -------------------------------------------------------------------------------------------------------

    def interned_modules(self) -> list[str]:
        """The modules that are in the package."""
        return self.dependency_graph.named(Action.INTERN)

    def externed_modules(self) -> list[str]:
        """The modules that have to be where the package is loaded."""
        return self.dependency_graph.named(Action.EXTERN)

    def mocked_modules(self) -> list[str]:
        """The modules that are left out."""
        return self.dependency_graph.named(Action.MOCK)

    def denied_modules(self) -> list[str]:
        """The modules that are needed and must not be."""
        return self.dependency_graph.named(Action.DENY)

    def get_rdeps(self, module_name: str) -> list[str]:
        """What needs a module."""
        return self.dependency_graph.needed_by(module_name)

    def all_paths(self, src: str, dst: str) -> str:
        """How one module comes to need another, in Graphviz's language."""
        return self.dependency_graph.paths(src, dst).dot()

    def dependency_graph_string(self) -> str:
        """What needs what, in Graphviz's language."""
        return self.dependency_graph.dot()

    # -- the file --------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write the file. A ``with`` block does it at its end."""
        self._check_open()
        if next(self.dependency_graph.problems(), None) is not None:
            raise PackagingError(self.dependency_graph, self._debug)
        for pattern in self._patterns:
            if not pattern.allow_empty and not pattern.fitted:
                raise EmptyMatchError(f"no module that is needed fits {pattern.group}, and allow_empty=False")
        self._closed = True
        for name, entry in self.dependency_graph.entries.items():
            if entry.source is not None:
                self._records[name.replace(".", "/") + ("/__init__.py" if entry.is_package else ".py")] = entry.source.encode()
        records = dict(self._records)
        for key, reference in self._storages.by_key.items():
            records[f".data/{key}.memory"] = bytes(reference.data())
        records[".data/extern_modules"] = "".join(f"{name}\n" for name in self.externed_modules()).encode()
        records[".data/python_version"] = platform.python_version().encode()
        records[".data/version"] = b"6\n"
        records["byteorder"] = sys.byteorder.encode()
        folder = Path(os.fspath(self._file)).stem if isinstance(self._file, (str, os.PathLike)) else "archive"
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, data in records.items():
                archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), data)
        with writing(self._file) as stream:
            stream.write(content.getbuffer())

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the package is finished: save into it within the `with` block of its PackageExporter")


def _is_implicit(module_name: str) -> bool:
    """Whether a module is never put into a package, and need not be mentioned: Python's own, and PyTorch."""
    top = module_name.partition(".")[0]
    return top in ("torch", "flambeau", "torchvision") or (top in sys.stdlib_module_names and top not in _NOT_IMPLICIT)


def _source_of(module: ModuleType) -> str | None:
    """The source of a module, as it was imported."""
    loader = getattr(module, "__loader__", None)
    if hasattr(loader, "get_source"):
        try:
            return loader.get_source(demangle(module.__name__))
        except ImportError:
            return None
    file = getattr(module, "__file__", None)
    lines = linecache.getlines(file, module.__dict__) if file and file.endswith(".py") else []
    return "".join(lines) if lines else None
