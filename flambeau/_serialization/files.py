"""Opening files: what is saved under a path appears there whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FILE_LIKE = str | os.PathLike | BinaryIO


def is_path(f: FILE_LIKE) -> bool:
    return isinstance(f, (str, os.PathLike))


@contextmanager
def writing(f: FILE_LIKE) -> Iterator[BinaryIO]:
    """A stream to write to. Under a path, a file is replaced only after everything was written (a full disk leaves it as it was).

    A symbolic link stays, and the file that it points to is replaced; permissions stay. What is not a regular file (``/dev/stdout``,
    a named pipe) is written in place, and so is a file in a folder where no other file can be made.

    Raises:
        RuntimeError: the folder does not exist.
    """
    if not is_path(f):
        yield f
        return
    target = Path(os.path.realpath(f))
    if not target.parent.is_dir():
        raise RuntimeError(f"Parent directory {target.parent} does not exist.")
    if target.exists() and not (target.is_file() and os.access(target.parent, os.W_OK)):
        with open(target, "wb") as stream:
            yield stream
        return
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


@contextmanager
def reading(f: FILE_LIKE) -> Iterator[BinaryIO]:
    """A stream to read from, which can seek.

    Raises:
        AttributeError: ``f`` is neither a path nor a stream that can read and seek.
    """
    if is_path(f):
        with open(f, "rb") as stream:
            yield stream
        return
    missing = [name for name in ("read", "readline", "seek", "tell") if not hasattr(f, name)]
    if missing:
        raise AttributeError(
            f"'{type(f).__name__}' object has no attribute '{missing[0]}'. You can only load from a path, or from a file that can "
            "read and seek. Pre-load the data into a buffer like io.BytesIO and try to load from it instead"
        )
    yield f
