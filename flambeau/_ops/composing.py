"""Tensors made of others: products of sets, blocks, rotations, copies with a part replaced, and copies instead of views."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import joining, shaping, views
from flambeau._ops.arguments import int_tuple, into, whole
from flambeau._ops.copying import TO, contiguous_format
from flambeau._ops.creation import from_array, new_empty, with_options, zeros
from flambeau._ops.functions import addcmul
from flambeau._ops.gathering import index_select
from flambeau._ops.joining import cat, stack
from flambeau._ops.origin import warn
from flambeau._ops.positions import require_tensor
from flambeau._runtime import places
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.promotion import promote_types

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

# -- products of sets ------------------------------------------------------------------------------------------------


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of an element of each vector, one a row (a vector alone is itself)."""
    for tensor in tensors:
        if tensor.layout.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(tensor.layout.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([grid.reshape(-1) for grid in shaping.meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of ``r`` elements of a vector, one a row, as ``itertools.combinations`` orders them."""
    require_tensor("combinations", "input", input)
    if input.layout.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.layout.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    if r == 2:
        pairs = triu_indices(input.layout.numel, input.layout.numel, 0 if with_replacement else 1)
        return index_select(input, 0, pairs.t().reshape(-1)).reshape(-1, 2)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.layout.numel), r)), np.int64).reshape(-1, r)
    return index_select(input, 0, from_array(rows.reshape(-1))).reshape(rows.shape)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given matrices (vectors as rows) on its diagonal, and 0 elsewhere."""
    given = [shaping.atleast_2d(tensor) for tensor in tensors] or [zeros(1, 0)]
    for position, block in enumerate(given):
        if block.layout.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {position} has {block.layout.ndim} dimensions"
            )
    dtype = given[0].layout.dtype
    for block in given[1:]:
        dtype = promote_types(dtype, block.layout.dtype)
    width = sum(block.layout.shape[1] for block in given)
    rows, start = [], 0
    for block in given:
        end = start + block.layout.shape[1]
        rows.append(joining.constant_pad_nd(block.to(dtype), (start, width - end)))
        start = end
    return cat(rows, 0)


def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The Kronecker product: ``other``, scaled by each element of ``input``, as blocks."""
    require_tensor("kron", "input", input)
    ndim = max(input.layout.ndim, other.layout.ndim)
    left, right = ((*(1,) * (ndim - x.layout.ndim), *x.layout.shape) for x in (input, other))
    spread_left = input.reshape([size for each in left for size in (each, 1)])
    spread_right = other.reshape([size for each in right for size in (1, each)])
    return into(out, (spread_left * spread_right).reshape([a * b for a, b in zip(left, right, strict=True)]))


def cross(input: Tensor, other: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """The vector product along ``dim`` (by default the first dimension of size 3)."""
    require_tensor("cross", "input", input)
    if dim is None:
        warn(
            "Using torch.cross without specifying the dim arg is deprecated: pass dim, or use torch.linalg.cross, whose dim is -1 by default."
        )
        shape = input.layout.shape
        if 3 not in shape:
            raise RuntimeError(f"no dimension of size 3 in input: shape {list(shape)}")
        dim = shape.index(3)
    return into(out, vector_product(input, other, dim))


def vector_product(input: Tensor, other: Tensor, dim: int) -> Tensor:
    if input.layout.ndim != other.layout.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if input.layout.dtype is not other.layout.dtype:
        raise RuntimeError(
            f"linalg.cross: expected input and other to have the same dtype, but got {input.layout.dtype!r} and {other.layout.dtype!r}"
        )
    axis = lay.wrap_axis(dim, input.layout.ndim)
    for each in (input, other):
        if not each.layout.shape or each.layout.shape[axis] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim} must have length 3. Got {list(input.layout.shape)} and {list(other.layout.shape)}"
            )
    input, other = shaping.broadcast_tensors(input, other)
    left, right = input.unbind(axis), other.unbind(axis)
    # Of a difference of products, which may cancel, only one product is rounded.
    parts = [addcmul(left[(k + 1) % 3] * right[(k + 2) % 3], left[(k + 2) % 3], right[(k + 1) % 3], value=-1) for k in range(3)]
    return stack(parts, axis)


# -- rotations and triangles -----------------------------------------------------------------------------------------


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy rotated ``k`` times by 90 degrees in the plane of two dimensions, from the first towards the second."""
    require_tensor("rot90", "input", input)
    axes = int_tuple(dims, "dims")
    ndim = input.layout.ndim
    if len(axes) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(axes)}")
    if ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {ndim}")
    first, second = axes
    if first == second or abs(first - second) == ndim:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {first} and dim1 = {second}")
    first, second = lay.wrap_axis(first, ndim), lay.wrap_axis(second, ndim)
    turns = k % 4
    if turns == 1:
        return views.transpose(joining.flip(input, second), first, second)
    if turns == 2:
        return joining.flip(input, (first, second))
    if turns == 3:
        return views.transpose(joining.flip(input, first), first, second)
    return input.clone()


def _up_to_diagonal(rows: int, columns: int, offset: int) -> int:
    """How many elements of a matrix lie up to a diagonal: rows have none, then one more each, then all."""
    first = min(max(-offset, 0), rows)
    full = min(max(columns - offset, first), rows)
    return (full - first) * (first + full + 2 * offset + 1) // 2 + (rows - full) * columns


def _triangle_indices(name: str, upper: bool) -> Callable:
    def function(row: int, col: int, offset: int = 0, *, dtype: DType = dt.int64, device: Any = None, layout: Any = None) -> Tensor:
        row, col, offset = whole(row, "row"), whole(col, "col"), whole(offset, "offset")
        if row < 0 or col < 0:
            raise RuntimeError(f"{name}: row and col must be non-negative, got {row} and {col}")
        offset = min(max(offset, -row), col)  # beyond these nothing changes
        count = row * col - _up_to_diagonal(row, col, offset - 1) if upper else _up_to_diagonal(row, col, offset)
        result = new_empty(lay.contiguous((2, count), dt.int64))
        if count:
            places.kernel("triangle")(result.data_ptr(), row, col, offset, upper, count)
        return with_options(result if dtype is dt.int64 else result.to(dtype), False, device, layout)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The rows and columns of the {'upper' if upper else 'lower'} triangle of a matrix, as two rows."
    return function


tril_indices, triu_indices = _triangle_indices("tril_indices", False), _triangle_indices("triu_indices", True)


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix of zeros with the elements on a diagonal."""
    require_tensor("diagflat", "input", input)
    return shaping.diag_embed(input.reshape(-1), offset)


# -- copies with a part replaced -------------------------------------------------------------------------------------


def _replaced(input: Tensor, part: Callable[[Tensor], Tensor], src: Tensor, name: str, out: Tensor | None) -> Tensor:
    result = input.clone()
    target = part(result)
    if target.layout.shape != src.layout.shape:
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = {list(src.layout.shape)}, slice size = {list(target.layout.shape)}"
        )
    target.copy_(src)
    return into(out, result)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int, *, out: Tensor | None = None) -> Tensor:
    """A copy with ``src`` in the place of one slice along ``dim``."""
    require_tensor("select_scatter", "input", input)
    return _replaced(input, lambda whole: views.select(whole, dim, index), src, "select_scatter", out)


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1, *, out: Tensor | None = None) -> Tensor:
    """A copy with ``src`` in the place of a diagonal."""
    require_tensor("diagonal_scatter", "input", input)
    return _replaced(input, lambda whole: shaping.diagonal(whole, offset, dim1, dim2), src, "diagonal_scatter", out)


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1, *, out: Tensor | None = None
) -> Tensor:
    """A copy with ``src`` in the place of ``input[start:end:step]`` along ``dim``."""
    require_tensor("slice_scatter", "input", input)
    if step < 1:
        raise RuntimeError(f"slice_scatter(): slice step must be positive, but got {step}")
    axis = lay.wrap_axis(dim, input.layout.ndim)
    index = (*(slice(None),) * axis, slice(start, end, step))
    return _replaced(input, lambda whole: whole[index], src, "slice_scatter", out)


def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None, *, out: Tensor | None = None
) -> Tensor:
    """A copy with ``src`` in the place of a strided part."""
    require_tensor("as_strided_scatter", "input", input)
    return _replaced(input, lambda whole: views.as_strided(whole, size, stride, storage_offset), src, "as_strided_scatter", out)


# -- copies instead of views -----------------------------------------------------------------------------------------


def _copying(name: str, view: Callable) -> Callable:
    def function(input: Tensor, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        made = view(input, *args, **kwargs)
        if isinstance(made, tuple):
            fresh = tuple(_fresh(each) for each in made)
            return fresh if out is None else into(out, fresh) and None
        return into(out, _fresh(made))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"As ``{name.removesuffix('_copy')}``, but a copy instead of a view."
    return function


def _fresh(view: Tensor) -> Tensor:
    return view.clone(memory_format=contiguous_format)


_VIEWS = {
    "alias": lambda input: input.view_as(input), "as_strided": views.as_strided, "diagonal": shaping.diagonal, "expand": views.expand, "narrow": views.narrow,
    "permute": views.permute, "select": views.select, "split": joining.split, "split_with_sizes": joining.split, "squeeze": views.squeeze, "t": views.t,
    "transpose": views.transpose, "unbind": joining.unbind, "unfold": shaping.unfold, "unsqueeze": views.unsqueeze, "view": views.view,
}  # fmt: skip
_COPIES = tuple(f"{name}_copy" for name in _VIEWS)
for _name, _view in _VIEWS.items():
    globals()[f"{_name}_copy"] = _copying(f"{_name}_copy", _view)

# -- pieces ----------------------------------------------------------------------------------------------------------


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of pieces of the given sizes along ``dim``."""
    require_tensor("split_with_sizes", "input", input)
    return joining.split(input, int_tuple(split_sizes, "split_sizes"), dim)


def _splitting(name: str, least: int, axis: Callable[[int], int]) -> Callable:
    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        if input.layout.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {input.layout.ndim} dimensions!"
            )
        dim = axis(input.layout.ndim)
        if isinstance(indices_or_sections, int) and (indices_or_sections <= 0 or input.layout.shape[dim] % indices_or_sections):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension {input.layout.shape[dim]} "
                f"is not divisible by the split_size {indices_or_sections}!"
            )
        return joining.tensor_split(input, indices_or_sections, dim)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Views of equal pieces, or of pieces cut at indices, along the {} dimension.".format(
        {"hsplit": "second", "vsplit": "first", "dsplit": "third"}[name]
    )
    return function


hsplit = _splitting("hsplit", 1, lambda ndim: min(ndim - 1, 1))
vsplit = _splitting("vsplit", 2, lambda ndim: 0)
dsplit = _splitting("dsplit", 3, lambda ndim: 2)


def unsafe_split(tensor: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """As ``split``."""
    require_tensor("unsafe_split", "tensor", tensor)
    return joining.split(tensor, split_size, dim)


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """As ``chunk``."""
    require_tensor("unsafe_chunk", "input", input)
    return joining.chunk(input, chunks, dim)


# -- positions -------------------------------------------------------------------------------------------------------


def argwhere(input: Tensor) -> Tensor:
    """The positions of the elements that are not 0, one a row."""
    require_tensor("argwhere", "input", input)
    return input.nonzero()


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates of row-major positions in a tensor of the given shape."""
    require_tensor("unravel_index", "indices", indices)
    if indices.layout.dtype.category > dt.INTEGER or indices.layout.dtype is dt.bool:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.layout.dtype!r}")
    found = []
    for size in reversed(int_tuple(shape.tolist() if isinstance(shape, TensorBase) else shape, "shape")):
        found.append(indices % size)
        indices = indices // size
    return stack(found[::-1], -1).unbind(-1) if found else ()


def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) ``source``'s elements at row-major positions of the tensor."""
    return self.copy_(put(self, index, source, accumulate))


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with ``source``'s elements written (or added) at row-major positions."""
    require_tensor("put", "index", index)
    require_tensor("put", "source", source)
    if index.layout.dtype is not dt.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index.layout.dtype!r}")
    if source.layout.dtype is not input.layout.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got {input.layout.dtype!r} and {source.layout.dtype!r}"
        )
    if index.layout.numel != source.layout.numel:
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got {source.layout.numel} and {index.layout.numel}"
        )
    flat = input.reshape(-1)
    result = flat.index_put((index.reshape(-1),), source.reshape(-1), accumulate).reshape(input.layout.shape)
    wanted = lay.like(input.layout, input.layout.dtype)
    return result if result.layout is wanted else TO(result, statics=(wanted,))


PUBLIC = (
    *_COPIES, "argwhere", "as_strided_scatter", "block_diag", "cartesian_prod", "combinations", "cross", "diagflat", "diagonal_scatter", "dsplit", "hsplit", "kron", "put",
    "rot90", "select_scatter", "slice_scatter", "split_with_sizes", "tril_indices", "triu_indices", "unravel_index", "unsafe_chunk", "unsafe_split", "vsplit",
)  # fmt: skip
METHODS = (
    "narrow_copy", "argwhere", "as_strided_scatter", "cross", "diagflat", "diagonal_scatter", "dsplit", "hsplit", "kron", "put", "put_", "rot90", "select_scatter", "slice_scatter",
    "split_with_sizes", "unsafe_chunk", "unsafe_split", "vsplit",
)  # fmt: skip
