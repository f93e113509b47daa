"""Functions that are called in other processes, and values that live there.

`docs/distributed.md` tells what crosses, and what happens when something goes wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flambeau.distributed.connect import connect
from flambeau.distributed.rendezvous import rendezvous
from flambeau.distributed.rpc import constants as constants
from flambeau.distributed.rpc import functions as functions
from flambeau.distributed.rpc import gradients
from flambeau.distributed.rpc.agent import CURRENT, Agent, WorkerInfo, current_agent
from flambeau.distributed.rpc.leaving import wait_for_all
from flambeau.distributed.rpc.options import BackendType as BackendType
from flambeau.distributed.rpc.options import RpcBackendOptions as RpcBackendOptions
from flambeau.distributed.rpc.options import TensorPipeRpcBackendOptions as TensorPipeRpcBackendOptions
from flambeau.distributed.rpc.references import RRef as RRef
from flambeau.distributed.store import PrefixStore, Store
from flambeau.futures import Future

__all__ = [
    "BackendType", "RRef", "RpcBackendOptions", "TensorPipeRpcBackendOptions", "WorkerInfo", "get_rpc_timeout", "get_worker_info", "init_rpc",
    "is_available", "remote", "rpc_async", "rpc_sync", "shutdown",
]  # fmt: skip

PyRRef = RRef

_QUIET_PATIENCE = 30.0
"""Seconds that a process gives itself to tell the others that they may leave, too; on a busy machine a few may not be enough."""
_FAILED_PATIENCE = 2.0
"""Seconds that it gives itself to answer what was asked before one of them was lost."""


def is_available() -> bool:
    """Whether functions can be called in other processes: yes."""
    return True


def init_rpc(
    name: str,
    backend: BackendType | None = None,
    rank: int = -1,
    world_size: int | None = None,
    rpc_backend_options: TensorPipeRpcBackendOptions | None = None,
) -> None:
    """Meet the other processes, so that each can call functions in each.

    Args:
        name: this process's, which the others call it by: letters, digits, ``-``, ``_`` and ``:``
        backend: ``BackendType.TENSORPIPE``, which is the only one
        rank, world_size: this process's number, and how many there are; by default what the environment variables say
        rpc_backend_options: where to meet, how long to wait, how many threads

    Raises:
        RuntimeError: it was called before, or another process did not come, or has the same name
        ValueError: what is needed to meet is missing, or the name has other characters
    """
    if CURRENT.agent is not None:
        raise RuntimeError(f"RPC is already initialized: this process is {CURRENT.agent.me.name}")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_:.-]{1,128}", name):
        raise ValueError(f"the name {name!r} must be 1 to 128 letters, digits, '-', '_', '.' or ':'")
    options = TensorPipeRpcBackendOptions() if rpc_backend_options is None else rpc_backend_options
    if not isinstance(options, TensorPipeRpcBackendOptions):
        raise TypeError(f"rpc_backend_options must be TensorPipeRpcBackendOptions, but are {type(options).__name__}")
    store, rank, size = next(rendezvous(options.init_method, rank, -1 if world_size is None else world_size))
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} is none of the {size} of the group: ranks are 0 to {size - 1}")
    turn = store.add(f"rpc/turn/{rank}", 1)  # a store that outlives the group holds addresses of the one before
    store = PrefixStore(f"rpc/{turn}", store)
    workers = _workers(store, name, rank, size)
    lanes, _ = connect(store, rank, size, 1, store.timeout)
    agent = Agent(workers, rank, lanes[0], options)
    agent.store = store  # others who meet at the same place may be there already, and the process that holds it must not take it away
    CURRENT.agent = agent
    agent.begin()


def _workers(store: Store, name: str, rank: int, size: int) -> list[WorkerInfo]:
    """The names of all processes.

    Raises:
        RuntimeError: two have the same
    """
    store.set(f"name/{rank}", name)
    names = [store.get(f"name/{each}").decode() for each in range(size)]
    for number, each in enumerate(names):
        if names.index(each) != number:
            raise RuntimeError(f"RPC worker name {each} is not unique: ranks {names.index(each)} and {number} have it")
    return [WorkerInfo(each, number) for number, each in enumerate(names)]


def shutdown(graceful: bool = True, timeout: float = 0) -> None:
    """Leave the group.

    Args:
        graceful: wait until all processes have called this and nothing is to be done for any of them; else leave at once
        timeout: seconds to wait for the others; 0 for any time

    Raises:
        RuntimeError: ``init_rpc`` was not called; another process has died, or did not come in time
    """
    agent = current_agent()
    patience = 0.0
    try:
        if graceful:
            patience = _FAILED_PATIENCE
            wait_for_all(agent, timeout)
            patience = _QUIET_PATIENCE
    finally:
        agent.close(patience)
        CURRENT.agent = None
        gradients.forget_all()


def get_worker_info(worker_name: str | None = None) -> WorkerInfo:
    """Name and number of a process; of this one, by default.

    Raises:
        RuntimeError: there is no such process
    """
    agent = current_agent()
    return agent.me if worker_name is None else agent.worker(worker_name)


def get_rpc_timeout() -> float:
    """Seconds that a call may take if it does not say."""
    return current_agent().timeout


def _set_rpc_timeout(timeout: float) -> None:
    current_agent().timeout = timeout


def _is_current_rpc_agent_set() -> bool:
    return CURRENT.agent is not None


def _get_current_rpc_agent() -> Agent:
    return current_agent()


def _checked(to: Any, func: Any) -> tuple[Agent, int]:
    if not callable(func):
        raise TypeError(f"function should be callable, but is {func!r}")
    agent = current_agent()
    return agent, agent.worker(to).id


def rpc_async(
    to: str | int | WorkerInfo, func: Callable, args: tuple | None = None, kwargs: dict | None = None, timeout: float = -1.0
) -> Future:
    """Call a function in another process.

    Args:
        to: the process: its name, its number, or its ``WorkerInfo``
        func: the function, which the other process can import by its name
        args, kwargs: its arguments
        timeout: seconds that it may take; 0 for any time, negative for the group's

    Returns:
        The future of the result. Tensors come as copies.

    Raises:
        RuntimeError: there is no such process, or it is gone

    Example::

        future = rpc.rpc_async("worker1", torch.add, args=(torch.ones(2), 3))
        future.wait()  # tensor([4., 4.])
    """
    agent, rank = _checked(to, func)
    return agent.call(rank, func, tuple(args or ()), dict(kwargs or {}), timeout)


def rpc_sync(
    to: str | int | WorkerInfo, func: Callable, args: tuple | None = None, kwargs: dict | None = None, timeout: float = -1.0
) -> Any:
    """Call a function in another process, and wait for the result.

    Args:
        to, func, args, kwargs, timeout: as for ``rpc_async``

    Raises:
        Exception: what the function raised, with the traceback of the other process
        RuntimeError: it took too long, there is no such process, or it is gone
    """
    return rpc_async(to, func, args, kwargs, timeout).wait()


def remote(
    to: str | int | WorkerInfo, func: Callable, args: tuple | None = None, kwargs: dict | None = None, timeout: float = -1.0
) -> RRef:
    """Call a function in another process, which keeps the result.

    Args:
        to, func, args, kwargs, timeout: as for ``rpc_async``; ``func`` may be a class

    Returns:
        A reference to the result, at once.

    Raises:
        RuntimeError: there is no such process, or it is gone
    """
    agent, rank = _checked(to, func)
    return agent.remote(rank, func, tuple(args or ()), dict(kwargs or {}), timeout)
