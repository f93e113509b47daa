"""PyTorch's random numbers on the CPU, stream for stream.

The functions turn the words of an ``Engine`` (``engine.py``) into samples exactly as PyTorch 2.13 does on x86-64: after ``manual_seed(s)`` the same calls give the same
numbers and leave the engine in the same state. They return flat arrays in the order in which samples are drawn; bfloat16,
which NumPy lacks, comes as its bits.

Order of draws: PyTorch fills a tensor in the order of its memory, whatever its strides (a transposed tensor is filled as
the tensor that it was transposed from; a channels-last one in N, H, W, C order). ``normal`` alone cares further: a tensor
that is not contiguous takes the path of small tensors (``serial=True``), whose numbers are different ones.

Samples are made by ``random_kernels.py``. So the first of them loads LLVM; seeding an engine does not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np

from flambeau._runtime import random_kernels as kernels
from flambeau._runtime import rejection
from flambeau._runtime.engine import Engine
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType
from flambeau._types.encoding import numbers_in

_CHUNK = 1 << 15  # samples made at a time, so that their words are in the second-level cache still; a multiple of 16
_DIGITS = {dt.float16: 11, dt.bfloat16: 8, dt.float32: 24, dt.float64: 53}
_EXACT = {(0.0, 1.0, 4), (0.0, 1.0, 8)}
"""Bounds, and sizes of dtypes, between which no uniform sample is rounded."""
_LARGEST = {dt.float16: 65504.0, dt.bfloat16: 255 * 2.0**120, dt.float32: (2**24 - 1) * 2.0**104, dt.float64: sys.float_info.max}


# ---------------------------------------------------------------------------------------------------- real numbers


def uniform(engine: Engine, n: int, low: float = 0.0, high: float = 1.0, dtype: DType = dt.float32) -> np.ndarray:
    """``n`` samples of the uniform distribution on [low, high): ``rand`` and ``uniform_``.

    Raises:
        RuntimeError: ``low`` or ``high`` is out of the range of ``dtype``, or low > high, or high - low overflows.
    """
    digits = _digits("uniform_", dtype)
    largest = _LARGEST[dtype]
    for name, bound in (("from", low), ("to", high)):
        if not -largest <= bound <= largest:
            raise RuntimeError(f"{name} is out of bounds for {dtype.name}: expected |{name}| <= {largest:g}, but got {bound:g}")
    if not low <= high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
    if high - low > largest:
        raise RuntimeError(f"uniform_ expects to - from <= {largest:g} for {dtype.name}, but found to={high:g} and from={low:g}")
    samples = _uniform64(engine, n, low, high) if digits == 53 else _uniform32(engine, n, low, high)
    samples = _stored(samples, dtype)
    if low < high and (low, high, dtype.itemsize) not in _EXACT:  # else rounding may have reached the bound that is excluded
        lowest, excluded = _stored(np.array([low, high]), dtype)
        samples[samples == excluded] = lowest
    return samples


def write_uniform(engine: Engine, memory: int, n: int, dtype: DType) -> None:
    """Write what ``uniform(engine, n, dtype=dtype)`` returns to an address; ``dtype`` is float32 or float64.

    No array stands between the stream and a tensor: ``rand(10)`` takes 8 µs instead of 26.
    """
    engine.draw(memory, n, "uniform32" if dtype is dt.float32 else "uniform64", 1.0)


def normal(engine: Engine, n: int, mean: float = 0.0, std: float = 1.0, dtype: DType = dt.float32, *, serial: bool = False) -> np.ndarray:
    """``n`` samples of the normal distribution: ``randn`` and ``normal_``, by Box and Muller's transform.

    From 16 samples on, blocks of 16 are made of blocks of 16 uniform samples, and where ``n`` is not a multiple the last 16
    samples are drawn anew. Fewer samples, and those of a tensor that is not contiguous (``serial``), are made pair by pair
    in float64, and a sample left over is kept for the next call.

    Raises:
        RuntimeError: ``std`` is negative.
    """
    wide = _digits("normal_", dtype) == 53
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if n < 16 or serial:
        return _stored(_fma(_serial_normals(engine, n), std, mean), dtype)
    samples = np.empty(n, np.float64 if wide else np.float32)
    whole = n & -16
    for start in range(0, whole, _CHUNK):
        _fill_normal(engine, samples[start : min(start + _CHUNK, whole)], mean, std)
    if whole < n:
        if dtype.itemsize >= 4:  # the others make no samples in between
            engine.fill(samples[whole:])
        _fill_normal(engine, samples[-16:], mean, std)
    return _stored(samples, dtype)


def write_normal(engine: Engine, memory: int, n: int, mean: float, std: float, dtype: DType) -> None:
    """Write what ``normal(engine, n, mean, std, dtype)`` returns to an address; ``dtype`` is float32 or float64."""
    if n < 16:
        rejection.draw(engine, "normals", dtype.name, memory, n, std, mean)
        return
    whole = n & -16
    for start in range(0, whole, _CHUNK):
        _write_blocks(engine, memory + start * dtype.itemsize, min(_CHUNK, whole - start), mean, std, dtype)
    if whole < n:  # the last 16 anew, after as many draws as those that are left over
        engine.draw(memory + whole * dtype.itemsize, (n - whole) * dtype.itemsize // 4)
        _write_blocks(engine, memory + (n - 16) * dtype.itemsize, 16, mean, std, dtype)


def _write_blocks(engine: Engine, memory: int, n: int, mean: float, std: float, dtype: DType) -> None:
    """Normal samples in blocks of 16."""
    if dtype is dt.float64:
        engine.draw(memory, n, "uniform64", 1.0)
        kernels.run_at("normal64", memory, 0, std, mean, n // 2)
    else:
        engine.draw(memory, n)
        kernels.run_at("normal32", memory, 0, std, mean, n // 16)


def log_normal(engine: Engine, n: int, mean: float = 1.0, std: float = 2.0, dtype: DType = dt.float32) -> np.ndarray:
    """``n`` samples of ``exp(x)`` with x from the normal distribution of ``mean`` and ``std``: ``log_normal_``.

    Raises:
        RuntimeError: ``std`` is not positive.
    """
    _digits("log_normal_", dtype)
    if not std > 0.0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    samples = _fma(_serial_normals(engine, n), std, mean)
    kernels.run("exp", samples)
    return _stored(samples, dtype)


def exponential(engine: Engine, n: int, rate: float = 1.0, dtype: DType = dt.float32) -> np.ndarray:
    """``n`` samples of the exponential distribution, ``-log(1 - u) / rate``: ``exponential_``.

    Raises:
        RuntimeError: ``rate`` is not positive.
    """
    _digits("exponential_", dtype)
    if not rate > 0.0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    samples = _uniform64(engine, n)
    kernels.run("exponential", samples, a=-1.0 / rate)
    return _stored(samples, dtype)


def cauchy(engine: Engine, n: int, median: float = 0.0, sigma: float = 1.0, dtype: DType = dt.float32) -> np.ndarray:
    """``n`` samples of the Cauchy distribution, ``median + sigma tan(pi (u - 1/2))``: ``cauchy_``.

    Raises:
        RuntimeError: ``sigma`` is not positive.
    """
    _digits("cauchy_", dtype)
    if not sigma > 0.0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    samples = _uniform64(engine, n)
    kernels.run("cauchy", samples, a=sigma, b=median)
    return _stored(samples, dtype)


def geometric(engine: Engine, n: int, p: float, dtype: DType = dt.float32) -> np.ndarray:
    """``n`` samples of the number of trials up to the first success, ``ceil(log(u) / log(1 - p))``: ``geometric_``.

    Raises:
        RuntimeError: ``p`` is not in (0, 1).
    """
    if not 0.0 < p < 1.0:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    samples = _uniform64(engine, n)
    kernels.run("log", samples)
    samples /= math.log1p(-p)
    return _stored(np.ceil(samples), dtype)


# ------------------------------------------------------------------------------------------------ integers and bits


def integers(engine: Engine, n: int, low: int, high: int, dtype: DType = dt.int64) -> np.ndarray:
    """``n`` integers in [low, high): ``randint`` and ``random_(from, to)``.

    ``low + word % (high - low)``; the word has 32 bits for ranges below 2**28, else 64. For a floating ``dtype`` the bounds move
    inwards to integers that it can represent.

    Raises:
        RuntimeError: the range is empty, or not within that of ``dtype``.
    """
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if dtype.category == dt.FLOAT:
        low, high = _representable_from(low, dtype), _representable_to(high, dtype)
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' casted to {dtype.name} to be less than 'to', but got from={low} >= to={high}")
    smallest, largest = _integer_range(dtype)
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not smallest <= bound <= largest:
            raise RuntimeError(f"{name} is out of bounds for {dtype.name}: expected [{smallest}, {largest}], but got {bound}")
    span = high - low
    if span < 1 << 28:
        values = engine.words32(n)
        values %= np.uint32(span)
        values = values.astype(np.int64)
    else:
        values = engine.words64(n)
        if span < 1 << 64:
            values %= np.uint64(span)
        values = values.view(np.int64)
    values += low
    return _stored(values, dtype)


def has_short_range(low: int, high: int) -> bool:
    """Whether ``write_integers`` serves: the range is less than 2**28, and its bounds are exact as doubles."""
    return 0 < high - low < 1 << 28 and -(1 << 53) < low < 1 << 53


def write_integers(engine: Engine, memory: int, n: int, low: int, high: int) -> None:
    """Write what ``integers(engine, n, low, high)`` returns to an address."""
    engine.draw(memory, n, "integers", high - low, low)


def full_range(engine: Engine, n: int, dtype: DType = dt.int64) -> np.ndarray:
    """``n`` non-negative integers of the range of ``dtype``: ``random_()``.

    That is [0, largest] for integers, [0, 2**digits] for floating dtypes (the integers they represent exactly), {0, 1} for bool.
    """
    if dtype.category == dt.FLOAT:
        span = (1 << _DIGITS[dtype]) + 1
    elif dtype.category == dt.COMPLEX:
        raise NotImplementedError(f"random_ is not implemented for {dtype.name}")
    else:
        span = _integer_range(dtype)[1] + 1
    values = engine.words64(n) % np.uint64(span) if dtype.itemsize == 8 else engine.words32(n) % np.uint64(span)
    return _stored(values.view(np.int64), dtype)


def bernoulli(engine: Engine, n: int, p: float | np.ndarray) -> np.ndarray:
    """``n`` trials, True with probability ``p``: ``bernoulli``, ``bernoulli_`` and dropout's mask.

    ``p`` is a number, or a flat array of ``n`` (float32 or float64; PyTorch draws 32 bits a trial for the former, else 64).

    Raises:
        RuntimeError: a probability is not in [0, 1].
    """
    if isinstance(p, np.ndarray):
        wrong = ~((p >= 0) & (p <= 1))
        if wrong.any():
            raise RuntimeError(f"bernoulli expects all probabilities to be in [0, 1], but found {p[wrong][0]:g}")
        return _uniform64(engine, n) < p if p.dtype == np.float64 else _uniform32(engine, n) < p
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    trials = np.empty(n, np.bool_)
    write_bernoulli(engine, kernels.address(trials), n, p)
    return trials


def write_bernoulli(engine: Engine, memory: int, n: int, p: float) -> None:
    """Write what ``bernoulli(engine, n, p)`` returns for a probability in [0, 1] to an address."""
    engine.draw(memory, n, "below", math.ceil(p * 2.0**53))  # u / 2**53 < p


def permutation(engine: Engine, n: int, dtype: DType = dt.int64) -> np.ndarray:
    """A random order of 0 … n - 1: ``randperm``, by Fisher and Yates's shuffle.

    Raises:
        RuntimeError: ``dtype`` cannot represent n - 1.
    """
    limit = 1 << _DIGITS[dtype] if dtype.category == dt.FLOAT else _integer_range(dtype)[1]
    if n > limit + 1:
        raise RuntimeError(f"n cannot be greater than {limit + 1} for {dtype.name} type, but got {n}")
    if n < _LARGE_PERMUTATION:
        order = np.empty(n, dtype=np.int64)
        write_permutation(engine, kernels.address(order), n)
        return _stored(order, dtype)
    # Here 32 bits would favour small remainders. The shuffle goes inside out.
    order = np.empty(n, np.int64)
    cells = memoryview(order)
    for part in _chunks(n):
        places = np.arange(part.start, part.stop, dtype=np.uint64)
        others = engine.words64(places.size) % (places + np.uint64(1))
        for place, other in zip(range(part.start, part.stop), others.tolist(), strict=True):
            cells[place] = cells[other]
            cells[other] = place
    return _stored(order, dtype)


_LARGE_PERMUTATION = 0xFFFFFFFF // 20


def has_short_permutation(n: int) -> bool:
    """Whether ``write_permutation`` serves."""
    return n < _LARGE_PERMUTATION


def write_permutation(engine: Engine, memory: int, n: int) -> None:
    """Write what ``permutation(engine, n)`` returns to an address."""
    rejection.draw(engine, "permutation", "int64", memory, n)


def multinomial(engine: Engine, weights: np.ndarray, samples: int, replacement: bool = False, dtype: DType = dt.float32) -> np.ndarray:
    """Indices drawn in proportion to each row of ``weights``: ``multinomial``.

    With replacement, by searching the cumulative sum for a uniform sample. Without (or for one sample), by taking the largest of
    ``weight / q`` with q exponentially distributed.

    Args:
        weights: shape (categories,) or (rows, categories), contiguous, float32 or float64
        samples: how many per row
        dtype: the tensor's own dtype, where it is one of 16 bits

    Returns:
        int64, shape (samples,) or (rows, samples)

    Raises:
        RuntimeError: ``weights`` has another number of dimensions, a weight is negative or not finite, a row has no positive
            weight, ``samples`` is not positive, or exceeds the number of categories without replacement.
    """
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, but got {weights.ndim} dimensions")
    check_categories(weights.shape[-1], samples, replacement)
    rows = np.ascontiguousarray(weights).reshape(-1, weights.shape[-1])
    chosen = np.empty((len(rows), samples), np.int64)
    if replacement and samples > 1:
        write_categories(engine, rows.ctypes.data, kernels.address(chosen), *rows.shape, samples, dt.from_numpy(rows.dtype))
    else:
        _refuse_weights(not ((rows >= 0) & (rows < np.inf)).all(), not rows.any(axis=1).all())
        chosen = _largest_ratios(engine, rows, samples, dtype)
    return chosen.reshape(*weights.shape[:-1], samples)


def check_categories(categories: int, samples: int, replacement: bool) -> None:
    """Raise what ``multinomial`` does if so many samples cannot be drawn."""
    if samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, but got n_sample={samples}")
    if not categories:
        raise RuntimeError("there are no categories to sample from: prob_dist.size(-1)=0")
    if not replacement and samples > categories:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement, "
            f"but got n_sample={samples} and prob_dist.size(-1)={categories}"
        )
    if categories > 1 << 24:
        raise RuntimeError(f"number of categories cannot exceed 2^24, but got {categories}")


def _refuse_weights(is_none: bool, is_zero: bool) -> None:
    if is_none:
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if is_zero:
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


def write_categories(engine: Engine, weights: int, memory: int, rows: int, categories: int, samples: int, dtype: DType) -> None:
    """Write what ``multinomial`` with replacement returns to an address; the weights, of float32 or float64, are at another one."""
    sums = np.empty(max(categories, 1), dtype.numpy)
    fault = rejection.draw(engine, "categories", dtype.name, weights, kernels.address(sums), memory, rows, categories, samples)
    _refuse_weights(fault == 1, fault == 2)


def _largest_ratios(engine: Engine, rows: np.ndarray, samples: int, dtype: DType) -> np.ndarray:
    waits = exponential(engine, rows.size, 1.0, dtype).reshape(rows.shape)
    waits = numbers_in(waits, dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = rows / waits
        if dtype.itemsize == 2:
            ratios = _stored(ratios.ravel(), dtype).reshape(rows.shape)  # the bits of positive numbers are in their order
    if samples == 1:
        return ratios.argmax(axis=1)
    return (ratios.shape[1] - 1 - np.argsort(ratios[:, ::-1], axis=1, kind="stable"))[:, ::-1][:, :samples]


# ------------------------------------------------------------------------------------------------------------ parts


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, _CHUNK):
        yield slice(start, min(start + _CHUNK, n))


def _uniform32(engine: Engine, n: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """float32 samples of 24 bits each, scaled by one fused multiply-add."""
    return _uniforms(engine, np.empty(n, np.float32), "uniform32", float(np.float32(high) - np.float32(low)), low)


def _uniform64(engine: Engine, n: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """float64 samples of 53 bits each, scaled by one fused multiply-add."""
    return _uniforms(engine, np.empty(n, np.float64), "uniform64", high - low, low)


def _fill_normal(engine: Engine, samples: np.ndarray, mean: float, std: float) -> None:
    """Normal samples in blocks of 16."""
    if samples.dtype == np.float64:
        _uniforms(engine, samples, "uniform64", 1.0, 0.0)
        kernels.run("normal64", samples, a=std, b=mean, end=samples.size // 2)
    else:
        engine.fill(samples)
        kernels.run("normal32", samples, a=std, b=mean, end=samples.size // 16)


def _uniforms(engine: Engine, samples: np.ndarray, kernel: str, scale: float, offset: float) -> np.ndarray:
    engine.draw(kernels.address(samples), samples.size, kernel, scale, offset)
    return samples


def _serial_normals(engine: Engine, n: int) -> np.ndarray:
    """Standard normal samples in float64, pair by pair; a left-over sample stays with the engine."""
    samples = np.empty(n, np.float64)
    start = 0
    if n and engine.next_normal is not None:
        samples[0] = engine.next_normal
        engine.next_normal = None
        start = 1
    missing = n - start
    if missing == 0:
        return samples
    made = _uniform64(engine, missing + missing % 2)
    kernels.run("pairs64", made, end=made.size // 2)
    samples[start:] = made[:missing]
    if missing % 2:
        engine.next_normal = float(made[-1])
    return samples


def _fma(x: np.ndarray, scale: float, offset: float) -> np.ndarray:
    """``x scale + offset`` in float64, rounded once, in place."""
    kernels.run("fma", x, a=scale, b=offset)
    return x


def _stored(values: np.ndarray, dtype: DType) -> np.ndarray:
    """``values`` as elements of ``dtype``; those of 16 bits are rounded to float32 first, as PyTorch does."""
    if dtype.category == dt.FLOAT and dtype.itemsize < 8:
        if values.dtype == np.float64:
            wide, values = values, np.empty(values.size, np.float32)
            kernels.run("narrow", wide, values)
        elif values.dtype != np.float32:
            values = values.astype(np.float32)
        if dtype is dt.bfloat16:
            bits = np.empty(values.size, np.uint16)
            kernels.run("bfloat16", values, bits)
            return bits
    if values.dtype == dtype.numpy:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype.numpy)


def _digits(name: str, dtype: DType) -> int:
    """The digits of a floating dtype's significand."""
    if dtype not in _DIGITS:
        raise NotImplementedError(f"{name} is not implemented for {dtype.name}; it draws numbers of 16 to 64 bits")
    return _DIGITS[dtype]


def _integer_range(dtype: DType) -> tuple[int, int]:
    """The smallest and largest number; of a floating dtype, rounded to integers."""
    if dtype is dt.bool:
        return 0, 1
    if dtype.category == dt.FLOAT:
        return -int(_LARGEST[dtype]), int(_LARGEST[dtype])
    if dtype.category == dt.COMPLEX:
        raise NotImplementedError(f"random_ is not implemented for {dtype.name}")
    limits = np.iinfo(dtype.numpy)
    return int(limits.min), min(int(limits.max), (1 << 63) - 1)


def _rounded(value: int, dtype: DType) -> int:
    """An integer as a floating dtype rounds it."""
    stored = _stored(np.array([value], np.int64), dtype)
    stored = numbers_in(stored, dtype)
    return int(stored[0])


def _representable_from(low: int, dtype: DType) -> int:
    """``low``, or where ``low + 1`` rounds below it the next larger number of ``dtype``."""
    following = _rounded(low + 1, dtype)
    if following >= low:
        return low
    return following + (1 << (abs(low + 1).bit_length() - _DIGITS[dtype]))


def _representable_to(high: int, dtype: DType) -> int:
    """``high``, or where ``high - 1`` rounds up to it the next smaller number of ``dtype``."""
    preceding = _rounded(high - 1, dtype)
    if preceding < high:
        return high
    return preceding - (1 << (abs(high - 1).bit_length() - _DIGITS[dtype]))
