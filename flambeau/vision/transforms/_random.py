"""Transforms that draw what they do from Flambeau's global generator, in the order and with the distributions of torchvision's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms._base import Transform, below, chance, checked_size, uniform
from flambeau.vision.transforms.interpolation import InterpolationMode, interpolation_mode


class RandomCrop(Transform):
    """A part of size (height, width) from a place chosen uniformly, after padding.

    Args:
        size: of the part.
        padding: for :func:`functional.pad`, before the place is chosen.
        pad_if_needed: pad images that are smaller than ``size``.
        fill, padding_mode: what to pad with.

    Raises:
        ValueError: the (padded) image is smaller than ``size``.
    """

    _shown = ("size", "padding")

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = F._pair(checked_size(size))
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Draws top and left; returns them with height and width."""
        _, height, width = F.get_dimensions(img)
        wanted_height, wanted_width = output_size
        if height < wanted_height or width < wanted_width:
            raise ValueError(f"Required crop size {(wanted_height, wanted_width)} is larger than input image size {(height, width)}")
        if (height, width) == (wanted_height, wanted_width):
            return 0, 0, height, width
        return below(height - wanted_height + 1), below(width - wanted_width + 1), wanted_height, wanted_width

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            _, height, width = F.get_dimensions(img)
            if width < self.size[1]:
                img = F.pad(img, [self.size[1] - width, 0], self.fill, self.padding_mode)
            if height < self.size[0]:
                img = F.pad(img, [0, self.size[0] - height], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))


class RandomHorizontalFlip(Transform):
    """Mirrors an image left to right with probability ``p``."""

    _shown = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return F.hflip(img) if chance() < self.p else img


class RandomVerticalFlip(Transform):
    """Mirrors an image top to bottom with probability ``p``."""

    _shown = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return F.vflip(img) if chance() < self.p else img


class RandomGrayscale(Transform):
    """Makes an image gray with probability ``p``, keeping its number of channels."""

    _shown = ("p",)

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        channels = F.get_image_num_channels(img)
        return F.rgb_to_grayscale(img, channels) if chance() < self.p else img


class RandomResizedCrop(Transform):
    """A part of random area and proportions, resized to ``size`` (Szegedy et al. 2014, "Going Deeper with Convolutions").

    Args:
        size: (height, width) of the result.
        scale: bounds of the part's area, relative to the image's.
        ratio: bounds of the part's width over its height; the logarithm is uniform.
    """

    _shown = ("size", "scale", "ratio", "interpolation", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        for name, value in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(value, Sequence):
                raise TypeError(f"{name} should be a sequence")
        self.size = F._pair(checked_size(size))
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """Draws the top, left, height and width of the part."""
        _, height, width = F.get_dimensions(img)
        for _ in range(10):
            area, proportion = _area_and_ratio(height * width, scale, ratio)
            part_width, part_height = round(math.sqrt(area * proportion)), round(math.sqrt(area / proportion))
            if 0 < part_width <= width and 0 < part_height <= height:
                return below(height - part_height + 1), below(width - part_width + 1), part_height, part_width
        # The image is too long and thin: the largest part in the middle with allowed proportions.
        part_width, part_height = width, height
        if width / height < min(ratio):
            part_height = round(width / min(ratio))
        elif width / height > max(ratio):
            part_width = round(height * max(ratio))
        return (height - part_height) // 2, (width - part_width) // 2, part_height, part_width

    def forward(self, img: Any) -> Any:
        part = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *part, self.size, self.interpolation, self.antialias)


class RandomRotation(Transform):
    """Rotates by an angle that is uniform in ``degrees``, a range or the bound of a symmetric one: :func:`functional.rotate`."""

    _shown = ("degrees", "interpolation", "expand", "fill")

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        if isinstance(degrees, F.NUMBER):
            if degrees < 0:
                raise ValueError("If degrees is a single number, it must be positive.")
            degrees = (-degrees, degrees)
        elif not isinstance(degrees, Sequence) or len(degrees) != 2:
            raise (ValueError if isinstance(degrees, Sequence) else TypeError)("degrees should be a number or a sequence of two")
        if center is not None and len(center) != 2:
            raise ValueError("center should be a sequence of length 2.")
        self.degrees = [float(degree) for degree in degrees]
        self.interpolation = interpolation_mode(interpolation)
        self.expand = expand
        self.center = center
        self.fill = 0 if fill is None else fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """Draws an angle."""
        return uniform(float(degrees[0]), float(degrees[1]))

    def forward(self, img: Any) -> Any:
        return F.rotate(img, self.get_params(self.degrees), self.interpolation, self.expand, self.center, self.fill)


class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue by random factors, in random order.

    Args:
        brightness, contrast, saturation: bounds of a factor, or ``d`` for the bounds ``max(0, 1 - d)`` and ``1 + d``.
        hue: bounds of a shift in turns, within -0.5 … 0.5, or ``d`` for ``-d`` and ``d``.
    """

    _shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        super().__init__()
        self.brightness = _factor_range("brightness", brightness)
        self.contrast = _factor_range("contrast", contrast)
        self.saturation = _factor_range("saturation", saturation)
        self.hue = _factor_range("hue", hue, neutral=0, bounds=(-0.5, 0.5), clip=False)

    @staticmethod
    def get_params(
        brightness: Sequence[float] | None,
        contrast: Sequence[float] | None,
        saturation: Sequence[float] | None,
        hue: Sequence[float] | None,
    ) -> tuple[Any, ...]:
        """Draws the order of the four changes, and their factors."""
        order = flambeau.randperm(4)
        factors = (None if span is None else uniform(*span) for span in (brightness, contrast, saturation, hue))
        return (order, *factors)

    def forward(self, img: Any) -> Any:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for which in order.tolist():
            factor = factors[which]
            if factor is not None:
                img = changes[which](img, factor)
        return img


class RandomErasing(Transform):
    """Overwrites a random rectangle of a tensor image with probability ``p`` (Zhong et al. 2017, "Random Erasing").

    Args:
        p: the probability.
        scale: bounds of the rectangle's area, relative to the image's.
        ratio: bounds of its height over its width; the logarithm is uniform.
        value: what to write: a number, one for each channel, or ``"random"`` for normally distributed noise.
        inplace: write into the given tensor.
    """

    _shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(value, (*F.NUMBER, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        if not isinstance(scale, Sequence) or not isinstance(ratio, Sequence):
            raise TypeError("Scale and ratio should be sequences")
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        if not 0 <= p <= 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p = p
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(
        img: flambeau.Tensor, scale: Sequence[float], ratio: Sequence[float], value: Sequence[float] | None = None
    ) -> tuple[int, int, int, int, flambeau.Tensor]:
        """Draws the top, left, height and width of the rectangle, and what to write (noise if ``value`` is None)."""
        channels, height, width = F.get_dimensions(img)
        for _ in range(10):
            area, proportion = _area_and_ratio(height * width, scale, ratio)
            part_height, part_width = round(math.sqrt(area * proportion)), round(math.sqrt(area / proportion))
            if part_height >= height or part_width >= width:
                continue
            if value is None:
                content = flambeau.empty([channels, part_height, part_width], dtype=flambeau.float32).normal_()
            else:
                content = flambeau.tensor(value)[:, None, None]
            return below(height - part_height + 1), below(width - part_width + 1), part_height, part_width, content
        return 0, 0, height, width, img

    def forward(self, img: flambeau.Tensor) -> flambeau.Tensor:
        if chance() >= self.p:
            return img
        value: Any = self.value
        if isinstance(value, F.NUMBER):
            value = [float(value)]
        elif isinstance(value, str):
            value = None
        if value is not None and len(value) not in (1, img.shape[-3]):
            raise ValueError(f"If value is a sequence, it should have either a single value or {img.shape[-3]} (number of input channels)")
        return F.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)


def _area_and_ratio(area: int, scale: Sequence[float], ratio: Sequence[float]) -> tuple[float, float]:
    """An area that is uniform in ``area`` times ``scale``, and a log-uniform proportion in ``ratio``."""
    part = area * uniform(scale[0], scale[1])
    low, high = (float(np.log(np.float32(bound))) for bound in ratio)
    return part, float(np.exp(np.float32(uniform(low, high))))


def _factor_range(
    name: str, value: Any, neutral: float = 1, bounds: tuple[float, float] = (0, math.inf), clip: bool = True
) -> tuple[float, float] | None:
    """The range of a jittered factor; ``None`` if it cannot differ from the neutral one."""
    if isinstance(value, F.NUMBER):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        low, high = neutral - value, neutral + value
        if clip:
            low = max(low, 0.0)
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        low, high = value
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
    if not bounds[0] <= low <= high <= bounds[1]:
        raise ValueError(f"{name} values should be between {bounds}, but got [{low}, {high}].")
    return None if low == high == neutral else (float(low), float(high))
