"""Sets and counts: unique elements, membership, positions in sorted sequences, histograms.

Where the shape of a result depends on the data, the data is read at the call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import return_types
from flambeau._ops.arguments import into, number, whole
from flambeau._ops.conditions import FEW, copied
from flambeau._ops.creation import from_array, new_empty, ones, tensor, zeros
from flambeau._ops.inspecting import holds_everywhere
from flambeau._ops.joining import cat
from flambeau._ops.operator import Operator
from flambeau._ops.positions import require_tensor
from flambeau._ops.return_types import several
from flambeau._ops.scattering import scatter_add
from flambeau._ops.sorting import sort
from flambeau._ops.statistics import aminmax
from flambeau._runtime import places as kernels
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, META
from flambeau._types.encoding import stored_as
from flambeau._types.layout import Layout
from flambeau._types.promotion import promote_types, result_type

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _values(input: Tensor) -> np.ndarray:
    """The elements as NumPy numbers."""
    return input.detach().to(input.layout.dtype.compute)._array()


def _tensor(array: np.ndarray, dtype: dt.dtype) -> Tensor:
    return from_array(stored_as(array, dtype), dtype)


_PLAIN = {
    dt.float32: "float32", dt.float64: "float64", dt.int64: "int64", dt.int32: "int32", dt.uint8: "uint8", dt.bool: "uint8",
}  # fmt: skip
"""The dtypes whose elements the language of kernels knows."""

# -- unique ----------------------------------------------------------------------------------------------------------


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The different elements (or slices along ``dim``) in order.

    Args:
        return_inverse: also where each element went
        return_counts: also how often each occurs

    Example::

        >>> flambeau.unique(flambeau.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    require_tensor("unique", "input", input)
    axis = None if dim is None else lay.wrap_axis(dim, input.layout.ndim)
    if axis is not None and not input.layout.numel and 0 in (*input.layout.shape[:axis], *input.layout.shape[axis + 1 :]):
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    if axis is None and input.layout.numel and not input.layout.dtype.is_complex:
        found, *rest = _unique_elements(input.detach(), return_inverse, return_counts)
        return (found, *rest) if rest else found
    array = _values(input)
    found, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(array.shape if axis is None else -1)
    return _parts(input, found, axis, inverse, counts, return_inverse, return_counts)


def _unique_elements(input: Tensor, return_inverse: bool, return_counts: bool) -> list[Tensor]:
    """Sorted, the different elements are those that differ from the one before. Integers of a narrow range are counted instead."""
    if input.layout.dtype.category == dt.INTEGER and input.layout.numel > FEW:
        low, high = (int(bound.item()) for bound in aminmax(input))
        if high - low < input.layout.numel and high < 1 << 63:
            return _unique_between(input, low, high, return_inverse, return_counts)
    ordered, order = sort(input.reshape(-1))
    found, *rest = _runs(ordered, return_inverse, return_counts)
    if return_inverse:
        rest[0] = order.scatter(0, order, rest[0]).reshape(input.layout.shape)
    return [found, *rest]


def _unique_between(input: Tensor, low: int, high: int, return_inverse: bool, return_counts: bool) -> list[Tensor]:
    """The different integers of those from ``low`` to ``high``: a million of a thousand are counted in a tenth of the time in which they are sorted."""
    places = input.reshape(-1).to(dt.int64) - low
    counts = _counts(places, high - low + 1)
    found = counts.nonzero()[:, 0]
    parts = [(found + low).to(input.layout.dtype)]
    if return_inverse:
        number = (counts > 0).cumsum(0) - 1
        parts.append(number[places].reshape(input.layout.shape))
    if return_counts:
        parts.append(counts[found])
    return parts


def _counts(places: Tensor, size: int) -> Tensor:
    """How often each number from 0 to below ``size`` is in a vector of int64."""
    return scatter_add(zeros(size, dtype=dt.int64), 0, places, ones(1, dtype=dt.int64).expand(places.layout.numel))


def _runs(line: Tensor, return_inverse: bool, return_counts: bool) -> list[Tensor]:
    """The first element of each run of equal elements of a vector; the run that each element is in; how long the runs are."""
    if line.layout.numel <= FEW and line.layout.dtype in _PLAIN and not LOCAL.tape.batched:
        return _few_runs(line.contiguous(), return_inverse, return_counts)
    starts = cat([ones(1, dtype=dt.bool), line[1:] != line[:-1]])
    first = starts.nonzero()[:, 0]
    parts = [line[first]]
    if return_inverse:
        parts.append(starts.cumsum(0) - 1)
    if return_counts:
        parts.append(cat([first[1:], tensor([line.layout.numel])]) - first)
    return parts


def _few_runs(line: Tensor, return_inverse: bool, return_counts: bool) -> list[Tensor]:
    count, dtype = line.layout.numel, line.layout.dtype
    values, inverse = new_empty(lay.contiguous((count,), dtype)), new_empty(lay.contiguous((count,), dt.int64))
    first = new_empty(lay.contiguous((count + 1,), dt.int64))
    addresses = [each.data_ptr() for each in (line, values, first, inverse)]
    runs = kernels.kernel("runs", _PLAIN[dtype])(*addresses, count)
    parts = [copied(addresses[1], lay.contiguous((runs,), dtype))]
    if return_inverse:
        parts.append(inverse)
    if return_counts:
        parts.append(first[1 : runs + 1] - first[:runs])
    return parts


def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The elements (or slices along ``dim``) that differ from the one before."""
    require_tensor("unique_consecutive", "input", input)
    if dim is None and input.layout.numel:
        found, *rest = _runs(input.detach().reshape(-1), return_inverse, return_counts)
        if return_inverse:
            rest[0] = rest[0].reshape(input.layout.shape)
        return (found, *rest) if rest else found
    array = _values(input)
    axis = None if dim is None else lay.wrap_axis(dim, input.layout.ndim)
    lines = (
        array.reshape(-1, 1)
        if axis is None
        else np.moveaxis(array, axis, 0).reshape(array.shape[axis], array.size // max(1, array.shape[axis]))
    )
    starts = np.ones(len(lines), bool)
    starts[1:] = (lines[1:] != lines[:-1]).any(1)
    places = np.flatnonzero(starts)
    found = array.reshape(-1)[places] if axis is None else np.take(array, places, axis)
    inverse = (np.cumsum(starts) - 1).reshape(array.shape if axis is None else -1)
    counts = np.diff(np.append(places, len(lines)))
    return _parts(input, found, axis, inverse, counts, return_inverse, return_counts)


def _parts(
    input: Tensor, found: np.ndarray, axis: int | None, inverse: np.ndarray, counts: np.ndarray, return_inverse: bool, return_counts: bool
) -> Any:
    if axis is None:
        parts = [_tensor(found, input.layout.dtype)]
    else:  # as in PyTorch, the slices lie one behind the other
        parts = [_tensor(np.ascontiguousarray(np.moveaxis(found, axis, 0)), input.layout.dtype).movedim(0, axis)]
    if return_inverse:
        parts.append(from_array(inverse.astype(np.int64)))
    if return_counts:
        parts.append(from_array(counts.astype(np.int64)))
    return parts[0] if len(parts) == 1 else tuple(parts)


# -- membership ------------------------------------------------------------------------------------------------------


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False, out: Tensor | None = None) -> Tensor:
    """Whether each element is one of ``test_elements`` (with ``invert``, whether it is none)."""
    if not isinstance(elements, TensorBase) and not isinstance(test_elements, TensorBase):
        raise TypeError("isin(): elements or test_elements must be a Tensor")
    elements = elements if isinstance(elements, TensorBase) else tensor(number(elements))
    tests = test_elements if isinstance(test_elements, TensorBase) else tensor(number(test_elements))
    dtype = promote_types(elements.layout.dtype, tests.layout.dtype)
    return into(out, ISIN(elements.detach().to(dtype), tests.detach().to(dtype), statics=(invert,)))


def _lower_isin(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    given = [graph.wide(operand) for operand in operands]
    return graph.host(lambda a, b, invert: (np.isin(a, b, invert=invert),), given, ((dt.bool, layouts[0].shape),), *statics)[0]


ISIN = Operator(
    "isin",
    ("elements", "test_elements"),
    ("invert",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, dt.bool),
    lower=_lower_isin,
)

# -- positions in sorted sequences -----------------------------------------------------------------------------------


def _infer_search(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[1].shape, dt.int32 if statics[1] else dt.int64)


def _lower_search(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """A binary search for all values at once: what is left to look at is halved as often as the length asks for."""
    sequences, values = operands[0].plain, operands[1]
    right, layout = statics[0], layouts[0]
    length, shape = sequences.shape[-1], layout.shape
    if not length or not layout.numel:
        return graph.constant(0, layout.dtype, shape)
    lines = sequences.strides[:-1] if sequences.ndim > 1 else ()
    line = lay.layout(shape, (*lines, *(0,) * (len(shape) - len(lines))), sequences.layout.offset, sequences.dtype)
    sorter = operands[2].plain if len(operands) == 3 else None
    found = graph.constant(0, dt.int64, shape)
    step = 1 << (length.bit_length() - 1)
    while step:
        end = found + step
        place = graph.map("minimum", end, length) - 1
        if sorter is not None:
            order = sorter.strides[:-1] if sorter.ndim > 1 else ()
            through = lay.layout(shape, (*order, *(0,) * (len(shape) - len(order))), sorter.layout.offset, sorter.dtype)
            place = graph.gather(sorter, through, [place], [sorter.strides[-1]])
        here = graph.gather(sequences, line, [place], [sequences.strides[-1]])
        beyond = (here > values) if right else (here >= values)
        found = graph.where(beyond | (end > length), found, end)
        step >>= 1
    return graph.cast(found, layout.dtype)


SEARCHSORTED = Operator(
    "searchsorted", ("sorted_sequence", "input", "sorter"), ("right", "int32"), infer=_infer_search, lower=_lower_search
)


def searchsorted(sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
                 sorter: Tensor | None = None, out: Tensor | None = None) -> Tensor:  # fmt: skip
    """Where each value would be inserted to keep the innermost dimension sorted: before equal elements, or after (``right``).

    Raises:
        RuntimeError: the shapes but for the last dimension differ.
    """
    require_tensor("searchsorted", "sorted_sequence", sorted_sequence)
    if side not in (None, "left", "right"):
        raise RuntimeError(f"searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError("searchsorted(): side and right can't be set to opposites, got side of left while right was True")
    sequence = sorted_sequence.layout
    if not isinstance(input, TensorBase):
        input = number(input)
        input = tensor(input, dtype=result_type((sequence.dtype, True), input.__class__))
    common = promote_types(sequence.dtype, input.layout.dtype)
    sorted_sequence, input = sorted_sequence.to(common), input.to(common)
    values = input.layout
    if sequence.ndim == 0:
        raise RuntimeError("searchsorted(): input value can only be a tensor or number when the boundaries have at least 1 dimension")
    if sequence.ndim > 1 and sequence.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"searchsorted(): the first dimensions of the boundaries {sequence.shape} and the values {values.shape} must match"
        )
    if out is not None and out.layout.dtype is not (dt.int32 if out_int32 else dt.int64):
        raise RuntimeError(f"searchsorted(): the output tensor's dtype is wrong, got {out.layout.dtype!r}")
    operands = (sorted_sequence.detach(), input.detach())
    if sorter is not None:
        if sorter.layout.shape != sequence.shape:
            raise RuntimeError(
                f"searchsorted(): boundary and sorter must have the same size, but got {sequence.shape} and {sorter.layout.shape}"
            )
        if sorter.layout.dtype is not dt.int64:
            raise RuntimeError(f"searchsorted(): sorter must be a tensor of long dtype but got dtype {sorter.layout.dtype!r}")
        if sorter.layout.numel and not holds_everywhere((sorter >= 0) & (sorter < sequence.shape[-1])):
            raise RuntimeError("searchsorted(): sorter index out of range")
        operands = (*operands, sorter)
    return into(out, SEARCHSORTED(*operands, statics=(right or side == "right", out_int32)))


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out: Tensor | None = None) -> Tensor:
    """The number of the interval between sorted ``boundaries`` in which each element lies."""
    if boundaries.layout.ndim != 1:
        raise RuntimeError(f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.layout.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


# -- counts ----------------------------------------------------------------------------------------------------------


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs in a vector, or the sum of its weights.

    Raises:
        RuntimeError: the input is no vector of non-negative integers, or ``weights`` has another shape.
    """
    require_tensor("bincount", "input", input)
    layout = input.layout
    if layout.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if layout.dtype.category > dt.INTEGER:
        raise NotImplementedError(f"bincount: expected an integer tensor, not {layout.dtype!r}")
    minlength = whole(minlength, "minlength")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights.layout.shape != layout.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    if 0 < layout.numel <= FEW and not LOCAL.tape.batched:
        return _few_counts(input.detach().to(dt.int64).contiguous(), weights, minlength)
    if not layout.numel:
        return zeros(minlength, dtype=dt.int64)  # with weights of any dtype, as in PyTorch
    low, high = aminmax(input.detach())
    if low.item() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    size = max(minlength, int(high.item()) + 1)
    places = input.detach().to(dt.int64)
    if weights is None:
        return _counts(places, size)
    dtype = dt.float32 if weights.layout.dtype is dt.float32 else dt.float64
    return scatter_add(zeros(size, dtype=dtype), 0, places, weights.detach().to(dtype))


def _few_counts(numbers: Tensor, weights: Tensor | None, minlength: int) -> Tensor:
    """``bincount`` of few elements, one after the other."""
    count = numbers.layout.numel
    size = kernels.kernel("bound")(numbers.data_ptr(), count)
    if size < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    size = max(size, minlength)
    dtype = dt.int64 if weights is None else dt.float32 if weights.layout.dtype is dt.float32 else dt.float64
    sums = new_empty(lay.contiguous((size,), dtype))
    if weights is None:
        kernels.kernel("tally")(numbers.data_ptr(), sums.data_ptr(), count, size)
    else:
        given = weights.detach().to(dtype).contiguous()
        kernels.kernel("weigh", dtype.name)(numbers.data_ptr(), given.data_ptr(), sums.data_ptr(), count, size)
    return sums


def _range(name: str, array: np.ndarray, low: float, high: float, margin: float) -> tuple[float, float]:
    """The outer edges of a histogram; those of the data where both are equal, and a margin around them where these are, too."""
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if low == high:
        low, high = low - margin, high + margin
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min")
    return low, high


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0, *, out: Tensor | None = None) -> Tensor:
    """How many elements lie in each of ``bins`` intervals of equal width between ``min`` and ``max`` (those of the data if equal)."""
    require_tensor("histc", "input", input)
    if not input.layout.dtype.is_floating_point:
        raise NotImplementedError(f"histc: expected a floating-point tensor, not {input.layout.dtype!r}")
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    if input.memory.device is not CPU:
        return into(out, input.new_empty(bins, device=META))
    array = _values(input).reshape(-1)
    low, high = _range("histc", array, number(min), number(max), 1)
    counts = _count(array, low, high, bins, None)
    return into(out, _tensor(counts, input.layout.dtype))


def _count(array: np.ndarray, low: float, high: float, bins: int, weights: np.ndarray | None) -> np.ndarray:
    inside = (array >= low) & (array <= high)
    places = ((array[inside].astype(np.float64) - low) / (high - low) * bins).astype(np.int64)
    places[places == bins] = bins - 1
    return np.bincount(places, None if weights is None else weights[inside], bins).astype(np.float64)


def histogram(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False, out: Any = None
) -> Any:
    """Counts (or sums of weights) of elements between edges: ``bins`` equal intervals, or the edges themselves.

    Returns:
        A named tuple ``(hist, bin_edges)``; with ``density`` the counts are divided by their sum and the widths.
    """
    require_tensor("histogram", "input", input)
    dtype = input.layout.dtype
    if not dtype.is_floating_point:
        raise RuntimeError(f"histogram: expected a floating-point tensor, not {dtype!r}")
    array = _values(input).reshape(-1)
    weights = None
    if weight is not None:
        if weight.layout.dtype is not dtype or weight.layout.shape != input.layout.shape:
            raise RuntimeError("histogram: input tensor and weight tensor should have the same shape and dtype")
        weights = _values(weight).reshape(-1).astype(np.float64)
    if isinstance(bins, TensorBase):
        edges = _values(bins)
        places = np.searchsorted(edges, array, "right") - 1
        places[array == edges[-1]] = len(edges) - 2
        inside = (places >= 0) & (places < len(edges) - 1)
        counts = np.bincount(places[inside], None if weights is None else weights[inside], len(edges) - 1).astype(np.float64)
    else:
        if bins <= 0:
            raise RuntimeError(f"histogram(): bins must be > 0, but got {bins} for dimension 0")
        low, high = _range("histogram", array if range is None else array[:0], *(range or (0.0, 0.0 if array.size else 1.0)), margin=0.5)
        edges = np.linspace(low, high, bins + 1)
        counts = _count(array, low, high, bins, weights)
    if density:
        counts = counts / (np.diff(edges) * counts.sum())
    return several(return_types.histogram, out, *(_tensor(each, dtype) for each in (counts, edges)))


PUBLIC = ("bincount", "bucketize", "histc", "histogram", "isin", "searchsorted", "unique", "unique_consecutive")
METHODS = ("bincount", "histc", "histogram", "unique", "unique_consecutive")
