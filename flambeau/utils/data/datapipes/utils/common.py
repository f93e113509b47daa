"""What several pipes need: checks of functions, names of files, streams."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import inspect
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = [
    "StreamWrapper",
    "get_file_binaries_from_pathnames",
    "get_file_pathnames_from_root",
    "match_masks",
    "validate_input_col",
    "validate_pathname_binary_tuple",
]


def validate_input_col(fn: Callable, input_col: Any) -> None:
    """Checks that ``fn`` can be called with the columns ``input_col``: with one for each of a list or tuple, otherwise with one.

    Raises:
        ValueError: it takes fewer or needs more
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # a function in C need not have one
        return
    given = len(input_col) if isinstance(input_col, (list, tuple)) else 1
    name = getattr(fn, "__name__", None) or getattr(getattr(fn, "func", None), "__name__", repr(fn))
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keywords:
        raise ValueError(f"The function {name} takes {len(keywords)} non-default keyword-only parameters, which is not allowed.")
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    if needed > given:
        raise ValueError(f"The function {name} takes {needed} positional parameters, but {given} are required.")
    if len(positional) < given and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ValueError(f"The function {name} takes {len(positional)} parameters, but {given} are required.")


def _check_unpickable_fn(fn: Callable) -> None:
    """Warns of a function that no worker process can be sent under the start methods ``spawn`` and ``forkserver``.

    Raises:
        TypeError: it is no function at all
    """
    if not callable(fn):
        raise TypeError(f"A callable function is expected, but {type(fn)} is provided.")
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.isfunction(fn) and ("<locals>" in fn.__qualname__ or fn.__name__ == "<lambda>"):
        warnings.warn(
            "Local function is not supported by pickle, please use regular python function or functools.partial instead.",
            stacklevel=4,
        )


def match_masks(name: str, masks: str | list[str]) -> bool:
    """Whether a name matches one of ``masks``, patterns of the shell. The empty mask matches all."""
    if not masks:
        return True
    return any(fnmatch.fnmatch(name, mask) for mask in ([masks] if isinstance(masks, str) else masks))


def get_file_pathnames_from_root(
    root: str, masks: str | list[str], recursive: bool = False, abspath: bool = False, non_deterministic: bool = False
) -> Iterator[str]:
    """The paths of the files in a folder whose names match ``masks``; or the path of a file itself.

    Args:
        recursive: also those in the folders below
        abspath: give absolute paths
        non_deterministic: leave them in the order of the file system, rather than sorting them

    Raises:
        OSError: a folder that cannot be read
    """

    def fail(error: OSError) -> None:
        raise error

    if os.path.isfile(root):
        if match_masks(os.path.basename(root), masks):
            yield os.path.abspath(root) if abspath else root
        return
    for folder, below, files in os.walk(root, onerror=fail):
        if not non_deterministic:
            files.sort()
            below.sort()
        for name in files:
            if match_masks(name, masks):
                path = os.path.join(folder, name)
                yield os.path.abspath(path) if abspath else path
        if not recursive:
            return


def get_file_binaries_from_pathnames(pathnames: Iterable, mode: str, encoding: str | None = None) -> Iterator[tuple[str, StreamWrapper]]:
    """Pairs of a path and the open file. A mode ``"b"`` or ``"t"`` stands for ``"rb"`` or ``"rt"``.

    Raises:
        TypeError: a path that is no string
    """
    if mode in ("b", "t"):
        mode = "r" + mode
    for pathname in [pathnames] if isinstance(pathnames, str) else pathnames:
        if not isinstance(pathname, str):
            raise TypeError(f"Expected string type for pathname, but got {type(pathname)}")
        file = open(pathname, mode, encoding=encoding)  # noqa: SIM115  # whoever reads the pair closes it
        yield pathname, StreamWrapper(file, name=pathname)


def validate_pathname_binary_tuple(data: Any) -> None:
    """Checks that ``data`` is a pair of a path and an open file.

    Raises:
        TypeError: it is not
    """
    if not isinstance(data, tuple):
        raise TypeError(f"pathname binary data should be tuple type, but it is type {type(data)}")
    if len(data) != 2:
        raise TypeError(f"pathname binary stream tuple length should be 2, but got {len(data)}")
    if not isinstance(data[0], str):
        raise TypeError(f"pathname within the tuple should have string type pathname, but it is type {type(data[0])}")
    if not isinstance(data[1], (io.IOBase, StreamWrapper)):
        raise TypeError(f"binary stream within the tuple should be an open file, but it is type {type(data[1])}")


class StreamWrapper:
    """An open file that a pipe hands on, closed when nothing refers to it any more.

    Everything else it does as the file itself does.

    Args:
        file_obj: the file
        parent_stream: the file that this one is a part of, as of an archive. It stays open as long as this wrapper does.
        name: what it is called in messages
    """

    def __init__(self, file_obj: Any, parent_stream: Any = None, name: str | None = None) -> None:
        self.file_obj = file_obj
        self.parent_stream = parent_stream
        self.name = name

    @classmethod
    def close_streams(cls, v: Any, depth: int = 0) -> None:
        """Closes the wrapped files anywhere inside of lists, tuples and dictionaries."""
        if isinstance(v, StreamWrapper):
            v.close()
        elif isinstance(v, dict):
            for item in v.values():
                cls.close_streams(item, depth + 1)
        elif isinstance(v, (list, tuple)):
            for item in v:
                cls.close_streams(item, depth + 1)

    def close(self) -> None:
        """Closes the file."""
        self.file_obj.close()

    def __getattr__(self, name: str) -> Any:
        if name == "file_obj":  # of one whose making failed
            raise AttributeError(name)
        return getattr(self.file_obj, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self.file_obj)})

    def __iter__(self) -> Iterator:
        yield from self.file_obj

    def __next__(self) -> Any:
        return next(self.file_obj)

    def __repr__(self) -> str:
        return f"StreamWrapper<{self.name or repr(self.file_obj)}>" if self.closed else f"StreamWrapper<{self.file_obj!r}>"

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.file_obj.close()
