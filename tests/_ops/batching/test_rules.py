"""Every operator with all samples at once gives what it gives for each: the samples of ``tests/samples`` are the witnesses."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau._ops import calls
from flambeau._ops.batching import rules
from flambeau._ops.registry import OPERATORS
from flambeau.func import grad, vmap
from tests.samples.inputs import Inputs
from tests.samples.operators import KINDS, SAMPLES

COUNT = 3

LOOKS = {
    "allclose", "argwhere", "bincount", "equal", "histc", "histogram", "histogramdd", "masked_scatter", "masked_select", "nonzero",
    "nonzero_static", "unique", "unique_consecutive",
}  # fmt: skip
"""What looks at elements, or has a shape that depends on them."""

BY_ONE = (
    "matmul", "bmm", "baddbmm", "addmm", "nn.functional.linear", "convolution", "nn.functional.conv2d", "nn.functional.conv_transpose2d", "where", "masked_fill",
    "index_put", "index_select", "gather", "scatter", "scatter_add", "index_add", "take_along_dim", "embedding", "layer_norm", "group_norm", "batch_norm",
    "nn.functional.scaled_dot_product_attention", "nn.functional.nll_loss", "cat", "lerp", "searchsorted", "isin",
)  # fmt: skip
"""What has several operands, of which some may be the same for all samples."""

DTYPES = {"f": "float32", "F": "float32", "c": "complex64", "i": "int64", "b": "bool"}


class Made(Inputs):
    """Keeps the inputs that it makes; or hands out others, if they are given."""

    def __init__(self, dtype: Any, given: tuple = ()) -> None:
        super().__init__(flambeau, dtype)
        self.made: list = []
        self.others = list(given)

    def leaf(self, values: np.ndarray) -> Any:
        return self.tensor(values, self.dtype)

    def tensor(self, values: Any, dtype: Any = None) -> Any:
        if self.others:
            return self.others.pop(0)
        made = flambeau.tensor(np.asarray(values), dtype=dtype)
        self.made.append(made)
        return made


def flat(result: Any) -> list:
    if isinstance(result, flambeau.Tensor):
        return [result]
    return [tensor for part in result for tensor in flat(part)] if isinstance(result, (tuple, list)) else []


def variants(tensor: Any) -> list:
    """The input of each sample: floating-point numbers close to each other, and the same integers in another order."""
    if tensor.is_floating_point() or tensor.is_complex():
        return [tensor * (1 - 0.01 * number) for number in range(COUNT)]
    return [tensor.roll(number, -1) if tensor.ndim else tensor for number in range(COUNT)]


def cases(names: Iterable[str]) -> list:
    return [pytest.param(name, number, id=f"{name}-{number}") for name in names for number in range(len(SAMPLES[name]))]


class Sample:
    """A sample as a function of its inputs, and inputs for several samples at once."""

    def __init__(self, name: str, number: int) -> None:
        self.dtype = getattr(flambeau, DTYPES[KINDS[name][0]])
        self.sample = SAMPLES[name][number]
        made = Made(self.dtype)
        self.results = flat(self.sample(flambeau, made))
        self.inputs = [variants(each) for each in made.made]

    def __call__(self, *inputs: Any) -> tuple:
        return tuple(flat(self.sample(flambeau, Made(self.dtype, inputs))))

    def check(self, function: Any, mapped: set[int]) -> None:
        """Compare a function of the inputs, some of which are mapped over, with what it is of each sample."""
        given = [flambeau.stack(each) if number in mapped else each[0] for number, each in enumerate(self.inputs)]
        found = vmap(function, in_dims=tuple(0 if number in mapped else None for number in range(len(given))))(*given)
        for place, result in enumerate(found):
            ones = [
                function(*[each[number if place in mapped else 0] for place, each in enumerate(self.inputs)])[place]
                for number in range(COUNT)
            ]
            expected = flambeau.stack(ones)
            assert result.dtype is expected.dtype and result.shape == expected.shape
            np.testing.assert_allclose(result.detach().numpy(), expected.detach().numpy(), rtol=2e-4, atol=2e-5)


FEW = {"add", "clamp", "complex", "lerp", "pow", "sin", "sub", "where"}
"""Of the many that are broadcast, all by one rule, some."""


@pytest.mark.parametrize(
    ("name", "number"), cases(name for name in SAMPLES if name not in LOOKS and (name in FEW or name not in rules.BROADCAST))
)
def test_all_samples_at_once(name: str, number: int) -> None:
    sample = Sample(name, number)
    if sample.inputs:
        sample.check(sample, set(range(len(sample.inputs))))


@pytest.mark.parametrize(("name", "number"), cases(BY_ONE))
def test_one_operand_differs(name: str, number: int) -> None:
    sample = Sample(name, number)
    for position in range(len(sample.inputs)):
        sample.check(sample, {position})


@pytest.mark.parametrize(
    ("name", "number"), cases(name for name in BY_ONE if KINDS[name][0] in "fF" and name not in ("isin", "searchsorted"))
)
def test_gradients_of_all_samples(name: str, number: int) -> None:
    sample = Sample(name, number)
    leaves = tuple(number for number, each in enumerate(sample.inputs) if each[0].is_floating_point())

    def loss(*inputs: Any) -> Any:
        return sum((each.sin() ** 2).sum() for each in sample(*inputs) if each.is_floating_point())

    gradient = grad(loss, argnums=leaves)
    sample.check(gradient, set(range(len(sample.inputs))))
    given = [flambeau.stack(each) for each in sample.inputs]
    outside = grad(lambda *inputs: vmap(loss)(*inputs).sum(), argnums=leaves)(*given)
    for found, expected in zip(outside, vmap(gradient)(*given), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


WITHOUT_RULE = {
    *("_constant", "arange", "eye", "linspace", "_write_all", "_write_part", "_grid_sample"),  # never see tensors of one sample
    *("_adagrad_step", "_adam_step", "_rmsprop_step", "_sgd_step"),  # overwrite parameters, outside
    *("_ctc_loss", "_ctc_loss_backward", "linalg_lstsq", "sparse_embedding"),
}


def test_operators_have_rules() -> None:
    """An operator that is in neither table is called for each sample: is there no family in ``rules.py`` that it belongs to?"""
    import_module("flambeau._ops.linalg.ldl")  # which is loaded when it is first asked for

    assert set(rules.RULES) <= set(OPERATORS)
    ours = {name for name, operator in OPERATORS.items() if operator.infer.__module__.startswith("flambeau._ops.")}
    quantized = ("flambeau._ops.quantization", "flambeau._ops.byte_products")
    ours -= {name for name in ours if OPERATORS[name].infer.__module__ in quantized}
    assert ours - set(rules.RULES) - WITHOUT_RULE == set()


def test_what_has_no_rule_is_called_for_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", {})
    monkeypatch.setattr(calls, "_RECORDS", {})  # which remembers what rules did
    x = flambeau.randn(3, 4, 5)
    for function in (lambda x: x.softmax(0).t() @ x, lambda x: x.sort(1)[0].sum(), lambda x: x[:, flambeau.tensor([0, 2])]):
        found, expected = vmap(function)(x), flambeau.stack([function(each) for each in x])
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5)


def test_an_index_out_of_range_is_an_error_in_any_sample() -> None:
    table, places = flambeau.randn(3, 4, 2), flambeau.tensor([[0, 1], [3, 4], [0, 0]])
    with pytest.raises(IndexError, match="out of range|out of bounds"):
        vmap(lambda table, places: flambeau.nn.functional.embedding(places, table))(table, places).numpy()


def test_tensors_without_dimensions_count_for_less_in_each_sample() -> None:
    x, y = flambeau.randn(3, 4), flambeau.randn(3, dtype=flambeau.float64)
    assert vmap(flambeau.mul)(x, y).dtype is flambeau.float32
    assert vmap(flambeau.mul, in_dims=(0, None))(y, x[0, 0]).dtype is flambeau.float64
