"""Transforms of images as objects, to be chained by :class:`Compose`.

Random ones draw from Flambeau's global generator, in the same order and with the same distributions as torchvision's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau.nn import Module
from flambeau.vision.transforms import functional as F
from flambeau.vision.transforms.interpolation import InterpolationMode, interpolation_mode

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ConvertImageDtype",
    "FiveCrop",
    "Grayscale",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "PILToTensor",
    "Pad",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomOrder",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToPILImage",
    "ToTensor",
]


def _uniform(low: float, high: float) -> float:
    return flambeau.empty(1).uniform_(low, high).item()


def _below(limit: int) -> int:
    return int(flambeau.randint(0, limit, size=(1,)).item())


def _chance() -> float:
    return flambeau.rand(1).item()


class _Transform(Module):
    """A transform whose ``repr`` lists the attributes that ``_shown`` names."""

    _shown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shown = (f"{name}={_shown_value(getattr(self, name))}" for name in self._shown)
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown_value(value: Any) -> Any:
    return value.value if isinstance(value, InterpolationMode) else value


class Compose:
    """Applies ``transforms`` one after another.

    Example:
        >>> Compose([np.asarray, np.sum])([1, 2, 3]).item()
        6
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class ToTensor:
    """A PIL image or an array (H, W, C) as a tensor (C, H, W), with bytes scaled to 0 … 1: :func:`functional.to_tensor`."""

    def __call__(self, pic: Any) -> flambeau.Tensor:
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """A PIL image as a tensor (C, H, W) of its own values: :func:`functional.pil_to_tensor`."""

    def __call__(self, pic: Any) -> flambeau.Tensor:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ToPILImage:
    """A tensor (C, H, W) or an array (H, W, C) as a PIL image: :func:`functional.to_pil_image`."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class ConvertImageDtype(_Transform):
    """Converts a tensor's dtype and range: :func:`functional.convert_image_dtype`."""

    def __init__(self, dtype: flambeau.dtype) -> None:
        super().__init__()
        if not isinstance(dtype, flambeau.dtype):
            raise TypeError(f"dtype should be a flambeau.dtype, but got {type(dtype).__name__}")
        self.dtype = dtype

    def forward(self, image: flambeau.Tensor) -> flambeau.Tensor:
        return F.convert_image_dtype(image, self.dtype)


class Normalize(_Transform):
    """Subtracts a mean from each channel of a float tensor and divides by a standard deviation."""

    _shown = ("mean", "std")

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def forward(self, tensor: flambeau.Tensor) -> flambeau.Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)


class Resize(_Transform):
    """Resizes to (height, width), or the shorter edge to ``size``: :func:`functional.resize`."""

    _shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        if not isinstance(size, (int, Sequence)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size = size
        self.max_size = max_size
        self.interpolation = interpolation_mode(interpolation)
        self.antialias = antialias

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(_Transform):
    """The middle of an image, padded with zeros where it is too small."""

    _shown = ("size",)

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = F._pair(_checked_size(size))

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)


class FiveCrop(_Transform):
    """The four corners and the middle of an image, as a tuple."""

    _shown = ("size",)

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = F._pair(_checked_size(size))

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.five_crop(img, self.size)


class TenCrop(_Transform):
    """:class:`FiveCrop` of an image and of its mirror image, as a tuple."""

    _shown = ("size", "vertical_flip")

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        super().__init__()
        self.size = F._pair(_checked_size(size))
        self.vertical_flip = vertical_flip

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.ten_crop(img, self.size, self.vertical_flip)


class Pad(_Transform):
    """Pads an image on all sides: :func:`functional.pad`."""

    _shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        if not isinstance(padding, (*F.NUMBER, tuple, list)):
            raise TypeError("Got inappropriate padding arg")
        if not isinstance(fill, (*F.NUMBER, tuple, list)):
            raise TypeError("Got inappropriate fill arg")
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
        if isinstance(padding, Sequence) and len(padding) not in (1, 2, 4):
            raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple")
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)


class Grayscale(_Transform):
    """An image in gray, of one channel or of three equal ones."""

    _shown = ("num_output_channels",)

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)


class Lambda:
    """Applies a function of the user's."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomApply(Module):
    """Applies all of ``transforms``, a list or a ``ModuleList``, with probability ``p``."""

    def __init__(self, transforms: Iterable[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = transforms
        self.p = p

    def forward(self, img: Any) -> Any:
        if self.p < _chance():
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}(\n    p={self.p}{lines}\n)"


class RandomOrder:
    """Applies ``transforms`` in an order that Python's ``random`` chooses."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for position in order:
            img = self.transforms[position](img)
        return img


class RandomChoice:
    """Applies one of ``transforms`` that Python's ``random`` chooses, with weights ``p``."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        if p is not None and not isinstance(p, Sequence):
            raise TypeError("Argument p should be a sequence")
        self.transforms = transforms
        self.p = p

    def __call__(self, *args: Any) -> Any:
        return random.choices(self.transforms, weights=self.p)[0](*args)


class RandomCrop(_Transform):
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
        self.size = F._pair(_checked_size(size))
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
        return _below(height - wanted_height + 1), _below(width - wanted_width + 1), wanted_height, wanted_width

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


class RandomHorizontalFlip(_Transform):
    """Mirrors an image left to right with probability ``p``."""

    _shown = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return F.hflip(img) if _chance() < self.p else img


class RandomVerticalFlip(_Transform):
    """Mirrors an image top to bottom with probability ``p``."""

    _shown = ("p",)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return F.vflip(img) if _chance() < self.p else img


class RandomGrayscale(_Transform):
    """Makes an image gray with probability ``p``, keeping its number of channels."""

    _shown = ("p",)

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        channels = F.get_image_num_channels(img)
        return F.rgb_to_grayscale(img, channels) if _chance() < self.p else img


class RandomResizedCrop(_Transform):
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
        self.size = F._pair(_checked_size(size))
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
                return _below(height - part_height + 1), _below(width - part_width + 1), part_height, part_width
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


class RandomRotation(_Transform):
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
        return _uniform(float(degrees[0]), float(degrees[1]))

    def forward(self, img: Any) -> Any:
        return F.rotate(img, self.get_params(self.degrees), self.interpolation, self.expand, self.center, self.fill)


class ColorJitter(_Transform):
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
        factors = (None if span is None else _uniform(*span) for span in (brightness, contrast, saturation, hue))
        return (order, *factors)

    def forward(self, img: Any) -> Any:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for which in order.tolist():
            factor = factors[which]
            if factor is not None:
                img = changes[which](img, factor)
        return img


class RandomErasing(_Transform):
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
            return _below(height - part_height + 1), _below(width - part_width + 1), part_height, part_width, content
        return 0, 0, height, width, img

    def forward(self, img: flambeau.Tensor) -> flambeau.Tensor:
        if _chance() >= self.p:
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
    part = area * _uniform(scale[0], scale[1])
    low, high = (float(np.log(np.float32(bound))) for bound in ratio)
    return part, float(np.exp(np.float32(_uniform(low, high))))


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


def _checked_size(size: Any) -> Any:
    if not isinstance(size, F.NUMBER) and not (isinstance(size, Sequence) and len(size) in (1, 2)):
        raise ValueError(f"Please provide only two dimensions (h, w) for size, but got {size!r}")
    return size
