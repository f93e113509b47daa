"""Observers, fake quantization modules and configurations: what they choose, by the formulas in NumPy and by PyTorch's numbers."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.ao import quantization
from flambeau.ao.quantization import observer as observers


def batches() -> list[torch.Tensor]:
    random = np.random.RandomState(0)
    return [torch.from_numpy((random.randn(40, 8) * spread + shift).astype(np.float32)) for spread, shift in ((1, 0), (2, 1), (0.5, -1))]


def watched(observer: torch.nn.Module) -> torch.nn.Module:
    for batch in batches():
        assert observer(batch) is batch
    return observer


def affine(low: np.ndarray, high: np.ndarray, least: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    scale = (high - low) / np.float32(most - least)
    return scale, np.clip(least - np.rint(low / scale), least, most)


def test_min_max_is_affine():
    everything = np.concatenate([batch.numpy() for batch in batches()])
    scale, zero_point = watched(quantization.MinMaxObserver()).calculate_qparams()
    expected = affine(everything.min(), everything.max(), 0, 255)
    assert (scale.item(), zero_point.item()) == (pytest.approx(float(expected[0]), rel=1e-7), int(expected[1]))
    scale, zero_point = watched(quantization.MinMaxObserver(reduce_range=True)).calculate_qparams()
    expected = affine(everything.min(), everything.max(), 0, 127)
    assert (scale.item(), zero_point.item()) == (pytest.approx(float(expected[0]), rel=1e-7), int(expected[1]))


def test_symmetric_scales_have_zero_in_the_middle():
    largest = max(np.abs(batch.numpy()).max() for batch in batches())
    scale, zero_point = watched(quantization.MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)).calculate_qparams()
    assert (scale.item(), zero_point.item()) == (pytest.approx(largest / 127.5, rel=1e-6), 0)
    assert watched(quantization.MinMaxObserver(qscheme=torch.per_tensor_symmetric)).calculate_qparams()[1].item() == 128


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_have_their_own(axis):
    observer = quantization.PerChannelMinMaxObserver(ch_axis=axis)
    observer(batches()[0])
    values = batches()[0].numpy()
    expected = affine(values.min(1 - axis), values.max(1 - axis), 0, 255)
    scale, zero_point = observer.calculate_qparams()
    assert scale.numpy() == pytest.approx(expected[0], rel=1e-6)
    assert np.array_equal(zero_point.numpy(), expected[1])
    assert observer.min_val.shape == (values.shape[axis],)


def test_moving_averages_move():
    observer = quantization.MovingAverageMinMaxObserver(averaging_constant=0.25)
    observer(torch.tensor([-1.0, 3.0]))
    observer(torch.tensor([-5.0, 7.0]))
    assert (observer.min_val.item(), observer.max_val.item()) == (-2.0, 4.0)


def test_histogram_keeps_all_counts_and_cuts_an_outlier():
    observer = watched(quantization.HistogramObserver())
    assert observer.histogram.sum().item() == pytest.approx(3 * 40 * 8)
    everything = np.concatenate([batch.numpy() for batch in batches()])
    assert (observer.min_val.item(), observer.max_val.item()) == (everything.min(), everything.max())
    lone = quantization.HistogramObserver()
    lone(torch.cat([torch.linspace(-1, 1, 1_000_000), torch.tensor([10.0])]))
    scale, zero_point = lone.calculate_qparams()
    assert (scale.item(), zero_point.item()) == (0.007835477590560913, 128)  # PyTorch's; 11 / 255 would hold all


@pytest.mark.parametrize(("seed", "scale", "zero_point"), [(6, 0.05015917494893074, 74), (10, 0.046310536563396454, 69)])
def test_histogram_chooses_the_range_that_pytorch_chooses(seed, scale, zero_point):
    random, observer = np.random.RandomState(seed), quantization.HistogramObserver(reduce_range=True)
    for _ in range(3):
        observer(torch.from_numpy(random.randn(200).astype(np.float32)))
    found = observer.calculate_qparams()
    assert found[0].item() == pytest.approx(scale, rel=3e-7)
    assert found[1].item() == zero_point


def test_histogram_over_a_wider_range_goes_where_numpy_puts_it():
    observer = quantization.HistogramObserver(bins=16)
    first = torch.linspace(0, 1, 64)
    observer(first)
    observer(torch.tensor([4.0]))
    counts = np.zeros(16)
    pieces = np.repeat(np.histogram(first.numpy(), 16, (0, 1))[0], 16) / 16
    middles = np.linspace(0, 1, 257)[:-1] + 0.5 / 256
    np.add.at(counts, np.floor(middles / 0.25).astype(int), pieces)
    counts[15] += 1
    assert observer.histogram.numpy() == pytest.approx(counts)


def test_nothing_observed_is_warned_of():
    with pytest.warns(UserWarning, match="nothing was observed"):
        assert quantization.MinMaxObserver().calculate_qparams()[0].tolist() == [1.0]


def test_arguments_are_given_beforehand():
    made = quantization.default_weight_observer.with_args(reduce_range=True)()
    assert (made.dtype, made.qscheme, made.quant_max) == (torch.qint8, torch.per_tensor_symmetric, 63)
    assert observers.default_observer().quant_max == 127
    with pytest.raises(ValueError, match="holds classes of observers"):
        quantization.QConfig(activation=quantization.MinMaxObserver(), weight=quantization.MinMaxObserver)
    with pytest.raises(AssertionError, match="backend: tpu not supported"):
        quantization.get_default_qconfig("tpu")
    config = quantization.get_default_qconfig
    assert quantization.qconfig_equals(config("x86"), config("fbgemm"))
    assert not quantization.qconfig_equals(config("x86"), config("qnnpack"))


def test_fake_quantize_observes_and_rounds_and_has_switches():
    module = quantization.default_fake_quant()
    x = batches()[0]
    scale = module(x), module.scale.item()
    assert module.zero_point.dtype is torch.int32
    expected = torch.fake_quantize_per_tensor_affine(x, module.scale, module.zero_point, 0, 127)
    assert torch.equal(scale[0], expected)
    module.apply(quantization.disable_observer)
    module(x * 10)
    assert module.scale.item() == scale[1]
    module.apply(quantization.disable_fake_quant)
    assert module(x) is x
    state = module.state_dict()
    again = quantization.default_fake_quant()
    again.load_state_dict(state)
    assert again.scale.item() == scale[1]


def test_state_of_channels_is_loaded_before_they_are_known():
    module = quantization.default_fused_per_channel_wt_fake_quant()
    module(batches()[0][:4])
    again = quantization.default_fused_per_channel_wt_fake_quant()
    again.load_state_dict(module.state_dict())
    assert again.scale.shape == (4,)
    assert torch.equal(again.activation_post_process.min_val, module.activation_post_process.min_val)


@pytest.mark.parametrize(
    "make", [quantization.default_fake_quant, quantization.default_per_channel_weight_fake_quant, quantization.default_fused_act_fake_quant]
)
def test_a_module_may_be_used_twice_before_backward(make):
    module, x = make(), batches()[0][:4].requires_grad_()
    (module(x) + module(x * 3)).sum().backward()
    assert x.grad.shape == (4, 8)
    assert set(x.grad.unique().tolist()) <= {0.0, 1.0, 3.0, 4.0}
