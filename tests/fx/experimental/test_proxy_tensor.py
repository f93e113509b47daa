"""Traces below autograd: what runs becomes a graph, gradients included, and the graph gives the same."""

from __future__ import annotations

import operator
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._subclasses import FakeTensor
from flambeau.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from flambeau.nn import functional as F

aten = torch.ops.aten


def targets(module: Any) -> list[Any]:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def test_a_function_is_a_graph_of_operators() -> None:
    def f(x: Any, y: Any) -> Any:
        return (x * y).sum(), torch.sin(x) + 1

    x, y = torch.randn(3), torch.randn(3)
    module = make_fx(f)(x, y)
    assert targets(module) == [aten.mul.Tensor, aten.sum.default, aten.sin.default, aten.add.Tensor]
    assert [node.name for node in module.graph.nodes if node.op == "placeholder"] == ["x_1", "y_1"]
    assert "mul = torch.ops.aten.mul.Tensor(x_1, y_1)" in module.code and type(module).__name__ == "f"
    for found, expected in zip(module(y, x), f(y, x), strict=True):
        assert torch.equal(found, expected)


def test_gradients_are_part_of_it() -> None:
    w = torch.randn(4, 3, requires_grad=True)

    def f(x: Any) -> Any:
        return torch.autograd.grad(F.linear(x, w).relu().pow(2).sum(), w)

    x = torch.randn(2, 3)
    module = make_fx(f)(x)
    assert aten.threshold_backward.default in targets(module) and targets(module)[:3] == [
        aten.t.default,
        aten.mm.default,
        aten.relu.default,
    ]
    assert torch.equal(module._tensor_constant0, w)
    other = torch.randn(2, 3)
    torch.testing.assert_close(module(other)[0], f(other)[0])


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.LogSoftmax(1)),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.GELU(), nn.LayerNorm(8), nn.Unflatten(1, (2, 4)), nn.Softmax(-1)),
    ],
)
def test_a_step_of_training(net: Any) -> None:
    parameters = dict(net.named_parameters())

    def f(parameters: Any, x: Any) -> Any:
        found = torch.func.functional_call(net, parameters, (x,))
        return found, torch.autograd.grad(found.square().mean(), list(parameters.values()))

    module = make_fx(f)(parameters, torch.randn(2, 3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    (found, gradients), (expected, wanted) = module(parameters, x), f(parameters, x)
    torch.testing.assert_close(found, expected)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert not module(parameters, x)[0].requires_grad


def test_nested_arguments_and_results() -> None:
    def f(given: dict) -> dict:
        y = given["a"][0].clone()
        y.add_(given["b"])
        values, places = y.topk(1)
        return {"sum": y * torch.ones(3), "best": (values, places)}

    given = {"a": [torch.randn(3)], "b": torch.randn(3)}
    module = make_fx(f)(given)
    assert operator.getitem in targets(module) and aten.add_.Tensor in targets(module)
    found, expected = module(given), f(given)
    assert torch.equal(found["sum"], expected["sum"]) and torch.equal(found["best"][1], expected["best"][1])


def test_slices_and_their_gradients() -> None:
    def f(x: Any) -> Any:
        return torch.autograd.grad((x[:, 0] * x[1:, 2:].sum() * x[None, ..., ::2].sum()).sum(), x)[0]

    x = torch.randn(3, 4, requires_grad=True)
    module = make_fx(f)(x)
    assert aten.select_backward.default in targets(module) and aten.slice_backward.default in targets(module)
    other = torch.randn(3, 4, requires_grad=True)
    torch.testing.assert_close(module(other.detach()), f(other))


def test_random_numbers_are_drawn_anew() -> None:
    module = make_fx(lambda x: x + torch.rand(3))(torch.zeros(3))
    torch.manual_seed(3)
    first = module(torch.zeros(3))
    torch.manual_seed(3)
    assert torch.equal(module(torch.zeros(3)), first) and not torch.equal(module(torch.zeros(3)), first)
    with pytest.raises(NotImplementedError, match="cannot be part of a graph"):
        make_fx(lambda x: x + torch.randperm(3))(torch.zeros(3))


def test_operators_are_replaced_by_others() -> None:
    module = make_fx(lambda x: x.silu() if hasattr(x, "silu") else F.silu(x), {aten.silu.default: lambda x: x * torch.sigmoid(x)})(
        torch.randn(3)
    )
    assert targets(module) == [aten.sigmoid.default, aten.mul.Tensor]


def test_nothing_is_computed_of_fake_tensors() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(type(x))
        assert get_proxy_mode() is not None
        return (x @ x.t()).sum(0)

    module = make_fx(f, tracing_mode="fake")(torch.randn(3, 4))
    assert seen == [FakeTensor] and all(type(node.meta["val"]) is FakeTensor for node in module.graph.nodes if node.op != "output")
    x = torch.randn(3, 4)
    assert torch.equal(module(x), (x @ x.t()).sum(0)) and get_proxy_mode() is None
    with pytest.raises(ValueError, match="cannot be symbols"):
        make_fx(f, tracing_mode="symbolic")


def test_operators_that_pytorch_has_not() -> None:
    module = make_fx(lambda x: torch.linalg.qr(x)[1])(torch.randn(3, 3))
    assert targets(module)[0] is torch.ops.flambeau.linalg_qr.default
    x = torch.randn(3, 3)
    assert torch.equal(module(x), torch.linalg.qr(x)[1])
