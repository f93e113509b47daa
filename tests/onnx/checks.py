"""Exporting, and comparing what ONNX's reference implementation makes of the file with what the module gives."""

from __future__ import annotations

import numpy as np
from onnx.reference import ReferenceEvaluator

import flambeau as torch
from flambeau import nn
from flambeau.onnx import export
from flambeau.utils._pytree import tree_leaves


def example(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        raise NotImplementedError


def module_of(function, count=1):
    """A module whose `forward` has `count` parameters and calls the function."""
    names = ", ".join(f"x{number}" for number in range(count))
    space = {}
    exec(f"def forward(self, {names}):\n    return self.function({names})", space)
    return type("Function", (Function,), {"forward": space["forward"]})(function)


def compare(model, module, inputs, tolerance=2e-5):
    """Compare the model's results with the module's."""
    feeds = {put.name: value.detach().numpy() for put, value in zip(model.graph.input, inputs)}
    got = ReferenceEvaluator(model).run(None, feeds)
    torch.manual_seed(0)
    with torch.no_grad():
        expected = [each for each in tree_leaves(module(*[each.clone() for each in inputs])) if each is not None]
    assert len(got) == len(expected)
    for one, other in zip(got, expected):
        wanted = torch.as_tensor(other).contiguous()
        torch.testing.assert_close(
            torch.from_numpy(np.array(one)), wanted, rtol=tolerance, atol=tolerance, equal_nan=True, check_stride=False
        )


def check(module, *inputs, tolerance=2e-5, **options):
    """Export, compare, and return the `ModelProto`."""
    module.eval()
    model = export(module, inputs, **options).model_proto
    compare(model, module, inputs, tolerance)
    return model


def longer(tensor, dims=(0,)):
    """A tensor with larger sizes in some dimensions, and the same numbers again and again."""
    for dim in dims:
        size = tensor.shape[dim]
        tensor = tensor.index_select(dim, torch.arange(3 * size + 2) % size).contiguous()
    return tensor


def check_free(module, *inputs, dims=(0,), tolerance=2e-5):
    """Export with sizes free in all inputs, and compare for other sizes."""
    module.eval()
    dims = [dims if isinstance(dims, tuple) else dims[number] for number in range(len(inputs))]
    names = [f"input_{number}" for number in range(len(inputs))]
    axes = {name: {dim: f"size_{tensor.shape[dim]}" for dim in free} for name, tensor, free in zip(names, inputs, dims) if free}
    model = export(module, inputs, input_names=names, dynamic_axes=axes).model_proto
    compare(model, module, inputs, tolerance)
    compare(model, module, [longer(tensor, free) for tensor, free in zip(inputs, dims)], tolerance)
    return model
