"""Comparing tensors in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau._ops.creation import as_tensor
from flambeau._tape.storage import TensorBase
from flambeau._types.promotion import promote_types

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

    The tolerances depend on the dtype unless both are given.

    Raises:
        AssertionError: something differs; the message says how much and where.
        ValueError: only one of ``rtol`` and ``atol`` is given.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or unspecified, but got rtol={rtol} and atol={atol} instead.")
    options = (rtol, atol, equal_nan, check_dtype, check_stride)
    try:
        _compare(actual, expected, "", options)
    except AssertionError as error:
        if msg is None:
            raise
        raise AssertionError(msg(str(error)) if callable(msg) else msg) from None


def _compare(actual: Any, expected: Any, place: str, options: tuple) -> None:
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            raise AssertionError(
                f"The keys of the mappings do not match{_at(place)}: {sorted(map(str, actual.keys() ^ expected.keys()))} are in one only"
            )
        for key in actual:
            _compare(actual[key], expected[key], f"{place}[{key!r}]", options)
        return
    if _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            raise AssertionError(f"The length of the sequences mismatch{_at(place)}: {len(actual)} != {len(expected)}")
        for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
            _compare(one, other, f"{place}[{position}]", options)
        return
    if actual is None and expected is None:
        return
    _compare_tensors(
        as_tensor(actual),
        as_tensor(expected),
        place,
        options,
        numbers=not isinstance(actual, TensorBase) and not isinstance(actual, np.ndarray),
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _at(place: str) -> str:
    return f" (at item {place})" if place else ""


def _compare_tensors(actual: Any, expected: Any, place: str, options: tuple, *, numbers: bool) -> None:
    rtol, atol, equal_nan, check_dtype, check_stride = options
    if actual.shape != expected.shape:
        raise AssertionError(f"The values for attribute 'shape' do not match{_at(place)}: {actual.shape} != {expected.shape}.")
    if check_dtype and not numbers and actual.dtype is not expected.dtype:
        raise AssertionError(f"The values for attribute 'dtype' do not match{_at(place)}: {actual.dtype} != {expected.dtype}.")
    if check_stride and actual.stride() != expected.stride():
        raise AssertionError(f"The values for attribute 'stride()' do not match{_at(place)}: {actual.stride()} != {expected.stride()}.")
    if rtol is None:
        pairs = [_TOLERANCES.get(each.dtype.name, (0.0, 0.0)) for each in (actual, expected)]
        rtol, atol = max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    common = promote_types(actual.dtype, expected.dtype)
    wide = np.complex128 if common.is_complex else np.float64 if common.is_floating_point else common.numpy
    one, other = (_numbers(each).astype(wide) for each in (actual, expected))
    with np.errstate(all="ignore"):
        difference = _distance(one, other) if one.dtype.kind in "biu" else np.abs(one - other)
        close = (one == other) | (np.isfinite(difference) & (difference <= atol + rtol * np.abs(other)))
        if equal_nan and one.dtype.kind in "fc":
            close |= np.isnan(one) & np.isnan(other)
    if close.all():
        return
    if close.ndim == 0:
        raise AssertionError(
            f"Scalars are not close{_at(place)}!\n\nExpected {other.item()} but got {one.item()}.\nAbsolute difference: {difference.item()} (up to {atol} allowed)"
        )
    wrong = np.where(close, -1.0, np.where(np.isnan(difference), np.inf, difference))
    where = tuple(int(each) for each in np.unravel_index(np.argmax(wrong), wrong.shape))
    count = int((~close).sum())
    raise AssertionError(
        f"Tensor-likes are not close{_at(place)}!\n\nMismatched elements: {count} / {close.size} ({100 * count / close.size:.1f}%)\n"
        f"Greatest absolute difference: {difference[where]} at index {where} (up to {atol} + {rtol} * |expected| allowed): "
        f"{one[where]} where {other[where]} was expected"
    )


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
