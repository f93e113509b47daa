"""VGG networks (Simonyan and Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau import Tensor, flatten, nn
from flambeau.vision.models._registry import model

__all__ = ["VGG", "make_layers", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"]


class VGG(nn.Module):
    """``features``, pooled to 7 × 7, and three linear layers: (N, 3, H, W) to (N, num_classes)."""

    def __init__(self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def make_layers(cfg: Sequence[int | str], batch_norm: bool = False) -> nn.Sequential:
    """3 × 3 convolutions of so many channels each, with ReLU behind them (and batch normalisation between), and a pooling for each ``"M"``."""
    layers: list[nn.Module] = []
    in_channels = 3
    for channels in cfg:
        if channels == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(in_channels, int(channels), kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(int(channels)))
        layers.append(nn.ReLU(inplace=True))
        in_channels = int(channels)
    return nn.Sequential(*layers)


# How many convolutions there are before each of the five poolings, all with as many channels as _CHANNELS says.
_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def _features(depths: Sequence[int], batch_norm: bool) -> nn.Sequential:
    return make_layers([step for depth, channels in zip(depths, _CHANNELS, strict=True) for step in [*[channels] * depth, "M"]], batch_norm)


@model
def vgg11(**options: Any) -> VGG:
    """VGG-11 (configuration A): 132.9 million parameters."""
    return VGG(_features(_DEPTHS[11], batch_norm=False), **options)


@model
def vgg11_bn(**options: Any) -> VGG:
    """VGG-11 with batch normalisation."""
    return VGG(_features(_DEPTHS[11], batch_norm=True), **options)


@model
def vgg13(**options: Any) -> VGG:
    """VGG-13 (configuration B): 133.0 million parameters."""
    return VGG(_features(_DEPTHS[13], batch_norm=False), **options)


@model
def vgg13_bn(**options: Any) -> VGG:
    """VGG-13 with batch normalisation."""
    return VGG(_features(_DEPTHS[13], batch_norm=True), **options)


@model
def vgg16(**options: Any) -> VGG:
    """VGG-16 (configuration D): 138.4 million parameters."""
    return VGG(_features(_DEPTHS[16], batch_norm=False), **options)


@model
def vgg16_bn(**options: Any) -> VGG:
    """VGG-16 with batch normalisation."""
    return VGG(_features(_DEPTHS[16], batch_norm=True), **options)


@model
def vgg19(**options: Any) -> VGG:
    """VGG-19 (configuration E): 143.7 million parameters."""
    return VGG(_features(_DEPTHS[19], batch_norm=False), **options)


@model
def vgg19_bn(**options: Any) -> VGG:
    """VGG-19 with batch normalisation."""
    return VGG(_features(_DEPTHS[19], batch_norm=True), **options)
