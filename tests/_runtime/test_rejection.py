"""Rejection samplers: PyTorch's streams, number for number, and the engine's place after them."""

from __future__ import annotations

import numpy as np

import flambeau


def test_poisson_has_pytorch_s_stream() -> None:
    flambeau.manual_seed(0)
    assert flambeau.poisson(flambeau.tensor([0.5, 3.0, 20.0, 100.0, 0.0, 7.0] * 2)).tolist() == [2, 4, 21, 99, 0, 8, 1, 3, 22, 91, 0, 8]


def test_all_of_them_leave_the_stream_where_pytorch_does() -> None:
    flambeau.manual_seed(0)
    flambeau.poisson(flambeau.tensor([0.5, 3.0, 20.0, 100.0, 0.0, 7.0] * 2))
    gamma = flambeau._standard_gamma(flambeau.tensor([0.3, 1.0, 2.5, 50.0, 7.0] * 2))
    np.testing.assert_allclose(
        gamma.numpy(), [1.2351, 1.0806, 2.8431, 58.885, 4.0899, 4.8515e-07, 0.15866, 4.7563, 49.929, 12.846], rtol=1e-4
    )
    binomial = flambeau.binomial(flambeau.tensor([10.0, 100.0, 40.0, 1000.0, 5.0]), flambeau.tensor([0.3, 0.7, 0.5, 0.2, 1.0]))
    assert binomial.tolist() == [3, 66, 22, 191, 5]
    np.testing.assert_allclose(flambeau.rand(2).numpy(), [0.7703, 0.0178], atol=1e-4)
    np.testing.assert_allclose(flambeau.randn(3).numpy(), [3.1110, -0.5788, 0.0177], atol=1e-4)


def test_gamma_s_gradient_is_that_of_its_quantiles() -> None:
    from scipy.special import gammainc, gammaincinv

    shape, value = np.array([0.3, 1.0, 2.5, 50.0, 300.0]), np.array([0.2, 3.0, 2.0, 60.0, 290.0])
    step = 1e-5
    probability = gammainc(shape, value)
    expected = (gammaincinv(shape + step, probability) - gammaincinv(shape - step, probability)) / (2 * step)
    found = flambeau._ops.rejection.GAMMA_SLOPE(flambeau.from_numpy(shape), flambeau.from_numpy(value))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
