"""PyTorch's compiler of Python, as far as packages ask it something: functions are called as they are here."""

from __future__ import annotations

from typing import Any

from flambeau._dynamo import config as config
from flambeau._dynamo import eval_frame as eval_frame
from flambeau._dynamo.eval_frame import OptimizedModule as OptimizedModule
from flambeau.compiler import allow_in_graph as allow_in_graph
from flambeau.compiler import disable as disable
from flambeau.compiler import is_compiling as is_compiling
from flambeau.compiler import list_backends as list_backends
from flambeau.compiler import reset as reset

__all__ = [
    "OptimizedModule", "allow_in_graph", "assume_constant_result", "config", "disable", "eval_frame", "explain", "graph_break", "is_compiling", "list_backends", "mark_dynamic", "mark_static", "mark_static_address",
    "maybe_mark_dynamic", "optimize", "reset",
]  # fmt: skip


def optimize(*args: Any, **options: Any) -> Any:
    """A decorator that returns the function itself."""
    return lambda function: function


def graph_break(*args: Any, **options: Any) -> None:
    """Have one program end and the next begin: programs end where a value is looked at."""


def mark_dynamic(t: Any, index: Any, **options: Any) -> None:
    """Say that a size differs from call to call: kernels take any size."""


maybe_mark_dynamic = mark_dynamic


def mark_static(t: Any, index: Any = None) -> None:
    """Say that a size never changes: kernels take any size."""


mark_static_address = mark_static


def assume_constant_result(fn: Any) -> Any:
    """Say that a function gives the same value at every call; it is called all the same."""
    return fn


def explain(f: Any, *args: Any, **options: Any) -> Any:
    """Raises ``NotImplementedError``: functions are not traced; ``flambeau.explain`` shows what was compiled."""
    raise NotImplementedError(
        "torch._dynamo.explain: functions are called, not traced; flambeau.explain(tensor) shows the kernels that compute it"
    )
