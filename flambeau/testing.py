"""Comparing tensors in tests."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau._ops.creation import as_tensor
from flambeau._tape.storage import TensorBase
from flambeau._types.promotion import promote_types
from flambeau._types.strided import strided

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
"""Relative and absolute tolerance for each dtype; other dtypes must be equal."""

_NUMBERS = (int, float, complex, np.number)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Check that ``|actual - expected| <= atol + rtol * |expected|`` for tensors, numbers, arrays, and sequences and mappings of them.

    The tolerances depend on the dtype unless both are given; Python's numbers have those of float64. ``msg`` is said instead of what was
    found, or is a function that makes the message of that.

    Raises:
        AssertionError: something differs; the message says how much and where.
        TypeError: two things that are not comparable, such as a tensor and an array.
        ValueError: only one of ``rtol`` and ``atol`` is given.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or unspecified, but got rtol={rtol} and atol={atol} instead.")
    options = _Options(rtol, atol, equal_nan, allow_subclasses, check_device, check_dtype, check_layout, check_stride)
    try:
        _compare(actual, expected, "", options)
    except AssertionError as error:
        if msg is None:
            raise
        raise AssertionError(msg(str(error)) if callable(msg) else msg) from None


class _Options(NamedTuple):
    """What ``assert_close`` was asked for."""

    rtol: float | None
    atol: float | None
    equal_nan: bool
    allow_subclasses: bool
    check_device: bool
    check_dtype: bool
    check_layout: bool
    check_stride: bool


def _compare(actual: Any, expected: Any, place: str, options: _Options) -> None:
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        missing, more = ([key for key in one if key not in other] for one, other in ((expected, actual), (actual, expected)))
        if missing or more:
            raise AssertionError(
                f"The keys of the mappings do not match{_at(place)}: the actual one lacks {missing} and has {more} besides"
            )
        for key in actual:
            _compare(actual[key], expected[key], f"{place}[{key!r}]", options)
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            raise AssertionError(f"The length of the sequences mismatch{_at(place)}: {len(actual)} != {len(expected)}")
        for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
            _compare(one, other, f"{place}[{position}]", options)
    elif actual is None or expected is None:
        if actual is not expected:
            raise AssertionError(f"None mismatch{_at(place)}: {actual} is not {expected}")
    elif isinstance(actual, (bool, np.bool_)) and isinstance(expected, (bool, np.bool_)):
        if actual != expected:
            raise AssertionError(f"Booleans mismatch{_at(place)}: {actual} is not {expected}")
    elif isinstance(actual, _NUMBERS) and isinstance(expected, _NUMBERS):
        _compare_numbers(actual, expected, place, options)
    elif _are_arrays(actual, expected, options):
        _compare_tensors(*(each if isinstance(each, TensorBase) else as_tensor(each) for each in (actual, expected)), place, options)
    else:
        raise TypeError(
            f"assert_close compares tensors with tensors, arrays with arrays, numbers with numbers, and sequences and mappings of these, "
            f"but got {type(actual)} and {type(expected)}{_at(place)}"
        )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _are_arrays(actual: Any, expected: Any, options: _Options) -> bool:
    """Whether both are tensors or both arrays: of one class where subclasses are not allowed."""
    if not options.allow_subclasses and type(actual) is not type(expected):
        return False
    return any(isinstance(actual, kind) and isinstance(expected, kind) for kind in (TensorBase, np.ndarray))


def _at(place: str) -> str:
    return f" (at item {place})" if place else ""


def _compare_numbers(actual: Any, expected: Any, place: str, options: _Options) -> None:
    """Python's and NumPy's numbers, as 64 bits and more."""
    kinds = [
        complex if isinstance(each, complex) else float if isinstance(each, float) else int for each in _python_numbers(actual, expected)
    ]
    if options.check_dtype and kinds[0] is not kinds[1]:
        raise AssertionError(f"The (d)types do not match{_at(place)}: {kinds[0]} != {kinds[1]}.")
    names = {complex: "complex128", float: "float64", int: "int64"}
    one, other = (np.asarray(each) for each in _python_numbers(actual, expected))
    _check_distance(one, other, _tolerances([names[kind] for kind in kinds], options), options.equal_nan, place)


def _python_numbers(*values: Any) -> list[Any]:
    return [value.item() if isinstance(value, np.number) else value for value in values]


def _tolerances(dtypes: list[str], options: _Options) -> tuple[float, float]:
    """The relative and the absolute tolerance: those that were given, or the larger of the two dtypes'."""
    if options.rtol is not None and options.atol is not None:
        return options.rtol, options.atol
    pairs = [_TOLERANCES.get(name, (0.0, 0.0)) for name in dtypes]
    return max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)


def _compare_tensors(actual: Any, expected: Any, place: str, options: _Options) -> None:
    for name, checked, one, other in (
        ("shape", True, actual.shape, expected.shape),
        ("device", options.check_device, actual.device, expected.device),
        ("dtype", options.check_dtype, actual.dtype, expected.dtype),
        ("layout", options.check_layout, str(actual.layout), str(expected.layout)),
    ):
        if checked and one != other:
            raise AssertionError(f"The values for attribute '{name}' do not match{_at(place)}: {one} != {other}.")
    actual, expected = (each.to_dense() if str(each.layout) != str(strided) else each for each in (actual, expected))
    if options.check_stride and actual.stride() != expected.stride():
        raise AssertionError(f"The values for attribute 'stride()' do not match{_at(place)}: {actual.stride()} != {expected.stride()}.")
    common = promote_types(actual.dtype, expected.dtype)
    wide = np.complex128 if common.is_complex else np.float64 if common.is_floating_point else common.numpy
    one, other = (_numbers(each).astype(wide) for each in (actual, expected))
    _check_distance(one, other, _tolerances([actual.dtype.name, expected.dtype.name], options), options.equal_nan, place)


def _check_distance(one: np.ndarray, other: np.ndarray, tolerances: tuple[float, float], equal_nan: bool, place: str) -> None:
    """Raise if elements are further apart than ``atol + rtol * |other|``."""
    rtol, atol = tolerances
    with np.errstate(all="ignore"):
        difference = _distance(one, other) if one.dtype.kind in "biu" and other.dtype.kind in "biu" else np.abs(one - other)
        close = (one == other) | (np.isfinite(difference) & (difference <= atol + rtol * np.abs(other)))
        if equal_nan and one.dtype.kind in "fc":
            close |= np.isnan(one) & np.isnan(other)
        relative = np.asarray(difference / np.abs(other))
    if np.all(close):
        return
    how = "close" if rtol or atol else "equal"
    if close.ndim == 0:
        raise AssertionError(
            f"Scalars are not {how}{_at(place)}!\n\nExpected {other.item()} but got {one.item()}.\n"
            f"Absolute difference: {difference.item()}{_allowed(atol, how)}\nRelative difference: {relative.item()}{_allowed(rtol, how)}"
        )
    count = int((~close).sum())
    where, most = _greatest(difference, close)
    where_relative, most_relative = _greatest(relative, close)
    raise AssertionError(
        f"Tensor-likes are not {how}{_at(place)}!\n\nMismatched elements: {count} / {close.size} ({100 * count / close.size:.1f}%)\n"
        f"Greatest absolute difference: {most} at index {where}{_allowed(atol, how)}: {one[where]} where {other[where]} was expected\n"
        f"Greatest relative difference: {most_relative} at index {where_relative}{_allowed(rtol, how)}"
    )


def _allowed(tolerance: float, how: str) -> str:
    return f" (up to {tolerance} allowed)" if how == "close" else ""


def _greatest(difference: np.ndarray, close: np.ndarray) -> tuple[tuple[int, ...], Any]:
    """Where the greatest of the differences is that are too large, NaN being the greatest, and what it is."""
    wrong = np.where(close, -1.0, np.where(np.isnan(difference), np.inf, difference))
    where = tuple(int(each) for each in np.unravel_index(np.argmax(wrong), wrong.shape))
    return where, difference[where]


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far integers are apart, exactly: the difference of the larger and the smaller, which may not fit a signed integer."""
    if one.dtype == np.bool_:
        return (one != other).astype(np.float64)
    high, low = np.maximum(one, other), np.minimum(one, other)
    return high.astype(np.uint64) - low.astype(np.uint64)


def _numbers(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype.name == "bfloat16" else tensor).numpy()


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True, msg: str = ""
) -> None:
    """The old name of ``assert_close``, which compares dtypes no more."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future release: use `torch.testing.assert_close()`.",
        FutureWarning,
        stacklevel=2,
    )
    assert_close(as_tensor(actual), as_tensor(expected), rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any = None,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Any:
    """A tensor of random numbers from ``low`` (-9 by default; 0 for unsigned integers and bool) up to ``high`` (10 for integers, else 9)."""
    import flambeau

    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError("make_tensor: noncontiguous and memory_format exclude each other")
    every_other = noncontiguous and bool(sizes)
    if every_other:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    if dtype is flambeau.bool:
        made = flambeau.randint(0, 2, sizes, dtype=dtype)
    elif dtype.is_floating_point or dtype.is_complex:
        bounds = (-9.0 if low is None else low, 9.0 if high is None else high)
        made = flambeau.empty(sizes, dtype=dtype.to_real() if dtype.is_complex else dtype).uniform_(*bounds)
        if dtype.is_complex:
            made = flambeau.complex(made, flambeau.empty_like(made).uniform_(*bounds))
    else:
        least = (-9 if dtype.is_signed else 0) if low is None else int(low)
        made = flambeau.randint(least, 10 if high is None else int(high), sizes, dtype=dtype)
    if exclude_zero:
        made[made == 0] = 1
    if every_other:
        made = made[..., ::2]
    if memory_format is not None:
        made = made.clone(memory_format=memory_format)
    return made.requires_grad_(requires_grad) if requires_grad else made
