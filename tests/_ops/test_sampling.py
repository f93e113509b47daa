"""Random numbers: what the streams of `tests/_runtime` are made into."""

from __future__ import annotations

import pytest

import flambeau


@pytest.mark.parametrize(("kind", "part"), [("complex64", "float32"), ("complex128", "float64")])
def test_uniform_of_complex_numbers_draws_their_parts(kind, part):
    flambeau.manual_seed(3)
    numbers = flambeau.empty(5, dtype=getattr(flambeau, kind)).uniform_(-2, 1)
    flambeau.manual_seed(3)
    parts = flambeau.empty(5, 2, dtype=getattr(flambeau, part)).uniform_(-2, 1)
    assert flambeau.equal(flambeau.view_as_real(numbers), parts)


def test_filling_leaves_alone_what_others_read() -> None:
    x = flambeau.zeros(1000)
    x.normal_()
    address = x.data_ptr()
    assert x.normal_().data_ptr() == address  # nobody else reads it
    before = x.tolist()
    pending = x + 0
    array = x._array()
    x.normal_()
    assert pending.tolist() == before == array.tolist() != x.tolist()
    shared = x.numpy()
    x.normal_()
    assert shared.tolist() == x.tolist()
    half = x[::2]
    odd = x[1::2].tolist()
    half.fill_(0).uniform_(1, 2)
    assert x[1::2].tolist() == odd
    assert (x[::2] >= 1).all()


def test_small_draws_continue_the_stream() -> None:
    for dtype in (flambeau.float32, flambeau.float64):
        flambeau.manual_seed(3)
        whole = flambeau.rand(4000, dtype=dtype)
        flambeau.manual_seed(3)
        parts = [flambeau.rand(size, dtype=dtype) for size in (1, 0, 7, 992, 1024, 1976)]
        assert flambeau.cat(parts).equal(whole)


def test_chances_belong_to_their_elements_wherever_these_lie() -> None:
    chances = flambeau.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]).t()
    assert flambeau.bernoulli(chances).equal(chances) and flambeau.bernoulli(chances).is_contiguous()
    assert flambeau.empty_like(chances).bernoulli_(chances).equal(chances)
    assert flambeau.empty(3, 2).bernoulli_(chances).equal(chances)


def test_a_permutation_of_a_class_of_pythons() -> None:
    flambeau.manual_seed(0)
    numbers = flambeau.randperm(5)
    flambeau.manual_seed(0)
    assert flambeau.randperm(5, dtype=int).tolist() == numbers.tolist()
    assert flambeau.randperm(5, dtype=float).dtype is flambeau.float64


def test_integers_are_not_drawn_from_real_distributions() -> None:
    with pytest.raises(NotImplementedError, match="int64"):
        flambeau.ones(2, dtype=flambeau.int64).normal_()


@pytest.mark.parametrize("memory_format", [flambeau.contiguous_format, flambeau.channels_last])
@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.bfloat16])
def test_like_another_tensor_is_what_filling_one_gives(dtype: flambeau.dtype, memory_format: flambeau.memory_format) -> None:
    like = flambeau.zeros(2, 3, 4, 5, dtype=dtype).contiguous(memory_format=memory_format)
    for function, fill in ((flambeau.rand_like, flambeau.Tensor.uniform_), (flambeau.randn_like, flambeau.Tensor.normal_)):
        made = function(like, generator=flambeau.Generator().manual_seed(3))
        filled = fill(flambeau.empty_like(like), generator=flambeau.Generator().manual_seed(3))
        assert made.stride() == like.stride() and flambeau.equal(made, filled)


def test_standard_deviations_are_not_negative() -> None:
    for std in (-1.0, flambeau.tensor([-1.0, 1.0])):
        with pytest.raises(RuntimeError, match="std >= 0.0"):
            flambeau.normal(flambeau.zeros(2), std)
