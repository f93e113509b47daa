"""Samples of the operators, exported: the same bits, and with all sizes free the same bits for other sizes, or an error when it is exported."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau._dynamo.exc import UserError
from flambeau.export import Dim, export
from flambeau.export.dynamic_shapes import FlatShapes
from flambeau.utils._pytree import tree_leaves
from tests.samples import linear_algebra  # noqa: F401  (more samples)
from tests.samples.inputs import Inputs
from tests.samples.operators import KINDS, SAMPLES

ASK = {"allclose", "equal", "nn.functional.gaussian_nll_loss"}
"""Operators that give truth values, or errors that depend on numbers: they cannot be exported."""


class Recording(Inputs):
    """Keeps copies of the inputs that a sample asks for, or hands out given ones instead."""

    def __init__(self, dtype, given=None):
        super().__init__(torch, dtype)
        self.made = []
        self.handed = None if given is None else iter(given)

    def tensor(self, values, dtype=None):
        if self.handed is not None:
            return next(self.handed)
        made = super().tensor(values, dtype)
        self.made.append(made.clone())
        return made


class Sample(nn.Module):
    def __init__(self, call, dtype):
        super().__init__()
        self.call, self.dtype = call, dtype

    def forward(self, *tensors):
        return self.call(torch, Recording(self.dtype, tensors))


def dtype_of(name):
    kinds = {"f": torch.float32, "F": torch.float32, "c": torch.complex64, "i": torch.int64, "b": torch.bool}
    return next(dtype for kind, dtype in kinds.items() if kind in KINDS[name])


def results(function, tensors):
    torch.manual_seed(0)
    return tree_leaves(function(*[tensor.clone() for tensor in tensors]))


def array(tensor):
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).numpy()


def same(got, expected):
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected):
        if not isinstance(theirs, torch.Tensor):
            assert mine == theirs
            continue
        assert mine.dtype is theirs.dtype and mine.shape == theirs.shape and mine.stride() == theirs.stride()
        assert np.array_equal(array(mine), array(theirs), equal_nan=True)


def samples(first, step):
    names = [name for name in list(SAMPLES)[first::step] if name not in ASK]
    return [pytest.param(name, call, id=f"{name}-{number}") for name in names for number, call in enumerate(SAMPLES[name])]


def prepared(name, call):
    inputs = Recording(dtype_of(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(torch, inputs)
    return Sample(call, dtype_of(name)), tuple(inputs.made)


def repeated(tensor):
    """A tensor with larger sizes and the same numbers again and again."""
    values = array(tensor)
    for dim, size in enumerate(tensor.shape):
        if size > 1:
            values = values.take(np.arange(3 * size + 2) % size, dim)
    made = torch.from_numpy(values)
    return torch.view_as_complex(made) if tensor.is_complex() else made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "call"), samples(0, 6))
def test_same_bits(name, call):
    module, inputs = prepared(name, call)
    same(results(export(module, inputs).module(), inputs), results(module, inputs))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "call"), samples(3, 6))
def test_same_bits_for_other_sizes(name, call):
    module, inputs = prepared(name, call)
    shapes = [{dim: Dim(f"size_{size}") for dim, size in enumerate(tensor.shape) if size > 1} for tensor in inputs]
    try:
        program = export(module, inputs, dynamic_shapes=FlatShapes(shapes))
    except (UserError, ValueError):
        return  # it holds a size as a plain number
    others = [repeated(tensor) for tensor in inputs]
    same(results(program.module(), others), results(module, others))


def test_what_autocast_runs_in_float32_keeps_its_name() -> None:
    class Module(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.quantile(0.5, dim=1) + torch.cdist(x, x)[0] + torch.linalg.inv(x)[0] + x.trace()

    code = export(Module(), (torch.eye(3),)).graph_module.code
    assert all(f"torch.ops.aten.{name}.default(" in code for name in ("quantile", "cdist", "linalg_inv", "trace")), code
