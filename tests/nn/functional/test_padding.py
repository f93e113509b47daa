"""Padding: against NumPy's, and that its gradient is its adjoint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau._ops.padding import Run, fold_border, pad_border, positions, runs
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

NUMPYS = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 3))
    shape = [draw(st.integers(0, 2)), 2, *(draw(st.integers(2, 5)) for _ in range(rank))]
    return (
        draw(st.sampled_from(sorted(NUMPYS))),
        shape,
        [(draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))) for size in shape[2:]],
    )


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(cases())
def test_padding_is_numpys_and_its_gradient_the_adjoint(case):
    mode, shape, sides = case
    values = np.random.default_rng(0).standard_normal(shape)
    x = flambeau.tensor(values, requires_grad=True)
    padded = F.pad(x, [amount for side in reversed(sides) for amount in side], mode=mode)
    np.testing.assert_array_equal(padded.detach().numpy(), np.pad(values, [(0, 0), (0, 0), *sides], mode=NUMPYS[mode]))
    ahead = flambeau.randn(*padded.shape, dtype=flambeau.float64)
    back = flambeau.autograd.grad(padded, x, ahead)[0]
    assert back.shape == x.shape
    np.testing.assert_allclose((padded.detach() * ahead).sum().item(), (x.detach() * back).sum().item(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("mode", "amounts", "expected"),
    [
        ("reflect", (2, 1), [2, 1, 0, 1, 2, 3, 2]),
        ("reflect", (-1, 2), [1, 2, 3, 2, 1]),
        ("replicate", (2, 1), [0, 0, 0, 1, 2, 3, 3]),
        ("replicate", (-2, 3), [2, 3, 3, 3, 3]),
        ("circular", (2, 1), [2, 3, 0, 1, 2, 3, 0]),
        ("circular", (-1, 2), [1, 2, 3, 1, 2]),  # what a negative amount takes away does not come back
        ("circular", (4, 4), [0, 1, 2, 3] * 3),
    ],
)
def test_by_hand(mode, amounts, expected):
    assert F.pad(flambeau.arange(4.0).unsqueeze(0), amounts, mode=mode)[0].tolist() == expected


def test_positions_fall_into_runs():
    assert runs("reflect", 4, 2, 2) == (Run(0, 2, -1, 3), Run(3, 1, 1, 3), Run(6, 2, -1, 2))
    assert runs("replicate", 100, 5, 0) == (Run(0, 0, 0, 6), Run(6, 1, 1, 99))
    assert runs("circular", 100, 0, 3) == (Run(0, 0, 1, 100), Run(100, 0, 1, 3))
    assert runs("replicate", 3, -1, -1) == (Run(0, 1, 1, 1),)


@pytest.mark.parametrize("mode", sorted(NUMPYS))
def test_gradients(mode):
    x = flambeau.randn(1, 2, 4, 3, dtype=flambeau.float64, requires_grad=True)
    for amounts in ((1, 2, 3, 0), (2, -1, 0, 1)):
        pad = lambda x, amounts=amounts: F.pad(x, amounts, mode=mode)
        assert gradcheck(pad, (x,)) and gradgradcheck(pad, (x,))


@pytest.mark.parametrize("mode", sorted(NUMPYS))
@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (2, 0, 1, 3), (0, 0, 2, 2), (3, 1, 0, 0)])
@pytest.mark.parametrize("memory", [flambeau.contiguous_format, flambeau.channels_last])
def test_thin_borders_are_added_to_the_edges(mode, amounts, memory):
    """Sums of whole numbers, which are exact in any order; what is far from the edges is copied."""
    left, right, above, below = amounts
    x = flambeau.zeros(2, 3, 24, 32, requires_grad=True)
    ahead = flambeau.arange(2 * 3 * (24 + above + below) * (32 + left + right)).remainder(101).float()
    ahead = ahead.reshape(2, 3, 24 + above + below, 32 + left + right).contiguous(memory_format=memory)
    (found,) = flambeau.autograd.grad(F.pad(x.contiguous(memory_format=memory), amounts, mode=mode), x, ahead)
    rows, columns = positions(mode, 24, above, below), positions(mode, 32, left, right)
    expected = np.zeros((2, 3, 24, 32), np.float32)
    np.add.at(expected, (slice(None), slice(None), rows[:, None], columns), ahead.numpy())
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("mode", ["constant", *sorted(NUMPYS)])
def test_the_gradient_of_the_sum_counts_copies(mode):
    x = flambeau.zeros(1, 3, requires_grad=True)
    F.pad(x, (2, 1), mode=mode).sum().backward()
    assert x.grad.tolist() == [{"constant": [1, 1, 1], "reflect": [1, 3, 2], "replicate": [3, 1, 2], "circular": [2, 2, 2]}[mode]]


@pytest.mark.parametrize("mode", sorted(NUMPYS))
def test_half_precision_adds_up_in_float32(mode):
    """257 ones and more: bfloat16, which has 8 bits, could not count them one by one."""
    padded = flambeau.ones(1, 600, dtype=flambeau.bfloat16)
    folded = fold_border(padded, "replicate", ((0, 0), (599, 0)))
    assert folded.dtype is flambeau.bfloat16 and folded.item() == 600
    x = flambeau.tensor([[1.5, -2.25, 4.0]], dtype=flambeau.bfloat16)
    assert pad_border(x, mode, ((0, 0), (1, 1))).dtype is flambeau.bfloat16


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "float16"])
def test_dtypes(dtype):
    x = flambeau.tensor([[1, 0, 1]]).to(getattr(flambeau, dtype))
    assert F.pad(x, (1, 1), mode="circular").tolist() == [[*x[0].tolist()[2:], *x[0].tolist(), x[0, 0].item()]]


def test_layouts():
    x = flambeau.rand(2, 3, 4, 5).to(memory_format=flambeau.channels_last)
    for mode in ("constant", "reflect", "replicate"):
        assert F.pad(x, (1, 1, 2, 0), mode=mode).is_contiguous(memory_format=flambeau.channels_last)
    assert F.pad(x, (1, 1, 2, 0), mode="circular").is_contiguous()
    assert F.pad(flambeau.rand(0, 3, 4), (1, 1), mode="reflect").shape == (0, 3, 6)


@pytest.mark.parametrize(
    ("mode", "shape", "amounts", "error", "text"),
    [
        (
            "reflect",
            (2, 3, 4),
            (4, 0),
            RuntimeError,
            r"\(4, 0\) at dimension 2 of input \[2, 3, 4\].*an extent of 4 gives at most 3 on each side",
        ),
        ("circular", (2, 3, 4), (0, 5), RuntimeError, r"wrapping around more than once: padding \(0, 5\) at dimension 2.*takes at most 4"),
        ("circular", (2, 3, 4), (-4, 1), RuntimeError, "Nothing is left to continue circularly"),
        ("replicate", (2, 3, 4), (-2, -3), RuntimeError, r"must not be negative: 4 \+ -2 \+ -3 = -1"),
        ("replicate", (2, 3, 4), (-2, -2), RuntimeError, r"Nothing is left of input \[2, 3, 4\]"),
        ("reflect", (2, 0, 4), (1, 1), RuntimeError, "possibly 0 batch size and other non-zero dimensions"),
        ("reflect", (2, 3, 4, 5), (1, 1), NotImplementedError, "2 amounts need an input of 2 or 3 dimensions, got 4"),
        ("mirror", (2, 3), (1, 1), NotImplementedError, "Unrecognised padding mode mirror"),
        ("constant", (2, 3), (1,), RuntimeError, "must be divisible by 2"),
        ("constant", (2, 3), (True, 1), TypeError, "pad must be an int, not True"),
        ("reflect", (2, 3), (1.0, 1), TypeError, "pad must be an int, not 1.0"),
    ],
)
def test_errors(mode, shape, amounts, error, text):
    with pytest.raises(error, match=text):
        F.pad(flambeau.zeros(shape), amounts, mode=mode)


def test_only_a_constant_has_a_value():
    with pytest.raises(RuntimeError, match="'reflect' doesn't take in value"):
        F.pad(flambeau.zeros(2, 3), (1, 1), "reflect", 1.0)


def test_numpy_integers_are_amounts():
    x = flambeau.rand(2, 3)
    for mode in ("constant", "circular"):
        assert (F.pad(x, [np.int64(1), np.int32(2)], mode) == F.pad(x, (1, 2), mode)).all()
