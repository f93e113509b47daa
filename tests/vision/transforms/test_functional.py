"""Pillow's images and tensors have to give the same pixels, up to Pillow's rounding."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image

import flambeau
from flambeau.vision.transforms import InterpolationMode
from flambeau.vision.transforms import functional as F

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 3), np.uint8)
RGB = Image.fromarray(PIXELS)
GRAY = Image.fromarray(PIXELS[:, :, 0])


def as_tensor(image):
    return F.pil_to_tensor(image).contiguous()


def check_both(function, image=RGB, atol=0):
    """``function`` of the PIL image, as (H, W[, C]) pixels, after comparing it with ``function`` of the tensor."""
    of_image = function(image)
    of_tensor = function(as_tensor(image))
    assert of_tensor.dtype == flambeau.uint8
    pixels = F.pil_to_tensor(of_image).numpy().astype(int)
    np.testing.assert_allclose(of_tensor.numpy().astype(int), pixels, atol=atol)
    return np.asarray(of_image)


def test_dimensions():
    for image in (RGB, as_tensor(RGB)):
        assert F.get_dimensions(image) == [3, 6, 8]
        assert F.get_image_size(image) == [8, 6]
        assert F.get_image_num_channels(image) == 3
    assert F.get_dimensions(flambeau.zeros(6, 8)) == [1, 6, 8]
    with pytest.raises(TypeError, match="should be a tensor or a PIL image, but got ndarray"):
        F.get_dimensions(PIXELS)
    with pytest.raises(TypeError, match="needs a height and a width"):
        F.get_dimensions(flambeau.zeros(3))


def test_to_tensor_scales_bytes():
    expected = (PIXELS.transpose(2, 0, 1).astype(np.float32) / np.float32(255)).tolist()
    for picture in (RGB, PIXELS):
        tensor = F.to_tensor(picture)
        assert tensor.dtype == flambeau.float32
        assert tensor.is_contiguous()
        assert tensor.tolist() == expected
    assert F.to_tensor(GRAY).shape == (1, 6, 8)
    assert F.to_tensor(PIXELS[:, :, 0]).shape == (1, 6, 8)


def test_to_tensor_follows_the_default_dtype():
    flambeau.set_default_dtype(flambeau.float64)
    try:
        assert F.to_tensor(GRAY).tolist() == (PIXELS[None, :, :, 0] / 255).tolist()
    finally:
        flambeau.set_default_dtype(flambeau.float32)


@pytest.mark.parametrize(("mode", "dtype"), [("I", flambeau.int32), ("F", flambeau.float32), ("I;16", flambeau.int16)])
def test_to_tensor_keeps_wide_values(mode, dtype):
    values = np.array([[1, 300], [70, 4]], {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode])
    tensor = F.to_tensor(Image.fromarray(values))
    assert tensor.dtype == dtype
    assert tensor.tolist() == [values.tolist()]


def test_to_tensor_of_bits():
    assert F.to_tensor(Image.fromarray(np.array([[True, False]]))).tolist() == [[[1.0, 0.0]]]


def test_to_tensor_of_something_else():
    with pytest.raises(TypeError, match="pic should be PIL Image or ndarray"):
        F.to_tensor([[1]])
    with pytest.raises(ValueError, match="2 or 3 axes"):
        F.to_tensor(np.zeros(3))


def test_pil_to_tensor():
    tensor = F.pil_to_tensor(RGB)
    assert tensor.dtype == flambeau.uint8
    assert tensor.tolist() == PIXELS.transpose(2, 0, 1).tolist()
    tensor.zero_()
    assert np.asarray(RGB).tolist() == PIXELS.tolist(), "the image keeps its own pixels"
    with pytest.raises(TypeError, match="should be PIL Image"):
        F.pil_to_tensor(PIXELS)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_to_pil_image_and_back(channels):
    tensor = flambeau.tensor(RNG.integers(0, 256, (channels, 5, 7), np.uint8))
    image = F.to_pil_image(tensor)
    assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    assert flambeau.equal(F.pil_to_tensor(image), tensor)
    assert F.to_pil_image(tensor.permute(1, 2, 0).numpy()).tobytes() == image.tobytes()
    assert flambeau.equal(F.pil_to_tensor(F.to_pil_image(F.to_tensor(image))), tensor)


def test_to_pil_image_of_wide_values():
    assert F.to_pil_image(flambeau.tensor([[1, 300]], dtype=flambeau.int32)).mode == "I"
    assert F.to_pil_image(np.array([[1, 300]], np.int16)).mode == "I;16"
    floats = F.to_pil_image(flambeau.tensor([[0.5, 300.0]]), mode="F")
    assert floats.mode == "F"
    assert floats.getpixel((1, 0)) == 300
    assert F.to_pil_image(flambeau.tensor([[0.5, 1.0]])).mode == "L"


@pytest.mark.parametrize(
    ("picture", "mode", "error", "message"),
    [
        (flambeau.zeros(1, 1, 2, 2), None, ValueError, "should be 2/3 dimensional. Got 4"),
        (np.zeros(3), None, ValueError, "should be 2/3 dimensional. Got 1"),
        (flambeau.zeros(5, 2, 2), None, ValueError, "Got 5 channels"),
        (flambeau.zeros(3, 2, 2), "L", ValueError, "Only modes .* are supported for 3D inputs, got L"),
        (flambeau.zeros(1, 2, 2), "I", ValueError, r"Incorrect mode \(I\) supplied for input type uint8. Should be L"),
        (np.zeros((2, 2), np.int64), None, TypeError, "Input type int64 is not supported"),
        (np.zeros((2, 2, 3)), None, TypeError, "Input type float64 is not supported"),
        ([[1]], None, TypeError, "should be Tensor or ndarray"),
    ],
)
def test_to_pil_image_of_something_else(picture, mode, error, message):
    with pytest.raises(error, match=message):
        F.to_pil_image(picture, mode)


@pytest.mark.parametrize("name", ["uint8", "int16", "int32", "int64"])
def test_convert_image_dtype_keeps_black_and_white(name):
    dtype = getattr(flambeau, name)
    white = flambeau.iinfo(dtype).max
    integers = flambeau.tensor([0, white], dtype=dtype)
    assert F.convert_image_dtype(integers).tolist() == [0.0, 1.0]
    for other in ("uint8", "int16", "int32", "int64"):
        other_white = flambeau.iinfo(getattr(flambeau, other)).max
        black, converted = F.convert_image_dtype(integers, getattr(flambeau, other)).tolist()
        assert black == 0
        assert other_white - other_white // (white + 1) <= converted <= other_white


def test_convert_image_dtype_of_floats():
    floats = flambeau.tensor([0.0, 0.5, 1.0])
    assert F.convert_image_dtype(floats, flambeau.uint8).tolist() == [0, 127, 255]
    assert F.convert_image_dtype(floats, flambeau.float64).dtype == flambeau.float64
    assert F.convert_image_dtype(floats) is floats
    with pytest.raises(RuntimeError, match="cannot be performed safely"):
        F.convert_image_dtype(floats, flambeau.int32)
    with pytest.raises(RuntimeError, match="cannot be performed safely"):
        F.convert_image_dtype(floats.double(), flambeau.int64)
    with pytest.raises(TypeError, match="should be a tensor"):
        F.convert_image_dtype(RGB)


def test_normalize():
    image = F.to_tensor(RGB)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    shift, scale = (np.array(values, np.float32)[:, None, None] for values in (mean, std))
    expected = ((image.numpy() - shift) / scale).tolist()
    assert F.normalize(image, mean, std).tolist() == expected
    assert F.normalize(flambeau.stack([image, image]), mean, std)[1].tolist() == expected
    assert F.normalize(F.to_tensor(GRAY), (0.5,), (0.5,)).shape == (1, 6, 8)
    copy = image.clone()
    assert F.normalize(copy, mean, std, inplace=True) is copy
    assert copy.tolist() == expected


def test_normalize_is_differentiable():
    image = flambeau.ones(1, 2, 2, requires_grad=True)
    F.normalize(image, [0.5], [0.25]).sum().backward()
    assert image.grad.tolist() == [[[4.0, 4.0], [4.0, 4.0]]]


def test_normalize_errors():
    with pytest.raises(TypeError, match="should be a float tensor"):
        F.normalize(as_tensor(RGB), [0], [1])
    with pytest.raises(TypeError, match="should be Tensor Image"):
        F.normalize(RGB, [0], [1])
    with pytest.raises(ValueError, match="Expected tensor to be a tensor image"):
        F.normalize(flambeau.zeros(2, 2), [0], [1])
    with pytest.raises(ValueError, match="std evaluated to zero"):
        F.normalize(flambeau.zeros(1, 2, 2), [0], [0])


def test_flips():
    assert check_both(F.hflip).tolist() == PIXELS[:, ::-1].tolist()
    assert check_both(F.vflip).tolist() == PIXELS[::-1].tolist()


@pytest.mark.parametrize("place", [(1, 2, 3, 4), (0, 0, 6, 8), (-2, -1, 5, 5), (4, 5, 6, 6), (-3, -3, 20, 20), (10, 10, 2, 2)])
def test_crop(place):
    top, left, height, width = place
    padded = np.pad(PIXELS, ((20, 20), (20, 20), (0, 0)))
    expected = padded[top + 20 : top + 20 + height, left + 20 : left + 20 + width]
    assert check_both(lambda image: F.crop(image, *place)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("size", "expected"), [(4, (4, 4)), ([3], (3, 3)), ((2, 5), (2, 5)), (7, (7, 7)), ((10, 3), (10, 3)), (11, (11, 11))]
)
def test_center_crop(size, expected):
    pixels = check_both(lambda image: F.center_crop(image, size))
    assert pixels.shape[:2] == expected


def test_center_crop_is_in_the_middle():
    assert check_both(lambda image: F.center_crop(image, (2, 4))).tolist() == PIXELS[2:4, 2:6].tolist()
    padded = check_both(lambda image: F.center_crop(image, (6, 11)))
    assert padded[:, 1:9].tolist() == PIXELS.tolist()


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("padding", [2, [1], (1, 2), (1, 2, 3, 4), 0])
def test_pad(padding, mode):
    sides = [padding] if isinstance(padding, int) else list(padding)
    left, top, right, bottom = sides * (4 // len(sides))
    expected = np.pad(PIXELS, ((top, bottom), (left, right), (0, 0)), mode=mode)
    assert check_both(lambda image: F.pad(image, padding, padding_mode=mode)).tolist() == expected.tolist()


def test_pad_with_a_value():
    assert check_both(lambda image: F.pad(image, 1, fill=7))[0, 0].tolist() == [7, 7, 7]
    assert F.pad(RGB, 1, fill=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    assert check_both(lambda image: F.pad(image, 1, fill=7), GRAY)[0, 0] == 7


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric"])
def test_negative_padding_crops(mode):
    pixels = np.asarray(F.pad(RGB, (-1, 2, 1, -2), padding_mode=mode))
    assert pixels.shape == (6, 8, 3)
    assert pixels[2:, :7].tolist() == PIXELS[:4, 1:].tolist()


def test_pad_keeps_palettes():
    image = RGB.quantize(8)
    padded = F.pad(image, 2, padding_mode="edge")
    assert padded.convert("RGB").getpixel((2, 2)) == image.convert("RGB").getpixel((0, 0))


def test_pad_errors():
    with pytest.raises(TypeError, match="inappropriate padding"):
        F.pad(RGB, "2")
    with pytest.raises(ValueError, match="1, 2, or 4 element tuple, not a 3"):
        F.pad(RGB, (1, 2, 3))
    with pytest.raises(ValueError, match="Padding mode should be"):
        F.pad(RGB, 1, padding_mode="wrap")
    with pytest.raises(ValueError, match="fill has 2 values, but the image has 3 channels"):
        F.pad(RGB, 1, fill=(1, 2))


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [
        (3, None, (3, 4)),
        ([3], None, (3, 4)),
        (12, None, (12, 16)),
        (5, None, (5, 6)),
        (5, 6, (5, 6)),
        (12, 14, (10, 14)),
        ((9, 2), None, (9, 2)),
    ],
)
def test_resize_sizes(size, max_size, expected):
    for image in (RGB, as_tensor(RGB)):
        _, height, width = F.get_dimensions(F.resize(image, size, max_size=max_size))
        assert (height, width) == expected
    _, height, width = F.get_dimensions(F.resize(RGB.transpose(Image.Transpose.TRANSPOSE), size, max_size=max_size))
    if not isinstance(size, tuple):
        assert (width, height) == expected


@pytest.mark.parametrize("mode", [InterpolationMode.NEAREST, InterpolationMode.BILINEAR, InterpolationMode.BICUBIC])
@pytest.mark.parametrize("size", [(12, 16), (10, 24), (3, 4), (6, 3)])
def test_resize(size, mode):
    # Pillow takes nearest pixels at the middle of the output's, PyTorch at their corner; they agree when enlarging by 2.
    if mode is InterpolationMode.NEAREST and size != (12, 16):
        mode = InterpolationMode.NEAREST_EXACT
    # Cubic weights overshoot, and Pillow clamps after each axis: values away from black and white never get there.
    image = Image.fromarray(PIXELS // 3 + 80)
    check_both(lambda picture: F.resize(picture, size, mode), image, atol=0 if mode.value.startswith("nearest") else 1)


def test_resize_to_the_same_size_is_the_same_image():
    assert F.resize(RGB, 6) is RGB
    tensor = as_tensor(RGB)
    assert F.resize(tensor, (6, 8)) is tensor


def test_resize_understands_pillows_numbers():
    assert F.resize(RGB, 3, Image.Resampling.BICUBIC).tobytes() == F.resize(RGB, 3, InterpolationMode.BICUBIC).tobytes()
    with pytest.raises(TypeError, match="should be an InterpolationMode"):
        F.resize(RGB, 3, "bilinear")


def test_resize_errors():
    with pytest.raises(ValueError, match="must be strictly greater"):
        F.resize(RGB, 5, max_size=5)
    with pytest.raises(ValueError, match="max_size should only be passed"):
        F.resize(RGB, (5, 5), max_size=9)
    with pytest.raises(ValueError, match="1 or 2 element"):
        F.resize(RGB, (5, 5, 5))
    with pytest.raises(ValueError, match="not with lanczos"):
        F.resize(as_tensor(RGB), 3, InterpolationMode.LANCZOS)


def test_resized_crop():
    expected = F.resize(F.crop(RGB, 1, 1, 4, 5), (8, 8))
    assert F.resized_crop(RGB, 1, 1, 4, 5, (8, 8)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("angle", [0, 90, 180, -90, 30, 201.5])
@pytest.mark.parametrize("expand", [False, True])
def test_rotate(angle, expand):
    square = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), np.uint8))
    for image in (square, RGB):
        turned = F.rotate(as_tensor(image), angle, expand=expand)
        pixels = F.pil_to_tensor(F.rotate(image, angle, expand=expand))
        assert turned.shape == pixels.shape
        # A sample on the border between two pixels may fall either way.
        assert (turned != pixels).any(0).float().mean().item() <= 0.12


def test_rotate_is_counter_clockwise():
    square = Image.fromarray(PIXELS[:, :6])
    assert check_both(lambda image: F.rotate(image, 90), square).tolist() == np.rot90(PIXELS[:, :6]).tolist()


@pytest.mark.parametrize("mode", [InterpolationMode.NEAREST, InterpolationMode.BILINEAR])
def test_rotate_fills(mode):
    image = flambeau.full((3, 8, 8), 100, dtype=flambeau.uint8)
    assert F.rotate(image, 45, mode, fill=[1, 2, 3])[:, 0, 0].tolist() == [1, 2, 3]
    assert F.rotate(image, 45, mode, fill=9)[:, 0, 0].tolist() == [9, 9, 9]
    assert F.rotate(image, 45, mode)[:, 0, 0].tolist() == [0, 0, 0]
    assert F.rotate(image, 45, mode, fill=9)[:, 4, 4].tolist() == [100, 100, 100]
    assert F.rotate(RGB, 45, fill=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(ValueError, match="fill has 2 values, but the image has 3 channels"):
        F.rotate(image, 45, fill=[1, 2])


def test_rotate_around_a_point():
    turned = check_both(lambda image: F.rotate(image, 180, center=(0, 0)))
    assert (turned == 0).all()
    pixels = check_both(lambda image: F.rotate(image, 180, center=(4, 2)))
    assert pixels[:4].tolist() == PIXELS[3::-1, ::-1].tolist()


def test_rotate_errors():
    with pytest.raises(TypeError, match="angle should be a number"):
        F.rotate(RGB, "1")
    with pytest.raises(TypeError, match="center should be"):
        F.rotate(RGB, 1, center=(1,))
    with pytest.raises(ValueError, match="not with bicubic"):
        F.rotate(as_tensor(RGB), 1, InterpolationMode.BICUBIC)


@pytest.mark.parametrize("channels", [1, 3])
def test_grayscale(channels):
    gray = check_both(lambda image: F.rgb_to_grayscale(image, channels), atol=1)
    expected = PIXELS @ [0.2989, 0.587, 0.114]
    assert gray.shape == ((6, 8) if channels == 1 else (6, 8, 3))
    assert abs((gray if channels == 1 else gray[:, :, 2]) - expected).max() <= 1
    assert F.to_grayscale(RGB, channels).tobytes() == F.rgb_to_grayscale(RGB, channels).tobytes()
    with pytest.raises(TypeError, match="should be PIL"):
        F.to_grayscale(as_tensor(RGB))
    with pytest.raises(ValueError, match="either 1 or 3"):
        F.rgb_to_grayscale(RGB, 2)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("change", [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation])
def test_adjustments(change, factor):
    for image in (RGB, GRAY):
        check_both(lambda picture: change(picture, factor), image, atol=2)
    if factor == 1:
        assert change(RGB, 1).tobytes() == RGB.tobytes()
    with pytest.raises(ValueError, match="is not non-negative"):
        change(RGB, -1)


@pytest.mark.parametrize("factor", [-0.5, -0.2, 0.0, 0.1, 0.5])
def test_hue(factor):
    image = F.to_tensor(RGB)
    expected = np.empty_like(image.numpy())
    for row in range(6):
        for column in range(8):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
            expected[:, row, column] = colorsys.hsv_to_rgb((hue + factor) % 1, saturation, value)
    np.testing.assert_allclose(F.adjust_hue(image, factor).numpy(), expected, atol=1e-5)
    check_both(lambda picture: F.adjust_hue(picture, factor), atol=14)  # Pillow has 256 hues and 256 saturations
    assert F.adjust_hue(GRAY, factor).tobytes() == GRAY.tobytes()


def test_hue_errors():
    with pytest.raises(ValueError, match=r"hue_factor \(0\.6\) is not in"):
        F.adjust_hue(RGB, 0.6)


@pytest.mark.parametrize("gamma", [0.5, 1, 2.2])
def test_gamma(gamma):
    check_both(lambda image: F.adjust_gamma(image, gamma), atol=1)
    np.testing.assert_allclose(
        F.adjust_gamma(F.to_tensor(RGB), gamma, gain=0.5).numpy(), 0.5 * F.to_tensor(RGB).numpy() ** gamma, rtol=1e-5
    )


def test_erase():
    image = flambeau.zeros(3, 4, 5)
    erased = F.erase(image, 1, 2, 2, 3, flambeau.tensor([1.0, 2.0, 3.0])[:, None, None])
    assert erased[:, 1:3, 2:5].mean((1, 2)).tolist() == [1.0, 2.0, 3.0]
    assert erased.sum().item() == 36
    assert image.sum().item() == 0
    assert F.erase(image, 0, 0, 1, 1, flambeau.ones(1), inplace=True) is image
    assert image.sum().item() == 3


def test_five_and_ten_crops():
    corners = F.five_crop(RGB, (2, 3))
    expected = [PIXELS[:2, :3], PIXELS[:2, 5:], PIXELS[4:, :3], PIXELS[4:, 5:], PIXELS[2:4, 2:5]]
    assert [np.asarray(part).tolist() for part in corners] == [part.tolist() for part in expected]
    ten = F.ten_crop(as_tensor(RGB), 2)
    assert len(ten) == 10
    assert ten[5].tolist() == PIXELS[:2, ::-1][:, :2].transpose(2, 0, 1).tolist()
    assert F.ten_crop(as_tensor(RGB), 2, vertical_flip=True)[5].tolist() == PIXELS[::-1][:2, :2].transpose(2, 0, 1).tolist()
    with pytest.raises(ValueError, match="is bigger than input size"):
        F.five_crop(RGB, 7)
