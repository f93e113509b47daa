"""Convolutional networks for images, without trained weights: their state dicts have torchvision's keys."""

from __future__ import annotations

from enum import Enum

from flambeau.vision.models._registry import get_model as get_model
from flambeau.vision.models._registry import get_model_builder as get_model_builder
from flambeau.vision.models._registry import list_models as list_models
from flambeau.vision.models.alexnet import AlexNet as AlexNet
from flambeau.vision.models.alexnet import alexnet as alexnet
from flambeau.vision.models.densenet import DenseNet as DenseNet
from flambeau.vision.models.densenet import densenet121 as densenet121
from flambeau.vision.models.densenet import densenet161 as densenet161
from flambeau.vision.models.densenet import densenet169 as densenet169
from flambeau.vision.models.densenet import densenet201 as densenet201
from flambeau.vision.models.googlenet import GoogLeNet as GoogLeNet
from flambeau.vision.models.googlenet import GoogLeNetOutputs as GoogLeNetOutputs
from flambeau.vision.models.inception import Inception3 as Inception3
from flambeau.vision.models.inception import InceptionOutputs as InceptionOutputs
from flambeau.vision.models.inception import inception_v3 as inception_v3
from flambeau.vision.models.mobilenetv2 import MobileNetV2 as MobileNetV2
from flambeau.vision.models.mobilenetv2 import mobilenet_v2 as mobilenet_v2
from flambeau.vision.models.resnet import ResNet as ResNet
from flambeau.vision.models.resnet import resnet18 as resnet18
from flambeau.vision.models.resnet import resnet34 as resnet34
from flambeau.vision.models.resnet import resnet50 as resnet50
from flambeau.vision.models.resnet import resnet101 as resnet101
from flambeau.vision.models.resnet import resnet152 as resnet152
from flambeau.vision.models.resnet import resnext50_32x4d as resnext50_32x4d
from flambeau.vision.models.resnet import resnext101_32x8d as resnext101_32x8d
from flambeau.vision.models.resnet import resnext101_64x4d as resnext101_64x4d
from flambeau.vision.models.resnet import wide_resnet50_2 as wide_resnet50_2
from flambeau.vision.models.resnet import wide_resnet101_2 as wide_resnet101_2
from flambeau.vision.models.vgg import VGG as VGG
from flambeau.vision.models.vgg import vgg11 as vgg11
from flambeau.vision.models.vgg import vgg11_bn as vgg11_bn
from flambeau.vision.models.vgg import vgg13 as vgg13
from flambeau.vision.models.vgg import vgg13_bn as vgg13_bn
from flambeau.vision.models.vgg import vgg16 as vgg16
from flambeau.vision.models.vgg import vgg16_bn as vgg16_bn
from flambeau.vision.models.vgg import vgg19 as vgg19
from flambeau.vision.models.vgg import vgg19_bn as vgg19_bn

from flambeau.vision.models.googlenet import googlenet as googlenet  # isort: skip  (after its module, whose name it takes)

__all__ = [
    "VGG",
    "AlexNet",
    "DenseNet",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "Inception3",
    "InceptionOutputs",
    "MobileNetV2",
    "ResNet",
    "alexnet",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "get_model",
    "get_model_builder",
    "googlenet",
    "inception_v3",
    "list_models",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


def __getattr__(name: str) -> type[Enum]:
    """`ResNet50_Weights` and the like: names of trained weights, which no model takes, as it says."""
    if name.lower().removesuffix("_weights") in list_models() and name.endswith("_Weights"):
        return Enum(name, {"IMAGENET1K_V1": "IMAGENET1K_V1", "DEFAULT": "IMAGENET1K_V1"}, module=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
