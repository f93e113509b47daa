from __future__ import annotations

import random

import numpy as np
import pytest

import flambeau
from flambeau._tape import cuts
from flambeau._tape import tape as tapes
from flambeau._tape.cuts import Cuts
from flambeau._tape.trie import TRIE
from flambeau.autograd import engine, replay


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each program had that was planned, with shorter pieces and a trie that has seen nothing."""
    flambeau.flush()
    TRIE.clear()
    flambeau._tape.tape.LOCAL.tape.cursor = TRIE.root
    for name, value in (("LONG", 40), ("WINDOW", 10), ("LEAVES", 4)):
        monkeypatch.setattr(cuts, name, value)
    monkeypatch.setattr(tapes, "LONG", 40)
    fresh = Cuts()
    for module in ("flambeau._tape.tape", "flambeau._ops.operator", "flambeau._ops.joining", "flambeau.autograd.replay"):
        monkeypatch.setattr(f"{module}.CUTS", fresh)
    lengths: list[int] = []
    compile = tapes._compile

    def counted(path: list, *given: object) -> object:
        lengths.append(len(path))
        return compile(path, *given)

    monkeypatch.setattr(tapes, "_compile", counted)
    yield lengths
    flambeau.flush()
    TRIE.clear()
    flambeau._tape.tape.LOCAL.tape.cursor = TRIE.root


def rounds(count: int) -> tuple[list[float], list[float]]:
    """A recurrence of so many steps, and its gradients."""
    weight = flambeau.tensor([[0.5, -0.3], [0.2, 0.7]], requires_grad=True)
    state, total = flambeau.ones(2), 0
    for step in range(count):
        state = flambeau.tanh(weight @ state + 0.1)
        total = total + (state * state).sum() * (1 + step % 3)
    total.backward()
    return state.tolist(), weight.grad.flatten().tolist()


def test_loops_of_other_lengths_are_planned_in_pieces_that_recur(planned: list[int]) -> None:
    lengths = random.Random(0).sample(range(10, 60), 40)
    for count in lengths[:30]:
        rounds(count)
    assert max(planned) > 200  # the first ones were whole
    planned.clear()
    for count in lengths[30:]:
        rounds(count)
    assert sum(planned) < 400  # of some 6,000 records
    assert max(planned, default=0) < 80


def test_cuts_change_no_bit(planned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    cut = [rounds(count) for count in range(10, 40)]
    monkeypatch.setattr(cuts, "PATIENCE", 1000)
    TRIE.clear()
    flambeau._tape.tape.LOCAL.tape.cursor = TRIE.root
    planned.clear()
    assert [rounds(count) for count in range(10, 40)] == cut
    assert len(planned) == 30  # each in one piece


def test_where_a_part_of_a_gradient_lies_is_no_part_of_a_piece(planned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of all rounds are stacked, as the values of an episode are, and each has its own gradient."""

    def episode(count: int) -> list[float]:
        weight = flambeau.tensor([0.5, -0.3], requires_grad=True)
        results = []
        for step in range(count):
            results.append((weight * step).tanh().exp().sum())
            results[-1].item()
        ((flambeau.stack(results) - flambeau.arange(count)) ** 2).sum().backward()
        return weight.grad.tolist()

    lengths = random.Random(0).sample(range(20, 60), 30)
    cut = {count: episode(count) for count in lengths[:20]}
    planned.clear()
    cut |= {count: episode(count) for count in lengths[20:]}
    assert sum(planned) < 400  # of some 4,000 records
    monkeypatch.setattr(cuts, "PATIENCE", 1000)
    assert {count: episode(count) for count in lengths} == cut


def test_short_passes_are_replayed_although_tapes_are_cut(planned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for count in range(10, 30):
        rounds(count)
    assert replay.CUTS.on
    ran = []
    monkeypatch.setattr(engine, "run", lambda *args, run=engine.run, **options: ran.append(1) or run(*args, **options))
    weight = flambeau.tensor([1.0, 2.0], requires_grad=True)
    flambeau.flush()
    for _ in range(5):
        assert flambeau.autograd.grad((weight**3).sum(), weight)[0].tolist() == [3.0, 12.0]
    assert len(ran) == 2


def test_a_loop_of_one_length_stays_whole(planned: list[int]) -> None:
    for _ in range(3):
        for count in (20, 30, 40):  # three programs, which recur
            rounds(count)
    planned.clear()
    for count in (20, 30, 40):
        rounds(count)
    assert not planned


def test_lengths_that_settle_are_planned_whole_again(planned: list[int]) -> None:
    for count in range(10, 40):
        rounds(count)
    planned.clear()
    for _ in range(12):
        rounds(41)
    assert max(planned) > 300  # once more, and for good
    planned.clear()
    rounds(41)
    assert not planned


def test_known_beginnings_are_cut_when_they_lead_elsewhere(planned: list[int]) -> None:
    """Forward passes begin alike, whatever their length."""

    def forward(count: int) -> list[float]:
        state = flambeau.ones(2)
        for _ in range(count):
            state = (state * 0.5 + 0.1).tanh().exp()
        return state.tolist()

    expected = np.ones(2, np.float32)
    results = {count: forward(count) for count in (90, 60, 80, 30, 70, 50, 20)}
    planned.clear()
    results |= {count: forward(count) for count in (65, 75, 85, 95, 55, 45)}
    assert max(planned, default=0) < 80
    for count in range(96):
        if count in results:
            np.testing.assert_allclose(results[count], expected, rtol=1e-5)
        expected = np.exp(np.tanh(expected * np.float32(0.5) + np.float32(0.1)))


def test_samples_that_are_put_together_are_no_part_of_a_piece(planned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known, and what has yet to be computed."""
    for count in range(10, 30):
        rounds(count)
    draw, joined = random.Random(1), []
    flambeau.flush()
    compile = tapes._compile
    monkeypatch.setattr(tapes, "_compile", lambda path, *given: joined.extend(each.op.name for each in path) or compile(path, *given))
    for _ in range(5):
        lengths = [draw.randint(1, 9) for _ in range(12)]
        samples = [flambeau.arange(length) * 2 + 1 for length in lengths]
        expected = np.concatenate([np.arange(length) * 2 + 1 for length in lengths])
        np.testing.assert_array_equal(flambeau.cat(samples).numpy(), expected)
        weight = flambeau.ones(1, requires_grad=True)
        flambeau.cat([sample * weight for sample in samples]).sum().backward()  # those have histories
        assert weight.grad.item() == expected.sum()
    assert joined.count("cat") <= 5


def trained(sizes: list[int]) -> list[float]:
    """The weights after a step for each of some batches."""
    flambeau.manual_seed(0)
    model = flambeau.nn.Sequential(flambeau.nn.Linear(4, 8), flambeau.nn.Tanh(), flambeau.nn.Linear(8, 1))
    update = flambeau.optim.Adam(model.parameters(), lr=0.01)
    for size in sizes:
        update.zero_grad()
        model(flambeau.randn(size, 4)).square().mean().backward()
        flambeau.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update.step()
    return flambeau.nn.utils.parameters_to_vector(model.parameters()).tolist()


def test_what_follows_a_backward_pass_is_planned_once_for_all_sizes(planned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    compile = tapes._compile
    monkeypatch.setattr(
        tapes, "_compile", lambda path, *given: steps.append("_adam_step" in [each.op.name for each in path]) or compile(path, *given)
    )
    sizes = list(range(2, 10))
    cut = trained(sizes)
    assert sum(steps) == 3  # of the first two sizes, and of all others
    steps.clear()
    assert trained(sizes) == cut
    assert not any(steps)
    monkeypatch.setattr(Cuts, "passed", lambda *args: None)
    TRIE.clear()
    flambeau._tape.tape.LOCAL.tape.cursor = TRIE.root
    assert trained(sizes) == cut
    assert sum(steps) == len(sizes)
