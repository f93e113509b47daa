"""Classes with a ``__torch_dispatch__``: tensors that hold other tensors, and say themselves what operators do with them."""

from __future__ import annotations

import copy
import gc
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._C import _disabled_torch_dispatch_impl
from flambeau._tape.tape import LOCAL, Tape
from flambeau.nn import functional as F
from flambeau.utils._mode_utils import no_dispatch
from flambeau.utils._python_dispatch import (
    TorchDispatchMode,
    is_traceable_wrapper_subclass,
    return_and_correct_aliasing,
    transform_subclass,
)
from flambeau.utils._pytree import tree_map, tree_map_only

aten = torch.ops.aten


class Holder(torch.Tensor):
    """Holds a tensor, and notes what it is asked."""

    names: list[str]

    @staticmethod
    def __new__(cls, held: Any, requires_grad: bool = False) -> Any:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, layout=held.layout,
            device=held.device, requires_grad=requires_grad,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        NAMES.append(func.name())
        given, named = tree_map(lambda each: each.held if isinstance(each, cls) else each, (list(args), kwargs or {}))
        return tree_map(lambda each: cls(each) if isinstance(each, torch.Tensor) else each, func(*given, **named))


NAMES: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    NAMES.clear()


class Diagonal(torch.Tensor):
    """A diagonal matrix; what keeps it one is computed of the diagonal alone."""

    @staticmethod
    def __new__(cls, diagonal: Any) -> Any:
        made = torch.Tensor._make_wrapper_subclass(cls, (*diagonal.size(), *diagonal.size()), dtype=diagonal.dtype)
        made.entries = diagonal
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.mm.default and all(isinstance(each, cls) for each in args):
            return cls(args[0].entries * args[1].entries)
        return func(*tree_map_only(cls, lambda each: torch.diag(each.entries), list(args)), **(kwargs or {}))


class Quantized(torch.Tensor):
    """Bytes and a scale."""

    @staticmethod
    def __new__(cls, values: Any, scale: Any) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=torch.float32)

    def __init__(self, values: Any, scale: Any) -> None:
        self.values_, self.scale = values, scale

    @classmethod
    def of(cls, tensor: Any) -> Quantized:
        scale = tensor.abs().amax() / 127
        return cls((tensor / scale).round().to(torch.int8), scale)

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["values_", "scale"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Any], context: None, size: Any, stride: Any) -> Quantized:
        return Quantized(inner["values_"], inner["scale"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any, kwargs: Any = None) -> Any:
        if func in (aten.detach.default, aten.clone.default):
            return return_and_correct_aliasing(func, args, kwargs, cls(args[0].values_, args[0].scale))
        args = tree_map_only(cls, lambda each: each.values_.to(torch.float32) * each.scale, list(args))
        return func(*args, **(kwargs or {}))


def test_gradients_flow_to_what_holds_a_tensor() -> None:
    x = Holder(torch.tensor([3.0, 4.0]), requires_grad=True)
    y = (x * x).sum()
    assert type(y) is Holder and y.grad_fn.name() == "SumBackward0" and y.held.item() == 25.0
    y.backward()
    assert type(x.grad) is Holder and x.grad.held.tolist() == [6.0, 8.0]
    assert NAMES[:2] == ["aten::mul.Tensor", "aten::sum"] and "aten::expand" in NAMES


def test_views_copies_and_writes_are_asked_for() -> None:
    x = Holder(torch.arange(6.0).view(2, 3))
    assert [type(each) for each in (x.t(), x.view(-1), x[0], x.detach(), x.clone(), x.double(), torch.zeros_like(x))] == [Holder] * 7
    assert x[0].held.tolist() == [0.0, 1.0, 2.0] and x.t().shape == (3, 2) and x.double().dtype is torch.float64
    version = x._version
    assert x.add_(1) is x and x.held[1].tolist() == [4.0, 5.0, 6.0] and x._version == version + 1
    x[0] = 9.0
    assert x.held[0].tolist() == [9.0] * 3
    assert NAMES[:5] == ["aten::t", "aten::view", "aten::select.int", "aten::detach", "aten::clone"]


def test_what_it_looks_like() -> None:
    x = Holder(torch.ones(2, 3), requires_grad=True)
    assert x.device.type == "cpu" and x.is_cpu and not x.is_meta and x.is_leaf and x.shape == (2, 3) and x.dtype is torch.float32
    assert repr(x) == "Holder(..., size=(2, 3), requires_grad=True)" and repr(x + 1) == "Holder(..., size=(2, 3), grad_fn=<AddBackward0>)"
    with pytest.raises(NotImplementedError, match="no elements of its own"):
        x.sum().item()


def test_parameters_keep_their_class() -> None:
    weight = nn.Parameter(Holder(torch.ones(4, 3)))
    assert type(weight) is Holder and isinstance(weight, nn.Parameter) and weight.requires_grad
    layer = nn.Linear(3, 4)
    layer.weight = weight
    result = layer(Holder(torch.ones(2, 3)))
    result.sum().backward()
    assert type(result) is Holder and weight.grad.held.tolist() == [[2.0] * 3] * 4 and dict(layer.named_parameters())["weight"] is weight


def test_networks_are_converted_copied_and_trained() -> None:
    layer = nn.Linear(3, 2)
    expected = copy.deepcopy(layer)
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(Holder(parameter.detach().clone())))
    other = copy.deepcopy(layer)
    assert type(other.weight) is Holder and other.weight.held is not layer.weight.held and isinstance(other.weight, nn.Parameter)
    for each in (layer, expected):
        optimizer = torch.optim.AdamW(each.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            each(torch.ones(4, 3)).sum().backward()
            optimizer.step()
    torch.testing.assert_close(layer.weight.held, expected.weight.detach())
    assert not torch.equal(other.weight.held, layer.weight.held)
    layer.double()
    assert layer.weight.dtype is layer.weight.held.dtype is torch.float64 and type(layer.weight) is Holder
    with pytest.raises(RuntimeError, match="incompatible tensor types"):
        layer.weight.data = torch.ones(2, 3)


def test_a_class_may_compute_otherwise() -> None:
    d = Diagonal(torch.tensor([1.0, 2.0]))
    square = d @ d
    assert type(square) is Diagonal and square.entries.tolist() == [1.0, 4.0] and square.shape == (2, 2)
    assert type(d + 1) is torch.Tensor and (d + torch.ones(2, 2)).tolist() == [[2.0, 1.0], [1.0, 3.0]] and d.sum().item() == 3.0


def test_quantized_weights() -> None:
    layer = nn.Linear(8, 4)
    x = torch.randn(2, 8, requires_grad=True)
    expected = layer(x)
    layer.weight = nn.Parameter(Quantized.of(layer.weight.detach()), requires_grad=False)
    found = layer(x)
    assert type(found) is torch.Tensor and type(layer.weight) is Quantized
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
    found.sum().backward()
    assert x.grad.shape == (2, 8)
    assert is_traceable_wrapper_subclass(layer.weight) and not is_traceable_wrapper_subclass(x)
    again = transform_subclass(layer.weight, lambda name, inner: inner * 0)
    assert type(again) is Quantized and F.linear(x, again).tolist() == [[0.0] * 4] * 2


def test_a_mode_sees_them_before_their_class_does() -> None:
    seen = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append((func.name(), types))
            return func(*args, **(kwargs or {}))

    x = Holder(torch.ones(2))
    NAMES.clear()
    with Mode():
        y = x * 2
    assert seen == [("aten::mul.Tensor", (Holder,))] and NAMES == ["aten::mul.Tensor"] and type(y) is Holder


def test_a_subclass_is_asked_before_its_base() -> None:
    class Special(Holder):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return f"{func.name()} of {[each.__name__ for each in types]}"

    assert Holder(torch.ones(2)) + Special(torch.ones(2)) == "aten::add.Tensor of ['Special', 'Holder']"


def test_tensors_that_show_others() -> None:
    class Shown(torch.Tensor):
        @staticmethod
        def __new__(cls, data: Any) -> Any:
            return torch.Tensor._make_subclass(cls, data)

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            NAMES.append(func.name())
            with no_dispatch():
                return func(*args, **(kwargs or {}))

    x = Shown(torch.ones(2))
    y = x + 1
    assert type(y) is torch.Tensor and y.tolist() == [2.0, 2.0] and NAMES == ["aten::add.Tensor"]


def test_a_class_may_leave_it_to_tensors() -> None:
    class Noting(torch.Tensor):
        @staticmethod
        def __new__(cls, data: Any) -> Any:
            return torch.Tensor._make_subclass(cls, data)

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            NAMES.append(func.name())
            return super().__torch_dispatch__(func, types, args, kwargs)

    assert (Noting(torch.ones(2)) * 3).sum().item() == 6.0 and NAMES == ["aten::mul.Tensor"]


def test_classes_that_are_not_asked() -> None:
    class Plain(torch.Tensor):
        __torch_dispatch__ = _disabled_torch_dispatch_impl

    x = torch.Tensor._make_subclass(Plain, torch.ones(2))
    assert (x + 1).tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="must define __torch_dispatch__"):
        torch.Tensor._make_wrapper_subclass(Plain, (2,))


def test_a_class_without_an_answer_is_an_error() -> None:
    class Silent(Holder):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return NotImplemented

    with pytest.raises(TypeError, match=r"Multiple dispatch failed for 'torch.ops.aten.add.Tensor'.*Silent"):
        Silent(torch.ones(2)) + 1


def test_recording_goes_on_when_there_are_none_left() -> None:
    x = Holder(torch.ones(2))
    assert type(LOCAL.tape) is not Tape
    del x
    gc.collect()
    (torch.ones(2) + 1).tolist()
    assert type(LOCAL.tape) is Tape


def test_saved_tensors_keep_their_class() -> None:
    kinds = []

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            result = x * x
            ctx.save_for_backward(x, result)
            return result

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            kinds.extend(type(each) for each in ctx.saved_tensors)
            return grad * 2 * ctx.saved_tensors[0]

    x = Holder(torch.tensor([3.0]), requires_grad=True)
    Square.apply(x).sum().backward()
    assert kinds == [Holder, Holder] and x.grad.held.item() == 6.0
