"""Compile one-element code as a loop over arrays and run it: what the tests of scalar code and vector mathematics share."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable

import numpy as np

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Module, Value
from flambeau._codegen.lanes import Lanes
from flambeau._runtime import targets
from flambeau._runtime.jit import compile_kernels
from flambeau._types.dtype import dtype, from_numpy

Body = Callable[[Builder, list[scalar.Operand]], scalar.Operand]


def features() -> tuple[str, ...]:
    """Instruction sets that generated code may ask for by name."""
    return ("avx512f",) if targets.current().vector_bits == 512 else ()


def module(body: Body, sources: list[dtype], result: dtype, width: int) -> Module:
    """``kernel(n, source..., destination)`` for n elements, a multiple of ``width``."""
    text = Module(features())
    parameters = [("i64", "n"), *[("ptr", f"source{number}") for number in range(len(sources))], ("ptr", "destination")]
    builder = text.function("kernel", parameters)
    count, *pointers, destination = builder.parameters
    with builder.loop(0, count, width) as loop:
        operands = [
            scalar.load(builder, element(builder, pointer, loop.index, of), of, width) for pointer, of in zip(pointers, sources, strict=True)
        ]
        scalar.store(builder, body(builder, operands), element(builder, destination, loop.index, result), result)
    builder.ret()
    return text


def element(builder: Builder, pointer: Value, index: Value, of: dtype) -> Value:
    """The address of an element of a dtype."""
    return builder.offset(pointer, builder.mul(index, of.itemsize), "i8")


def link(text: str) -> int:
    """Compile a module and give the address of its function ``kernel``."""
    name = "test_" + hashlib.sha256(text.encode()).hexdigest()[:16]
    return compile_kernels({name: text.replace("@kernel(", f"@{name}(")})[name]


def run(body: Body, arrays: list[np.ndarray], sources: list[dtype], result: dtype, width: int) -> np.ndarray:
    """Apply ``body`` to arrays of equal length, ``width`` elements at a time."""
    count = len(arrays[0])
    padded = -(-count // width) * width
    inputs = [np.resize(array, padded) for array in arrays]
    output = np.empty(padded, result.numpy)
    address = link(str(module(body, sources, result, width)))
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (len(inputs) + 1))(address)
    function(padded, *[array.ctypes.data for array in inputs], output.ctypes.data)
    return output[:count]


def run_lanes(function: Callable[..., Lanes], *arrays: np.ndarray, width: int = 16) -> np.ndarray:
    """Apply a function of float lanes to arrays."""
    of = from_numpy(arrays[0].dtype)
    body = lambda builder, operands: function(*[Lanes(builder, operand) for operand in operands]).value  # noqa: E731
    return run(body, list(arrays), [of] * len(arrays), of, width)
