"""Stores: keys and values that several processes share, by which they find each other."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from flambeau.distributed.errors import DistStoreError, QueueEmptyError

__all__ = ["FileStore", "HashStore", "PrefixStore", "Store"]

T = TypeVar("T")
DEFAULT_TIMEOUT = timedelta(seconds=300)


class Store:
    """Keys with values, which are bytes. A subclass says how they are changed together, and how to wait for them.

    Attributes:
        timeout: how long ``get`` and ``wait`` wait for a key
    """

    timeout: timedelta = DEFAULT_TIMEOUT

    def _change(self, function: Callable[[dict[str, bytes]], T]) -> T:
        """What ``function`` returns; it may change the keys and values, and nobody else changes them meanwhile."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its values are changed")

    def _await(self, ready: Callable[[dict[str, bytes]], T | None], timeout: timedelta) -> T | None:
        """What ``ready`` returns once it is not ``None``; ``None`` if the time is over before."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to wait for its values")

    def set_timeout(self, timeout: timedelta) -> None:
        """Set how long ``get`` and ``wait`` wait."""
        self.timeout = timeout

    def set(self, key: str, value: str | bytes) -> None:
        """Set a key's value."""
        raw = to_bytes(value)
        self._change(lambda data: data.__setitem__(key, raw))

    def get(self, key: str) -> bytes:
        """A key's value, once there is one.

        Raises:
            DistStoreError: there was none in time
        """
        return self.multi_get([key])[0]

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """The values of several keys, once all have one."""
        return self._get(keys, self.timeout)

    def _get(self, keys: Sequence[str], timeout: timedelta) -> list[bytes]:
        found = self._await(lambda data: [data[key] for key in keys] if all(key in data for key in keys) else None, timeout)
        if found is None:
            missing = ", ".join(key for key in keys if not self.check([key]))
            raise DistStoreError(f"wait timeout after {timeout // timedelta(milliseconds=1)}ms, keys: {missing}")
        return found

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """Set several keys together."""
        pairs = {key: to_bytes(value) for key, value in zip(keys, values, strict=True)}
        self._change(lambda data: data.update(pairs))

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all keys have values.

        Raises:
            DistStoreError: they had not in time
        """
        self._get(keys, self.timeout if timeout is None else timeout)

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which begins at 0, and return its new value."""

        def count(data: dict[str, bytes]) -> int:
            total = int(data.get(key, b"0")) + amount
            data[key] = str(total).encode()
            return total

        return self._change(count)

    def append(self, key: str, value: str | bytes) -> None:
        """Append to a key's value."""
        raw = to_bytes(value)
        self._change(lambda data: data.__setitem__(key, data.get(key, b"") + raw))

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """Set a value if the present one is as expected (none, if that is empty); the value that is there then, or the expected one."""
        expected, desired = to_bytes(expected_value), to_bytes(desired_value)

        def exchange(data: dict[str, bytes]) -> bytes:
            present = data.get(key)
            if present == expected or (present is None and not expected):
                data[key] = desired
                return desired
            return expected if present is None else present

        return self._change(exchange)

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all keys have values."""
        return self._change(lambda data: all(key in data for key in keys))

    def delete_key(self, key: str) -> bool:
        """Remove a key; whether it was there."""
        return self._change(lambda data: data.pop(key, None) is not None)

    def num_keys(self) -> int:
        """The number of keys."""
        return self._change(len)

    def list_keys(self) -> list[str]:
        """All keys."""
        return self._change(list)

    def queue_push(self, key: str, value: str | bytes) -> None:
        """Append a value to a queue."""
        raw = to_bytes(value)
        self._change(lambda data: data.__setitem__(key, data.get(key, b"") + struct.pack("<I", len(raw)) + raw))

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        """Take the first value of a queue, once there is one.

        Raises:
            QueueEmptyError: there is none in time, or at once if ``block`` is off
        """
        return self._pop(key, self.timeout if block else timedelta(0))

    def _pop(self, key: str, timeout: timedelta) -> bytes:
        def pop(data: dict[str, bytes]) -> bytes | None:
            raw = data.get(key)
            if not raw:
                return None
            end = 4 + int.from_bytes(raw[:4], "little")
            if len(raw) > end:
                data[key] = raw[end:]
            else:
                del data[key]
            return raw[4:end]

        found = self._await(pop, timeout)
        if found is None:
            raise QueueEmptyError(f"queue {key} is empty")
        return found

    def queue_len(self, key: str) -> int:
        """How many values a queue has."""

        def count(data: dict[str, bytes]) -> int:
            raw, found, at = data.get(key, b""), 0, 0
            while at < len(raw):
                at += 4 + int.from_bytes(raw[at : at + 4], "little")
                found += 1
            return found

        return self._change(count)

    def has_extended_api(self) -> bool:
        """Whether there are ``append``, ``multi_get`` and ``multi_set``: yes."""
        return True

    def clone(self) -> Store:
        """A store with the same keys and values, that another thread may use."""
        return self


def to_bytes(value: str | bytes) -> bytes:
    """A value as it is kept."""
    return value.encode() if isinstance(value, str) else bytes(value)


class HashStore(Store):
    """A store within one process.

    Example:
        >>> store = HashStore()
        >>> store.set("first", "1")
        >>> store.get("first"), store.add("count", 2)
        (b'1', 2)
    """

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._changed = threading.Condition()

    def _change(self, function: Callable[[dict[str, bytes]], T]) -> T:
        with self._changed:
            result = function(self._data)
            self._changed.notify_all()
            return result

    def _await(self, ready: Callable[[dict[str, bytes]], T | None], timeout: timedelta) -> T | None:
        deadline = time.monotonic() + timeout.total_seconds()
        with self._changed:
            while (result := ready(self._data)) is None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return result


class FileStore(Store):
    """A store in a file, which all processes can open. The last of ``world_size`` processes to end removes it.

    The file is a log of what was set and removed, and is locked while it is read and written.
    """

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        self.path = file_name
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _leave_file, file_name, world_size, os.getpid())

    def _change(self, function: Callable[[dict[str, bytes]], T]) -> T:
        with self._lock, _locked(self.path) as file:
            data = _read_log(file)
            before = dict(data)
            result = function(data)
            for key in before.keys() | data.keys():
                if before.get(key) != data.get(key):
                    _write_log(file, key, data.get(key))
            return result

    def _await(self, ready: Callable[[dict[str, bytes]], T | None], timeout: timedelta) -> T | None:
        deadline = time.monotonic() + timeout.total_seconds()
        pause = 1e-3
        while (result := self._change(ready)) is None and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return result


@contextmanager
def _locked(path: str) -> Iterator[Any]:
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


_ENTRY = struct.Struct("<Iq")


def _read_log(file: Any) -> dict[str, bytes]:
    raw, at = file.read(), 0
    data: dict[str, bytes] = {}
    while at < len(raw):
        key_length, length = _ENTRY.unpack_from(raw, at)
        at += _ENTRY.size
        key = raw[at : at + key_length].decode()
        at += key_length
        if length < 0:
            data.pop(key, None)
        else:
            data[key] = raw[at : at + length]
            at += length
    return data


def _write_log(file: Any, key: str, value: bytes | None) -> None:
    name = key.encode()
    file.write(_ENTRY.pack(len(name), -1 if value is None else len(value)) + name + (value or b""))


def _leave_file(path: str, world_size: int, owner: int) -> None:
    if world_size <= 0 or os.getpid() != owner:
        return
    with suppress(OSError), _locked(path) as file:
        gone = int(_read_log(file).get("left/", b"0")) + 1
        _write_log(file, "left/", str(gone).encode())
        if gone >= world_size:
            os.unlink(path)


class PrefixStore(Store):
    """A part of another store: its keys there begin with ``prefix/``."""

    def __init__(self, prefix: str, store: Store) -> None:
        self.prefix = prefix
        self.underlying_store = store

    @property
    def timeout(self) -> timedelta:
        """How long the store behind it waits."""
        return self.underlying_store.timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self.underlying_store.set_timeout(timeout)

    @property
    def _underlying_non_prefix_store(self) -> Store:
        store = self.underlying_store
        return store._underlying_non_prefix_store if isinstance(store, PrefixStore) else store

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{key}"

    def num_keys(self) -> int:
        return self.underlying_store.num_keys()

    def list_keys(self) -> list[str]:
        start = self._name("")
        return [key[len(start) :] for key in self.underlying_store.list_keys() if key.startswith(start)]

    def clone(self) -> PrefixStore:
        return PrefixStore(self.prefix, self.underlying_store.clone())


def _prefixed(name: str, several: bool) -> Callable:
    def call(self: PrefixStore, key: Any, *args: Any, **kwargs: Any) -> Any:
        keys = [self._name(each) for each in key] if several else self._name(key)
        return getattr(self.underlying_store, name)(keys, *args, **kwargs)

    call.__name__ = name
    call.__doc__ = getattr(Store, name).__doc__
    return call


for _name in ("set", "get", "add", "append", "compare_set", "delete_key", "queue_push", "queue_pop", "queue_len"):
    setattr(PrefixStore, _name, _prefixed(_name, several=False))
for _name in ("multi_get", "multi_set", "wait", "check"):
    setattr(PrefixStore, _name, _prefixed(_name, several=True))
