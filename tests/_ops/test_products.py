"""Matrix products: values against NumPy, gradients against differences, shapes that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck

SHAPES = [
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (4, 2)),
    ((3, 4), (4, 2)),
    ((5, 3, 4), (4, 2)),
    ((5, 1, 3, 4), (2, 4, 2)),
    ((0, 4), (4, 2)),
    ((3, 0), (0, 2)),
]


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape)


@pytest.mark.parametrize("shapes", SHAPES)
def test_matmul(shapes: tuple) -> None:
    a, b = values(*shapes[0]), values(*shapes[1])
    np.testing.assert_allclose((flambeau.tensor(a) @ flambeau.tensor(b)).numpy(), a @ b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shapes", [each for each in SHAPES if 0 not in each[0]])
def test_matmul_gradients(shapes: tuple) -> None:
    a, b = (flambeau.tensor(values(*shape)).requires_grad_() for shape in shapes)
    assert gradcheck(flambeau.matmul, (a, b)) and gradgradcheck(flambeau.matmul, (a, b))


def test_transposed_operands() -> None:
    a, b = values(4, 3), values(2, 4)
    np.testing.assert_allclose((flambeau.tensor(a).t() @ flambeau.tensor(b).t()).numpy(), a.T @ b.T, rtol=1e-12)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(RuntimeError, match="3.*4.*5.*2"):
        flambeau.ones(3, 4) @ flambeau.ones(5, 2)


def test_einsum_without_operands():
    with pytest.raises(ValueError, match="at least one operand"):
        flambeau.einsum("ij")


@pytest.mark.parametrize("equation", ["i,i->i", "i,j->ij", "ij,jk->ijk", "ij,->ji", "ab,ca->cab", "ij,j->ji"])
def test_einsum_without_sums_promotes(equation: str) -> None:
    sizes = {"i": 2, "j": 3, "k": 4, "a": 2, "b": 3, "c": 1}
    left, right = equation.partition("->")[0].split(",")
    rng = np.random.default_rng(0)
    a, b = (np.asarray(rng.integers(-9, 10, [sizes[label] for label in labels])) for labels in (left, right))
    for first, second in ((flambeau.float32, flambeau.float64), (flambeau.int64, flambeau.float32), (flambeau.int8, flambeau.int32)):
        result = flambeau.einsum(equation, flambeau.tensor(a).to(first), flambeau.tensor(b).to(second))
        assert result.dtype is flambeau.promote_types(first, second)
        np.testing.assert_array_equal(result.numpy(), np.einsum(equation, a, b))
    assert flambeau.einsum(equation, flambeau.tensor(a) > 0, flambeau.tensor(b) > 0).dtype is flambeau.bool


def test_einsum_sums_one_dtype_of_tensors() -> None:
    with pytest.raises(RuntimeError, match="same dtype"):
        flambeau.einsum("i,i->", flambeau.ones(2), flambeau.ones(2, dtype=flambeau.float64))
    with pytest.raises(TypeError, match="expected Tensor as element 1"):
        flambeau.einsum("i,->i", flambeau.ones(2), 2.0)
