"""Joining tensors that lie in memory: copied at once, with the numbers of a recorded call."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._compiler import lazy


def samples(dtype: str = "float32") -> list[flambeau.Tensor]:
    flambeau.manual_seed(0)
    parts = [(flambeau.randn(1, 3) * 9).to(getattr(flambeau, dtype)) for _ in range(12)]
    for part in parts:
        part.tolist()  # looked at: it lies in memory
    return parts


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "bfloat16", "complex64"])
def test_many_samples_are_joined(dtype: str) -> None:
    parts = samples(dtype)
    expected = [part.tolist()[0] for part in parts]
    assert flambeau.cat(parts).tolist() == expected
    assert flambeau.stack(parts).tolist() == [[row] for row in expected]
    assert flambeau.cat([part[0, 1:] for part in parts]).tolist() == [number for row in expected for number in row[1:]]
    assert flambeau.cat(parts, dim=1).tolist() == [[number for row in expected for number in row]]


def test_what_cannot_be_copied_as_it_lies_is_joined_all_the_same() -> None:
    parts = samples()
    whole = np.concatenate([part.numpy() for part in parts])
    columns = [part.t() for part in parts]
    np.testing.assert_array_equal(flambeau.cat(columns, dim=1).numpy(), whole.T)
    np.testing.assert_array_equal(flambeau.cat([*parts, flambeau.ones(0)]).numpy(), whole)
    mixed = flambeau.cat([*parts, flambeau.ones(1, 3, dtype=flambeau.float64)])
    assert mixed.dtype is flambeau.float64 and mixed.shape == (13, 3)
    pending = [part + 1 for part in parts]
    np.testing.assert_array_equal(flambeau.cat(pending).numpy(), whole + 1)
    parts[3] += 1
    whole[3] += 1
    np.testing.assert_array_equal(flambeau.cat(parts).numpy(), whole)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        flambeau.cat([*parts, flambeau.ones(1, 4)])


def test_the_copy_is_a_copy_and_gradients_pass_where_they_are_wanted() -> None:
    parts = samples()
    joined = flambeau.cat(parts)
    before = joined.tolist()
    for part in parts:
        part.zero_()
    assert joined.tolist() == before

    parts[5].requires_grad_()
    flambeau.cat(parts).sum().backward()
    assert parts[5].grad.tolist() == [[1.0, 1.0, 1.0]]


def test_which_samples_are_drawn_is_no_part_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, weight = samples(), flambeau.ones(3, 2)
    planned = []
    key = lazy.program_key
    monkeypatch.setattr(lazy, "program_key", lambda *arguments: planned.append(1) or key(*arguments))
    generator = np.random.default_rng(0)

    def step() -> float:
        first, second = (flambeau.cat([memory[number] for number in generator.integers(12, size=16)]) for _ in range(2))
        return ((first @ weight).sum() + (second * second).sum()).item()

    step()
    step()
    known = len(planned)
    for _ in range(5):
        step()
    assert len(planned) == known


def test_tensor_split_by_name():
    x = flambeau.arange(6)
    assert [each.tolist() for each in x.tensor_split(indices=[2, 4])] == [[0, 1], [2, 3], [4, 5]]
    assert [each.tolist() for each in flambeau.tensor_split(x, sections=2)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(TypeError, match="takes indices or sections"):
        x.tensor_split(2, indices=[1])
    with pytest.raises(TypeError, match="takes indices or sections"):
        x.tensor_split()


@pytest.mark.parametrize("dims", [[0], [-1], []])
def test_a_number_flipped_is_itself(dims):
    x = flambeau.tensor(3.0, requires_grad=True)
    flipped = x.flip(dims)
    assert flipped.shape == () and flipped.item() == 3.0
    flipped.backward()
    assert x.grad.item() == 1.0


def test_repeat_is_told_how_often() -> None:
    assert flambeau.tensor(1.0).repeat(()).tolist() == 1.0 and flambeau.ones(2).repeat(2).tolist() == [1.0] * 4
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'repeats'"):
        flambeau.ones(2).repeat()
