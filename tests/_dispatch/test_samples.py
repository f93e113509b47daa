"""Whoever is asked about every operator, and has it run, changes nothing: the samples of ``tests/samples`` are the witnesses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._subclasses import FakeTensorMode
from flambeau.utils._python_dispatch import BaseTorchDispatchMode
from flambeau.utils._pytree import tree_map
from tests._ops.test_meta import DEPEND_ON_DATA, ONLY_BY_NUMBER, layout
from tests._ops.test_samples import bits
from tests.samples import linear_algebra  # noqa: F401  (more samples)
from tests.samples.inputs import Inputs
from tests.samples.operators import KINDS, ROUGH, SAMPLES

DTYPES = {"f": "float32", "F": "float32", "c": "complex64", "i": "int64", "b": "bool"}
ROUNDED = {"batch_norm", "group_norm", "layer_norm", "native_batch_norm", "native_group_norm", "native_layer_norm", "matrix_exp"}
"""What is rounded otherwise: backward passes of PyTorch's norms are given the mean as float32, and powers of two for ``matrix_exp`` are chosen
without a look at the elements."""
LOOKS = DEPEND_ON_DATA | ONLY_BY_NUMBER
WITHOUT_MEMORY = {"histc", "nonzero_static", "resize_as_"}
"""What looks at elements although the shape of its result does not depend on them, or needs memory."""


class Wrapper(flambeau.Tensor):
    """A tensor that holds another one, and does with it what it is asked to."""

    @staticmethod
    def __new__(cls, held: Any, requires_grad: bool = False) -> Any:
        made = flambeau.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, requires_grad=requires_grad
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, named = tree_map(lambda each: each.held if isinstance(each, cls) else each, (list(args), kwargs or {}))
        found = func(*given, **named)
        if func._schema.is_mutable:
            return args[0]
        return tree_map(lambda each: cls(each) if isinstance(each, flambeau.Tensor) else each, found)


class Wrapped(Inputs):
    """Makes inputs of that class."""

    def leaf(self, values: np.ndarray) -> Any:
        made = super().leaf(values)
        wrapper = Wrapper(made.detach(), made.requires_grad)
        if made.requires_grad:
            self.leaves[-1] = wrapper
        return wrapper


def flat(result: Any) -> list:
    return [result] if isinstance(result, flambeau.Tensor) else [each for part in result for each in flat(part)]


def elements(tensor: Any) -> tuple[str, tuple, bytes]:
    tensor = tensor.held if isinstance(tensor, Wrapper) else tensor.detach()
    return str(tensor.dtype), tuple(tensor.shape), np.ascontiguousarray(tensor._array()).tobytes()


def same(name: str, found: list, expected: list) -> None:
    """Check that results are the same to the last bit, or, of what is rounded otherwise, nearly so."""
    if name not in ROUNDED:
        assert found == expected
        return
    for (dtype, shape, raw), (_, wanted, other) in zip(found, expected, strict=True):
        assert shape == wanted
        kind = {"float32": "f4", "complex64": "c8"}[dtype.removeprefix("torch.")]
        np.testing.assert_allclose(np.frombuffer(raw, kind), np.frombuffer(other, kind), rtol=2e-5, atol=5e-6)


def cases(names: Any) -> list:
    return [
        pytest.param(name, number, DTYPES[KINDS[name][0]], id=f"{name}-{number}")
        for name in sorted(names)
        for number in range(len(SAMPLES[name]))
    ]


@pytest.mark.parametrize(("name", "number", "dtype"), cases(SAMPLES))
def test_a_mode_that_has_operators_run(name: str, number: int, dtype: str) -> None:
    expected = bits(name, number, dtype)
    with BaseTorchDispatchMode():
        found = bits(name, number, dtype)
    same(name, found, expected)


@pytest.mark.parametrize(("name", "number", "dtype"), cases(SAMPLES.keys() - LOOKS - WITHOUT_MEMORY))
def test_tensors_that_hold_others(name: str, number: int, dtype: str) -> None:
    inputs = Wrapped(flambeau, getattr(flambeau, dtype), grad=name not in ROUGH)
    results = flat(SAMPLES[name][number](flambeau, inputs))
    tracked = [result for result in results if result.requires_grad]
    if tracked and inputs.leaves:
        ones = [flambeau.ones_like(result) for result in tracked]
        results += [each for each in flambeau.autograd.grad(tracked, inputs.leaves, ones, allow_unused=True) if each is not None]
    plain = Inputs(flambeau, getattr(flambeau, dtype), grad=name not in ROUGH)
    expected = flat(SAMPLES[name][number](flambeau, plain))
    tracked = [result for result in expected if result.requires_grad]
    if tracked and plain.leaves:
        ones = [flambeau.ones_like(result) for result in tracked]
        expected += [each for each in flambeau.autograd.grad(tracked, plain.leaves, ones, allow_unused=True) if each is not None]
    same(name, [elements(each) for each in results], [elements(each) for each in expected])


@pytest.mark.parametrize(("name", "number", "dtype"), cases(SAMPLES.keys() - LOOKS))
def test_fake_tensors_have_the_layouts_of_others(name: str, number: int, dtype: str) -> None:
    expected = flat(SAMPLES[name][number](flambeau, Inputs(flambeau, getattr(flambeau, dtype), grad=name not in ROUGH)))
    with FakeTensorMode():
        found = flat(SAMPLES[name][number](flambeau, Inputs(flambeau, getattr(flambeau, dtype), grad=name not in ROUGH)))
    assert [layout(each) for each in found] == [layout(each) for each in expected]
