"""PyTorch's functions in extended precision, by which float64 and complex128 are judged (`parity/accuracy.py`).

An `Extended` tensor looks like float64 or complex128 to PyTorch, which takes an operator apart into simple ones, and backward into those of its gradient;
each of these is done here on NumPy's `longdouble`, of 64 bits of mantissa where x87 has them: eleven more than float64. What is not in the tables below and
cannot be taken apart raises `NotImplementedError`, and is left out of the comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

REAL, COMPLEX = np.longdouble, np.clongdouble
EXISTS = np.finfo(REAL).nmant >= 63
"""Whether this machine has a longer format than float64."""
aten = torch.ops.aten


class Extended(torch.Tensor):
    """A tensor of `longdouble` or `clongdouble`; `array` holds its elements."""

    array: np.ndarray

    @staticmethod
    def __new__(cls, array: np.ndarray) -> Extended:
        dtype = torch.complex128 if array.dtype.kind == "c" else torch.float64
        self = torch.Tensor._make_wrapper_subclass(cls, array.shape, dtype=dtype)
        self.array = array
        return self

    def __repr__(self) -> str:
        return f"Extended({self.array!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        name = packet.__name__
        if name in FUNCTIONS:
            return FUNCTIONS[name](*args, **kwargs)
        if name in MOVING:
            return _moved(func, args, kwargs)
        if name.endswith("_") and not name.endswith("__") and isinstance(args[0], Extended):
            args[0].array = getattr(aten, name[:-1])(*args, **kwargs).array.astype(args[0].array.dtype)
            return args[0]
        if func in decomposition_table:
            return decomposition_table[func](*args, **kwargs)
        result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            raise NotImplementedError(f"{func} in extended precision")
        return result


def extended(tensor: torch.Tensor) -> Extended:
    """The same numbers, exactly."""
    plain = tensor.detach().resolve_conj().resolve_neg().numpy()
    return Extended(plain.astype(COMPLEX if tensor.is_complex() else REAL)).requires_grad_(tensor.requires_grad)


def parts(exact: Extended) -> tuple[torch.Tensor, torch.Tensor]:
    """Its numbers as a sum of two of PyTorch's, the nearest one and what is left."""
    plain = np.complex128 if exact.array.dtype.kind == "c" else np.float64
    near = np.asarray(exact.array.astype(plain))
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(near), torch.from_numpy(np.asarray((exact.array - near).astype(plain)))


def _array(value: Any) -> Any:
    if isinstance(value, Extended):
        return value.array
    if isinstance(value, torch.Tensor):
        array = value.detach().resolve_conj().resolve_neg().numpy()
        return array.astype(COMPLEX if value.is_complex() else REAL) if value.is_complex() or value.is_floating_point() else array
    if isinstance(value, (float, complex)) and not isinstance(value, bool):
        return COMPLEX(value) if isinstance(value, complex) else REAL(value)
    return value


def _tensor(array: Any) -> torch.Tensor:
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        return torch.from_numpy(np.array(array))
    return Extended(np.array(array, dtype=COMPLEX if array.dtype.kind == "c" else REAL))


def _on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return _tensor(function(*map(_array, args), **{name: _array(value) for name, value in kwargs.items()}))

    return called


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of mpmath and a number, in 40 digits; NaN at its poles."""

    def each(*values: Any) -> Any:
        import mpmath

        mpmath.mp.dps = 40

        def one(*numbers: Any) -> Any:
            if not all(np.isfinite(number) for number in numbers):
                raise NotImplementedError("what is not finite")
            try:
                return REAL(mpmath.nstr(function(mpmath, *[mpmath.mpf(str(number)) for number in numbers]), 30))
            except (ValueError, ZeroDivisionError):
                return REAL("nan")

        return np.vectorize(one, otypes=[REAL])(*values)

    return each


# -- what only moves elements ----------------------------------------------------------------------------------------

MOVING = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "cat", "clone", "contiguous", "detach", "diagonal", "expand", "flip", "gather", "im2col", "index",
    "index_select", "masked_select", "lift_fresh", "narrow", "permute", "repeat", "resolve_conj", "resolve_neg", "roll", "select", "slice", "split",
    "split_with_sizes", "squeeze", "stack", "t", "take", "transpose", "tril", "triu", "unbind", "unfold", "unsqueeze", "view",
    "_index_put_impl", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d",
    "select_scatter", "slice_scatter", "diagonal_scatter", "scatter", "_unsafe_index", "rot90", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
}  # fmt: skip
ZEROING = {"tril", "triu", "im2col"}


def _moved(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Do to numbered places what is done to elements, and look the elements up; place 0 holds a zero."""
    leaves, spec = tree_flatten((args, kwargs))
    pieces: list[np.ndarray] = [np.zeros(1, REAL)]
    count = 1
    for at, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor) and (isinstance(leaf, Extended) or leaf.is_floating_point() or leaf.is_complex()):
            array = _array(leaf)
            leaves[at] = torch.arange(count, count + array.size).reshape(array.shape)
            pieces.append(array.reshape(-1))
            count += array.size
        elif isinstance(leaf, float):
            leaves[at] = count
            pieces.append(np.array([leaf], REAL))
            count += 1
    elements = np.concatenate(pieces)
    numbered_args, numbered_kwargs = tree_unflatten(leaves, spec)
    result = func(*numbered_args, **numbered_kwargs)
    return tree_map(lambda places: Extended(elements[places.numpy()]) if isinstance(places, torch.Tensor) else places, result)


# -- arithmetic ------------------------------------------------------------------------------------------------------


def _axes(dim: Any, ndim: int) -> tuple[int, ...]:
    if dim is None or dim == []:
        return tuple(range(ndim))
    return tuple(axis % max(ndim, 1) for axis in ([dim] if isinstance(dim, int) else dim)) if ndim else ()


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
        return function(x, axis=_axes(dim, x.ndim), keepdims=keepdim)

    return _on_arrays(reduced)


def _var(x: Any, dim: Any = None, *, correction: Any = 1, keepdim: bool = False) -> Any:
    axes = _axes(dim, x.ndim)
    count = math.prod(x.shape[axis] for axis in axes)
    deviation = x - x.mean(axis=axes, keepdims=True)
    square = deviation.real**2 + deviation.imag**2 if x.dtype.kind == "c" else deviation**2
    return square.sum(axis=axes, keepdims=keepdim) / REAL(max(count - (1 if correction is None else correction), 0))


def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    axes, size = _axes(dim, x.ndim), np.abs(x)
    if ord == math.inf:
        return size.max(axis=axes, keepdims=keepdim)
    if ord == -math.inf:
        return size.min(axis=axes, keepdims=keepdim)
    if ord == 0:
        return (size != 0).sum(axis=axes, keepdims=keepdim).astype(REAL)
    largest = size.max(axis=axes, keepdims=True) if size.size else REAL(1)
    largest = np.where((largest > 0) & np.isfinite(largest), largest, REAL(1))
    power = ((size / largest) ** REAL(ord)).sum(axis=axes, keepdims=True) ** (1 / REAL(ord)) * largest
    return power if keepdim else power.reshape([size for axis, size in enumerate(x.shape) if axis not in axes])


def _divide(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    quotient = np.divide(x, y)
    return {None: lambda: quotient, "trunc": lambda: np.trunc(quotient), "floor": lambda: np.floor_divide(x, y)}[rounding_mode]()


def _extremum(name: str) -> Callable[..., Any]:
    def extremum(x: Extended, dim: int, keepdim: bool = False) -> Any:
        place = getattr(np, f"arg{name}")(x.array, axis=dim, keepdims=True)
        values = np.take_along_axis(x.array, place, axis=dim)
        return _tensor(values if keepdim else values.squeeze(dim)), _tensor(place if keepdim else place.squeeze(dim))

    return extremum


def _sorted(x: Extended, *args: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    if args and isinstance(args[-1], int):
        dim, *rest = args
        descending = bool(rest[0]) if rest else descending
    place = np.argsort(-x.array if descending else x.array, axis=dim, kind="stable")
    return _tensor(np.take_along_axis(x.array, place, axis=dim)), _tensor(place)


def _softmax(x: Any, dim: int, _: bool = False) -> Any:
    power = np.exp(x - x.max(axis=dim, keepdims=True)) if x.ndim else np.ones_like(x)
    return power / (power.sum(axis=dim, keepdims=True) if x.ndim else 1)


def _log_softmax(x: Any, dim: int, _: bool = False) -> Any:
    if not x.ndim:
        return np.zeros_like(x)
    top = x.max(axis=dim, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(axis=dim, keepdims=True))


def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


def _index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    result = np.array(x)
    place = tuple(slice(None) if index is None else _array(index) for index in indices)
    if accumulate:
        np.add.at(result, place, values)
    else:
        result[place] = values
    return result


def _along(dim: int, index: Any) -> tuple:
    grid = list(np.indices(index.shape))
    grid[dim] = index
    return tuple(grid)


def _scatter_add(x: Any, dim: int, index: Any, source: Any) -> Any:
    result = np.array(x)
    if result.ndim:
        np.add.at(result, _along(dim, index), source[tuple(slice(size) for size in index.shape)])
        return result
    return result + source.sum()


def _index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    result = np.moveaxis(np.array(x), dim, 0)
    np.add.at(result, index, alpha * np.moveaxis(source, dim, 0))
    return np.moveaxis(result, 0, dim)


def _padded(x: Extended, pad: list[int], value: float = 0) -> Any:
    places = torch.arange(1, x.array.size + 1).reshape(x.array.shape)
    return Extended(np.concatenate([np.array([value], x.array.dtype), x.array.reshape(-1)])[aten.constant_pad_nd(places, pad, 0).numpy()])


def _fourier(x: Any, dims: list[int], normalization: int, forward: bool) -> Any:
    size = math.prod(x.shape[dim] for dim in dims)
    for dim in dims:
        n = x.shape[dim]
        turn = (np.arange(n)[:, None] * np.arange(n) % n).astype(REAL) * (2 * REAL("3.14159265358979323846264338327950288") / n)
        matrix = np.cos(turn) + (-1j if forward else 1j) * np.sin(turn).astype(COMPLEX)
        x = np.moveaxis(np.moveaxis(x.astype(COMPLEX), dim, -1) @ matrix, -1, dim)
    return x / (REAL(1), np.sqrt(REAL(size)), REAL(size))[normalization]


def _real_fourier(x: Any, dims: list[int], normalization: int, onesided: bool) -> Any:
    whole = _fourier(x, dims, normalization, True)
    return np.take(whole, np.arange(whole.shape[dims[-1]] // 2 + 1), axis=dims[-1]) if onesided else whole


def _back_to_real(x: Any, dims: list[int], normalization: int, last: int) -> Any:
    dim = dims[-1] % x.ndim
    near = np.take(x, np.arange(last // 2 + 1), axis=dim)
    mirrored = np.conj(np.take(near, np.arange((last - 1) // 2, 0, -1), axis=dim))
    for other in dims[:-1]:
        mirrored = np.take(mirrored, -np.arange(x.shape[other]) % x.shape[other], axis=other)
    return _fourier(np.concatenate([near, mirrored], axis=dim), dims, normalization, False).real


def _like(fill: Any) -> Callable[..., Any]:
    def made(x: torch.Tensor, *args: Any, dtype: Any = None, **_: Any) -> Any:
        value = args[-1] if fill is None else fill
        shape = args[0] if args and isinstance(args[0], (list, tuple, torch.Size)) else x.shape
        if (dtype or x.dtype) not in (torch.float64, torch.complex128):
            return torch.full(tuple(shape), value, dtype=dtype)
        return Extended(np.full(tuple(shape), value, COMPLEX if (dtype or x.dtype).is_complex else REAL))

    return made


def _to_copy(x: Any, *, dtype: Any = None, **_: Any) -> Any:
    dtype = dtype or x.dtype
    if dtype is torch.float64:
        return Extended(_array(x).real.astype(REAL))
    if dtype is torch.complex128:
        return Extended(_array(x).astype(COMPLEX))
    if dtype.is_floating_point or dtype.is_complex:
        raise NotImplementedError(f"rounding to {dtype}")
    return torch.from_numpy(_array(x).astype(np.float64)).to(dtype)


def _set(x: Extended, value: Any, *_: Any) -> Any:
    x.array = np.broadcast_to(_array(value), x.array.shape).astype(x.array.dtype)
    return x


def _view_as_real(x: Any) -> Any:
    return np.stack([x.real, x.imag], axis=-1)


def _power(x: Any, y: Any) -> Any:
    if np.result_type(x, y).kind != "c":
        return np.power(np.asarray(x, REAL), np.asarray(y, REAL))
    x, y = np.asarray(x, COMPLEX), np.asarray(y, COMPLEX)
    return np.where(x == 0, np.where(y == 0, 1, np.where(y.real > 0, 0, np.power(x, y))), np.exp(y * np.log(np.where(x == 0, 1, x))))


def _sign(x: Any) -> Any:
    return np.where(x == 0, 0, x / np.where(x == 0, 1, np.abs(x))) if x.dtype.kind == "c" else np.sign(x)


_UNARY = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "sqrt",
    "abs",
    "floor",
    "ceil",
    "trunc",
    "square",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "logical_not",
]
_BINARY = [
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "fmod",
    "copysign",
    "hypot",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
]
_RENAMED = {
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "atan2": np.arctan2, "neg": np.negative,
    "remainder": np.mod, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "where": np.where,
    "mm": np.matmul, "bmm": np.matmul, "dot": np.dot, "mv": np.matmul, "vdot": np.vdot, "_conj": np.conj, "_conj_physical": np.conj, "conj_physical": np.conj,
    "real": np.real, "imag": np.imag, "sign": _sign, "sgn": _sign, "angle": np.angle, "round": np.round, "pow": _power, "div": _divide, "true_divide": _divide,
}  # fmt: skip
_FORMULAS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y, *, alpha=1: x + alpha * y,
    "sub": lambda x, y, *, alpha=1: x - alpha * y,
    "rsub": lambda x, y, alpha=1: y - alpha * x,
    "mul": lambda x, y: x * y,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x > 0, x, 0 * (x == x) + np.where(x == x, 0, x)),
    "threshold_backward": lambda grad, x, threshold: np.where(x <= threshold, 0, grad),
    "lerp": lambda x, y, weight: x + weight * (y - x),
    "addmm": lambda x, a, b, *, beta=1, alpha=1: (beta * x if beta else 0) + alpha * (a @ b),
    "baddbmm": lambda x, a, b, *, beta=1, alpha=1: (beta * x if beta else 0) + alpha * (a @ b),
    "addmv": lambda x, a, b, *, beta=1, alpha=1: (beta * x if beta else 0) + alpha * (a @ b),
    "addcmul": lambda x, a, b, *, value=1: x + value * a * b,
    "addcdiv": lambda x, a, b, *, value=1: x + value * a / b,
    "masked_fill": lambda x, mask, value: np.where(mask, value, x),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda x, max: _clamp(x, None, max),
    "complex": lambda re, im: re + 1j * im.astype(COMPLEX),
    "view_as_real": _view_as_real,
    "view_as_complex": lambda x: x[..., 0] + 1j * x[..., 1].astype(COMPLEX),
    "cumsum": lambda x, dim, dtype=None: np.cumsum(x, axis=dim) if x.ndim else x,
    "cumprod": lambda x, dim, dtype=None: np.cumprod(x, axis=dim) if x.ndim else x,
    "var": _var,
    "std": lambda *args, **options: np.sqrt(_var(*args, **options)),
    "linalg_vector_norm": _vector_norm,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "index_put": _index_put,
    "_unsafe_index_put": _index_put,
    "scatter_add": _scatter_add,
    "index_add": _index_add,
    "_fft_c2c": _fourier,
    "_fft_r2c": _real_fourier,
    "_fft_c2r": _back_to_real,
    "heaviside": lambda x, y: np.where(x == 0, y, (x > 0).astype(REAL)),
    "xlogy": lambda x, y: np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y)),
    "special_xlog1py": lambda x, y: np.where((x == 0) & ~np.isnan(y), 0, x * np.log1p(y)),
    "special_entr": lambda x: np.where(x == 0, 0, -x * np.log(x)),
    "erf": _one_by_one(lambda mp, x: mp.erf(x)),
    "erfc": _one_by_one(lambda mp, x: mp.erfc(x)),
    "erfinv": _one_by_one(lambda mp, x: mp.erfinv(x)),
    "lgamma": _one_by_one(lambda mp, x: mp.loggamma(x).real),
    "digamma": _one_by_one(lambda mp, x: mp.digamma(x)),
    "polygamma": lambda n, x: _one_by_one(lambda mp, x: mp.polygamma(n, x))(x),
    "i0": _one_by_one(lambda mp, x: mp.besseli(0, x)),
    "special_i0e": _one_by_one(lambda mp, x: mp.besseli(0, x) * mp.exp(-abs(x))),
    "special_i1": _one_by_one(lambda mp, x: mp.besseli(1, x)),
    "special_i1e": _one_by_one(lambda mp, x: mp.besseli(1, x) * mp.exp(-abs(x))),
    "special_ndtri": _one_by_one(lambda mp, p: mp.sqrt(2) * mp.erfinv(2 * p - 1)),
    "special_log_ndtr": _one_by_one(lambda mp, x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)),
    "special_erfcx": _one_by_one(lambda mp, x: mp.erfc(x) * mp.exp(x * x)),
    "sinc": _one_by_one(lambda mp, x: mp.sinc(mp.pi * x)),
}


def _not(what: str) -> Any:
    raise NotImplementedError(what)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _on_arrays(getattr(np, name)) for name in (*_UNARY, *_BINARY)},
    **{name: _on_arrays(function) for name, function in {**_RENAMED, **_FORMULAS}.items()},
    **{name: _reduction(getattr(np, name)) for name in ("sum", "mean", "prod", "any", "all")},
    "amax": _reduction(np.max),
    "amin": _reduction(np.min),
    "max": lambda x, *args: _extremum("max")(x, *args) if args else _tensor(x.array.max()),
    "min": lambda x, *args: _extremum("min")(x, *args) if args else _tensor(x.array.min()),
    "sort": _sorted,
    "constant_pad_nd": _padded,
    "var_mean": lambda x, dim=None, *, correction=1, keepdim=False: (
        FUNCTIONS["var"](x, dim, correction=correction, keepdim=keepdim), FUNCTIONS["mean"](x, dim, keepdim),
    ),
    "std_mean": lambda x, dim=None, *, correction=1, keepdim=False: (
        FUNCTIONS["std"](x, dim, correction=correction, keepdim=keepdim), FUNCTIONS["mean"](x, dim, keepdim),
    ),
    "zeros_like": _like(0), "ones_like": _like(1), "empty_like": _like(0), "full_like": _like(None), "new_zeros": _like(0), "new_ones": _like(1),
    "new_empty": _like(0), "new_full": _like(None), "fill": lambda x, value: _like(None)(x, value), "_to_copy": _to_copy, "copy_": _set, "fill_": _set,
    "zero_": lambda x: _set(x, 0), "copy": lambda x, y, *_: Extended(np.broadcast_to(_array(y), x.shape).astype(x.array.dtype)),
    "_local_scalar_dense": lambda x: x.array.item() if isinstance(x, Extended) else x.item(),
    "is_same_size": lambda x, y: x.shape == y.shape,
    "argmax": lambda x, dim=None, keepdim=False: torch.from_numpy(np.asarray(np.argmax(x.array, axis=dim, keepdims=keepdim))),
    "argmin": lambda x, dim=None, keepdim=False: torch.from_numpy(np.asarray(np.argmin(x.array, axis=dim, keepdims=keepdim))),
}  # fmt: skip


def lengthen(value: Any) -> Any:
    """The same arguments with extended tensors for those of float64 and complex128."""

    def longer(leaf: Any) -> Any:
        return extended(leaf) if isinstance(leaf, torch.Tensor) and leaf.dtype in (torch.float64, torch.complex128) else leaf

    return tree_map(longer, value)
