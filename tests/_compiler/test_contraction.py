"""What contractions take along: fewer kernels, the same bits."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import flambeau as F
from flambeau._compiler import lazy
from flambeau._compiler.graph import Graph
from flambeau._runtime import targets
from flambeau.nn import functional


def numbers(*shape: int, dtype: F.dtype = F.float32, seed: int = 0) -> F.Tensor:
    result = F.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).to(dtype)
    F.flush()
    return result


def kernels(function, *arguments) -> int:
    with F.no_grad():
        return len([kernel for kernel in F.explain(function, *arguments).kernels if kernel.operators != ("pack",)])


def makes_pairs(dtype: F.dtype) -> bool:
    """Whether a kernel puts neighbouring terms of the right operand side by side."""
    return dtype is F.bfloat16 and targets.current().has_pairs


def flushed(contract, ending):
    """The results of ``ending`` with the contraction computed before, and with both in one program."""
    with F.no_grad():
        product = contract()
        F.flush()
        apart = ending(product)
        F.flush()
        return apart, ending(contract())


A, B = (40, 70), (70, 50)
COLUMNS, ROWS, ALL, ACROSS, PLACES = (
    numbers(50, seed=3), numbers(40, 1, seed=3), numbers(40, 50, seed=3), numbers(50, 40, seed=3), numbers(5, 1, 50, seed=4)
)  # fmt: skip
ENDINGS = {
    "bias of columns": (lambda y: y + COLUMNS),
    "bias of rows": (lambda y: y + ROWS),
    "residual": (lambda y: F.relu(y + ALL)),
    "transposed residual": (lambda y: y + ACROSS.t()),
    "a run-time number": (lambda y: y * 0.3 + 2),
    "a choice of a whole number": (lambda y: F.where(y > 1, 3, y)),
    "a long body": (lambda y: functional.gelu(y) * F.sigmoid(y)),
    "comparison": (lambda y: F.where(y > 0.5, y, -y)),
    "several results": (lambda y: (y, F.tanh(y), y > 0)),
    "another dtype": (lambda y: y.to(F.bfloat16)),
    "another order": (lambda y: (y.t() * 2).contiguous()),
    "another shape": (lambda y: y.reshape(5, 8, 50) * PLACES),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_is_fused_and_changes_no_bit(name):
    a, b = numbers(*A), numbers(*B, seed=1)
    apart, together = flushed(lambda: a @ b, ENDINGS[name])
    for one, two in zip(
        apart if isinstance(apart, tuple) else (apart,), together if isinstance(together, tuple) else (together,), strict=True
    ):
        assert one.dtype is two.dtype and one.stride() == two.stride()
        assert one.float().numpy().tobytes() == two.float().numpy().tobytes()
    assert kernels(lambda: ENDINGS[name](a @ b)) == 1 + (name == "several results")  # a kernel takes one reader along


@pytest.mark.parametrize("dtype", [F.float64, F.float16, F.bfloat16, F.int32], ids=str)
def test_dtypes(dtype):
    a, b, c = (numbers(*shape, dtype=F.float32, seed=i).mul(9).to(dtype) for i, shape in enumerate((A, B, (40, 50))))
    F.flush()
    apart, together = flushed(lambda: a @ b, lambda y: (y + c).relu())
    assert apart.double().numpy().tobytes() == together.double().numpy().tobytes()
    assert kernels(lambda: (a @ b + c).relu()) == 1 + makes_pairs(dtype)


@pytest.mark.parametrize("groups", [1, 4, 32])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions(groups, stride):
    x, w, b = numbers(2, 32, 19, 35), numbers(32, 32 // groups, 3, 3, seed=1), numbers(32, seed=2)
    more = {"stride": stride, "padding": 1, "groups": groups}
    shape = functional.conv2d(x, w, **more).shape
    residual = numbers(*shape, seed=5)
    apart, together = flushed(lambda: functional.conv2d(x, w, **more), lambda y: F.relu(y + b.reshape(1, 32, 1, 1) + residual))
    assert apart.numpy().tobytes() == together.numpy().tobytes()
    assert kernels(lambda: F.relu(functional.conv2d(x, w, b, **more) + residual)) == 1


def test_phases_of_a_transposed_convolution_write_where_they_belong():
    x, w, b = numbers(2, 8, 9, 11), numbers(8, 6, 4, 4, seed=1), numbers(6, seed=2)
    assert kernels(lambda: functional.conv_transpose2d(x, w, b, stride=2, padding=1)) == 4
    image, kernel = x.double().numpy(), w.double().numpy()
    padded = np.zeros((2, 6, 20, 24))
    for i in range(9):
        for j in range(11):
            padded[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nc,cdkl->ndkl", image[:, :, i, j], kernel)
    dense = padded[:, :, 1:-1, 1:-1] + b.double().numpy()[:, None, None]
    np.testing.assert_allclose(functional.conv_transpose2d(x, w, b, stride=2, padding=1).numpy(), dense, rtol=2e-5, atol=2e-5)


def test_what_is_read_elsewhere_is_written_too():
    a, b = numbers(*A), numbers(*B, seed=1)
    with F.no_grad():
        product = a @ b
        once = F.relu(product)
        total = product.sum()
        F.flush()
        again = a @ b
        F.flush()
        assert once.numpy().tobytes() == F.relu(again).numpy().tobytes()
        assert product.numpy().tobytes() == again.numpy().tobytes()
        assert total.item() == again.sum().item()


def test_a_reader_that_comes_before_keeps_it_apart():
    """The sum over rows is read beside the product, so the product must be in memory first."""
    a, b = numbers(*A), numbers(*B, seed=1)
    apart, together = flushed(lambda: a @ b, lambda y: y * y.sum(1, keepdim=True).exp().sum())
    assert apart.numpy().tobytes() == together.numpy().tobytes()


def test_two_products():
    a, b, c, d = numbers(*A), numbers(*B, seed=1), numbers(40, 30, seed=2), numbers(30, 50, seed=3)
    apart, together = flushed(lambda: (a @ b, c @ d), lambda pair: pair[0] + pair[1])
    assert apart.numpy().tobytes() == together.numpy().tobytes()
    assert kernels(lambda: a @ b + c @ d) == 2


@pytest.mark.parametrize("dtype", [F.float32, F.bfloat16, F.float16])
def test_a_product_is_scaled_and_added_to_where_it_is_made(dtype):
    x, a, b = numbers(40, 50, dtype=dtype), numbers(40, 70, dtype=dtype), numbers(70, 50, dtype=dtype)
    assert kernels(lambda: F.addmm(x, a, b, beta=0.5, alpha=2)) == 1 + makes_pairs(dtype)
    assert kernels(lambda: F.baddbmm(x, a[None], b[None], beta=2)) == 1 + makes_pairs(dtype)


def test_in_place():
    a, b = numbers(40, 40), numbers(40, 40, seed=1)
    with F.no_grad():
        expected = (a @ b).numpy() + a.numpy()
        x = a.clone()
        x += x @ b
        np.testing.assert_array_equal(x.numpy(), expected)
        y = a.clone()
        y[:, 3:30] = (y @ b)[:, 3:30]
        np.testing.assert_array_equal(y.numpy()[:, 3:30], (a @ b).numpy()[:, 3:30])
        np.testing.assert_array_equal(y.numpy()[:, 30:], a.numpy()[:, 30:])


@pytest.mark.parametrize("size", [3, 49])
def test_a_part_of_a_tensor_of_more_dimensions(size):
    """Written by the product's own kernel, or, for a large one, by a loop: as attention's gradient of `qkv.unbind(0)` is."""
    a, b = numbers(4, 12, size, size), numbers(4, 12, size, 32, seed=1)

    def write(product):
        result = F.zeros(3, *product.shape)
        result[1] = product
        return result

    apart, together = flushed(lambda: a @ b, write)
    assert F.equal(apart, together) and F.equal(together[1], a @ b) and not together[0].any() and not together[2].any()


def test_attention_of_three_in_one():
    qkv = numbers(3, 4, 12, 49, 32).requires_grad_()
    q, k, v = qkv.unbind(0)
    ((q @ k.transpose(-2, -1)).softmax(-1) @ v).square().sum().backward()
    parts = [each.detach().double().requires_grad_() for each in (q, k, v)]
    ((parts[0] @ parts[1].transpose(-2, -1)).softmax(-1) @ parts[2]).square().sum().backward()
    exact = F.stack([each.grad for each in parts])
    assert (qkv.grad.double() - exact).abs().max() < 4e-6 * exact.abs().max()  # 3.05e-6; PyTorch 3.11e-6


def test_a_size_behind_a_contraction_makes_no_other_kernel() -> None:
    """What the gradient of a pooling divides by: kernels read it where they read scalars, behind those of the program."""
    weight, ahead = numbers(32, 10), numbers(8, 10)

    def gradient(size: int, scale: float) -> F.Tensor:
        images = F.ones(8, 32, size, 2 * size, requires_grad=True)
        pooled = functional.avg_pool2d(images, (size, 2 * size)).flatten(1)
        return F.autograd.grad(pooled @ weight, images, ahead * scale)[0]

    names = set()
    for size in (5, 9, 31):
        found = F.explain(gradient, size, 0.5)
        names |= {kernel.name for kernel in found.kernels if kernel.operators[0].startswith("contract") and "div" in kernel.operators}
        assert np.array_equal(found.result[:, :, -1, -1].numpy(), ((ahead * 0.5) @ weight.t()).numpy() / np.float32(2 * size * size))
    assert len(names) == 1


def test_kernels_and_plans_that_are_remembered_hold_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each program that was ever planned would stay in memory."""

    def graphs() -> set[int]:
        gc.collect()
        return {id(each) for each in gc.get_objects() if type(each) is Graph}

    monkeypatch.setattr(lazy, "_read", lambda key: None)  # not from the disk
    before = graphs()
    for size in (11, 13):
        x = numbers(size, 17)
        (x @ x.t() * 0.5 + 1).relu().tolist()
        functional.conv2d(numbers(1, 3, size, size), numbers(4, 3, 3, 3), padding=1).sigmoid().tolist()
    del x
    assert graphs() <= before


@pytest.mark.parametrize("dtype", [F.float16, F.bfloat16])
@pytest.mark.parametrize("m, k, n", [(6, 3, 8), (3, 300, 70), (16, 16, 16), (1, 512, 64), (1, 40, 1), (130, 33, 50)])
@pytest.mark.parametrize("batch", [(), (4,)])
def test_what_a_cast_widens_is_read_as_it_was(dtype: F.dtype, m: int, k: int, n: int, batch: tuple) -> None:
    """One operand or both; as they lie, transposed, or a part: the bits are those of float32 that lies in memory."""
    a, b = numbers(*batch, m, 2 * k, dtype=dtype)[..., :k], numbers(*batch, n, k, dtype=dtype, seed=1)
    wide = [F.tensor(each.float().numpy()) for each in (a, b)]
    exact = wide[0] @ wide[1].mT
    F.flush()
    assert F.equal(a.float() @ b.float().mT, exact)
    assert F.equal(a.float() @ wide[1].mT, exact)
    assert F.equal(wide[0] @ b.float().mT, exact)
    assert F.equal((b.float() @ a.float().mT).mT, exact)
    assert kernels(lambda: a.float() @ wide[1].mT) == kernels(lambda: wide[0] @ b.float().mT) == 1
