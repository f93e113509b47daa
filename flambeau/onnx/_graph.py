"""An ONNX graph under construction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau.fx._names import Namespace

__all__ = ["Builder", "Number", "Value", "onnx_module"]

Size = int | str
"""A size of a tensor: a number, or the name of one that is not known before the model runs: `batch`, `2*batch`, or `?`."""


def onnx_module() -> ModuleType:
    """The package `onnx`.

    Raises:
        ImportError: it is not installed
    """
    try:
        import onnx
    except ImportError:
        raise ImportError('torch.onnx.export needs onnx: pip install "flambeau[onnx]"') from None
    return onnx


class Value:
    """A tensor of the graph.

    Attributes:
        shape, dtype: what is known of it
        constant: its elements, if it is part of the file
        fill: the number that all of its elements are, if that is known
        name: what it is to be called; what is called so in the file has a number behind it where names meet
    """

    def __init__(self, shape: tuple[Size, ...], dtype: flambeau.dtype, name: str = "", constant: Tensor | None = None) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name
        self.constant = constant
        self.fill: Any = None

    @property
    def dim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"{self.name} {list(self.shape)}"


class Number(Value):
    """A number that is known when the model runs, such as a size: a vector of one element. In arithmetic it is a Python number."""


@dataclass
class Operation:
    """A node of the graph."""

    op: str
    inputs: list[Value | None]
    outputs: list[Value]
    attributes: dict[str, Any]


def to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class Builder:
    """Adds nodes, and constants as initializers.

    Attributes:
        version: of the operators
        symbols: where the sizes are found that have names: a tensor and its dimension
    """

    def __init__(self, version: int) -> None:
        self.onnx = onnx_module()
        self.version = version
        self.operations: list[Operation] = []
        self.symbols: dict[str, tuple[Value, int]] = {}
        self._constants: dict[tuple, Value] = {}
        self._sizes: dict[tuple[Value, int], Number] = {}

    def element_type(self, dtype: flambeau.dtype) -> int:
        """ONNX's number of a dtype.

        Raises:
            NotImplementedError: there is none
        """
        if dtype.is_complex:
            raise NotImplementedError("ONNX's operators know no complex numbers: export their real and imaginary parts")
        if dtype is flambeau.bfloat16:
            return self.onnx.TensorProto.BFLOAT16
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(str(dtype).removeprefix("torch.")))

    # -- constants -------------------------------------------------------------------------------------------------------

    def constant(self, tensor: Tensor, name: str = "constant") -> Value:
        """A tensor that is part of the file; equal small ones are there once."""
        key: tuple = (name, id(tensor))
        if tensor.numel() <= 16 and name in _UNNAMED:
            array = to_numpy(tensor)
            key = (name, array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = Value(tuple(tensor.shape), tensor.dtype, name, tensor)
        return self._constants[key]

    def derived(self, name: str, sources: list[Value], make: Callable[[], Tensor]) -> Value:
        """A constant that is made of constants; once of the same ones."""
        key = (name, *map(id, sources))
        if key not in self._constants:
            made = make()
            self._constants[key] = Value(tuple(made.shape), made.dtype, name, made)
        return self._constants[key]

    def integers(self, *numbers: int, name: str = "constant") -> Value:
        """A vector of int64."""
        return self.constant(flambeau.tensor(list(numbers), dtype=flambeau.int64), name)

    def axes(self, *dims: int) -> Value:
        """A vector of dimensions."""
        return self.integers(*dims, name="axes")

    def number(self, value: Any, dtype: flambeau.dtype) -> Value:
        """A scalar."""
        made = self.constant(flambeau.tensor(value, dtype=dtype))
        made.fill = value
        return made

    def value(self, operand: Any, dtype: flambeau.dtype) -> Value:
        """An operand as a tensor of a dtype: numbers become constants, others are cast if need be."""
        if isinstance(operand, Number):
            operand = self("Squeeze", operand, shape=(), dtype=operand.dtype)
        if not isinstance(operand, Value):
            return self.number(operand, dtype)
        return operand if operand.dtype is dtype else self("Cast", operand, dtype=dtype, to=self.element_type(dtype))

    # -- nodes -----------------------------------------------------------------------------------------------------------

    def __call__(
        self, op: str, *operands: Value | None, like: Any = None, shape: tuple[Size, ...] | None = None, dtype: Any = None, **attributes: Any
    ) -> Any:  # fmt: skip
        """Add a node.

        Args:
            op: ONNX's name of the operator
            operands: its inputs; None where one is left out
            like: what has the result's shape and dtype, or a list of such for several results
            shape, dtype: the same apart; without them the operands' broadcast shape and the first one's dtype
            attributes: None where the default is meant; `dtype_` and `shape_` are attributes of those names

        Returns:
            The value, or values.
        """
        several = isinstance(like, (list, tuple))
        if like is None:
            first = next(operand for operand in operands if operand is not None)
            found = shape if shape is not None else broadcast(*[operand.shape for operand in operands if operand is not None])
            outputs = [Value(found, dtype or first.dtype)]
        else:
            outputs = [Value(each.shape, each.dtype) for each in (like if several else [like])]
        self._add(op, operands, outputs, attributes)
        return outputs if several else outputs[0]

    def _add(self, op: str, operands: tuple, outputs: list[Any], attributes: dict[str, Any]) -> None:
        given = {name.rstrip("_"): value for name, value in attributes.items() if value is not None}
        self.operations.append(Operation(op, list(operands), outputs, given))

    # -- sizes -----------------------------------------------------------------------------------------------------------

    def size(self, x: Value, axis: int) -> int | Number:
        """A size of a tensor: a number, if it is known."""
        axis %= x.dim
        known = x.shape[axis]
        if isinstance(known, int):
            return known
        if (x, axis) not in self._sizes:
            size = self._sizes[x, axis] = Number((1,), flambeau.int64)
            self._add("Shape", (x,), [size], {"start": axis, "end": axis + 1})
        return self._sizes[x, axis]

    def sizes(self, x: Value) -> Value:
        """A vector of all sizes of a tensor."""
        if all(isinstance(size, int) for size in x.shape):
            return self.integers(*x.shape, name="shape")
        return self("Shape", x, shape=(x.dim,), dtype=flambeau.int64)

    def extent(self, size: Size) -> int | Number:
        """A size by its name: a product of names and a number.

        Raises:
            NotImplementedError: it is something else
        """
        if isinstance(size, int):
            return size
        if size in self.symbols:
            return self.size(*self.symbols[size])
        found: Any = 1
        for part in size.split("*"):
            if part not in self.symbols and not part.isdigit():
                raise NotImplementedError("a size of its result depends on the input's sizes in a way that is not known")
            factor = int(part) if part.isdigit() else self.size(*self.symbols[part])
            found = factor if found == 1 else self.compute("Mul", found, factor)
        return found

    def compute(self, op: str, *operands: Any, dtype: flambeau.dtype = flambeau.int64) -> Number:
        """Arithmetic with sizes."""
        vectors = [self.constant(flambeau.tensor([each])) if not isinstance(each, Value) else each for each in operands]
        cast = [each if each.dtype is dtype else self.value(each, dtype) for each in vectors]
        result = Number((1,), dtype)
        self._add(op, tuple(cast), [result], {})
        return result

    def vector(self, *sizes: int | Number, name: str = "shape") -> Value:
        """A vector of sizes: a constant, if all are known."""
        if all(isinstance(size, int) for size in sizes):
            return self.integers(*sizes, name=name)
        parts: list[Any] = []
        for size in sizes:
            if isinstance(size, Number):
                parts.append(size)
            elif parts and isinstance(parts[-1], list):
                parts[-1].append(size)
            else:
                parts.append([size])
        vectors = [part if isinstance(part, Number) else self.integers(*part, name=name) for part in parts]
        if len(vectors) == 1:
            return vectors[0]
        return self("Concat", *vectors, shape=(len(sizes),), dtype=flambeau.int64, axis=0)

    def shape_of(self, like: Any) -> Value:
        """A vector of the sizes of a result."""
        return self.vector(*[self.extent(size) for size in like.shape])

    def reshape(self, x: Value, like: Any) -> Value:
        """The elements in another shape: sizes that are not known follow from the others, or are the input's."""
        if tuple(like.shape) == x.shape:
            return x
        if like.shape == ():
            return self("Squeeze", x, shape=())
        sizes: list[Any] = list(like.shape)
        if 0 in sizes:
            return self("Reshape", x, self.shape_of(like), like=like, allowzero=1)
        for place, size in enumerate(sizes):
            if isinstance(size, str) and size != "?" and place < x.dim and x.shape[place] == size:
                sizes[place] = 0  # in ONNX: as the input's
        free = [place for place, size in enumerate(sizes) if isinstance(size, str)]
        unknown = [place for place in free if sizes[place] == "?"]
        inferred = max(unknown or free or [-1])
        found = [-1 if place == inferred else self.extent(size) for place, size in enumerate(sizes)]
        return self("Reshape", x, self.vector(*found), shape=tuple(like.shape))

    def transpose(self, x: Value, order: list[int]) -> Value:
        if order == sorted(order):
            return x
        return self("Transpose", x, shape=tuple([x.shape[axis] for axis in order]), perm=order)

    def unsqueeze(self, x: Value, *dims: int) -> Value:
        """With sizes of 1 put in; `dims` are the result's, in increasing order."""
        sizes = list(x.shape)
        for dim in dims:
            sizes.insert(dim, 1)
        return self("Unsqueeze", x, self.axes(*dims), shape=tuple(sizes)) if dims else x

    def expand(self, x: Value, like: Any) -> Value:
        """Broadcast to a shape."""
        return x if x.shape == tuple(like.shape) else self("Expand", x, self.shape_of(like), shape=tuple(like.shape))

    # -- the whole -------------------------------------------------------------------------------------------------------

    def finished(self, inputs: list[Value], outputs: list[Value]) -> tuple[list[Any], list[Any]]:
        """The nodes that outputs depend on and the initializers that they use, under their names."""
        used = set(outputs)
        kept: list[Operation] = []
        for operation in reversed(self.operations):
            if not used.isdisjoint(operation.outputs):
                kept.append(operation)
                used.update(each for each in operation.inputs if each is not None)
        kept.reverse()
        names = Namespace()
        fixed = {*inputs, *outputs}
        for each in fixed:
            names.take(each.name)
        constants = [each for each in self._constants.values() if each in used]
        named = [each for each in constants if each.name not in _UNNAMED]
        for each in named:  # paths of parameters keep their dots
            if each.name in {*[other.name for other in fixed]}:
                each.name = f"{each.name}.value"
            names.take(each.name)
        for each in constants:
            if each.name in _UNNAMED:
                each.name = names.create(each.name)
        for operation in kept:
            for output in operation.outputs:
                if output not in fixed:
                    named = output in used or operation.op not in _OPTIONAL
                    output.name = names.create(output.name or operation.op.lower()) if named else ""
        nodes = [self._node(operation) for operation in kept]
        return nodes, [self.onnx.numpy_helper.from_array(*_stored(each)) for each in constants]

    def _node(self, operation: Operation) -> Any:
        inputs = ["" if each is None else each.name for each in operation.inputs]
        outputs = [each.name for each in operation.outputs]
        for names in (inputs, outputs):
            while len(names) > 1 and not names[-1]:
                names.pop()
        return self.onnx.helper.make_node(operation.op, inputs, outputs, name=next(filter(None, outputs)), **operation.attributes)


_OPTIONAL = frozenset(["Dropout", "GRU", "LSTM", "LayerNormalization", "MaxPool", "RNN", "Unique"])
"""Operators of which some results need not be asked for."""
_UNNAMED = frozenset(["axes", "constant", "shape"])
"""Names of constants that no parameter or buffer is."""


def _stored(value: Value) -> tuple[np.ndarray, str]:
    assert value.constant is not None
    return to_numpy(value.constant), value.name


def broadcast(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape that tensors have together."""
    width = max(map(len, shapes))
    result: list[Size] = [1] * width
    for shape in shapes:
        for place, size in enumerate(shape, width - len(shape)):
            if result[place] == 1 or (isinstance(size, int) and size != 1):
                result[place] = size
    return tuple(result)


def product(sizes: Any) -> Size:
    """How many elements there are, or `?`."""
    return math.prod(sizes) if all(isinstance(size, int) for size in sizes) else "?"
