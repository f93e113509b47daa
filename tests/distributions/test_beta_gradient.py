"""The gradient of a beta sample by its shapes, against finite differences of the distribution function."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import distributions


@pytest.mark.parametrize(("first", "second"), [(15.0, 15.0), (0.5, 2.0), (3.0, 0.3), (200.0, 100.0), (0.01, 0.01)])
def test_gradient_of_a_beta_sample_keeps_its_probability(first, second):
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    shapes = [torch.full((50,), each, dtype=torch.float64, requires_grad=True) for each in (first, second)]
    sample = distributions.Beta(*shapes).rsample()
    sample.sum().backward()
    x = sample.detach().numpy()
    inside = (x > 1e-12) & (x < 1 - 1e-6)
    for number, shape in enumerate(shapes):
        step = 1e-5 * shape[0].item()
        up, down = [first, second], [first, second]
        up[number] += step
        down[number] -= step
        expected = (stats.beta.cdf(x, *down) - stats.beta.cdf(x, *up)) / (2 * step) / stats.beta.pdf(x, first, second)
        torch.testing.assert_close(shape.grad[inside], torch.from_numpy(expected[inside]), rtol=1e-4, atol=1e-9)
