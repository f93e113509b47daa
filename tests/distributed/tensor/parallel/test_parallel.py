from __future__ import annotations

import copy

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.distributed import init_device_mesh
from flambeau.distributed.fsdp import fully_shard
from flambeau.distributed.tensor import DTensor, Replicate, Shard
from flambeau.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    PrepareModuleInputOutput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    loss_parallel,
    parallelize_module,
)
from flambeau.nn import functional as F
from tests.distributed.jobs import run


class _Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.qkv, self.out = (
            nn.LayerNorm(width),
            nn.ModuleList(nn.Linear(width, width) for _ in range(3)),
            nn.Linear(width, width),
        )
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def attend(self, x):
        heads = [layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in self.qkv]
        return self.out(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))

    def forward(self, x):
        x = x + self.attend(self.norm(x))
        return x + self.down(F.gelu(self.up(x)))


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.blocks, self.head = nn.Embedding(12, 8), nn.Sequential(_Block(8), _Block(8)), nn.Linear(8, 10)

    def forward(self, indices):
        return self.head(self.blocks(self.table(indices)))


PLAN = {
    "table": RowwiseParallel(input_layouts=Replicate()), "blocks.*.qkv.*": ColwiseParallel(), "blocks.*.out": RowwiseParallel(),
    "blocks.*.up": ColwiseParallel(), "blocks.*.down": RowwiseParallel(),
}  # fmt: skip


def _same_gradients(model, plain):
    for own, expected in zip(model.parameters(), plain.parameters(), strict=True):
        grad = own.grad.full_tensor() if isinstance(own.grad, DTensor) else own.grad
        torch.testing.assert_close(grad, expected.grad, rtol=1e-4, atol=1e-6)


def _layers(rank):
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    plain = _Model()
    indices, targets = torch.randint(0, 12, (3, 5)), torch.randint(0, 10, (15,))
    expected = F.cross_entropy(plain(indices).flatten(0, 1), targets)
    expected.backward()
    for shares_loss in (False, True):
        model = copy.deepcopy(plain)
        model.zero_grad()
        head = ColwiseParallel(output_layouts=Shard(-1) if shares_loss else Replicate(), use_local_output=not shares_loss)
        assert parallelize_module(model, mesh, {**PLAN, "head": head}) is model
        assert model.blocks[1].up.weight.placements == (Shard(0),) and model.blocks[0].out.weight.placements == (Shard(1),)
        scores = model(indices).flatten(0, 1)
        if shares_loss:
            with loss_parallel():
                loss = F.cross_entropy(scores, DTensor.from_local(targets, mesh, [Replicate()]))
            loss.backward()
            loss = loss.full_tensor()
        else:
            loss = F.cross_entropy(scores, targets)
            loss.backward()
        torch.testing.assert_close(loss.detach(), expected.detach())
        _same_gradients(model, plain)


def test_layers_share_their_weights():
    run(_layers)


def _sequences(rank):
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(1)
    plain = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
    x = torch.randn(2, 4, 6)
    plain(x).square().sum().backward()
    model = copy.deepcopy(plain)
    model.zero_grad()
    parallelize_module(
        model, mesh,
        {"0": SequenceParallel(), "1": ColwiseParallel(input_layouts=Shard(1)), "3": RowwiseParallel(output_layouts=Shard(1), use_local_output=False)},
    )  # fmt: skip
    parallelize_module(
        model, mesh,
        PrepareModuleInputOutput(input_layouts=Replicate(), desired_input_layouts=Shard(1), output_layouts=Shard(1), desired_output_layouts=Replicate()),
    )  # fmt: skip
    found = model(x)
    assert type(found) is torch.Tensor
    torch.testing.assert_close(found, plain(x))
    found.square().sum().backward()
    _same_gradients(model, plain)

    class Add(nn.Module):
        def forward(self, x, *, other):
            return x + other, other

    add = parallelize_module(
        Add(), mesh,
        PrepareModuleInput(
            input_layouts=(Shard(0),), desired_input_layouts=(Replicate(),), input_kwarg_layouts={"other": Replicate()},
            desired_input_kwarg_layouts={"other": Shard(1)},
        ),
    )  # fmt: skip
    add = parallelize_module(add, mesh, PrepareModuleOutput(output_layouts=(Shard(1), None), desired_output_layouts=(Replicate(), None)))
    whole, other = add(torch.full((1, 2), float(rank)), other=torch.ones(2, 2))
    assert whole.tolist() == [[1, 1], [2, 2]] and isinstance(other, DTensor) and other.placements == (Shard(1),)
    with pytest.raises(NotImplementedError, match="shares out nn.Linear and nn.Embedding, not LayerNorm"):
        parallelize_module(nn.LayerNorm(3), mesh, ColwiseParallel())
    with pytest.warns(UserWarning, match="no part 'nothing'"):
        parallelize_module(nn.Sequential(), mesh, {"nothing": ColwiseParallel()})
    with pytest.raises(ValueError, match="mesh of one dimension"):
        parallelize_module(nn.Linear(2, 2), init_device_mesh("cpu", (2, 1)), ColwiseParallel())


def test_sequences_and_inputs_are_cut():
    run(_sequences)


def _both(rank):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    torch.manual_seed(2)
    plain = _Model()
    model = copy.deepcopy(plain)
    parallelize_module(model, mesh["tp"], PLAN)
    for each in (*model.blocks, model):
        fully_shard(each, mesh=mesh["dp"])
    weight = model.blocks[0].up.weight
    assert weight.shape == (16, 8) and weight.to_local().shape == (4, 8) and torch.equal(weight.full_tensor(), plain.blocks[0].up.weight)
    indices = torch.randint(0, 12, (4, 5))
    plain(indices).square().mean().backward()
    model(indices[rank // 2 * 2 :][:2]).square().mean().backward()
    _same_gradients(model, plain)


def test_weights_are_shared_out_twice():
    run(_both, 4)
