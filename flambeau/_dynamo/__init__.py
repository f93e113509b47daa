"""PyTorch's compiler of Python, as far as packages ask it something: functions are called as they are here."""

from __future__ import annotations

from flambeau._dynamo import eval_frame as eval_frame
from flambeau._dynamo.eval_frame import OptimizedModule as OptimizedModule
from flambeau.compiler import allow_in_graph as allow_in_graph
from flambeau.compiler import disable as disable
from flambeau.compiler import is_compiling as is_compiling
from flambeau.compiler import reset as reset

__all__ = ["OptimizedModule", "allow_in_graph", "disable", "eval_frame", "is_compiling", "reset"]
