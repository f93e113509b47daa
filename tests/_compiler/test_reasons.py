"""The reasons that ``explain`` gives: what a kernel has to do beside the operations and bytes that are counted."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._compiler import explain, reasons
from flambeau._compiler.limits import Limits
from flambeau._types import dtype as dt


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of two threads that does 2e11 operations a second and copies 1e11 bytes, whatever these tests run on."""
    monkeypatch.setattr(explain.limits, "measure", lambda: Limits(2, 2e11, 1e11))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel takes 30 µs."""
    clock = iter(np.arange(100_000) * 30e-6)
    monkeypatch.setattr(explain.time, "perf_counter", lambda: float(next(clock)))


def only_reason(call) -> str:
    (kernel,) = flambeau.explain(call).kernels
    return kernel.reason


def matrix(*shape: int) -> flambeau.Tensor:
    result = flambeau.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)).clone()
    flambeau.flush()
    return result


def test_a_function_is_many_instructions() -> None:
    assert reasons.instructions("add", dt.float32) == 1
    assert reasons.instructions("div", dt.float32) == reasons.DIVISION
    assert reasons.instructions("exp", dt.float32) > 8
    assert reasons.instructions("where", dt.float32) == reasons.instructions("bitwise_and", dt.bool) == 1
    assert reasons.instructions("mul", dt.complex64) > 2


def test_functions_are_a_reason(machine: None, slow: None) -> None:
    x = matrix(300, 300)
    found = only_reason(lambda: flambeau.lgamma(x))
    assert found == f"functions: {reasons.instructions('lgamma', dt.float32)} instructions an element"
    assert only_reason(lambda: x + 1) == ""


def test_who_is_near_the_limit_needs_none(machine: None, slow: None) -> None:
    x = matrix(700, 700)
    assert only_reason(lambda: flambeau.lgamma(x)) == ""


def test_one_tile_for_two_threads() -> None:
    call = type("Call", (), {"tiles": 1, "nodes": ()})()
    assert reasons.reason(call, (), 30e-6, 10e-6, Limits(2, 2e11, 1e11)) == "1 tile for 2 threads"
    assert reasons.reason(call, (), 30e-6, 10e-6, Limits(1, 2e11, 1e11)) == ""


def test_short_kernels(machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "SHORT", 1e9)
    x = matrix(10, 10)
    assert only_reason(lambda: x * 3.5).startswith("short")


def test_order_in_memory_and_indices(machine: None, slow: None) -> None:
    x = matrix(100, 100)
    assert only_reason(lambda: x.t().contiguous()) == reasons.ACROSS
    index = flambeau.tensor(np.arange(100)[::-1].copy())
    flambeau.flush()
    assert "addresses come from an index" in [kernel.reason for kernel in flambeau.explain(lambda: x[index]).kernels]
    assert only_reason(lambda: x.cumsum(1)).startswith("scan")


def test_attention_has_a_function_for_each_score(machine: None, slow: None) -> None:
    q = matrix(1, 2, 128, 16)
    found = flambeau.explain(flambeau.nn.functional.scaled_dot_product_attention, q, q, q).kernels
    assert any(kernel.reason.startswith("functions") for kernel in found), [(kernel.summary, kernel.reason) for kernel in found]


def test_a_table_and_a_page_have_them(machine: None, slow: None, tmp_path) -> None:
    x = matrix(300, 300)
    explanation = flambeau.explain(lambda: flambeau.lgamma(x))
    assert "  reason" in str(explanation) and "instructions an element" in str(explanation)
    explanation.html(tmp_path / "page.html")
    assert "instructions an element" in (tmp_path / "page.html").read_text()
