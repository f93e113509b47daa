"""Options of ``linear_cross_entropy``: known, checked, and without a say in the result."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn


def test_they_change_nothing() -> None:
    flambeau.manual_seed(0)
    x, weight, target = flambeau.randn(6, 3), flambeau.randn(4, 3), flambeau.tensor([0, 1, 2, 3, 0, 1])
    plain = nn.functional.linear_cross_entropy(x, weight, target)
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=2, chunking_method=None, acc_policy="compact", acc_dtype=flambeau.float32)
    assert flambeau.equal(nn.functional.linear_cross_entropy(x, weight, target, options=options), plain)
    assert nn.LinearCrossEntropyOptions(chunking_method="aspect_ratio:4") == nn.LinearCrossEntropyOptions(chunking_method="aspect_ratio:4")


@pytest.mark.parametrize(
    "wrong",
    [{"acc_policy": "x"}, {"chunking_method": "aspect_ratio:0"}, {"chunking_method": "x"}, {"batch_chunk_size": 0}, {"acc_dtype": 3}],
)
def test_values_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        nn.LinearCrossEntropyOptions(**wrong)
