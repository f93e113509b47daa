"""Programs as modules within each other."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.export import Dim, export, unflatten
from flambeau.nn import functional as F


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x, scale):
        return x + F.gelu(self.linear(self.norm(x))) * scale, x.mean()


class Net(nn.Module):
    """Has tied weights, a module that is called twice, one that does another thing the second time, buffers, and a module that is not called."""

    def __init__(self):
        super().__init__()
        self.table, self.blocks = nn.Embedding(7, 4), nn.ModuleList(Block(4) for _ in range(2))
        self.shared, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.tail, self.unused, self.dropout = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(2, 2), nn.Flatten(0)
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("hidden", torch.tensor(3.0), persistent=False)

    def forward(self, indices, scale):
        x, total = self.table(indices), 0
        for block in self.blocks:
            x, mean = block(x, scale=scale)
            total = total + mean
        x = self.shared(self.shared(x).relu())
        x = self.norm(self.tail(x) * self.scale + self.hidden)
        return {"logits": F.linear(x, self.table.weight), "total": total}, self.dropout(x), self.dropout(x[:1].flatten())


def arguments(rows=3):
    generator = torch.Generator().manual_seed(rows)
    return torch.randint(0, 7, (rows,), generator=generator), torch.randn(rows, 1, generator=generator)


def same(found, expected):
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1:], expected[1:])


@pytest.mark.parametrize("trains", [False, True])
def test_modules_are_those_of_before(trains):
    net = Net().train(trains)
    rows = Dim("rows", min=2)
    program = export(net, arguments(), dynamic_shapes=({0: rows}, {0: rows}))
    modules = unflatten(program)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for count in (3, 5):
        expected = net(*arguments(count))
        net.load_state_dict(state)
        same(modules(*arguments(count)), expected)
        if trains:
            assert not torch.equal(modules.norm.running_mean, state["norm.running_mean"]) and int(modules.norm.num_batches_tracked) == 1
        net.load_state_dict(state)
    names = {name for name, _ in net.named_modules()}
    assert {name for name, _ in modules.named_modules()} in (names, names | {"dropout@1"})
    assert modules.state_dict().keys() == net.state_dict().keys() and modules.table.weight is net.table.weight
    assert "linear" in modules.get_submodule("blocks.0").code and modules.unused.weight is net.unused.weight
    with pytest.raises(AssertionError, match="Guard failed"):
        modules(arguments()[0], torch.ones(4, 1))


def test_modules_can_be_exchanged_and_trained():
    net = Net().eval()
    modules = unflatten(export(net, arguments()))
    net.tail = modules.tail = nn.Linear(4, 4)
    same(modules(*arguments()), net(*arguments()))
    modules(*arguments())[0]["logits"].sum().backward()
    assert modules.get_submodule("blocks.1").linear.weight.grad is not None and net.table.weight.grad is not None
    assert modules.get_submodule("blocks.0")(*(torch.ones(3, 4), torch.ones(3, 1)))[0].shape == (3, 4)


def test_a_program_knows_where_its_nodes_come_from():
    program = export(Net().eval(), arguments())
    stacks = {
        node.name: [path for path, _ in node.meta["nn_module_stack"].values()] for node in program.graph.nodes if node.op == "call_function"
    }
    assert stacks["linear"] == ["", "blocks.0", "blocks.0.linear"] and stacks["gelu"] == ["", "blocks.0"]
    with pytest.raises(NotImplementedError, match="flat_args_adapter"):
        unflatten(program, object())
