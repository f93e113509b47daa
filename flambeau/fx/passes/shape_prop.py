"""The shape and dtype of every value of a graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau.fx.interpreter import Interpreter
from flambeau.fx.node import Node, leaves, map_aggregate

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is known of a tensor besides its numbers."""

    shape: flambeau.Size
    dtype: flambeau.dtype
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: Any
    is_quantized: bool
    qparams: dict[str, Any]


def _metadata(tensor: Tensor) -> TensorMetadata:
    formats = (flambeau.contiguous_format, flambeau.channels_last, flambeau.channels_last_3d)
    fitting = [
        each
        for each in formats
        if (each is formats[0] or tensor.dim() == {formats[1]: 4, formats[2]: 5}[each]) and tensor.is_contiguous(memory_format=each)
    ]
    return TensorMetadata(tensor.shape, tensor.dtype, tensor.requires_grad, tensor.stride(), fitting[0] if fitting else None, False, {})


class ShapeProp(Interpreter):
    """Runs a graph and notes in each node's `meta` the `type` of its value, and of tensors the `tensor_meta`."""

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if any(isinstance(leaf, Tensor) for leaf in leaves(result)):
            n.meta["tensor_meta"] = map_aggregate(result, lambda leaf: _metadata(leaf) if isinstance(leaf, Tensor) else leaf)
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """Run with some arguments, and return the result."""
        return self.run(*args)
