"""Pictures of scatter: where each element goes, and what is in the target after each step."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.draw import draw
from flambeau.draw.scattering import destinations, overwritten
from flambeau.draw.scene import Arrow, Label

INDEX = [[1, 2, 1, 1, 2], [2, 0, 2, 1, 0]]


def numbers(step) -> list[str]:
    """What is in the cells of the target, row by row."""
    cells = [shape for shape in step if isinstance(shape, Label) and shape.anchor == "middle" and shape.size == 17]
    first = min(shape.y for shape in cells if shape.y > 250)
    return [shape.text for shape in sorted(cells, key=lambda shape: (shape.y, shape.x)) if shape.y >= first]


def test_destinations():
    expected = [row * 5 + column for column_rows in INDEX for column, row in enumerate(column_rows)]
    assert destinations((3, 5), 0, flambeau.tensor(INDEX)).tolist() == expected
    assert destinations((2, 5), 1, flambeau.tensor([[1], [3]])).tolist() == [1, 8]


def test_overwritten():
    src = flambeau.ones(2, 5)
    lost = overwritten(flambeau.zeros(3, 5), 0, flambeau.tensor(INDEX), src, None)
    assert np.flatnonzero(lost).tolist() == [3]  # index 1 stands twice in column 3
    assert not overwritten(flambeau.zeros(3, 5), 0, flambeau.tensor(INDEX), src, "add").any()


@pytest.mark.parametrize("reduce", [None, "add", "multiply"])
def test_the_last_step_is_the_result(reduce):
    target, src = flambeau.full((3, 5), 2.0), flambeau.arange(1.0, 11.0).reshape(2, 5)
    keywords = {} if reduce is None else {"reduce": reduce}
    picture = draw(flambeau.scatter, target, 0, flambeau.tensor(INDEX), src, **keywords)
    assert len(picture.steps) == 10
    expected = target.scatter(0, flambeau.tensor(INDEX), src, **keywords)
    wanted = [f"{value:.3g}" for value in expected.flatten().tolist()]
    assert numbers(picture.steps[-1]) == wanted
    assert numbers(picture.still) == wanted


def test_arrows():
    picture = draw(flambeau.scatter, flambeau.zeros(3, 5), 0, flambeau.tensor(INDEX), flambeau.ones(2, 5))
    roles = [shape.role for shape in picture.still if isinstance(shape, Arrow)]
    assert (roles.count("arrow"), roles.count("lost")) == (9, 1)
    down = draw(flambeau.scatter, flambeau.zeros(3, 5), 0, flambeau.tensor(INDEX), flambeau.ones(2, 5)).still
    assert all(shape.x1 == shape.x2 for shape in down if isinstance(shape, Arrow))
    across = draw(flambeau.scatter, flambeau.zeros(2, 5), 1, flambeau.tensor([[1], [3]]), 1.0).still
    assert all(shape.y1 == shape.y2 for shape in across if isinstance(shape, Arrow))


def test_words():
    picture = draw(flambeau.scatter, flambeau.zeros(2, 5), 1, flambeau.tensor([[1], [3]]), value=1.0)
    assert picture.steps[1][-1].text == "target[1][3] = src[1][0], which is 1"
    assert draw(flambeau.scatter, flambeau.zeros(3), 0, flambeau.tensor([2]), 7.0).steps[0][-1].text == "target[2] = src[0], which is 7"


def test_impossible_arguments():
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 3"):
        draw(flambeau.scatter, flambeau.zeros(3), 0, flambeau.tensor([5]), 1.0)
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        draw(flambeau.scatter, flambeau.zeros(3, 5), 0, flambeau.tensor([0]), 1.0)
    with pytest.raises(ValueError, match=r"target has shape \(99,\), but a picture has room for"):
        draw(flambeau.scatter, flambeau.zeros(99), 0, flambeau.tensor([5]), 1.0)
