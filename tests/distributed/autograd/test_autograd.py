"""Backward passes through several processes give the gradients that one process finds."""

from __future__ import annotations

import os
import time

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.distributed import autograd, rpc
from flambeau.distributed.rpc import gradients
from tests.distributed.jobs import run_rpc


def _next(rank, step=1):
    return (rank + step) % 3


def _weight(rank):
    return torch.arange(4.0).reshape(2, 2).add(rank + 1.0).div(7).requires_grad_()


_weights = {}


def _own_weight():
    rank = rpc.get_worker_info().id
    return _weights.setdefault(rank, _weight(rank))


def _around(x, times):
    """``x`` goes around the processes, and is multiplied by the weight of each."""
    rank = rpc.get_worker_info().id
    y = torch.tanh(x @ _own_weight())
    return y if not times else rpc.rpc_sync(_next(rank), _around, args=(y, times - 1)) + y


def _alone(x, rank, times, weights):
    y = torch.tanh(x @ weights[rank])
    return y if not times else _alone(y, _next(rank), times - 1, weights) + y


def _gradient_of_weight(context):
    return autograd.get_gradients(context)[_own_weight()]


def _goes_around(rank):
    if rank:
        return
    weights = [_weight(each).requires_grad_() for each in range(3)]
    x = torch.linspace(-1, 1, 6).reshape(3, 2)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    first = None
    for _ in range(2):
        with autograd.context() as context:
            loss = (_around(theirs, 7) * torch.arange(2.0)).sum() + theirs.square().sum()
            for passes in (1, 2):
                autograd.backward(context, [loss], retain_graph=passes == 1)
                found = [
                    autograd.get_gradients(context)[theirs],
                    *[rpc.rpc_sync(to, _gradient_of_weight, args=(context,)) for to in range(3)],
                ]
                wanted = torch.autograd.grad(
                    (_alone(mine, 0, 7, weights) * torch.arange(2.0)).sum() + mine.square().sum(), [mine, *weights]
                )
                for ours, grad in zip(found, wanted, strict=True):
                    torch.testing.assert_close(ours, grad * passes, rtol=1e-5, atol=1e-6)
            first = first or found
            assert all(map(torch.equal, first, found))  # the same bits again
            assert theirs.grad is None
            with pytest.raises(RuntimeError, match="second time|freed"):
                autograd.backward(context, [loss])
        for to in range(3):
            assert _until(lambda: not rpc.rpc_sync(to, _contexts))  # noqa: B023


def _contexts():
    return len(gradients._CONTEXTS.known)


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_gradients_are_those_of_one_process():
    run_rpc(_goes_around, 3)


def _pair(x):
    return x * 2, x * 3, x.detach()


def _unused(rank):
    """A result that the loss does not need keeps nobody waiting, whether it came with one that it needs or alone."""
    if rank:
        return
    x = torch.ones(3, requires_grad=True)
    with autograd.context() as context:
        first, _, third = rpc.rpc_sync(1, _pair, args=(x,))
        rpc.rpc_sync(1, _pair, args=(x * 5,))
        assert first.requires_grad and not third.requires_grad and first.grad_fn.name() == "RecvRpcBackward"
        reference = rpc.remote(1, torch.mul, args=(x, 4.0))
        loss = first.sum() + reference.to_here().sum()
        with pytest.raises(RuntimeError, match="came from another process"):
            loss.backward(retain_graph=True)
        reference.remote().sum().backward(context)  # begins there
        assert torch.equal(autograd.get_gradients(context)[x], torch.full((3,), 4.0))
    with autograd.context() as context:
        loss = rpc.rpc_sync(1, _pair, args=(x,))[0].sum() + (x * x).sum()
        with torch.no_grad():
            assert not rpc.rpc_sync(1, torch.mul, args=(x, 2))[0].requires_grad
        autograd.backward(context, [loss, loss * 1])
        assert torch.equal(autograd.get_gradients(context)[x], torch.full((3,), 8.0))


def test_what_is_not_used():
    run_rpc(_unused)


def _slow(x, seconds):
    time.sleep(seconds)
    return x * 2


def _not_waited_for(rank):
    """What comes when a context is over makes no new one."""
    if rank:
        return
    x = torch.ones(1, requires_grad=True)
    for _ in range(3):
        with autograd.context():
            futures = [rpc.rpc_async(1, _slow, args=(x, 0.03)) for _ in range(6)]
    assert all(each.wait().item() == 2 for each in futures)
    assert _until(lambda: not rpc.rpc_sync(1, _contexts)) and not _contexts()


def test_calls_that_nobody_has_waited_for():
    run_rpc(_not_waited_for, 2, threads=2)


class _Breaks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        raise ValueError("broken there")


def _break(x):
    return _Breaks.apply(x)


class _Dies(_Breaks):
    @staticmethod
    def backward(ctx, grad):
        os._exit(0)


def _die(x):
    return _Dies.apply(x)


def _errors(rank):
    if rank:
        time.sleep(30)
    x = torch.ones(2, requires_grad=True)
    with autograd.context() as context:
        for roots, message in (
            ([], "roots is empty"), ([x * 1], r"root 0 has shape \[2\]"), ([torch.ones(1)], "requires_grad not set on root 0"),
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match=message):
                autograd.backward(context, roots)
        with pytest.raises(RuntimeError, match="Could not find autograd context with id: 12345"):
            autograd.backward(12345, [x.sum()])
        with pytest.raises(RuntimeError, match="Already have an autograd context"), autograd.context():
            pass
        with pytest.raises(ValueError, match="broken there"):
            autograd.backward(context, [rpc.rpc_sync(1, _break, args=(x,)).sum()])
    with autograd.context() as context, pytest.raises(RuntimeError, match=r"worker1 \(rank 1\) is gone"):
        autograd.backward(context, [rpc.rpc_sync(1, _die, args=(x,)).sum()])
    rpc.shutdown(graceful=False)


def test_errors_reach_who_waits():
    run_rpc(_errors)


class Part(nn.Module):
    def __init__(self, rank):
        super().__init__()
        torch.manual_seed(rank)
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return torch.relu(self.linear(x))

    def references(self):
        return [rpc.RRef(each) for each in self.parameters()]


def _trains(rank):
    from flambeau.distributed.optim import DistributedOptimizer

    if rank:
        return
    parts = [rpc.remote(to, Part, args=(to,)) for to in range(3)]
    references = [each for part in parts for each in part.rpc_sync().references()]
    alone = nn.Sequential(*[Part(to) for to in range(3)])
    optimizer = DistributedOptimizer(torch.optim.AdamW, references, lr=0.1, weight_decay=0.0)
    reference = torch.optim.AdamW(alone.parameters(), lr=0.1, weight_decay=0.0)
    x = torch.linspace(-1, 2, 12).reshape(4, 3)
    for _ in range(4):
        with autograd.context() as context:
            y = x
            for part in parts:
                y = part.rpc_sync().forward(y)
            loss = y.square().sum()
            autograd.backward(context, [loss])
            optimizer.step(context)
        reference.zero_grad()
        wanted = alone(x).square().sum()
        wanted.backward()
        reference.step()
        torch.testing.assert_close(loss.detach(), wanted.detach(), rtol=1e-5, atol=1e-6)
    for part, own in zip(parts, alone, strict=True):
        torch.testing.assert_close(part.to_here().linear.weight, own.linear.weight, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Invalid learning rate"):
        DistributedOptimizer(torch.optim.SGD, parts[1].rpc_sync().references(), lr=-1.0)
    with pytest.raises(ValueError, match="empty parameter list"):
        DistributedOptimizer(torch.optim.SGD, [], lr=0.1)


def test_distributed_optimizer():
    run_rpc(_trains, 3)


def _work(x):
    return x * _own_weight()


def _with_ddp(rank, path):
    """``DistributedDataParallel`` averages the gradients that a context collects, and the parameters' ``grad`` stays."""
    from flambeau import distributed

    distributed.init_process_group("gloo", init_method=f"file://{path}/ddp", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    weight, x = model.module.weight, torch.full((2, 2), rank + 1.0)
    for _ in range(2):
        with autograd.context() as context:
            loss = rpc.rpc_sync(1 - rank, _work, args=(model(x),)).sum()
            autograd.backward(context, [loss])
            found = autograd.get_gradients(context)[weight]
            wanted = sum((torch.full((2, 2), each + 1.0).t() @ _weight(1 - each).detach()).t() for each in range(2)) / 2
            torch.testing.assert_close(found, wanted)
            assert weight.grad is None
            distributed.barrier()
    distributed.destroy_process_group()


def test_with_data_parallel(tmp_path):
    run_rpc(_with_ddp, 2, str(tmp_path))
