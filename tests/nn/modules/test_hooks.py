"""Hooks around forward and backward."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau
from flambeau import nn
from flambeau.nn.modules import module as module_hooks


class Scale(nn.Module):
    """Multiplies by a factor."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = factor

    def forward(self, x, *, extra=0.0):
        return x * self.factor + extra


def test_forward_hooks_in_order():
    layer, order = Scale(), []
    layer.register_forward_hook(lambda m, args, out: order.append(("second", out)))
    layer.register_forward_hook(lambda m, args, out: order.append(("first", out)) or out + 1, prepend=True)
    layer.register_forward_pre_hook(lambda m, args: order.append(("pre", args)) or args[0] + 1)
    assert layer(1.0) == 5.0
    assert order == [("pre", (1.0,)), ("first", 4.0), ("second", 5.0)]


def test_hooks_with_keywords():
    layer = Scale()
    layer.register_forward_pre_hook(lambda m, args, kwargs: (args, {"extra": 10.0}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kwargs, out: (out, kwargs), with_kwargs=True)
    assert layer(1.0) == (12.0, {"extra": 10.0})
    layer.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\)"):
        layer(1.0)


def test_removed_hooks_cost_nothing_again():
    layer = Scale()
    handle = layer.register_forward_hook(lambda m, args, out: 0)
    with layer.register_forward_pre_hook(lambda m, args: (7.0,)):
        assert layer(1.0) == 0
    handle.remove()
    handle.remove()
    assert layer(1.0) == 2.0
    assert not layer._hooked


def test_always_called():
    class Failing(nn.Module):
        def forward(self):
            raise ValueError("first")

    layer, seen = Failing(), []
    layer.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    layer.register_forward_hook(lambda m, args, out: seen.append("not called"))
    with pytest.raises(ValueError, match="first"):
        layer()
    assert seen == [None]

    def failing_hook(m, args, out):
        raise KeyError("second")

    layer.register_forward_hook(failing_hook, always_call=True)
    with pytest.warns(UserWarning, match="silenced as another error"), pytest.raises(ValueError, match="first"):
        layer()


def test_global_hooks():
    net, seen = nn.Sequential(Scale(), Scale()), []
    handles = [
        module_hooks.register_module_forward_pre_hook(lambda m, args: seen.append(type(m).__name__)),
        module_hooks.register_module_forward_hook(lambda m, args, out: out + 1 if isinstance(m, Scale) else None),
    ]
    try:
        assert net(1.0) == 7.0
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["Sequential", "Scale", "Scale"]
    assert net(1.0) == 4.0
    assert not nn.Module._hooked


def test_full_backward_hooks():
    layer, seen = Scale(3.0), []
    layer.register_full_backward_pre_hook(lambda m, grads: seen.append(("pre", grads[0].item())) or (grads[0] * 2,))
    layer.register_full_backward_hook(lambda m, grads, outs: seen.append(("hook", grads[0].item(), outs[0].item())) or (grads[0] + 1,))
    x = flambeau.tensor(1.0, requires_grad=True)
    layer(x).backward()
    assert seen == [("pre", 1.0), ("hook", 6.0, 2.0)]
    assert x.grad.item() == 7.0


def test_full_backward_hook_without_input_gradients():
    layer, seen = nn.Linear(2, 1), []
    layer.register_full_backward_hook(lambda m, grads, outs: seen.append((grads, outs[0].item())))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        layer(flambeau.ones(1, 2)).sum().backward()
    assert seen == [((None,), 1.0)]


def test_full_backward_hook_with_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, x, y, number):
            return x * y, x + number

    layer, seen = Two(), []
    layer.register_full_backward_hook(lambda m, grads, outs: seen.append((len(grads), grads[2], len(outs))))
    x, y = flambeau.ones(2, requires_grad=True), flambeau.full((2,), 3.0, requires_grad=True)
    product, total = layer(x, y, 1)
    (product.sum() + total.sum()).backward()
    assert seen == [(3, None, 2)]
    assert x.grad.tolist() == [4.0, 4.0] and y.grad.tolist() == [1.0, 1.0]


def test_a_backward_hook_must_return_as_many_gradients():
    layer = Scale()
    layer.register_full_backward_hook(lambda m, grads, outs: (None, None))
    with pytest.raises(RuntimeError, match="got 2, but expected 1"):
        layer(flambeau.tensor(1.0, requires_grad=True)).backward()


def test_no_taps_without_gradients():
    layer = Scale()
    layer.register_full_backward_hook(lambda m, grads, outs: None)
    with flambeau.no_grad():
        assert layer(flambeau.tensor(1.0, requires_grad=True)).item() == 2.0


def test_handles_survive_copies_of_their_module():
    layer = Scale()
    handle = layer.register_forward_hook(zero)
    other = copy.deepcopy(layer)
    handle.remove()
    assert layer(1.0) == 2.0 and other(1.0) == 0
    revived, hooks = pickle.loads(pickle.dumps((handle, layer._forward_hooks)))
    assert revived.id == handle.id and not hooks


def zero(module, args, output):
    return 0


def test_regular_backward_hooks_hear_of_the_last_operator():
    heard = []
    layer = nn.Conv2d(1, 2, 3)
    layer.register_backward_hook(
        lambda module, ins, outs: heard.append((module, [each.shape for each in ins], [each.shape for each in outs]))
    )
    layer(flambeau.ones(1, 1, 4, 4, requires_grad=True)).sum().backward()
    assert heard == [(layer, [(1, 1, 4, 4), (2, 1, 3, 3), (2,)], [(1, 2, 2, 2)])]

    x = flambeau.tensor([1.0, -1.0], requires_grad=True)
    relu = nn.ReLU()
    handle = relu.register_backward_hook(lambda module, ins, outs: (ins[0] * 10,))
    relu(x).sum().backward()
    assert x.grad.tolist() == [10.0, 0.0]
    handle.remove()
    relu(x).sum().backward()
    assert x.grad.tolist() == [11.0, 0.0]


def test_regular_and_full_backward_hooks_do_not_mix():
    for first, second in (
        ("register_backward_hook", "register_full_backward_hook"),
        ("register_full_backward_hook", "register_backward_hook"),
    ):
        layer = nn.ReLU()
        getattr(layer, first)(print)
        with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full backward hooks"):
            getattr(layer, second)(print)


def test_where_no_gradient_arrives_what_is_before_is_asked_for_zeros():
    class Stops(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return None

    layer, seen, x = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), [], flambeau.ones(1, 2, requires_grad=True)
    layer[1].register_full_backward_hook(lambda module, inputs, outputs: seen.append((inputs[0].tolist(), outputs)))
    Stops.apply(layer(x)).sum().backward()
    assert seen == [([[0.0, 0.0]], (None,))] and x.grad.tolist() == [[0.0, 0.0]]
