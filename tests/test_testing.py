"""``testing.assert_close``: what is compared with what, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.testing import assert_close


def test_numbers_have_the_tolerances_of_float64():
    assert_close(1.0, 1.0 + 5e-8)
    assert_close(np.float32(1), 1.0)
    with pytest.raises(AssertionError, match=r"Scalars are not close!\n\nExpected 1\.0000005 but got 1\.0\."):
        assert_close(1.0, 1.0 + 5e-7)
    with pytest.raises(AssertionError, match="Scalars are not equal!"):
        assert_close(2**53, 2**53 + 1)
    with pytest.raises(AssertionError, match=r"\(d\)types do not match: <class 'int'> != <class 'float'>"):
        assert_close(1, 1.0)
    with pytest.raises(AssertionError, match="Booleans mismatch: True is not False"):
        assert_close(True, False)


def test_the_greatest_differences_are_told_with_their_places():
    one, other = flambeau.tensor([[1.0, 2.0], [3.0, 200.0]]), flambeau.tensor([[1.0, 1.0], [3.0, 202.0]])
    with pytest.raises(AssertionError) as caught:
        assert_close(one, other)
    assert str(caught.value) == (
        "Tensor-likes are not close!\n\nMismatched elements: 2 / 4 (50.0%)\n"
        "Greatest absolute difference: 2.0 at index (1, 1) (up to 1e-05 allowed): 200.0 where 202.0 was expected\n"
        "Greatest relative difference: 1.0 at index (0, 1) (up to 1.3e-06 allowed)"
    )
    with pytest.raises(AssertionError, match=r"Tensor-likes are not equal \(at item \['a'\]\[1\]\)!"):
        assert_close({"a": [1, flambeau.tensor([1, 2])]}, {"a": [1, flambeau.tensor([1, 3])]})


@pytest.mark.parametrize(
    "pair",
    [(flambeau.ones(2), np.ones(2)), (flambeau.tensor(1.0), 1.0), ([1.0], flambeau.ones(1)), ("a", "a"), ({"a": 1}, [1]), (object(), 1)],
    ids=["array", "number", "list", "text", "mapping", "object"],
)
def test_what_cannot_be_compared_is_a_type_error(pair):
    with pytest.raises(TypeError, match=r"assert_close compares tensors with tensors.*but got <class '"):
        assert_close(*pair)


def test_attributes():
    assert_close(None, None)
    assert_close(flambeau.eye(2).to_sparse(), flambeau.eye(2).to_sparse())
    assert_close(flambeau.tensor([3]), flambeau.tensor([3.0]), check_dtype=False)
    assert_close(flambeau.nn.Parameter(flambeau.ones(1)), flambeau.ones(1))
    with pytest.raises(TypeError):
        assert_close(flambeau.nn.Parameter(flambeau.ones(1)), flambeau.ones(1), allow_subclasses=False)
    with pytest.raises(AssertionError, match="None mismatch"):
        assert_close(flambeau.ones(2), None)
    with pytest.raises(AssertionError, match="attribute 'layout'"):
        assert_close(flambeau.eye(2).to_sparse(), flambeau.eye(2))
    with pytest.raises(AssertionError, match=r"attribute 'stride\(\)'"):
        assert_close(flambeau.eye(2), flambeau.eye(2).t(), check_stride=True)
    with pytest.raises(AssertionError, match=r"the actual one lacks \['b'\] and has \[2\] besides"):
        assert_close({1: 1, 2: 3}, {1: 1, "b": 2})
