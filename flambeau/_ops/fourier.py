"""Discrete Fourier transforms.

Three operators stand behind all functions: complex to complex, real to complex (half of the last dimension), and back. They run on
the host, by NumPy's transforms; each is another's gradient. See Cooley and Tukey, "An algorithm for the machine calculation of
complex Fourier series", 1965.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.arguments import int_tuple, into
from flambeau._ops.creation import arange
from flambeau._ops.joining import constant_pad_nd, roll
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- operators -------------------------------------------------------------------------------------------------------


def _lower(function: Callable) -> Callable:
    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        result = layouts[0]

        def transform(array: np.ndarray, *statics: Any) -> tuple[np.ndarray]:
            return (np.ascontiguousarray(function(array, *statics), result.dtype.numpy),)

        return graph.host(transform, operands, ((result.dtype, result.shape),), *statics)[0]

    return lower


def _c2c(x: np.ndarray, dims: tuple[int, ...], forward: bool, scale: float) -> np.ndarray:
    for dim in reversed(dims):
        x = np.fft.fft(x, axis=dim) if forward else np.fft.ifft(x, axis=dim, norm="forward")
    return _scaled(x, scale)


def _scaled(made: np.ndarray, scale: float) -> np.ndarray:
    """What a transform has just made, times a factor."""
    if scale != 1.0:
        made *= scale
    return made


def _r2c(x: np.ndarray, dims: tuple[int, ...], forward: bool, scale: float) -> np.ndarray:
    half = np.fft.rfft(x, axis=dims[-1])
    if not forward:
        half = half.conj()
    return _c2c(half, dims[:-1], forward, scale)


def _c2r(x: np.ndarray, dims: tuple[int, ...], forward: bool, scale: float, size: int) -> np.ndarray:
    if len(dims) > 1:
        x = _c2c(x, dims[:-1], forward, 1.0)
    return _scaled(np.fft.irfft(x.conj() if forward else x, size, dims[-1], norm="forward"), scale)


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


C2C = Operator("_fft_c2c", ("input",), ("dims", "forward", "scale"), infer=_infer_c2c, lower=_lower(_c2c))
R2C = Operator("_fft_r2c", ("input",), ("dims", "forward", "scale"), infer=_infer_r2c, lower=_lower(_r2c))
C2R = Operator("_fft_c2r", ("input",), ("dims", "forward", "scale", "size"), infer=_infer_c2r, lower=_lower(_c2r))


def _r2c_gradient(grad: Tensor, input_shape: tuple[int, ...], dims: tuple[int, ...], forward: bool, scale: float) -> Tensor:
    """The half that was not computed has no gradient."""
    return C2C(_resized(grad, (dims[-1],), (input_shape[dims[-1]],)), statics=(dims, not forward, scale)).real


def _c2r_gradient(grad: Tensor, dims: tuple[int, ...], forward: bool, scale: float, size: int) -> Tensor:
    """Frequencies that stand for two count twice."""
    half = R2C(grad, statics=(dims, not forward, scale))
    last = dims[-1]
    twice = arange(half.layout.shape[last])
    weights = ((twice > 0) & (twice < size - size // 2)).to(grad.layout.dtype) + 1
    return half * weights.reshape(tuple(-1 if axis == last else 1 for axis in range(half.layout.ndim)))


C2C.gradient(input=lambda grad, dims, forward, scale: C2C(grad, statics=(dims, not forward, scale)))
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


def _prepared(name: str, x: Tensor, *, real: bool = False, complex: bool = False) -> Tensor:
    dtype = x.layout.dtype
    if real and dtype.is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {dtype!r}")
    if dtype.category < dt.FLOAT:
        x = x.to(get_default_dtype())
    elif dtype.compute is not dtype:
        raise RuntimeError(f"Unsupported dtype {dtype!r}: {name} computes in float32 and float64")
    return x.to(x.layout.dtype.to_complex()) if complex else x


def _scale(name: str, norm: str | None, count: int, forward: bool) -> float:
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f"{name}: Invalid normalization mode: {norm!r}")
    if norm == "ortho":
        return 1 / math.sqrt(count)
    return 1 / count if forward == (norm == "forward") else 1.0


def _size(name: str, size: int) -> int:
    if size < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({size}) specified")
    return size


def _dims(name: str, x: Tensor, s: Any, dim: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The dimensions and their sizes after padding."""
    ndim, shape = x.layout.ndim, x.layout.shape
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


def _complex(name: str, forward: bool) -> Callable:
    def transform(x: Tensor, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str | None) -> Tensor:
        x = _resized(_prepared(name, x, complex=True), axes, sizes)
        scale = _scale(name, norm, math.prod(sizes), forward)
        return C2C(x, statics=(axes, forward, scale)) if axes else x.clone()

    return transform


def _halved(name: str, forward: bool) -> Callable:
    def transform(x: Tensor, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str | None) -> Tensor:
        if not axes:
            raise RuntimeError(f"{name} must transform at least one axis")
        x = _resized(_prepared(name, x, real=True), axes, sizes)
        scale = _scale(name, norm, math.prod(sizes), forward)
        if forward or len(axes) == 1:
            return R2C(x, statics=(axes, forward, scale))
        return C2C(R2C(x, statics=(axes[-1:], forward, scale)), statics=(axes[:-1], forward, 1.0))

    return transform


def _real(name: str, forward: bool) -> Callable:
    def transform(x: Tensor, axes: tuple[int, ...], sizes: tuple[int, ...], norm: str | None) -> Tensor:
        if not axes:
            raise RuntimeError(f"{name} must transform at least one axis")
        x = _resized(_prepared(name, x, complex=True), axes, (*sizes[:-1], sizes[-1] // 2 + 1))
        return C2R(x, statics=(axes, forward, _scale(name, norm, math.prod(sizes), forward), sizes[-1]))

    return transform


def _family(stem: str, make: Callable, forward: bool, doc: str, *, restores: bool = False) -> None:
    """``stem``, ``stem2`` and ``stemn`` of one kind of transform."""

    def full(x: Tensor, axes: tuple[int, ...], sizes: tuple[int, ...], given: bool, name: str) -> tuple[int, ...]:
        return (*sizes[:-1], _size(name, 2 * (x.layout.shape[axes[-1]] - 1))) if restores and axes and not given else sizes

    def one(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None) -> Tensor:
        name = stem
        if input.layout.ndim == 0:
            raise IndexError("Dimension specified as -1 but tensor has no dimensions")
        axis = lay.wrap_axis(dim, input.layout.ndim)
        size = n if n is not None else full(input, (axis,), (input.layout.shape[axis],), False, name)[0]
        return into(out, make(name, forward)(input, (axis,), (_size(name, size),), norm))

    def several(name: str, default: Sequence[int] | None) -> Callable:
        def transform(
            input: Tensor,
            s: Sequence[int] | None = None,
            dim: Sequence[int] | None = default,
            norm: str | None = None,
            *,
            out: Tensor | None = None,
        ) -> Tensor:
            axes, sizes = _dims(name, input, s, dim)
            last_given = s is not None and int_tuple(s, "s")[-1:] not in ((-1,), ())
            return into(out, make(name, forward)(input, axes, full(input, axes, sizes, last_given, name), norm))

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
    order = roll(arange(-(n - half), half), half)
    return into(out, (order.to(dtype or get_default_dtype()) * (1.0 / (n * d))).requires_grad_(requires_grad))


def rfftfreq(
    n: int, d: float = 1.0, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, out: Tensor | None = None
) -> Tensor:
    """The frequencies of ``rfft``'s results for samples ``d`` apart."""
    return into(out, (arange(n // 2 + 1).to(dtype or get_default_dtype()) * (1.0 / (n * d))).requires_grad_(requires_grad))


def _shift(x: Tensor, dim: Any, amount: Callable[[int], int]) -> Tensor:
    axes = tuple(range(x.layout.ndim)) if dim is None else int_tuple(dim, "dim")
    return roll(x, [amount(x.layout.shape[lay.wrap_axis(axis, x.layout.ndim)]) for axis in axes], axes) if axes else x.clone()


def fftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The results of ``fftn`` with the frequency 0 moved to the middle."""
    return _shift(input, dim, lambda size: size // 2)


def ifftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of ``fftshift``."""
    return _shift(input, dim, lambda size: (size + 1) // 2)
