"""Gradients through functions that were called in other processes.

Example::

    with dist_autograd.context() as context_id:
        loss = rpc.rpc_sync("worker1", forward, args=(x,)).sum()
        dist_autograd.backward(context_id, [loss])
        dist_autograd.get_gradients(context_id)
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from flambeau import Tensor
from flambeau.distributed.rpc import gradients
from flambeau.distributed.rpc.agent import current_agent

__all__ = ["backward", "context", "get_gradients", "is_available"]


def is_available() -> bool:
    """Whether passes can go through several processes: yes."""
    return True


class context:
    """The context of a forward and a backward pass, for this thread and for all that it has others do.

    Entering it gives the number by which ``backward`` and ``get_gradients`` know it, in all processes.

    Raises:
        RuntimeError: the thread is in a context already, or ``init_rpc`` was not called
    """

    def __enter__(self) -> int:
        if gradients.current() is not None:
            raise RuntimeError(f"Already have an autograd context with id {gradients.current().id} for this thread: leave it first")
        self._context = gradients.make(current_agent().me.id)
        gradients.enter(self._context)
        return self._context.id

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        gradients.enter(None)
        gradients.release(self._context.id)


def backward(context_id: int, roots: Sequence[Tensor], retain_graph: bool = False) -> None:
    """Find the gradients of the sum of scalars, in all processes that had a part in computing them.

    They are collected in the context, and not in ``grad``; each process asks for those of its own leaves by ``get_gradients``.

    Args:
        context_id: the number of the context in which the roots were computed
        roots: the scalars
        retain_graph: whether there will be another pass

    Raises:
        RuntimeError: a root is no scalar or does not require grad, the context is not known here, or another process fails
    """
    gradients.backward(context_id, roots, retain_graph)


def get_gradients(context_id: int) -> dict[Tensor, Tensor]:
    """The gradients that passes have found for the leaves of this process.

    Raises:
        RuntimeError: the context is not known here
    """
    return dict(gradients.find(context_id).gradients)
