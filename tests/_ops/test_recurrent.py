"""All steps of a recurrent layer by one operator, against the loop over tensors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import flambeau
from flambeau._codegen.steps import STEPS
from flambeau._ops.recurrent import RECURRENCE, _loop, recurrence
from flambeau.autograd import gradcheck, gradgradcheck

LENGTHS = {"even": (3, 3, 3, 3), "several": (19, 17, 17, 9, 2, 1), "one": (1, 1)}


def operands(mode: str, sizes: tuple[int, ...], units: int, dtype: flambeau.dtype, bias: bool = True) -> tuple:
    flambeau.manual_seed(0)
    rule = STEPS[mode]
    shapes = [(sum(sizes), rule.gates * units), (rule.gates * units, units), (1 + rule.cells, sizes[0], units)]
    if bias:
        shapes.append((rule.gates * units,))
    return tuple((flambeau.randn(*shape) * 0.4).to(dtype).requires_grad_() for shape in shapes)


def by_operator(mode: str, sizes: tuple[int, ...], reverse: bool, given: tuple) -> tuple:
    return RECURRENCE(*given, statics=(mode, reverse, sizes))[1:]


def by_loop(mode: str, sizes: tuple[int, ...], reverse: bool, given: tuple) -> tuple:
    inputs, weight, state, *bias = given
    outputs, last = _loop(mode, inputs, state.unbind(0), weight, bias[0] if bias else None, None, sizes, reverse)
    return outputs, flambeau.stack(last)


@pytest.mark.parametrize(
    ("dtype", "lengths"),
    [*product([flambeau.float32], LENGTHS), *product([flambeau.float64, flambeau.float16], ["several"])],
)
@pytest.mark.parametrize("mode", STEPS)
def test_the_operator_has_the_bits_of_the_loop(mode, dtype, lengths):
    for (units, bias), reverse in product(((5, True), (32, False)), (False, True)):
        given = operands(mode, LENGTHS[lengths], units, dtype, bias)
        for one, other in zip(by_operator(mode, LENGTHS[lengths], reverse, given), by_loop(mode, LENGTHS[lengths], reverse, given)):
            assert flambeau.equal(one, other)


@pytest.mark.parametrize("mode", ["GRU", "RNN_TANH"])
def test_sums_of_several_chains(mode):
    given = operands(mode, (3, 2), 300, flambeau.float32)
    for one, other in zip(by_operator(mode, (3, 2), False, given), by_loop(mode, (3, 2), False, given)):
        assert flambeau.equal(one, other)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("mode", STEPS)
def test_gradients_are_those_of_the_loop(mode, lengths):
    sizes = LENGTHS[lengths]
    for (units, bias), reverse in product(((5, True), (32, False)), (False, True)):
        given = operands(mode, sizes, units, flambeau.float64, bias)
        found = []
        for way in (by_operator, by_loop):
            outputs, last = way(mode, sizes, reverse, given)
            found.append(flambeau.autograd.grad((outputs * outputs).sum() + (last.sin() * 3).sum(), given))
        for one, other in zip(*found):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("mode", "reverse"), [("GRU", True), ("LSTM", False), ("RNN_TANH", True)])
def test_gradients_can_be_differentiated(mode, reverse):
    given = operands(mode, (2, 1), 1, flambeau.float64)
    assert gradcheck(lambda *each: by_operator(mode, (2, 1), reverse, each), given)
    assert gradgradcheck(lambda *each: by_operator(mode, (2, 1), reverse, each), given)


def test_a_gradient_alone():
    """Only some operands require grad, and only some results are used."""
    sizes = (2, 2)
    given = operands("LSTM", sizes, 3, flambeau.float64)
    for number in range(4):
        alone = tuple(each if i == number else each.detach() for i, each in enumerate(given))
        for result in (0, 1):
            one, other = (
                flambeau.autograd.grad(way("LSTM", sizes, False, alone)[result].sum(), alone[number])[0] for way in (by_operator, by_loop)
            )
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["GRU", "LSTM"])
def test_large_weights_that_threads_divide(mode):
    """A weight of 3 to 4 MB, which no core's own cache holds on most machines."""
    sizes = (2, 2, 2)
    given = operands(mode, sizes, 512, flambeau.float32)
    for reverse in (False, True):
        found = []
        for way in (by_operator, by_loop):
            outputs, last = way(mode, sizes, reverse, given)
            found.append((outputs, last, *flambeau.autograd.grad((outputs * outputs).sum() + last.sum(), given)))
        for one, other in zip(found[0][:2], found[1][:2]):
            assert flambeau.equal(one, other)
        for one, other in zip(found[0][2:], found[1][2:]):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("units", [15, 18, 64, 256])
@pytest.mark.parametrize(
    "mode", [mode for mode in STEPS if mode != "RNN_RELU"]
)  # whose gradients jump where a sum is rounded to the other side of 0
def test_half_precision_is_rounded_by_the_step(mode, units):
    """Units of which pairs can be made, and an odd number; of 256 the steps of 40 sequences are one kernel on one thread, and nodes on two."""
    sizes = (40, 40) if units == 256 else (40, 38, 3)
    given = operands(mode, sizes, units, flambeau.bfloat16)
    exact = tuple(each.detach().float().requires_grad_() for each in given)
    found = []
    for threads, each in ((1, given), (2, given), (1, exact)):
        before = flambeau.get_num_threads()
        flambeau.set_num_threads(threads)
        try:
            outputs, last = by_operator(mode, sizes, False, each)
            results = (outputs, last, *flambeau.autograd.grad(outputs.float().sum() + last.float().sum(), each))
            found.append([result.detach().float().numpy() for result in results])
        finally:
            flambeau.set_num_threads(before)
    for one, other, near in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, near, rtol=0.05, atol=0.03 * np.abs(near).max())


def test_operands_of_several_dtypes_take_the_loop():
    inputs, weight, state, bias = operands("RNN_TANH", (2, 2), 3, flambeau.float32)
    outputs, _ = recurrence("RNN_TANH", inputs.bfloat16(), state.unbind(0), weight, bias, None, (2, 2), False)
    assert outputs.dtype is flambeau.float32


def test_a_layer_is_one_kernel():
    layer, x = flambeau.nn.LSTM(8, 32, num_layers=2), flambeau.randn(20, 4, 8)

    def step() -> None:
        layer(x)[0].sum().backward()

    explanation = flambeau.explain(step)
    names = [name for program in explanation.programs for kernel in program.kernels for name in kernel.operators]
    assert names.count("recur LSTM") == 4  # two layers, forwards and backwards
