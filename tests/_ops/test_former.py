"""Calls with the number before the tensors, as optimizers of ten years ago have them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import flambeau

X, Y = flambeau.tensor([1.0, 2.0, 3.0]), flambeau.tensor([4.0, 0.5, 2.0])


@pytest.mark.parametrize(
    ("former", "now"),
    [
        (lambda: flambeau.add(X, 2, Y), lambda: X + 2 * Y),
        (lambda: X.clone().add_(2, Y), lambda: X + 2 * Y),
        (lambda: X.sub(0.5, Y), lambda: X - 0.5 * Y),
        (lambda: X.clone().sub_(0.5, Y), lambda: X - 0.5 * Y),
        (lambda: X.addcmul(2, X, Y), lambda: X.addcmul(X, Y, value=2)),
        (lambda: X.clone().addcmul_(2, X, Y), lambda: X.addcmul(X, Y, value=2)),
        (lambda: X.addcdiv(-1, X, Y), lambda: X.addcdiv(X, Y, value=-1)),
        (lambda: X.clone().addcdiv_(-1, X, Y), lambda: X.addcdiv(X, Y, value=-1)),
    ],
)
def test_the_number_may_come_first(former: Callable, now: Callable) -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        result = former()
    assert flambeau.equal(result, now())


@pytest.mark.parametrize(
    "call",
    [lambda: X.add(Y, 2), lambda: X.addcmul(X, Y, 2), lambda: X.add(1, X, Y), lambda: X.addcdiv(2, X, 3)],
)
def test_other_orders_are_refused(call: Callable) -> None:
    with pytest.raises(TypeError):
        call()
