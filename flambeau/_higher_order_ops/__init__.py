"""Functions that take functions: control flow and scans, of tensors and of what is made of them (PyTorch's prototypes)."""

from __future__ import annotations

from flambeau._control import cond as cond
from flambeau._control import while_loop as while_loop
from flambeau._higher_order_ops.associative_scan import associative_scan as associative_scan
from flambeau._higher_order_ops.map import map as map
from flambeau._higher_order_ops.scan import scan as scan
from flambeau.nn.attention.flex_attention import flex_attention as flex_attention

__all__ = ["associative_scan", "cond", "flex_attention", "map", "scan", "while_loop"]
