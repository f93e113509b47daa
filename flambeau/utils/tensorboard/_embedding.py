"""The files of TensorBoard's embedding projector: vectors and labels as tab-separated text, pictures as one sprite, and the
configuration that lists them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flambeau.utils.tensorboard import _media as media

_ENCODED_IN_NAMES = str.maketrans({"%": "%25", "/": "%2f", "\\": "%5c"})
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "'": "\\'", "\\": "\\\\"}


def subdirectory(tag: str, step: int) -> str:
    """Where an embedding's files are, relative to the log directory."""
    return f"{step:05d}/{tag.translate(_ENCODED_IN_NAMES)}"


def check(shape: tuple, metadata: Sequence | None, metadata_header: Sequence[str] | None, image_shape: tuple | None) -> None:
    if len(shape) != 2:
        raise AssertionError(f"mat must have shape (N, D), one row for each data point, got {shape}")
    if metadata is not None:
        if len(metadata) != shape[0]:
            raise AssertionError(f"metadata must have a label for each of the {shape[0]} data points, got {len(metadata)}")
        if metadata_header and len(metadata) and len(metadata_header) != len(metadata[0]):
            raise AssertionError(f"metadata_header has {len(metadata_header)} columns, but metadata has {len(metadata[0])}")
    if image_shape is not None:
        if len(image_shape) != 4 or image_shape[1] not in (1, 3):
            raise AssertionError(f"label_img must have shape (N, C, H, W) with 1 or 3 channels, got {image_shape}")
        if image_shape[0] != shape[0]:
            raise AssertionError(f"label_img must have an image for each of the {shape[0]} data points, got {image_shape[0]}")


def vectors_file(vectors: np.ndarray) -> bytes:
    return "".join(["\t".join(map(str, row)) + "\n" for row in vectors.tolist()]).encode()


def metadata_file(metadata: Sequence, header: Sequence[str] | None) -> bytes:
    rows = ["\t".join(map(str, row)) for row in [header, *metadata]] if header else map(str, metadata)
    return ("\n".join(rows) + "\n").encode()


def sprite_file(images: np.ndarray) -> bytes:
    """``(N, C, H, W)`` images as a grid with as many columns as rows, and black below until it is a square."""
    pixels = images if images.dtype == np.uint8 else (images.astype(np.float64) * 255).clip(0, 255).astype(np.uint8)
    sheet = media.grid(pixels.transpose(0, 2, 3, 1), columns=math.ceil(len(pixels) ** 0.5))
    height, width, _ = sheet.shape
    sheet = np.pad(sheet, ((0, max(width - height, 0)), (0, 0), (0, 0)))
    return media.png(np.repeat(sheet, 3, axis=2) if sheet.shape[2] == 1 else sheet)


def configuration(tag: str, step: int, has_metadata: bool, image_size: tuple[int, int] | None) -> bytes:
    """An entry of ``projector_config.pbtxt``; ``image_size`` is ``(height, width)``."""
    directory = subdirectory(tag, step)
    lines = [f"  tensor_name: {_quoted(f'{tag}:{step:05d}')}"]
    if has_metadata:
        lines.append(f"  metadata_path: {_quoted(f'{directory}/metadata.tsv')}")
    if image_size is not None:
        height, width = image_size
        lines += ["  sprite {", f"    image_path: {_quoted(f'{directory}/sprite.png')}"]
        lines += [f"    single_image_dim: {width}", f"    single_image_dim: {height}", "  }"]
    lines.append(f"  tensor_path: {_quoted(f'{directory}/tensors.tsv')}")
    return "\n".join(["embeddings {", *lines, "}\n"]).encode()


def _quoted(string: str) -> str:
    """A string in protobuf's text format."""
    return '"' + "".join(_ESCAPES.get(letter) or (letter if letter >= " " else f"\\{ord(letter):03o}") for letter in string) + '"'
