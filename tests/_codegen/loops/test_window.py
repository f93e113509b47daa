"""Reductions of a few positions, which are written out: the same bits as those of loops; and what padding does to them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau._codegen import loops
from flambeau._compiler import lazy, nest
from flambeau._runtime import cache
from flambeau._tape.trie import TRIE
from flambeau.nn import functional as F
from tests._codegen.loops.order import lying, ordered_sum


@pytest.fixture(autouse=True)
def write_all_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what has so few elements that a loop would do, as most of what is tested here has; and no program that was made without that."""
    monkeypatch.setattr(nest, "ENOUGH", 0)
    monkeypatch.setattr(lazy, "program_key", lambda *_: None)
    flambeau.flush()
    TRIE.clear()
    flambeau.flush()


def modes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modes of the nests that are made from now on."""
    found: list[str] = []
    kernel = loops.kernel

    def recorded(spec: loops.LoopSpec) -> loops.Kernel:
        found.append(spec.mode)
        return kernel(spec)

    monkeypatch.setattr(nest.loops, "kernel", recorded)
    monkeypatch.setattr(cache, "get", lambda *key: None)  # a program on disk needs no nest
    return found


@pytest.mark.parametrize("results", [8, 15, 16, 17, 300])
@pytest.mark.parametrize("length", [1, 2, 7, 9, 16, 25, 31, 32, 33])
def test_columns_are_added_in_order(results: int, length: int) -> None:
    x = np.random.default_rng(results).standard_normal((length, results)).astype(np.float32)
    assert np.array_equal(flambeau.tensor(x).sum(0).numpy(), ordered_sum(x, (0,)))


@pytest.mark.parametrize("shape", [(2, 3, 40, 3), (3, 2, 2, 50), (2, 4, 19, 2)])
def test_the_order_in_memory_does_not_count(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for size in (1, 2):
        for axes in itertools.combinations(range(4), size):
            for order in [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)]:
                assert np.array_equal(lying(x, order).sum(axes).numpy(), ordered_sum(x, axes)), (axes, order)


def test_zeros_have_the_sign_that_a_loop_gives_them() -> None:
    x = np.full((3, 40), -0.0, np.float32)
    assert not np.signbit(flambeau.tensor(x).sum(0).numpy()).any()
    assert np.signbit(flambeau.tensor(x).amax(0).numpy()).all()


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.float16, np.float64, np.complex64])
def test_every_dtype(dtype: type) -> None:
    x = (np.random.default_rng(0).standard_normal((5, 37)) * 50).astype(dtype)
    wide = np.float64 if dtype is np.float16 else None
    rtol = 2e-3 if dtype is np.float16 else 1e-5
    assert np.allclose(flambeau.tensor(x).sum(0).numpy(), x.sum(0, dtype=wide), rtol)
    assert np.allclose(flambeau.tensor(x / 50).prod(0).numpy(), (x / 50).prod(0, dtype=wide), rtol)
    if dtype is not np.complex64:
        assert np.array_equal(flambeau.tensor(x).amin(0).numpy(), x.min(0))


def test_several_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal((6, 45)).astype(np.float32)
    found = modes(monkeypatch)
    result = flambeau.softmax(flambeau.tensor(x) * 1.25, 0).numpy()
    powers = np.exp(1.25 * x - (1.25 * x).max(0))
    assert np.allclose(result, powers / powers.sum(0), rtol=1e-6)
    assert found == ["window"]


def test_long_reductions_and_those_of_few_elements_are_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of another size is the same kernel."""
    monkeypatch.setattr(nest, "ENOUGH", 8000)
    found = modes(monkeypatch)
    for length, width in ((8, 1000), (9, 1000), (8, 999), (2, 40)):
        flambeau.tensor(np.ones((length, width), np.float32)).mul(1.125).sum(0).numpy()
    assert found == ["window", "column", "column", "column"]


SHORT = [
    (500, 5, "window"),
    (30, 5, "row"),
    (300, 16, "window"),
    (300, 17, "row"),
    (4000, 17, "window"),
    (2200, 31, "window"),
    (2200, 32, "row"),
]


@pytest.mark.parametrize(("rows", "length", "mode"), SHORT)
def test_short_rows_of_which_functions_are_computed(monkeypatch: pytest.MonkeyPatch, rows: int, length: int, mode: str) -> None:
    """The bits are those of rows, which few elements are left to: the rules are those of the machine, not of these tests."""
    monkeypatch.setattr(nest, "ENOUGH", 1 << 16)
    found = modes(monkeypatch)
    x = flambeau.tensor(np.random.default_rng(length).standard_normal((rows, length)).astype(np.float32))
    result = flambeau.log_softmax(x * 1.625, 1).numpy()
    assert found == [mode]
    monkeypatch.setattr(nest, "ENOUGH", 1 << 62)
    TRIE.clear()
    assert np.array_equal(flambeau.log_softmax(x * 1.625, 1).numpy(), result)
    assert found[1:] == ["row"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
@pytest.mark.parametrize(("rows", "length"), [(9, 12), (16, 12), (37, 16), (64, 13), (100, 31), (33, 24)])
def test_rows_that_are_read_and_written_in_squares(monkeypatch: pytest.MonkeyPatch, rows: int, length: int, dtype: str) -> None:
    """The bits of rows, also of rows that lie apart or overlap, of those at the end of memory, and in place."""
    found = modes(monkeypatch)
    given = np.random.default_rng(rows).integers(-50, 50, rows * (length + 2))

    def results() -> list[np.ndarray]:
        TRIE.clear()
        x = flambeau.tensor(given).to(getattr(flambeau, dtype))
        views = x[: rows * length].view(rows, length), x.view(rows, length + 2)[:, 2:], x.as_strided((rows, length), (5, 1), 1)
        done: list[flambeau.Tensor] = []
        for view in views:
            done += [view.sum(1), view.amax(1, keepdim=True) + view, view > view.amin(1, keepdim=True)]
            if view.is_floating_point():
                done += [view.softmax(1), (view * 0.125).exp().sum(1)]
        whole = views[0].clone()
        done.append(whole.sub_(whole.amax(1, keepdim=True)))
        return [each.to(flambeau.float64).numpy() for each in done]

    as_windows = results()
    assert "window" in found
    monkeypatch.setattr(nest, "ENOUGH", 1 << 62)
    del found[:]
    assert all(map(np.array_equal, as_windows, results()))
    assert "window" not in found


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.bfloat16])
@pytest.mark.parametrize("length", [8, 10, 16])
def test_positions_that_are_a_loop(monkeypatch: pytest.MonkeyPatch, dtype: flambeau.dtype, length: int) -> None:
    """Bits do not depend on whether functions are written out, in whole vectors and in what is left of a line."""
    rng = np.random.default_rng(length)
    logits, bias = (flambeau.tensor(rng.standard_normal(shape)).to(dtype) for shape in ((37, length), (length,)))
    target = flambeau.tensor(rng.integers(0, length, 37))

    def results() -> list[np.ndarray]:
        TRIE.clear()
        inputs = [each.clone().requires_grad_() for each in (logits, bias)]
        logarithms = F.log_softmax(inputs[0] * 1.5 + inputs[1], 1)
        loss = F.nll_loss(logarithms.where(logarithms > -3, logarithms * 0.5), target)
        return [each.detach().double().numpy() for each in (loss, logarithms, *flambeau.autograd.grad(loss, inputs))]

    monkeypatch.setattr(nest, "LEAST_ROLLED", 1)
    rolled = results()
    monkeypatch.setattr(nest, "MOST_ROLLED", 0)
    written_out = results()
    assert all(map(np.array_equal, rolled, written_out))
    assert all(np.isfinite(each).all() for each in rolled)


def test_images_and_pixels_of_a_batch_norm_are_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    found = modes(monkeypatch)
    for batch in (3, 5):
        flambeau.tensor(np.ones((batch, 40, 2, 2), np.float32)).mul(1.375).sum((0, 2, 3)).numpy()
    assert "window" not in found


@pytest.mark.parametrize("width", [1, 5, 15, 16, 17, 18, 33, 70])
@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1), (2, 3), (17, 1), (-2, 4)])
def test_the_border_and_the_interior_of_a_line(width: int, before: int, after: int) -> None:
    if width + before > 0:
        x = np.random.default_rng(0).standard_normal((3, width)).astype(np.float32)
        wanted = np.pad(x[:, max(-before, 0) :], ((0, 0), (max(before, 0), after)))
        assert np.array_equal(flambeau.nn.functional.pad(flambeau.tensor(x), (before, after)).numpy(), wanted)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [(3, 3), (7, 20), (16, 35), (33, 70)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(3, 2, 1, 1), (2, 2, 0, 1), (3, 1, 1, 1), (2, 1, 1, 2), (3, 5, 1, 1)]
)
def test_windows_of_an_image(last: bool, size: tuple[int, int], kernel: int, stride: int, padding: int, dilation: int) -> None:
    """The largest element of each window, where it is, and the mean, padding left out."""
    x = np.random.default_rng(0).standard_normal((2, 18, *size)).astype(np.float32)
    x[0, 0, 1, 1] = np.nan
    image = flambeau.tensor(x)
    image = image.contiguous(memory_format=flambeau.channels_last) if last else image
    values, index = flambeau.nn.functional.max_pool2d(image, kernel, stride, padding, dilation, return_indices=True)
    tall, wide = ((extent + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for extent in size)
    assert values.shape == (2, 18, tall, wide)
    means = flambeau.nn.functional.avg_pool2d(image, kernel, stride, padding, count_include_pad=False) if dilation == 1 else None
    for i, j in itertools.product(range(tall), range(wide)):
        rows, columns = (
            [at for at in range(start, start + dilation * kernel, dilation) if 0 <= at < extent]
            for start, extent in zip((i * stride - padding, j * stride - padding), size, strict=True)
        )
        window = x[:, :, rows][..., columns].reshape(2, 18, -1)
        assert np.array_equal(values[:, :, i, j].numpy(), window.max(-1), equal_nan=True)
        places = np.array([row * size[1] + column for row in rows for column in columns])
        assert np.array_equal(index[:, :, i, j].numpy(), places[window.argmax(-1)])
        if means is not None:
            assert np.allclose(means[:, :, i, j].numpy(), window.mean(-1), rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 3, 2), (2, 3, 0), (3, 3, 1), (4, 4, 0)])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_the_gradient_of_a_mean_spreads_it(kernel: int, stride: int, padding: int, ceil_mode: bool, include: bool) -> None:
    """Against the definition: the sum over windows of what each gives to a position."""
    x = flambeau.zeros(2, 3, 11, 20, dtype=flambeau.float64, requires_grad=True)

    def pool(image: flambeau.Tensor) -> flambeau.Tensor:
        return flambeau.nn.functional.avg_pool2d(image, kernel, stride, padding, ceil_mode, include)

    ahead = flambeau.randn_like(pool(x).detach())
    (found,) = flambeau.autograd.grad(pool(x), [x], ahead)
    other = flambeau.randn_like(x.detach())
    assert np.isclose((found * other).sum().item(), (pool(other) * ahead).sum().item(), rtol=1e-10)  # it is the transposed map
    one = flambeau.zeros_like(other)
    one[1, 2, 10, 19] = 1
    assert np.isclose(found[1, 2, 10, 19].item(), (pool(one) * ahead).sum().item(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.linear(x.expand(0, 8), flambeau.ones(8, 8, requires_grad=True), x),
        lambda x: F.bilinear(x.expand(0, 8), x.expand(0, 8), flambeau.ones(8, 8, 8, requires_grad=True), x),
        lambda x: flambeau.cdist(x.expand(0, 8), x.expand(3, 8)),
        lambda x: F.fractional_max_pool3d(x.reshape(1, 2, 2, 2).expand(0, 1, 2, 2, 2), 2, 1),
        lambda x: F.avg_pool2d(x.reshape(1, 2, 4).expand(0, 1, 2, 4), 2),
        lambda x: x.expand(40, 8)[:, :0].sum(1),
    ],
)
def test_of_nothing(call) -> None:
    x = flambeau.ones(8, requires_grad=True)
    result = call(x)
    result.sum().backward()
    assert result.detach().abs().sum().item() == 0 and x.grad.abs().sum().item() == 0
