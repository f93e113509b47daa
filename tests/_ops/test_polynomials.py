"""Orthogonal polynomials against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import flambeau
from flambeau._ops import polynomials

THEIRS = {
    "chebyshev_polynomial_t": scipy.special.eval_chebyt, "chebyshev_polynomial_u": scipy.special.eval_chebyu, "hermite_polynomial_h": scipy.special.eval_hermite,
    "hermite_polynomial_he": scipy.special.eval_hermitenorm, "laguerre_polynomial_l": scipy.special.eval_laguerre, "legendre_polynomial_p": scipy.special.eval_legendre,
    "shifted_chebyshev_polynomial_t": scipy.special.eval_sh_chebyt, "shifted_chebyshev_polynomial_u": scipy.special.eval_sh_chebyu,
}  # fmt: skip
X = np.linspace(-1.5, 1.5, 13)


@pytest.mark.parametrize("name", THEIRS)
def test_against_scipy(name: str) -> None:
    for degree in (0, 1, 2, 3, 7):
        found = getattr(flambeau.special, name)(flambeau.tensor(X), degree)
        np.testing.assert_allclose(found.numpy(), THEIRS[name](degree, X), rtol=1e-11, atol=1e-11)


def test_third_and_fourth_kind() -> None:
    """``V_n = U_n - U_(n-1)`` and ``W_n = U_n + U_(n-1)``."""
    u = lambda n: scipy.special.eval_chebyu(n, X)
    for degree in (1, 4):
        for name, expected in (("v", u(degree) - u(degree - 1)), ("w", u(degree) + u(degree - 1))):
            found = getattr(flambeau.special, f"chebyshev_polynomial_{name}")(flambeau.tensor(X), degree)
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-11)
            shifted = getattr(flambeau.special, f"shifted_chebyshev_polynomial_{name}")(flambeau.tensor((X + 1) / 2), degree)
            np.testing.assert_allclose(shifted.numpy(), expected, atol=1e-11)


def test_degrees_may_differ_for_each_element() -> None:
    x, n = flambeau.tensor([0.5, 0.5, 0.5]), flambeau.tensor([0, 2, -1])
    np.testing.assert_allclose(flambeau.special.legendre_polynomial_p(x, n).numpy(), [1.0, -0.125, 0.0])
    assert set(polynomials.NAMES) <= set(flambeau.special.__all__)
