"""Writing slices at a vector of positions along one dimension: index_add, index_copy, index_fill, index_reduce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import into, number_for
from flambeau._ops.autocast import STATE, cast
from flambeau._ops.positions import require_tensor, spread, vector_of
from flambeau._ops.scattering import SCATTER, check_out, reduced
from flambeau._tape.storage import TensorBase
from flambeau._types import layout as lay
from flambeau._types.promotion import promote_types

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def _index_write(self: Tensor, dim: int, index: Tensor, source: Tensor, name: str) -> tuple[int, Tensor]:
    axis = lay.wrap_axis(dim, self.layout.ndim)
    vector = vector_of(name, index)
    require_tensor(name, "source", source)
    wanted = (*self.layout.shape[:axis], vector.layout.numel, *self.layout.shape[axis + 1 :])
    if source.layout.shape == wanted and self.layout.ndim:
        return axis, spread(vector, axis, wanted)
    if source.layout.ndim and source.layout.shape[axis] != vector.layout.numel:
        raise (IndexError if name == "index_copy" else RuntimeError)(  # as PyTorch does
            f"{name}(): Number of indices ({vector.layout.numel}) should be equal to source.size(dim): ({source.layout.shape[axis]}), for dim: {axis}"
        )
    if name == "index_add" and bool(source.layout.ndim) != bool(self.layout.ndim):
        raise RuntimeError(
            f"{name}(): source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(self.layout.shape)} source.shape = {list(source.layout.shape)}"
        )
    if source.layout.ndim and self.layout.ndim and source.layout.shape != wanted:
        raise RuntimeError(
            f"{name}(): source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(self.layout.shape)} source.shape = {list(source.layout.shape)} (dim {axis}, {vector.layout.numel} indices)"
        )
    return axis, spread(vector, axis, source.layout.shape if source.layout.ndim else self.layout.shape)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """A copy of ``input`` with ``alpha`` times the slices of ``source`` added at the positions in ``index``."""
    axis, places = _index_write(input, dim, index, source, "index_add")
    check_out(out, input, index, source, name="index_add")
    return into(out, SCATTER(input.contiguous(), places, _times(source, alpha), statics=(axis, "sum", "index_add")))


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """In-place version of ``index_add()``."""
    axis, places = _index_write(self, dim, index, source, "index_add")
    return SCATTER.inplace(self, self, places, _times(source, alpha), statics=(axis, "sum", "index_add"))


def _times(source: Tensor, alpha: Any) -> Tensor:
    """``alpha`` times the source, in its dtype: of 1.5 an integer sees 1."""
    if alpha.__class__ is int and alpha == 1:
        return source
    alpha = number_for(source.layout.dtype, alpha)
    return source if alpha == 1 else source * alpha


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of ``input`` with the slices of ``source`` written at the positions in ``index``."""
    if STATE.dtype is not None:
        widest = promote_types(input.layout.dtype, source.layout.dtype)
        input, source = cast(input, widest), cast(source, widest)
    axis, places = _index_write(input, dim, index, source, "index_copy")
    check_out(out, input, index, source, name="index_copy")
    return into(out, SCATTER(input.contiguous(), places, source, statics=(axis, "set", "index_copy")))


def index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """In-place version of ``index_copy()``."""
    axis, places = _index_write(self, dim, index, source, "index_copy")
    return SCATTER.inplace(self, self, places, source, statics=(axis, "set", "index_copy"))


def _filling(self: Tensor, dim: int, index: Tensor, value: Any) -> tuple:
    """The operands and statics of ``index_fill``."""
    axis = lay.wrap_axis(dim, self.layout.ndim)
    places = spread(vector_of("index_fill", index), axis, self.layout.shape)
    if isinstance(value, TensorBase):
        if value.layout.ndim:
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.layout.ndim} dimension(s)."
            )
        value = value.to(self.layout.dtype).expand(places.layout.shape)
    elif isinstance(value, complex) and not self.layout.dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {self.layout.dtype.name} without overflow: {value} is complex")
    else:
        value = number_for(self.layout.dtype, value)
    return (places, value), (axis, "set", "index_fill")


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of ``input`` with a number (or a tensor without dimensions) written to the slices at the positions in ``index``."""
    if not input.layout.ndim:  # as a vector, one of whose elements may be written several times
        return index_fill(input.reshape(1), dim, index, value).reshape(())
    operands, statics = _filling(input, dim, index, value)
    return SCATTER(input, *operands, statics=statics)


def index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """In-place version of ``index_fill()``."""
    if not self.layout.ndim:
        index_fill_(self.view(1), dim, index, value)
        return self
    operands, statics = _filling(self, dim, index, value)
    return SCATTER.inplace(self, self, *operands, statics=statics)


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True, out: Tensor | None = None
) -> Tensor:
    """A copy of ``input`` with the slices of ``source`` combined (prod, mean, amax, amin) into those at the positions in ``index``."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    axis, places = _index_write(input, dim, index, source, "index_reduce")
    check_out(out, input, index, source, name="index_reduce")
    return into(out, reduced(input, axis, places, source, reduce, include_self, "index_reduce"))


def index_reduce_(self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True) -> Tensor:
    """In-place version of ``index_reduce()``."""
    return self.copy_(index_reduce(self, dim, index, source, reduce, include_self=include_self))


PUBLIC = ("index_add", "index_copy", "index_fill", "index_reduce")
METHODS = (*PUBLIC, "index_add_", "index_copy_", "index_fill_", "index_reduce_")
