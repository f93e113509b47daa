"""Operators whose gradient in PyTorch is not the derivative of what PyTorch computes: ours is compared with differences of PyTorch's results."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from parity.calls import Call

WRONG = {"as_strided_scatter"}
"""`torch.autograd.gradcheck` says so: what is overwritten, and so has no part in the result, gets a gradient."""

_STEP = 1e-4


def differences(call: Call, outputs: Callable[[Any], list[torch.Tensor]], cotangents: list[torch.Tensor]) -> list[torch.Tensor]:
    """The gradients of every input of a call in double precision that requires one, by central differences.

    Args:
        call: PyTorch's side, in double precision
        outputs: the outputs that are differentiated, among a result
        cotangents: vectors to pull back through them
    """
    inputs = [tensor for tensor in call.tensors() if tensor.requires_grad]
    with torch.no_grad():
        return [_gradient(tensor, lambda: _pulled_back(call, outputs, cotangents)) for tensor in inputs]


def _pulled_back(call: Call, outputs: Callable[[Any], list[torch.Tensor]], cotangents: list[torch.Tensor]) -> float:
    result = Call(torch, call.function, call.args, call.kwargs).run().result
    return sum((cotangent.conj() * output).real.sum().item() for cotangent, output in zip(cotangents, outputs(result), strict=True))


def _gradient(tensor: torch.Tensor, value: Callable[[], float]) -> torch.Tensor:
    """The derivative of a number by each element of a tensor, and for complex ones by both parts."""
    gradient = torch.zeros_like(tensor)
    for at in product(*map(range, tensor.shape)):
        before = tensor[at].clone()
        for direction in (1, 1j) if tensor.is_complex() else (1,):
            ends = []
            for step in (_STEP, -_STEP):
                tensor[at] = before + step * direction
                ends.append(value())
            gradient[at] += direction * (ends[0] - ends[1]) / (2 * _STEP)
        tensor[at] = before
    return gradient
