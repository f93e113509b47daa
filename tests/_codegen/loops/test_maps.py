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


@pytest.mark.parametrize("width", [5, 16, 31, 66])
def test_rows_share_how_a_table_is_read(width: int, rows_inside: list[bool]) -> None:
    draw = np.random.default_rng(1)
    image = draw.standard_normal((3, 20, width)).astype(np.float32)
    found = flambeau.nn.functional.pad(flambeau.tensor(image)[None], (2, 3, 1, 1), mode="reflect")[0]
    assert np.array_equal(found.numpy(), np.pad(image, ((0, 0), (1, 1), (2, 3)), mode="reflect"))
    assert any(rows_inside)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float32", "float64", "complex64"])
def test_ends_of_rows_leave_what_follows_them(dtype: str) -> None:
    of = getattr(flambeau, dtype)
    for width in (*range(1, 20), 31, 32, 33, 47):
        rows = flambeau.ones(4, 50, dtype=of)
        rows[:, 1 : 1 + width] = flambeau.zeros(4, width, dtype=of).add(flambeau.zeros(4, 1, dtype=of))
        wanted = np.ones((4, 50))
        wanted[:, 1 : 1 + width] = 0
        assert np.array_equal(rows.numpy(), wanted.astype(rows.numpy().dtype)), width


@pytest.mark.parametrize("channels", [1, 16, 19, 33, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_bounds_that_all_lanes_share_leave_out_whole_lines(channels: int, dtype: type) -> None:
    """The adjoint of a mirrored border reads each line of an image inside of some of its bounds and outside of others."""
    draw = np.random.default_rng(2)
    padded = draw.integers(-9, 9, (2, channels, 6, 7)).astype(dtype)
    x = flambeau.zeros(2, channels, 4, 5, dtype=flambeau.from_numpy(padded).dtype).contiguous(memory_format=flambeau.channels_last)
    x.requires_grad_()
    ahead = flambeau.tensor(padded).contiguous(memory_format=flambeau.channels_last)
    (found,) = flambeau.autograd.grad(flambeau.nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), x, ahead)
    rows = padded[:, :, 1:-1].copy()
    rows[:, :, 1] += padded[:, :, 0]
    rows[:, :, -2] += padded[:, :, -1]
    wanted = rows[..., 1:-1].copy()
    wanted[..., 1] += rows[..., 0]
    wanted[..., -2] += rows[..., -1]
    assert np.array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int16", "int64"])
@pytest.mark.parametrize("width", [8, 24, 40, 48, 56, 1000])
def test_lines_that_end_with_half_of_a_vector(width: int, dtype: str) -> None:
    """In place and with an index that is checked, so that nothing may be computed twice; the row after the last must stay as it is."""
    of = getattr(flambeau, dtype)
    x = np.random.default_rng(0).integers(1, 50, (9, width))
    index = np.random.default_rng(1).integers(0, 9, (9, width))
    tensor = flambeau.tensor(x).to(of)
    tensor[:8].mul_(2).add_(3)
    wanted = x.copy()
    wanted[:8] = wanted[:8] * 2 + 3
    assert np.array_equal(tensor.to(flambeau.int64).numpy(), wanted)
    found = tensor.gather(0, flambeau.tensor(index))
    assert np.array_equal(found.to(flambeau.int64).numpy(), np.take_along_axis(wanted, index, 0))
    with pytest.raises(IndexError):
        tensor.gather(0, flambeau.tensor(np.where(np.arange(width) == width - 1, 9, index))).tolist()


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.bfloat16])
def test_functions_that_share_an_exponential_give_what_they_give_alone(dtype: flambeau.dtype) -> None:
    """It is that of the magnitude of x, for x and -x."""
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 88.5, -88.5, -87.4, 103.0, -103.5, 708.9, -745.0, 1e-42]
    x = flambeau.tensor([*special, *np.random.default_rng(0).standard_normal(50) * 30], dtype=dtype)
    functions = [
        lambda x: flambeau.sigmoid(x),
        lambda x: flambeau.nn.functional.silu(-x),
        lambda x: flambeau.exp(-x.abs()),
        lambda x: flambeau.exp(-x),
    ]
    together = [function(x) for function in functions]
    flambeau.flush()
    for function, result in zip(functions, together, strict=True):
        alone = function(x)
        flambeau.flush()
        assert alone.view(flambeau.uint8).tolist() == result.view(flambeau.uint8).tolist()


@pytest.mark.parametrize("count", [3, 16, 21, 31])
def test_what_is_left_of_several_lines_is_stored_together(count: int) -> None:
    """The results of a vector that is not whole, of several types, of which some have a loop."""
    x = np.random.default_rng(0).standard_normal((4, count)).astype(np.float32)
    a = flambeau.tensor(x)
    found = [a + 1, a * 2, a > 0, a.abs(), a.to(flambeau.float64) * 3]
    flambeau.flush()
    for one, wanted in zip(found, [x + 1, x * 2, x > 0, abs(x), x.astype(np.float64) * 3], strict=True):
        assert np.array_equal(one.numpy(), wanted)


@pytest.mark.parametrize("size", [15, 16, 17, 31, 4096, 4097, 8195, 20_000])
@pytest.mark.parametrize("is_light", [True, False])
def test_the_last_vector_of_a_line_ends_where_the_line_does(size: int, is_light: bool) -> None:
    """Also where a tile has less than a vector; what is written over an operand is computed once."""
    draw = np.random.default_rng(size)
    x, y = (np.ascontiguousarray(draw.standard_normal((3, size + 1))[:, 1:], np.float32) for _ in range(2))

    def formula(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        for _ in range(1 if is_light else 6):
            x = abs(x * y) - (x + y)
        return x

    a, b = flambeau.tensor(x), flambeau.tensor(y)
    wide = flambeau.empty(3, size + 1)[:, 1:]  # lines that do not follow each other
    wide.copy_(formula(a, b))
    assert np.array_equal(formula(a, b).numpy(), formula(x, y))
    assert np.array_equal(wide.numpy(), formula(x, y))
    for _ in range(3):
        a.copy_(formula(a, b))
        x = formula(x, y)
        flambeau.flush()
    assert np.array_equal(a.numpy(), x)
