from __future__ import annotations

import flambeau as torch
from flambeau import distributed
from flambeau.distributed.nn import functional
from tests.distributed.jobs import run


def _gradients(rank, size):
    """Each function's result and gradient against what one process computes of all inputs."""
    every = [torch.arange(4.0).add(each + 1).requires_grad_() for each in range(size)]
    x = every[rank].detach().clone().requires_grad_()

    def check(result, expected, weight=1.0):
        """The gradient of the sum over all processes of Σ result³."""
        (result**3).sum().mul(weight).backward()
        torch.autograd.backward([(each**3).sum() for each in expected])
        expected = every[rank].grad
        torch.testing.assert_close(x.grad, torch.zeros(4) if expected is None else expected)
        x.grad = None
        for each in every:
            each.grad = None

    total = sum(every)
    result = functional.all_reduce(x)
    assert torch.equal(result, total)
    check(result, [total] * size)
    result = functional.broadcast(x, 1)
    assert torch.equal(result, every[1])
    check(result, [every[1]] * size)
    result = torch.cat(functional.all_gather(x))
    assert torch.equal(result, torch.cat(every))
    check(result, [torch.cat(every)] * size)
    result = torch.cat(functional.gather(x, 1))
    check(result, [torch.cat(every)])
    parts = list(x.split(2)) + [torch.ones(2)] * (size - 2)
    check(functional.scatter(parts, 0), [*every[0].split(2)])
    result = functional.reduce_scatter(torch.zeros(2), parts)
    check(result, [sum(each[:2] for each in every), sum(each[2:] for each in every)])
    result = torch.cat(functional.all_to_all([torch.zeros(2)] * size, parts))
    check(result, every)
    result = functional.all_to_all_single(torch.zeros(4), x)
    check(result, every)
    result = functional.reduce(x, 0)
    (result.sum() * (rank == 0)).backward()
    assert x.grad.tolist() == [1.0] * 4


def test_gradients_flow_back():
    run(_gradients, 2, 2)


def _averages(rank):
    x = torch.ones(2, requires_grad=True)
    functional.all_reduce(x, distributed.ReduceOp.AVG).mul(rank + 1).sum().backward()
    assert x.grad.tolist() == [1.5, 1.5]


def test_averages_have_gradients():
    run(_averages)
