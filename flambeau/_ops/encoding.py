"""Encodings of classes: one-hot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _infer_one_hot(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous((*operands[0].shape, statics[0]), dt.int64)


def _lower_one_hot(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    shape, classes = layouts[0].shape, operands[0]
    place = graph.iota(shape, len(shape) - 1)
    return graph.cast(place.equals(classes.unsqueeze(classes.ndim).expand(shape)), dt.int64)


ONE_HOT = Operator("_one_hot", ("classes",), ("count",), infer=_infer_one_hot, lower=_lower_one_hot)


def largest(classes: Tensor) -> int:
    """The largest of some int64, read as if they had no sign, so that a negative one is at least 2⁶³."""
    return int(np.maximum.reduce(classes._array().view(np.uint64), axis=None))


def one_hot(classes: Tensor, count: int) -> Tensor:
    """1 where the last index is the class, otherwise 0: int64, one dimension more than ``classes``, of size ``count``."""
    return ONE_HOT(classes, statics=(count,))
