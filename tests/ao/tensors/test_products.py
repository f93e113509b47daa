"""Products of quantized tensors, to the last step, against integer arithmetic in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.ao.nn.quantized import Conv1d, Conv2d, ConvTranspose2d, Linear, dynamic, functional
from flambeau.ao.tensors.products import EXACT, LARGEST, Packed

f32 = np.float32


def quantized_pair(k: int, n: int, per_channel: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(k + n)
    x = torch.quantize_per_tensor(torch.from_numpy(random.randn(5, k).astype(f32)), 0.05, 60, torch.quint8)
    w = torch.from_numpy((random.randn(n, k) * 0.1).astype(f32))
    if per_channel:
        scales = torch.from_numpy(random.uniform(0.001, 0.004, n))
        weight = torch.quantize_per_channel(w, scales, torch.zeros(n, dtype=torch.int64), 0, torch.qint8)
    else:
        weight = torch.quantize_per_tensor(w, 0.0031, 2, torch.qint8)
    return x, weight, torch.from_numpy(random.randn(n).astype(f32))


def scale_of(weight: torch.Tensor) -> np.ndarray:
    if weight.qscheme() is torch.per_tensor_affine:
        return f32(weight.q_scale())
    return weight.q_per_channel_scales().numpy().astype(f32)


def integers(tensor: torch.Tensor) -> np.ndarray:
    zero_point = tensor.q_zero_point() if tensor.qscheme() is torch.per_tensor_affine else 0
    return tensor.int_repr().numpy().astype(np.int64) - zero_point


def requantized(sums: np.ndarray, bias: np.ndarray, step: np.ndarray, scale: float, zero_point: int, low: int = 0) -> np.ndarray:
    return np.clip(np.rint((sums.astype(f32) + bias / step) * (step / f32(scale))) + f32(zero_point), low, 255)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (37, 5), (700, 16), (9000, 3)])
def test_linear_is_integer_arithmetic(k, n, per_channel):
    x, weight, bias = quantized_pair(k, n, per_channel)
    layer = Linear(k, n)
    layer.set_weight_bias(weight, bias)
    layer.scale, layer.zero_point = 0.07, 55
    sums = integers(x) @ integers(weight).T
    expected = requantized(sums, bias.numpy(), f32(0.05) * scale_of(weight), 0.07, 55)
    assert np.array_equal(layer(x).int_repr().numpy(), expected)
    assert torch.equal(functional.linear(x, weight, bias, 0.07, 55), layer(x))


def test_sums_too_large_for_float32_are_exact():
    """All terms are as large as they can be: 255 * 127 each, and so are the sums that float32 just has not."""
    for k, dtype in ((EXACT // (LARGEST * 127), torch.float32), (EXACT // (LARGEST * 127) + 1, torch.float64), (4097, torch.float64)):
        x = torch.quantize_per_tensor(torch.full((2, k), 255.0), 1.0, 0, torch.quint8)
        weight = torch.quantize_per_tensor(torch.full((3, k), 127.0), 1.0, 0, torch.qint8)
        packed = Packed(weight, None)
        assert packed.numbers().dtype is dtype
        sums = packed.sums(x.int_repr().float(), torch.nn.functional.linear)
        assert sums.unique().tolist() == [float(f32(k * 255 * 127))]


def test_windows_too_large_for_float32_are_exact():
    """One channel with a long window, so that no channels can be told apart."""
    x = torch.quantize_per_tensor(torch.full((1, 1, 1301), 255.0), 1.0, 0, torch.quint8)
    weight = torch.quantize_per_tensor(torch.full((1, 1, 1301), 127.0), 1.0, 0, torch.qint8)
    layer = Conv1d(1, 1, 1301, bias=False)
    layer.set_weight_bias(weight, None)
    layer.scale = 1301 * 255 * 127 / 200
    assert layer(x).int_repr().tolist() == [[[200]]]
    assert layer._packed_params.numbers().dtype is torch.float64


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_convolution_is_integer_arithmetic(groups, per_channel):
    random = np.random.RandomState(groups)
    x = torch.quantize_per_tensor(torch.from_numpy(random.randn(2, 8, 7, 9).astype(f32)), 0.05, 60, torch.quint8)
    w = torch.from_numpy((random.randn(16, 8 // groups, 3, 3) * 0.1).astype(f32))
    if per_channel:
        scales = torch.from_numpy(random.uniform(0.001, 0.004, 16))
        weight = torch.quantize_per_channel(w, scales, torch.zeros(16, dtype=torch.int64), 0, torch.qint8)
    else:
        weight = torch.quantize_per_tensor(w, 0.0031, 0, torch.qint8)
    bias = torch.from_numpy(random.randn(16).astype(f32))
    layer = Conv2d(8, 16, 3, stride=2, padding=1, groups=groups)
    layer.set_weight_bias(weight, bias)
    layer.scale, layer.zero_point = 0.03, 60
    exact = torch.from_numpy(integers(x)).double(), torch.from_numpy(integers(weight)).double()
    sums = torch.nn.functional.conv2d(*exact, stride=2, padding=1, groups=groups).numpy()
    step = f32(0.05) * scale_of(weight)
    step = step[:, None, None] if per_channel else step
    result = layer(x)
    assert np.array_equal(result.int_repr().numpy(), requantized(sums, bias.numpy()[:, None, None], step, 0.03, 60))
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_other_convolutions():
    random = np.random.RandomState(0)
    signal = torch.quantize_per_tensor(torch.from_numpy(random.randn(2, 4, 11).astype(f32)), 0.05, 60, torch.quint8)
    weight = torch.quantize_per_tensor(torch.from_numpy(random.randn(6, 4, 3).astype(f32)), 0.02, 0, torch.qint8)
    layer = Conv1d(4, 6, 3, dilation=2, bias=False)
    layer.set_weight_bias(weight, None)
    layer.scale, layer.zero_point = 0.2, 100
    real = torch.nn.functional.conv1d(signal.dequantize(), weight.dequantize(), dilation=2)
    assert (layer(signal).dequantize() - real).abs().max().item() <= 0.1001
    image = torch.quantize_per_tensor(torch.from_numpy(random.randn(2, 4, 5, 5).astype(f32)), 0.05, 60, torch.quint8)
    weight = torch.quantize_per_tensor(torch.from_numpy(random.randn(4, 6, 3, 3).astype(f32)), 0.02, 0, torch.qint8)
    layer = ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, bias=False)
    layer.set_weight_bias(weight, None)
    layer.scale, layer.zero_point = 0.2, 100
    real = torch.nn.functional.conv_transpose2d(image.dequantize(), weight.dequantize(), stride=2, output_padding=1)
    assert (layer(image).dequantize() - real.clamp(-20, 31)).abs().max().item() <= 0.1001


@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_linear_is_integer_arithmetic(per_channel):
    _, weight, bias = quantized_pair(64, 9, per_channel)
    x = torch.from_numpy(np.random.RandomState(3).randn(4, 64).astype(f32))
    layer = dynamic.Linear(64, 9)
    layer.set_weight_bias(weight, bias)
    numbers = torch.quantize_per_tensor_dynamic(x, torch.quint8, True)
    sums = (integers(numbers) @ integers(weight).T).astype(np.float64)
    step = (f32(numbers.q_scale()) * scale_of(weight)).astype(np.float64)
    assert np.array_equal(layer(x).numpy(), (sums * step + bias.numpy()).astype(f32))
    assert layer(x.reshape(2, 2, 64)).shape == (2, 2, 9)
    with pytest.raises(
        RuntimeError, match=r"an input of shape \[4, 60\] has 60 features \(channels\), and the weight of shape \[9, 64\] is for 64"
    ):
        layer(x[:, :60])


def both_ways(layer, input):
    """The result, which has to be the same without dot products of bytes."""
    result = layer(input)
    result = result.int_repr() if result.is_quantized else result
    layer._packed_params._bytes = ()
    without = layer(input)
    assert torch.equal(without.int_repr() if without.is_quantized else without, result)
    return result


@pytest.mark.parametrize("zero_point", [0, 60, 255])
@pytest.mark.parametrize("k", [1, 37, 64, 702])
def test_linear_maps_are_the_same_without_dot_products_of_bytes(k, zero_point):
    random = np.random.RandomState(k)
    _, weight, bias = quantized_pair(k, 21, True)
    for rows in (1, 33):
        real = torch.from_numpy(random.randn(rows + 1, k + 3).astype(f32))
        for layer, input in (
            (Linear(k, 21), torch.quantize_per_tensor(real, 0.03, zero_point, torch.quint8)[1:, 1 : k + 1]),
            (dynamic.Linear(k, 21), real[1:, 1 : k + 1]),
        ):
            layer.set_weight_bias(weight, bias)
            layer.scale, layer.zero_point = 0.07, 55
            both_ways(layer, input)


@pytest.mark.parametrize("zero_point", [0, 60, 255])
@pytest.mark.parametrize(
    ("channels", "groups", "options"),
    [
        (8, 1, {}),
        (18, 1, {"padding": 1}),
        (16, 2, {"padding": 1, "stride": 2}),
        (8, 1, {"padding": "same", "dilation": 2}),
        (6, 2, {}),
        (3, 1, {}),
    ],
)
def test_convolutions_are_the_same_without_dot_products_of_bytes(channels, groups, options, zero_point):
    random = np.random.RandomState(0)
    x = torch.quantize_per_tensor(torch.from_numpy(random.randn(2, channels, 9, 8).astype(f32)), 0.03, zero_point, torch.quint8)
    layer = Conv2d(channels, 40, 3, groups=groups, **options)
    w = torch.from_numpy(random.randn(40, channels // groups, 3, 3).astype(f32) * 0.1)
    layer.set_weight_bias(torch.quantize_per_tensor(w, 0.003, 0, torch.qint8), torch.from_numpy(random.randn(40).astype(f32)))
    layer.scale, layer.zero_point = 0.05, 50
    both_ways(layer, x)


def test_weights_that_are_no_bytes_are_multiplied_otherwise():
    """Minus their zero point some weights are beyond a byte; their sums are right all the same."""
    weight = torch.quantize_per_tensor(torch.tensor([[-148.0, 100.0, 107.0]]), 1.0, 20, torch.qint8)
    packed = Packed(weight, None)
    assert packed.bytes() == ()
    layer = Linear(3, 1, bias_=False)
    layer.set_weight_bias(weight, None)
    assert layer(torch.quantize_per_tensor(torch.tensor([[1.0, 2.0, 0.0]]), 1.0, 0, torch.quint8)).int_repr().item() == 52


def test_looking_in_between_changes_nothing():
    x, weight, bias = quantized_pair(37, 5, True)
    layer = Linear(37, 5)
    layer.set_weight_bias(weight, bias)
    layer.scale, layer.zero_point = 0.07, 55
    at_once = torch.nn.functional.relu(layer(x)).dequantize()
    step = layer(x)
    step.int_repr().tolist()
    step = torch.nn.functional.relu(step)
    step.int_repr().tolist()
    assert torch.equal(at_once, step.dequantize())
