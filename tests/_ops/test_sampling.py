"""Random numbers: what the streams of `tests/_runtime` are made into."""

from __future__ import annotations

import pytest

import flambeau


@pytest.mark.parametrize(("kind", "part"), [("complex64", "float32"), ("complex128", "float64")])
def test_uniform_of_complex_numbers_draws_their_parts(kind, part):
    flambeau.manual_seed(3)
    numbers = flambeau.empty(5, dtype=getattr(flambeau, kind)).uniform_(-2, 1)
    flambeau.manual_seed(3)
    parts = flambeau.empty(5, 2, dtype=getattr(flambeau, part)).uniform_(-2, 1)
    assert flambeau.equal(flambeau.view_as_real(numbers), parts)
