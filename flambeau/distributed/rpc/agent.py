"""The part of an RPC group that lives in one process: it calls functions in the others, and runs what they call here.

A thread reads what each other process sends. Functions that others call run in a pool of threads; answers are taken in by another pool, so that
a function that waits for an answer never keeps it from coming.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import pickle
import socket
import struct
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

from flambeau import futures
from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.rpc import gradients, pool
from flambeau.distributed.rpc.constants import UNSET_RPC_TIMEOUT
from flambeau.distributed.rpc.functions import is_async
from flambeau.distributed.rpc.options import TensorPipeRpcBackendOptions
from flambeau.distributed.rpc.pool import Clock, Pool, waiting
from flambeau.distributed.rpc.references import Id, Method, References, RRef
from flambeau.distributed.rpc.wire import Message, pack, receive, send, unpack
from flambeau.futures import Future

__all__ = ["Agent", "WorkerInfo", "current_agent"]

_CALL, _MAKE, _ANSWER, _ERROR, _LEND, _RETURN, _LEAVE = range(7)
"""Kinds of messages: call a function; call one, and own its result; its result, or its error; copies of references; the sender leaves."""

_SEND_PATIENCE = struct.pack("ll", 120, 0)
"""Seconds that a process may keep us from sending it anything more, before it is given up."""


@dataclass(frozen=True)
class WorkerInfo:
    """A process of the group: its name, and its number."""

    name: str
    id: int

    def __repr__(self) -> str:
        return f"WorkerInfo(id={self.id}, name={self.name})"


class Reply(Future):
    """The result of a function that runs in another process."""

    def wait(self) -> Any:
        """Wait for the result and return it, or raise what the function raised."""
        if self.done():
            return super().wait()
        with waiting():
            return super().wait()


class _Call(NamedTuple):
    """A call that was not answered yet."""

    reply: Reply
    to: int
    timeout: float
    what: str
    counted: bool


class _Route:
    """What goes to one process, or comes from it (a ``Parcel``)."""

    def __init__(self, agent: Agent, peer: int, tracked: bool = True) -> None:
        self.agent, self.peer, self.tracked = agent, peer, tracked
        self.context: gradients.Context | None = None

    def depart(self, tensors: Any) -> Any:
        return gradients.depart(tensors, self.peer) if self.tracked else None

    def arrive(self, tensors: Any, note: Any) -> None:
        self.context = gradients.arrive(tensors, note, self.peer)

    def lend(self, reference: RRef) -> tuple:
        return self.agent.lend(reference, self.peer)

    def borrow(self, note: tuple) -> RRef:
        owner, number, copy = note
        return RRef._to(self.agent, self.agent.workers[owner], number, copy)


class Agent:
    """This process, as part of an RPC group.

    Args:
        workers: the processes, by their numbers
        rank: this process's number
        connections: with each other process
        options: how many threads there are, and how long to wait
    """

    def __init__(
        self, workers: list[WorkerInfo], rank: int, connections: dict[int, socket.socket], options: TensorPipeRpcBackendOptions
    ) -> None:
        self.workers, self.me, self.options = workers, workers[rank], options
        self.by_name = {each.name: each for each in workers}
        self.timeout = options.rpc_timeout
        self.connections = connections
        self.sending = {peer: threading.Lock() for peer in connections}
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.numbers = itertools.count()
        self.calls: dict[int, _Call] = {}
        self.started = self.pending = self.received = self.finished = self.open = 0
        self.gone: dict[int, str] = {}
        self.closed = False
        self.store: Any = None
        self.on_loss: Callable[[int], Any] = lambda peer: None
        self.references = References(self)
        self.requests, self.answers = Pool(options.num_worker_threads, "flambeau-rpc"), Pool(None, "flambeau-rpc-answers")
        self.internal = Pool(None, "flambeau-rpc-internal")
        self.clock = Clock(self._expire, self.calls.__contains__)
        self.readers = [
            threading.Thread(target=self._read, args=each, name="flambeau-rpc-read", daemon=True) for each in connections.items()
        ]
        for connection in connections.values():
            connection.settimeout(None)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_PATIENCE)

    def begin(self) -> None:
        """Read what the others send, from now on."""
        _agents.add(self)
        for reader in self.readers:
            reader.start()

    # -- calling -----------------------------------------------------------------------------------------------------------

    def worker(self, to: Any) -> WorkerInfo:
        """The process that a name, a number or a ``WorkerInfo`` means.

        Raises:
            RuntimeError: there is none
        """
        if isinstance(to, WorkerInfo):
            to = to.id
        if isinstance(to, str) and to in self.by_name:
            return self.by_name[to]
        if isinstance(to, int) and 0 <= to < len(self.workers):
            return self.workers[to]
        raise RuntimeError(f"Unknown destination worker {to!r}: there are {', '.join(self.by_name)} (or 0 to {len(self.workers) - 1})")

    def call(
        self, to: int, function: Callable, args: tuple, kwargs: dict, timeout: float = UNSET_RPC_TIMEOUT, *, tracked: bool = True,
        counted: bool = True,
    ) -> Reply:  # fmt: skip
        """Call a function in a process.

        Args:
            timeout: seconds that it may take; 0 for any time, negative for the group's
            tracked: whether it belongs to the context of distributed autograd that this thread is in
            counted: whether it is the user's, for which ``shutdown`` waits
        """
        return self._request(_CALL, to, function, args, kwargs, timeout, tracked, counted, None)

    def remote(self, to: int, function: Callable, args: tuple, kwargs: dict, timeout: float) -> RRef:
        """Call a function in a process that will own its result."""
        number = self.references.number()
        if to == self.me.id:
            self.references.make(number, None, to)
            reference = RRef._to(self, self.me, number, None)
            self._request(_MAKE, to, function, args, kwargs, timeout, True, True, (number, None))
            return reference
        copy = self.references.number()
        creation = self._request(_MAKE, to, function, args, kwargs, timeout, True, True, (number, copy))
        return RRef._to(self, self.workers[to], number, copy, creation)

    def _request(
        self, kind: int, to: int, function: Callable, args: tuple, kwargs: dict, timeout: float, tracked: bool, counted: bool,
        makes: tuple | None,
    ) -> Reply:  # fmt: skip
        if self.closed:
            raise RuntimeError(_NOT_THERE)
        packed = pack((function, args, kwargs), RRef, _Route(self, to, tracked))
        seconds = self.timeout if timeout < 0 else timeout
        reply, number = Reply(), next(self.numbers)
        with self.lock:
            if to in self.gone:
                raise DistBackendError(self.gone[to])
            self.calls[number] = _Call(reply, to, seconds, _name(function), counted)
            self.started += counted
            self.pending += counted
        try:
            self._send(to, Message(kind, number, [pickle.dumps((counted, makes)), *packed.parts]))
        except BaseException:
            with self.changed:
                if self.calls.pop(number, None) is not None:
                    self.pending -= counted
                self.started -= counted
            raise
        if seconds > 0:
            self.clock.add(number, seconds)
        return reply

    def _send(self, to: int, message: Message) -> None:
        if to == self.me.id:
            self._take(to, message)
            return
        try:
            with self.sending[to]:
                send(self.connections[to], message)
        except OSError as error:
            self._lose(to, f"cannot be reached: its process has ended, or does not read any more ({error})")
            raise DistBackendError(self.gone[to]) from None

    def lend(self, reference: RRef, peer: int) -> tuple:
        """Send a copy of a reference to a process: its owner is told of it first."""
        copy, number, owner = self.references.number(), reference._id, reference._owner.id
        if owner == self.me.id:
            self.references.lend(number, copy, peer)
        else:
            self._send(owner, Message(_LEND, 0, [pickle.dumps((number, copy, peer))]))
        return owner, number, copy

    def return_copy(self, owner: int, number: Id, copy: Id) -> None:
        """Tell the owner of a value that a copy of its reference is not needed any more."""
        if not self.closed and owner not in self.gone:
            self._send(owner, Message(_RETURN, 0, [pickle.dumps((number, copy))]))

    # -- being called ------------------------------------------------------------------------------------------------------

    def _read(self, peer: int, connection: socket.socket) -> None:
        reason = "has left: it called shutdown()"
        try:
            while (message := receive(connection)).kind != _LEAVE:
                self._take(peer, message)
        except OSError as error:
            reason = f"is gone: its process has ended ({error})"
        except Exception as error:  # such as too little memory: what follows cannot be read, either
            reason = f"sent something that could not be read ({error!r})"
        self._lose(peer, reason)

    def _take(self, sender: int, message: Message) -> None:
        """Begin with what a message asks for."""
        kind = message.kind
        if kind in (_CALL, _MAKE):
            counted, makes = pickle.loads(message.parts[0])
            entry = None if makes is None else self.references.make(*makes, sender)
            with self.lock:
                self.received += counted
                self.open += 1
            workers = self.requests if counted else self.internal
            workers.submit(partial(self._serve, sender, message, counted, entry))
        elif kind in (_ANSWER, _ERROR):
            with self.lock:  # at once, before it can be seen that the sender has left
                call = self.calls.pop(message.number, None)
            self.answers.submit(partial(self._answered, call, sender, message))
        elif kind == _LEND:
            self.references.lend(*pickle.loads(message.parts[0]))
        elif kind == _RETURN:
            self.references.give_back(*pickle.loads(message.parts[0]))

    def _serve(self, sender: int, message: Message, counted: bool, entry: Any) -> None:
        """Run a function for another process, and answer it."""
        route = _Route(self, sender)
        done = partial(self._finish, sender, message.number, counted, entry, route)
        try:
            function, args, kwargs = unpack(message.parts[1:], route)
            with gradients.within(route.context):
                if isinstance(function, Method):
                    function = function()
                result = function(*args, **kwargs)
            del args, kwargs
            if is_async(function):
                if not isinstance(result, Future):
                    raise RuntimeError(
                        f"{_name(function)} is decorated with async_execution and has to return a Future, but returned {type(result).__name__}"
                    )
                result.add_done_callback(lambda future: self.answers.submit(partial(done, future)))
                return
            future: Future = Future()
            future.set_result(result)
        except BaseException as error:
            future = Future()
            future.set_exception(error)
        done(future)

    def _finish(self, sender: int, number: int, counted: bool, entry: Any, route: _Route, future: Future) -> None:
        """Answer a call whose result is there."""
        try:
            try:
                value = future.wait()
                if entry is not None:
                    entry.value.set_result(value)
                    value = None
                with gradients.within(route.context):
                    answer = Message(_ANSWER, number, pack(value, RRef, route).parts)
            except BaseException as error:
                if entry is not None and not entry.value.done():
                    entry.value.set_exception(error)
                answer = Message(_ERROR, number, [_pickled_error(self.me, error)])
            with suppress(DistBackendError):
                self._send(sender, answer)
        finally:
            with self.changed:
                self.finished += counted
                self.open -= 1
                self.changed.notify_all()

    def _answered(self, call: _Call | None, sender: int, message: Message) -> None:
        """Take an answer in, also if the call was given up before: copies of references that come with it are to be given back."""
        route = _Route(self, sender)
        try:
            if message.kind == _ERROR:
                raise _error(message.parts[0])
            value = unpack(message.parts, route)
        except BaseException as error:
            self._settle(call, error=error)
        else:
            self._settle(call, value)

    def _settle(self, call: _Call | None, value: Any = None, error: BaseException | None = None) -> None:
        if call is None:
            return
        if error is None:
            call.reply.set_result(value)
        else:
            call.reply.set_exception(error)
        with self.changed:
            self.pending -= call.counted
            self.changed.notify_all()

    # -- what goes wrong ---------------------------------------------------------------------------------------------------

    def _expire(self, number: int) -> None:
        with self.lock:
            call = self.calls.pop(number, None)
        if call is not None:
            message = f"RPC ran for more than set timeout ({call.timeout * 1000:g} ms): {call.what} on {self.workers[call.to].name}"
            self.answers.submit(partial(self._settle, call, error=RuntimeError(message)))

    def _lose(self, peer: int, reason: str) -> None:
        """A process is gone: those that wait for it are told."""
        with self.lock:
            if peer in self.gone:
                return
            self.gone[peer] = f"{self.workers[peer].name} (rank {peer}) {reason}"
            lost = [self.calls.pop(number) for number, call in list(self.calls.items()) if call.to == peer]
        with suppress(OSError):
            self.connections[peer].shutdown(socket.SHUT_RDWR)
        self.references.lose(peer, DistBackendError(self.gone[peer]))
        for call in lost:
            error = DistBackendError(f"{call.what}: {self.gone[peer]}")
            self.answers.submit(partial(self._settle, call, error=error))
        self.on_loss(peer)
        with self.changed:
            self.changed.notify_all()

    # -- the end -----------------------------------------------------------------------------------------------------------

    def close(self, patience: float) -> None:
        """Leave the group.

        Args:
            patience: seconds that it may take until all that have asked something were answered
        """
        with self.changed:
            self.changed.wait_for(lambda: not self.open, patience)
        self.closed = True
        for peer in self.connections:
            if peer not in self.gone:
                with suppress(DistBackendError):
                    self._send(peer, Message(_LEAVE, 0))
                with suppress(OSError):
                    self.connections[peer].shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _LEAVE_PATIENCE
        for reader in self.readers:
            reader.join(max(0.0, deadline - time.monotonic()))  # until the other side leaves, too: what was sent is read, then
        for peer, connection in self.connections.items():
            self._lose(peer, "has left: this process called shutdown()")
            connection.close()
        for part in (self.clock, self.references, self.requests, self.answers, self.internal):
            part.close()
        self.store = None
        _agents.discard(self)


_LEAVE_PATIENCE = 2.0
"""Seconds that the others have to leave, too."""
_NOT_THERE = "RPC has not been initialized. Call init_rpc first."


class _Current:
    agent: Agent | None = None


CURRENT = _Current()
_agents: weakref.WeakSet[Agent] = weakref.WeakSet()


def current_agent() -> Agent:
    """This process's part of the group.

    Raises:
        RuntimeError: there is none
    """
    if CURRENT.agent is None:
        raise RuntimeError(_NOT_THERE)
    return CURRENT.agent


def _name(function: Any) -> str:
    return function.name if isinstance(function, Method) else getattr(function, "__qualname__", None) or repr(function)


def _pickled_error(where: WorkerInfo, error: BaseException) -> bytes:
    """An error as others will see it: its class, if they can have it, and what it says, with the traceback."""
    text = "".join(traceback.format_exception(type(error), error, _of_the_function(error.__traceback__)))
    try:
        shown = repr(error)
    except Exception:
        shown = f"a {type(error).__name__} that cannot be printed"
    message = f"{where.name} (rank {where.id}) raised {shown}\n\n{text}"
    try:
        return pickle.dumps((type(error), message))
    except Exception:
        return pickle.dumps((RuntimeError, message))


def _of_the_function(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of ours that it begins with."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename in _OWN_FILES:
        found = found.tb_next
    return trace if found is None else found


_OWN_FILES = {__file__, futures.__file__, concurrent.futures._base.__file__}


def _error(pickled: Any) -> BaseException:
    try:
        kind, message = pickle.loads(pickled)
    except Exception as error:
        return RuntimeError(f"the function raised an error of a class that this process does not know ({error})")
    try:
        made = kind(message) if issubclass(kind, Exception) else None
    except Exception:
        made = None
    return RuntimeError(message) if made is None else made


def _after_fork_in_child() -> None:
    """A forked child is no member, and its copies of the connections would keep the others from noticing that its parent is gone."""
    for agent in list(_agents):
        agent.closed = True
        for connection in agent.connections.values():
            connection.close()
    _agents.clear()
    CURRENT.agent = None
    gradients.after_fork_in_child()
    pool.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
