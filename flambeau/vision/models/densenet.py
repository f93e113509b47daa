"""DenseNets (Huang et al. 2017, "Densely Connected Convolutional Networks", arXiv:1608.06993)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.nn import functional as F
from flambeau.utils.checkpoint import checkpoint
from flambeau.vision.models._registry import model

__all__ = ["DenseNet", "densenet121", "densenet161", "densenet169", "densenet201"]


class _DenseLayer(nn.Module):
    """``growth_rate`` new channels from all channels before: a 1 × 1 convolution to few channels, and a 3 × 3 one."""

    def __init__(self, num_input_features: int, growth_rate: int, bn_size: int, drop_rate: float, memory_efficient: bool = False) -> None:
        super().__init__()
        width = bn_size * growth_rate
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, width, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def bn_function(self, inputs: list[Tensor]) -> Tensor:
        return self.conv1(self.relu1(self.norm1(flambeau.cat(inputs, 1))))

    def forward(self, input: Tensor | list[Tensor]) -> Tensor:
        inputs = [input] if isinstance(input, Tensor) else list(input)
        if self.memory_efficient and any(each.requires_grad for each in inputs):
            narrow = checkpoint(lambda *tensors: self.bn_function(list(tensors)), *inputs, use_reentrant=False)
        else:
            narrow = self.bn_function(inputs)
        new = self.conv2(self.relu2(self.norm2(narrow)))
        return F.dropout(new, p=self.drop_rate, training=self.training) if self.drop_rate > 0 else new


class _DenseBlock(nn.ModuleDict):
    """Layers, each of which gets what all before it made; their outputs, joined, are the block's."""

    def __init__(
        self, num_layers: int, num_input_features: int, bn_size: int, growth_rate: int, drop_rate: float, memory_efficient: bool = False
    ) -> None:
        super().__init__()
        for number in range(num_layers):
            width = num_input_features + number * growth_rate
            self.add_module(f"denselayer{number + 1}", _DenseLayer(width, growth_rate, bn_size, drop_rate, memory_efficient))

    def forward(self, init_features: Tensor) -> Tensor:
        features = [init_features]
        for layer in self.values():
            features.append(layer(features))
        return flambeau.cat(features, 1)


class _Transition(nn.Sequential):
    """Fewer channels, and half the height and width."""

    def __init__(self, num_input_features: int, num_output_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_input_features)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(num_input_features, num_output_features, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


class DenseNet(nn.Module):
    """Dense blocks with transitions between them, and a linear layer: (N, 3, H, W) to (N, num_classes), H and W at least 29.

    Args:
        growth_rate: how many channels each layer adds
        block_config: how many layers each block has
        num_init_features: the channels of the first convolution
        bn_size: how many times ``growth_rate`` the channels between a layer's two convolutions are
        drop_rate: the dropout behind each layer
        memory_efficient: compute the first half of each layer again in the backward pass instead of keeping it
    """

    def __init__(
        self, growth_rate: int = 32, block_config: tuple[int, ...] = (6, 12, 24, 16), num_init_features: int = 64, bn_size: int = 4,
        drop_rate: float = 0, num_classes: int = 1000, memory_efficient: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, num_init_features, kernel_size=7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(num_init_features),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        width = num_init_features
        for number, count in enumerate(block_config, 1):
            parts[f"denseblock{number}"] = _DenseBlock(count, width, bn_size, growth_rate, drop_rate, memory_efficient)
            width += count * growth_rate
            if number < len(block_config):
                parts[f"transition{number}"] = _Transition(width, width // 2)
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.features(x), inplace=True)
        return self.classifier(flambeau.flatten(F.adaptive_avg_pool2d(features, (1, 1)), 1))


@model
def densenet121(**options: Any) -> DenseNet:
    """DenseNet-121: 8.0 million parameters."""
    return DenseNet(32, (6, 12, 24, 16), 64, **options)


@model
def densenet161(**options: Any) -> DenseNet:
    """DenseNet-161: 28.7 million parameters."""
    return DenseNet(48, (6, 12, 36, 24), 96, **options)


@model
def densenet169(**options: Any) -> DenseNet:
    """DenseNet-169: 14.1 million parameters."""
    return DenseNet(32, (6, 12, 32, 32), 64, **options)


@model
def densenet201(**options: Any) -> DenseNet:
    """DenseNet-201: 20.0 million parameters."""
    return DenseNet(32, (6, 12, 48, 32), 64, **options)
