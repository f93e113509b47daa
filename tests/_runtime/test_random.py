"""Random numbers. Every expected value here was made by PyTorch 2.13 from the same seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import numpy as np
import pytest

from flambeau._runtime import random
from flambeau._runtime.engine import DEFAULT_SEED, Engine
from flambeau._types import dtype as dt

WEIGHTS = np.arange(1, 41).reshape(2, 20)

# A call, the digest of the bytes that PyTorch draws after manual_seed(1234), and that of the generator's state afterwards.
# fmt: off
STREAMS = [
    ("random.uniform(engine, 3000, dtype=dt.float32)", "47eae6095339", "6be3a956406a"),
    ("random.uniform(engine, 3000, 0.001, 1000.0, dt.float32)", "7b11676a2448", "6be3a956406a"),
    ("random.normal(engine, 7, dtype=dt.float32)", "f9d0e8ffffa7", "91f3950eeca9"),
    ("random.normal(engine, 16, dtype=dt.float32)", "8c34c5ac0384", "8845237a71d2"),
    ("random.normal(engine, 70005, dtype=dt.float32)", "c73527b9ce69", "9e3a09de918c"),
    ("random.normal(engine, 1000, 0.3, 1.7, dt.float32)", "6147b92cc77a", "c86dfa1dc8fb"),
    ("random.normal(engine, 40, 0.3, 1.7, dt.float32, serial=True)", "39f76c573345", "b6c413e2445a"),
    ("random.log_normal(engine, 50, 0.1, 0.5, dt.float32)", "2bfdd1c3e15d", "23530b007d78"),
    ("random.exponential(engine, 1000, 0.7, dt.float32)", "91b2ecd6a48d", "27d196477fce"),
    ("random.cauchy(engine, 1000, 0.3, 1.7, dt.float32)", "cba726ada20d", "27d196477fce"),
    ("random.uniform(engine, 3000, dtype=dt.float64)", "6b5661182f4a", "40d6dd4a29a0"),
    ("random.uniform(engine, 3000, 0.001, 1000.0, dt.float64)", "8b9261dee203", "40d6dd4a29a0"),
    ("random.normal(engine, 7, dtype=dt.float64)", "ef43d6b700ec", "91f3950eeca9"),
    ("random.uniform(engine, 3000, dtype=dt.float16)", "2bd655f8f291", "6be3a956406a"),
    ("random.uniform(engine, 3000, 0.001, 1000.0, dt.float16)", "c847cd81bba8", "6be3a956406a"),
    ("random.normal(engine, 7, dtype=dt.float16)", "b0afddfdb990", "91f3950eeca9"),
    ("random.normal(engine, 16, dtype=dt.float16)", "b3e1758d4709", "8845237a71d2"),
    ("random.normal(engine, 70005, dtype=dt.float16)", "0304b486f6cc", "e4880599f21d"),
    ("random.normal(engine, 1000, 0.3, 1.7, dt.float16)", "22c12e7d407f", "0d8493a34192"),
    ("random.normal(engine, 40, 0.3, 1.7, dt.float16, serial=True)", "d21a62b8680a", "b6c413e2445a"),
    ("random.log_normal(engine, 50, 0.1, 0.5, dt.float16)", "26410307c59d", "23530b007d78"),
    ("random.exponential(engine, 1000, 0.7, dt.float16)", "42aff6b06f3c", "27d196477fce"),
    ("random.cauchy(engine, 1000, 0.3, 1.7, dt.float16)", "984093d74b44", "27d196477fce"),
    ("random.uniform(engine, 3000, dtype=dt.bfloat16)", "7dc917b0c060", "6be3a956406a"),
    ("random.uniform(engine, 3000, 0.001, 1000.0, dt.bfloat16)", "3a395c1f11ea", "6be3a956406a"),
    ("random.normal(engine, 7, dtype=dt.bfloat16)", "80820f6d6567", "91f3950eeca9"),
    ("random.normal(engine, 16, dtype=dt.bfloat16)", "5bb38bd26929", "8845237a71d2"),
    ("random.normal(engine, 70005, dtype=dt.bfloat16)", "a5a52a2f767e", "e4880599f21d"),
    ("random.normal(engine, 1000, 0.3, 1.7, dt.bfloat16)", "a7d3c28d66c9", "0d8493a34192"),
    ("random.normal(engine, 40, 0.3, 1.7, dt.bfloat16, serial=True)", "fef2c81a63a2", "b6c413e2445a"),
    ("random.log_normal(engine, 50, 0.1, 0.5, dt.bfloat16)", "f0acec8439ff", "23530b007d78"),
    ("random.exponential(engine, 1000, 0.7, dt.bfloat16)", "956b6b37492d", "27d196477fce"),
    ("random.cauchy(engine, 1000, 0.3, 1.7, dt.bfloat16)", "9ccdcea2f57a", "27d196477fce"),
    ("random.geometric(engine, 1000, 0.2, dt.float32)", "ddcefd41cdc4", "27d196477fce"),
    ("random.geometric(engine, 1000, 0.2, dt.int64)", "d3df1738277c", "27d196477fce"),
    ("random.geometric(engine, 1000, 0.2, dt.uint8)", "af865e794cad", "27d196477fce"),
    ("random.integers(engine, 2000, 0, 10, dt.int64)", "35a6dc19c639", "27d196477fce"),
    ("random.integers(engine, 2000, -5, 268435450, dt.int64)", "aea8e0996f71", "27d196477fce"),
    ("random.integers(engine, 2000, -5, 268435451, dt.int64)", "ebda4b5c8b3e", "c258ac409be9"),
    ("random.integers(engine, 2000, -9223372036854775808, 9223372036854775807, dt.int64)", "5b95e478c98d", "c258ac409be9"),
    ("random.integers(engine, 2000, 0, 255, dt.uint8)", "209acfde55b2", "27d196477fce"),
    ("random.integers(engine, 2000, 0, 2, dt.bool)", "f121cdad2cb5", "27d196477fce"),
    ("random.integers(engine, 2000, -7, 8, dt.float32)", "ce8f7e1eda0d", "27d196477fce"),
    ("random.integers(engine, 2000, 0, 3000, dt.float16)", "e7e5c7b2c18b", "27d196477fce"),
    ("random.integers(engine, 2000, -300, 300, dt.bfloat16)", "d961b00a6199", "27d196477fce"),
    ("random.integers(engine, 2000, 1, 1099511627776, dt.float64)", "e86a56f47217", "c258ac409be9"),
    ("random.full_range(engine, 2000, dt.int64)", "ff5c92abfb76", "c258ac409be9"),
    ("random.full_range(engine, 2000, dt.int32)", "d44584c151bd", "27d196477fce"),
    ("random.full_range(engine, 2000, dt.int8)", "29402aea38f9", "27d196477fce"),
    ("random.full_range(engine, 2000, dt.uint8)", "acb42c5cbba8", "27d196477fce"),
    ("random.full_range(engine, 2000, dt.bool)", "f121cdad2cb5", "27d196477fce"),
    ("random.full_range(engine, 2000, dt.float32)", "de95ac298319", "27d196477fce"),
    ("random.full_range(engine, 2000, dt.float64)", "e85e6fb540dd", "c258ac409be9"),
    ("random.full_range(engine, 2000, dt.float16)", "416d58d4067b", "27d196477fce"),
    ("random.full_range(engine, 2000, dt.bfloat16)", "a751e711c742", "27d196477fce"),
    ("random.bernoulli(engine, 3000, 0.0)", "c81ca5eda594", "40d6dd4a29a0"),
    ("random.bernoulli(engine, 3000, 0.3)", "83a53360671c", "40d6dd4a29a0"),
    ("random.bernoulli(engine, 3000, 0.5)", "e7bdecf0bc53", "40d6dd4a29a0"),
    ("random.bernoulli(engine, 3000, 1.0)", "003164e6603f", "40d6dd4a29a0"),
    ("random.bernoulli(engine, 100, np.arange(100, dtype=np.float32) / 100)", "0dc91826a4f8", "23530b007d78"),
    ("random.bernoulli(engine, 100, np.arange(100) / 100)", "81701e03584f", "4b27b7fa88e4"),
    ("random.permutation(engine, 0, dt.int64)", "e3b0c44298fc", "de89fdb4ebc4"),
    ("random.permutation(engine, 1, dt.int64)", "af5570f5a181", "de89fdb4ebc4"),
    ("random.permutation(engine, 2, dt.int64)", "4cbbd8ca5215", "4f147eff6971"),
    ("random.permutation(engine, 1000, dt.int64)", "ae8ae77dccd2", "6dd78b9bd374"),
    ("random.permutation(engine, 20000, dt.int32)", "1f5f18354aed", "3d41f89a92e7"),
    ("random.permutation(engine, 100, dt.float32)", "814d3ffefe38", "e46faf1cd3d9"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float32), 1, False, dt.float32)", "8aa3f735b0b3", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float32), 7, False, dt.float32)", "9464a248883f", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float32), 20, False, dt.float32)", "53a2aaa5e54d", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float32), 1, True, dt.float32)", "8aa3f735b0b3", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float32), 30, True, dt.float32)", "285986ab0cf2", "33e66c1a44c8"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float64), 1, False, dt.float64)", "8aa3f735b0b3", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float64), 7, False, dt.float64)", "9464a248883f", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float64), 20, False, dt.float64)", "53a2aaa5e54d", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float64), 1, True, dt.float64)", "8aa3f735b0b3", "b6c413e2445a"),
    ("random.multinomial(engine, WEIGHTS.astype(np.float64), 30, True, dt.float64)", "285986ab0cf2", "33e66c1a44c8"),
]
# fmt: on


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@pytest.mark.parametrize(("call", "samples", "state"), STREAMS, ids=[call for call, _, _ in STREAMS])
def test_streams_are_pytorchs(call: str, samples: str, state: str) -> None:
    engine = Engine(1234)
    drawn = eval(call, {"random": random, "engine": engine, "np": np, "dt": dt, "WEIGHTS": WEIGHTS})
    assert digest(drawn.tobytes()) == samples
    assert digest(engine.get_state().tobytes()) == state


# fmt: off
FLOAT64 = {
    "normal": (lambda engine: random.normal(engine, 20, 0.5, 2.0, dt.float64), [
        0.3233798412245416, 1.1840975080071263, 1.3223361129083862, 2.510229991670488, 1.7005840277053843, -1.2537560832157741,
        2.42979182667385, 0.1148846737626934, 0.7296301842487385, 0.10960113403868194, -0.5429097561870018, 2.243694859104507,
        -0.6220695461599486, 0.8800248416060782, 0.16807036488219002, 2.3213241815038437, -0.2320229503860084, 0.6705311064304306,
        2.501165619278433, 0.30767163031600314,
    ]),
    "exponential": (lambda engine: random.exponential(engine, 20, 0.7, dt.float64), [
        0.37678521054628633, 0.11718289558909029, 0.8973147563425902, 0.7644046987001318, 0.7071905842154173, 0.4489300983688342,
        0.31664237591123867, 0.3812156256408481, 0.4484125422265877, 3.440662693595517, 2.3708280902121723, 0.05537003577245236,
        1.8815705882024354, 1.3589344414100044, 0.45656042303643196, 0.5716746015399103, 0.539070765302482, 0.31483579286751545,
        1.97424939708117, 1.496350657931425,
    ]),
    "log_normal": (lambda engine: random.log_normal(engine, 20, 0.1, 0.5, dt.float64), [
        1.1309581920167768, 1.3514815200215713, 0.6664670693623205, 1.231667715765739, 0.8137219493587035, 1.4216318006551356,
        1.2404613991746414, 1.5628931279489184, 0.9671223344033332, 3.2845606423220635, 1.1630764993292895, 0.9709261707348535,
        1.0228059672959031, 0.5569418308566089, 1.0346257708464124, 1.7201644419556814, 0.9699231798579556, 1.4996151947610954,
        1.0997455547722395, 0.535973709649394,
    ]),
    "cauchy": (lambda engine: random.cauchy(engine, 20, 0.3, 1.7, dt.float64), [
        -1.6060178195234438, -6.430338658432217, 0.11991602157695912, -0.16863127108028134, -0.30932748236655366, -1.201940399193427,
        -2.0584336327506856, -1.5775829873329652, -1.2044588406250292, 6.154639699159028, 2.7977770987301995, -13.865877679116586,
        1.8186929608325928, 0.9347202263831234, -1.1653373671131015, -0.7068527361614428, -0.8218694195328212, -2.0743397914189883,
        1.9884788283924872, 1.160598117835756,
    ]),
}
# fmt: on


@pytest.mark.parametrize("name", FLOAT64)
def test_float64_is_pytorchs_up_to_the_c_library(name: str) -> None:
    """PyTorch uses the C library's log, sin, …, whose last bit differs from release to release."""
    draw, expected = FLOAT64[name]
    np.testing.assert_allclose(draw(Engine(1234)), expected, rtol=4e-16, atol=4e-16)


def test_famous_numbers() -> None:
    assert np.round(random.uniform(Engine(0), 3), 4).tolist() == pytest.approx([0.4963, 0.7682, 0.0885])
    assert np.round(random.normal(Engine(0), 3), 4).tolist() == pytest.approx([1.5410, -0.2934, -2.1788])
    engine = Engine(0)
    assert random.integers(engine, 5, 0, 10).tolist() == [4, 9, 3, 0, 3]
    assert random.permutation(engine, 6).tolist() == [3, 0, 5, 4, 2, 1]


# ----------------------------------------------------------------------------------------------------- the engine


def test_a_left_over_normal_sample_is_kept_and_saved() -> None:
    engine = Engine(5)
    random.normal(engine, 3)
    state = engine.get_state()
    assert digest(state.tobytes()) == "b4d410285f91"
    expected = [0.6675243015344896, -0.19741509323400558]
    assert random.normal(engine, 2, dtype=dt.float64).tolist() == pytest.approx(expected, rel=1e-15)
    other = Engine()
    other.set_state(state)
    assert random.normal(other, 2, dtype=dt.float64).tolist() == pytest.approx(expected, rel=1e-15)
    other.set_state(state)
    other.manual_seed(5)  # forgets it
    assert other.next_normal is None


@pytest.mark.parametrize("drawn", [0, 1, 623, 624, 625, 1247, 1248, 5000])
def test_states_continue_the_stream(drawn: int) -> None:
    engine, other = Engine(9), Engine(1)
    engine.words32(drawn)
    other.set_state(engine.get_state())
    assert other.initial_seed() == 9
    assert (other.get_state() == engine.get_state()).all()
    assert (other.words32(2000) == engine.words32(2000)).all()


@pytest.mark.parametrize("split", [1, 7, 1000, 1500, 4000])
def test_pieces_make_the_same_stream(split: int) -> None:
    whole, pieces = Engine(3), Engine(3)
    assert (whole.words32(6000) == np.concatenate([pieces.words32(split), pieces.words32(6000 - split)])).all()
    words = whole.words64(2000).tolist()
    assert words == [*pieces.words64(split // 2).tolist(), *pieces.words64(2000 - split // 2).tolist()][:2000]
    assert whole.random() == pieces.random() and whole.random64() == pieces.random64()


def test_words_of_64_bits_are_two_of_32() -> None:
    for n in (3, 3000):
        halves = Engine(2).words32(2 * n).astype(np.uint64)
        assert (Engine(2).words64(n) == (halves[::2] << np.uint64(32) | halves[1::2])).all()


def test_seeds() -> None:
    assert Engine().initial_seed() == DEFAULT_SEED == 67280421310721
    engine = Engine(-1)
    assert engine.initial_seed() == 2**64 - 1
    first = engine.random()
    engine.manual_seed(2**32 - 1)  # only 32 bits of a seed are used
    assert engine.random() == first
    seeds = {engine.seed() for _ in range(4)}
    assert len(seeds) == 4 and engine.initial_seed() in seeds
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="Overflow when unpacking long long"):
            engine.manual_seed(seed)


def test_a_clone_is_independent() -> None:
    engine = Engine(4)
    random.normal(engine, 3)
    clone = engine.clone()
    assert (clone.get_state() == engine.get_state()).all()
    engine.words32(10)
    assert (clone.words32(10) != engine.words32(10)).any()


def test_states_that_are_none() -> None:
    engine = Engine()
    with pytest.raises(TypeError, match="must be a tensor of dtype uint8"):
        engine.set_state(np.zeros(5056, np.float32))
    with pytest.raises(RuntimeError, match="has 5056 bytes, but the given one has 8"):
        engine.set_state(np.zeros(8, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        engine.set_state(np.zeros(5056, np.uint8))


# ------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda engine: random.uniform(engine, 3, 2.0, 1.0), r"uniform_ expects to return a \[from, to\) range, but found from=2 > to=1"),
        (lambda engine: random.uniform(engine, 3, 0.0, 1e6, dt.float16), r"to is out of bounds for float16: .* but got 1e\+06"),
        (lambda engine: random.uniform(engine, 3, -6e4, 6e4, dt.float16), "uniform_ expects to - from <= 65504 for float16"),
        (lambda engine: random.uniform(engine, 3, float("nan")), "from is out of bounds"),
        (lambda engine: random.normal(engine, 3, 0.0, -1.0), "normal expects std >= 0.0, but found std -1"),
        (lambda engine: random.log_normal(engine, 3, 0.0, 0.0), "log_normal_ expects std > 0.0, but found std=0"),
        (lambda engine: random.exponential(engine, 3, 0.0), "exponential_ expects lambda > 0.0, but found lambda=0"),
        (lambda engine: random.cauchy(engine, 3, 0.0, 0.0), "cauchy_ expects sigma > 0.0, but found sigma=0"),
        (lambda engine: random.geometric(engine, 3, 1.0), r"geometric_ expects p to be in \(0, 1\), but got p=1"),
        (lambda engine: random.integers(engine, 3, 5, 5), "random_ expects 'from' to be less than 'to', but got from=5 >= to=5"),
        (
            lambda engine: random.integers(engine, 3, 0, 257, dt.uint8),
            r"to - 1 is out of bounds for uint8: expected \[0, 255\], but got 256",
        ),
        (lambda engine: random.integers(engine, 3, -1, 2, dt.uint8), "from is out of bounds for uint8"),
        (lambda engine: random.bernoulli(engine, 3, 1.5), r"bernoulli_ expects p to be in \[0, 1\], but got p=1.5"),
        (lambda engine: random.bernoulli(engine, 2, np.array([0.5, np.nan])), r"all probabilities to be in \[0, 1\], but found nan"),
        (lambda engine: random.permutation(engine, 300, dt.int8), "n cannot be greater than 128 for int8 type, but got 300"),
        (lambda engine: random.multinomial(engine, np.ones((1, 1, 1)), 1), "prob_dist must be 1 or 2 dim, but got 3"),
        (lambda engine: random.multinomial(engine, np.ones(3), 0), "cannot sample n_sample <= 0 samples"),
        (lambda engine: random.multinomial(engine, np.ones(3), 4), r"cannot sample n_sample > prob_dist.size\(-1\) samples"),
        (lambda engine: random.multinomial(engine, np.array([1.0, -1.0]), 1), "either `inf`, `nan` or element < 0"),
        (lambda engine: random.multinomial(engine, np.array([1.0, np.inf]), 1, True), "either `inf`, `nan` or element < 0"),
        (lambda engine: random.multinomial(engine, np.zeros((2, 2)), 1), r"sum of probabilities <= 0"),
    ],
)
def test_arguments_out_of_range(call: Callable[[Engine], np.ndarray], message: str) -> None:
    engine = Engine(1)
    before = engine.get_state()
    with pytest.raises(RuntimeError, match=message):
        call(engine)
    assert (engine.get_state() == before).all()


@pytest.mark.parametrize("draw", [random.uniform, random.normal, random.log_normal, random.exponential, random.cauchy])
def test_real_numbers_need_a_floating_dtype(draw: Callable[..., np.ndarray]) -> None:
    for dtype in (dt.int64, dt.bool, dt.complex64):
        with pytest.raises(NotImplementedError, match=f"_ is not implemented for {dtype.name}"):
            draw(Engine(), 3, dtype=dtype)


def test_the_excluded_bound_is_never_drawn() -> None:
    for dtype in (dt.float16, dt.bfloat16):
        samples = random.uniform(Engine(0), 100_000, dtype=dtype)
        values = samples if dtype is dt.float16 else (samples.astype(np.uint32) << np.uint32(16)).view(np.float32)
        assert 0.99 < values.max() < 1 and values.min() >= 0
    assert random.uniform(Engine(0), 5, 3.0, 3.0).tolist() == [3.0] * 5


def test_zero_weights_are_not_drawn() -> None:
    weights = np.array([0, 1, 0, 2, 0, 0, 3], np.float32)
    assert set(random.multinomial(Engine(0), weights, 500, True).tolist()) == {1, 3, 6}
    assert sorted(random.multinomial(Engine(0), weights, 3).tolist()) == [1, 3, 6]


def test_a_permutation_of_very_many() -> None:
    """PyTorch's other algorithm, from 2**32 / 20 elements on: here it is made to start at three."""
    engine, other = Engine(7), Engine(7)
    order: list[int] = []
    for place in range(50):
        other_place = other.random64() % (place + 1)
        order.append(place)
        order[place], order[other_place] = order[other_place], place
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "_LARGE_PERMUTATION", 3)
        assert random.permutation(engine, 50).tolist() == order


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64])
@pytest.mark.parametrize("n", [1, 5, 15, 16, 17, 40, 33_000])
def test_what_is_written_to_memory_is_what_arrays_hold(n: int, dtype: dt.dtype) -> None:
    one, other = Engine(n), Engine(n)
    for _ in range(2):
        found = np.empty(n, dtype.numpy)
        random.write_normal(one, found.ctypes.data, n, 2.0, 3.0, dtype)
        np.testing.assert_array_equal(found, random.normal(other, n, 2.0, 3.0, dtype))
        numbers = np.empty(n, np.int64)
        random.write_integers(one, numbers.ctypes.data, n, -7, 1000)
        np.testing.assert_array_equal(numbers, random.integers(other, n, -7, 1000))
    np.testing.assert_array_equal(one.get_state(), other.get_state())
    assert random.has_short_range(-7, 1000)
    assert not any(random.has_short_range(*bounds) for bounds in [(0, 1 << 28), (5, 5), (1 << 53, (1 << 53) + 9)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork_while_another_thread_draws(python: Callable[..., str]) -> None:
    """A child's generator is between two draws, never within one."""
    output = python(
        """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about any fork beside threads
import flambeau
flambeau.rand(1_000_000)
stop = False
def work():
    while not stop:
        flambeau.rand(1_000_000)
thread = threading.Thread(target=work)
thread.start()
endings = []
for child in range(20):
    pid = os.fork()
    if pid == 0:
        state = flambeau.get_rng_state()
        numbers = flambeau.rand(1000)
        flambeau.set_rng_state(state)  # which refuses a position that is none
        os._exit(0 if flambeau.equal(numbers, flambeau.rand(1000)) else 1)
    endings.append(os.waitpid(pid, 0)[1])
stop = True
thread.join()
print(endings)
"""
    )
    assert output.strip() == str([0] * 20)
