"""What is no tensor, no dtype or no size is refused at the call, by PyTorch's class of error, and before native code sees it."""

from __future__ import annotations

import pytest

import flambeau
from flambeau.nn import functional as F


@pytest.mark.parametrize("wrong", [3, 1.5])
@pytest.mark.parametrize("name", ["exp", "abs", "neg", "relu", "tanh", "sigmoid"])
def test_a_number_is_no_tensor(name, wrong):
    with pytest.raises(TypeError, match=rf"{name}\(\): argument 'input' \(position 1\) must be Tensor, not {type(wrong).__name__}"):
        getattr(flambeau, name)(wrong)


@pytest.mark.parametrize("wrong", [None, "a", 3, [1.0]], ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        F.relu, flambeau.fft.fft, flambeau.fft.irfftn, flambeau.fft.fftshift, flambeau.linalg.det, flambeau.sort,
        lambda x: flambeau.cumsum(x, 0), lambda x: flambeau.cummax(x, 0), lambda x: flambeau.topk(x, 1), flambeau.histc, flambeau.corrcoef,
    ],
)  # fmt: skip
def test_functions_refuse_what_is_no_tensor(call, wrong):
    with pytest.raises(TypeError, match="Tensor|tensor"):
        call(wrong)


@pytest.mark.parametrize("wrong", ["f", "float32", 3, object()], ids=["f", "float32", "3", "object"])
@pytest.mark.parametrize(
    "call",
    [
        lambda dtype: flambeau.zeros(2, dtype=dtype), lambda dtype: flambeau.empty(2, dtype=dtype), lambda dtype: flambeau.ones((2, 3), dtype=dtype),
        lambda dtype: flambeau.full((2,), 1.0, dtype=dtype), lambda dtype: flambeau.arange(3, dtype=dtype), lambda dtype: flambeau.eye(3, dtype=dtype),
        lambda dtype: flambeau.randn_like(flambeau.ones(2), dtype=dtype), lambda dtype: flambeau.empty_like(flambeau.ones(2), dtype=dtype),
    ],
)  # fmt: skip
def test_what_is_no_dtype(call, wrong):
    for _ in range(3):  # native code takes over what was called before
        with pytest.raises(TypeError, match=r"argument 'dtype' must be torch\.dtype, not"):
            call(wrong)


def test_classes_of_python_stand_for_dtypes():
    assert flambeau.zeros(1, dtype=int).dtype is flambeau.int64
    assert flambeau.empty(1, dtype=float).dtype is flambeau.float64


def test_sizes_and_offsets_are_ints():
    for call in (
        lambda: flambeau.diag_embed(flambeau.ones(3, 3), offset=1.5),
        lambda: flambeau.ones(2).diagflat(offset=1.5),
        lambda: flambeau.tril_indices(1.5, 3, 0),
        lambda: flambeau.stft(flambeau.ones(4, 64), n_fft=16, hop_length=1.5, window=flambeau.ones(16), center=False, return_complex=True),
    ):
        with pytest.raises(TypeError, match="must be int"):
            call()


def test_other_words():
    x = flambeau.ones(3)
    with pytest.raises(RuntimeError, match="rounding_mode must be None, 'trunc' or 'floor', but got 'up'"):
        x.div_(2, rounding_mode="up")
    with pytest.raises(TypeError, match="rounding_mode"):
        x.div(2, rounding_mode=3)
    with pytest.raises(TypeError, match="tuple of 2 Tensors"):
        flambeau.cummax(x, 0, out=x)
    with pytest.raises(TypeError, match="norm must be"):
        flambeau.fft.fft(x, norm=3)
    with pytest.raises(RuntimeError, match=r"dims \(=2\)"):
        flambeau.tensordot(x, flambeau.ones(3, 3), dims=2)


def test_the_tape_goes_on_behind_a_refused_call():
    x = flambeau.ones(3) + 1
    with pytest.raises(TypeError):
        flambeau.exp(3)
    assert (x * 2).tolist() == [4, 4, 4]
