"""The windows of an image as columns, and the sum of columns back into an image: each is the adjoint of the other."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau._ops.covering import covering_windows, joined_blocks
from flambeau._ops.operator import Operator
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

Pair = tuple[int, int]
STATICS = ("size", "kernel", "stride", "padding", "counts")
"""The sizes (H, W) of the image, of a window, of a step, of zeros on each side, and how many windows there are."""


def _infer_unfold(operands: tuple, statics: tuple) -> Layout:
    image, (_, kernel, _, _, counts) = operands[0], statics
    return lay.contiguous((*image.shape[:-3], image.shape[-3] * prod(kernel), prod(counts)), image.dtype)


def _lower_unfold(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    _, kernel, stride, padding, counts = statics
    image = operands[0] if operands[0].layout.contiguous else graph.copy(operands[0])  # turned once, and not for each place of a window
    lead = image.ndim - 2
    windows = graph.windows(image, (lead, lead + 1), kernel, stride, padding, (1, 1), counts)
    return graph.copy(windows.permute((*range(lead), lead + 2, lead + 3, lead, lead + 1))).reshape(layouts[0].shape)


UNFOLD = Operator("_unfold_windows", ("input",), STATICS, infer=_infer_unfold, lower=_lower_unfold)


def _infer_fold(operands: tuple, statics: tuple) -> Layout:
    columns, (size, kernel, *_) = operands[0], statics
    return lay.contiguous((*columns.shape[:-2], columns.shape[-2] // prod(kernel), *size), columns.dtype)


def _lower_fold(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """Each position adds up what the windows that cover it have at the place where they do."""
    size, kernel, stride, padding, counts = statics
    columns = graph.wide(operands[0]).reshape((*layouts[0].shape[:-2], *kernel, *counts))
    lead = columns.ndim - 4
    corner = columns.select(lead, 0).select(lead, 0)
    covering = covering_windows(graph, corner, size, kernel, stride, padding, columns.strides[lead : lead + 2])
    return graph.cast(joined_blocks(graph, covering, size, layouts[0]), layouts[0].dtype)


FOLD = Operator("_fold_windows", ("columns",), STATICS, infer=_infer_fold, lower=_lower_fold)
UNFOLD.gradient(input=lambda grad, size, kernel, stride, padding, counts: FOLD(grad, statics=(size, kernel, stride, padding, counts)))
FOLD.gradient(columns=lambda grad, size, kernel, stride, padding, counts: UNFOLD(grad, statics=(size, kernel, stride, padding, counts)))


def unfold_windows(image: Tensor, kernel: Pair, stride: Pair, padding: Pair, counts: Pair) -> Tensor:
    """(…, C, H, W) to (…, C · kernel_h · kernel_w, L)."""
    return UNFOLD(image, statics=(image.layout.shape[-2:], kernel, stride, padding, counts))


def fold_windows(columns: Tensor, size: Pair, kernel: Pair, stride: Pair, padding: Pair, counts: Pair) -> Tensor:
    """(…, C · kernel_h · kernel_w, L) to (…, C, H, W)."""
    return FOLD(columns, statics=(size, kernel, stride, padding, counts))


PUBLIC = ()
METHODS = ()
