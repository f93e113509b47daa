"""Make `torch` and `torchvision` name Flambeau's modules, in this process and in the processes that it starts.

A torchvision that is installed keeps its name: it is written in Python, but for operators that `flambeau/vision/_library.py` defines, and has more
models, transforms and data sets than `flambeau.vision`, which takes its place where it is missing.

An import hook answers for both names before the import system looks for installed packages. It returns Flambeau's own
module objects (`torch.nn is flambeau.nn`), so nothing exists twice. Child processes inherit the hook through `PYTHONPATH`:
`_site/sitecustomize.py` runs when a child starts and calls `install_as_torch` there.

Nothing here imports the rest of Flambeau: a child that never says `import torch` must not pay for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["install_as_torch"]

ALIASES = {"torch": "flambeau"}
if getattr(PathFinder.find_spec("torchvision"), "origin", None) is None:  # nor is a folder without modules a package
    ALIASES["torchvision"] = "flambeau.vision"

_PACKAGE = Path(__file__).resolve().parent
_SITE = str(_PACKAGE / "_site")


def install_as_torch() -> None:
    """Let `import torch` and `import torchvision` mean Flambeau from here on.

    Meant for notebooks, where a script cannot be started with `python -m flambeau`. Child processes follow. Calling it
    again changes nothing.

    Raises:
        RuntimeError: if the real PyTorch has been imported in this process already.

    Example:
        >>> import flambeau
        >>> flambeau.install_as_torch()
        >>> import torch
        >>> torch is flambeau
        True
    """
    for alias, real in ALIASES.items():
        loaded = sys.modules.get(alias)
        if loaded is not None and loaded is not sys.modules.get(real):
            raise RuntimeError(
                f"{alias} is already imported, from {getattr(loaded, '__file__', None)}; "
                f"let it name Flambeau before the first `import {alias}` of the process"
            )
    _make_importable()
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasFinder())
    inherited = os.environ.get("PYTHONPATH")
    folders = inherited.split(os.pathsep) if inherited else []
    if _SITE not in folders:
        os.environ["PYTHONPATH"] = os.pathsep.join([_SITE, *folders])


def is_ours(cls: type) -> bool:
    """Whether a class is Flambeau's, by which name ever its module goes."""
    return cls.__module__.partition(".")[0] in ("flambeau", "torch")


def _make_importable() -> None:
    """Let `import flambeau` work in a child whose parent had found Flambeau in its own working folder."""
    root = str(_PACKAGE.parent)
    if root not in sys.path and importlib.util.find_spec("flambeau") is None:
        sys.path.append(root)


class _AliasFinder(MetaPathFinder):
    """Answers for `torch`, `torchvision`, everything below them, and their distributions."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        alias, dot, rest = fullname.partition(".")
        if alias not in ALIASES:
            return None
        paths = importlib.import_module("flambeau._paths") if rest else None
        spec = importlib.util.find_spec(ALIASES[alias] + dot + (paths.PATHS.get(rest, rest) if paths else ""))
        if spec is None:
            return None
        named = ModuleSpec(fullname, _AliasLoader(spec), origin=spec.origin)
        named.submodule_search_locations = spec.submodule_search_locations
        if named.submodule_search_locations is None and paths and rest in paths.PARENTS:
            named.submodule_search_locations = []
        return named

    def find_distributions(self, context: Any = None) -> Iterator[Distribution]:
        wanted = getattr(context, "name", None)
        for alias in ALIASES:
            if wanted is None or re.sub(r"[-_.]+", "-", wanted).lower() == alias:
                yield importlib.import_module("flambeau._alias_metadata").AliasDistribution(alias)


class _AliasLoader(InspectLoader):
    """Loads a module of Flambeau in answer to another name."""

    def __init__(self, spec: ModuleSpec) -> None:
        self.spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(self.spec.name)

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just made the alias's spec the module's own.
        alias = module.__spec__.name if module.__spec__ else ""
        module.__spec__ = self.spec
        if alias in ALIASES:  # packages ask the module for its name
            module.__name__ = alias
        if alias == "torch":  # and tensors for the module of their class
            module.Tensor.__module__ = alias
            module.nn.Parameter.__module__ = "torch.nn.parameter"

    def is_package(self, fullname: str) -> bool:
        return self.spec.submodule_search_locations is not None

    def get_code(self, fullname: str) -> CodeType | None:
        return self._real.get_code(self.spec.name)

    def get_source(self, fullname: str) -> str | None:
        return self._real.get_source(self.spec.name)

    @property
    def _real(self) -> InspectLoader:
        assert isinstance(self.spec.loader, InspectLoader)
        return self.spec.loader
