"""Modes below autograd: what they see, of the forward pass and of the backward pass, and that nothing is left of them behind their block."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._tape.tape import LOCAL, Tape
from flambeau.nn import functional as F
from flambeau.utils._mode_utils import no_dispatch
from flambeau.utils._python_dispatch import (
    BaseTorchDispatchMode,
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode,
    _get_current_dispatch_mode_stack,
)

aten = torch.ops.aten


class Logging(TorchDispatchMode):
    """Keeps the names of what it sees; as ``calls`` also with what, and what came of it, if it is to."""

    def __init__(self, calls: bool = False) -> None:
        super().__init__()
        self.names: list[str] = []
        self.keeps = calls
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.append(str(func).removeprefix("aten."))
        if self.keeps:
            self.calls.append((func, args, kwargs, result))
        return result


def seen(function: Any, *args: Any) -> list[str]:
    with Logging() as logging:
        function(*args)
    return logging.names


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
        nn.GELU(),
        nn.LayerNorm(10),
    )


def test_a_network_forward_and_backward() -> None:
    net, x, y = network(), torch.randn(2, 3, 8, 8), torch.tensor([1, 2])
    with Logging() as logging:
        loss = F.cross_entropy(net(x), y)
    assert [name for name in logging.names if name != "add_.Tensor"] == [  # batches are counted
        "convolution.default", "native_batch_norm.default", "relu.default", "max_pool2d_with_indices.default", "view.default", "t.default",
        "addmm.default", "gelu.default", "native_layer_norm.default", "_log_softmax.default", "nll_loss_forward.default",
    ]  # fmt: skip
    assert seen(loss.backward) == [
        "ones_like.default", "nll_loss_backward.default", "_log_softmax_backward_data.default", "native_layer_norm_backward.default", "gelu_backward.default",
        "mm.default", "transpose.int", "mm.default", "sum.dim_IntList", "view.default", "max_pool2d_with_indices_backward.default", "threshold_backward.default",
        "native_batch_norm_backward.default", "convolution_backward.default",
    ]  # fmt: skip


def test_gradients_are_those_of_passes_that_nobody_sees() -> None:
    x, y = torch.randn(2, 3, 8, 8), torch.tensor([1, 2])
    gradients = []
    for context in (None, Logging()):
        torch.manual_seed(0)
        net = network()
        if context is None:
            F.cross_entropy(net(x), y).backward()
        else:
            with context:
                F.cross_entropy(net(x), y).backward()
        gradients.append([parameter.grad for parameter in net.parameters()] + list(net.buffers()))
    for plain, logged in zip(*gradients, strict=True):
        torch.testing.assert_close(logged, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: 1 - x, ["rsub.Scalar"]),
        (lambda x: x / 2 + x, ["div.Tensor", "add.Tensor"]),
        (lambda x: x > 0, ["gt.Scalar"]),
        (lambda x: 2.0 - x, ["rsub.Scalar"]),
        (lambda x: x**2, ["pow.Tensor_Scalar"]),
        (lambda x: x @ x.t(), ["t.default", "mm.default"]),
        (lambda x: x.sum() + x.mean(0).sum(), ["sum.default", "mean.dim", "sum.default", "add.Tensor"]),
        (lambda x: x.view(-1)[1:3], ["view.default", "slice.Tensor"]),
        (lambda x: x[0, None], ["select.int", "unsqueeze.default"]),
        (lambda x: x.double(), ["_to_copy.default"]),
        (lambda x: x.t().contiguous(), ["t.default", "clone.default"]),
        (lambda x: x.softmax(-1), ["_softmax.default"]),
        (lambda x: torch.where(x > 0, x, x), ["gt.Scalar", "where.self"]),
        (lambda x: torch.cat([x, x]), ["cat.default"]),
        (lambda x: x.clone().add_(1).mul_(x).zero_(), ["clone.default", "add_.Tensor", "mul_.Tensor", "zero_.default"]),
        (lambda x: torch.addmm(x[0], x, x.new_zeros(3, 3), beta=2), ["select.int", "zeros.default", "addmm.default"]),
        (lambda x: torch.zeros(2), ["zeros.default"]),
        (lambda x: torch.arange(3), ["arange.default"]),
        (lambda x: torch.eye(3), ["eye.default"]),
        (lambda x: torch.eye(2, 3), ["eye.m"]),
        (lambda x: torch.tensor([1.0]), ["lift_fresh.default"]),
        (lambda x: torch.zeros_like(x), ["zeros_like.default"]),
        (lambda x: torch.empty(2).uniform_(), ["empty.memory_format", "uniform_.default"]),
        (lambda x: x.detach(), ["detach.default"]),
        (lambda x: F.linear(x[None], x), ["unsqueeze.default", "view.default", "t.default", "mm.default", "view.default"]),
        (lambda x: torch.linalg.qr(x), ["flambeau.linalg_qr.default"]),
    ],
)  # fmt: skip
def test_which_operators_calls_are(function: Any, names: list[str]) -> None:
    assert seen(function, torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 6.0]])) == names


def test_what_was_seen_gives_the_same_again() -> None:
    x, w = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    with Logging(calls=True) as logging:
        (F.layer_norm(F.linear(x, w), (5,)).softmax(-1).log() * x[:, :1]).sum().backward()
    for func, args, kwargs, result in logging.calls:
        again = func(*args, **(kwargs or {}))
        for one, other in zip(*[each if isinstance(each, (tuple, list)) else (each,) for each in (again, result)], strict=True):
            assert (one is None and other is None) or torch.equal(one, other), func


def test_who_is_asked_is_below_autograd() -> None:
    states = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            states.append((args[0].requires_grad, result.requires_grad, result.grad_fn))
            return result

    x = torch.ones(2, requires_grad=True)
    with Mode():
        y = x.exp()
    assert states == [(True, False, None)] and y.grad_fn.name() == "ExpBackward0" and torch.is_grad_enabled()


def test_a_mode_may_answer_something_else() -> None:
    class Double(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            return result * 2 if func is aten.add.Tensor else result

    x = torch.ones(2)
    with Double():
        y, z = x + 1, x * 3
    assert y.tolist() == [4.0, 4.0] and z.tolist() == [3.0, 3.0] and (x + 1).tolist() == [2.0, 2.0]


def test_the_innermost_mode_is_asked_first_and_hands_on() -> None:
    order = []

    class Mode(TorchDispatchMode):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            order.append(self.name)
            return func(*args, **(kwargs or {}))

    x = torch.ones(2)
    with Mode("outer") as outer, Mode("inner") as inner:
        assert _get_current_dispatch_mode() is inner and _get_current_dispatch_mode_stack() == [outer, inner]
        x.exp()
        with _disable_current_modes() as modes:
            x.exp()
            assert modes == [outer, inner] and _get_current_dispatch_mode() is None
        with no_dispatch():
            x.exp()
    assert order == ["inner", "outer"]


def test_nobody_who_answers_is_an_error() -> None:
    class Silent(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return NotImplemented

    x = torch.ones(2)
    with pytest.raises(TypeError, match=r"Multiple dispatch failed for 'torch.ops.aten.exp.default'"), Silent():
        x.exp()
    with pytest.raises(NotImplementedError), TorchDispatchMode():
        torch.zeros(2)


def test_nothing_is_left_behind_the_block() -> None:
    with pytest.raises(ZeroDivisionError), Logging():
        torch.ones(2).exp()
        raise ZeroDivisionError
    assert type(LOCAL.tape) is Tape and torch.is_grad_enabled() and _get_current_dispatch_mode() is None
    with torch.no_grad(), BaseTorchDispatchMode():
        assert not torch.ones(2, requires_grad=True).exp().requires_grad
    with BaseTorchDispatchMode():
        torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)


def test_a_handler_may_call_what_it_likes() -> None:
    class Norms(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[float] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            self.found.append((result * result).sum().sqrt().item())
            return result

    x = torch.ones(4, requires_grad=True)
    with Norms() as norms:
        y = x * 2
        z = y + y
    assert norms.found == [4.0, 8.0] and z.requires_grad and type(LOCAL.tape) is Tape


def test_second_derivatives() -> None:
    x = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)

    def second() -> Any:
        (first,) = torch.autograd.grad(F.silu(x).sum() + F.gelu(x.tanh()).sum() + F.layer_norm(x, (3,)).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), x)[0]

    expected = second()
    with BaseTorchDispatchMode():
        found = second()
    torch.testing.assert_close(found, expected)


def test_views_and_writes_through_them() -> None:
    def run() -> Any:
        x = torch.arange(6.0).requires_grad_()
        y = x.clone().view(2, 3)
        y[0].mul_(2)
        y[:, 1] = 7.0
        y.t()[2].add_(x[:2])
        (y * y).sum().backward()
        return y.detach(), x.grad

    expected = run()
    with BaseTorchDispatchMode():
        found = run()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_functions_of_the_user_s_own() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 3 * ctx.saved_tensors[0] ** 2

    x = torch.tensor([2.0], requires_grad=True)
    with Logging() as logging:
        Cube.apply(x).backward()
    assert x.grad.item() == 12.0 and logging.names == [
        "mul.Tensor",
        "mul.Tensor",
        "ones_like.default",
        "mul.Tensor",
        "pow.Tensor_Scalar",
        "mul.Tensor",
    ]


def test_operators_of_the_user_s_own() -> None:
    @torch.library.custom_op("dispatching::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    twice.register_autograd(lambda ctx, grad: grad * 2)
    x = torch.ones(2, requires_grad=True)
    with Logging() as logging:
        y = twice(x)
    assert logging.names == ["dispatching.twice.default"] and y.requires_grad and y.tolist() == [2.0, 2.0]


def test_samples_of_vmap_are_seen_all_at_once() -> None:
    with Logging(calls=True) as logging:
        found = torch.func.vmap(lambda x: (x * 2).sum())(torch.ones(3, 4))
    assert found.tolist() == [8.0] * 3 and [(str(call[0]), tuple(call[3].shape)) for call in logging.calls[-2:]] == [
        ("aten.mul.Tensor", (3, 4)), ("aten.sum.dim_IntList", (3,)),
    ]  # fmt: skip


def test_dropout_is_drawn_again_for_the_same_seed() -> None:
    with BaseTorchDispatchMode():
        torch.manual_seed(0)
        first = F.dropout(torch.ones(1000))
        torch.manual_seed(0)
        assert torch.equal(F.dropout(torch.ones(1000)), first) and set(first.tolist()) == {0.0, 2.0}
        assert torch.randperm(5).sort()[0].tolist() == [0, 1, 2, 3, 4]


def test_a_step_of_an_optimizer() -> None:
    def run() -> Any:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(4, 3)).pow(2).sum().backward()
            optimizer.step()
        return layer.weight.detach()

    expected = run()
    with BaseTorchDispatchMode():
        found = run()
    torch.testing.assert_close(found, expected)


def test_other_threads_are_not_asked() -> None:
    with Logging() as logging:
        thread = threading.Thread(target=lambda: torch.ones(2).exp().tolist())
        thread.start()
        thread.join()
    assert not logging.names


def test_what_an_operator_says_of_itself() -> None:
    add, relu_ = aten.add.Tensor, aten.relu_.default
    assert add.name() == "aten::add.Tensor" and add.overloadpacket is aten.add and add.namespace == "aten" and str(add) == "aten.add.Tensor"
    assert (add._schema.name, add._schema.overload_name, add._schema.is_mutable) == ("aten::add", "Tensor", False)
    assert isinstance(add, torch._ops.OpOverload) and isinstance(aten.add, torch._ops.OpOverloadPacket)
    assert relu_.name() == "aten::relu_" and relu_._schema.is_mutable and f"{add.__module__}.{add.__name__}" == "torch._ops.aten.add.Tensor"
