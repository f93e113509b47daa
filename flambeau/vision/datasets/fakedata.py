"""Random images, to try a training loop without any files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.vision.datasets.vision import VisionDataset
from flambeau.vision.transforms.functional import to_pil_image

__all__ = ["FakeData"]


class FakeData(VisionDataset):
    """``size`` random PIL images with random classes; image ``i`` is the same each time.

    Args:
        size: how many.
        image_size: (channels, height, width).
        num_classes: how many classes.
        transform: called with the image.
        target_transform: called with the class.
        random_offset: added to the index to seed each image.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        self.size = size
        self.num_classes = num_classes
        self.image_size = image_size
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"{type(self).__name__} index out of range: {index} of {self.size}")
        generator = flambeau.Generator()
        generator.manual_seed(index + self.random_offset)
        image = flambeau.randn(*self.image_size, generator=generator)
        target = int(flambeau.randint(0, self.num_classes, size=(1,), generator=generator).item())
        return self._transformed(to_pil_image(image), target)

    def __len__(self) -> int:
        return self.size
