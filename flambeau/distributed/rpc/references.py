"""``RRef``: a value that lives in one process, its owner, and that others can name.

The owner keeps a value as long as somebody holds a copy of its reference. Each copy has a number of its own, which the owner knows before the
copy can be given up: whoever sends a copy tells the owner of it first, by the same connection by which it will tell that its own is not needed.
So nothing has to be waited for. The copies of a process that has died are given up for it.
"""

from __future__ import annotations

import itertools
import queue
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flambeau.distributed.rpc.functions import async_execution
from flambeau.distributed.rpc.pool import waiting
from flambeau.futures import Future

if TYPE_CHECKING:
    from flambeau.distributed.rpc.agent import Agent, WorkerInfo

__all__ = ["Entry", "RRef", "References"]

Id = tuple[int, int]
"""Who made something, and how many it had made before."""


class Entry:
    """A value that this process owns, or that will be there when it has been computed.

    Attributes:
        copies: the number of each copy that another process holds, and which does
        early: copies that were given up before we were told of them
    """

    __slots__ = ("__weakref__", "copies", "early", "id", "made", "value")

    def __init__(self, number: Id) -> None:
        self.id = number
        self.value: Future = Future()
        self.made = False
        self.copies: dict[Id, int] = {}
        self.early: set[Id] = set()

    def wait(self) -> Any:
        """The value."""
        if self.value.done():
            return self.value.wait()
        with waiting():
            return self.value.wait()


class References:
    """The values that this process owns, and the copies that it holds of references to others'."""

    def __init__(self, agent: Agent) -> None:
        self.agent = weakref.ref(agent)
        self.rank = agent.me.id
        self.numbers = itertools.count()
        self.lock = threading.RLock()
        self.known: weakref.WeakValueDictionary[Id, Entry] = weakref.WeakValueDictionary()
        self.kept: dict[Id, Entry] = {}
        self.returned: queue.SimpleQueue = queue.SimpleQueue()
        self.gone: set[int] = set()
        self._thread: threading.Thread | None = None

    def number(self) -> Id:
        """A number that nobody else gives to anything."""
        return self.rank, next(self.numbers)

    # -- as the owner ----------------------------------------------------------------------------------------------------

    def entry(self, number: Id) -> Entry:
        """What a number stands for; its maker may not have told us yet."""
        with self.lock:
            found = self.known.get(number)
            if found is None:
                found = self.known[number] = self.kept[number] = Entry(number)
            return found

    def make(self, number: Id, copy: Id | None, holder: int) -> Entry:
        """Begin to own a value, of which its maker may hold a copy already."""
        with self.lock:
            found = self.entry(number)
            found.made = True
            if copy is not None:
                self.lend(number, copy, holder)
            self._settle(found)
            return found

    def lend(self, number: Id, copy: Id, holder: int) -> None:
        """Somebody has sent a copy to ``holder``."""
        with self.lock:
            found = self.entry(number)
            if copy in found.early:
                found.early.discard(copy)
            elif holder not in self.gone:
                found.copies[copy] = holder
            self._settle(found)

    def give_back(self, number: Id, copy: Id) -> None:
        """A copy is not needed any more."""
        with self.lock:
            found = self.entry(number)
            if found.copies.pop(copy, None) is None:
                found.early.add(copy)
            self._settle(found)

    def _settle(self, entry: Entry) -> None:
        """Keep a value if others hold copies, or else leave it to those that hold it here."""
        if entry.copies or entry.early or not entry.made:
            self.kept[entry.id] = entry
        else:
            self.kept.pop(entry.id, None)

    def lose(self, holder: int, error: Exception) -> None:
        """A process is gone, and with it its copies, and the values that it wanted to make."""
        with self.lock:
            self.gone.add(holder)
            for entry in list(self.kept.values()):
                entry.copies = {copy: rank for copy, rank in entry.copies.items() if rank != holder}
                if not entry.made and entry.id[0] == holder:
                    entry.made = True
                    entry.value.set_exception(error)
                self._settle(entry)

    # -- as the holder of a copy -----------------------------------------------------------------------------------------

    def return_later(self, owner: int, number: Id, copy: Id) -> None:
        """Tell the owner that a copy is not needed; called by the garbage collector, wherever that is."""
        self.returned.put((owner, number, copy))

    def hold(self) -> None:
        """This process holds copies from now on, and will have to return them."""
        if self._thread is None:
            with self.lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._return, name="flambeau-rpc-references", daemon=True)
                    self._thread.start()

    def _return(self) -> None:
        while (entry := self.returned.get()) is not None:
            agent = self.agent()
            if agent is None:
                return
            with suppress(RuntimeError):
                agent.return_copy(*entry)
            del agent

    def close(self) -> None:
        """Forget everything."""
        self.returned.put(None)
        with self.lock:
            self.kept.clear()


class RRef:
    """A reference to a value that lives in one process, for others to call its methods, or to get a copy of it.

    Args:
        value: which this process will own
        type_hint: for PyTorch's sake

    Raises:
        RuntimeError: ``init_rpc`` was not called
    """

    _agent: Agent
    _owner: WorkerInfo
    _id: Id
    _copy: Id | None = None
    _entry: Entry | None = None
    _creation: Future | None = None

    def __init__(self, value: Any, type_hint: Any = None) -> None:
        from flambeau.distributed.rpc.agent import current_agent

        agent = current_agent()
        entry = agent.references.make(agent.references.number(), None, agent.me.id)
        entry.value.set_result(value)
        self._agent, self._owner, self._id, self._entry = agent, agent.me, entry.id, entry

    @classmethod
    def _to(cls, agent: Agent, owner: WorkerInfo, number: Id, copy: Id | None, creation: Future | None = None) -> RRef:
        """The reference to a value of some process; ``copy`` is given back when it is not needed any more."""
        self = object.__new__(cls)
        self._agent, self._owner, self._id, self._creation = agent, owner, number, creation
        if owner is agent.me:
            self._entry = agent.references.entry(number)
            if copy is not None:
                agent.references.give_back(number, copy)
        else:
            self._copy = copy
            agent.references.hold()
        return self

    def __del__(self) -> None:
        if self._copy is not None:
            self._agent.references.return_later(self._owner.id, self._id, self._copy)

    def owner(self) -> WorkerInfo:
        """The process where the value lives."""
        return self._owner

    def owner_name(self) -> str:
        """Its name."""
        return self._owner.name

    def is_owner(self) -> bool:
        """Whether the value lives in this process."""
        return self._entry is not None

    def confirmed_by_owner(self) -> bool:
        """Whether the owner has the value, or knows of this copy of the reference."""
        return self._creation is None or (self._creation.done() and self._creation._future.exception() is None)

    def local_value(self) -> Any:
        """The value itself, in its owner.

        Raises:
            RuntimeError: this process is not the owner
        """
        if self._entry is None:
            raise RuntimeError(
                f"local_value() of {self!r} was called on {self._agent.me.name}: the value lives on {self._owner.name}; to_here() gets a copy"
            )
        return self._entry.wait()

    def to_here(self, timeout: float = -1.0) -> Any:
        """The value, or a copy of it if it lives in another process.

        Args:
            timeout: seconds to wait for it; by default as long as for any call, 0 for ever

        Raises:
            Exception: what the function raised that was to make it
            RuntimeError: it does not come in time, or the owner is gone
        """
        if self._entry is not None:
            return self._entry.wait()
        if self._creation is not None and self._creation.done():
            self._creation.wait()
        return self._agent.call(self._owner.id, _value_of, (self._id,), {}, timeout, counted=False).wait()

    def rpc_sync(self, timeout: float = -1.0) -> _Proxy:
        """Something whose methods call those of the value, and return what they return."""
        return _Proxy(self, "rpc_sync", timeout)

    def rpc_async(self, timeout: float = -1.0) -> _Proxy:
        """Something whose methods call those of the value, and return futures."""
        return _Proxy(self, "rpc_async", timeout)

    def remote(self, timeout: float = -1.0) -> _Proxy:
        """Something whose methods call those of the value, and return references to the results."""
        return _Proxy(self, "remote", timeout)

    def backward(self, dist_autograd_ctx_id: int = -1, retain_graph: bool = False) -> None:
        """Run the backward pass from the value, which is a tensor, where it lives.

        Args:
            dist_autograd_ctx_id: the context in which gradients are collected; without one they are added to the leaves' ``grad``
        """
        arguments = (self, dist_autograd_ctx_id, retain_graph)
        if self._entry is not None:
            _backward(*arguments)
        else:
            self._agent.call(self._owner.id, _backward, arguments, {}, 0).wait()

    def _get_type(self, timeout: float = -1.0, blocking: bool = True) -> Any:
        """The class of the value."""
        if self._entry is not None:
            return type(self._entry.wait())
        future = self._agent.call(self._owner.id, _type_of, (self,), {}, timeout)
        return future.wait() if blocking else future

    def __reduce_ex__(self, protocol: Any) -> tuple:
        raise RuntimeError("Can not pickle rref in python pickler, rref can only be pickled when using RPC")

    def __repr__(self) -> str:
        return f"{'Owner' if self._entry is not None else 'User'}RRef({self._owner.name}: {self._id[1]} of rank {self._id[0]})"


class Method:
    """A method of the value of a reference, to be called by the value's owner."""

    def __init__(self, reference: RRef, name: str) -> None:
        self.reference, self.name = reference, name

    def __call__(self) -> Any:
        """The bound method."""
        return getattr(self.reference.local_value(), self.name)


class _Proxy:
    """Calls the methods of a reference's value."""

    def __init__(self, reference: RRef, how: str, timeout: float) -> None:
        self._reference, self._how, self._timeout = reference, how, timeout

    def __getattr__(self, name: str) -> Any:
        reference, timeout = self._reference, self._timeout

        def call(*args: Any, **kwargs: Any) -> Any:
            agent, owner, method = reference._agent, reference._owner.id, Method(reference, name)
            if self._how == "remote":
                return agent.remote(owner, method, args, kwargs, timeout)
            future = agent.call(owner, method, args, kwargs, timeout)
            return future.wait() if self._how == "rpc_sync" else future

        return call


@async_execution
def _value_of(number: Id) -> Future:
    """The value of ours that a number stands for, once it is there."""
    from flambeau.distributed.rpc.agent import current_agent

    return current_agent().references.entry(number).value


def _type_of(reference: RRef) -> type:
    return type(reference.local_value())


def _backward(reference: RRef, context: int, retain_graph: bool) -> None:
    from flambeau.distributed.rpc import gradients

    value = reference.local_value()
    if context < 0:
        value.backward(retain_graph=retain_graph)
    else:
        gradients.backward(context, [value], retain_graph)
