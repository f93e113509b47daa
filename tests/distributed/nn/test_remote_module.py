from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.distributed import autograd, rpc
from flambeau.distributed.nn import RemoteModule
from flambeau.distributed.optim import DistributedOptimizer
from tests.distributed.jobs import run_rpc


class Scale(nn.Module):
    def __init__(self, start, fails=False):
        super().__init__()
        if fails:
            raise ValueError("no such scale")
        self.factor = nn.Parameter(torch.tensor(float(start)))
        self.register_buffer("shift", torch.ones(1))

    def forward(self, x, times=1):
        return x * self.factor * times + self.shift


def _use(module):
    return module(torch.ones(2))


def _remote(rank):
    if rank:
        return
    module = RemoteModule("worker1/cpu", Scale, args=(2,))
    x = torch.ones(2)
    assert torch.equal(module(x), torch.full((2,), 3.0)) and torch.equal(module.forward_async(x, times=2).wait(), torch.full((2,), 5.0))
    assert module.get_module_rref().owner_name() == "worker1" and "on=worker1, device=cpu" in repr(module)
    for to in (0, 1, 2):
        assert torch.equal(rpc.rpc_sync(to, _use, args=(module,)), torch.full((2,), 3.0))
    optimizer = DistributedOptimizer(torch.optim.SGD, module.remote_parameters(), lr=0.5)
    with autograd.context() as context:
        autograd.backward(context, [module(x).sum()])
        optimizer.step(context)
    assert torch.equal(module(x), torch.full((2,), 2.0))
    assert torch.equal(RemoteModule.init_from_module_rref("rank:1", module.get_module_rref())(x), module(x))
    holder = nn.Sequential()
    holder.part = module
    assert torch.equal(holder.part(x), module(x))
    with pytest.raises(ValueError, match="Method ``parameters`` not supported for RemoteModule"):
        module.parameters()
    with pytest.raises(ValueError, match="no such scale"):
        RemoteModule("worker1", Scale, args=(1,), kwargs={"fails": True})
    with pytest.raises(TypeError, match="to be a class of modules"):
        RemoteModule("worker1", dict)
    with pytest.raises(ValueError, match="live on the CPU"):
        RemoteModule("worker1/cuda:0", Scale, args=(1,))
    with pytest.raises(RuntimeError, match="Unknown destination worker 'nobody'"):
        RemoteModule("nobody/cpu", Scale, args=(1,))


def test_remote_module():
    run_rpc(_remote, 3)
