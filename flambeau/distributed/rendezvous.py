"""From an ``init_method`` to a store, this process's rank, and how many processes there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlparse

from flambeau.distributed.store import DEFAULT_TIMEOUT, FileStore, PrefixStore, Store
from flambeau.distributed.tcp_store import TCPStore

__all__ = ["register_rendezvous_handler", "rendezvous"]

Rendezvous = tuple[Store, int, int]


def register_rendezvous_handler(scheme: str, handler: Callable[..., Iterator[Rendezvous]]) -> None:
    """Let ``scheme://…`` be answered by ``handler(url, timeout=…)``, which yields a store, the rank and the number of processes.

    Raises:
        RuntimeError: the scheme has a handler
    """
    if scheme in _HANDLERS:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _HANDLERS[scheme] = handler


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **kwargs: Any) -> Iterator[Rendezvous]:
    """What the handler of the URL's scheme yields, with a rank and a number of processes that count more than the URL's.

    Raises:
        RuntimeError: the scheme has no handler
        ValueError: something that it needs is not given
    """
    parts = urlparse(url)
    if parts.scheme not in _HANDLERS:
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}:// (there are {', '.join(each + '://' for each in _HANDLERS)})")
    query = dict(parse_qsl(parts.query))
    for name, value in (("rank", rank), ("world_size", world_size)):
        if value >= 0:
            query[name] = str(value)
    return _HANDLERS[parts.scheme](url, query=query, **kwargs)


def _number(query: dict[str, str], name: str, what: str) -> int:
    try:
        return int(query[name])
    except KeyError:
        raise ValueError(f"Error initializing torch.distributed using {what} rendezvous: {name} parameter missing") from None


def _tcp(url: str, query: dict[str, str], timeout: timedelta = DEFAULT_TIMEOUT, **kwargs: Any) -> Iterator[Rendezvous]:
    parts = urlparse(url)
    if parts.port is None or not parts.hostname:
        raise ValueError(f"Error initializing torch.distributed using tcp:// rendezvous: host or port number missing in {url}")
    rank, size = _number(query, "rank", "tcp://"), _number(query, "world_size", "tcp://")
    yield TCPStore(parts.hostname, parts.port, size, rank == 0, timeout, multi_tenant=True), rank, size


def _file(url: str, query: dict[str, str], timeout: timedelta = DEFAULT_TIMEOUT, **kwargs: Any) -> Iterator[Rendezvous]:
    path = urlparse(url).path
    if not path:
        raise ValueError("Error initializing torch.distributed using file:// rendezvous: path missing")
    rank, size = _number(query, "rank", "file://"), _number(query, "world_size", "file://")
    store = FileStore(path, size)
    store.set_timeout(timeout)
    yield store, rank, size


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ValueError(
            f"Error initializing torch.distributed using env:// rendezvous: environment variable {name} expected, but not set"
        ) from None


def _environment(url: str, query: dict[str, str], timeout: timedelta = DEFAULT_TIMEOUT, **kwargs: Any) -> Iterator[Rendezvous]:
    rank = int(query.get("rank") or _variable("RANK"))
    size = int(query.get("world_size") or _variable("WORLD_SIZE"))
    host, port = _variable("MASTER_ADDR"), int(_variable("MASTER_PORT"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # whoever started the processes holds the values
        store: Store = TCPStore(host, port, timeout=timeout)
        attempt = os.environ.get("FLAMBEAU_DISTRIBUTED_ROUND") or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        yield PrefixStore(f"attempt_{attempt}", store), rank, size
        return
    yield TCPStore(host, port, size, rank == 0, timeout, multi_tenant=True), rank, size


_HANDLERS: dict[str, Callable[..., Iterator[Rendezvous]]] = {"env": _environment, "file": _file, "tcp": _tcp}
