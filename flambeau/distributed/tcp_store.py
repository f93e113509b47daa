"""``TCPStore``: a store that one process holds and the others call over the network."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from flambeau.distributed.errors import DistError, DistNetworkError, DistStoreError, QueueEmptyError
from flambeau.distributed.handshake import PATIENCE, accept_all, answer, challenge, receive_exactly, secret
from flambeau.distributed.store import DEFAULT_TIMEOUT, HashStore, Store, to_bytes

__all__ = ["TCPStore"]

_COUNT, _SIZE = struct.Struct("<H"), struct.Struct("<I")
_LARGEST = 1 << 28

_ERRORS = {"DistStoreError": DistStoreError, "QueueEmptyError": QueueEmptyError, "ValueError": ValueError}


def _send(connection: socket.socket, parts: Sequence[bytes]) -> None:
    connection.sendall(b"".join([_COUNT.pack(len(parts)), *[_SIZE.pack(len(part)) + part for part in parts]]))


def _receive(connection: socket.socket) -> list[bytes]:
    parts = []
    for _ in range(_COUNT.unpack(receive_exactly(connection, 2))[0]):
        (size,) = _SIZE.unpack(receive_exactly(connection, 4))
        if size > _LARGEST:
            raise ConnectionError(f"a message of {size} bytes is too long for a store")
        parts.append(receive_exactly(connection, size))
    return parts


class _Server:
    """Holds the values, and has a thread for each caller."""

    def __init__(self, host: str, port: int, listening: int | None) -> None:
        self.store, self.secret = HashStore(), secret()
        self.connections: set[socket.socket] = set()
        self.socket = socket.socket(fileno=listening) if listening is not None else _listen(host, port)
        self.port = self.socket.getsockname()[1]
        self.users = 1
        name = "flambeau-store"
        threading.Thread(target=accept_all, args=(self.socket, self._serve, name), name=name, daemon=True).start()
        _servers.add(self)

    def _serve(self, connection: socket.socket) -> None:
        self.connections.add(connection)
        with connection, suppress(OSError, struct.error):
            connection.settimeout(PATIENCE)
            challenge(connection, self.secret)
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                name, *arguments = _receive(connection)
                try:
                    reply = [b"", *_CALLS[name.decode()](self.store, arguments)]
                except (DistError, ValueError, KeyError, IndexError, UnicodeDecodeError, OverflowError) as error:
                    reply = [type(error).__name__.encode(), str(error).encode()]
                _send(connection, reply)
        self.connections.discard(connection)

    def leave(self) -> None:
        """One store less uses this; without any it is closed."""
        self.users -= 1
        if not self.users:
            self.close()

    def close(self) -> None:
        if _shared.get(self.port) is self:
            del _shared[self.port]
        for each in (self.socket, *self.connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


_servers: weakref.WeakSet[_Server] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """A forked child has copies of the sockets, which would keep others from noticing that the process is gone."""
    _shared.clear()
    for server in list(_servers):
        for each in (server.socket, *server.connections):
            each.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at a port of the loopback interface, if that is what the host's name means, or else of all interfaces."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        local = address[0].startswith("127.") or address[0] == "::1"
        return socket.create_server((address[0] if local else "", port), family=family, backlog=1024)
    except OSError as error:
        raise DistNetworkError(f"cannot listen at port {port} for the store at {host}: {error}") from None


def _texts(parts: Sequence[bytes]) -> list[str]:
    return [part.decode() for part in parts]


def _number(value: int) -> list[bytes]:
    return [str(int(value)).encode()]


def _time(milliseconds: bytes) -> timedelta:
    return timedelta(milliseconds=int(milliseconds))


def _multi_set(store: Store, arguments: list[bytes]) -> list[bytes]:
    store.multi_set(_texts(arguments[::2]), arguments[1::2])
    return []


_CALLS: dict[str, Any] = {
    "multi_set": _multi_set,
    "get": lambda store, arguments: store._get(_texts(arguments[1:]), _time(arguments[0])),
    "wait": lambda store, arguments: store._get(_texts(arguments[1:]), _time(arguments[0]))[:0],
    "add": lambda store, arguments: _number(store.add(arguments[0].decode(), int(arguments[1]))),
    "append": lambda store, arguments: [store.append(arguments[0].decode(), arguments[1])][:0],
    "compare_set": lambda store, arguments: [store.compare_set(arguments[0].decode(), arguments[1], arguments[2])],
    "check": lambda store, arguments: _number(store.check(_texts(arguments))),
    "delete_key": lambda store, arguments: _number(store.delete_key(arguments[0].decode())),
    "num_keys": lambda store, arguments: _number(store.num_keys()),
    "list_keys": lambda store, arguments: [key.encode() for key in store.list_keys()],
    "queue_push": lambda store, arguments: [store.queue_push(arguments[0].decode(), arguments[1])][:0],
    "queue_pop": lambda store, arguments: [store._pop(arguments[0].decode(), _time(arguments[1]))],
    "queue_len": lambda store, arguments: _number(store.queue_len(arguments[0].decode())),
}
"""What can be asked of a server: functions of the values and of the arguments, which are bytes, that return bytes."""


class TCPStore(Store):
    """A store that the process with ``is_master`` holds, and that the others reach at ``host_name`` and ``port``.

    Nothing but bytes is exchanged. If the environment variable ``FLAMBEAU_DISTRIBUTED_SECRET`` is set, callers have to know it.

    Args:
        host_name, port: where it is; port 0 lets the system choose one (see the attribute ``port``)
        world_size: how many processes use it; the master waits for them, if ``wait_for_workers``
        is_master: whether this process holds the values
        timeout: how long to wait for the others, and later for keys
        multi_tenant: whether several stores of this process may share the port's values
        master_listen_fd: a socket that listens already

    Raises:
        DistNetworkError: the port is taken, or nobody answers there

    Example:
        >>> store = TCPStore("127.0.0.1", 0, world_size=1, is_master=True)
        >>> other = TCPStore("127.0.0.1", store.port)
        >>> other.set("key", "value")
        >>> store.get("key")
        b'value'
    """

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: timedelta = DEFAULT_TIMEOUT,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ) -> None:
        self.host, self.timeout = host_name, timeout
        self._lock = threading.Lock()
        self._server = _server(host_name, port, multi_tenant, master_listen_fd) if is_master else None
        self.port = self._server.port if self._server is not None else port
        if self._server is not None:
            weakref.finalize(self, _Server.leave, self._server)
        self._connection = self._connect()
        weakref.finalize(self, self._connection.close)
        if world_size is not None and world_size > 0:
            self.add("init/", 1)
            if is_master and wait_for_workers:
                self._wait_for_workers(world_size)

    def _wait_for_workers(self, world_size: int) -> None:
        store = self._server.store
        if store._await(lambda data: True if int(data.get("init/", b"0")) >= world_size else None, self.timeout) is None:
            came = int(store.get("init/"))
            raise DistStoreError(f"timed out after {self.timeout} waiting for clients: {came} of {world_size} have joined")

    def _connect(self) -> socket.socket:
        """A connection with the server, which may still have to be started."""
        deadline = time.monotonic() + self.timeout.total_seconds()
        pause = 0.01
        while True:
            try:
                return self._call_once(max(0.01, deadline - time.monotonic()))
            except (ConnectionRefusedError, TimeoutError, socket.gaierror) as error:
                if time.monotonic() + pause > deadline:
                    raise DistNetworkError(f"no store answers at ({self.host}, {self.port}) within {self.timeout}: {error}") from None
                time.sleep(pause)
                pause = min(2 * pause, 1.0)
            except OSError as error:
                raise DistNetworkError(f"the store at ({self.host}, {self.port}) does not let us in: {error}") from None

    def _call_once(self, timeout: float) -> socket.socket:
        connection = socket.create_connection((self.host, self.port), timeout)
        try:
            if connection.getsockname() == connection.getpeername():  # a free port of this machine may be connected with itself
                raise ConnectionRefusedError("nobody listens there")
            answer(connection, secret())
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        return connection

    def local_address(self) -> str:
        """The address of this machine that the store sees."""
        return self._connection.getsockname()[0]

    def _call(self, name: str, *arguments: bytes, patience: timedelta = timedelta(0)) -> list[bytes]:
        with self._lock:
            try:
                self._connection.settimeout(patience.total_seconds() + PATIENCE + self.timeout.total_seconds())
                _send(self._connection, [name.encode(), *arguments])
                kind, *reply = _receive(self._connection)
            except BaseException as error:
                self._connection.close()  # an answer that comes late would be taken for the next one's
                if isinstance(error, OSError):
                    message = f"the store at ({self.host}, {self.port}) is gone, and with it the process that held it: {error}"
                    raise DistNetworkError(message) from None
                raise
        if kind:
            raise _ERRORS.get(kind.decode(), DistStoreError)(reply[0].decode())
        return reply

    def set(self, key: str, value: str | bytes) -> None:
        self._call("multi_set", key.encode(), to_bytes(value))

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        self._call("multi_set", *[part for key, value in zip(keys, values, strict=True) for part in (key.encode(), to_bytes(value))])

    def _get(self, keys: Sequence[str], timeout: timedelta) -> list[bytes]:
        return self._call("get", *self._patient(timeout), *[key.encode() for key in keys], patience=timeout)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        timeout = self.timeout if timeout is None else timeout
        self._call("wait", *self._patient(timeout), *[key.encode() for key in keys], patience=timeout)

    @staticmethod
    def _patient(timeout: timedelta) -> list[bytes]:
        return _number(timeout // timedelta(milliseconds=1))

    def add(self, key: str, amount: int) -> int:
        return int(self._call("add", key.encode(), *_number(amount))[0])

    def append(self, key: str, value: str | bytes) -> None:
        self._call("append", key.encode(), to_bytes(value))

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        return self._call("compare_set", key.encode(), to_bytes(expected_value), to_bytes(desired_value))[0]

    def check(self, keys: Sequence[str]) -> bool:
        return self._call("check", *[key.encode() for key in keys])[0] == b"1"

    def delete_key(self, key: str) -> bool:
        return self._call("delete_key", key.encode())[0] == b"1"

    def num_keys(self) -> int:
        return int(self._call("num_keys")[0])

    def list_keys(self) -> list[str]:
        return _texts(self._call("list_keys"))

    def queue_push(self, key: str, value: str | bytes) -> None:
        self._call("queue_push", key.encode(), to_bytes(value))

    def _pop(self, key: str, timeout: timedelta) -> bytes:
        return self._call("queue_pop", key.encode(), *self._patient(timeout), patience=timeout)[0]

    def queue_len(self, key: str) -> int:
        return int(self._call("queue_len", key.encode())[0])

    def clone(self) -> TCPStore:
        return TCPStore(self.host, self.port, timeout=self.timeout)

    def __repr__(self) -> str:
        return f"TCPStore({self.host}, {self.port}{', holds the values' if self._server is not None else ''})"


_shared: dict[int, _Server] = {}
"""The servers of this process that several stores may use, by port."""


def _server(host: str, port: int, multi_tenant: bool, listening: int | None) -> _Server:
    if multi_tenant and port in _shared:
        _shared[port].users += 1
        return _shared[port]
    server = _Server(host, port, listening)
    if multi_tenant:
        _shared[server.port] = server
    return server
