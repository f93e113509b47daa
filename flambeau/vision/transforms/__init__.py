"""Transforms of images: as objects here, as functions in :mod:`flambeau.vision.transforms.functional`."""

from __future__ import annotations

from flambeau.vision.transforms import functional as functional
from flambeau.vision.transforms.interpolation import InterpolationMode as InterpolationMode
from flambeau.vision.transforms.transforms import CenterCrop as CenterCrop
from flambeau.vision.transforms.transforms import ColorJitter as ColorJitter
from flambeau.vision.transforms.transforms import Compose as Compose
from flambeau.vision.transforms.transforms import ConvertImageDtype as ConvertImageDtype
from flambeau.vision.transforms.transforms import FiveCrop as FiveCrop
from flambeau.vision.transforms.transforms import Grayscale as Grayscale
from flambeau.vision.transforms.transforms import Lambda as Lambda
from flambeau.vision.transforms.transforms import Normalize as Normalize
from flambeau.vision.transforms.transforms import Pad as Pad
from flambeau.vision.transforms.transforms import PILToTensor as PILToTensor
from flambeau.vision.transforms.transforms import RandomApply as RandomApply
from flambeau.vision.transforms.transforms import RandomChoice as RandomChoice
from flambeau.vision.transforms.transforms import RandomCrop as RandomCrop
from flambeau.vision.transforms.transforms import RandomErasing as RandomErasing
from flambeau.vision.transforms.transforms import RandomGrayscale as RandomGrayscale
from flambeau.vision.transforms.transforms import RandomHorizontalFlip as RandomHorizontalFlip
from flambeau.vision.transforms.transforms import RandomOrder as RandomOrder
from flambeau.vision.transforms.transforms import RandomResizedCrop as RandomResizedCrop
from flambeau.vision.transforms.transforms import RandomRotation as RandomRotation
from flambeau.vision.transforms.transforms import RandomVerticalFlip as RandomVerticalFlip
from flambeau.vision.transforms.transforms import Resize as Resize
from flambeau.vision.transforms.transforms import TenCrop as TenCrop
from flambeau.vision.transforms.transforms import ToPILImage as ToPILImage
from flambeau.vision.transforms.transforms import ToTensor as ToTensor

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
    "functional",
]
