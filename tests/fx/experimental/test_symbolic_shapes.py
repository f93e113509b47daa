from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.export import Dim, export
from flambeau.fx.experimental import symbolic_shapes


@pytest.mark.parametrize("name", ["guard_or_false", "guard_or_true", "guard_size_oblivious", "statically_known_true"])
def test_conditions_are_decided(name):
    asked = getattr(symbolic_shapes, name)
    assert asked(2 > 1) is True and asked(1 > 2) is False

    class Net(torch.nn.Module):
        def forward(self, x):
            return x + 1 if asked(x.shape[0] > 1) else x - 1

    program = export(Net(), (torch.zeros(3),), dynamic_shapes=({0: Dim("n", min=2)},))
    assert program.module()(torch.zeros(5)).tolist() == [1] * 5
