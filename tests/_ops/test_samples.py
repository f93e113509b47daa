"""Every public operator on its samples: the same bits however it is run, and gradients that differences confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._ops import FAMILIES
from flambeau._tape import tape as tapes
from flambeau.autograd import gradcheck, gradgradcheck
from tests.samples.inputs import Inputs
from tests.samples.linear_algebra import MADE_FROM_NOTHING
from tests.samples.operators import KINDS, OTHERWISE_TESTED, REFERENCES, ROUGH, SAMPLES

DTYPES = {"f": ("float32", "bfloat16"), "F": ("float32",), "c": ("complex64",), "i": ("int64",), "b": ("bool",)}
CASES = [
    pytest.param(name, number, dtype, id=f"{name}-{number}-{dtype}")
    for name, samples in SAMPLES.items()
    for number in range(len(samples))
    for kind in KINDS[name]
    for dtype in DTYPES[kind]
]
SMOOTH = [
    pytest.param(name, number, dtype, id=f"{name}-{number}-{dtype}")
    for name, samples in SAMPLES.items()
    if name not in ROUGH
    for number in range(len(samples))
    for kind, dtype in (("f", "float64"), ("F", "float64"), ("c", "complex128"))
    if kind in KINDS[name]
]


def flat(result: Any) -> list:
    if isinstance(result, flambeau.Tensor):
        return [result]
    return [tensor for part in result for tensor in flat(part)]


def ramp(like: Any) -> Any:
    """A gradient to begin with: different at every place."""
    return (flambeau.arange(like.numel(), dtype=flambeau.float32) / max(like.numel(), 1) + 0.5).reshape(like.shape).to(like.dtype)


def bits(name: str, number: int, dtype: str, strided: bool = False) -> list[tuple[str, tuple, bytes]]:
    """What a sample gives, and its gradients, to the last bit."""
    inputs = Inputs(flambeau, getattr(flambeau, dtype), strided=strided, grad=name not in ROUGH)
    results = flat(SAMPLES[name][number](flambeau, inputs))
    differentiable = [result for result in results if result.requires_grad]
    if differentiable and inputs.leaves:
        gradients = flambeau.autograd.grad(differentiable, inputs.leaves, [ramp(result) for result in differentiable], allow_unused=True)
        results += [gradient for gradient in gradients if gradient is not None]
    return [(str(each.dtype), tuple(each.shape), np.ascontiguousarray(each.detach()._array()).tobytes()) for each in results]


in_one_go = lru_cache(maxsize=None)(bits)


@contextmanager
def eagerly() -> Iterator[None]:
    """Flush after every record, as ``FLAMBEAU_EAGER=1`` does."""
    flambeau.flush()
    before = tapes.MAX_SLOTS, tapes.LOCAL.tape.limit
    tapes.MAX_SLOTS = tapes.LOCAL.tape.limit = -1
    try:
        yield
        flambeau.flush()
    finally:
        tapes.MAX_SLOTS, tapes.LOCAL.tape.limit = before


@contextmanager
def three_threads() -> Iterator[None]:
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(3)
    try:
        yield
    finally:
        flambeau.set_num_threads(before)


@pytest.mark.parametrize(("name", "number", "dtype"), CASES)
def test_the_same_bits_however_it_is_run(name: str, number: int, dtype: str) -> None:
    ways: dict[str, tuple[Callable[[], AbstractContextManager], bool]] = {
        "eagerly": (eagerly, False),
        "on three threads": (three_threads, False),
        "on strided inputs": (nullcontext, True),
    }
    expected = in_one_go(name, number, dtype)
    for way, (context, strided) in ways.items():
        with context():
            assert bits(name, number, dtype, strided) == expected, way


@pytest.mark.parametrize(("name", "number", "dtype"), SMOOTH)
def test_gradients(name: str, number: int, dtype: str) -> None:
    sample = SAMPLES[name][number]
    inputs = Inputs(flambeau, getattr(flambeau, dtype), grad=True)
    sample(flambeau, inputs)

    def function(*leaves: Any) -> tuple:
        results = flat(sample(flambeau, Inputs(flambeau, getattr(flambeau, dtype), leaves=leaves)))
        return tuple(result for result in results if result.is_floating_point() or result.is_complex())

    assert gradcheck(function, tuple(inputs.leaves), fast_mode=True)
    assert gradgradcheck(function, tuple(inputs.leaves), fast_mode=True)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name in SAMPLES])
def test_values_against_numpy(name: str) -> None:
    dtype = flambeau.float64 if "f" in KINDS[name].lower() else flambeau.int64
    recorder = Recorder(flambeau, dtype)
    found = flat(SAMPLES[name][0](flambeau, recorder))
    arity = len(recorder.made) // len(found)
    for place, result in enumerate(found):
        arrays = [tensor.numpy() for tensor in recorder.made[place * arity : (place + 1) * arity]]
        np.testing.assert_allclose(result.numpy(), REFERENCES[name](*arrays), rtol=1e-14, atol=1e-300)


class Recorder(Inputs):
    """Remembers all that it made."""

    def __init__(self, package: Any, dtype: Any) -> None:
        super().__init__(package, dtype)
        self.made: list = []

    def tensor(self, values: Any, dtype: Any = None) -> Any:
        self.made.append(super().tensor(values, dtype))
        return self.made[-1]


def test_no_public_operator_is_left_out() -> None:
    public = {name for family in FAMILIES for name in family.PUBLIC if not (name.endswith("_") and name[:-1] in SAMPLES)}
    assert public - SAMPLES.keys() - OTHERWISE_TESTED - MADE_FROM_NOTHING == set()
