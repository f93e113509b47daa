"""Features of boxes of any size at a fixed size: RoIAlign (He et al. 2017, "Mask R-CNN") and RoIPool (Girshick 2015, "Fast R-CNN")."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn

__all__ = ["RoIAlign", "RoIPool", "roi_align", "roi_pool"]


def roi_align(
    input: Tensor,
    boxes: Any,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """The mean of bilinear samples in each of the cells that a box is divided into; differentiable with respect to ``input``.

    Args:
        input: (N, C, H, W).
        boxes: (K, 5) of ``(number in the batch, x1, y1, x2, y2)``, or a list of N tensors (L, 4).
        output_size: ``(height, width)`` of the grid of cells, or one number for both.
        spatial_scale: what boxes are multiplied by to be in the pixels of ``input``.
        sampling_ratio: samples in each direction of a cell; as many as it has pixels, rounded up, if not positive.
        aligned: subtract half a pixel, so that pixels are seen as squares with the center at .5; boxes may then be smaller than a pixel.

    Returns:
        (K, C, height, width). A sample more than a pixel outside the image is 0.

    Example:
        >>> roi_align(flambeau.arange(16.0).reshape(1, 1, 4, 4), [flambeau.tensor([[0.0, 0.0, 2.0, 2.0]])], 2, sampling_ratio=1)
        tensor([[[[2.5000, 3.5000],
                  [6.5000, 7.5000]]]])
    """
    cells = _pair(output_size)
    rows = _rows(input, boxes)
    corners = rows[:, 1:].to(input.dtype) * spatial_scale - (0.5 if aligned else 0.0)
    extents = corners[:, 2:] - corners[:, :2]
    if not aligned:
        extents = extents.clamp(min=1)
    steps = extents / flambeau.tensor([cells[1], cells[0]], dtype=input.dtype)
    images = rows[:, 0].long()
    if sampling_ratio > 0:
        return _sampled(input, images, corners, steps, cells, (sampling_ratio, sampling_ratio))
    # Each box has a number of samples of its own: boxes with the same number are sampled together.
    counts = steps.ceil().long().clamp(min=0).tolist()
    groups: dict[tuple[int, int], list[int]] = {}
    for number, (across, down) in enumerate(counts):
        groups.setdefault((down, across), []).append(number)
    result = input.new_zeros(len(counts), input.shape[1], *cells)
    for samples, numbers in groups.items():
        if 0 not in samples:
            chosen = flambeau.tensor(numbers)
            result = result.index_copy(0, chosen, _sampled(input, images[chosen], corners[chosen], steps[chosen], cells, samples))
    return result


def _sampled(input: Tensor, images: Tensor, corners: Tensor, steps: Tensor, cells: tuple[int, int], samples: tuple[int, int]) -> Tensor:
    """The means (K, C, *cells) of ``samples`` in each direction of cells of the size ``steps`` (K, 2; x before y)."""
    boxes, channels = corners.shape[0], input.shape[1]
    rows, above = _weights(corners[:, 1], steps[:, 1], cells[0], samples[0], input.shape[2])
    columns, left = _weights(corners[:, 0], steps[:, 0], cells[1], samples[1], input.shape[3])
    result: Any = 0.0
    for row, row_weight in zip(rows, above):
        for column, column_weight in zip(columns, left):
            found = input[images[:, None, None], :, row[:, :, None], column[:, None, :]]  # (K, rows, columns, C)
            result = result + found * (row_weight[:, :, None] * column_weight[:, None, :])[..., None]
    result = result.reshape(boxes, cells[0], samples[0], cells[1], samples[1], channels)
    return result.mean((2, 4)).permute(0, 3, 1, 2).contiguous()


def _weights(start: Tensor, step: Tensor, cells: int, samples: int, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Along one dimension, the two pixels on either side of each sample, and what they count; each (K, cells * samples)."""
    places = (flambeau.arange(cells * samples, dtype=start.dtype) + 0.5) / samples
    position = start[:, None] + step[:, None] * places
    inside = (position >= -1) & (position <= size)
    position = position.clamp(0, size - 1)
    low = position.floor()
    high = (low + 1).clamp(max=size - 1)
    part = position - low
    return (low.long(), high.long()), ((1 - part) * inside, part * inside)


def roi_pool(input: Tensor, boxes: Any, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Tensor:
    """The maximum of the pixels in each of the cells that a box, rounded to whole pixels, is divided into; 0 for a cell without pixels.

    Args and result are :func:`roi_align`'s.
    """
    return pooled(input, _rows(input, boxes), _pair(output_size), spatial_scale)[0]


def pooled(input: Tensor, rows: Tensor, cells: tuple[int, int], spatial_scale: float) -> tuple[Tensor, Tensor]:
    """The maxima of cells, and which pixel of the image (int32, -1 for none) each is."""
    height, width = input.shape[2:]
    values, places = [], []
    for image, *corners in rows.tolist():
        left, top, right, bottom = (_rounded(corner * spatial_scale) for corner in corners)
        down = _edges(top, max(bottom - top + 1, 1), cells[0], height)
        across = _edges(left, max(right - left + 1, 1), cells[1], width)
        for y1, y2 in down:
            for x1, x2 in across:
                cell = input[int(image), :, y1:y2, x1:x2]
                if cell.numel():
                    value, place = cell.flatten(1).max(1)
                    values.append(value)
                    places.append((y1 + place // (x2 - x1)) * width + x1 + place % (x2 - x1))
                else:
                    values.append(input.new_zeros(input.shape[1]))
                    places.append(flambeau.full((input.shape[1],), -1))
    if not values:
        empty = input.new_zeros(0, input.shape[1], *cells)
        return empty, empty.int()
    shaped = [flambeau.stack(each).reshape(-1, *cells, input.shape[1]).permute(0, 3, 1, 2).contiguous() for each in (values, places)]
    return shaped[0], shaped[1].int()


def _rounded(number: float) -> int:
    """The nearest whole number; halves go away from 0, as C's ``round`` has it."""
    return int(number + 0.5) if number >= 0 else -int(0.5 - number)


def _edges(start: int, extent: int, cells: int, size: int) -> list[tuple[int, int]]:
    """The first pixel of each cell, and the one after its last."""
    return [
        (min(max(start + cell * extent // cells, 0), size), min(max(start - (-(cell + 1) * extent // cells), 0), size))
        for cell in range(cells)
    ]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _rows(input: Tensor, boxes: Any) -> Tensor:
    """The boxes as rows (K, 5), the first number of which is that of the image."""
    if input.dim() != 4:
        raise RuntimeError(f"input should have shape (N, C, H, W), but got {tuple(input.shape)}")
    if isinstance(boxes, Tensor):
        if boxes.dim() != 2 or boxes.shape[1] != 5:
            raise ValueError(
                f"boxes as one tensor should have shape (K, 5) with the number of the image first, but got {tuple(boxes.shape)}"
            )
        return boxes
    for each in boxes:
        if each.dim() != 2 or each.shape[1] != 4:
            raise ValueError(f"boxes of each image should have shape (L, 4), but got {tuple(each.shape)}")
    numbered = [flambeau.cat([flambeau.full_like(each[:, :1], number), each], 1) for number, each in enumerate(boxes)]
    return flambeau.cat(numbered) if numbered else input.new_zeros(0, 5)


class RoIAlign(nn.Module):
    """:func:`roi_align` as a module."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool = False) -> None:
        super().__init__()
        self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned = output_size, spatial_scale, sampling_ratio, aligned

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

    def __repr__(self) -> str:
        return (
            f"RoIAlign(output_size={self.output_size}, spatial_scale={self.spatial_scale}, sampling_ratio={self.sampling_ratio}, "
            f"aligned={self.aligned})"
        )


class RoIPool(nn.Module):
    """:func:`roi_pool` as a module."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, input: Tensor, rois: Any) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def __repr__(self) -> str:
        return f"RoIPool(output_size={self.output_size}, spatial_scale={self.spatial_scale})"
