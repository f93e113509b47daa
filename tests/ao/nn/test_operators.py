"""``torch.ops.quantized``: the same as the layers compute."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.ao.nn import quantized

operators = torch.ops.quantized


@pytest.fixture
def weight():
    return torch.quantize_per_tensor(torch.randn(6, 4), 0.02, 0, torch.qint8)


def test_linear(weight):
    torch.manual_seed(0)
    x, bias = torch.randn(3, 4), torch.randn(6)
    packed = operators.linear_prepack(weight, bias)
    layer = quantized.Linear(4, 6)
    layer.set_weight_bias(weight, bias)
    layer.scale, layer.zero_point = 0.05, 30
    integers = torch.quantize_per_tensor(x, 0.03, 60, torch.quint8)
    assert torch.equal(operators.linear(integers, packed, 0.05, 30), layer(integers))
    assert torch.equal(operators.linear_relu.default(integers, packed, 0.05, 30), layer(integers).relu())
    dynamic = quantized.dynamic.Linear(4, 6)
    dynamic.set_weight_bias(weight, bias)
    assert torch.equal(operators.linear_dynamic(x, packed, True), dynamic(x))
    assert torch.equal(operators.linear_unpack(packed)[0], weight)
    assert str(operators.linear) == "quantized.linear" and repr(operators.linear) == "<OpOverloadPacket(op='quantized.linear')>"


def test_convolution_and_arithmetic():
    torch.manual_seed(0)
    weight = torch.quantize_per_tensor(torch.randn(6, 4, 3, 3), 0.02, 0, torch.qint8)
    x = torch.quantize_per_tensor(torch.randn(2, 4, 5, 5), 0.03, 60, torch.quint8)
    packed = operators.conv2d_prepack(weight, None, [1, 1], [1, 1], [1, 1], 1)
    layer = quantized.Conv2d(4, 6, 3, padding=1, bias=False)
    layer.set_weight_bias(weight, None)
    layer.scale, layer.zero_point = 0.05, 30
    y = operators.conv2d(x, packed, 0.05, 30)
    assert torch.equal(y, layer(x))
    assert torch.equal(operators.add(y, y, 0.1, 30), operators.cat([operators.add(y, y, 0.1, 30)], 0))
    assert (operators.add(y, y, 0.1, 30).dequantize() - 2 * y.dequantize()).abs().max().item() <= 0.0501
    assert torch.equal(operators.add_relu(y, y, 0.1, 30), operators.add(y, y, 0.1, 30).relu())
    assert operators.mul(y, 2.0).q_scale() == pytest.approx(0.1)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        operators.nothing  # noqa: B018


def test_normalization():
    torch.manual_seed(0)
    x = torch.quantize_per_tensor(torch.randn(2, 4, 5, 5), 0.03, 60, torch.quint8)
    weight, bias = (torch.nn.Parameter(torch.rand(4)) for _ in range(2))
    layer = quantized.InstanceNorm2d(4, weight, bias, 0.05, 100)
    assert torch.equal(operators.instance_norm(x, weight, bias, 1e-5, 0.05, 100), layer(x))
    values = x.dequantize().double()
    mean, variance = values.mean((2, 3), keepdim=True), values.var((2, 3), keepdim=True, unbiased=False)
    exact = (values - mean) / (variance + 1e-5).sqrt() * weight.reshape(4, 1, 1) + bias.reshape(4, 1, 1)
    assert (layer(x).dequantize() - exact).abs().max().item() <= 0.05 / 2 * 1.001


def test_padding_modes():
    with pytest.raises(ValueError, match="padding_mode='circular' is not supported by quantized convolution, use 'zeros' or 'reflect'"):
        quantized.Conv2d(3, 4, 3, padding_mode="circular")
    with pytest.raises(ValueError, match="padding_mode='reflect' is not supported by quantized convolution, use 'zeros'"):
        quantized.ConvTranspose2d(3, 4, 3, padding_mode="reflect")
