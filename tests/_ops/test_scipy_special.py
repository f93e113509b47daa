"""Special functions that SciPy computes, and their gradients."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.special

import flambeau
from flambeau import special
from flambeau.autograd import gradcheck

X = np.array([0.1, 0.5, 1.0, 2.5, 7.0])
THEIRS = {
    "airy_ai": lambda x: scipy.special.airy(x)[0], "bessel_j0": scipy.special.j0, "bessel_j1": scipy.special.j1, "bessel_y0": scipy.special.y0, "bessel_y1": scipy.special.y1,
    "modified_bessel_i0": scipy.special.i0, "modified_bessel_i1": scipy.special.i1, "modified_bessel_k0": scipy.special.k0, "modified_bessel_k1": scipy.special.k1,
    "scaled_modified_bessel_k0": scipy.special.k0e, "scaled_modified_bessel_k1": scipy.special.k1e, "spherical_bessel_j0": lambda x: np.sin(x) / x, "erfcx": scipy.special.erfcx,
    "log_ndtr": scipy.special.log_ndtr,
}  # fmt: skip


@pytest.mark.parametrize("name", THEIRS)
def test_values(name: str) -> None:
    np.testing.assert_allclose(getattr(special, name)(flambeau.tensor(X)).numpy(), THEIRS[name](X), rtol=1e-12)
    assert getattr(special, name)(flambeau.tensor([1, 2])).dtype == flambeau.float32


def test_ndtri() -> None:
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(special.ndtri(flambeau.tensor(p)).numpy(), scipy.special.ndtri(p), rtol=1e-12)


def test_incomplete_gamma() -> None:
    a, x = np.array([0.5, 1.0, 3.0]), np.array([[0.2], [4.0]])
    np.testing.assert_allclose(flambeau.igamma(flambeau.tensor(a), flambeau.tensor(x)).numpy(), scipy.special.gammainc(a, x), rtol=1e-12)
    np.testing.assert_allclose(special.gammaincc(flambeau.tensor(a), flambeau.tensor(x)).numpy(), scipy.special.gammaincc(a, x), rtol=1e-12)
    with pytest.raises(NotImplementedError, match="igamma: input"):
        flambeau.igamma(flambeau.tensor(a, requires_grad=True), flambeau.tensor(x)).sum().backward()


def test_gradients() -> None:
    x = flambeau.tensor([-3.0, -0.5, 0.4, 2.0], dtype=flambeau.float64, requires_grad=True)
    for function in (special.erfcx, special.log_ndtr):
        assert gradcheck(function, (x,))
    assert gradcheck(special.ndtri, (flambeau.tensor([0.2, 0.6], dtype=flambeau.float64, requires_grad=True),))


def test_the_entropy_s_gradient_is_that_of_the_formula_everywhere() -> None:
    x = flambeau.tensor([-1.0, 0.0, 0.5, 2.0, np.nan, np.inf], requires_grad=True)
    entropy = special.entr(x)
    np.testing.assert_allclose(entropy.detach().numpy(), [-np.inf, 0, 0.5 * np.log(2), -2 * np.log(2), np.nan, -np.inf], rtol=1e-6)
    entropy.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [np.nan, np.inf, np.log(2) - 1, -np.log(2) - 1, np.nan, -np.inf], rtol=1e-6)
    assert gradcheck(special.entr, (flambeau.tensor([0.3, 2.0], dtype=flambeau.float64, requires_grad=True),))
    with pytest.raises(RuntimeError, match="not supported for complex"):
        special.entr(flambeau.tensor([1j]))


def test_without_scipy_the_call_names_the_function_and_the_extra() -> None:
    program = """
        import sys
        sys.modules["scipy"] = sys.modules["scipy.special"] = None
        import flambeau
        x = flambeau.rand(3)
        for name in ("erfcx", "log_ndtr", "ndtri", "airy_ai"):
            try:
                getattr(flambeau.special, name)(x)
            except ImportError as error:
                print(error)
        try:
            flambeau.igamma(x, x)
        except ImportError as error:
            print(error)
        print((x + 1 > 0).all().item())
        """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    expected = [
        f'special.{name} needs SciPy: pip install "flambeau[scipy]"' for name in ("erfcx", "log_ndtr", "ndtri", "airy_ai", "gammainc")
    ]
    assert result.stdout.splitlines() == [*expected, "True"], result.stderr
