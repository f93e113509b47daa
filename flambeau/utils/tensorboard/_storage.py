"""Directories and files: local ones, and those that an fsspec URL (``s3://bucket/run``) names."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import socket
import tempfile
import time

_serial = itertools.count()


def is_remote(path: str) -> bool:
    return "://" in path


def _fsspec():
    try:
        import fsspec
    except ImportError:
        raise ImportError('a log directory with a URL needs fsspec: pip install "flambeau[fsspec]"') from None
    return fsspec


def _filesystem(path: str):
    return _fsspec().core.url_to_fs(path)


def join(directory: str, *names: str) -> str:
    return "/".join((directory.rstrip("/"), *names)) if is_remote(directory) else os.path.join(directory, *names)


def make_directory(path: str) -> None:
    if is_remote(path):
        filesystem, inside = _filesystem(path)
        filesystem.makedirs(inside, exist_ok=True)
    else:
        os.makedirs(path, exist_ok=True)


def is_directory(path: str) -> bool:
    """False if there is nothing; raises NotADirectoryError if ``path`` is a file."""
    if is_remote(path):
        filesystem, inside = _filesystem(path)
        exists, directory = filesystem.exists(inside), filesystem.isdir(inside)
    else:
        exists, directory = os.path.lexists(path), os.path.isdir(path)
    if exists and not directory:
        raise NotADirectoryError(f"{path} is a file, but a directory of this name is needed")
    return directory


def read(path: str, begin: int, size: int) -> bytes:
    """At most ``size`` bytes of a file from ``begin`` on."""
    if is_remote(path):
        filesystem, inside = _filesystem(path)
        filesystem.invalidate_cache()
        end = min(filesystem.size(inside), begin + size)
        return filesystem.cat_file(inside, start=begin, end=end) if begin < end else b""
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(size)


def write(path: str, contents: bytes) -> None:
    if is_remote(path):
        filesystem, inside = _filesystem(path)
        filesystem.pipe_file(inside, contents)
        return
    with open(path, "wb") as file:
        file.write(contents)


def append_once(path: str, contents: bytes) -> None:
    """Append to a file that several processes may append to, unless it holds these bytes already."""
    if is_remote(path):
        filesystem, inside = _filesystem(path)
        before = filesystem.cat_file(inside) if filesystem.exists(inside) else b""
        if contents not in before:
            filesystem.pipe_file(inside, before + contents)
        return
    with open(path, "ab+", buffering=0) as file:  # one unbuffered write in append mode is not torn by another's
        file.seek(0)
        if contents not in file.read():
            file.write(contents)


def event_files(directory: str) -> list[str]:
    """The event files in a directory, in the order in which they were created."""
    if is_remote(directory):
        filesystem, inside = _filesystem(directory)
        filesystem.invalidate_cache()
        paths = [filesystem.unstrip_protocol(path) for path in filesystem.ls(inside, detail=False)]
    else:
        paths = [os.path.join(directory, name) for name in os.listdir(directory)]
    return sorted(path for path in paths if "tfevents" in path.rpartition("/")[2])


def runs(directory: str) -> list[str]:
    """The directories at or below this one that hold event files, relative to it: ``"."`` is itself."""
    if is_remote(directory):
        filesystem, inside = _filesystem(directory)
        walk = [(os.path.relpath(top, inside), names) for top, _, names in filesystem.walk(inside)]
    else:
        walk = [(os.path.relpath(top, directory), names) for top, _, names in os.walk(directory, followlinks=True)]
    return sorted(top for top, names in walk if any("tfevents" in name for name in names))


class LocalFile:
    """A file that is written at explicit offsets, so that a write which was interrupted or failed can be repeated."""

    unsynced = False
    _descriptor = -1  # closed

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o666)

    def write(self, contents: bytes, offset: int) -> None:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        view = memoryview(contents)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """What was written is visible to others already."""

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close


class RemoteFile:
    """A file on a store that cannot append: written to a local temporary file, uploaded whole by ``sync``."""

    def __init__(self, path: str) -> None:
        self._filesystem, self._inside = _filesystem(path)
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this)
        self.unsynced = False

    def write(self, contents: bytes, offset: int) -> None:
        self._spool.seek(offset)
        self._spool.write(contents)
        self._spool.flush()
        self.unsynced = True

    def truncate(self, size: int) -> None:
        self._spool.truncate(size)

    def sync(self) -> None:
        if self.unsynced:
            self._spool.seek(0)
            with self._filesystem.open(self._inside, "wb") as remote:
                shutil.copyfileobj(self._spool, remote, 1 << 20)
            self.unsynced = False

    def close(self) -> None:
        self.sync()
        self._spool.close()


def new_event_file(directory: str, suffix: str) -> LocalFile | RemoteFile:
    """Create ``directory`` and in it an event file with a name that no other process has, as TensorBoard expects names to be."""
    make_directory(directory)
    while True:
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_serial)}{suffix}"
        if is_remote(directory):
            return RemoteFile(f"{join(directory, name)}.{secrets.token_hex(4)}")  # no store promises exclusive creation
        try:
            return LocalFile(os.path.join(directory, name))
        except FileExistsError:  # another container with our host name and process id
            continue
