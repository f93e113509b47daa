from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.utils._foreach_utils import _group_tensors_by_device_and_dtype as group


def test_lists_by_dtype():
    first = [torch.ones(1), torch.ones(2, dtype=torch.float64), torch.ones(3)]
    groups = group([first, [None, 5, "six"], []], with_indices=True)
    assert groups == {
        (torch.device("cpu"), torch.float32): ([[first[0], first[2]], [None, "six"], []], [0, 2]),
        (torch.device("cpu"), torch.float64): ([[first[1]], [5], []], [1]),
    }
    assert group([first[:1]]) == {(torch.device("cpu"), torch.float32): ([[first[0]]], [])}


@pytest.mark.parametrize(("lists", "why"), [([], "at least one"), ([[torch.ones(1)], [1, 2]], "1 and 2"), ([[None]], "tensors alone")])
def test_lists_that_do_not_fit(lists, why):
    with pytest.raises(RuntimeError, match=why):
        group(lists)
