"""The meaning of graph nodes, as NumPy: slow, short, and what the kernels are tested against.

Every node's value is an array of its shape and of its dtype as NumPy stores it (bfloat16 as its bits in uint16), whatever the
order of its memory. Sums and products are accumulated in float64, so that kernels differ from them by rounding only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau._codegen import scalar
from flambeau._codegen.bundles import PAIRS
from flambeau._codegen.linear import reference
from flambeau._codegen.scalar.reference import decode, encode
from flambeau._codegen.steps import STEPS
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node, Rows
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

_CALLS: dict[str, Callable] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gate": lambda x, y: np.where(y > 0, x, 0),
}


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
            with np.errstate(all="ignore"):
                for earlier in self._needed(node):
                    self.values[earlier.index] = getattr(self, "_" + earlier.kind)(earlier)
        return self.values[node.index]

    def _needed(self, node: Node) -> list[Node]:
        """What is to be evaluated for a node, in order."""
        seen: set[int] = set()
        stack = [node]
        while stack:
            each = stack.pop()
            if each.index not in seen and each.index not in self.values:
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

    def check(self) -> None:
        """Evaluate all checks of the graph.

        Raises:
            Exception: the error of the first one that fails.
        """
        for node in self.graph.checks:
            self.value(node)

    # -- where elements lie ----------------------------------------------------------------------------------------

    def _addresses(self, shape: tuple, strides: tuple, offset: int, bounds: tuple = ()) -> tuple[np.ndarray, np.ndarray]:
        """For each element its place in memory, and whether it is within the bounds."""
        indices = np.indices(shape, sparse=True) if shape else ()
        address = np.broadcast_to(np.asarray(offset + sum(stride * index for stride, index in zip(strides, indices, strict=True))), shape)
        valid = np.ones(shape, bool)
        for bound in bounds:
            coordinate = bound.start + sum(factor * index for factor, index in zip(bound.coefficients, indices, strict=True))
            valid &= (coordinate >= 0) & (coordinate < bound.extent)
        return address, valid

    def _shaped(self, memory: np.ndarray, node: Node) -> np.ndarray:
        """Flat memory as an array of the node's shape."""
        return memory[self._addresses(node.shape, node.strides, 0)[0]]

    # -- one method for each kind: sources -------------------------------------------------------------------------

    def _input(self, node: Node) -> np.ndarray:
        raw, itemsize = self.inputs[node.attrs[0]], node.dtype.itemsize
        return raw[: raw.size // itemsize * itemsize].view(node.dtype.numpy)

    def _number(self, node: Node) -> np.ndarray:
        index, kind = node.attrs
        number = complex(self.numbers[index], self.numbers[index + 1]) if kind is complex else kind(self.numbers[index])
        return encode(np.asarray(number), node.dtype)

    def _constant(self, node: Node) -> np.ndarray:
        value = np.asarray(node.attrs[0])
        return np.broadcast_to(scalar.convert(value, dt.from_numpy(value.dtype), node.dtype), node.shape)

    def _iota(self, node: Node) -> np.ndarray:
        axis = node.attrs[0]
        along = [-1 if other == axis else 1 for other in range(node.ndim)]
        return np.broadcast_to(np.arange(node.shape[axis], dtype=np.int64).reshape(along), node.shape)

    def _empty(self, node: Node) -> np.ndarray:
        return np.zeros(node.shape, node.dtype.numpy)

    # -- elementwise and views -------------------------------------------------------------------------------------

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
        source = self.memory(node.args[0])
        address, valid = self._addresses(node.shape, node.strides, *node.attrs)
        if not valid.any():
            return np.zeros(node.shape, source.dtype)
        return np.where(valid, source[np.where(valid, address, 0)], np.zeros((), source.dtype))

    def _bitcast(self, node: Node) -> np.ndarray:
        raw = np.ascontiguousarray(self.memory(node.args[0])).view(np.uint8)
        return raw[: raw.size // node.dtype.itemsize * node.dtype.itemsize].view(node.dtype.numpy)

    # -- sums and products -----------------------------------------------------------------------------------------

    def _reduce(self, node: Node) -> np.ndarray:
        kind, axes = node.attrs
        source = self.value(node.args[0])
        if not source.size:
            return np.full(node.shape, encode(np.asarray(scalar.identity(kind, node.dtype)), node.dtype))
        functions = {"sum": np.sum, "squares": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all}
        function = functions[kind]
        wide = decode(source, node.args[0].dtype)
        if kind == "squares":
            wide = wide * wide
        return encode(np.asarray(function(wide, axis=axes)), node.dtype)

    def _scan(self, node: Node) -> np.ndarray:
        kind, axis = node.attrs
        function: Callable = {
            "sum": np.cumsum,
            "prod": np.cumprod,
            "max": np.maximum.accumulate,
            "min": np.minimum.accumulate,
            "logaddexp": np.logaddexp.accumulate,
        }[kind]
        return encode(function(decode(self.value(node.args[0]), node.dtype), axis=axis), node.dtype)

    def _contract(self, node: Node) -> np.ndarray:
        batch, m, n, k, bundle = node.attrs
        wide = np.float64 if node.dtype.is_floating_point else np.complex128 if node.dtype.is_complex else node.dtype.numpy
        a, b = (self.value(argument) for argument in node.args)
        letters = iter(range(52))
        batches, rows, columns, summed = ([next(letters) for _ in range(count)] for count in (batch, m, n, k))
        if bundle:
            a, b = (_halves(each) if bundle == PAIRS else _bytes(each, name == bundle) for each, name in ((a, "a"), (b, "b")))
            last = [next(letters)]
            result = np.einsum(a, batches + rows + summed + last, b, batches + summed + columns + last, batches + rows + columns)
            return encode(result, node.dtype)
        a, b = (decode(each, argument.dtype).astype(wide) for each, argument in zip((a, b), node.args, strict=True))
        result = np.einsum(a, batches + rows + summed, b, batches + summed + columns, batches + rows + columns)
        return encode(np.asarray(result), node.dtype)

    def _attention(self, node: Node) -> np.ndarray:
        result, is_causal, scale = node.attrs
        q, k, v, *mask = node.args
        weights, largest, inverse = self._weights(q, k, mask, is_causal, scale)
        if result == 1:
            return np.stack([largest, inverse]).astype(node.dtype.numpy)
        return encode(weights @ decode(self.value(v), v.dtype).astype(np.float64), node.dtype)

    def _attention_backward(self, node: Node) -> np.ndarray:
        result, is_causal, scale = node.attrs
        q, k, v, grad = (decode(self.value(argument), argument.dtype).astype(np.float64) for argument in (*node.args[:3], node.args[4]))
        weights, _, _ = self._weights(*node.args[:2], node.args[6:], is_causal, scale)
        if result == 2:
            return encode(np.swapaxes(weights, -1, -2) @ grad, node.dtype)
        scores = weights * (grad @ np.swapaxes(v, -1, -2) - self.value(node.args[5])[..., None]) * scale
        return encode(scores @ k if result == 0 else np.swapaxes(scores, -1, -2) @ q, node.dtype)

    def _weights(self, q: Node, k: Node, mask: Sequence[Node], is_causal: bool, scale: float) -> tuple[np.ndarray, ...]:
        """The weights of keys for each query, the largest score, and the inverse of the sum of ``exp(score - largest)``."""
        queries, keys = (decode(self.value(each), each.dtype).astype(np.float64) for each in (q, k))
        scores = queries * scale @ np.swapaxes(keys, -1, -2)
        for each in mask:
            value = decode(self.value(each), each.dtype)
            scores = np.where(value, scores, -np.inf) if each.dtype is dt.bool else scores + value
        if is_causal:
            scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
        largest = scores.max(-1)
        largest = np.where(np.isneginf(largest), 0.0, largest)
        weights = np.exp(scores - largest[..., None])
        total = weights.sum(-1)
        inverse = np.where(total == 0, 0.0, 1 / total)
        return weights * inverse[..., None], largest, inverse

    def _sort(self, node: Node) -> np.ndarray:
        axis, descending, low, high = node.attrs
        array = decode(self.value(node.args[0]), node.args[0].dtype)
        if descending:
            array = np.flip(array, axis)
        order = np.argsort(array, axis, kind="stable")
        if descending:
            order = array.shape[axis] - 1 - np.flip(order, axis)
        if len(node.args) > 1:
            return np.take_along_axis(order, self.value(node.args[1]), axis)
        return np.take(order, range(low, high), axis)

    # -- computed places -------------------------------------------------------------------------------------------

    def _gather(self, node: Node) -> np.ndarray:
        strides, offset, index_strides, _ = node.attrs
        return self.memory(node.args[0])[self._computed(node.shape, strides, offset, node.args[1:], index_strides)]

    def _computed(self, shape: tuple, strides: tuple, offset: int, indices: tuple[Node, ...], index_strides: tuple) -> np.ndarray:
        address, _ = self._addresses(shape, strides, offset)
        for index, stride in zip(indices, index_strides, strict=True):
            address = address + self.value(index) * stride
        return address

    def _update(self, node: Node) -> np.ndarray:
        strides, offset = node.attrs
        memory = self.memory(node.args[0]).copy()
        value = self.value(node.args[1])
        memory[self._addresses(value.shape, strides, offset)[0]] = value
        return self._shaped(memory, node)

    def _scatter(self, node: Node) -> np.ndarray:
        combine, shape, strides, offset, index_strides, sizes, wraps, rows, errors, _ = node.attrs
        address, _ = self._addresses(shape, strides, offset)
        indices = node.args[2 : 2 + len(sizes)]
        for argument, stride, size, error in zip(indices, index_strides, sizes, errors, strict=True):
            index = self.value(argument)
            bad = ((index < (-size if wraps else 0)) | (index >= size)).reshape(-1)
            if bad.any():
                raise error(int(bad.argmax()), int(index.reshape(-1)[bad.argmax()]))
            address = address + np.where(index < 0, index + size, index).astype(np.int64) * stride
        address = address.reshape(-1)
        value = self.value(node.args[1]) if rows is None else self._rows(node, rows)
        value = np.broadcast_to(value, shape).reshape(-1)
        memory = np.transpose(self.value(node.args[0]), lay.memory_order(node.layout)).reshape(-1).copy()
        function = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}.get(combine)
        if function is None:
            for place, item in zip(address, value, strict=True):
                memory[place] = item
        else:
            memory = decode(memory, node.dtype)
            memory = memory.copy()
            function.at(memory, address, decode(value, node.dtype))
            memory = encode(memory, node.dtype)
        return self._shaped(memory, node)

    def _rows(self, node: Node, rows: Rows) -> np.ndarray:
        """The value of a scatter that reads it by rows."""
        place, *factor = node.args[-2:] if rows.scaled else node.args[-1:]
        found = self.memory(node.args[1])[self._computed(node.attrs[1], rows.strides, rows.offset, (place,), (rows.step,))]
        return found * self.value(factor[0]) if factor else found

    # -- recurrent layers ------------------------------------------------------------------------------------------

    def _recur(self, node: Node) -> tuple:
        step, backward, results, reverse, sizes, units, _, bundle = node.attrs
        dtype, rule = results[0][0], STEPS[step]
        given, packed, state, *others = (decode(self.value(each), each.dtype).astype(np.float64) for each in node.args)
        if bundle:  # (panels, pairs, lanes, 2)
            packed = _halves(self.value(node.args[1])).astype(np.float64).swapaxes(2, 3).reshape(packed.shape[0], -1, packed.shape[2])
        columns = units if backward else rule.gates * units
        weight = np.moveaxis(packed, 1, 0).reshape(packed.shape[1], -1)[:, :columns]
        state, starts, found = state.copy(), np.cumsum((0, *sizes)), [np.zeros(shape) for _, shape in results]
        factors = np.zeros((sizes[0], packed.shape[1]))
        call = lambda name, *numbers: _CALLS[name](*numbers)
        for t in reversed(range(len(sizes))) if reverse else range(len(sizes)):
            rows, here = slice(starts[t], starts[t + 1]), slice(sizes[t])
            if backward:
                *saved, hidden = others[0][:, rows]
                grad = given[rows] + factors[here] @ weight + state[0, here]
                of_inputs, of_products, direct, cells = rule.backward(call, grad, state[1:, here], saved, hidden)
                factors[here] = np.concatenate(of_products, 1)
                for result, gates in zip(found[:-1], (of_inputs, of_products), strict=False):
                    result[rows] = np.concatenate(gates, 1)
                state[0, here] = 0 if direct is None else direct
            else:
                hidden = state[0, here].copy()
                products = hidden @ weight + (others[0] if others else 0)
                state[0, here], cells, saved = rule.forward(
                    call, np.split(given[rows], rule.gates, 1), np.split(products, rule.gates, 1), hidden, state[1:, here].copy()
                )
                found[0][:, rows], found[1][rows] = np.stack([*saved, hidden]), state[0, here]
            for number, cell in enumerate(cells, 1):
                state[number, here] = cell
        if backward:
            state[0] += factors @ weight
        return *[encode(each, dtype) for each in found[:-1]], encode(state, dtype)

    # -- Fourier transforms ----------------------------------------------------------------------------------------

    def _fourier(self, node: Node) -> np.ndarray:
        what, n, _, forward, scale, moves = node.attrs
        x = self.value(node.args[0]).astype(np.float64 if what == "fold" else np.complex128)
        count = x.shape[1]
        if what == "open":
            x = np.fft.irfft(x.conj() if forward else x, 2 * n, axis=1, norm="forward")
        elif what == "fold":
            x = np.fft.rfft(x, axis=1)
            x = x if forward else x.conj()
        else:
            x = np.fft.fft(x, axis=1) if forward else np.fft.ifft(x, axis=1, norm="forward")
        if what == "first half":
            angle = 2 * np.pi / n * np.outer(np.arange(count), np.arange(n // count))
            x = x * np.exp((-1j if forward else 1j) * angle)
        x = x * scale
        return (np.swapaxes(x, 1, 2) if moves else x).astype(node.dtype.numpy)

    # -- linear algebra --------------------------------------------------------------------------------------------

    def _linear(self, node: Node) -> tuple:
        algorithm, flags, results = node.attrs
        return reference.compute(algorithm, flags, results[0][1][1], *[self.value(each) for each in node.args])

    # -- Python ----------------------------------------------------------------------------------------------------

    def _host(self, node: Node) -> tuple:
        function, statics, _ = node.attrs
        return function(*[np.ascontiguousarray(self.value(argument)) for argument in node.args], *statics)

    def _item(self, node: Node) -> np.ndarray:
        return np.asarray(self.value(node.args[0])[node.attrs[0]]).reshape(node.shape)

    def _check(self, node: Node) -> None:
        condition, detail = (self.value(argument).reshape(-1) for argument in node.args)
        if condition.any():
            position = int(condition.argmax())
            raise node.attrs[0][0](position, int(detail[position]))


def _bytes(quads: np.ndarray, unsigned: bool) -> np.ndarray:
    """The four bytes of each number (int32) along one more axis, int32."""
    return np.ascontiguousarray(quads)[..., None].view(np.uint8 if unsigned else np.int8).astype(np.int32)


def _halves(pairs: np.ndarray) -> np.ndarray:
    """The two of bfloat16 of each number (float32) along one more axis, float64."""
    return decode(np.ascontiguousarray(pairs)[..., None].view(np.uint16), dt.bfloat16).astype(np.float64)
