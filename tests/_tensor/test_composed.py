"""What sparse and nested tensors have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch

KINDS: list[Callable[[], Any]] = [
    lambda: torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse(),
    lambda: torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse_csr(),
    lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
]


@pytest.mark.parametrize("make", KINDS)
def test_hooks_get_a_tensor_like_it_and_can_compute(make: Callable[[], Any]) -> None:
    tensor = make().requires_grad_()
    tensor.register_hook(lambda grad: grad * 3)
    tensor.values().sum().backward()
    assert type(tensor.grad) is type(tensor)
    assert tensor.grad.values().unique().tolist() == [3]
    del tensor.grad
    assert tensor.grad is None


@pytest.mark.parametrize("make", KINDS)
def test_conversions_and_copies(make: Callable[[], Any]) -> None:
    tensor = make()
    assert tensor.to(torch.float32) is tensor
    assert tensor.to(torch.float32, copy=True) is not tensor
    assert tensor.to(torch.float64).dtype is torch.float64
    assert not tensor.requires_grad_().detach().requires_grad
    assert f"{tensor}" == repr(tensor)
    assert len({tensor, tensor}) == 1


@pytest.mark.parametrize("make", KINDS)
def test_functions_that_need_memory_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(NotImplementedError, match="not implemented for (sparse|nested) tensors"):
        torch.nn.Parameter(make())


@pytest.mark.parametrize("make", KINDS)
def test_checkpoints_compute_their_gradients_again(make: Callable[[], Any]) -> None:
    plain, kept = make().requires_grad_(), make().requires_grad_()
    (plain * plain).values().sum().backward()
    torch.utils.checkpoint.checkpoint(lambda x: x * x, kept, use_reentrant=False).values().sum().backward()
    assert torch.equal(plain.grad.values(), kept.grad.values())
