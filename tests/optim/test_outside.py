from __future__ import annotations

import flambeau as torch
from flambeau.optim import optimizer


class Descent(optimizer.Optimizer):
    def __init__(self, params, differentiable=False):
        super().__init__(params, {"lr": 0.5, "differentiable": differentiable})

    @optimizer._use_grad_for_differentiable
    def step(self, closure=None):
        for group in self.param_groups:
            for each in group["params"]:
                each.add_(each.grad, alpha=-group["lr"])


def test_a_step_records_gradients_where_it_is_asked_to():
    x = torch.ones(2, requires_grad=True)
    x.grad = torch.ones(2)
    Descent([x]).step()
    assert x.tolist() == [0.5, 0.5] and x.is_leaf
    y = (torch.ones(2, requires_grad=True) * 1).requires_grad_()
    y.retain_grad()
    y.grad = torch.ones(2)
    Descent([y], differentiable=True).step()
    assert y.grad_fn is not None and y.tolist() == [0.5, 0.5]


def test_which_implementation():
    floats, ints = [torch.ones(1), None], [torch.ones(1, dtype=torch.int64)]
    assert optimizer._default_to_fused_or_foreach(floats, False) == (False, False)
    assert optimizer._default_to_fused_or_foreach(floats, False, use_fused=True) == (True, False)
    assert optimizer._default_to_fused_or_foreach(floats, True, use_fused=True) == (False, False)
    assert optimizer._default_to_fused_or_foreach(ints, False, use_fused=True) == (False, False)
    assert "cpu" not in optimizer._get_capturable_supported_devices() and "xla" not in optimizer._get_capturable_supported_devices(False)
