"""Messages between two processes: what ``send`` and ``recv`` are made of.

A thread reads whatever comes, so that no sender waits for a receiver that is busy with something else, and two processes may send to each
other before either receives. Messages of one sender with one tag are received in the order in which they were sent.
"""

from __future__ import annotations

import queue
import select
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy

from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.handshake import receive_into
from flambeau.futures import Future

__all__ = ["Mailbox", "Message"]

_HEAD = struct.Struct("<qHQ")
_GIVES_UP = -(1 << 63)
"""The tag of a message whose label says why its sender will send nothing more."""
_NOTHING = numpy.empty(0, numpy.uint8)
_AT_ONCE = 64 << 10
"""Bytes up to which an ``isend`` is left to the system's buffers; more is sent by a thread."""


class Message(NamedTuple):
    """Something that was received: who sent it, what it says it is, and its bytes."""

    sender: int
    label: str
    payload: numpy.ndarray


class _Request(NamedTuple):
    """Somebody who waits for a message; ``deliver`` makes of it what the future gets."""

    sender: int | None
    deliver: Callable[[Message], Any]
    future: Future


class Mailbox:
    """The messages of one process of a group.

    Args:
        rank: this process's number in the group
        connections: a socket for each other process
        timeout: seconds that a message may take once it has begun
    """

    def __init__(self, rank: int, connections: Mapping[int, socket.socket], timeout: float) -> None:
        self.rank, self.connections = rank, dict(connections)
        self.lock = threading.Lock()
        self.arrived: dict[int, deque[Message]] = defaultdict(deque)  # by tag
        self.requests: dict[int, list[_Request]] = defaultdict(list)  # by tag
        self.gone: dict[int, str] = {}
        self.outbox: queue.SimpleQueue | None = None
        self.sending = {peer: threading.Lock() for peer in self.connections}
        self.unsent = 0
        for connection in self.connections.values():
            connection.settimeout(timeout)
        if self.connections:
            threading.Thread(target=self._read, name="flambeau-messages", daemon=True).start()

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, sender: int | None, tag: int, deliver: Callable[[Message], Any]) -> Future:
        """The future of what ``deliver`` makes of the next message with a tag, of one sender or of any."""
        request = _Request(sender, deliver, Future())
        with self.lock:
            waiting = self.arrived[tag]
            message = next((each for each in waiting if sender is None or each.sender == sender), None)
            if message is not None:
                waiting.remove(message)
            elif sender in self.gone:
                request.future.set_exception(DistBackendError(self.gone[sender]))
                return request.future
            elif sender is None and len(self.gone) == len(self.connections):
                request.future.set_exception(DistBackendError("there is nobody left to send something"))
                return request.future
            else:
                self.requests[tag].append(request)
                return request.future
        _settle(request, message)
        return request.future

    def cancel(self, future: Future) -> None:
        """Nobody waits for this any more."""
        with self.lock:
            for requests in self.requests.values():
                requests[:] = [each for each in requests if each.future is not future]

    def _read(self) -> None:
        poll = select.poll()
        peers = {connection.fileno(): peer for peer, connection in self.connections.items()}
        for descriptor in peers:
            poll.register(descriptor, select.POLLIN)
        while peers:
            for descriptor, _ in poll.poll():
                peer = peers[descriptor]
                try:
                    tag, message = self._read_message(peer)
                except OSError as error:
                    poll.unregister(descriptor)
                    del peers[descriptor]
                    self._lose(peer, f"rank {peer} is gone: its process has ended or has left the group ({error})")
                else:
                    if tag == _GIVES_UP:
                        self._lose(peer, f"rank {peer} has given up: {message.label}")
                    else:
                        self._deliver(tag, message)

    def _read_message(self, peer: int) -> tuple[int, Message]:
        connection = self.connections[peer]
        head = receive_into(connection, bytearray(_HEAD.size))
        tag, length, nbytes = _HEAD.unpack(head)
        label = receive_into(connection, bytearray(length)).decode(errors="replace")
        return tag, Message(peer, label, receive_into(connection, numpy.empty(nbytes, numpy.uint8)))

    def _deliver(self, tag: int, message: Message) -> None:
        with self.lock:
            requests = self.requests[tag]
            request = next((each for each in requests if each.sender in (None, message.sender)), None)
            if request is None:
                self.arrived[tag].append(message)
                return
            requests.remove(request)
        _settle(request, message)

    def _lose(self, peer: int, reason: str) -> None:
        with self.lock:
            reason = self.gone.setdefault(peer, reason)  # the first one says more
            nobody = len(self.gone) == len(self.connections)
            lost = []
            for requests in self.requests.values():
                these = [each for each in requests if each.sender == peer or (nobody and each.sender is None)]
                requests[:] = [each for each in requests if each not in these]
                lost += these
        for request in lost:
            request.future.set_exception(DistBackendError(reason))

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, peer: int, tag: int, array: numpy.ndarray, label: str) -> None:
        """Send an array of bytes; it may be changed afterwards.

        Raises:
            DistBackendError: the peer is gone
        """
        if self.unsent:
            self._queue(peer, tag, array, label).wait()
        else:
            self._send(peer, tag, array, label)

    def send_later(self, peer: int, tag: int, array: numpy.ndarray, label: str) -> Future:
        """The future of a sending; the array must stay as it is until then."""
        if self.unsent or array.nbytes > _AT_ONCE:
            return self._queue(peer, tag, array, label)
        future: Future = Future()
        self._send(peer, tag, array, label)
        future.set_result(None)
        return future

    def _send(self, peer: int, tag: int, array: numpy.ndarray, label: str) -> None:
        text = label.encode()
        try:
            with self.sending[peer]:
                self.connections[peer].sendall(_HEAD.pack(tag, len(text), array.nbytes) + text)
                if array.nbytes:
                    self.connections[peer].sendall(array)
        except OSError as error:
            why = self.gone.get(peer, f"its process has ended or has left the group ({error})")
            raise DistBackendError(f"cannot send to rank {peer}: {why}") from None

    def _queue(self, peer: int, tag: int, array: numpy.ndarray, label: str) -> Future:
        future: Future = Future()
        with self.lock:
            self.unsent += 1
            if self.outbox is None:
                self.outbox = queue.SimpleQueue()
                threading.Thread(target=self._send_queued, args=(self.outbox,), name="flambeau-send", daemon=True).start()
        self.outbox.put((peer, tag, array, label, future))
        return future

    def _send_queued(self, outbox: queue.SimpleQueue) -> None:
        while (job := outbox.get()) is not None:
            *message, future = job
            try:
                self._send(*message)
                result: Exception | None = None
            except Exception as error:
                result = error
            with self.lock:
                self.unsent -= 1
            if result is None:
                future.set_result(None)
            else:
                future.set_exception(result)

    def abort(self, reason: str) -> None:
        """Leave, and tell the others why."""
        for peer in self.connections:
            with suppress(DistBackendError):
                self._send(peer, _GIVES_UP, _NOTHING, reason[:4000])
            self._lose(peer, f"this process has given up: {reason}")
        self.close()

    def close(self) -> None:
        """Leave."""
        if self.outbox is not None:
            self.outbox.put(None)
        for connection in self.connections.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # which ends the reader, too
            connection.close()


def _settle(request: _Request, message: Message) -> None:
    try:
        request.future.set_result(request.deliver(message))
    except Exception as error:
        request.future.set_exception(error)
