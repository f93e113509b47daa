"""Maps whose rows share what is dear: it is computed once for a vector of all rows of a tile."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._codegen import loops
from flambeau._compiler import nest
from flambeau._runtime import cache


@pytest.fixture
def rows_inside(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each nest that is made from now on, whether its rows are its innermost loop."""
    found: list[bool] = []
    kernel = loops.kernel

    def recorded(spec: loops.LoopSpec) -> loops.Kernel:
        result = kernel(spec)
        found.append(result.rows_inside)
        return result

    monkeypatch.setattr(nest.loops, "kernel", recorded)
    monkeypatch.setattr(cache, "get", lambda *key: None)  # a program on disk needs no nest
    return found


@pytest.mark.parametrize(("rows", "width"), [(1, 50), (3, 5), (3, 4100), (16, 16), (17, 50), (40, 33)])
def test_shared_instructions_are_computed_once_for_all_rows(rows: int, width: int, rows_inside: list[bool]) -> None:
    draw = np.random.default_rng(0)
    image, point = draw.standard_normal((2, rows, width)), draw.uniform(-1, 1, (2, 1, width))

    def curve(x: np.ndarray) -> np.ndarray:
        for step in range(1, 8):
            x = x * (x + step) - 0.5
        return x

    found = flambeau.tensor(image) + curve(flambeau.tensor(point).expand(2, rows, width))
    assert np.allclose(found.numpy(), image + curve(point), rtol=1e-13)
    assert rows_inside == [rows > 1]


def test_little_is_not_shared(rows_inside: list[bool]) -> None:
    x, y = flambeau.ones(4, 5, 40), flambeau.ones(4, 1, 40)
    assert flambeau.equal(x + (y * 1.5 + 0.25).expand(4, 5, 40), flambeau.full((4, 5, 40), 2.75))
    assert not any(rows_inside)
