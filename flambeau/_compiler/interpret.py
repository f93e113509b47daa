"""The meaning of graph nodes, as NumPy: slow, short, and what the kernels are tested against.

Every node's value is an array that owns its memory in the node's order; bfloat16 is held as float32 that is rounded to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau._codegen import scalar
from flambeau._compiler.graph import Graph, Node
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType


def decode(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Stored elements as numbers (bfloat16's bits as float32)."""
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype is dt.bfloat16 else array


def encode(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Numbers as stored elements."""
    if dtype is not dt.bfloat16:
        return array.astype(dtype.numpy, copy=False)
    return (np.asarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


class Interpreter:
    """Evaluates nodes of one graph.

    Args:
        inputs: the memory of each input slot, as flat arrays of bytes (uint8)
        numbers: the run-time scalars
    """

    def __init__(self, graph: Graph, inputs: dict[int, np.ndarray], numbers: list[Any]) -> None:
        self.graph = graph
        self.inputs = inputs
        self.numbers = numbers
        self.values: dict[int, Any] = {}

    def value(self, node: Node) -> Any:
        """The elements of a node, as an array of its shape."""
        if node.index not in self.values:
            for earlier in self._needed(node):
                if earlier.index not in self.values:
                    with np.errstate(all="ignore"):
                        self.values[earlier.index] = getattr(self, "_" + earlier.kind)(earlier)
        return self.values[node.index]

    def _needed(self, node: Node) -> list[Node]:
        seen: set[int] = set()
        stack = [node]
        while stack:
            each = stack.pop()
            if each.index not in seen:
                seen.add(each.index)
                stack.extend(each.args)
        return [self.graph.nodes[index] for index in sorted(seen)]

    def memory(self, node: Node) -> np.ndarray:
        """The elements of a node in the order of its memory, as a flat array."""
        value = self.value(node)
        if node.kind in ("input", "bitcast"):
            return value
        order = lay.memory_order(node.layout)
        return np.ascontiguousarray(np.transpose(value, order)).reshape(-1)

    # -- one method for each kind ----------------------------------------------------------------------------------

    def _input(self, node: Node) -> np.ndarray:
        raw = self.inputs[node.attrs[0]]
        return decode(raw[: raw.size // node.dtype.itemsize * node.dtype.itemsize].view(node.dtype.numpy), node.dtype)

    def _number(self, node: Node) -> np.ndarray:
        index, kind = node.attrs
        number = complex(self.numbers[index], self.numbers[index + 1]) if kind is complex else self.numbers[index]
        return np.asarray(number, node.dtype.numpy)

    def _constant(self, node: Node) -> np.ndarray:
        value = np.asarray(node.attrs[0])
        return np.broadcast_to(scalar.convert(value, _dtype_of(value), node.dtype), node.shape)

    def _iota(self, node: Node) -> np.ndarray:
        axis = node.attrs[0]
        return np.broadcast_to(np.arange(node.shape[axis]).reshape([-1 if other == axis else 1 for other in range(node.ndim)]), node.shape)

    def _map(self, node: Node) -> np.ndarray:
        operands = [self.value(argument) for argument in node.args]
        op = node.attrs[0]
        if op == "copy":
            return operands[0]
        if op == "where":
            return np.where(*operands)
        return scalar.OPS[op].reference(node.args[0].dtype, *operands)

    def _cast(self, node: Node) -> np.ndarray:
        return scalar.convert(self.value(node.args[0]), node.args[0].dtype, node.dtype)

    def _view(self, node: Node) -> np.ndarray:
        offset, bounds = node.attrs
        source = self.memory(node.args[0])
        address, valid = self._addresses(node.shape, node.strides, offset, bounds)
        return np.where(
            valid, source[np.where(valid, address, 0)] if source.size else np.zeros((), source.dtype), np.zeros((), source.dtype)
        )

    def _addresses(self, shape: tuple, strides: tuple, offset: int, bounds: tuple = ()) -> tuple[np.ndarray, np.ndarray]:
        indices = np.indices(shape, sparse=True) if shape else []
        address = np.broadcast_to(np.asarray(offset + sum(stride * index for stride, index in zip(strides, indices, strict=True))), shape)
        valid = np.ones(shape, bool)
        for bound in bounds:
            coordinate = bound.start + sum(factor * index for factor, index in zip(bound.coefficients, indices, strict=True))
            valid &= (coordinate >= 0) & (coordinate < bound.extent)
        return address, valid

    def _gather(self, node: Node) -> np.ndarray:
        strides, offset, index_strides = node.attrs
        source = self.memory(node.args[0])
        address, _ = self._addresses(node.shape, strides, offset)
        for index, stride in zip(node.args[1:], index_strides, strict=True):
            address = address + self.value(index) * stride
        return source[address]

    def _reduce(self, node: Node) -> np.ndarray:
        kind, axes = node.attrs
        source = self.value(node.args[0])
        wide = source.astype(np.float64) if source.dtype == np.float32 and kind in ("sum", "prod") else source
        function = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all}[kind]
        if kind in ("sum", "prod"):
            return function(wide, axis=axes, dtype=wide.dtype).astype(source.dtype)
        if not source.size:
            return np.full(node.shape, scalar.identity(kind, node.dtype), source.dtype)
        return function(source, axis=axes).astype(source.dtype)

    def _contract(self, node: Node) -> np.ndarray:
        batch, m, n, k = node.attrs
        a, b = (self.value(argument) for argument in node.args)
        compute = np.float64 if node.dtype.is_floating_point else np.complex128 if node.dtype.is_complex else node.dtype.numpy
        letters = iter(range(52))
        names = [[next(letters) for _ in range(count)] for count in (batch, m, n, k)]
        result = np.einsum(
            a.astype(compute),
            names[0] + names[1] + names[3],
            b.astype(compute),
            names[0] + names[3] + names[2],
            names[0] + names[1] + names[2],
        )
        return scalar.convert(result, dt.from_numpy(result.dtype), node.dtype)

    def _scan(self, node: Node) -> np.ndarray:
        kind, axis = node.attrs
        source = self.value(node.args[0])
        function: Callable = {"sum": np.cumsum, "prod": np.cumprod, "max": np.maximum.accumulate, "min": np.minimum.accumulate}[kind]
        return function(source, axis=axis).astype(source.dtype)

    def _empty(self, node: Node) -> np.ndarray:
        return np.zeros(node.shape, np.float32 if node.dtype is dt.bfloat16 else node.dtype.numpy)

    def _shaped(self, memory: np.ndarray, node: Node) -> np.ndarray:
        """Flat memory as an array of the node's shape."""
        address, _ = self._addresses(node.shape, node.strides, 0)
        return memory[address]

    def _update(self, node: Node) -> np.ndarray:
        strides, offset = node.attrs
        memory = self.memory(node.args[0]).copy()
        value = self.value(node.args[1])
        address, _ = self._addresses(value.shape, strides, offset)
        memory[address] = value
        return self._shaped(memory, node)

    def _scatter(self, node: Node) -> np.ndarray:
        combine, shape, strides, offset, index_strides = node.attrs
        memory = self.memory(node.args[0]).copy()
        address, _ = self._addresses(shape, strides, offset)
        for index, stride in zip(node.args[2:], index_strides, strict=True):
            address = address + self.value(index) * stride
        value = np.broadcast_to(self.value(node.args[1]), shape).reshape(-1)
        function = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}.get(combine)
        if function is None:
            for place, item in zip(address.reshape(-1), value, strict=True):
                memory[place] = item
        else:
            function.at(memory, address.reshape(-1), value)
        return self._shaped(memory, node)

    def _bitcast(self, node: Node) -> np.ndarray:
        source = node.args[0]
        raw = encode(self.memory(source), source.dtype)
        return decode(np.ascontiguousarray(raw).view(np.uint8).view(node.dtype.numpy), node.dtype)

    def _host(self, node: Node) -> tuple:
        function, statics, _ = node.attrs
        return function(*[encode(self.value(argument), argument.dtype) for argument in node.args], *statics)

    def _item(self, node: Node) -> np.ndarray:
        return decode(np.asarray(self.value(node.args[0])[node.attrs[0]]), node.dtype).reshape(node.shape)

    def _check(self, node: Node) -> None:
        position, detail = (int(self.value(argument)) for argument in node.args)
        if position != (1 << 63) - 1:
            raise node.attrs[0](position, detail)


def _dtype_of(value: np.ndarray) -> DType:
    return dt.from_numpy(value.dtype)
