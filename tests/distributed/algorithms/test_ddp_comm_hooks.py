"""Communication hooks: what each makes of the gradients of two processes."""

from __future__ import annotations

import pickle

import pytest

import flambeau as torch
from flambeau import distributed, nn
from flambeau.distributed.algorithms.ddp_comm_hooks import DDPCommHookType, register_ddp_comm_hook
from flambeau.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, batched_powerSGD_hook, powerSGD_hook
from flambeau.distributed.algorithms.ddp_comm_hooks.quantization_hooks import quantization_perchannel_hook, quantization_pertensor_hook
from flambeau.distributed.grad_bucket import GradBucket
from tests.distributed.jobs import run


def _bucket(gradients):
    return GradBucket(0, [(each, each) for each in gradients], True)


def _mean(gradients):
    found = []
    for each in gradients:
        total = each.clone()
        distributed.all_reduce(total)
        found.append((total / 2).reshape(-1))
    return torch.cat(found)


def _low_rank(rank):
    """Gradients that thin matrices can hold are averaged without loss, and so are vectors."""
    column, row = torch.linspace(-1, 1, 12), torch.linspace(1, 2, 20)
    gradients = [torch.outer(column, row) * (rank + 1), torch.arange(5.0) + rank, torch.outer(row, column).reshape(20, 3, 4) - 0 * rank]
    for settings in ({}, {"warm_start": False}, {"orthogonalization_epsilon": 1e-8}, {"matrix_approximation_rank": 2}):
        state = PowerSGDState(None, start_powerSGD_iter=2, use_error_feedback=False, **settings)
        for _ in range(4):
            found = powerSGD_hook(state, _bucket(gradients)).wait()
            torch.testing.assert_close(found, _mean(gradients), rtol=1e-4, atol=1e-4)
        assert state.iter == 4 and state.compression_stats()[0] > 2


def _feedback(rank):
    """What a step leaves out comes with later ones: the sum of what was sent, and of what is missing still, is that of the averages."""
    generator = torch.Generator().manual_seed(rank)
    for hook in (powerSGD_hook, batched_powerSGD_hook):
        state = PowerSGDState(None, start_powerSGD_iter=2)
        sent = wanted = torch.zeros(12 * 20 + 5)
        for step in range(6):
            gradients = [torch.randn(12, 20, generator=generator), torch.randn(5, generator=generator)]
            found = hook(state, _bucket(gradients)).wait()
            assert torch.equal(found, _mean(gradients)) == (step < 2)
            sent, wanted = sent + found, wanted + _mean(gradients)
            every = [torch.empty_like(found) for _ in range(2)]
            distributed.all_gather(every, found)
            assert torch.equal(*every)
        missing = _mean([state.error_dict[0]])[: len(sent)]
        torch.testing.assert_close(sent + missing, wanted, rtol=1e-4, atol=1e-4)
        assert pickle.loads(pickle.dumps(state)).iter == 6


def _quantized(rank):
    generator = torch.Generator().manual_seed(rank)
    gradients = [torch.randn(30, 40, generator=generator) * 3, torch.zeros(7), torch.randn(500, generator=generator) * 0.01]
    wanted = _mean(gradients)
    span = torch.cat([each.reshape(-1) for each in gradients])
    step = (span.max() - span.min()).item() / 255
    found = quantization_pertensor_hook(None, _bucket(gradients)).wait()
    assert (found - wanted).abs().max() < 1.1 * step and not torch.equal(found, wanted)
    finer = quantization_perchannel_hook(None, _bucket(gradients), 100).wait()
    assert (finer - wanted)[-400:].abs().max() < step / 20
    zeros = _bucket([torch.zeros(3)])
    assert torch.equal(quantization_pertensor_hook(None, zeros).wait(), torch.zeros(3))


def _by_name(rank):
    for kind in DDPCommHookType:
        torch.manual_seed(0)
        model = nn.parallel.DistributedDataParallel(nn.Linear(6, 4))
        register_ddp_comm_hook(kind, model)
        model(torch.full((2, 6), rank + 1.0)).sum().backward()
        wanted = 2 * (rank + 1.0) if kind is DDPCommHookType.NOOP else 3.0
        torch.testing.assert_close(model.module.weight.grad, torch.full((4, 6), wanted), rtol=0.02, atol=0.0)
    with pytest.raises(ValueError, match="Expect `start_powerSGD_iter` > 1"):
        PowerSGDState(None, start_powerSGD_iter=1)


@pytest.mark.parametrize("job", [_low_rank, _feedback, _quantized, _by_name], ids=lambda job: job.__name__[1:])
def test_hooks(job):
    run(job)
