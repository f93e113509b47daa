"""Dropout."""

from __future__ import annotations

import flambeau


def test_dropout_draws_in_the_order_of_memory() -> None:
    x = flambeau.ones(20, 30)
    masks = []
    for each in (x, x.t(), x.t().contiguous().t().clone()):
        flambeau.manual_seed(1)
        masks.append(flambeau.dropout(each, 0.5))
    plain, turned, copied = masks
    assert turned.t().equal(plain) and turned.stride() == (1, 30) and 200 < plain.count_nonzero() < 400
    flambeau.manual_seed(1)
    assert flambeau.dropout_(x.clone().t(), 0.5).t().equal(plain)
    flambeau.manual_seed(1)
    assert flambeau.dropout(x.reshape(30, 20).t(), 0.5).t().reshape(-1).equal(plain.reshape(-1))
    assert copied.stride() == (1, 20) and copied.t().reshape(-1).equal(plain.reshape(-1))
