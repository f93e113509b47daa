"""How the processes of a group find each other and connect.

Each tells the store on which machine it is. If that is the same for all, they use Unix sockets, which no other machine can reach; else each
listens at a port of its own, at the address by which it reached the store. Of two processes the one with the higher rank calls the other.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from flambeau.distributed.errors import DistBackendError, DistStoreError
from flambeau.distributed.handshake import PATIENCE, accept_all, answer, challenge, secret
from flambeau.distributed.store import PrefixStore, Store
from flambeau.distributed.tcp_store import TCPStore

__all__ = ["connect"]

_WISH = struct.Struct("<IB")

TRANSPORT_VARIABLE = "FLAMBEAU_DISTRIBUTED_TRANSPORT"
"""``tcp`` makes processes of one machine talk to each other as those of several do."""


def _machine() -> str:
    """Equal for two processes only if they can share memory and reach each other's Unix sockets."""
    if os.environ.get(TRANSPORT_VARIABLE) == "tcp" or sys.platform != "linux":
        return secrets.token_hex(8)
    parts = [socket.gethostname(), str(os.getuid())]
    for path in ("/proc/self/ns/net", "/proc/self/ns/ipc"):
        with suppress(OSError):
            parts.append(os.readlink(path))
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        parts.append(file.read().strip())
    return " ".join(parts)


def _own_address(store: Store) -> str:
    """The address by which other machines reach this one."""
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store.local_address() if isinstance(store, TCPStore) else socket.gethostbyname(socket.gethostname())


def _listen(one_machine: bool, store: Store) -> socket.socket:
    if not one_machine:
        address = _own_address(store)
        return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=1024)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(f"\0flambeau-{secrets.token_hex(16)}")  # a name of Linux's own, without a file that would stay behind
    listening.listen(1024)
    return listening


class _Reception:
    """Accepts the calls of processes with higher ranks."""

    def __init__(self, listening: socket.socket, key: bytes, wanted: set[tuple[int, int]]) -> None:
        self.listening, self.key, self.wanted = listening, key, wanted
        self.found: dict[tuple[int, int], socket.socket] = {}
        self.changed = threading.Condition()
        name = "flambeau-connect"
        threading.Thread(target=accept_all, args=(listening, self._welcome, name), name=name, daemon=True).start()

    def _welcome(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(PATIENCE)
            who = _WISH.unpack(challenge(connection, self.key))
        except (OSError, struct.error):
            connection.close()
            return
        with self.changed:
            if who in self.wanted and who not in self.found:
                self.found[who] = connection
                self.changed.notify_all()
            else:
                connection.close()

    def wait(self, deadline: float) -> dict[tuple[int, int], socket.socket]:
        with self.changed:
            while len(self.found) < len(self.wanted):
                left = deadline - time.monotonic()
                if left <= 0:
                    missing = sorted({rank for rank, _ in self.wanted - self.found.keys()})
                    raise DistBackendError(f"rank(s) {', '.join(map(str, missing))} did not connect in time")
                self.changed.wait(left)
            return self.found

    def close(self) -> None:
        with suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)  # which ends the wait of the thread
        self.listening.close()


def _call(address: Any, key: bytes, wish: bytes, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        connection.settimeout(timeout)
        connection.connect("\0" + address if isinstance(address, str) else tuple(address))
        answer(connection, key, wish)
    except BaseException:
        connection.close()
        raise
    return connection


def connect(store: Store, rank: int, size: int, lanes: int, timeout: timedelta) -> tuple[list[dict[int, socket.socket]], bool]:
    """For each lane a connection with every other process, and whether all are on one machine.

    Raises:
        DistBackendError: a process did not come in time
    """
    deadline = time.monotonic() + timeout.total_seconds()
    store.set(f"machine/{rank}", _machine())
    if rank == 0:
        store.set("token", secrets.token_hex(32))
    machines = _of_all(store, "machine", size, timeout)
    one_machine = len(set(machines)) == 1
    key = store.get("token") + secret()
    try:
        listening = _listen(one_machine, store)
    except OSError as error:
        raise DistBackendError(f"rank {rank} cannot listen for the others: {error}") from None
    reception = _Reception(listening, key, {(peer, lane) for peer in range(rank + 1, size) for lane in range(lanes)})
    found: dict[tuple[int, int], socket.socket] = {}
    try:
        name = listening.getsockname()
        store.set(f"address/{rank}", json.dumps(name[1:].decode() if one_machine else name[:2]))
        for peer, address in enumerate(_of_all(store, "address", rank, timeout)):
            for lane in range(lanes):
                left = max(0.1, deadline - time.monotonic())
                found[peer, lane] = _call(json.loads(address), key, _WISH.pack(rank, lane), left)
        found.update(reception.wait(deadline))
    except BaseException as error:
        for connection in (*found.values(), *reception.found.values()):
            connection.close()
        if isinstance(error, OSError):
            raise DistBackendError(f"rank {rank} cannot connect to rank {peer}: {error}") from None
        raise
    finally:
        reception.close()
    for connection in found.values():
        connection.settimeout(timeout.total_seconds())
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return [{peer: found[peer, lane] for peer in range(size) if peer != rank} for lane in range(lanes)], one_machine


def _of_all(store: Store, what: str, size: int, timeout: timedelta) -> list[str]:
    """What each process has told the store about itself."""
    keys = [f"{what}/{peer}" for peer in range(size)]
    if not keys:
        return []
    try:
        store.wait(keys, timeout)
    except DistStoreError as error:
        missing = [str(peer) for peer, key in enumerate(keys) if not store.check([key])]
        raise DistBackendError(f"rank(s) {', '.join(missing)} did not come within {timeout} ({error})") from None
    return [value.decode() for value in store.multi_get(keys)]
