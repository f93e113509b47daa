"""The disk cache: object code and plans that outlive the process.

It lives in ``$XDG_CACHE_HOME/flambeau`` (``~/.cache/flambeau``), where nobody but its owner may read or write, because what
it holds is run. An entry is a file: magic, length, SHA-256 of the content, content. Files appear whole (written aside, then
renamed), so that any number of processes may share a cache; an entry that is damaged, or that somebody else owns, counts
as missing and is written again. A key means the same on this processor with this LLVM only.

``FLAMBEAU_CACHE=off`` turns it off, and so does, silently, a home that is not there or cannot be written. ``FLAMBEAU_CACHE_MB`` bounds its size
(512): entries that have not been used for longest go first.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from flambeau._runtime import environment, targets

VERSION = 5
"""Part of every key: raise it whenever what an entry means changes."""

_HEADER = struct.Struct("<8sQ32s")
_MAGIC = b"FLAMBEAU"
_ENTRY_SUFFIX, _TEMPORARY_SUFFIX, _CLAIM_SUFFIX = ".entry", ".tmp", ".claim"
_TRIMMED = "trimmed"  # a file that was touched when the cache was last looked through, which takes a process long that only adds an entry
_TRIMS_PER_FILLING = 16
"""A process looks through the cache, which takes 10 µs an entry, when it has added this part of what the cache may hold."""
_SECONDS_BETWEEN_TOUCHES = 3600
_SECONDS_OF_A_CLAIM = 3
"""What a process has said to be making is waited for no longer: the process may have died."""

_added: int | None = None
"""Bytes since this process looked through the cache; ``None`` before it has added anything."""


def get(kind: str, key: str) -> bytes | None:
    """What ``put(kind, key, …)`` stored, or None if it is not there."""
    directory = _directory()
    if directory is None:
        return None
    path = _path(directory, kind, key)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if _is_foreign(status) or status.st_size < _HEADER.size:
                return None
            magic, length, digest = _HEADER.unpack(file.read(_HEADER.size))
            content = file.read()
    except OSError:
        return None
    if magic != _MAGIC or length != len(content) or digest != hashlib.sha256(content).digest():
        return None
    if time.time() - status.st_mtime > _SECONDS_BETWEEN_TOUCHES:
        _touch(path)
    return content


def put(kind: str, key: str, content: bytes) -> None:
    """Store ``content``; what cannot be stored (no space, no permission) is simply not there later."""
    global _added
    directory = _directory()
    if directory is None:
        return
    path = _path(directory, kind, key)
    try:
        _write(path, _HEADER.pack(_MAGIC, len(content), hashlib.sha256(content).digest()) + content)
    except OSError:
        return
    limit = environment.whole_number("FLAMBEAU_CACHE_MB", least=0, default=512) << 20
    is_due = _is_old(directory / _TRIMMED, _SECONDS_BETWEEN_TOUCHES) if _added is None else _added > limit // _TRIMS_PER_FILLING
    _added = len(content) if is_due or _added is None else _added + len(content)
    if is_due:
        trim(limit)


def claim(kind: str, key: str) -> bool:
    """Say that this process is about to make an entry, until ``disclaim``; ``False`` if another has said so and is still at it.

    Processes that start the same work at the same time, as those of a distributed job do, share out in this way what is to be made for it.
    """
    directory = _directory()
    if directory is None:
        return True
    path = _path(directory, kind, key, _CLAIM_SUFFIX)
    try:
        os.close(_create(path))
    except FileExistsError:
        if not _is_old(path, _SECONDS_OF_A_CLAIM):
            return False
        _touch(path)
    except OSError:
        pass  # there is no room to say it
    return True


def disclaim(kind: str, key: str) -> None:
    """Take back a claim: the entry is there, or will not be made by this process."""
    directory = _directory()
    if directory is not None:
        with suppress(OSError):
            os.unlink(_path(directory, kind, key, _CLAIM_SUFFIX))


def trim(limit: int) -> None:
    """Delete the entries that have not been used for longest until the rest fill three quarters of ``limit`` bytes.

    Nothing happens while the cache is within its limit. Another process may be trimming too: a file that has gone is fine.
    """
    directory = _directory()
    if directory is None:
        return
    files, now = [], time.time()
    for path, status in _files(directory):
        abandoned = path.endswith((_TEMPORARY_SUFFIX, _CLAIM_SUFFIX)) and now - status.st_mtime > _SECONDS_BETWEEN_TOUCHES
        files.append((0.0 if abandoned else status.st_mtime, status.st_size, path))
    files.sort()
    total = sum(size for _, size, _ in files)
    goal = limit * 3 // 4 if total > limit else total
    for used, size, path in files:
        if total <= goal and used > 0:
            break
        total -= size
        with suppress(OSError):
            os.unlink(path)
    with suppress(OSError):
        (directory / _TRIMMED).touch(mode=0o600)


def _files(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What lies in the shards of the cache, but for what somebody deletes meanwhile."""
    with suppress(OSError), os.scandir(directory) as shards:
        for shard in shards:
            with suppress(OSError), os.scandir(shard.path) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        yield entry.path, entry.stat()


def _is_old(path: str | Path, seconds: float) -> bool:
    """Whether a file was not touched within the last so many seconds."""
    try:
        return time.time() - os.stat(path).st_mtime > seconds
    except OSError:
        return True


def _directory() -> Path | None:
    """The cache's directory if it is on and safe to use."""
    if os.environ.get("FLAMBEAU_CACHE", "").lower() in ("off", "0"):
        return None
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # the XDG specification has relative paths ignored
        home = os.path.join(os.path.expanduser("~"), ".cache")
    return _checked(os.path.join(home, "flambeau")) if os.path.isabs(home) else None  # a user that nobody knows has no home


@lru_cache(maxsize=8)
def _checked(name: str) -> Path | None:
    """The directory ``name``, made if need be; None unless it is ours alone."""
    directory = Path(name)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode) or _is_foreign(status):
        warnings.warn(
            f"the disk cache {name} is not used: it must be a directory that you own, with mode 0700 "
            f"(owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return directory


def _is_foreign(status: os.stat_result) -> bool:
    """Whether somebody else owns or may write the file (or, for a directory, may even look into it)."""
    if os.name != "posix":
        return False
    others = stat.S_IRWXG | stat.S_IRWXO if stat.S_ISDIR(status.st_mode) else stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid != os.geteuid() or bool(status.st_mode & others)


def _path(directory: Path, kind: str, key: str, suffix: str = _ENTRY_SUFFIX) -> str:
    digest = hashlib.sha256(f"{VERSION}\0{targets.identity()}\0{kind}\0{key}".encode()).hexdigest()
    return f"{directory}/{digest[:2]}/{digest[2:]}{suffix}"


def _write(path: str, content: bytes) -> None:
    temporary = f"{path[: -len(_ENTRY_SUFFIX)]}.{os.urandom(8).hex()}{_TEMPORARY_SUFFIX}"
    descriptor = _create(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _create(path: str) -> int:
    """A new file of ours alone, in a shard that is made if need be. (Importing ``tempfile`` for this takes longer than compiling a small kernel.)"""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        shard = os.path.dirname(path)
        for missing in (os.path.dirname(shard), shard):
            Path(missing).mkdir(mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _touch(path: str) -> None:
    """Note that a file was used, if we may."""
    with suppress(OSError):
        os.utime(path)
