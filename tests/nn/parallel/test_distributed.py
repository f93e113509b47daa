from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import distributed, nn
from flambeau.distributed.algorithms import Join
from flambeau.distributed.algorithms.ddp_comm_hooks import default_hooks
from flambeau.distributed.optim import ZeroRedundancyOptimizer
from flambeau.nn.parallel import DistributedDataParallel
from tests.distributed.jobs import run


def _network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))


def _batch(rows=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, 6, 6, generator=generator), torch.randint(0, 5, (rows,), generator=generator)


def _same_everywhere(tensors):
    every = [None] * distributed.get_world_size()
    distributed.all_gather_object(every, [each.detach() for each in tensors])
    return all(torch.equal(mine, theirs) for other in every for mine, theirs in zip(every[0], other, strict=True))


def _training(rank, size):
    alone = _network()
    together = DistributedDataParallel(_network(seed=rank))
    assert next(iter(together.state_dict())) == "module.0.weight" and _same_everywhere(together.parameters())
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in (alone, together)]
    for step in range(4):
        x, y = _batch(6, step)
        for model, part, optimizer in ((alone, slice(None), optimizers[0]), (together, slice(rank, None, size), optimizers[1])):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
        assert _same_everywhere(together.parameters())
    for each, other in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(each, other)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_training_is_that_of_one_process_with_the_whole_batch(size):
    run(_training, size, size)


def _accumulation(rank):
    model = DistributedDataParallel(nn.Linear(3, 1, bias=False))
    x = torch.full((1, 3), rank + 1.0)
    with model.no_sync():
        model(x).sum().backward()
    assert model.module.weight.grad.tolist() == [[rank + 1.0] * 3]
    model(x).sum().backward()
    assert model.module.weight.grad.tolist() == [[3.0] * 3]
    model(x).sum().backward()  # adds to an average
    assert model.module.weight.grad.tolist() == [[4.5] * 3]
    with torch.no_grad():
        model(x)
    other = torch.ones(1, requires_grad=True)
    other.mul(2).sum().backward()  # has nothing to do with the model
    assert model.module.weight.grad.tolist() == [[4.5] * 3]
    model.zero_grad()
    for _ in range(4):  # passes that come again are replayed
        model(x).sum().backward()
        assert model.module.weight.grad.tolist() == [[1.5] * 3]
        model.zero_grad()


def test_gradients_add_up():
    run(_accumulation)


class _Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(2, 1, bias=False) for _ in range(3))

    def forward(self, x, branch):
        return self.first(x) if branch == 0 else self.second(x)


def _unused(rank):
    model = DistributedDataParallel(_Branches(), find_unused_parameters=True)
    for _ in range(2):
        model.zero_grad()
        model(torch.ones(1, 2), rank).sum().backward()
        assert model.module.first.weight.grad.tolist() == model.module.second.weight.grad.tolist() == [[0.5, 0.5]]
        assert model.module.third.weight.grad is None
    model = DistributedDataParallel(_Branches())
    model(torch.ones(1, 2), 0).sum().backward()
    with pytest.raises(
        RuntimeError, match="Expected to have finished reduction in the prior iteration.*not used in producing loss: second.weight, third"
    ):
        model(torch.ones(1, 2), 0)


def test_unused_parameters():
    run(_unused)


def _buffers(rank):
    model = DistributedDataParallel(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    for step in range(2):
        model(torch.full((3, 2), float(rank)) + torch.arange(6.0).reshape(3, 2) * (step + 1)).sum().backward()
    assert not _same_everywhere(model.buffers())
    model.eval()
    model(torch.ones(1, 2))  # begins with the buffers of process 0
    assert _same_everywhere(model.buffers())
    model = DistributedDataParallel(nn.BatchNorm1d(2), broadcast_buffers=False)
    model(torch.randn(3, 2, generator=torch.Generator().manual_seed(rank)))
    model(torch.ones(3, 2))
    assert not _same_everywhere(model.buffers())
    for settings, begins, continues in (
        ({"broadcast_buffers": False}, False, False),
        ({"forward_sync_buffers": False}, True, False),
        ({"broadcast_buffers": None}, True, True),
    ):
        module = nn.BatchNorm1d(2)
        module.running_mean.fill_(rank)
        model = DistributedDataParallel(module, **settings)
        assert _same_everywhere(model.buffers()) == begins
        module.running_mean.fill_(rank)
        model.eval()
        model(torch.ones(1, 2))
        assert _same_everywhere(model.buffers()) == continues


def test_buffers_are_those_of_process_0():
    run(_buffers)


def _modules(rank):
    with pytest.raises(RuntimeError, match="doesn't have any parameters that require a gradient"):
        DistributedDataParallel(nn.ReLU())
    with pytest.raises(ValueError, match=r"got device_ids \[0\]"):
        DistributedDataParallel(nn.Linear(1, 1), device_ids=[0])
    with pytest.raises(NotImplementedError, match="does not support mixed_precision"):
        DistributedDataParallel(nn.Linear(1, 1), mixed_precision=object(), device_mesh=None)
    with pytest.raises(RuntimeError, match=r"\[weight\]: params appear not to match sizes of the same params in rank [01]"):
        DistributedDataParallel(nn.Linear(2 + rank, 1))
    with pytest.raises(RuntimeError, match="DDP expects same model across all ranks"):
        DistributedDataParallel(nn.Linear(2, 1, bias=bool(rank)))


def test_modules_must_be_the_same():
    run(_modules)


def _layouts(rank):
    model = DistributedDataParallel(_network().to(memory_format=torch.channels_last))
    model(_batch(2, rank)[0]).sum().backward()
    assert _same_everywhere(each.grad for each in model.parameters())
    plain = _network()
    for seed in range(2):
        plain(_batch(2, seed)[0]).sum().div(2).backward()
    torch.testing.assert_close([each.grad for each in plain.parameters()], [each.grad.contiguous() for each in model.parameters()])
    assert model.module[0].weight.grad.stride() == model.module[0].weight.stride()
    half = DistributedDataParallel(nn.Linear(2, 1).to(torch.bfloat16))
    half(torch.full((1, 2), rank + 1.0, dtype=torch.bfloat16)).sum().backward()
    assert half.module.weight.grad.tolist() == [[1.5, 1.5]]


def test_gradients_of_any_layout_and_dtype():
    run(_layouts)


def _hooks(rank):
    expected = None
    for hook, tolerance in (
        (None, None),
        (default_hooks.allreduce_hook, 1e-5),
        (default_hooks.fp16_compress_hook, 1e-3),
        (default_hooks.bf16_compress_wrapper(default_hooks.allreduce_hook), 1e-2),
    ):
        model = DistributedDataParallel(_network(), bucket_cap_mb=0.001)
        if hook is not None:
            model.register_comm_hook(None, hook)
            with pytest.raises(RuntimeError, match="can only be called once"):
                model.register_comm_hook(None, hook)
        model(_batch(2, rank)[0]).sum().backward()
        gradients = [each.grad for each in model.parameters()]
        assert _same_everywhere(gradients)
        expected = gradients if expected is None else expected
        if tolerance is not None:
            torch.testing.assert_close(gradients, expected, rtol=tolerance, atol=tolerance)

    def double(state, bucket):
        state.append((bucket.index(), bucket.is_last(), len(bucket.gradients()), len(bucket.parameters())))
        future = torch.futures.Future()
        future.set_result(bucket.buffer() * 2)
        return future

    seen: list = []
    model = DistributedDataParallel(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)))
    model.register_comm_hook(seen, double)
    model(torch.ones(1, 2)).sum().backward()
    assert model.module[1].bias.grad.item() == 2 and seen == [(0, True, 4, 4)]


def test_communication_hooks():
    run(_hooks)


def _uneven(rank):
    model = DistributedDataParallel(nn.Linear(1, 1, bias=False))
    torch.nn.init.ones_(model.module.weight)
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, lr=1.0)
    seen = []
    with Join([model, optimizer]):
        for _ in range(2 + 2 * rank):
            optimizer.zero_grad()
            model(torch.ones(1, 1)).sum().backward()
            seen.append(model.module.weight.grad.item())
            optimizer.step()
    assert seen == ([1.0, 1.0] if rank == 0 else [1.0, 1.0, 0.5, 0.5])
    assert model.module.weight.item() == 1 - 3 and _same_everywhere(model.parameters())
    with model.join(divide_by_initial_world_size=False):
        for _ in range(1 + rank):
            model.zero_grad()
            model(torch.ones(1, 1)).sum().backward()
            assert model.module.weight.grad.item() == 1.0
    with pytest.raises(RuntimeError, match="at least one rank that exhausted inputs"), model.join(throw_on_early_termination=True):
        for _ in range(1 + rank):
            model(torch.ones(1, 1)).sum().backward()


def test_uneven_inputs():
    run(_uneven)


def _uneven_statistics(rank):
    model = DistributedDataParallel(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    generator = torch.Generator().manual_seed(rank)
    with model.join():
        for _ in range(3 - rank):
            model(torch.randn(4, 2, generator=generator)).square().sum().backward()
    assert _same_everywhere([*model.parameters(), *model.buffers()])
    assert model.module[1].num_batches_tracked == 3


def test_uneven_inputs_with_buffers():
    run(_uneven_statistics)
