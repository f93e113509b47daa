"""Matrix products: values against NumPy, gradients against differences, shapes that do not fit."""

from __future__ import annotations

import random

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


@pytest.mark.parametrize(("shapes", "name"), [(((3, 4), (4,)), "Mv"), (((4,), (4, 3)), "Mv"), (((4,), (4,)), "Dot")])
def test_products_with_a_vector_are_one_call(shapes: tuple, name: str) -> None:
    a, b = (flambeau.ones(shape, requires_grad=True) for shape in shapes)
    product = a @ b
    assert product.grad_fn.name() == f"{name}Backward0" and not product._is_view()
    with pytest.raises(RuntimeError, match="size mismatch"):
        a @ flambeau.ones(5)


def test_a_matrix_by_a_vector_refuses_what_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match="size mismatch: a 3 x 4 tensor cannot be multiplied by a vector of 5 elements"):
        flambeau.mv(flambeau.ones(3, 4), flambeau.ones(5))
    with pytest.raises(RuntimeError, match="same dtype"):
        flambeau.mv(flambeau.ones(3, 4), flambeau.ones(4, dtype=flambeau.float64))
    with pytest.raises(RuntimeError, match="2D and 2D"):
        flambeau.mv(flambeau.ones(3, 4), flambeau.ones(4, 1))


def test_einsum_without_operands():
    with pytest.raises(ValueError, match="at least one operand"):
        flambeau.einsum("ij")


@pytest.mark.parametrize("seed", range(200))
def test_einsum_of_any_labels(seed: int) -> None:
    """Labels in one operand and in several, repeated ones, sizes of 1, results in any order: against NumPy."""
    random_ = random.Random(seed)
    sizes = {label: random_.choice([1, 2, 3, 4]) for label in "abcdef"}
    terms = ["".join(random_.choices("abcdef", k=random_.randint(0, 4))) for _ in range(random_.randint(1, 3))]
    labels = sorted(set("".join(terms)))
    result = "".join(random_.sample(labels, random_.randint(0, len(labels))))
    equation = f"{','.join(terms)}->{result}"
    operands = [values(*[sizes[label] for label in term]) for term in terms]
    for _ in range(2):  # found, and remembered
        found = flambeau.einsum(equation, *map(flambeau.tensor, operands)).numpy()
        np.testing.assert_allclose(found, np.einsum(equation, *operands), rtol=1e-12, atol=1e-12, err_msg=equation)


def test_tensordot_refuses_axes_that_are_named_twice() -> None:
    with pytest.raises(RuntimeError, match="multiple times"):
        flambeau.tensordot(flambeau.ones(2, 2), flambeau.ones(2, 2), ([0, 0], [0, 1]))


@pytest.mark.parametrize("dims", [0, 1, 2, ([2, 0], [1, 0]), ([0], [0]), ([1], [2])])
def test_tensordot(dims: object) -> None:
    a, b = values(2, 1, 3), values(2, 3, 4) if dims == ([2, 0], [1, 0]) else values(2, 1, 3) if dims == ([0], [0]) else values(3, 2, 5)
    a = values(2, 1, 3, 2) if dims == 2 else a
    expected = np.tensordot(a, b.sum(2, keepdims=True) if dims == ([1], [2]) else b, dims)
    np.testing.assert_allclose(flambeau.tensordot(flambeau.tensor(a), flambeau.tensor(b), dims).numpy(), expected, rtol=1e-12)


def test_a_product_is_added_to_what_has_its_shape_at_most() -> None:
    a, b = flambeau.tensor(values(3, 4)), flambeau.tensor(values(4, 2))
    for shape in ((), (2,), (3, 1), (1, 2)):
        x = flambeau.tensor(values(*shape))
        np.testing.assert_allclose(flambeau.addmm(x, a, b, beta=2, alpha=-3), 2 * x.numpy() - 3 * (a.numpy() @ b.numpy()), rtol=1e-12)
    for x in (flambeau.ones(4), flambeau.ones(5, 3, 2)):
        with pytest.raises(RuntimeError):
            flambeau.addmm(x.double(), a, b)


def test_a_factor_of_zero_hides_what_is_added_to() -> None:
    x, a, b = flambeau.tensor([np.nan, 1.0]), flambeau.ones(3, 4), flambeau.ones(4, 2)
    assert flambeau.addmm(x, a, b, beta=0, alpha=2).tolist() == [[8.0, 8.0]] * 3
    assert flambeau.addmv(x[:1], a, b[:, 0], beta=0).tolist() == [4.0] * 3


@pytest.mark.parametrize("dtype", [flambeau.float64, flambeau.complex128])
def test_gradients_of_sums_of_products(dtype: flambeau.dtype) -> None:
    flambeau.manual_seed(0)
    factors = {"beta": -0.5, "alpha": 0.3} if dtype is flambeau.float64 else {"beta": 0.5 - 1j, "alpha": 2j}
    for function, *shapes in (
        (flambeau.addmm, (2,), (3, 4), (4, 2)), (flambeau.addmv, (3,), (3, 4), (4,)), (flambeau.addr, (3, 2), (3,), (2,)),
        (flambeau.baddbmm, (3, 1), (2, 3, 4), (2, 4, 2)), (flambeau.addbmm, (3, 2), (2, 3, 4), (2, 4, 2)),
    ):  # fmt: skip
        operands = [flambeau.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]
        for options in ({}, factors):
            call = lambda *given: function(*given, **options)  # noqa: B023
            assert gradcheck(call, operands) and gradgradcheck(call, operands)


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
@pytest.mark.parametrize(
    "shapes", [((10,), (40, 10, 5)), ((5, 10), (40, 10, 5)), ((1, 5, 10), (40, 10, 5)), ((40, 5, 10), (1, 10, 5)), ((40, 5, 10), (10,))]
)
def test_a_matrix_that_many_share_has_a_gradient_that_is_rounded_once(shapes: tuple, dtype: flambeau.dtype) -> None:
    operands = [flambeau.tensor(values(*shape)).to(dtype).requires_grad_() for shape in shapes]
    wide = [each.detach().double().requires_grad_() for each in operands]
    exact = wide[0] @ wide[1]
    result = operands[0] @ operands[1]
    assert result.shape == exact.shape and result.is_contiguous()
    ahead = flambeau.tensor(values(*result.shape)).to(dtype)
    for found, right in zip(
        flambeau.autograd.grad(result, operands, ahead), flambeau.autograd.grad(exact, wide, ahead.double()), strict=True
    ):
        near = right.abs().clamp_min(right.abs().max() / 1000)
        assert ((found.double() - right).abs() / near).max() <= 0.55 * flambeau.finfo(dtype).eps


def test_a_batch_is_summed_in_the_product() -> None:
    a, b, x = values(5, 3, 4), values(5, 4, 2), values(3, 2)
    result = flambeau.addbmm(flambeau.tensor(x), flambeau.tensor(a), flambeau.tensor(b), beta=0.5, alpha=-2)
    np.testing.assert_allclose(result.numpy(), 0.5 * x - 2 * np.einsum("bij,bjk->ik", a, b), rtol=1e-12)
    assert flambeau.addbmm(flambeau.ones(3, 2), flambeau.ones(0, 3, 4), flambeau.ones(0, 4, 2)).tolist() == [[1.0, 1.0]] * 3
    with pytest.raises(RuntimeError, match="batch2"):
        flambeau.addbmm(flambeau.ones(3, 2), flambeau.ones(5, 3, 4), flambeau.ones(4, 4, 2))


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
