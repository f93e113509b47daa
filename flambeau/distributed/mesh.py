"""A mesh: a connection between every two processes of a group, and the one thing that is done with them, an exchange.

```
rank 0   frame: "all_reduce(float32[3], sum)", 12 bytes ──▶  rank 1
         ◀── frame: "all_reduce(float32[3], sum)", 12 bytes
```

In an exchange every process sends each other one a frame and receives one from it; so that all know afterwards that all have come, and that
they have called the same. The bytes follow the frame, or lie in memory that the processes share if they are on one machine. All collectives
are made of exchanges (``collectives.py``).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy

from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.shared_memory import SharedSlots

__all__ = ["Mesh"]

_HEAD = struct.Struct("<BHIQ")
_INLINE, _SHARED, _FAILED = range(3)
"""What a frame says: the bytes follow, or lie in shared memory; or the sender has given up, for the reason that follows."""

_NOTHING = numpy.empty(0, numpy.uint8)


class _Transfer:
    """One exchange with one peer: a frame that goes out and one that comes in."""

    __slots__ = (
        "connection",
        "expected",
        "filled",
        "frame",
        "head",
        "label",
        "nbytes",
        "outgoing",
        "payload",
        "peer",
        "received",
        "unread",
    )

    def __init__(self, peer: int, connection: socket.socket, unread: bytearray, outgoing: list, label: bytes, nbytes: int | None) -> None:
        self.peer, self.connection, self.unread, self.outgoing = peer, connection, unread, outgoing
        self.label, self.expected = label, nbytes
        self.head: tuple | None = None
        self.payload, self.filled, self.received = _NOTHING, 0, False

    def progress(self) -> bool:
        """Send and receive what goes without waiting; whether all of it is done."""
        try:
            while self.outgoing:
                self._sent(self.connection.sendmsg(self.outgoing))
        except BlockingIOError:
            pass
        except OSError as error:
            if not self._farewell():
                raise self.gone(error) from None
        try:
            while not self.received:
                self._receive()
        except BlockingIOError:
            pass
        except OSError as error:
            raise self.gone(error) from None
        return self.received and not self.outgoing

    def _sent(self, count: int) -> None:
        outgoing = self.outgoing
        while outgoing and count >= len(outgoing[0]):
            count -= len(outgoing.pop(0))
        if count:
            outgoing[0] = outgoing[0][count:]

    def _farewell(self) -> bool:
        """Whether there is something to be read still, though the peer does not read any more."""
        self.outgoing.clear()
        return not self.received

    def _receive(self) -> None:
        unread = self.unread
        if self.head is None:
            if len(unread) < _HEAD.size or len(unread) < _HEAD.size + _HEAD.unpack_from(unread)[1]:
                some = self.connection.recv(4096)
                if not some:
                    raise ConnectionError("end of file")
                unread += some
                return
            self._begin()
        elif self.filled < self.payload.nbytes:
            count = self.connection.recv_into(memoryview(self.payload)[self.filled :])
            if not count:
                raise ConnectionError("end of file")
            self.filled += count
        if self.filled == self.payload.nbytes:
            self.received = True
            if self.head[0] == _FAILED:
                raise DistBackendError(self.payload.tobytes().decode(errors="replace"))

    def _begin(self) -> None:
        """Read the head of the frame and its label, which must be ours."""
        unread = self.unread
        self.head = kind, length, _, nbytes = _HEAD.unpack_from(unread)
        label = bytes(unread[_HEAD.size : _HEAD.size + length])
        del unread[: _HEAD.size + length]
        if kind != _FAILED:
            if label != self.label:
                raise DistBackendError(
                    f"processes disagree: rank {self.peer} called {label.decode(errors='replace')}, this one {self.label.decode()}"
                )
            if self.expected is not None and nbytes != self.expected:
                raise DistBackendError(f"{label.decode()}: rank {self.peer} sends {nbytes} bytes where {self.expected} are expected")
        if kind == _SHARED:
            return
        self.payload = numpy.empty(nbytes, numpy.uint8)
        self.filled = min(nbytes, len(unread))
        if self.filled:
            self.payload[: self.filled] = numpy.frombuffer(bytes(unread[: self.filled]), numpy.uint8)
            del unread[: self.filled]

    def gone(self, error: OSError) -> DistBackendError:
        return DistBackendError(f"{self.label.decode()}: rank {self.peer} is gone: its process has ended or has left the group ({error})")


class Mesh:
    """The connections of one process with all others of a group.

    Args:
        rank, size: this process's number in the group, and how many there are
        connections: a socket for each other process
        timeout: seconds that an exchange may take
        shared: whether all are on one machine, and share memory
    """

    def __init__(self, rank: int, size: int, connections: Mapping[int, socket.socket], timeout: float, shared: bool) -> None:
        self.rank, self.size, self.timeout = rank, size, timeout
        self.connections = dict(connections)
        self.failure: str | None = None
        self.slots = SharedSlots(rank, self.connections) if shared and size > 1 else None
        for connection in self.connections.values():
            connection.setblocking(False)
        self._unread = {peer: bytearray() for peer in self.connections}

    def exchange(self, outgoing: Sequence[numpy.ndarray | None], incoming: Sequence[int | None], label: bytes) -> list[numpy.ndarray]:
        """Send each process its array of bytes, and return what they have sent; it may be read until the next exchange.

        Args:
            outgoing: an array for each process, or ``None``; the one for this process is returned as it is
            incoming: how many bytes each is expected to send; ``None`` if that is not known
            label: what is called, which all must agree on

        Raises:
            DistBackendError: a process is gone, is silent for too long, or calls something else. The mesh is broken then.
        """
        if self.failure is not None:
            raise DistBackendError(f"{label.decode()}: this group does not work any more, since {self.failure}")
        try:
            return self._exchange(outgoing, incoming, label)
        except BaseException as error:
            self.abort(str(error) if isinstance(error, Exception) else f"rank {self.rank} was interrupted ({type(error).__name__})")
            raise

    def _exchange(self, outgoing: Sequence, incoming: Sequence, label: bytes) -> list[numpy.ndarray]:
        rank, slots = self.rank, self.slots
        mine, expected = outgoing[rank], incoming[rank]
        if mine is not None and expected is not None and mine.nbytes != expected:
            raise DistBackendError(f"{label.decode()}: rank {rank} sends itself {mine.nbytes} bytes where {expected} are expected")
        places = None
        if slots is not None:
            places = slots.publish([None if peer == rank else array for peer, array in enumerate(outgoing)])
        transfers = []
        for peer, connection in self.connections.items():
            array = outgoing[peer]
            nbytes = 0 if array is None else array.nbytes
            if places is not None:
                frame = [_HEAD.pack(_SHARED, len(label), places[peer], nbytes) + label]
            else:
                frame = [_HEAD.pack(_INLINE, len(label), 0, nbytes) + label]
                if nbytes:
                    frame.append(memoryview(array))
            transfers.append(_Transfer(peer, connection, self._unread[peer], frame, label, incoming[peer]))
        self._finish(transfers, label)
        found: list[numpy.ndarray] = [_NOTHING if mine is None else mine] * self.size
        for transfer in transfers:
            kind, _, place, nbytes = transfer.head
            found[transfer.peer] = slots.read(transfer.peer, place, nbytes) if kind == _SHARED else transfer.payload
        return found

    def _finish(self, transfers: list[_Transfer], label: bytes) -> None:
        deadline = time.monotonic() + self.timeout
        pending = transfers
        while pending := [transfer for transfer in pending if not transfer.progress()]:
            left = deadline - time.monotonic()
            if left <= 0:
                silent = ", ".join(str(transfer.peer) for transfer in pending)
                raise DistBackendError(f"{label.decode()}: timed out after {self.timeout:g} seconds without a word from rank(s) {silent}")
            poll = select.poll()
            for transfer in pending:
                poll.register(
                    transfer.connection, (0 if transfer.received else select.POLLIN) | (select.POLLOUT if transfer.outgoing else 0)
                )
            poll.poll(max(1, int(left * 1000)))

    def gather_all(self, array: numpy.ndarray, label: bytes) -> list[numpy.ndarray]:
        """The arrays of all processes, which are of one size."""
        return self.exchange([array] * self.size, [array.nbytes] * self.size, label)

    def abort(self, reason: str) -> None:
        """Tell the others why this process gives up, and close the connections."""
        if self.failure is not None:
            return
        self.failure = reason
        text = reason.encode()[:4000]
        for connection in self.connections.values():
            with suppress(OSError):
                connection.sendall(_HEAD.pack(_FAILED, 0, 0, len(text)) + text)
        self.close()

    def close(self) -> None:
        """Leave: the others will see that this process is gone."""
        if self.failure is None:
            self.failure = "the group was destroyed"
        for connection in self.connections.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)  # what was sent is delivered all the same
            connection.close()
