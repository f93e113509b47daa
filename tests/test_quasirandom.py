"""Sobol sequences: PyTorch's points, and what makes them even."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.quasirandom import SobolEngine

pytest.importorskip("scipy")


def test_first_points() -> None:
    engine = SobolEngine(3)
    assert engine.draw(4).tolist() == [[0, 0, 0], [0.5, 0.5, 0.5], [0.75, 0.25, 0.25], [0.25, 0.75, 0.75]]
    assert engine.num_generated == 4


def test_scrambled_points_are_those_of_pytorch() -> None:
    drawn = SobolEngine(2, scramble=True, seed=7).draw(4, dtype=torch.float64)
    expected = [[0.1995, 0.1709], [0.9454, 0.8953], [0.6495, 0.4836], [0.4036, 0.7080]]  # printed by PyTorch 2.13
    torch.testing.assert_close(drawn, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=5e-5)


@pytest.mark.parametrize("scramble", [False, True])
def test_each_interval_has_one_point(scramble: bool) -> None:
    points = SobolEngine(21, scramble=scramble, seed=1).draw_base2(6, dtype=torch.float64)
    cells = (points * 64).long().sort(0).values
    assert torch.equal(cells, torch.arange(64).unsqueeze(1).expand(64, 21))


def test_points_do_not_depend_on_how_they_are_drawn() -> None:
    engine, reference = SobolEngine(5, scramble=True, seed=3), SobolEngine(5, scramble=True, seed=3).draw(20)
    assert torch.equal(torch.cat([engine.draw(), engine.draw(0), engine.draw(6), engine.draw(13)]), reference)
    assert torch.equal(engine.reset().draw(2), reference[:2])
    assert torch.equal(engine.reset().fast_forward(11).draw(9), reference[11:])


def test_default_generator_and_dtypes() -> None:
    torch.manual_seed(4)
    first = SobolEngine(2, scramble=True).draw(3)
    torch.manual_seed(4)
    out = torch.empty(0)
    assert SobolEngine(2, scramble=True).draw(3, out=out) is out
    assert torch.equal(first, out) and first.dtype is torch.float32
    assert SobolEngine(2).draw(2, dtype=torch.float64).dtype is torch.float64


def test_repr() -> None:
    assert repr(SobolEngine(2)) == "SobolEngine(dimension=2)"
    assert repr(SobolEngine(2, scramble=True, seed=5)) == "SobolEngine(dimension=2, scramble=True, seed=5)"


def test_what_is_refused() -> None:
    for dimension in (0, SobolEngine.MAXDIM + 1):
        with pytest.raises(ValueError, match=r"\[1, 21201\]"):
            SobolEngine(dimension)
    engine = SobolEngine(2)
    engine.draw(3)
    with pytest.raises(ValueError, match="3 were drawn before, which makes 7"):
        engine.draw_base2(2)
