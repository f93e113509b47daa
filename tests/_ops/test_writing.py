"""Writing over tensors: what autograd sees of it, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._compiler import lazy
from flambeau.autograd import Function


def write_all(x: flambeau.Tensor) -> None:
    x.mul_(2)


def write_part(x: flambeau.Tensor) -> None:
    x[1:] = 3.0


def write_view(x: flambeau.Tensor) -> None:
    x.view(-1)[:2].zero_()


def draw(x: flambeau.Tensor) -> None:
    x.uniform_(1, 2)


def fill(x: flambeau.Tensor) -> None:
    x.copy_(flambeau.full((3,), 7.0))


@pytest.mark.parametrize("write", [write_all, write_part, write_view, draw, fill])
@pytest.mark.parametrize("context", [flambeau.enable_grad, flambeau.no_grad])
def test_autograd_does_not_see_what_is_written_through_data(write, context) -> None:
    for _ in range(3):  # the first time in Python, then in native code
        x = flambeau.tensor([1.0, 2.0, 3.0], requires_grad=True) * 1
        leaf = flambeau.ones(3, requires_grad=True)
        y = x * leaf
        with context():
            write(x.data)
        y.sum().backward()

        assert x._version == 0
        np.testing.assert_array_equal(leaf.grad.numpy(), x.detach().numpy())  # what lies there when the backward pass reads it


@pytest.mark.parametrize("write", [write_all, write_part, write_view, draw, fill])
def test_it_sees_what_is_written_through_detach(write) -> None:
    x = flambeau.ones(3, requires_grad=True) * 1
    y = x * x
    write(x.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_function_writes_a_part_behind_autograds_back() -> None:
    class Assign(Function):
        @staticmethod
        def forward(ctx, scratch, value, index):
            ctx.index = index
            scratch.data[index] = value
            return scratch

        @staticmethod
        def backward(ctx, grad):
            return grad, grad[ctx.index], None

    start = flambeau.tensor(3.0, requires_grad=True)
    stages = Assign.apply(flambeau.zeros(2), start, 0)
    stages = Assign.apply(stages, (stages * stages).sum(), 1)
    stages.sum().backward()

    np.testing.assert_array_equal(stages.detach().numpy(), [3, 9])
    assert start.grad.item() == 7  # 1 as a stage, 2 · 3 in the square


def test_what_data_gives_is_no_view_and_can_have_a_history() -> None:
    leaf = flambeau.ones(3, requires_grad=True)
    data = leaf.data
    assert not data._is_view() and data._base is None and data.detach_() is data

    factor = flambeau.full((3,), 2.0, requires_grad=True)
    shown = data[1:]
    data.mul_(factor).exp_()
    assert shown.requires_grad
    (data.sum() + shown.sum()).backward()
    np.testing.assert_allclose(factor.grad.numpy(), np.exp(2) * np.array([1, 2, 2]), rtol=1e-6)
    assert leaf.grad is None


def test_a_leaf_made_of_data_is_watched() -> None:
    leaf = flambeau.ones(3, requires_grad=True).data.requires_grad_()
    y = leaf * leaf
    with flambeau.no_grad():
        leaf.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("float32", 1), ("float32", -np.inf), ("float64", 0.1), ("int64", 7), ("int64", 2.0), ("bool", True), ("bfloat16", 0.1)],
)
def test_numbers_written_to_many_places(dtype: str, number: float) -> None:
    x = flambeau.zeros(6, 5, dtype=getattr(flambeau, dtype))
    expected = np.array(x.tolist())
    one = flambeau.tensor(number, dtype=x.dtype).item()
    readers = []
    for place in range(30):
        row, column = place * 7 % 30 // 5, place * 7 % 5
        if place % 10 == 5:
            readers.append((x + x, expected + expected))  # reads what lies there now, whenever it is computed
        x[row][column] = number
        expected[row, column] = one
        assert x._version == place + 1
    assert x.tolist() == expected.tolist()
    for found, wanted in readers:
        assert found.tolist() == wanted.tolist()


def test_a_number_written_to_a_result_has_its_place_in_history() -> None:
    for place in range(12):
        leaf = flambeau.ones(12, requires_grad=True)
        y = leaf * 2
        y[place] = 5.0
        y.sum().backward()
        assert leaf.grad.tolist() == [0.0 if number == place else 2.0 for number in range(12)]
    with pytest.raises(RuntimeError, match="leaf"):
        leaf[3] = 1.0
    array = np.zeros(12, dtype=np.float32)
    shared = flambeau.from_numpy(array)
    for place in range(12):
        shared[place] = place
    assert array.tolist() == list(range(12))


def test_where_numbers_are_written_is_no_part_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []
    key = lazy.program_key
    monkeypatch.setattr(lazy, "program_key", lambda *arguments: planned.append(1) or key(*arguments))
    generator = np.random.default_rng(0)

    def step() -> None:
        x = flambeau.zeros(4, 211)
        for row, column in enumerate(generator.integers(211, size=4).tolist()):
            x[row][column] = 1.0
        assert (x.sum() * 2).item() == 8

    for _ in range(6):
        step()
    known = len(planned)
    for _ in range(6):
        step()
    assert len(planned) == known


@pytest.mark.parametrize(
    "several",
    [lambda x: x.split(2), lambda x: x.split([1, 3]), lambda x: x.chunk(2), lambda x: x.unbind(), lambda x: list(x), lambda x: x.split(4)],
)
def test_one_of_several_views_with_a_history_is_not_written(several) -> None:
    leaf = flambeau.ones(4, 2, requires_grad=True)
    x = leaf * 2
    for view in (several(x)[0], several(x)[0].view(-1), several(x)[-1][..., 1:]):
        with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
            view.add_(1)
        with flambeau.no_grad():
            view.detach().add_(1)
    for view in several(x):
        assert view.grad_fn.name() in ("SplitBackward0", "UnbindBackward0")
    several(x)[0].sum().backward()
    assert leaf.grad.sum() == 2 * several(x)[0].numel()
    free = flambeau.ones(4, 2)
    several(free)[0].add_(1)
    assert free.sum() == 8 + several(free)[0].numel()


def test_pieces_that_are_views_each_for_itself_are_written() -> None:
    x = flambeau.ones(4, requires_grad=True) * 2
    x[:2].mul_(3)
    x.narrow(0, 2, 2).add_(1)
    x.tensor_split(4)[3].zero_()
    x.tensor_split([1, 2])[1].zero_()
    assert x.tolist() == [6, 0, 3, 0]
