from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

import flambeau
from flambeau import nn
from flambeau.vision import transforms as T
from flambeau.vision.transforms import functional as F

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
RGB = Image.fromarray(PIXELS)
TENSOR = F.to_tensor(RGB)


def uniform(low, high):
    return flambeau.empty(1).uniform_(low, high).item()


def below(limit):
    return flambeau.randint(0, limit, (1,)).item()


def seeded(function, *args, seed=0):
    flambeau.manual_seed(seed)
    return function(*args)


def same(a, b):
    if isinstance(a, flambeau.Tensor):
        return flambeau.equal(a, b)
    return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("image", [RGB, TENSOR], ids=["pil", "tensor"])
@pytest.mark.parametrize(
    ("transform", "function"),
    [
        (T.Resize(5), lambda image: F.resize(image, 5)),
        (T.Resize((5, 7), T.InterpolationMode.NEAREST), lambda image: F.resize(image, (5, 7), T.InterpolationMode.NEAREST)),
        (T.CenterCrop(5), lambda image: F.center_crop(image, 5)),
        (T.Pad((1, 2), padding_mode="edge"), lambda image: F.pad(image, (1, 2), padding_mode="edge")),
        (T.Grayscale(3), lambda image: F.rgb_to_grayscale(image, 3)),
    ],
)
def test_objects_do_what_functions_do(transform, function, image):
    assert same(transform(image), function(image))


def test_conversions():
    assert same(T.ToTensor()(RGB), TENSOR)
    assert same(T.ToPILImage()(TENSOR), RGB)
    assert same(T.PILToTensor()(RGB), F.pil_to_tensor(RGB))
    assert same(T.ConvertImageDtype(flambeau.float32)(F.pil_to_tensor(RGB)), TENSOR)
    assert same(T.Normalize([0.5] * 3, [0.25] * 3)(TENSOR), F.normalize(TENSOR, [0.5] * 3, [0.25] * 3))
    with pytest.raises(TypeError, match=r"should be a flambeau\.dtype"):
        T.ConvertImageDtype("float32")


def test_compose_and_lambda():
    pipeline = T.Compose([T.Lambda(lambda image: image.rotate(90, expand=True)), T.ToTensor()])
    assert pipeline(RGB).shape == (3, 16, 12)
    with pytest.raises(TypeError, match="should be callable"):
        T.Lambda(3)


def test_modules_chain_as_modules():
    assert nn.Sequential(T.CenterCrop(8), T.Normalize([0.5], [0.5]))(TENSOR).shape == (3, 8, 8)


def test_representations():
    assert repr(T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.25,))])) == (
        "Compose(\n    ToTensor()\n    Normalize(mean=(0.5,), std=(0.25,))\n)"
    )
    assert repr(T.Resize(5)) == "Resize(size=5, interpolation=bilinear, max_size=None, antialias=True)"
    assert repr(T.RandomCrop(4, padding=1)) == "RandomCrop(size=(4, 4), padding=1)"
    assert repr(T.RandomHorizontalFlip()) == "RandomHorizontalFlip(p=0.5)"
    assert repr(T.ToPILImage("L")) == "ToPILImage(mode=L)"
    assert repr(T.RandomApply([T.CenterCrop(2)])) == "RandomApply(\n    p=0.5\n    CenterCrop(size=(2, 2))\n)"


@pytest.mark.parametrize("image", [RGB, TENSOR], ids=["pil", "tensor"])
def test_random_crop_draws_top_then_left(image):
    for seed in range(5):
        top, left = seeded(lambda: (below(12 - 5 + 1), below(16 - 7 + 1)), seed=seed)
        assert same(seeded(T.RandomCrop((5, 7)), image, seed=seed), F.crop(image, top, left, 5, 7))


def test_random_crop_of_the_whole_draws_nothing():
    expected = seeded(uniform, 0, 1)
    assert same(seeded(T.RandomCrop((12, 16)), RGB), RGB)
    assert uniform(0, 1) == expected


def test_random_crop_pads():
    assert T.RandomCrop(14, padding=1)(RGB).size == (14, 14)
    assert T.RandomCrop((20, 30), pad_if_needed=True)(RGB).size == (30, 20)
    with pytest.raises(ValueError, match=r"Required crop size \(13, 13\) is larger than input image size \(12, 16\)"):
        T.RandomCrop(13)(RGB)


@pytest.mark.parametrize(("transform", "function"), [(T.RandomHorizontalFlip, F.hflip), (T.RandomVerticalFlip, F.vflip)])
@pytest.mark.parametrize("image", [RGB, TENSOR], ids=["pil", "tensor"])
def test_random_flips(transform, function, image):
    flipped = function(image)
    assert same(transform(p=1)(image), flipped)
    assert same(transform(p=0)(image), image)
    for seed in range(6):
        chance = seeded(lambda: flambeau.rand(1).item(), seed=seed)
        assert same(seeded(transform(), image, seed=seed), flipped if chance < 0.5 else image)


def test_random_grayscale_keeps_the_channels():
    assert same(T.RandomGrayscale(p=1)(RGB), F.rgb_to_grayscale(RGB, 3))
    assert same(T.RandomGrayscale(p=0)(RGB), RGB)


def test_random_resized_crop_draws_area_ratio_top_left():
    for seed in range(5):
        flambeau.manual_seed(seed)
        while True:
            area = 12 * 16 * uniform(0.08, 1.0)
            ratio = float(np.exp(np.float32(uniform(float(np.log(np.float32(3 / 4))), float(np.log(np.float32(4 / 3)))))))
            width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if width <= 16 and height <= 12:
                break
        top, left = below(12 - height + 1), below(16 - width + 1)
        expected = F.resized_crop(RGB, top, left, height, width, (6, 6))
        assert same(seeded(T.RandomResizedCrop(6), RGB, seed=seed), expected)


@pytest.mark.parametrize(("ratio", "part"), [((3.0, 4.0), (3, 0, 5, 16)), ((0.1, 0.2), (0, 7, 12, 2))])
def test_random_resized_crop_gives_up_in_the_middle(ratio, part):
    """No part of the full area has these proportions."""
    assert T.RandomResizedCrop.get_params(RGB, (1.0, 1.0), ratio) == part


def test_random_rotation():
    angle = seeded(uniform, -30.0, 30.0)
    assert same(seeded(T.RandomRotation(30), RGB), F.rotate(RGB, angle, fill=0))
    assert T.RandomRotation((90, 90), expand=True)(TENSOR).shape == (3, 16, 12)
    with pytest.raises(ValueError, match="must be positive"):
        T.RandomRotation(-1)
    with pytest.raises(ValueError, match="a sequence of two"):
        T.RandomRotation([1, 2, 3])
    with pytest.raises(TypeError, match="a sequence of two"):
        T.RandomRotation(None)


def test_color_jitter_draws_the_order_and_then_the_factors():
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for seed in range(5):
        flambeau.manual_seed(seed)
        order = flambeau.randperm(4).tolist()
        factors = [uniform(0.5, 1.5), uniform(0.2, 0.3), uniform(0, 3), uniform(-0.1, 0.1)]
        expected = RGB
        for which in order:
            expected = changes[which](expected, factors[which])
        assert same(seeded(T.ColorJitter(0.5, (0.2, 0.3), 2, 0.1), RGB, seed=seed), expected)


def test_color_jitter_of_nothing():
    jitter = T.ColorJitter()
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (None,) * 4
    assert same(jitter(RGB), RGB)
    assert T.ColorJitter(brightness=0.5)(TENSOR).shape == TENSOR.shape


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"brightness": -1}, ValueError, "must be non negative"),
        ({"hue": 0.6}, ValueError, r"hue values should be between \(-0\.5, 0\.5\)"),
        ({"contrast": (-1, 2)}, ValueError, "contrast values should be between"),
        ({"saturation": "much"}, TypeError, "should be a single number or a list/tuple"),
    ],
)
def test_color_jitter_errors(options, error, message):
    with pytest.raises(error, match=message):
        T.ColorJitter(**options)


def test_random_erasing_draws_area_ratio_top_left():
    for seed in range(5):
        flambeau.manual_seed(seed)
        flambeau.rand(1)
        while True:
            area = 12 * 16 * uniform(0.02, 0.33)
            ratio = float(np.exp(np.float32(uniform(float(np.log(np.float32(0.3))), float(np.log(np.float32(3.3)))))))
            height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if height < 12 and width < 16:
                break
        top, left = below(12 - height + 1), below(16 - width + 1)
        expected = TENSOR.clone()
        expected[:, top : top + height, left : left + width] = 7
        assert same(seeded(T.RandomErasing(p=1, value=7), TENSOR, seed=seed), expected)


def test_random_erasing_values():
    assert same(T.RandomErasing(p=0)(TENSOR), TENSOR)
    copy = TENSOR.clone()
    assert T.RandomErasing(p=1, value=[7.0, 8.0, 9.0], inplace=True)(copy) is copy
    assert copy.amax((1, 2)).tolist() == [7.0, 8.0, 9.0]
    noise = T.RandomErasing(p=1, value="random")(flambeau.zeros(3, 20, 20))
    written = noise != 0
    assert written.any()
    assert (written[0] == written[1]).all()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"value": "noise"}, ValueError),
        ({"value": None}, TypeError),
        ({"scale": (0, 2)}, ValueError),
        ({"p": 2}, ValueError),
        ({"ratio": 1}, TypeError),
    ],
)
def test_random_erasing_errors(options, error):
    with pytest.raises(error):
        T.RandomErasing(**options)


def test_random_erasing_of_too_many_channels():
    with pytest.raises(ValueError, match="either a single value or 3"):
        T.RandomErasing(p=1, value=[1.0, 2.0])(TENSOR)


def test_random_apply():
    assert same(T.RandomApply([F.hflip], p=1)(RGB), F.hflip(RGB))
    assert same(T.RandomApply([F.hflip], p=0)(RGB), RGB)
    assert same(T.RandomApply(nn.ModuleList([T.CenterCrop(4)]), p=1)(TENSOR), F.center_crop(TENSOR, 4))


def test_random_choice_and_order():
    random.seed(0)
    results = {T.RandomChoice([lambda x: x + 1, lambda x: x * 10], p=[0.5, 0.5])(5) for _ in range(50)}
    assert results == {6, 50}
    assert {T.RandomOrder([lambda x: x + 1, lambda x: x * 10])(5) for _ in range(50)} == {60, 51}
    with pytest.raises(TypeError, match="should be a sequence"):
        T.RandomOrder(F.hflip)


@pytest.mark.parametrize("kind", [T.CenterCrop, T.RandomCrop, T.RandomResizedCrop, T.FiveCrop])
def test_sizes(kind):
    assert kind(3).size == (3, 3)
    assert kind([3]).size == (3, 3)
    assert tuple(kind((3, 4)).size) == (3, 4)
    with pytest.raises(ValueError, match=r"two dimensions \(h, w\)"):
        kind((1, 2, 3))


def test_resize_and_pad_check_their_arguments():
    with pytest.raises(TypeError, match="Size should be int or sequence"):
        T.Resize(1.5)
    with pytest.raises(ValueError, match="1 or 2 values"):
        T.Resize((1, 2, 3))
    with pytest.raises(TypeError, match="padding"):
        T.Pad(None)
    with pytest.raises(TypeError, match="fill"):
        T.Pad(1, fill="black")
    with pytest.raises(ValueError, match="Padding mode"):
        T.Pad(1, padding_mode="wrap")
    with pytest.raises(ValueError, match="element tuple"):
        T.Pad((1, 2, 3))


def test_five_and_ten_crops():
    assert all(same(a, b) for a, b in zip(T.FiveCrop(5)(RGB), F.five_crop(RGB, 5)))
    assert len(T.TenCrop(5)(RGB)) == 10
