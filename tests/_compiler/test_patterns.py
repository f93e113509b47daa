"""Patterns: a nest that looks like an earlier one gets the kernel calls that it would have got."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau._compiler import lazy, patterns
from flambeau._tape import tape
from flambeau._tape.trie import TRIE
from tests._compiler.test_program import plan_of


class Forgetful(dict):
    """Remembers nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        pass


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The patterns that a test has made; no program is known."""
    flambeau.flush()
    TRIE.clear()
    tape.LOCAL.tape.cursor = TRIE.root
    monkeypatch.setattr(lazy, "_read", lambda key: None)
    found: dict = {}
    monkeypatch.setattr(patterns, "_KNOWN", found)
    return found


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, known: dict) -> list[tuple]:
    """The blueprints of the programs of a test, each with what it is if no pattern is known."""
    found: list[tuple] = []
    compile = tape._compile

    def both(*program: object) -> object:
        again = lazy._plan(*program).blueprint()
        with monkeypatch.context() as patch:
            patch.setattr(patterns, "_KNOWN", Forgetful())
            found.append((again, lazy._plan(*program).blueprint()))
        return compile(*program)

    monkeypatch.setattr(tape, "_compile", both)
    return found


def recurrence() -> None:
    weight, steps = flambeau.randn(5, 5, requires_grad=True), flambeau.randn(7, 9, 5)
    state, states = flambeau.zeros(7, 5), []
    for t in range(9):
        state = flambeau.tanh(steps[:, t] + state @ weight) * 0.5
        states.append(state)
    flambeau.stack(states, 1).var((0, 1)).sum().backward()
    weight.grad.tolist()


def updates() -> None:
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(4)])
    groups = [{"params": layer.parameters(), "lr": 0.1 * (1 + number)} for number, layer in enumerate(model)]
    update = flambeau.optim.AdamW(groups, foreach=False)
    for _ in range(2):
        update.zero_grad()
        model(flambeau.ones(3, 8)).square().sum().backward()
        update.step()


def pieces() -> None:
    samples = [flambeau.arange(float(3 + number % 4)).flip(0) for number in range(20)]
    nn.utils.rnn.pad_sequence(samples, batch_first=True).tolist()
    flambeau.cat([flambeau.rand(4, 2 + number % 2).bool() for number in range(9)], 1).tolist()


def normalizations() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.MaxPool2d(2)
    )
    for size in (12, 16, 12):
        model(flambeau.randn(2, 3, size, size)).mean().backward()
    flambeau.randn(300, 2000).sum().item()  # in parts
    flambeau.randn(2, 70000).to(flambeau.bfloat16).sum(1).tolist()


def places() -> None:
    table, index = flambeau.randn(40, 6), flambeau.tensor([3, 1, 39])
    for start in (0, 8, 32):
        (table[index] + table[start : start + 3]).exp().sum(1).tolist()
        nn.functional.pad(table[start : start + 5], (1, 2, 2, 1)).cumsum(0).amax(0).tolist()
        (table[start : start + 4].flip(0) * flambeau.arange(start, start + 6)).tolist()
    with pytest.raises(IndexError):
        table[flambeau.tensor([40])].tolist()


@pytest.mark.parametrize("work", [recurrence, updates, pieces, normalizations, places])
def test_programs_are_those_without_patterns(planned: list[tuple], known: dict, work: Callable[[], None]) -> None:
    work()
    work()
    assert planned
    for found, expected in planned:
        assert found == expected


def test_random_programs_are_those_without_patterns(known: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(60)
    for seed in seeds:
        plan_of(seed)
    found = [plan_of(seed).blueprint() for seed in seeds]  # all of it known
    monkeypatch.setattr(patterns, "_KNOWN", Forgetful())
    assert found == [plan_of(seed).blueprint() for seed in seeds]


def test_steps_of_a_loop_are_one_pattern(known: dict) -> None:
    """Neither where they read, nor the scalars of each, nor which memory it is makes another."""
    x, results = flambeau.rand(9, 64), []
    flambeau.flush()
    for step in range(9):
        results.append((x[step] * (step + 0.5)).exp().sum())
    flambeau.stack(results).tolist()
    lowered = len(known)
    y = flambeau.rand(9, 64)
    flambeau.flush()
    before = len(known)
    results = [(y[step] * (step + 0.25)).exp().sum() for step in range(8)]
    flambeau.stack(results).tolist()
    assert len(known) - before <= 1  # sums of eight instead of nine are put together
    assert lowered < 9


def test_reads_that_coincide_are_not_taken_for_some_that_do_not(known: dict) -> None:
    x = flambeau.rand(128)
    values = x.numpy().copy()
    for start in (0, 32, 64):
        found = x[start : start + 32] * 2 + x[:32]
        np.testing.assert_array_equal(found.numpy(), values[start : start + 32] * 2 + values[:32])


@pytest.mark.parametrize("is_one_first", [True, False])
def test_two_parts_of_one_tensor_are_not_taken_for_two_tensors(known: dict, is_one_first: bool) -> None:
    x, y, index = flambeau.rand(128), flambeau.rand(128), flambeau.tensor([3, 1])
    first, second = x.numpy().copy(), y.numpy().copy()
    for is_one in (is_one_first, not is_one_first):
        other, values = (x, first) if is_one else (y, second)
        np.testing.assert_array_equal((x[:32] * other[64:96]).numpy(), first[:32] * values[64:96])
        np.testing.assert_array_equal((x[index] * other[64:][index]).numpy(), first[[3, 1]] * values[[67, 65]])
        flambeau.stack([x[:32].sum(), other[64:96].sum()]).tolist()


def test_patterns_are_bounded(known: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_MOST", 4)
    for size in range(2, 12):
        (flambeau.ones(size, size + 1) * 3).sum(0).tolist()
    assert len(known) == 4
