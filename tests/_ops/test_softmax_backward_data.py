from __future__ import annotations

import pytest

import flambeau as torch


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradients_from_outputs(name):
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y, grad = getattr(torch, name)(x, 1), torch.randn(3, 4, dtype=torch.float64)
    y.backward(grad)
    backward = getattr(torch, f"_{name}_backward_data")
    torch.testing.assert_close(backward(grad, y.detach(), -1, torch.float64), x.grad)
    assert backward(grad.float(), y.detach().float(), 1, torch.float16).dtype == torch.float16
    with pytest.raises(RuntimeError, match="must be the same"):
        backward(grad.float(), y.detach(), 1, torch.float64)
    with pytest.raises(IndexError):
        backward(grad, y.detach(), 2, torch.float64)


@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
def test_the_result_is_contiguous_whatever_the_order_of_the_input(function) -> None:
    for x in (torch.randn(5, 7).mT, torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)):
        x = x.detach().requires_grad_()
        for dim in range(x.dim()):
            found = function(x, dim)
            (gradient,) = torch.autograd.grad(found, x, found.detach())
            assert found.is_contiguous() and torch.equal(found, function(x.contiguous(), dim)) and gradient.shape == x.shape
