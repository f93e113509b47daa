"""Quantized tensors: rounding against NumPy, and what PyTorch's functions do with them."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import flambeau as torch

RANGES = {torch.quint8: (0, 255), torch.qint8: (-128, 127), torch.qint32: (-(2**31), 2**31 - 1)}


def numbers(count: int = 2000) -> np.ndarray:
    values = np.random.RandomState(0).randn(count).astype(np.float32) * 10
    ties = np.arange(-300, 300, dtype=np.float32) * np.float32(0.05)
    return np.concatenate([values, ties])


def reference(values: np.ndarray, scale: float, zero_point: int, low: int, high: int) -> np.ndarray:
    """One fused multiply-add in float32, rounded to even: float64 holds the product of two float32 exactly."""
    factor = np.float64(np.float32(1) / np.float32(scale))
    exact = (values.astype(np.float64) * factor + zero_point).astype(np.float32)
    return np.clip(np.rint(exact), low, high).astype(np.int64)


@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
@pytest.mark.parametrize(("scale", "zero_point"), [(0.1, 0), (0.1, 3), (0.05, 100), (1 / 3, 7), (7.3, 3)])
def test_per_tensor_rounds_a_fused_multiply_add_to_even(dtype, scale, zero_point):
    values = numbers()
    quantized = torch.quantize_per_tensor(torch.from_numpy(values), scale, zero_point, dtype)
    expected = reference(values, scale, zero_point, *RANGES[dtype])
    assert np.array_equal(quantized.int_repr().numpy(), expected)
    steps = (expected - zero_point).astype(np.float32)
    assert np.array_equal(quantized.dequantize().numpy(), steps * np.float32(scale))


def test_ties_go_where_pytorch_has_them():
    ties = torch.tensor([-1.5, -0.25, 0.0, 0.05, 0.15, 0.25, 0.35, 25.0, 30.0])
    assert torch.quantize_per_tensor(ties, 0.1, 10, torch.quint8).int_repr().tolist() == [0, 8, 10, 10, 12, 12, 14, 255, 255]
    assert torch.quantize_per_tensor(ties, 0.1, 10, torch.qint32).int_repr().tolist() == [-5, 8, 10, 10, 12, 12, 14, 260, 310]


@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8, torch.qint32])
def test_what_is_out_of_range_is_held_at_its_ends(dtype):
    low, high = RANGES[dtype]
    values = torch.tensor([1e12, -1e12, float("inf"), -float("inf")])
    assert torch.quantize_per_tensor(values, 0.1, 10, dtype).int_repr().tolist() == [high, low, high, low]


@pytest.mark.parametrize("zero_points", [np.array([0, 1, 2, 3]), np.array([0, 1.5, 2.25, 3.7], np.float32)])
def test_per_channel_rounds_a_product_and_a_sum(zero_points):
    values = np.random.RandomState(1).randn(4, 500).astype(np.float32) * 3
    scales = np.array([0.1, 0.05, 0.7, 1 / 3], np.float32)
    quantized = torch.quantize_per_channel(
        torch.from_numpy(values), torch.from_numpy(scales), torch.from_numpy(zero_points), 0, torch.qint8
    )
    factor, shift = (1 / scales)[:, None], zero_points.astype(np.float32)[:, None]
    expected = np.clip(np.rint(values * factor + shift), -128, 127)
    assert np.array_equal(quantized.int_repr().numpy(), expected)
    assert np.array_equal(quantized.dequantize().numpy(), (expected.astype(np.float32) - shift) * scales[:, None])
    floating = zero_points.dtype == np.float32
    assert quantized.qscheme() is (torch.per_channel_affine_float_qparams if floating else torch.per_channel_affine)
    assert quantized.q_per_channel_scales().dtype is (torch.float32 if floating else torch.float64)
    assert quantized.q_per_channel_axis() == 0
    assert quantized.q_per_channel_zero_points().tolist() == pytest.approx(zero_points.tolist())


def test_dynamic_chooses_the_range_that_pytorch_chooses():
    x = torch.tensor([-1.5, -0.25, 0.0, 0.05, 0.15, 0.25, 0.35])
    quantized = torch.quantize_per_tensor_dynamic(x, torch.quint8, True)
    assert (quantized.q_scale(), quantized.q_zero_point()) == (0.014566929086925477, 103)
    quantized = torch.quantize_per_tensor_dynamic(x, torch.qint8, False)
    assert (quantized.q_scale(), quantized.q_zero_point()) == (0.007254901937409943, 79)
    assert torch.quantize_per_tensor_dynamic(torch.zeros(3), torch.quint8, False).q_scale() == 0.1
    assert torch.quantize_per_tensor_dynamic(torch.full((3,), 1e-8), torch.quint8, False).q_scale() == 6.0999998822808266e-05


def test_text_is_pytorchs():
    x = torch.quantize_per_tensor(torch.tensor([-1.0, 0.25, 2.0]), 0.1, 10, torch.quint8)
    assert repr(x) == (
        "tensor([-1.0000,  0.2000,  2.0000], size=(3,), dtype=torch.quint8,\n"
        "       quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=10)"
    )
    w = torch.quantize_per_channel(torch.arange(6.0).reshape(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8)
    assert repr(w) == (
        "tensor([[0., 1., 2.],\n        [3., 4., 5.]], size=(2, 3), dtype=torch.qint8,\n       quantization_scheme=torch.per_channel_affine,\n"
        "       scale=tensor([0.1000, 0.2000], dtype=torch.float64),\n       zero_point=tensor([0, 1]), axis=0)"
    )


@pytest.fixture
def image() -> torch.Tensor:
    return torch.quantize_per_tensor(
        torch.from_numpy(np.random.RandomState(2).randn(2, 4, 6, 6).astype(np.float32)), 0.05, 20, torch.quint8
    )


def test_what_it_is(image):
    assert image.is_quantized
    assert not torch.zeros(2).is_quantized
    assert image.dtype is torch.quint8
    assert image.shape == (2, 4, 6, 6)
    assert image.stride() == (144, 36, 6, 1)
    assert image.element_size() == 1
    assert image.layout == torch.strided
    assert image.type() == "torch.quantized.QUInt8Tensor"
    assert not image.requires_grad
    assert torch.q_scale(image) == 0.05
    assert torch.q_zero_point(image) == 20
    assert hash(image) == hash(image)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.reshape(2, -1),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x[0],
        lambda x: x[:, 1:3],
        lambda x: x.flip(3),
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.transpose(0, 1).mT,
        lambda x: x.unsqueeze(0).squeeze(0),
        lambda x: torch.flatten(x, 1),
        lambda x: torch.nn.functional.max_pool2d(x, 2),
        lambda x: x.max(1).values,
        lambda x: torch.nn.functional.pixel_shuffle(x, 2),
        lambda x: torch.cat([x, x], 1),
        lambda x: torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest"),
        lambda x: x.flatten().sort()[0],
        lambda x: next(iter(x)),
    ],
)
def test_moving_elements_is_moving_numbers(image, move):
    moved, expected = move(image), move(image.dequantize())
    assert moved.is_quantized
    assert moved.q_scale() == 0.05
    assert torch.equal(moved.dequantize(), expected)
    assert moved.stride() == expected.stride()


@pytest.mark.parametrize(
    ("function", "scale", "zero_point"),
    [
        (torch.nn.functional.relu, 0.05, 20),
        (torch.nn.functional.relu6, 0.05, 20),
        (lambda x: x.clamp(-1, 1), 0.05, 20),
        (lambda x: torch.nn.functional.leaky_relu(x, 0.1), 0.05, 20),
        (torch.sigmoid, 1 / 256, 0),
        (torch.tanh, 1 / 128, 128),
        (torch.nn.functional.hardsigmoid, 1 / 256, 0),
        (lambda x: torch.nn.functional.avg_pool2d(x, 2), 0.05, 20),
        (lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 1), 0.05, 20),
        (lambda x: x.mean((2, 3)), 0.05, 20),
    ],
)
def test_functions_round_to_the_nearest_number_of_their_grid(image, function, scale, zero_point):
    result = function(image)
    assert (result.q_scale(), result.q_zero_point()) == (scale, zero_point)
    exact = function(image.dequantize().double()).numpy()
    low, high = (np.array(end) - zero_point for end in RANGES[torch.quint8])
    exact = np.clip(exact, low * scale, high * scale)
    assert np.abs(result.dequantize().numpy() - exact).max() <= scale / 2 * 1.0001


def test_comparisons_are_of_numbers(image):
    assert torch.equal(image > 0.5, image.dequantize() > 0.5)
    assert torch.equal(image == image, torch.ones(image.shape, dtype=torch.bool))
    assert torch.equal(image, image.clone())
    assert not torch.equal(image, image.dequantize())


def test_views_share_memory_and_writing_rounds():
    x = torch.quantize_per_tensor(torch.arange(6.0), 0.5, 0, torch.qint8)
    x.view(2, 3)[1] = 0.8
    assert x.dequantize().tolist() == [0.0, 1.0, 2.0, 1.0, 1.0, 1.0]
    x[0] = torch.tensor(3.1)
    x[1:2].copy_(torch.tensor([4.9]))
    assert x[:2].dequantize().tolist() == [3.0, 5.0]
    x.fill_(2.3)
    assert x.int_repr().tolist() == [5] * 6
    y = torch.empty_like(x).copy_(x)
    assert torch.equal(x, y)


def test_copies_pickles_and_files():
    x = torch.arange(6.0).reshape(2, 3)
    channels = torch.quantize_per_channel(x, torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8)
    rows = torch.quantize_per_channel(x, torch.tensor([0.1, 0.2]), torch.tensor([0.5, 1.0]), 0, torch.quint8)
    whole = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8).t()
    for each in (channels, rows, whole):
        file = io.BytesIO()
        torch.save({"x": each, "scheme": torch.per_tensor_affine, "dtype": torch.qint8}, file)
        for weights_only in (True, False):
            file.seek(0)
            loaded = torch.load(file, weights_only=weights_only)
            assert repr(loaded["x"]) == repr(each)
            assert loaded["scheme"] is torch.per_tensor_affine
            assert loaded["dtype"] is torch.qint8
        assert repr(copy.deepcopy(each)) == repr(each)
        assert repr(pickle.loads(pickle.dumps(each))) == repr(each)


def test_channels_stay_where_they_are_known_to_be():
    w = torch.quantize_per_channel(torch.arange(6.0).reshape(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8)
    assert w[1].q_scale() == pytest.approx(0.2)
    assert w[1].q_zero_point() == 1
    assert w.unsqueeze(0).q_per_channel_axis() == 1
    with pytest.raises(RuntimeError, match=r"transpose: this tensor has a scale for each index of dimension 0"):
        w.transpose(0, 1)
    with pytest.raises(RuntimeError, match=r"q_scale\(\) is of tensors that are quantized as a whole"):
        w.q_scale()


def test_parameters_are_the_tensors_own():
    """Observers write into theirs later."""
    x = torch.arange(6.0).reshape(2, 3)
    computed = torch.tensor([0.05]) * 2
    for scale in (torch.tensor(0.1), computed):
        quantized = torch.quantize_per_tensor(x, scale, torch.tensor([3]), torch.quint8)
        scale.mul_(2)
        assert (quantized.q_scale(), quantized.q_zero_point()) == (0.10000000149011612, 3)
    scales, zero_points = torch.tensor([0.1, 0.2], dtype=torch.float64), torch.tensor([0, 1])
    channels = torch.quantize_per_channel(x, scales, zero_points, 0, torch.qint8)
    scales.mul_(2)
    zero_points.add_(1)
    assert channels.q_per_channel_scales().tolist() == [0.1, 0.2]
    assert torch.equal(channels.dequantize(), x)


def test_mistakes_are_told():
    x = torch.rand(3)
    with pytest.raises(RuntimeError, match=r"zero_point \(=300\) must be between 0 and 255, the range of torch.quint8"):
        torch.quantize_per_tensor(x, 0.1, 300, torch.quint8)
    with pytest.raises(RuntimeError, match=r"expected the dtype of a quantized tensor .* got torch.uint8"):
        torch.quantize_per_tensor(x, 0.1, 3, torch.uint8)
    with pytest.raises(RuntimeError, match=r"only float32 tensors are quantized, got torch.float64"):
        torch.quantize_per_tensor(x.double(), 0.1, 3, torch.quint8)
    quantized = torch.quantize_per_tensor(x, 0.1, 3, torch.quint8)
    with pytest.raises(NotImplementedError, match=r"Could not run 'add' with a quantized tensor.*FloatFunctional"):
        quantized + quantized
    with pytest.raises(RuntimeError, match=r"float\(\) of a quantized tensor: use dequantize\(\)"):
        quantized.float()
    with pytest.raises(NotImplementedError, match=r"Could not run 'unsqueeze_' with a quantized tensor"):
        quantized.unsqueeze_(0)
    with pytest.raises(NotImplementedError, match=r"cat: out= is not implemented for quantized tensors"):
        torch.cat([quantized, quantized], out=torch.empty_like(quantized))
    with pytest.raises(NotImplementedError, match=r"q_scale\(\) is of quantized tensors, and this one is torch.float32"):
        x.q_scale()
    with pytest.raises(NotImplementedError, match=r"torch.qint8 is for quantized tensors"):
        torch.zeros(3, dtype=torch.qint8)
    with pytest.raises(RuntimeError, match=r"only Tensors of floating point dtype can require gradients"):
        quantized.requires_grad_()
    with pytest.raises(
        RuntimeError, match=r"scales of shape \[2\] and zero_points of shape \[2\] must have one element for each of the 3 indices"
    ):
        torch.quantize_per_channel(torch.rand(3, 2), torch.ones(2), torch.zeros(2), 0, torch.qint8)
    with pytest.raises(RuntimeError, match=r"the zero point of channel 1 \(=300\) must be between -128 and 127"):
        torch.quantize_per_channel(torch.rand(2, 2), torch.ones(2), torch.tensor([0, 300]), 0, torch.qint8)
    with pytest.raises(TypeError, match="zero_point must be an integer, got 1.5"):
        torch.quantize_per_tensor(x, 0.1, 1.5, torch.quint8)


def test_fake_quantization_passes_the_gradient_in_range():
    x = torch.tensor([-1.5, 0.05, 0.15, 12.3, 30.0], requires_grad=True)
    y = torch.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 255)
    assert y.tolist() == pytest.approx([-0.3, 0.0, 0.2, 12.3, 25.2])
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    with pytest.raises(RuntimeError, match=r"zero_point \(=300\) must be between quant_min \(=0\) and quant_max \(=255\)"):
        torch.fake_quantize_per_tensor_affine(x, 0.1, 300, 0, 255)
    with pytest.raises(RuntimeError, match=r"zero_point must be int32, float32 or float16, found torch.int64"):
        torch.fake_quantize_per_channel_affine(x, torch.ones(5), torch.zeros(5, dtype=torch.int64), 0, 0, 255)


def test_moving_average_and_rounding_in_one():
    on, low, high = torch.tensor([1]), torch.tensor(float("inf")), torch.tensor(float("-inf"))
    scale, zero_point = torch.tensor([1.0]), torch.tensor([0], dtype=torch.int32)
    x = torch.tensor([-1.0, 0.5, 3.0], requires_grad=True)
    y = torch.fused_moving_avg_obs_fake_quant(x, on, on, low, high, scale, zero_point, 0.5, 0, 255, 0, False, False)
    assert (low.item(), high.item()) == (-1.0, 3.0)
    assert scale.item() == pytest.approx(4 / 255)
    assert zero_point.item() == 64
    assert y.tolist() == pytest.approx([-1.0, 0.5, 3.0], abs=4 / 255)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    torch.fused_moving_avg_obs_fake_quant(x * 3, on, on, low, high, scale, zero_point, 0.5, 0, 255, 0, False, False)
    assert (low.item(), high.item()) == (-2.0, 6.0)
    off = torch.tensor([0])
    assert torch.equal(torch.fused_moving_avg_obs_fake_quant(x, off, off, low, high, scale, zero_point, 0.5, 0, 255, 0), x)
    assert (low.item(), high.item()) == (-2.0, 6.0)
