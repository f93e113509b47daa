"""The named tuples of functions with several results."""

from __future__ import annotations

import pickle

import flambeau as torch
from flambeau.return_types import topk


def test_they_are_classes_of_a_module_and_can_be_pickled() -> None:
    found = torch.tensor([[1.0, 3.0], [2.0, 0.0]]).topk(1)
    assert isinstance(found, topk) and topk in torch.return_types.all_return_types
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, topk) and torch.equal(again.indices, found.indices)
    assert type(torch.ones(2, 2).max(0)) is torch.return_types.max
