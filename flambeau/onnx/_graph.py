"""An ONNX graph under construction."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau.fx._names import Namespace

__all__ = ["Builder", "Value", "onnx_module"]


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
    """A tensor of the graph: its name, and what it was in the example run."""

    def __init__(self, name: str, example: Tensor) -> None:
        self.name = name
        self.example = example

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.example.shape)

    @property
    def dim(self) -> int:
        return self.example.dim()

    @property
    def dtype(self) -> flambeau.dtype:
        return self.example.dtype

    def __repr__(self) -> str:
        return f"{self.name} {list(self.shape)}"


def to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class Builder:
    """Adds nodes, and constants as initializers."""

    def __init__(self) -> None:
        self.onnx = onnx_module()
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.names = Namespace()
        self._constants: dict[tuple, Value] = {}

    def element_type(self, dtype: flambeau.dtype) -> int:
        """ONNX's number of a dtype."""
        if dtype is flambeau.bfloat16:
            return self.onnx.TensorProto.BFLOAT16
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(str(dtype).removeprefix("torch.")))

    def constant(self, tensor: Tensor, name: str = "constant") -> Value:
        """A tensor that is part of the file; equal small ones are there once."""
        array = to_numpy(tensor)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 16 else (name, id(tensor))
        if key not in self._constants:
            made = Value(self.names.create(name) if name == "constant" else name, tensor)
            self.initializers[made.name] = self.onnx.numpy_helper.from_array(array, made.name)
            self._constants[key] = made
        return self._constants[key]

    def integers(self, *numbers: int) -> Value:
        """A vector of int64."""
        return self.constant(flambeau.tensor(list(numbers), dtype=flambeau.int64))

    def number(self, value: Any, dtype: flambeau.dtype) -> Value:
        """A scalar."""
        return self.constant(flambeau.tensor(value, dtype=dtype))

    def value(self, operand: Any, dtype: flambeau.dtype) -> Value:
        """An operand as a value of a dtype: numbers become constants, others are cast if need be."""
        if not isinstance(operand, Value):
            return self.number(operand, dtype)
        return operand if operand.dtype is dtype else self.cast(operand, dtype)

    def cast(self, operand: Value, dtype: flambeau.dtype) -> Value:
        return self("Cast", operand, like=operand.example.to(dtype), to=self.element_type(dtype))

    def __call__(self, op: str, *operands: Value | None, like: Any, **attributes: Any) -> Any:
        """Add a node.

        Args:
            op: ONNX's name of the operator
            operands: its inputs; None where one is left out
            like: the result in the example run, or a tuple of results
            attributes: None where the default is meant

        Returns:
            The value, or values.
        """
        several = isinstance(like, (tuple, list))
        outputs = [Value(self.names.create(op.lower()), example) for example in (like if several else [like])]
        given = {name: value for name, value in attributes.items() if value is not None}
        inputs = ["" if operand is None else operand.name for operand in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [output.name for output in outputs], **given))
        return outputs if several else outputs[0]

    # -- shapes ----------------------------------------------------------------------------------------------------------

    def reshape(self, x: Value, like: Tensor) -> Value:
        """The elements in another shape. The first size follows the input's, if it is the same in the example."""
        shape = list(like.shape)
        if shape and x.dim and shape[0] == x.shape[0] and like.numel():
            shape[0] = 0  # ONNX: as the input's
            open_sizes = [size for size in shape[1:] if size]
            if len(open_sizes) == len(shape) - 1 and math.prod(open_sizes) > 1:
                largest = 1 + open_sizes.index(max(open_sizes))
                shape[largest] = -1
        return self("Reshape", x, self.integers(*shape), like=like)

    def transpose(self, x: Value, order: list[int]) -> Value:
        return self("Transpose", x, like=x.example.permute(order), perm=order)
