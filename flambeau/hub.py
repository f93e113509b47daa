"""Models and weights from elsewhere: entry points in a `hubconf.py` on this machine, and files by URL.

Repositories on GitHub are not fetched: their code would run here. Clone one, look at it, and load it with `source="local"`.
https://docs.pytorch.org/docs/stable/hub.html
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from flambeau import serialization

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

try:
    from tqdm import tqdm
except ImportError:

    class tqdm:  # type: ignore[no-redef]
        """How far something is, on stderr: what this module, and packages that take it from here, need of the package `tqdm`, if that is not there."""

        def __init__(
            self, iterable: Any = None, *, total: int | None = None, desc: str = "", disable: bool = False, **options: Any
        ) -> None:
            self.iterable, self.desc, self.disable, self.n = iterable, desc, disable, 0
            self.total = total if total is not None or iterable is None else len(iterable)

        def __iter__(self) -> Iterator[Any]:
            with self:
                for each in self.iterable:
                    yield each
                    self.update()

        def update(self, n: int = 1) -> None:
            """So much more is done."""
            self.n += n
            if not self.disable:
                share = f"{self.n / self.total:4.0%} of {self.total:,}" if self.total else f"{self.n:,}"
                print(f"\r{self.desc}: {share}", end="", file=sys.stderr)

        def set_description(self, desc: str) -> None:
            """Say what is going on."""
            self.desc = desc

        def close(self) -> None:
            """End the line."""
            if not self.disable:
                print(file=sys.stderr)
            self.disable = True

        def __enter__(self) -> tqdm:
            return self

        def __exit__(self, *exc: object) -> None:
            self.close()


HASH_REGEX = re.compile(r"-([a-f0-9]{8,})\.")
_PIECE = 128 << 10
_folder: str | None = None


def get_dir() -> str:
    """Where files are kept: what `set_dir` said, or `hub` in `$TORCH_HOME`, or `$XDG_CACHE_HOME/torch/hub`, `~/.cache/torch/hub` without it."""
    return _folder if _folder is not None else os.path.join(_get_torch_home(), "hub")


def _get_torch_home() -> str:
    """Where PyTorch's packages keep what they download."""
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return os.path.expanduser(home)


def set_dir(d: str | os.PathLike) -> None:
    """Say where files are kept."""
    global _folder
    _folder = os.path.expanduser(os.fspath(d))


# -- files -------------------------------------------------------------------------------------------------------------


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Fetch a file; it is there whole, or not at all.

    Args:
        url: http, https or file
        dst: where it goes
        hash_prefix: how the SHA-256 of its bytes begins, in hexadecimal
        progress: say on stderr how far it is

    Raises:
        RuntimeError: its hash is another
        URLError: it cannot be fetched
    """
    target = Path(os.path.expanduser(dst))
    digest = hashlib.sha256()
    with (
        urlopen(Request(url, headers={"User-Agent": "flambeau.hub"})) as response,
        tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file,
    ):
        size = int(response.headers.get("Content-Length") or 0) or None
        try:
            with tqdm(total=size, desc=target.name, disable=not (progress and sys.stderr.isatty()), unit="B", unit_scale=True) as shown:
                while piece := response.read(_PIECE):
                    file.write(piece)
                    digest.update(piece)
                    shown.update(len(piece))
            file.close()
            if hash_prefix is not None and not digest.hexdigest().startswith(hash_prefix):
                raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()[: len(hash_prefix)]}")')
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def load_state_dict_from_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, check_hash: bool = False,
    file_name: str | None = None, weights_only: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Fetch a checkpoint, unless it is here already, and load it.

    Args:
        url: where it is
        model_dir: where it is kept; `checkpoints` in `get_dir()` by default
        map_location, weights_only: see `load`. Unlike PyTorch's, a file from elsewhere may by default hold nothing but tensors.
        check_hash: the file's name ends in the beginning of its SHA-256 (`name-0123abcd.pth`), which must be right
        file_name: what to call it here

    Raises:
        RuntimeError: its hash is another
    """
    name = file_name or os.path.basename(urlparse(url).path)
    folder = Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    cached = folder / os.path.basename(name)
    if not cached.exists():
        found = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, str(cached), found[1] if found else None, progress)
    return serialization.load(cached, map_location, weights_only=weights_only)


# -- entry points ------------------------------------------------------------------------------------------------------


def _configuration(repo_or_dir: str, source: str) -> ModuleType:
    if source not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source == "github":
        raise NotImplementedError(
            f"{repo_or_dir} is not fetched from GitHub, since its code would run here: clone it, and name the folder with source='local'"
        )
    path = Path(repo_or_dir, "hubconf.py")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: a folder to load from has its entry points there")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    missing = [name for name in getattr(module, "dependencies", ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return module


def _entry(module: ModuleType, name: str) -> Callable:
    function = getattr(module, name, None)
    if not callable(function):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return function


def list(
    github: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: Any = None,
    verbose: bool = True,
    source: str = "github",
) -> Any:
    """The names of the entry points in a folder's `hubconf.py`."""
    module = _configuration(github, source)
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]


def help(
    github: str, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = None, source: str = "github"
) -> str | None:
    """What an entry point says of itself."""
    return _entry(_configuration(github, source), model).__doc__


def load(
    repo_or_dir: str, model: str, *args: Any, source: str = "github", trust_repo: Any = None, force_reload: bool = False, verbose: bool = True,
    skip_validation: bool = False, **kwargs: Any,
) -> Any:  # fmt: skip
    """Call an entry point of a folder's `hubconf.py`.

    Args:
        repo_or_dir: the folder
        model: the entry point
        args, kwargs: its arguments
        source: `"local"`; from `"github"` nothing is fetched

    Raises:
        FileNotFoundError: there is no `hubconf.py`
        NotImplementedError: the source is GitHub
        RuntimeError: there is no such entry point, or a package that it needs is missing
        ValueError: the source is neither
    """
    return _entry(_configuration(repo_or_dir, source), model)(*args, **kwargs)
