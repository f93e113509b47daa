from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import distributed
from flambeau.distributed.optim import ZeroRedundancyOptimizer
from tests.distributed.jobs import run


def _model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def _train(model, optimizer, steps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(3, 4, generator=generator)).square().sum().backward()
        optimizer.step()


def _steps(rank, size):
    plain, sharded = _model(), _model()
    settings = {"lr": 0.01, "weight_decay": 0.1}
    reference = torch.optim.AdamW(plain.parameters(), **settings)
    optimizer = ZeroRedundancyOptimizer(sharded.parameters(), torch.optim.AdamW, **settings)
    _train(plain, reference, 3)
    _train(sharded, optimizer, 3)
    for each, other in zip(plain.parameters(), sharded.parameters(), strict=True):
        assert torch.equal(each, other)
    assert len(optimizer.optim.state) < 4 or size == 1
    with pytest.raises(RuntimeError, match="has not been consolidated on this rank"):
        optimizer.state_dict()
    optimizer.consolidate_state_dict()
    whole = [optimizer.state_dict() if rank == 0 else None]
    distributed.broadcast_object_list(whole, 0)
    expected = reference.state_dict()
    assert whole[0]["state"].keys() == expected["state"].keys()
    for number, state in expected["state"].items():
        assert all(torch.equal(torch.as_tensor(state[name]), torch.as_tensor(whole[0]["state"][number][name])) for name in state)
    again = _model()
    again.load_state_dict(sharded.state_dict())
    restored = ZeroRedundancyOptimizer(again.parameters(), torch.optim.AdamW, lr=1.0)
    restored.load_state_dict(whole[0])
    _train(again, restored, 2, seed=5)
    _train(sharded, optimizer, 2, seed=5)
    for each, other in zip(again.parameters(), sharded.parameters(), strict=True):
        assert torch.equal(each, other)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_steps_are_those_of_the_optimizer(size):
    run(_steps, size, size)


def _groups(rank):
    model = _model()
    optimizer = ZeroRedundancyOptimizer(model[0].parameters(), torch.optim.SGD, lr=0.1)
    optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.0})
    before = [each.detach().clone() for each in model[2].parameters()]
    _train(model, optimizer, 1)
    assert all(map(torch.equal, before, model[2].parameters()))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0]
    with pytest.raises(NotImplementedError, match="overlap_with_ddp"):
        ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=0.1, overlap_with_ddp=True)


def test_groups_have_their_settings():
    run(_groups)
