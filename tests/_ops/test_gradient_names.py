"""What a gradient node is called is what PyTorch calls it, also where there is one operator here for several there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import flambeau
from flambeau.nn import functional as F

NAMES: dict[str, tuple[Callable, ...]] = {
    "SelectBackward0": (lambda x: x[0], lambda x: x[:, 1], lambda x: x[1:, 0]),
    "SliceBackward0": (lambda x: x[1:], lambda x: x.narrow(0, 0, 1)),
    "UnsqueezeBackward0": (lambda x: x[None], lambda x: x[..., None], lambda x: x.unsqueeze(0)),
    "SumBackward0": (lambda x: x.sum(),),
    "SumBackward1": (lambda x: x.sum(0), lambda x: x.sum((0, 1), keepdim=True)),
    "MeanBackward1": (lambda x: x.mean(0),),
    "ProdBackward1": (lambda x: x.prod(0),),
    "MmBackward0": (lambda x: x @ x, lambda x: F.linear(x, x)),
    "BmmBackward0": (lambda x: flambeau.bmm(x[None], x[None]),),
    "AddmmBackward0": (lambda x: F.linear(x, x, x[0]),),
    "NativeLayerNormBackward0": (lambda x: F.layer_norm(x, (3,)),),
    "NativeBatchNormBackward0": (lambda x: F.batch_norm(x, None, None, training=True),),
    "NativeGroupNormBackward0": (lambda x: F.group_norm(x[None], 3),),
    "PowBackward0": (lambda x: x**2, lambda x: x**0.3),
    "PowBackward1": (lambda x: x**x,),
    "PowBackward2": (lambda x: 2**x,),
    "RsubBackward1": (lambda x: 1 - x,),
    "SubBackward0": (lambda x: x - 1, lambda x: x - x),
    "ClampBackward0": (lambda x: x.clamp(x, x),),
    "ClampBackward1": (lambda x: x.clamp(0, 1), lambda x: x.clamp(min=0), lambda x: x.clamp(max=0)),
    "Log1PBackward0": (lambda x: x.log1p(),),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    x = flambeau.rand(3, 3, requires_grad=True)
    for function in NAMES[name]:
        assert function(x).grad_fn.name() == name
