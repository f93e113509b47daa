"""LAPACK's threads."""

from __future__ import annotations

import pytest

import flambeau
from flambeau._ops.linalg import threads


def test_lapack_has_one_thread_while_we_call_it_and_then_as_many_as_before() -> None:
    found = threads._openblas()
    if found is None:
        pytest.skip("NumPy has another LAPACK")
    get, set = found
    before = get()
    set(2)
    try:
        if get() != 2:
            pytest.skip("this OpenBLAS has one thread")
        with pytest.raises(ZeroDivisionError), threads.single_threaded():
            assert get() == 1
            1 / 0  # noqa: B018
        assert get() == 2
    finally:
        set(before)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    a = flambeau.randn(150, 150)
    before, found = flambeau.get_num_threads(), []
    try:
        for count in (1, 2):
            flambeau.set_num_threads(count)
            found.append([flambeau.linalg.svdvals(a), flambeau.linalg.solve(a, a.mT), *flambeau.linalg.qr(a)])
    finally:
        flambeau.set_num_threads(before)
    assert all(left.equal(right) for left, right in zip(*found, strict=True))
