"""Finite differences, parts of numbers and other small functions against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order: int) -> None:
    x = values(4, 5)
    for spacing, given in ((1, (1.0, 1.0)), ([0.5, 2.0], (0.5, 2.0))):
        found = flambeau.gradient(flambeau.tensor(x), spacing=spacing, edge_order=edge_order)
        for one, other in zip(found, np.gradient(x, *given, edge_order=edge_order), strict=True):
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-10)
    places = np.array([0.0, 0.5, 2.0, 2.25, 4.0])
    (found,) = flambeau.gradient(flambeau.tensor(x), spacing=(flambeau.tensor(places),), dim=1, edge_order=edge_order)
    np.testing.assert_allclose(found.numpy(), np.gradient(x, places, axis=1, edge_order=edge_order), rtol=1e-10)


def test_gradient_needs_samples() -> None:
    with pytest.raises(RuntimeError, match=r"at least edge_order\+1"):
        flambeau.gradient(flambeau.ones(1))


def test_frexp() -> None:
    x = np.array([0.0, 1.0, -3.5, 1e300, np.inf])
    mantissa, exponent = flambeau.frexp(flambeau.tensor(x))
    np.testing.assert_array_equal(mantissa.numpy(), np.frexp(x)[0])
    np.testing.assert_array_equal(exponent.numpy()[:4], np.frexp(x)[1][:4])


def test_polar() -> None:
    size, angle = np.abs(values(3)), values(3)
    np.testing.assert_allclose(flambeau.polar(flambeau.tensor(size), flambeau.tensor(angle)).numpy(), size * np.exp(1j * angle), rtol=1e-12)
    with pytest.raises(TypeError, match="'angle' must be Tensor, not int"):
        flambeau.polar(flambeau.ones(1), 2)


def test_logspace() -> None:
    np.testing.assert_allclose(flambeau.logspace(-1, 2, 7, dtype=flambeau.float64).numpy(), np.logspace(-1, 2, 7), rtol=1e-12)
    assert flambeau.logspace(0, 3, 4, base=2, dtype=flambeau.int64).tolist() == [1, 2, 4, 8]


def test_renorm() -> None:
    x = values(3, 4)
    size = np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(flambeau.renorm(flambeau.tensor(x), 2, 0, 1.0).numpy(), x * np.minimum(1, 1 / size), rtol=1e-6)


def test_histogramdd() -> None:
    points, weights = values(50, 2), np.abs(values(50))
    for bins, edges in (([4, 3], [4, 3]), ([flambeau.tensor([-1.0, 0.0, 2.0]), flambeau.tensor([0.0, 1.0])], [[-1, 0, 2], [0, 1]])):
        found = flambeau.histogramdd(
            flambeau.tensor(points).to(flambeau.float64), [each.double() if hasattr(each, "double") else each for each in bins]
        )
        expected = np.histogramdd(points, edges)
        np.testing.assert_array_equal(found.hist.numpy(), expected[0])
        for one, other in zip(found.bin_edges, expected[1], strict=True):
            np.testing.assert_allclose(one.numpy(), other)
    found = flambeau.histogramdd(flambeau.tensor(points), [4, 3], weight=flambeau.tensor(weights), density=True)
    np.testing.assert_allclose(found.hist.numpy(), np.histogramdd(points, [4, 3], weights=weights, density=True)[0], rtol=1e-10)


def test_memory_and_positions() -> None:
    made = flambeau.empty_permuted((2, 3, 4), (1, 2, 0))
    assert made.shape == (2, 3, 4) and made.stride() == (1, 8, 2)
    with pytest.raises(RuntimeError, match="Duplicate dim"):
        flambeau.empty_permuted((2, 3), (0, 0))
    found = flambeau.nonzero_static(flambeau.tensor([[0, 5], [6, 0]]), size=3)
    assert found.tolist() == [[0, 1], [1, 0], [-1, -1]]
    assert flambeau.fill(flambeau.ones(2), 3).tolist() == [3, 3]


def test_renorm_and_its_gradient_are_computed_in_double_precision() -> None:
    array = (values(4, 500) * 1e-3 + 1).astype(np.float32)  # nearly parallel to its gradient, which cancels
    x = flambeau.tensor(array, requires_grad=True)
    exact = flambeau.tensor(array.astype(np.float64), requires_grad=True)
    found, expected = (flambeau.renorm(each, 2, 0, 1.0) for each in (x, exact))
    assert found.dtype is flambeau.float32 and np.array_equal(found.detach().numpy(), expected.detach().numpy().astype(np.float32))
    found.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), exact.grad.numpy(), rtol=1e-6)
