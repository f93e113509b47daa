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
from flambeau._types.dtype import BOOL, COMPLEX, FLOAT, INTEGER, dtype, float64, from_numpy
from flambeau._types.encoding import numbers_in, stored_as

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
            scalar.load(builder, element(builder, pointer, loop.index, of), of, width)
            for pointer, of in zip(pointers, sources, strict=True)
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

    def body(builder: Builder, operands: list[scalar.Operand]) -> scalar.Operand:
        return function(*[Lanes(builder, operand) for operand in operands]).value

    return run(body, list(arrays), [of] * len(arrays), of, width)


def sample(of: dtype, count: int, seed: int = 0) -> np.ndarray:
    """Elements of a dtype, the extreme and the special ones among them, as an array of ``of.numpy``."""
    random, wanted, count = np.random.default_rng(seed), count, max(count, 16)
    if of.category == BOOL:
        return random.integers(0, 2, wanted).astype(bool)
    if of.category == INTEGER:
        limits = np.iinfo(of.numpy)
        small = random.integers(-5 if of.is_signed else 0, 10, count).astype(of.numpy)
        numbers = np.where(random.random(count) < 0.5, random.integers(limits.min, limits.max, count, of.numpy, endpoint=True), small)
        numbers[:4] = limits.min, limits.max, 0, 1
        return random.permutation(numbers)[:wanted]
    if of.category == COMPLEX:
        return stored_as(random.normal(size=wanted) + 1j * random.normal(size=wanted), of)
    numbers = random.normal(size=count) * np.exp(random.normal(size=count) * 3)
    numbers = np.where(random.random(count) < 0.3, random.integers(-3, 4, count), numbers)
    numbers[:8] = 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-7, 65519.0, 65520.0
    return scalar.convert(random.permutation(numbers)[:wanted], float64, of)


def numbers(array: np.ndarray, of: dtype) -> np.ndarray:
    """What an array of ``of.numpy`` means: what NumPy lacks decoded, floats widened."""
    if of.category == FLOAT:
        return scalar.convert(array, of, float64)
    return numbers_in(array, of)
