"""Window functions against SciPy's; ``signal.windows`` is tested with them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal.windows as expected

import flambeau
from flambeau.signal import windows

CASES = {
    "bartlett": {}, "blackman": {}, "cosine": {}, "gaussian": {"std": 1.7}, "general_cosine": {"a": [0.5, 0.3, 0.2]}, "general_hamming": {"alpha": 0.6}, "hamming": {}, "hann": {},
    "kaiser": {"beta": 5.0}, "nuttall": {}, "exponential": {"tau": 2.0},
}  # fmt: skip


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("name", CASES)
def test_signal_windows(name: str, count: int, sym: bool) -> None:
    options = CASES[name]
    theirs = getattr(expected, name)(count, sym=sym, **options)
    found = getattr(windows, name)(count, sym=sym, dtype=flambeau.float64, **options)
    np.testing.assert_allclose(found.numpy(), theirs, atol=1e-12)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hann", "kaiser"])
def test_names_of_the_package(name: str, periodic: bool) -> None:
    options = {"beta": 12.0} if name == "kaiser" else {}
    theirs = getattr(expected, name)(9, sym=not periodic, **options)
    found = getattr(flambeau, f"{name}_window")(9, periodic, dtype=flambeau.float64)
    np.testing.assert_allclose(found.numpy(), theirs, atol=1e-12)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative window length, got M=-1"):
        windows.hann(-1)
    with pytest.raises(ValueError, match="float32 or float64"):
        windows.hann(3, dtype=flambeau.float16)
    with pytest.raises(ValueError, match="Center must be None"):
        windows.exponential(3, center=1.0)
    with pytest.raises(RuntimeError, match="floating point dtypes"):
        flambeau.hann_window(3, dtype=flambeau.int64)
    assert flambeau.hann_window(3, requires_grad=True).requires_grad
