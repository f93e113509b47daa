"""Replicas of modules, which share the parameters of the original."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn


def network() -> nn.Sequential:
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.BatchNorm1d(3))


def test_gradients_of_replicas_add_up_in_the_network() -> None:
    net, x = network().eval(), torch.randn(4, 3)
    replicas = nn.parallel.replicate(net, ["cpu", "cpu"])
    assert replicas[0] is not net and replicas[0][0] is replicas[0][2] is not net[0]
    parts = nn.parallel.parallel_apply(replicas, nn.parallel.scatter(x, ["cpu", "cpu"]))
    joined = nn.parallel.gather(parts, "cpu")
    assert torch.equal(joined, net(x))
    joined.sum().backward()
    grads = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(x).sum().backward()
    for grad, parameter in zip(grads, net.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad)


def test_detached_replicas_have_no_history() -> None:
    (replica,) = nn.parallel.replicate(network(), ["cpu"], detach=True)
    assert not replica(torch.ones(2, 3)).requires_grad


def test_keywords_and_numbers_of_modules() -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor, by: float = 1.0) -> torch.Tensor:
            return x * by

    results = nn.parallel.parallel_apply([Scaled(), Scaled()], [torch.ones(1), (torch.ones(1),)], [{"by": 2.0}, {}], ["cpu", None])
    assert [result.item() for result in results] == [2, 1]
    with pytest.raises(AssertionError, match="number of modules 1"):
        nn.parallel.parallel_apply([Scaled()], [1, 2])


def test_data_parallel_calls_the_module() -> None:
    net = network()
    assert torch.equal(nn.parallel.data_parallel(net.eval(), torch.ones(2, 3)), net(torch.ones(2, 3)))
