"""Exchanging tensors."""

from __future__ import annotations

import weakref

import pytest

import flambeau as torch
from flambeau import nn


def test_everything_is_exchanged():
    a, b = torch.ones(2), torch.zeros(3, dtype=torch.int64)
    holder = [a]
    a.note = "mine"
    torch.utils.swap_tensors(a, b)
    assert holder[0] is a and a.tolist() == [0, 0, 0] and a.dtype is torch.int64 and b.tolist() == [1.0, 1.0] and b.note == "mine"


def test_a_parameter_keeps_its_place_and_its_gradients():
    layer = nn.Linear(2, 1, bias=False)
    weight, other = layer.weight, nn.Parameter(torch.tensor([[3.0, 4.0]]))
    torch.utils.swap_tensors(weight, other)
    layer(torch.tensor([[1.0, 2.0]])).sum().backward()
    assert layer.weight is weight and weight.tolist() == [[3.0, 4.0]] and weight.grad.tolist() == [[1.0, 2.0]] and other.grad is None
    plain = torch.ones(2)
    torch.utils.swap_tensors(weight, plain)
    assert type(weight) is torch.Tensor and isinstance(plain, nn.Parameter) and plain.grad.tolist() == [[1.0, 2.0]]


def test_what_cannot_be_exchanged():
    a = torch.ones(2)
    reference = weakref.ref(a)
    with pytest.raises(RuntimeError, match="weak reference"):
        torch.utils.swap_tensors(a, torch.zeros(2))
    assert reference() is a
    with pytest.raises(TypeError, match="t2 is a list"):
        torch.utils.swap_tensors(torch.ones(1), [1])
