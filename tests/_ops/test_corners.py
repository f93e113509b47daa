"""What programs drawn at random (`parity/random_programs.py`) found: corners of dtypes, of tensors without dimensions and of ``out=``, as PyTorch has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import flambeau

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("dims", [(), (0,), (-1,)])
def test_a_number_reversed_is_itself(dims: tuple[int, ...]) -> None:
    assert flambeau.flip(flambeau.tensor(2.0), dims).item() == 2.0


@pytest.mark.parametrize("function", [flambeau.softmax, flambeau.log_softmax])
def test_softmax_of_a_number_that_is_not_finite(function: Callable) -> None:
    assert function(flambeau.tensor(3.0), 0).item() == (function is flambeau.softmax)
    assert all(math.isnan(function(flambeau.tensor(each), 0).item()) for each in (NAN, INF, -INF))


def test_half_precision_has_no_neighbour_towards_nan() -> None:
    for dtype in (flambeau.float16, flambeau.bfloat16, flambeau.float32, flambeau.float64):
        x = flambeau.tensor([0.0, -0.0, 1e-5, 1.0, -INF], dtype=dtype)
        assert flambeau.nextafter(x, flambeau.full((5,), NAN, dtype=dtype)).isnan().all()


@pytest.mark.parametrize("function, logarithm", [(flambeau.xlogy, math.log), (flambeau.special.xlog1py, math.log1p)])
def test_logarithms_of_integers_are_as_exact_as_the_result(function: Callable, logarithm: Callable) -> None:
    x = flambeau.tensor([-0.5], dtype=flambeau.float64)
    assert function(x, flambeau.tensor([3])).item() == pytest.approx(-0.5 * logarithm(3), rel=1e-15)
    assert function(flambeau.tensor([2]), flambeau.tensor([3])).dtype is flambeau.float32
    assert function(x, flambeau.tensor(3.0)).item() == function(x, flambeau.tensor([3.0], dtype=flambeau.float64)).item()


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
def test_a_product_with_a_bias_is_rounded_once(dtype: flambeau.dtype) -> None:
    flambeau.manual_seed(0)
    bias, a, b = (flambeau.randn(*shape).to(dtype).requires_grad_() for shape in ((9,), (7, 5), (5, 9)))
    exact = flambeau.addmm(bias.double(), a.double(), b.double())
    result = flambeau.addmm(bias, a, b)
    assert flambeau.equal(result, exact.to(dtype)) and result.dtype is dtype
    result.sum().backward()
    assert bias.grad.tolist() == [7.0] * 9 and a.grad.shape == (7, 5) and b.grad.shape == (5, 9)


def test_sums_of_bools_are_bools_whatever_alpha_is() -> None:
    x = flambeau.tensor([True, False])
    for alpha in (2, 1, 0, True):
        assert flambeau.add(x, x, alpha=alpha).dtype is flambeau.bool
    assert flambeau.add(x, x.logical_not(), alpha=0).tolist() == [True, False]


@pytest.mark.parametrize("function, total", [(flambeau.sum, 3), (flambeau.prod, 2), (flambeau.cumsum, 3), (flambeau.cumprod, 2)])
def test_totals_are_computed_in_the_dtype_of_out(function: Callable, total: int) -> None:
    x = flambeau.tensor([1.5, 2.75])
    out = flambeau.zeros(function(x, 0).shape, dtype=flambeau.int16)
    assert function(x, 0, out=out) is out and out.reshape(-1)[-1].item() == total
    large = flambeau.full((2,), 3e38)
    wide = function(large, 0, out=flambeau.empty(0, dtype=flambeau.float64))
    assert wide.isfinite().all() and wide.dtype is flambeau.float64
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype float64, but got float32"):
        function(x, 0, dtype=flambeau.float64, out=flambeau.empty(2))


def test_a_mean_is_computed_in_the_dtype_of_out() -> None:
    assert flambeau.full((4,), 3e38).mean(0).isinf().item()
    assert flambeau.mean(flambeau.full((4,), 3e38), 0, out=flambeau.empty((), dtype=flambeau.float64)).isfinite().item()
    for x in (flambeau.ones(2), flambeau.ones(2, dtype=flambeau.int64)):
        with pytest.raises(RuntimeError):
            flambeau.mean(x, 0, out=flambeau.empty((), dtype=flambeau.int64))


def test_matrices_of_tensors_without_dimensions_are_these() -> None:
    x = flambeau.tensor(1 + 2j)
    assert x.mT.item() == 1 + 2j and x.mH.item() == x.H.item() == flambeau.adjoint(x).item() == 1 - 2j
    for name in ("mT", "mH", "H"):
        with pytest.raises(RuntimeError, match="only supported on matrices"):
            getattr(flambeau.ones(3), name)


def test_a_number_is_filled_by_several_indices() -> None:
    x = flambeau.ones(())
    assert x.index_fill(0, flambeau.tensor([0, 0]), 2).item() == 2 and x.item() == 1
    assert x.index_fill_(-1, flambeau.tensor([0, 0, 0]), 3) is x and x.item() == 3
    with pytest.raises(IndexError):
        x.index_fill(0, flambeau.tensor([1, 0]), 2).item()


def test_what_a_dtype_lacks_is_not_implemented() -> None:
    yes, z = flambeau.ones(2, 2, dtype=flambeau.bool), flambeau.ones(2, dtype=flambeau.complex64)
    for call in (
        lambda: yes // yes,
        lambda: flambeau.fmod(yes, yes),
        lambda: yes % yes,
        lambda: yes @ yes,
        lambda: flambeau.relu(z),
        lambda: flambeau.logcumsumexp(yes, 0),
    ):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
@pytest.mark.parametrize(
    "function, shapes",
    [
        (flambeau.addmm, ((7, 9), (7, 5), (5, 9))),
        (flambeau.addmv, ((7,), (7, 5), (5,))),
        (flambeau.addr, ((7, 9), (7,), (9,))),
        (flambeau.baddbmm, ((3, 7, 9), (3, 7, 5), (3, 5, 9))),
        (flambeau.addbmm, ((7, 9), (3, 7, 5), (3, 5, 9))),
    ],
)
def test_sums_of_products_in_half_precision_are_rounded_once(dtype: flambeau.dtype, function: Callable, shapes: tuple) -> None:
    flambeau.manual_seed(0)
    operands = [flambeau.randn(*shape).to(dtype).requires_grad_() for shape in shapes]
    result = function(*operands, beta=0.3, alpha=-0.7)
    exact = function(*(each.detach().double() for each in operands), beta=0.3, alpha=-0.7)
    half = flambeau.finfo(dtype).eps / 2
    assert result.dtype is dtype and ((result.double() - exact).abs() <= half * 1.01 * exact.abs()).all()
    result.sum().backward()
    assert [each.grad.dtype for each in operands] == [dtype] * 3
    out = flambeau.empty(0, dtype=dtype)
    assert function(*(each.detach() for each in operands), beta=0.3, alpha=-0.7, out=out) is out and flambeau.equal(out, result)


@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.5, 3.0, 4, -2])
def test_powers_of_half_precision(exponent: float) -> None:
    x = flambeau.tensor([0.25, 4.0, 9.0], dtype=flambeau.float16, requires_grad=True)
    y = x**exponent
    assert y.tolist() == pytest.approx([each**exponent for each in (0.25, 4.0, 9.0)], rel=1e-3)
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([exponent * each ** (exponent - 1) for each in (0.25, 4.0, 9.0)], rel=2e-3)
