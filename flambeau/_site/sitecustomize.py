"""What a child process of `python -m flambeau` runs when it starts (its folder leads the child's `PYTHONPATH`).

It makes `torch` name Flambeau, then gives way to the `sitecustomize` that it hides, as if it had not been there.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_here = Path(__file__).resolve().parent


def _install_alias() -> None:
    # Found in its folder: importing `flambeau._alias` would import the whole package in every child.
    if "flambeau._alias" not in sys.modules:
        spec = PathFinder.find_spec("flambeau._alias", [str(_here.parent)])
        assert spec is not None and spec.loader is not None
        sys.modules["flambeau._alias"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    sys.modules["flambeau._alias"].install_as_torch()


def _run_hidden_sitecustomize() -> None:
    sys.path[:] = [folder for folder in sys.path if not folder or Path(folder).resolve() != _here]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


_install_alias()
_run_hidden_sitecustomize()
