"""Functions of distributed tensors, each against the same function of ordinary ones, with gradients."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.distributed import init_device_mesh
from flambeau.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from flambeau.distributed.tensor.experimental import implicit_replication
from flambeau.nn import functional as F
from tests.distributed.jobs import run

ONE = {
    "elementwise": lambda x: torch.tanh(x) * 2 + x.exp() - 1,
    "compare": lambda x: torch.where(x > 0, x, x * 0.1),
    "where": lambda x: x.where(x > 0, x * 0.1),
    "clamp": lambda x: x.clamp(-0.5, 0.5).square(),
    "dtype": lambda x: x.double().float(),
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(0).relu(),
    "sum of columns": lambda x: x.sum(1, keepdim=True) * x,
    "mean": lambda x: x.mean(),
    "mean of rows": lambda x: x.mean(0),
    "scaled sum": lambda x: (x.sum(0) + x.sum(0)) / 3,
    "max": lambda x: x.max(1)[0],
    "amax": lambda x: x.amax(0),
    "var": lambda x: x.var(1) + x.std(1),
    "norm": lambda x: x.norm() + torch.linalg.vector_norm(x, 3),
    "norm of rows": lambda x: x.norm(dim=1),
    "softmax": lambda x: x.softmax(1).log_softmax(0),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "cumsum": lambda x: x.cumsum(0),
    "sort": lambda x: x.sort(1)[0] * torch.topk(x, 4, 1)[0],
    "view": lambda x: x.view(6, 2, 2).transpose(0, 1).reshape(2, 12),
    "flatten": lambda x: x.flatten().unflatten(0, (3, 8)),
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(1)[None].squeeze(),
    "permute": lambda x: x.t().permute(1, 0).movedim(0, 1),
    "expand": lambda x: x.unsqueeze(0).expand(2, -1, -1) + 1,
    "index": lambda x: x[1:3, :] * x[:, 2:3].sum() + x[0],
    "chunk": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "stack": lambda x: torch.stack([x, x * 2], 1),
    "unbind": lambda x: sum(x.unbind(0)),
    "iterate": lambda x: sum(row.sum() for row in x),
    "tril": lambda x: x.tril(),
    "matmul": lambda x: x @ x.t(),
    "power": lambda x: (2.0 - x) ** 2 / (x.abs() + 1),
    "batched": lambda x: torch.bmm(x.view(3, 2, 4), x.view(3, 4, 2)),
    "addmm": lambda x: torch.addmm(x[:, :2], x, x[:4, :2], beta=0.5, alpha=2),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.view(3, 1, 2, 4)] * 3, is_causal=True),
    "convolution": lambda x: F.conv1d(x.view(6, 1, 4), x[:2, :3].unsqueeze(1)),
    "variance": lambda x: x.var(0, True) + x.std(0, False),
    "flip": lambda x: x.flip(0, 1) * x.flip(1),
    "norm of a matrix": lambda x: torch.linalg.norm(x, ord=1) + torch.linalg.norm(x, 2),
    "windows": lambda x: x.view(6, 4, 1, 1).unfold(0, 2, 1),
    "places": lambda x: x * torch.where(x > 0)[0].sum(),
    "no rule": lambda x: torch.einsum("ij,kj->ik", x, x) + torch.linalg.matrix_exp(x[:4, :4]).sum(),
}
"""Functions of a matrix (6, 4)."""


def _check(name, expected, found):
    found = found.full_tensor() if isinstance(found, DTensor) else found
    assert found.shape == expected.shape, name
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, msg=lambda text: f"{name}: {text}")


def _functions(rank):
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    values = torch.randn(6, 4)
    plain = {}
    for name, function in ONE.items():
        x = values.clone().requires_grad_()
        y = function(x)
        y.square().sum().backward()
        plain[name] = y.detach(), x.grad
    for placement in (Shard(0), Shard(1), Replicate()):
        for name, function in ONE.items():
            x = distribute_tensor(values.clone().requires_grad_(), mesh, [placement])
            y = function(x)
            assert isinstance(y, DTensor), name
            _check(f"{name}, {placement}", plain[name][0], y)
            y.square().sum().backward()
            assert isinstance(x.grad, DTensor) and x.grad.placements == x.placements
            _check(f"gradient of {name}, {placement}", plain[name][1], x.grad)


def test_functions_are_those_of_one_process():
    run(_functions)


LAYERS = {
    "linear": (lambda x, w, b: F.linear(x, w, b), [(5, 4), (7, 4), (7,)]),
    "matmul": (lambda x, w, b: x @ w + b, [(2, 5, 4), (4, 7), (7,)]),
    "broadcast": (lambda x, w, b: x * w + b, [(5, 4), (5, 1), (4,)]),
    "where": (lambda x, w, b: torch.where(x > w, x, b), [(5, 4), (4,), ()]),
    "cat": (lambda x, w, b: torch.cat([x, w], 0) * b, [(5, 4), (3, 4), (4,)]),
    "lerp": (lambda x, w, b: torch.lerp(x, w, b), [(5, 4), (5, 4), (4,)]),
}


def _layers(rank):
    mesh = init_device_mesh("cpu", (2, 2))
    torch.manual_seed(1)
    ways = ([Shard(0), Shard(1)], [Shard(0), Shard(0)], [Replicate(), Shard(0)], [Shard(1), Replicate()])
    for name, (function, shapes) in LAYERS.items():
        values = [torch.randn(shape) for shape in shapes]
        inputs = [each.clone().requires_grad_() for each in values]
        expected = function(*inputs)
        expected.square().sum().backward()
        for number in range(len(ways)):
            placed = []
            for shift, each in enumerate(values):
                wanted = [
                    part if not isinstance(part, Shard) or part.dim < each.dim() else Replicate()
                    for part in ways[(number + shift) % len(ways)]
                ]
                placed.append(distribute_tensor(each.clone().requires_grad_(), mesh, wanted))
            found = function(*placed)
            _check(name, expected.detach(), found)
            found.square().sum().backward()
            for own, plain in zip(placed, inputs):
                if plain.grad is not None:
                    _check(f"gradient of {name}", plain.grad, own.grad)


def test_several_arguments_on_a_grid():
    run(_layers, 4)


def _losses(rank):
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(2)
    scores, weight = torch.randn(5, 6), torch.rand(6)
    targets = torch.tensor([0, 5, -100, 2, 3])
    cases = {
        "mean": lambda x, t, w: F.cross_entropy(x, t),
        "sum": lambda x, t, w: F.cross_entropy(x, t, reduction="sum"),
        "weighted": lambda x, t, w: F.cross_entropy(x, t, w, label_smoothing=0.1) + F.nll_loss(x.log_softmax(1), t, w),
        "none": lambda x, t, w: F.cross_entropy(x, t, reduction="none"),
        "mse": lambda x, t, w: F.mse_loss(x, x.detach() * 0.5) + F.smooth_l1_loss(x, x.detach() + 2, reduction="sum"),
    }
    for name, function in cases.items():
        x = scores.clone().requires_grad_()
        expected = function(x, targets, weight)
        expected.sum().backward()
        for placement, other in ((Shard(0), Shard(0)), (Shard(1), Replicate()), (Replicate(), Replicate()), (Shard(0), Replicate())):
            own = distribute_tensor(scores.clone().requires_grad_(), mesh, [placement])
            found = function(own, distribute_tensor(targets, mesh, [other]), distribute_tensor(weight, mesh, [Replicate()]))
            _check(name, expected.detach(), found)
            found.sum().backward()
            _check(f"gradient of {name}", x.grad, own.grad)
    table = torch.randn(7, 4)
    indices = torch.tensor([[0, 6, 3], [3, 3, 1], [5, 2, 0]])
    plain = table.clone().requires_grad_()
    F.embedding(indices, plain).square().sum().backward()
    for placement in (Shard(0), Shard(1), Replicate()):
        for other in (Shard(0), Replicate()):
            own = distribute_tensor(table.clone().requires_grad_(), mesh, [placement])
            found = F.embedding(distribute_tensor(indices, mesh, [other]), own)
            _check("embedding", F.embedding(indices, table), found)
            found.square().sum().backward()
            _check("gradient of embedding", plain.grad, own.grad)


def test_losses_and_embeddings():
    run(_losses)


def _changes(rank):
    mesh = init_device_mesh("cpu", (2,))
    values = torch.arange(15.0).view(5, 3)
    for placement in (Shard(0), Shard(1), Replicate()):
        x, plain = distribute_tensor(values, mesh, [placement]), values.clone()
        for each in (x, plain):
            each.add_(1).mul_(2)
            each.clamp_(min=3)
            each[1:3] = 0
            each[:, 1] += 5
        _check("in place", plain, x)
        other = distribute_tensor(torch.ones(3), mesh, [Shard(0)])
        _check("in place by another", plain + 1, x.add_(other))
        torch.manual_seed(rank)  # the numbers of the whole tensor are drawn: they are one process's if the seeds are equal
        torch.manual_seed(7)
        x.normal_()
        torch.manual_seed(7)
        _check("normal_", torch.empty(5, 3).normal_(), x)
        torch.manual_seed(9)
        drawn = torch.rand_like(x)
        torch.manual_seed(9)
        assert drawn.placements == x.placements and torch.equal(drawn.full_tensor(), torch.rand(5, 3))
        torch.manual_seed(8)
        dropped = F.dropout(x, 0.5)
        torch.manual_seed(8)
        _check("dropout", F.dropout(x.full_tensor(), 0.5), dropped)
        y = torch.ones_like(x).requires_grad_()
        z = y * 2
        z.add_(1).mul_(3)
        z.sum().backward()
        _check("gradient through changes", torch.full((5, 3), 6.0), y.grad)
    parts = DTensor.from_local(torch.ones(2), mesh, [Partial()])
    assert (parts + parts).placements == (Partial(),) and (parts * 2).tolist() == [4, 4] and parts.exp().placements == (Replicate(),)
    average = DTensor.from_local(torch.full((2,), float(rank)), mesh, [Partial("avg")])
    assert average.full_tensor().tolist() == [0.5, 0.5] and (average / 2).placements == (Partial("avg"),)


def test_changes_in_place_and_random_numbers():
    run(_changes)


def _refusals(rank):
    mesh = init_device_mesh("cpu", (2,))
    x = distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)])
    with pytest.raises(RuntimeError, match=r"got mixed torch.Tensor and DTensor: an ordinary tensor of shape \[4\]"):
        x + torch.ones(4)
    assert (x + torch.tensor(1.0)).sum().item() == 32
    with implicit_replication():
        assert (x + torch.ones(4)).sum().item() == 32
    with pytest.raises(NotImplementedError, match="out= is not implemented"):
        torch.add(x, x, out=x)
    with pytest.raises(RuntimeError, match="of which no process has an element"):
        DTensor.from_local(torch.ones(2), mesh, [Partial()]).exp_()
    largest = DTensor.from_local(torch.tensor([1.0 + rank]), mesh, [Partial("max")])
    for change in (lambda: largest.mul_(-1), lambda: largest.add_(largest)):
        with pytest.raises(RuntimeError, match=r"mul_|add_: the tensor lies as Partial\(max\), of which no process has an element"):
            change()
    assert torch.zeros_like(largest).copy_(largest).full_tensor().item() == largest.full_tensor().item() == 2
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        x @ x[:3]
    with pytest.raises(RuntimeError, match="invalid for input of size 16"):
        x.view(3, 5)
    with pytest.raises(RuntimeError, match="lie on different meshes"):
        x + distribute_tensor(torch.ones(4, 4), init_device_mesh("cpu", (2, 1)), [Shard(0), Shard(0)])
    with pytest.raises(NotImplementedError, match="method without the underscore"):
        x.t_()
    with pytest.raises(TypeError, match="use full_tensor"):
        x.numpy()


def test_what_is_refused():
    run(_refusals)
