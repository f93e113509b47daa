"""Proof that whoever connects belongs to the job: both sides know a secret, which is never sent.

The one that is called sends a random number, the caller answers with its keyed digest, what it wants, and a number of its own, whose digest
it gets back. Until then nothing that was received is interpreted, so that a stranger who finds the port gets an end of file.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["PATIENCE", "accept_all", "answer", "challenge", "receive_exactly", "receive_into", "secret"]

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds that a caller has for each step of proving who it is."""

_MAGIC = b"flambeau.distributed 1\n"
_NONCE = _DIGEST = 32
_LENGTH = struct.Struct("<H")

SECRET_VARIABLE = "FLAMBEAU_DISTRIBUTED_SECRET"


def secret() -> bytes:
    """What all processes of a job know: an environment variable, which ``flambeau.distributed.run`` sets."""
    return os.environ.get(SECRET_VARIABLE, "").encode()


def _digest(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(_MAGIC + key, b"\0".join(parts), hashlib.sha256).digest()


def accept_all(listening: socket.socket, welcome: Callable[[socket.socket], Any], name: str) -> None:
    """Call ``welcome`` with every connection, each in a thread of its own, until the socket is closed.

    Strangers may be silent for as long as they are let: they must not keep the others waiting. That there are too many of them is no
    reason to stop, either.
    """
    while True:
        try:
            connection, _ = listening.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                return  # closed
            time.sleep(0.1)
        else:
            threading.Thread(target=welcome, args=(connection,), name=name, daemon=True).start()


_PASSING = (errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of ``accept`` after which the socket still listens."""


def receive_into(connection: socket.socket, target: T) -> T:
    """Fill a buffer of bytes, and return it.

    Raises:
        ConnectionError: the other side has closed the connection
    """
    view, filled = memoryview(target), 0
    while filled < len(view):
        count = connection.recv_into(view[filled:])
        if not count:
            raise ConnectionError("the connection was closed")
        filled += count
    return target


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes.

    Raises:
        ConnectionError: the other side has closed the connection
    """
    return bytes(receive_into(connection, bytearray(count)))


def challenge(connection: socket.socket, key: bytes) -> bytes:
    """Ask a caller for its proof, give ours, and return what it wants.

    Raises:
        ConnectionError: the caller does not know the secret
        OSError: it has closed the connection, or is silent
    """
    nonce = secrets.token_bytes(_NONCE)
    connection.sendall(_MAGIC + nonce)
    proof, theirs, (length,) = (
        receive_exactly(connection, _DIGEST), receive_exactly(connection, _NONCE), _LENGTH.unpack(receive_exactly(connection, 2)),
    )  # fmt: skip
    wish = receive_exactly(connection, length)
    if not hmac.compare_digest(proof, _digest(key, b"caller", nonce, theirs, wish)):
        raise ConnectionError("a caller does not know the secret of this job")
    connection.sendall(_digest(key, b"called", theirs, nonce))
    return wish


def answer(connection: socket.socket, key: bytes, wish: bytes = b"") -> None:
    """Prove to the one that was called that we know the secret, say what we want, and check its own proof.

    Raises:
        ConnectionError: the other side is no process of this job, or takes us for none
    """
    if receive_exactly(connection, len(_MAGIC)) != _MAGIC:
        raise ConnectionError("something else than a process of Flambeau answers")
    nonce = receive_exactly(connection, _NONCE)
    own = secrets.token_bytes(_NONCE)
    connection.sendall(_digest(key, b"caller", nonce, own, wish) + own + _LENGTH.pack(len(wish)) + wish)
    try:
        proof = receive_exactly(connection, _DIGEST)
    except ConnectionError:
        raise ConnectionError(f"the other side knows another secret (environment variable {SECRET_VARIABLE})") from None
    if not hmac.compare_digest(proof, _digest(key, b"called", own, nonce)):
        raise ConnectionError(f"the other side knows another secret (environment variable {SECRET_VARIABLE})")
