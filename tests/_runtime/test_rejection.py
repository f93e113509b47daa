"""Samples made one after another: PyTorch's streams, number for number, and the engine's place after them."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

import flambeau
from flambeau._runtime import rejection
from flambeau._runtime.engine import Engine

CHANCES = np.random.default_rng(7).uniform(0, 1, 4000)
DIGESTS = {  # of what PyTorch 2.13 draws after `manual_seed(11)`, one call after the other
    "float32": ("ddb07e313e59", "69dbd794b8a4", None, None, "7d6fee835c32", "f64a4b4e3d82", "99f9644985a0", None, "88ff0ae8139d", "154d47bf29bc"),
    "float64": ("5e4095ccba5c", "c4490dff1994", None, None, "5f8113f401ce", "b4fac2e75a0c", "99f9644985a0", None, "88ff0ae8139d", "154d47bf29bc"),
}  # fmt: skip
STATE = "e005a1e8bbbe"


def digest(drawn: flambeau.Tensor) -> str:
    return hashlib.sha256(drawn.numpy().tobytes()).hexdigest()[:12]


@pytest.mark.parametrize("name", DIGESTS)
def test_streams_are_pytorch_s(name: str) -> None:
    """Counts to the last bit; what the C library's functions are in shows in the state after it."""
    dtype = getattr(flambeau, name)
    u = flambeau.tensor(CHANCES).to(dtype)
    flambeau.manual_seed(11)
    drawn = [
        flambeau.poisson(u * 12), flambeau.poisson(u * 300), flambeau._standard_gamma(u * 2), flambeau._standard_gamma(u * 300),
        flambeau.binomial((u * 40).floor(), u.flip(0)), flambeau.binomial((u * 90000).floor(), u.flip(0)), flambeau.multinomial(u.view(40, 100), 33, True),
        flambeau.randn(7, dtype=dtype), flambeau.randperm(50), flambeau.randint(-5, 1000003, (333,)),
    ]  # fmt: skip
    for each, expected in zip(drawn, DIGESTS[name], strict=True):
        assert expected is None or digest(each) == expected
    assert digest(flambeau.get_rng_state()) == STATE


GAMMAS = {
    "float32": (
        [1.9211485385894775, 1.682778000831604, 1.2697213888168335, 0.058133333921432495, 0.15829496085643768, 3.455587387084961],
        [192.9898223876953, 267.5236511230469, 240.00296020507812, 65.89051055908203, 96.98662567138672, 265.61700439453125],
    ),
    "float64": (
        [1.9211485257967975, 1.6827780535560342, 1.269721434554496, 0.05813332755282044, 0.15829496795628695, 3.4555873320138297],
        [192.9898093020242, 267.5236350759314, 240.0029510487878, 65.89051640094668, 96.98663135923982, 265.6170016847016],
    ),
}


@pytest.mark.parametrize("name", GAMMAS)
def test_gamma_is_computed_in_the_precision_that_pytorch_has_it_in(name: str) -> None:
    u = flambeau.tensor(CHANCES[:6]).to(getattr(flambeau, name))
    flambeau.manual_seed(3)
    for factor, expected in zip((2, 300), GAMMAS[name], strict=True):
        np.testing.assert_allclose(flambeau._standard_gamma(u * factor).numpy(), expected, rtol=1e-14 if name == "float64" else 1e-8)


def test_poisson_has_pytorch_s_stream() -> None:
    flambeau.manual_seed(0)
    assert flambeau.poisson(flambeau.tensor([0.5, 3.0, 20.0, 100.0, 0.0, 7.0] * 2)).tolist() == [2, 4, 21, 99, 0, 8, 1, 3, 22, 91, 0, 8]


def test_all_of_them_leave_the_stream_where_pytorch_does() -> None:
    flambeau.manual_seed(0)
    flambeau.poisson(flambeau.tensor([0.5, 3.0, 20.0, 100.0, 0.0, 7.0] * 2))
    gamma = flambeau._standard_gamma(flambeau.tensor([0.3, 1.0, 2.5, 50.0, 7.0] * 2))
    np.testing.assert_allclose(
        gamma.numpy(), [1.2351, 1.0806, 2.8431, 58.885, 4.0899, 4.8515e-07, 0.15866, 4.7563, 49.929, 12.846], rtol=1e-4
    )
    binomial = flambeau.binomial(flambeau.tensor([10.0, 100.0, 40.0, 1000.0, 5.0]), flambeau.tensor([0.3, 0.7, 0.5, 0.2, 1.0]))
    assert binomial.tolist() == [3, 66, 22, 191, 5]
    np.testing.assert_allclose(flambeau.rand(2).numpy(), [0.7703, 0.0178], atol=1e-4)
    np.testing.assert_allclose(flambeau.randn(3).numpy(), [3.1110, -0.5788, 0.0177], atol=1e-4)


def test_what_is_no_number_ends() -> None:
    """Rejection of infinities and NaN might go on for ever."""
    nan, inf = math.nan, math.inf
    assert flambeau.poisson(flambeau.tensor([inf, 0.0])).tolist() == [inf, 0]
    gamma = flambeau._standard_gamma(flambeau.tensor([nan, inf, 0.0])).tolist()
    assert math.isnan(gamma[0]) and gamma[1] == inf and 0 < gamma[2] < 1e-37
    found = flambeau.binomial(flambeau.tensor([nan, 3.0, inf, -1.0, 7.0]), flambeau.tensor([0.5, nan, 0.5, 0.5, 2.0])).tolist()
    assert math.isnan(found[0]) and math.isnan(found[1]) and found[2:] == [inf, 0, 7]


@pytest.mark.parametrize("rate", [-1.0, math.nan])
def test_a_rate_that_is_none_is_refused_before_anything_is_drawn(rate: float) -> None:
    flambeau.manual_seed(0)
    before = flambeau.get_rng_state()
    with pytest.raises(RuntimeError, match=f"expected rate to be non-negative, but got {rate:g}"):
        flambeau.poisson(flambeau.tensor([1.0, rate]))
    assert flambeau.equal(flambeau.get_rng_state(), before)


@pytest.mark.parametrize("draw", [flambeau.poisson, flambeau._standard_gamma, lambda x: flambeau.binomial(x, x)])
def test_integers_are_no_parameters(draw) -> None:
    with pytest.raises(RuntimeError, match="expected a floating-point tensor"):
        draw(flambeau.tensor([1, 2]))


@pytest.mark.parametrize("dtype", [flambeau.float16, flambeau.bfloat16])
def test_half_precision_and_shapes(dtype: flambeau.dtype) -> None:
    assert flambeau.poisson(flambeau.full((2, 3), 4.0, dtype=dtype)).dtype is dtype
    assert flambeau.poisson(flambeau.zeros(0, 3)).shape == (0, 3) and flambeau.poisson(flambeau.tensor(3.0)).shape == ()
    rates = flambeau.arange(12.0).view(3, 4).t()
    flambeau.manual_seed(1)
    strided = flambeau.poisson(rates)
    flambeau.manual_seed(1)
    assert flambeau.equal(strided, flambeau.poisson(rates.contiguous()))


def test_weights_of_categories_are_checked() -> None:
    for weights, message in (
        ([0.5, -1.0], "element < 0"),
        ([math.nan, 1.0], "`nan`"),
        ([math.inf, 1.0], "`inf`"),
        ([0.0, 0.0], "sum of probabilities"),
    ):
        with pytest.raises(RuntimeError, match=message):
            flambeau.multinomial(flambeau.tensor([weights, [1.0, 1.0]]), 5, True)
    assert set(flambeau.multinomial(flambeau.tensor([0.0, 1.0, 0.0, 2.0, 0.0]), 300, True).tolist()) == {1, 3}


def test_an_engine_that_drew_nothing_is_untouched() -> None:
    engine, result = Engine(5), np.empty(1)
    rejection.draw(engine, "poisson", "float64", np.zeros(1).ctypes.data, result.ctypes.data, 1)
    assert result[0] == 0 and bytes(engine.get_state()) == bytes(Engine(5).get_state())


def test_gamma_s_gradient_is_that_of_its_quantiles() -> None:
    from scipy.special import gammainc, gammaincinv

    shape, value = np.array([0.3, 1.0, 2.5, 50.0, 300.0]), np.array([0.2, 3.0, 2.0, 60.0, 290.0])
    step = 1e-5
    probability = gammainc(shape, value)
    expected = (gammaincinv(shape + step, probability) - gammaincinv(shape - step, probability)) / (2 * step)
    found = flambeau._ops.rejection.GAMMA_SLOPE(flambeau.from_numpy(shape), flambeau.from_numpy(value))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
