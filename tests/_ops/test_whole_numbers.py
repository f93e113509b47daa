"""Where an int is wanted, NumPy's integers and integer tensors of one element are ints, and other numbers are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F

X = flambeau.arange(24.0).view(2, 3, 4)
CALLS: list[Callable[[Any, Any], Any]] = [
    lambda one, two: X.narrow(2, one, two),
    lambda one, two: X.split(two, 2),
    lambda one, two: X.chunk(two, 2),
    lambda one, two: X.roll(one, two),
    lambda one, two: X.sum(two),
    lambda one, two: X.mean(one),
    lambda one, two: X.unfold(2, two, one),
    lambda one, two: X.topk(two),
    lambda one, two: X.kthvalue(two),
    lambda one, two: X.tril(one),
    lambda one, two: X[0].diag(one),
    lambda one, two: X[..., one:two],
    lambda one, two: flambeau.Size([one, two]),
    lambda one, two: flambeau.eye(two, one),
    lambda one, two: flambeau.linspace(0, 1, two),
    lambda one, two: flambeau.logspace(0, 1, two),
    lambda one, two: flambeau.randperm(two).shape,
    lambda one, two: flambeau.bincount(flambeau.tensor([1]), minlength=two),
    lambda one, two: F.one_hot(flambeau.tensor([1]), two),
    lambda one, two: F.interpolate(X, size=two),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [flambeau.tensor, np.int64])
def test_what_counts_as_an_int_is_one(call: Callable, kind: Callable) -> None:
    assert str(call(kind(1), kind(2))) == str(call(1, 2))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [float, str])
def test_other_numbers_are_refused(call: Callable, kind: Callable) -> None:
    with pytest.raises(TypeError):
        call(kind(1), kind(2))


@pytest.mark.parametrize("function", [flambeau.xlogy, flambeau.special.xlog1py])
def test_integers_take_the_dtype_of_the_fractions_that_they_meet(function: Callable) -> None:
    whole, half = flambeau.ones(2, dtype=flambeau.int64), flambeau.ones(2, dtype=flambeau.float16)
    assert function(whole, half).dtype is function(half, whole).dtype is function(half, 2).dtype is flambeau.float16
    assert function(whole, flambeau.tensor(1.0, dtype=flambeau.float64)).dtype is flambeau.float64
    assert function(whole, 2).dtype is flambeau.float32
