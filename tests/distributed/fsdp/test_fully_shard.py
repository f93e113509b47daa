from __future__ import annotations

import copy
import dataclasses
import gc

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._runtime.allocator import statistics
from flambeau.distributed import init_device_mesh
from flambeau.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from flambeau.distributed.tensor import DTensor, Replicate, Shard
from flambeau.nn import functional as F
from flambeau.utils.checkpoint import checkpoint
from tests.distributed.jobs import run


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self, width=7, count=2, checkpoints=False):
        super().__init__()
        self.table, self.blocks = nn.Embedding(11, width), nn.ModuleList(Block(width) for _ in range(count))
        self.head, self.checkpoints = nn.Linear(width, 11, bias=False), checkpoints

    def forward(self, indices):
        x = self.table(indices)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpoints else block(x)
        return self.head(x)


def sharded(model, **settings):
    for block in model.blocks:
        fully_shard(block, **settings)
    return fully_shard(model, **settings)


def same_gradients(model, plain, **tolerance):
    for (name, own), expected in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert (own.grad is None) == (expected.grad is None), name
        if own.grad is not None:
            assert own.grad.placements == own.placements
            torch.testing.assert_close(own.grad.full_tensor(), expected.grad, **(tolerance or {"rtol": 1e-5, "atol": 1e-6}))


def _steps(rank, size):
    for settings in ({}, {"reshard_after_forward": False}):
        torch.manual_seed(0)
        plain = Model()
        model = sharded(copy.deepcopy(plain), **settings)
        assert isinstance(model, FSDPModule) and isinstance(model, Model) and type(model).__name__ == "FSDPModel"
        assert all(isinstance(each, DTensor) and each.placements == (Shard(0),) for each in model.parameters())
        assert sum(each.to_local().numel() for each in model.parameters()) < sum(each.numel() for each in plain.parameters()) / size + 60
        pairs = [(each, torch.optim.AdamW(each.parameters(), lr=0.01)) for each in (plain, model)]
        for _step in range(3):
            indices, targets = torch.randint(0, 11, (2, 2 * size, 5))
            for each, optimizer in pairs:
                own = slice(None) if each is plain else slice(2 * rank, 2 * rank + 2)
                optimizer.zero_grad()
                F.cross_entropy(each(indices[own]).flatten(0, 1), targets[own].flatten()).backward()
            same_gradients(model, plain)
            norms = [torch.nn.utils.clip_grad_norm_(each.parameters(), 0.1) for each, _ in pairs]
            torch.testing.assert_close(norms[1].full_tensor(), norms[0])
            for _, optimizer in pairs:
                optimizer.step()
            with torch.no_grad():
                torch.testing.assert_close(model(indices), plain(indices))
        for own, expected in zip(model.parameters(), plain.parameters()):
            torch.testing.assert_close(own.full_tensor(), expected)
        assert list(model.state_dict()) == list(plain.state_dict())
        assert pairs[1][1].state[model.head.weight]["exp_avg"].to_local().shape == model.head.weight.to_local().shape


@pytest.mark.parametrize("size", [2, 3])
def test_steps_are_those_of_one_process(size):
    run(_steps, size, size, shared=size == 2)


def _variants(rank):
    torch.manual_seed(0)
    plain, indices = Model(), torch.randint(0, 11, (4, 5))
    own = indices[rank * 2 : rank * 2 + 2]

    model = sharded(copy.deepcopy(plain))
    model.set_requires_gradient_sync(False)
    model(own[:1]).square().mean().backward()
    assert all(each.grad is None for each in model.parameters())
    model.set_requires_gradient_sync(True)
    model(own[1:]).square().mean().backward()
    (plain(indices[::2]).square().mean() + plain(indices[1::2]).square().mean()).backward()
    same_gradients(model, plain)

    plain.zero_grad()
    plain(indices).square().mean().backward()
    model = sharded(copy.deepcopy(plain))
    model.zero_grad()
    model.blocks[0].checkpoints = model.checkpoints = True
    model(own).square().mean().backward()
    same_gradients(model, plain)

    model.blocks[0].checkpoints = model.checkpoints = False  # `grad` leaves parameters whole; what comes next must see other numbers
    torch.autograd.grad(model(own).square().mean(), list(model.parameters()))
    changed = copy.deepcopy(plain)
    with torch.no_grad():
        for each in (*model.parameters(), *changed.parameters()):
            each.mul_(2)
        torch.testing.assert_close(model(indices), changed(indices))

    model = sharded(copy.deepcopy(plain), mesh=init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicas", "shards")))
    assert model.head.weight.placements == (Replicate(), Shard(0))
    model.zero_grad()
    model.set_requires_all_reduce(False)
    (model(own).square().mean() / 2).backward(retain_graph=True)
    model.set_requires_all_reduce(True)
    (model(own).square().mean() / 2).backward()
    same_gradients(model, plain)

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = copy.deepcopy(plain)
    for block in model.blocks:
        fully_shard(block, mp_policy=policy)
    fully_shard(model, mp_policy=dataclasses.replace(policy, output_dtype=torch.float32))
    model.zero_grad()
    seen = []
    model.blocks[0].up.register_forward_hook(lambda part, inputs, output: seen.append((part.weight.dtype, output.dtype)))
    found = model(own)
    assert found.dtype == torch.float32 and seen == [(torch.bfloat16, torch.bfloat16)]
    found.square().mean().backward()
    assert model.head.weight.grad.dtype == torch.float32
    same_gradients(model, plain, rtol=0.1, atol=0.02)


def test_ways_of_training():
    run(_variants)


class Within(nn.Module):
    """A block that computes a part of itself anew, by its own parameters and by those of its layers."""

    def __init__(self, width):
        super().__init__()
        self.scale, self.layers = nn.Parameter(torch.linspace(0.5, 1.5, width)), nn.Sequential(nn.Linear(width, width), nn.Tanh())

    def forward(self, x):
        return checkpoint(lambda x: (self.layers(x) * self.scale).exp(), x, use_reentrant=False)


def _within(rank):
    torch.manual_seed(0)
    plain, x = nn.Sequential(Within(5), nn.Sequential(Within(5), nn.Dropout(0.5)), nn.Linear(5, 2)), torch.randn(4, 5)
    for reshard in (True, False):
        for again in (False, True):
            model = copy.deepcopy(plain)
            for each in (model[0], model[1]):
                fully_shard(each, reshard_after_forward=reshard)
            fully_shard(model, reshard_after_forward=reshard)
            for each, rows in ((plain, slice(None)), (model, slice(rank * 2, rank * 2 + 2))):
                each.zero_grad()
                each[1][1].eval()
                run_it = (lambda x, each=each: checkpoint(each, x, use_reentrant=False)) if again else each
                run_it(x[rows]).square().mean().backward()
            same_gradients(model, plain)
            assert all(isinstance(each, DTensor) for each in model.parameters())


def test_checkpoints_within_a_sharded_module_see_whole_parameters():
    run(_within)


def _frozen(rank):
    torch.manual_seed(0)
    plain, indices = Model(), torch.randint(0, 11, (2, 5))
    plain.table.requires_grad_(False)
    plain.blocks[1].up.requires_grad_(False)
    model = sharded(copy.deepcopy(plain))
    for each in (plain, model):
        each(indices).square().mean().backward()
    same_gradients(model, plain)

    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.tied = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
            self.tied.weight = self.used.weight

        def forward(self, x):
            return {"found": [self.tied(self.used(x))], "none": None}

        def other(self, x):
            return self.unused(x)

    plain = Partly()
    model = fully_shard(copy.deepcopy(plain), reshard_after_forward=True, ignored_params=set())
    register_fsdp_forward_method(model, "other")
    assert model.tied.weight is model.used.weight
    for each in (plain, model):
        each(torch.ones(2, 3))["found"][0].square().sum().backward()
    same_gradients(model, plain)
    for each in (plain, model):
        each.other(torch.ones(2, 3)).sum().backward()
    same_gradients(model, plain)
    model.unshard()
    assert type(model.used.weight) is torch.Tensor and torch.equal(model.used.weight, plain.used.weight)
    model.reshard()
    assert isinstance(model.used.weight, DTensor)

    layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    kept = layers[0].weight
    fully_shard(layers, ignored_params={kept})
    assert layers[0].weight is kept and isinstance(layers[1].weight, DTensor) and type(layers[:1]) is nn.Sequential
    with pytest.raises(AssertionError, match="is not copied"):
        copy.deepcopy(layers)
    with pytest.raises(ValueError, match="was called with this FSDPSequential already"):
        fully_shard(layers)
    with pytest.raises(ValueError, match="containers that do not implement forward"):
        fully_shard(nn.ModuleList([nn.Linear(1, 1)]))
    with pytest.raises(NotImplementedError, match="cut along dimension 0"):
        fully_shard(nn.Linear(2, 2), shard_placement_fn=lambda parameter: Shard(1))


def test_parameters_that_are_frozen_shared_or_not_used():
    run(_frozen)


def _memory(rank):
    """What the parameters of ten layers take while they train: a part of them, and one layer as a whole."""

    def measured(shares):
        model = nn.Sequential(*[nn.Linear(256, 256, bias=False) for _ in range(10)])
        if shares:
            for each in (*model, model):
                fully_shard(each, **({"reshard_after_forward": True} if each is not model else {}))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        peaks = []
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 256)).sum().backward()
            optimizer.step()
            gc.collect()
            peaks.append(statistics()["allocated"])
        return peaks[-1]

    before = statistics()["allocated"]
    sharded_bytes = measured(True) - before
    whole_bytes = measured(False) - before
    assert sharded_bytes < 0.6 * whole_bytes, (sharded_bytes, whole_bytes)


def test_memory_is_shared_out():
    run(_memory)


def _lost(rank):
    class Hides(nn.Linear):
        def forward(self, x):
            self.hidden = super().forward(x)
            return self.hidden.detach().requires_grad_()

    model = nn.Sequential(fully_shard(Hides(3, 3)))
    fully_shard(model)
    x = torch.ones(1, 3, requires_grad=True)
    model(x)
    with pytest.raises(RuntimeError, match="did not come through the outputs"):
        model[0].hidden.sum().backward()


def test_a_pass_around_the_outputs_says_so():
    run(_lost, 1)
