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


@pytest.mark.parametrize("dtype", [flambeau.complex64, flambeau.complex128])
def test_complex_numbers_by_real_ones_are_divided_part_by_part(dtype: flambeau.dtype) -> None:
    flambeau.manual_seed(0)
    x = flambeau.randn(100, dtype=dtype)
    y = flambeau.rand(100, dtype=dtype.to_real()) + 1
    for divisor in (y, 3, 3.7, flambeau.tensor(7), flambeau.arange(1, 101)):
        quotient = x / divisor
        assert quotient.dtype is dtype
        by = divisor.to(y.dtype) if isinstance(divisor, flambeau.Tensor) else divisor
        assert flambeau.equal(quotient, flambeau.complex(x.real / by, x.imag / by))
    assert flambeau.equal(x.clone().div_(y), x / y)
    mean = x.mean()
    assert flambeau.equal(mean, flambeau.complex(x.sum().real / 100, x.sum().imag / 100))
    infinite = flambeau.tensor([complex(INF, 1), complex(1, 0)], dtype=dtype) / flambeau.tensor([2.0, 0.0])
    assert infinite[0].real == INF and infinite[0].imag == 0.5 and infinite[1].real == INF


@pytest.mark.parametrize("function, pole, slope", [(flambeau.xlogy, 0.0, math.log), (flambeau.special.xlog1py, -1.0, math.log1p)])
def test_the_gradient_of_nothing_times_a_logarithm_is_the_logarithm(function: Callable, pole: float, slope: Callable) -> None:
    x = flambeau.zeros(4, requires_grad=True)
    y = flambeau.tensor([pole, pole - 1, 3.0, 0.25], requires_grad=True)
    result = function(x, y)
    assert result.tolist() == [0.0] * 4 and not result.signbit().any()
    result.sum().backward()
    assert x.grad.tolist() == pytest.approx([0.0, 0.0, slope(3.0), slope(0.25)])
    assert y.grad[2:].tolist() == [0.0, 0.0]
    with pytest.raises(NotImplementedError):
        function(flambeau.ones(2), flambeau.ones(2, dtype=flambeau.complex64))
    with pytest.raises(TypeError):
        function(1.0, 2.0)
    assert function(flambeau.ones(2, dtype=flambeau.float64), pole + 0.1).tolist() == pytest.approx([slope(pole + 0.1)] * 2, rel=1e-15)
    assert function(2, y.detach())[2].item() == pytest.approx(2 * slope(3.0))


@pytest.mark.parametrize("weight", [0.5, 1, flambeau.tensor(0.5)])
def test_there_is_nothing_between_whole_numbers(weight: object) -> None:
    x = flambeau.tensor([1, 2])
    for call in (lambda: flambeau.lerp(x, x, weight), lambda: x.clone().lerp_(x, weight)):
        with pytest.raises(NotImplementedError):
            call()


def test_a_number_has_one_dimension_to_be_flattened() -> None:
    x = flambeau.tensor(1.0)
    assert x.flatten().shape == x.flatten(-1, 0).shape == (1,)
    for dims in ((1,), (0, 1), (-2,)):
        with pytest.raises(IndexError):
            x.flatten(*dims)


def test_what_is_scaled_before_it_is_added_keeps_the_dtype_of_the_sum() -> None:
    yes, one = flambeau.tensor([True]), flambeau.tensor([1], dtype=flambeau.uint8)
    assert flambeau.add(one, yes, alpha=2).dtype is flambeau.uint8 and flambeau.add(one, yes, alpha=2).item() == 3
    assert flambeau.add(yes, True, alpha=2).dtype is flambeau.bool
    wide = flambeau.add(flambeau.tensor(1 + 1j, dtype=flambeau.complex128), yes, alpha=0.5)
    assert wide.dtype is flambeau.complex128 and wide.item() == 1.5 + 1j
    assert flambeau.sub(one.to(flambeau.int8), one * 5, alpha=3).item() == -14


@pytest.mark.parametrize("sequence, value, place", [([1, 2, 3], [1.5], 1), ([1.1, 2.2, 2.7], [2, 3], None), ([1, 2], [True], 0)])
def test_places_in_a_sequence_of_another_dtype(sequence: list, value: list, place: int | None) -> None:
    found = flambeau.searchsorted(flambeau.tensor(sequence), flambeau.tensor(value)).tolist()
    assert found == ([1, 3] if place is None else [place])
    assert flambeau.bucketize(flambeau.tensor(value), flambeau.tensor(sequence)).tolist() == found
    assert [flambeau.searchsorted(flambeau.tensor(sequence), each).item() for each in value] == found


def test_dtypes_of_powers_of_two_and_of_what_is_filled() -> None:
    half, bytes_, yes = flambeau.ones(2, dtype=flambeau.float16), flambeau.ones(2, dtype=flambeau.uint8), flambeau.tensor([True, True])
    assert flambeau.ldexp(half, bytes_).dtype is flambeau.float16 and flambeau.ldexp(half, bytes_).tolist() == [2, 2]
    assert flambeau.ldexp(bytes_, half).dtype is flambeau.float16 and flambeau.ldexp(bytes_, bytes_).dtype is flambeau.float32
    for pair in ((yes, half), (half, bytes_)):
        assert flambeau.logaddexp2(*pair).dtype is flambeau.float16 and flambeau.logaddexp2(*pair).tolist() == [2, 2]
    for dtype, filled in ((flambeau.float64, flambeau.float32), (flambeau.int8, flambeau.int64), (flambeau.bool, flambeau.bool)):
        assert flambeau.full((2,), flambeau.ones((), dtype=dtype)).dtype is filled
    with pytest.raises(RuntimeError, match="whole numbers"):
        flambeau.addcdiv(flambeau.ones(2), bytes_, bytes_)


def test_what_does_not_depend_on_a_tensor_gives_it_no_gradient_even_of_an_infinite_one() -> None:
    calls: tuple[Callable, ...] = (
        flambeau.floor,
        flambeau.round,
        flambeau.sign,
        flambeau.sgn,
        flambeau.angle,
        lambda x: flambeau.div(x, 2, rounding_mode="trunc"),
        lambda x: flambeau.copysign(flambeau.tensor([1.0, 2.0, 3.0]), x),
        lambda x: x.clone().fill_(3),
        lambda x: x.clone().copy_(flambeau.ones(3)),
        lambda x: flambeau.pow(x, 0),
        lambda x: flambeau.cummin(flambeau.cat((flambeau.tensor([-9.0]), x)), 0)[0][1:],
    )
    for call in calls:
        x = flambeau.tensor([1.5, -2.0, 0.5], requires_grad=True)
        call(x).backward(flambeau.tensor([INF, NAN, 1.0]))
        assert x.grad.tolist() == [0.0, 0.0, 0.0], call


@pytest.mark.parametrize("dtype", [flambeau.complex64, flambeau.complex128])
def test_the_gradient_of_a_direction_lies_across_it(dtype: flambeau.dtype) -> None:
    z = flambeau.tensor([1 + 7j, 0.1 - 0.3j, 0j], dtype=dtype, requires_grad=True)
    z.sgn().backward(z.detach().sgn() * (1 + 2**-20 * 1j))
    size = z.detach().abs()
    across = z.grad * z.detach().conj() / (1j * size)  # the part along the direction is 0, whatever came back
    assert (across[:2].imag.abs() <= across[:2].real * 1e-6).all()
    assert (across * size)[:2].real.tolist() == pytest.approx([2**-20] * 2, rel=0.2 if dtype is flambeau.complex64 else 1e-9)
    assert z.grad[2].item() == 0


def test_relu_lets_gradients_through_where_it_gives_nan() -> None:
    x = flambeau.tensor([NAN, -1.0, 0.0, 2.0], requires_grad=True)
    flambeau.relu(x).backward(flambeau.tensor([3.0, 3.0, 3.0, 3.0]))
    assert x.grad.tolist() == [3.0, 0.0, 0.0, 3.0]


@pytest.mark.parametrize("function", [flambeau.tril, flambeau.triu])
def test_triangles_lie_row_by_row(function: Callable) -> None:
    images = flambeau.arange(48.0).reshape(2, 2, 3, 4).to(memory_format=flambeau.channels_last)
    found = function(images)
    assert found.is_contiguous() and flambeau.equal(found, function(images.contiguous()))
