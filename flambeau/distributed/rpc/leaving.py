"""How the processes of an RPC group find out that nothing is to be done any more.

Each waits until it has no call open and runs none, and tells process 0 how many calls it has made and how many it has served. A call may still be
on its way, or have made somebody call again. So process 0 lets everybody leave when it is told the same numbers twice, and as many calls
were served as were made; else it asks again.
"""

from __future__ import annotations

import threading
import time

from flambeau.distributed.errors import DistBackendError
from flambeau.distributed.rpc.agent import Agent, current_agent
from flambeau.distributed.rpc.functions import async_execution
from flambeau.futures import Future

__all__ = ["wait_for_all"]


class _Count:
    """What process 0 was told."""

    def __init__(self, size: int) -> None:
        self.size, self.lock = size, threading.Lock()
        self.told: dict[int, tuple[int, int]] = {}
        self.before: tuple[int, int] | None = None
        self.answer: Future = Future()
        self.failure: str | None = None

    def tell(self, rank: int, made: int, served: int) -> Future:
        """Take the numbers of a process, and return the future of whether it may leave."""
        with self.lock:
            answer = self.answer
            if self.failure is not None:
                raise DistBackendError(self.failure)
            self.told[rank] = made, served
            if len(self.told) < self.size:
                return answer
            total = sum(made for made, _ in self.told.values()), sum(served for _, served in self.told.values())
            over = total == self.before and total[0] == total[1]
            self.before, self.told, self.answer = total, {}, Future()
        answer.set_result(over)
        return answer

    def fail(self, reason: str) -> None:
        """A process is gone, whose numbers nobody will tell."""
        with self.lock:
            if self.failure is not None:
                return
            self.failure = reason
            answer = self.answer
        answer.set_exception(DistBackendError(reason))


def _count(agent: Agent) -> _Count:
    return agent.__dict__.setdefault("_leaving", _Count(len(agent.workers)))


@async_execution
def _tell(rank: int, made: int, served: int) -> Future:
    return _count(current_agent()).tell(rank, made, served)


def wait_for_all(agent: Agent, timeout: float) -> None:
    """Wait until all processes have come here, and nothing is to be done.

    Args:
        timeout: seconds; 0 for any time

    Raises:
        RuntimeError: the time is over, or a process is gone
    """
    deadline = time.monotonic() + timeout if timeout > 0 else None
    count = _count(agent)
    if agent.me.id == 0:
        agent.on_loss = lambda peer: count.fail(f"shutdown: {agent.gone[peer]}")
        for peer in list(agent.gone):
            agent.on_loss(peer)
    try:
        while not _may_leave(agent, deadline):
            pass
    except BaseException as error:
        count.fail(f"shutdown: {agent.me.name} has given up ({error})")  # which tells those that wait for process 0
        raise


def _may_leave(agent: Agent, deadline: float | None) -> bool:
    made, served = _quiet(agent, deadline)
    return _in_time(agent.call(0, _tell, (agent.me.id, made, served), {}, 0, tracked=False, counted=False), deadline)


def _in_time(answer: Future, deadline: float | None) -> bool:
    """Whether this process may leave, which process 0 says when all have told it their numbers."""
    told = threading.Event()
    answer.add_done_callback(lambda _: told.set())
    if not told.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
        raise RuntimeError("shutdown: timed out while other processes have not called it, or still have something to do")
    return answer.wait()


def _quiet(agent: Agent, deadline: float | None) -> tuple[int, int]:
    """How many calls were made and served, when none is open."""

    def quiet() -> bool:
        return agent.received == agent.finished and not agent.pending

    with agent.changed:
        while not quiet():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise RuntimeError("shutdown: timed out while calls are open")
            agent.changed.wait(left)
        return agent.started, agent.finished
