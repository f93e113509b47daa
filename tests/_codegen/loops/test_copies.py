"""Nests that only move elements: short rows, every second to fourth element, ends of lines, halves as bits."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._codegen import loops
from flambeau._compiler import nest
from flambeau._runtime import cache


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[loops.LoopSpec]:
    """The specs of the nests that are lowered from here on."""
    found: list[loops.LoopSpec] = []
    kernel = loops.kernel

    def recorded(spec: loops.LoopSpec) -> loops.Kernel:
        found.append(spec)
        return kernel(spec)

    monkeypatch.setattr(nest.loops, "kernel", recorded)
    monkeypatch.setattr(cache, "get", lambda *key: None)  # a program on disk needs no nest
    return found


DTYPES = ("bool", "uint8", "int16", "float32", "int64", "complex64", "complex128")


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    draw = np.random.default_rng(0).integers(0, 200, shape)
    return draw % 3 == 0 if dtype == "bool" else draw.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [1, 2, 3, 4, 5, 8, 12, 31])
def test_permuted_rows(row: int, dtype: str, specs: list[loops.LoopSpec]) -> None:
    x = numbers((40, 30, row), dtype)
    found = flambeau.tensor(x).permute(1, 0, 2).contiguous()
    assert np.array_equal(found.numpy(), x.transpose(1, 0, 2))
    nbytes = row * x.itemsize
    if row > 1 and 30 * 40 * row >= 4096:
        assert [each.mode for each in specs][-1] == ("tiled" if nbytes in (2, 4) else "copy" if nbytes <= 128 else "map")


def test_rows_that_begin_anywhere_are_no_wider_elements() -> None:
    x = numbers((4 * 5001,), "uint8")
    shifted = flambeau.tensor(x)[1:-3].reshape(5000, 4)
    assert np.array_equal(shifted.t().contiguous().numpy(), x[1:-3].reshape(5000, 4).T)
    overlapping = flambeau.tensor(x).unfold(0, 4, 3)
    assert np.array_equal(overlapping.contiguous().numpy(), np.lib.stride_tricks.sliding_window_view(x, 4)[::3])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [2, 3, 4])
def test_every_so_many_elements(step: int, dtype: str) -> None:
    for length in (15, 16, 17, 32, 33, 63, 100):
        x = numbers((7, step * length), dtype)
        for first in range(step):
            assert np.array_equal(flambeau.tensor(x)[:, first::step].contiguous().numpy(), x[:, first::step])
    last = numbers((3, 50, step), dtype)
    assert np.array_equal(flambeau.tensor(last).permute(2, 0, 1).contiguous().numpy(), last.transpose(2, 0, 1))


@pytest.mark.parametrize("width", [1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 100])
def test_a_line_is_written_once_where_it_is_read(width: int) -> None:
    """Where the last vector of a line may reach back into the one before it, and where it must not."""
    x = numbers((5, width + 3), "float32")
    tensor = flambeau.tensor(x)
    assert np.array_equal((tensor[:, :width] + 1).numpy(), x[:, :width] + 1)
    tensor.add_(1)
    tensor[:, 1 : 1 + width].mul_(2)
    wanted = x + 1
    wanted[:, 1 : 1 + width] *= 2
    assert np.array_equal(tensor.numpy(), wanted)
    assert np.array_equal(flambeau.cat([tensor[:, :width], tensor], 1).numpy(), np.concatenate([wanted[:, :width], wanted], 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2"])
def test_copies_keep_every_bit(dtype: str) -> None:
    of = getattr(flambeau, dtype)
    bits = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256) if of.itemsize == 2 else np.arange(1 << 8, dtype=np.uint8).reshape(16, 16)
    x = flambeau.tensor(bits).view(of)
    for moved, wanted in ((x.t(), bits.T), (x[:, 1::2], bits[:, 1::2]), (x[1:, 3:], bits[1:, 3:])):
        assert np.array_equal(moved.contiguous().view(flambeau.tensor(bits).dtype).numpy(), wanted)


def test_halves_that_are_moved_and_computed_with() -> None:
    x = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    half = flambeau.tensor(x).to(flambeau.bfloat16)
    moved = half.t().contiguous()
    assert np.array_equal((moved.float() * 2).numpy(), half.float().numpy().T * 2)
    assert np.array_equal(moved.float().numpy(), half.float().numpy().T)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("width", [20, 31, 32, 33, 64, 100, 4100])
@pytest.mark.parametrize("mode, numpys", [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_padding_goes_straight_on_between_its_ends(width: int, dtype: str, mode: str, numpys: str) -> None:
    x = numbers((2, 40, width), dtype)
    for amounts in ((1, 1), (3, 0), (0, 8), (9, 2), (-2, 1)):
        cut = x[..., max(0, -amounts[0]) :]
        wanted = np.pad(cut, ((0, 0), (0, 0), tuple(max(each, 0) for each in amounts)), mode=numpys)
        if min(amounts) >= 0 or mode != "reflect":
            found = flambeau.nn.functional.pad(flambeau.tensor(x), amounts, mode=mode)
            assert np.array_equal(found.numpy(), wanted)


def test_terms_of_weight_0_are_left_out_whatever_they_are() -> None:
    """Lines whose weights are all other than 0 have no choices; the others have."""
    x = np.random.default_rng(0).standard_normal((1, 40, 6, 6)).astype(np.float32)
    x[:, :, 5, 5] = np.inf
    x[:, :, 0, 0] = np.nan
    images = flambeau.tensor(x)
    last = images.contiguous(memory_format=flambeau.channels_last)
    for size in (11, 12, 4):
        wanted = flambeau.nn.functional.interpolate(images, size=size, mode="bilinear")
        found = flambeau.nn.functional.interpolate(last, size=size, mode="bilinear")
        assert np.array_equal(found.numpy(), wanted.numpy(), equal_nan=True)


@pytest.mark.parametrize("shape", [(3, 5, 7, 2, 20), (3, 5, 7, 8, 64), (2, 300, 7, 3, 17), (9, 2, 2, 2, 5)])
def test_tiles_of_several_short_digits(shape: tuple[int, ...], specs: list[loops.LoopSpec]) -> None:
    x = numbers(shape, "float32")
    found = flambeau.tensor(x).permute(1, 0, 3, 2, 4) + 1
    assert np.array_equal(found.contiguous().numpy(), x.transpose(1, 0, 3, 2, 4) + 1)
    assert np.array_equal(flambeau.tensor(x).permute(2, 0, 1, 3, 4).contiguous().numpy(), x.transpose(2, 0, 1, 3, 4))
    assert any(each.inside for each in specs)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float32", "int64"])
@pytest.mark.parametrize("length", [512, 513, 1030])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_groups_are_taken_apart_and_put_together(count: int, length: int, dtype: str, specs: list[loops.LoopSpec]) -> None:
    groups = numbers((5, length, count), dtype)
    apart = flambeau.tensor(groups).permute(2, 0, 1).contiguous()
    assert np.array_equal(apart.numpy(), groups.transpose(2, 0, 1))
    assert np.array_equal(apart.permute(1, 2, 0).contiguous().numpy(), groups)
    if dtype != "bool" and 5 * length * count >= 4096 and count * groups.itemsize not in (2, 4):  # those are one element each
        assert [each.woven for each in specs][-2:] == [(count,)] * 2


@pytest.mark.parametrize("channels", [16, 33])
def test_shuffled_pixels_are_groups_of_two_digits(channels: int, specs: list[loops.LoopSpec]) -> None:
    x = numbers((3, 8, 8, 4 * channels), "float32")
    pixels = flambeau.tensor(x).permute(0, 3, 1, 2)
    found = flambeau.nn.functional.pixel_shuffle(pixels, 2)
    wanted = x.reshape(3, 8, 8, channels, 2, 2).transpose(0, 3, 1, 4, 2, 5).reshape(3, channels, 16, 16)
    assert np.array_equal(found.numpy(), wanted)
    assert np.array_equal(flambeau.nn.functional.pixel_unshuffle(found, 2).numpy(), x.transpose(0, 3, 1, 2))
    assert (2, 2) in [each.woven for each in specs]


def test_groups_that_are_computed_with() -> None:
    """Work in several dtypes, a value for each place of a group, results that replace what was read."""
    x = np.random.default_rng(0).standard_normal((6, 333, 3)).astype(np.float32)
    scale = np.array([[0.5], [2], [3]], np.float32)
    planes = flambeau.tensor(x).permute(0, 2, 1) * flambeau.tensor(scale) - 1
    assert np.array_equal(planes.contiguous().numpy(), x.transpose(0, 2, 1) * scale - 1)
    half = flambeau.tensor(x).to(flambeau.bfloat16)
    assert np.array_equal(half.permute(2, 0, 1).float().contiguous().numpy(), half.float().numpy().transpose(2, 0, 1))
    tensor = flambeau.tensor(x)
    tensor.permute(2, 0, 1).mul_(2)
    assert np.array_equal(tensor.numpy(), x * 2)
