"""The tool that measures errors must notice them: where PyTorch is installed, which it is compared with."""

from __future__ import annotations

import importlib
import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch.testing._internal.common_methods_invocations", exc_type=ImportError)

import flambeau  # noqa: E402
from parity.accuracy import Measurement, Measuring, Side, errors, verdict  # noqa: E402
from parity.hard import HardCase, hard_cases, uniform  # noqa: E402
from parity.translate import Translator  # noqa: E402

EPSILON = torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def translator():
    return Translator(importlib.import_module("flambeau"))


def _measured(translator, ours=None, op=torch.exp, exact=None, draws=8):
    case = HardCase("a function", op, lambda: iter(((uniform(0.5, 2.0, 64),),)), exact=exact)
    measurement = Measurement(case, translator)
    if ours is not None:
        measurement.ours = ours
    for number in range(draws):
        measurement.draw(torch.float32, number)
    return measurement.comparison


def test_an_error_is_told_in_epsilons():
    exact = torch.ones(4, dtype=torch.float64)
    assert errors(exact.float(), exact) == (0, 0)
    worst, norm = errors(torch.tensor([1, 1, 1 + 4 * EPSILON, 1]), exact)
    assert worst == pytest.approx(4, rel=1e-3)
    assert norm == pytest.approx(2, rel=1e-3)


def test_small_elements_are_measured_by_a_thousandth_of_the_largest():
    exact = torch.tensor([1.0, 1e-9], dtype=torch.float64)
    worst, _ = errors(torch.tensor([1.0, 2e-9]), exact)
    assert worst == pytest.approx(1e-6 / EPSILON, rel=1e-2)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_the_largest_error_unless_the_dtype_cannot_hold_it(wrong):
    assert errors(torch.tensor([1.0, wrong]), torch.ones(2, dtype=torch.float64)) == (math.inf, math.inf)
    assert errors(torch.tensor([1.0, wrong]), torch.tensor([1.0, 1e300], dtype=torch.float64)) == (0, 0)


def test_a_side_whose_error_is_always_the_larger_is_found_and_luck_is_not():
    better, worse = Side([2.0] * 20, 20.0, 20), Side([3.0] * 20, 20.0, 20)
    assert "often" in verdict(worse, better).larger
    assert verdict(better, worse).larger == ""
    lucky = Side([2.0, 3.0] * 10, 20.0, 20), Side([3.0, 2.0] * 10, 20.0, 20)
    assert verdict(*lucky).larger == ""
    assert verdict(Side([3.0], 4.0, 1), Side([3.0], 1.0, 1)).larger == "rms"
    assert verdict(Side([0.9], 0.04, 1), Side([0.5], 0.01, 1)).larger == ""  # the last rounding


def test_our_exp_is_measured_as_it_is(translator):
    verdicts = _measured(translator).verdicts()
    assert set(verdicts) == {"results", "gradients"}
    for each in verdicts.values():
        assert each.larger == ""
        assert 0.3 < each.largest[0] < 2
        assert 0.1 < each.rms[0] < 0.5


def test_a_function_of_ours_that_is_off_is_larger(translator):
    verdicts = _measured(translator, lambda x: flambeau.exp(x) * (1 + 4 * EPSILON)).verdicts()
    for kind in ("results", "gradients"):
        assert "rms" in verdicts[kind].larger
        assert verdicts[kind].losses == 8
        assert verdicts[kind].largest[0] > 3


def test_what_is_exact_may_be_another_function(translator):
    each = _measured(translator, exact=lambda x: torch.exp(x) * (1 + 100 * EPSILON)).verdicts()["results"]
    assert each.largest == pytest.approx((100, 100), rel=0.02)


def test_what_was_not_compared_is_told(translator):
    def failing(x):
        raise ValueError("not today")

    comparison = _measured(translator, failing, draws=1)
    assert comparison.verdicts() == {}
    assert "not today" in comparison.skipped[0]


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_results_are_measured(translator):
    comparison = Measuring(translator)
    comparison.begin()
    ours, theirs = flambeau.eye(2).to_sparse_csr(), torch.eye(2).to_sparse_csr() * (1 + 2 * EPSILON)
    comparison.values(ours, theirs, lambda: torch.eye(2, dtype=torch.float64).to_sparse_csr(), "")
    assert comparison.verdicts()["results"].largest == pytest.approx((0, 2), rel=1e-3)


def test_hard_cases_have_names_of_their_own_and_can_be_drawn():
    cases = hard_cases()
    assert len(cases) > 100
    assert all(name.endswith(")") for name in cases)
    for name in ("sin (domain)", "layer_norm (mean 10000)", "cross_entropy (logits of 100000)", "special.bessel_j0 (domain)"):
        sample = next(iter(cases[name].sample_inputs("cpu", torch.float32, requires_grad=True)))
        assert sample.input.dtype is torch.float32
        assert sample.input.requires_grad
