"""Resampling along axes: against dense matrices, its adjoint, and that what lies outside of a window does not matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau._ops import resampling
from flambeau._ops.resampling import KINDS, Rule, resample, tables
from flambeau._types import dtype as dt
from flambeau.autograd import gradcheck, gradgradcheck

RULES = [
    Rule(kind, old, new, None, corners and kind in ("linear", "cubic"))
    for kind in KINDS
    for old, new in ((7, 7), (7, 3), (5, 12), (40, 17), (16, 33), (3, 1), (1, 4))
    for corners in (False, True)
    if not corners or kind in ("linear", "cubic")
]


def matrix(rule: Rule, is_adjoint: bool = False, dtype: dt.dtype = dt.float64) -> np.ndarray:
    """``(out, in)``, from the tables."""
    first, weight = (table.numpy() for table in tables(rule, is_adjoint, dtype))
    dense = np.zeros((len(first), rule.new if is_adjoint else rule.old))
    for output, (start, column) in enumerate(zip(first, weight.T, strict=True)):
        assert start >= 0 and start + len(column) <= dense.shape[1]
        dense[output, start : start + len(column)] += column
    return dense


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_adjoint_is_the_transposed_map(rule: Rule) -> None:
    assert np.array_equal(matrix(rule, is_adjoint=True), matrix(rule).T)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.kind != "sums"], ids=str)
def test_weights_sum_to_one(rule: Rule) -> None:
    assert np.allclose(matrix(rule).sum(1), 1, atol=1e-12)


def test_linear_by_hand() -> None:
    assert matrix(Rule("linear", 2, 4)).tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert matrix(Rule("linear", 3, 5, None, True)).tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    assert matrix(Rule("sums", 5, 3)).tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]


def image(shape: tuple[int, ...], format: str) -> flambeau.Tensor:
    x = flambeau.randn(shape, generator=flambeau.Generator().manual_seed(0))
    if format == "turned":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    return x.contiguous(memory_format=getattr(flambeau, format))


@pytest.mark.parametrize("format", ["contiguous_format", "channels_last", "turned"])
@pytest.mark.parametrize("kind", KINDS)
def test_images_against_matrices(kind: str, format: str) -> None:
    for channels, old, new in ((3, (20, 35), (9, 50)), (20, (9, 11), (18, 7)), (2, (40, 3), (41, 3)), (17, (6, 5), (1, 16))):
        rules = ((2, Rule(kind, old[0], new[0])), (3, Rule(kind, old[1], new[1])))
        x = image((2, channels, *old), format).requires_grad_()
        weights = [matrix(rule, dtype=dt.float32) for _, rule in rules]
        result = resample(x, rules)
        assert result.stride() == image((2, channels, *new), format).stride() or 1 in new
        wanted = np.einsum("nchw,ih,jw->ncij", x.detach().numpy().astype(np.float64), *weights)
        assert np.allclose(result.detach().numpy(), wanted, rtol=1e-5, atol=1e-5)
        ahead = image(wanted.shape, "contiguous_format")
        (grad,) = flambeau.autograd.grad(result, [x], ahead)
        wanted = np.einsum("ncij,ih,jw->nchw", ahead.numpy().astype(np.float64), *weights)
        assert np.allclose(grad.numpy(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "sums", "wide linear"])
def test_the_same_bits_in_every_format(kind: str) -> None:
    """One axis after the other, and all together."""
    for old, new in (((6, 7), (4, 5)), ((6, 7), (12, 5)), ((4, 5), (9, 3)), ((7, 3), (7, 8))):
        rules = ((2, Rule(kind, old[0], new[0])), (3, Rule(kind, old[1], new[1])))
        x = image((2, 5, *old), "contiguous_format")
        x[0, :2] = -0.0
        wanted = resample(x, rules).numpy()
        last = resample(x.contiguous(memory_format=flambeau.channels_last), rules).contiguous().numpy()
        assert last.tobytes() == wanted.tobytes()
        strided = flambeau.zeros(2, 5, 2 * old[0], 3 * old[1])[:, :, ::2, ::3].copy_(x)
        assert resample(strided, rules).numpy().tobytes() == wanted.tobytes()


@pytest.mark.parametrize("kind", ["nearest", "linear", "cubic", "sums"])
@pytest.mark.parametrize("last", [False, True])
def test_gradients_of_gradients(kind: str, last: bool) -> None:
    x = flambeau.randn(1, 2, 3, 4, dtype=flambeau.float64)
    x = (x.contiguous(memory_format=flambeau.channels_last) if last else x).requires_grad_()
    function = lambda x: resample(x, ((2, Rule(kind, 3, 5)), (3, Rule(kind, 4, 3))))
    assert gradcheck(function, (x,)) and gradgradcheck(function, (x,))


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.bfloat16, flambeau.float16])
@pytest.mark.parametrize("last", [False, True])
def test_infinity_reaches_no_further_than_its_windows(dtype: flambeau.dtype, last: bool) -> None:
    for kind, (old, new) in itertools.product(("sums", "linear", "wide linear"), ((40, 23), (12, 31))):
        x = flambeau.ones(1, 2, 3, old, dtype=dtype)
        x[..., old // 2] = float("inf")
        x = x.contiguous(memory_format=flambeau.channels_last) if last else x
        rule = Rule(kind, old, new)
        found = resample(x, ((3, rule),)).float().numpy()
        reached = matrix(rule)[:, old // 2] != 0
        assert np.isposinf(found[..., reached]).all() and np.isfinite(found[..., ~reached]).all()


@pytest.mark.parametrize("dtype", [flambeau.bfloat16, flambeau.float16])
def test_half_precision_is_rounded_once(dtype: flambeau.dtype) -> None:
    x = flambeau.randn(2, 3, 9, 11).to(dtype)
    for rules in (((2, Rule("cubic", 9, 20)), (3, Rule("cubic", 11, 7))), ((2, Rule("linear", 9, 20)), (3, Rule("linear", 11, 30)))):
        assert flambeau.equal(resample(x, rules), resample(x.float(), rules).to(dtype))


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.bfloat16])
@pytest.mark.parametrize(("mode", "size"), [("nearest", (40, 71)), ("nearest-exact", (75, 75)), ("bilinear", (40, 75))])
def test_gradients_of_channels_last_images_are_the_same_in_one_operator(
    mode: str, size: tuple[int, int], dtype: flambeau.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = flambeau.randn(2, 18, 56, 57).to(dtype).contiguous(memory_format=flambeau.channels_last).requires_grad_()
    found = []
    for most in (resampling.MOST_TOGETHER, 0):
        monkeypatch.setattr(resampling, "MOST_TOGETHER", most)
        result = flambeau.nn.functional.interpolate(x, size, mode=mode)
        found += flambeau.autograd.grad(result, [x], flambeau.ones_like(result))
    assert flambeau.equal(*found) and found[0].stride() == x.stride()


@pytest.mark.parametrize(("old", "new", "terms"), [(32, 64, 4), (8, 8, 1), (1, 5, 5)])
def test_gradients_have_no_terms_of_weight_0(old: int, new: int, terms: int) -> None:
    """The first result of a doubled size stands on the border: with its neighbour, of weight 0, eight terms were computed for each input."""
    _, weight = tables(Rule("linear", old, new), True, dt.float32)
    assert weight.shape == (terms, old)
