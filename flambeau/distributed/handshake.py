"""Proof that whoever connects belongs to the job: both sides know a secret, which is never sent.

The one that is called sends a random number, the caller answers with its keyed digest, what it wants, and a number of its own, whose digest
it gets back. Until then nothing that was received is interpreted, so that a stranger who finds the port gets an end of file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket
import struct

__all__ = ["answer", "challenge", "receive_exactly", "secret"]

_MAGIC = b"flambeau.distributed 1\n"
_NONCE = 32
_LENGTH = struct.Struct("<H")

SECRET_VARIABLE = "FLAMBEAU_DISTRIBUTED_SECRET"


def secret() -> bytes:
    """What all processes of a job know: an environment variable, which ``flambeau.distributed.run`` sets."""
    return os.environ.get(SECRET_VARIABLE, "").encode()


def _digest(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(_MAGIC + key, b"\0".join(parts), hashlib.sha256).digest()


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes.

    Raises:
        ConnectionError: the other side has closed the connection
    """
    received = bytearray()
    while len(received) < count:
        some = connection.recv(min(count - len(received), 1 << 20))
        if not some:
            raise ConnectionError("the connection was closed")
        received += some
    return bytes(received)


def challenge(connection: socket.socket, key: bytes) -> bytes:
    """Ask a caller for its proof, give ours, and return what it wants.

    Raises:
        ConnectionError: the caller does not know the secret
        OSError: it has closed the connection, or is silent
    """
    nonce = secrets.token_bytes(_NONCE)
    connection.sendall(_MAGIC + nonce)
    proof, theirs, (length,) = (
        receive_exactly(connection, 32), receive_exactly(connection, _NONCE), _LENGTH.unpack(receive_exactly(connection, 2)),
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
        proof = receive_exactly(connection, 32)
    except ConnectionError:
        raise ConnectionError(f"the other side knows another secret (environment variable {SECRET_VARIABLE})") from None
    if not hmac.compare_digest(proof, _digest(key, b"called", own, nonce)):
        raise ConnectionError(f"the other side knows another secret (environment variable {SECRET_VARIABLE})")
