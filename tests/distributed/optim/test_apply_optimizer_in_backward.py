from __future__ import annotations

import flambeau as torch
from flambeau import nn
from flambeau.distributed.optim import _apply_optimizer_in_backward, _get_in_backward_optimizers


def test_steps_are_those_after_the_pass():
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    _apply_optimizer_in_backward(torch.optim.SGD, models[0][0].parameters(), {"lr": 0.1, "momentum": 0.9})
    _apply_optimizer_in_backward(torch.optim.Adam, models[0][2].parameters(), {"lr": 0.01})
    optimizers = [torch.optim.SGD(models[1][0].parameters(), lr=0.1, momentum=0.9), torch.optim.Adam(models[1][2].parameters(), lr=0.01)]
    for step in range(3):
        x = torch.full((2, 3), step + 1.0)
        models[0](x).square().sum().backward()
        models[1].zero_grad()
        models[1](x).square().sum().backward()
        for each in optimizers:
            each.step()
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(ours, theirs) and ours.grad is None
    assert [type(each).__name__ for each in _get_in_backward_optimizers(models[0])] == ["SGD", "SGD", "Adam", "Adam"]
