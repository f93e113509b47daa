"""Discrete Fourier transforms.

Three operators stand behind all functions: complex to complex, real to complex (half of the last dimension), and back; each is
another's gradient. Beside their input they are given tables of factors, one for each dimension. See Cooley and Tukey, "An algorithm for
the machine calculation of complex Fourier series", 1965, and ``docs/design/0011-fourier.md``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau._compiler import frequencies
from flambeau._ops.arguments import int_tuple, into
from flambeau._ops.creation import from_array
from flambeau._ops.joining import constant_pad_nd, roll
from flambeau._ops.operator import Operator
from flambeau._ops.positions import require_tensor
from flambeau._ops.ranges import arange
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.fourier import Lines
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- operators -------------------------------------------------------------------------------------------------------


_TABLE_BYTES = 1 << 26
"""Tables of so many bytes are kept, those that were used last."""
_DIRECT = 2048
"""Calls for transforms of up to so many numbers are remembered with their tables."""
_tables: OrderedDict[tuple[int, bool, DType], Tensor] = OrderedDict()
_lock = Lock()


def _table(n: int, real: bool, dtype: DType) -> Tensor:
    """The factors for transforms of a length, with a complex dtype."""
    key = n, real, dtype
    with _lock:
        known = _tables.pop(key, None)
        if known is None:
            known = from_array(frequencies.table(n, real).astype(dtype.numpy), dtype)
        _tables[key] = known
        total = sum(each.layout.numel * each.layout.dtype.itemsize for each in _tables.values()) if known.layout.numel > 1 << 12 else 0
        while total > _TABLE_BYTES and len(_tables) > 1:
            _, dropped = _tables.popitem(last=False)
            total -= dropped.layout.numel * dropped.layout.dtype.itemsize
    return known


def _tables_for(operator: Operator, sizes: Sequence[int], dtype: DType) -> tuple[Tensor, ...]:
    """The tables of dimensions, whose sizes are those of what is not halved; of several, the last may be real."""
    last = len(sizes) - 1
    return tuple([_table(n, operator is not C2C and number == last and frequencies.folds(n), dtype) for number, n in enumerate(sizes)])


def _sizes_c2c(layout: Layout, dims: tuple[int, ...], forward: bool, scale: float) -> tuple[Operator, list[int]]:
    return C2C, [layout.shape[axis] for axis in dims]


def _sizes_r2c(layout: Layout, dims: tuple[int, ...], forward: bool, scale: float) -> tuple[Operator, list[int]]:
    return R2C, [layout.shape[axis] for axis in dims]


def _sizes_c2r(layout: Layout, dims: tuple[int, ...], forward: bool, scale: float, size: int) -> tuple[Operator, list[int]]:
    return C2R, [*[layout.shape[axis] for axis in dims[:-1]], size]


def _recording(sizes_of: Callable[..., tuple[Operator, list[int]]]) -> Callable[..., Tensor]:
    """A function that records an operator, with the tables that it needs."""

    def record(x: Tensor, *statics: Any) -> Tensor:
        operator, sizes = sizes_of(x.layout, *statics)
        return operator(x, *_tables_for(operator, sizes, x.layout.dtype.to_complex()), statics=statics)

    return record


_c2c, _r2c, _c2r = _recording(_sizes_c2c), _recording(_sizes_r2c), _recording(_sizes_c2r)
_SHORTHANDS = {_c2c: _sizes_c2c, _r2c: _sizes_r2c, _c2r: _sizes_c2r}


def _lower_c2c(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    from flambeau._compiler.fourier import Lines

    (source, *tables), (dims, forward, scale) = operands, statics
    if not layouts[0].numel:
        return graph.empty(layouts[0].dtype, layouts[0].shape)
    lines = Lines(graph, source)
    _along_each(lines, dims, tables, forward, scale, lines.is_last(dims))
    return lines.result()


def _along_each(lines: Lines, dims: Sequence[int], tables: Sequence[Node], forward: bool, scale: float, stays: bool) -> None:
    """Complex transforms along dimensions, the innermost in memory first; they become the innermost ones, if they do not stay where they are."""
    from flambeau._compiler.fourier import complex_lines

    order = sorted(range(len(dims)), key=lambda number: lines.order.index(dims[number]), reverse=stays)
    for number in order:
        complex_lines(lines, dims[number], tables[number], forward, scale, not stays)
        scale = 1.0


def _lower_r2c(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    from flambeau._compiler.fourier import Lines, real_lines

    (source, *tables), (dims, forward, scale) = operands, statics
    if not layouts[0].numel:
        return graph.empty(layouts[0].dtype, layouts[0].shape)
    lines = Lines(graph, source)
    stays = lines.is_last(dims)
    real_lines(lines, dims[-1], tables[-1], forward, scale)
    _along_each(lines, dims[:-1], tables[:-1], forward, 1.0, stays)
    return lines.result()


def _lower_c2r(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    from flambeau._compiler.fourier import Lines, real_results

    (source, *tables), (dims, forward, scale, size) = operands, statics
    if not layouts[0].numel:
        return graph.empty(layouts[0].dtype, layouts[0].shape)
    lines = Lines(graph, source)
    stays = lines.is_last(dims)
    _along_each(lines, dims[:-1], tables[:-1], forward, 1.0, stays)
    real_results(lines, dims[-1], tables[-1], forward, scale, size)
    return lines.result()


def _order(source: Layout, dims: Sequence[int]) -> list[int]:
    """The order of a result in memory: first what is not transformed, both as the operand has them."""
    axes = sorted(range(source.ndim), key=lambda axis: -source.strides[axis])
    return [axis for axis in axes if axis not in dims] + [axis for axis in axes if axis in dims]


def _infer_c2c(operands: tuple, statics: tuple) -> Layout:
    source = operands[0]
    return lay.ordered(source.shape, _order(source, statics[0]), source.dtype)


def _infer_r2c(operands: tuple, statics: tuple) -> Layout:
    source, last = operands[0], statics[0][-1]
    shape = (*source.shape[:last], source.shape[last] // 2 + 1, *source.shape[last + 1 :])
    return lay.ordered(shape, [*[axis for axis in _order(source, statics[0]) if axis != last], last], source.dtype.to_complex())


def _infer_c2r(operands: tuple, statics: tuple) -> Layout:
    source, last = operands[0], statics[0][-1]
    shape = (*source.shape[:last], statics[3], *source.shape[last + 1 :])
    return lay.ordered(shape, [*[axis for axis in _order(source, statics[0][:-1]) if axis != last], last], source.dtype.to_real())


C2C = Operator("_fft_c2c", ("input", "tables..."), ("dims", "forward", "scale"), infer=_infer_c2c, lower=_lower_c2c)
R2C = Operator("_fft_r2c", ("input", "tables..."), ("dims", "forward", "scale"), infer=_infer_r2c, lower=_lower_r2c)
C2R = Operator("_fft_c2r", ("input", "tables..."), ("dims", "forward", "scale", "size"), infer=_infer_c2r, lower=_lower_c2r)


def _r2c_gradient(grad: Tensor, input_shape: tuple[int, ...], dims: tuple[int, ...], forward: bool, scale: float) -> Tensor:
    """The half that was not computed has no gradient."""
    return _c2c(_resized(grad, (dims[-1],), (input_shape[dims[-1]],)), dims, not forward, scale).real


def _c2r_gradient(grad: Tensor, dims: tuple[int, ...], forward: bool, scale: float, size: int) -> Tensor:
    """Frequencies that stand for two count twice."""
    half = _r2c(grad, dims, not forward, scale)
    last = dims[-1]
    twice = arange(half.layout.shape[last])
    weights = ((twice > 0) & (twice < size - size // 2)).to(grad.layout.dtype) + 1
    return half * weights.reshape(tuple(-1 if axis == last else 1 for axis in range(half.layout.ndim)))


C2C.gradient(input=lambda grad, dims, forward, scale: _c2c(grad, dims, not forward, scale))
R2C.gradient(input=_r2c_gradient)
C2R.gradient(input=_c2r_gradient)

# -- arguments -------------------------------------------------------------------------------------------------------


def _resized(x: Tensor, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Zeros appended to (or elements cut from the end of) dimensions."""
    ndim = x.layout.ndim
    amounts = [0] * (2 * ndim)
    for axis, size in zip(dims, sizes, strict=True):
        amounts[2 * (ndim - 1 - axis) + 1] = size - x.layout.shape[axis]
    return constant_pad_nd(x, amounts) if any(amounts) else x


def _real_dtype(name: str, dtype: DType, *, real: bool = False) -> DType:
    """What numbers of a dtype are computed in: that of the real ones, or of the parts of complex ones."""
    if real and dtype.is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {dtype!r}")
    if dtype.category < dt.FLOAT:
        return get_default_dtype()
    if dtype.compute is not dtype:
        raise RuntimeError(f"Unsupported dtype {dtype!r}: {name} computes in float32 and float64")
    return dtype.to_real()


def _scale(name: str, norm: str | None, count: int, forward: bool) -> float:
    if norm not in (None, "backward", "forward", "ortho"):
        raise (RuntimeError if isinstance(norm, str) else TypeError)(
            f"{name}: norm must be 'backward', 'forward' or 'ortho', but got {norm!r}"
        )
    if norm == "ortho":
        return 1 / math.sqrt(count)
    return 1 / count if forward == (norm == "forward") else 1.0


def _size(name: str, size: int) -> int:
    if size < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({size}) specified")
    return size


def _dims(name: str, layout: Layout, s: Any, dim: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The dimensions and their sizes after padding."""
    ndim, shape = layout.ndim, layout.shape
    sizes = None if s is None else int_tuple(s, "s")
    if dim is not None:
        axes = tuple(lay.wrap_axis(axis, ndim) for axis in int_tuple(dim, "dim"))
    else:
        axes = tuple(range(ndim - len(sizes) if sizes is not None else 0, ndim))
    if sizes is not None and len(sizes) > ndim:
        raise RuntimeError(f"{name}: Got shape with {len(sizes)} values but input tensor only has {ndim} dimensions.")
    if sizes is not None and len(sizes) != len(axes):
        raise RuntimeError(f"{name}: When given, dim and shape arguments must have the same length")
    if len(set(axes)) != len(axes):
        raise RuntimeError("FFT dims must be unique")
    if ndim == 0 and axes:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    wanted = (
        tuple(shape[axis] if size == -1 else size for axis, size in zip(axes, sizes, strict=True))
        if sizes
        else tuple(shape[axis] for axis in axes)
    )
    return axes, tuple(_size(name, size) for size in wanted)


# -- transforms of several dimensions --------------------------------------------------------------------------------


class _Steps(NamedTuple):
    """What a call comes to for an input of some layout: to which dtype it is cast, which sizes its dimensions get, and the operators that follow."""

    dtype: DType
    dims: tuple[int, ...]
    sizes: tuple[int, ...]
    calls: tuple[tuple[Callable, tuple], ...]

    def run(self, x: Tensor) -> Tensor:
        if x.layout.dtype is not self.dtype:
            x = x.to(self.dtype)
        x = _resized(x, self.dims, self.sizes)
        for function, statics in self.calls:
            x = function(x, *statics)
        return x if self.calls else x.clone()


def _complex(name: str, layout: Layout, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str | None, forward: bool) -> _Steps:
    dtype = _real_dtype(name, layout.dtype).to_complex()
    scale = _scale(name, norm, math.prod(sizes), forward)
    return _Steps(dtype, axes, sizes, ((_c2c, (axes, forward, scale)),) if axes else ())


def _halved(name: str, layout: Layout, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str | None, forward: bool) -> _Steps:
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    dtype = _real_dtype(name, layout.dtype, real=True)
    scale = _scale(name, norm, math.prod(sizes), forward)
    if forward or len(axes) == 1:
        return _Steps(dtype, axes, sizes, ((_r2c, (axes, forward, scale)),))
    return _Steps(dtype, axes, sizes, ((_r2c, (axes[-1:], forward, scale)), (_c2c, (axes[:-1], forward, 1.0))))


def _real(name: str, layout: Layout, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str | None, forward: bool) -> _Steps:
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    dtype = _real_dtype(name, layout.dtype).to_complex()
    scale = _scale(name, norm, math.prod(sizes), forward)
    return _Steps(dtype, axes, (*sizes[:-1], sizes[-1] // 2 + 1), ((_c2r, (axes, forward, scale, sizes[-1])),))


def _family(stem: str, make: Callable[..., _Steps], forward: bool, doc: str, *, restores: bool = False) -> None:
    """``stem``, ``stem2`` and ``stemn`` of one kind of transform."""

    def full(layout: Layout, axes: tuple[int, ...], sizes: tuple[int, ...], given: bool, name: str) -> tuple[int, ...]:
        return (*sizes[:-1], _size(name, 2 * (layout.shape[axes[-1]] - 1))) if restores and axes and not given else sizes

    @lru_cache(maxsize=256)
    def direct(layout: Layout, n: int | None, dim: int, norm: str | None) -> tuple[Operator, tuple[Tensor, ...], tuple] | None:
        """The one operator that a call is, with short tables and its statics, if the input is taken as it is."""
        steps = planned(layout, n, dim, norm)
        (function, statics), *others = steps.calls
        same = layout.dtype is steps.dtype and all(layout.shape[axis] == size for axis, size in zip(steps.dims, steps.sizes, strict=True))
        operator, sizes = _SHORTHANDS[function](layout, *statics)
        if not same or others or max(sizes) > _DIRECT:
            return None
        return operator, _tables_for(operator, sizes, layout.dtype.to_complex()), statics

    def planned(layout: Layout, n: int | None, dim: int, norm: str | None) -> _Steps:
        if layout.ndim == 0:
            raise IndexError("Dimension specified as -1 but tensor has no dimensions")
        axis = lay.wrap_axis(dim, layout.ndim)
        size = n if n is not None else full(layout, (axis,), (layout.shape[axis],), False, stem)[0]
        return make(stem, layout, (axis,), (_size(stem, size),), norm, forward)

    def one(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None) -> Tensor:
        require_tensor(stem, "input", input)
        layout = input.layout
        known = direct(layout, n, dim, norm) if layout.dtype.category >= dt.FLOAT else None
        if known is None:
            return into(out, planned(layout, n, dim, norm).run(input))
        operator, tables, statics = known
        result = operator(input, *tables, statics=statics)
        return result if out is None else into(out, result)

    def several(name: str, default: Sequence[int] | None) -> Callable:
        def transform(
            input: Tensor,
            s: Sequence[int] | None = None,
            dim: Sequence[int] | None = default,
            norm: str | None = None,
            *,
            out: Tensor | None = None,
        ) -> Tensor:
            require_tensor(name, "input", input)
            layout = input.layout
            axes, sizes = _dims(name, layout, s, dim)
            last_given = s is not None and int_tuple(s, "s")[-1:] not in ((-1,), ())
            sizes = full(layout, axes, sizes, last_given, name)
            return into(out, make(name, layout, axes, sizes, norm, forward).run(input))

        return transform

    for name, function, over in (
        (stem, one, "one dimension"), (stem + "2", several(stem + "2", (-2, -1)), "two dimensions"), (stem + "n", several(stem + "n", None), "several dimensions"),
    ):  # fmt: skip
        function.__name__ = function.__qualname__ = name
        function.__doc__ = (
            f"{doc}, over {over}. ``norm`` says where the factor 1/n goes: 'backward', 'forward', or its root to both ('ortho')."
        )
        globals()[name] = function


_family("fft", _complex, True, "The discrete Fourier transform")
_family("ifft", _complex, False, "The inverse of ``fft``")
_family("rfft", _halved, True, "The Fourier transform of real numbers, without the redundant half of the last dimension")
_family("irfft", _real, False, "The inverse of ``rfft``", restores=True)
_family("hfft", _real, True, "The Fourier transform of numbers with Hermitian symmetry, whose result is real", restores=True)
_family("ihfft", _halved, False, "The inverse of ``hfft``")

# -- frequencies -----------------------------------------------------------------------------------------------------


def fftfreq(
    n: int, d: float = 1.0, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """The frequencies of ``fft``'s results for samples ``d`` apart: from 0 up, then the negative ones."""
    half = (n - 1) // 2 + 1
    order = roll(arange(-(n - half), half, device=device), half)
    return into(out, (order.to(dtype or get_default_dtype()) * (1.0 / (n * d))).requires_grad_(requires_grad))


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """The frequencies of ``rfft``'s results for samples ``d`` apart."""
    return into(out, (arange(n // 2 + 1, device=device).to(dtype or get_default_dtype()) * (1.0 / (n * d))).requires_grad_(requires_grad))


def _shift(x: Tensor, dim: Any, amount: Callable[[int], int]) -> Tensor:
    require_tensor("fftshift" if amount(3) == 1 else "ifftshift", "input", x)
    layout = x.layout
    axes = tuple(range(layout.ndim)) if dim is None else int_tuple(dim, "dim")
    return roll(x, [amount(layout.shape[lay.wrap_axis(axis, layout.ndim)]) for axis in axes], axes) if axes else x.clone()


def fftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The results of ``fftn`` with the frequency 0 moved to the middle."""
    return _shift(input, dim, lambda size: size // 2)


def ifftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of ``fftshift``."""
    return _shift(input, dim, lambda size: (size + 1) // 2)
