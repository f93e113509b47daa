"""Gathers of neighbours: elements that lie side by side are one load, those within a register of each other a load and a permutation.

What resizes, pads or pools along the axis that lies along memory reads at positions from a table, in which neighbouring lanes are neighbours or
equal. A gather takes a load for each lane all the same.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, bits, constant_vector, element_type, i64, vector
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import dtype as DType

WIDTH = 16
"""Lanes of the index, and elements that are looked at."""


def gather(f: Builder, start: Value, index: Value, of: DType, mask: Value | None, otherwise: Callable[[], Operand]) -> Operand:
    """The elements of a row from ``start`` at ``index`` (16 lanes of i64, not negative); ``otherwise`` writes the gather for where they lie far
    apart.

    Nothing is read beyond the elements that are asked for, of which the row has all that come before. Nothing is known of lanes that ``mask``
    leaves out; it keeps the first.
    """
    permute = _permutation(f, of)
    results = [f.alloca(type) for type in scalar.register_types(of, WIDTH)]
    rest = lambda: _keep(f, otherwise(), results)
    if permute is None:
        _side_by_side(f, start, index, of, mask, results, rest)
    elif mask is None:
        guess = f.intrinsic("smax", f.extract(index, 0), f.extract(index, WIDTH - 1))
        _permuted_near(f, start, index, guess, of, results, lambda: _permuted_near(f, start, index, _largest(f, index), of, results, rest))
    else:
        index = f.select(mask, index, f.splat(f.extract(index, 0), WIDTH))
        _permuted_near(f, start, index, _largest(f, index), of, results, rest)
    return scalar.pack([f.load(place, type) for place, type in zip(results, scalar.register_types(of, WIDTH), strict=True)])


def _side_by_side(
    f: Builder, start: Value, index: Value, of: DType, mask: Value | None, results: list[Value], otherwise: Callable[[], None]
) -> None:
    """Elements that are all neighbours are loaded."""
    low = f.extract(index, 0)
    as_wanted = f.compare("eq", f.sub(index, f.splat(low, WIDTH)), constant_vector("i64", range(WIDTH)))
    if mask is not None:
        as_wanted = f.binary("or", as_wanted, f.binary("xor", mask, 1))
    is_near = _all(f, as_wanted)
    with f.when(is_near):
        _keep(f, scalar.load(f, scalar.element_address(f, start, low, of), of, WIDTH, mask), results)
    with f.when(f.binary("xor", is_near, 1)):
        otherwise()


def _permuted_near(
    f: Builder, start: Value, index: Value, last: Value, of: DType, results: list[Value], otherwise: Callable[[], None]
) -> None:
    """Elements that lie within a register that ends at ``last`` are loaded together and permuted."""
    permute = _permutation(f, of)
    assert permute is not None
    low = f.intrinsic("smax", f.sub(last, WIDTH - 1), i64(0))
    steps, span = f.sub(index, f.splat(low, WIDTH)), f.splat(f.sub(last, low), WIDTH)
    is_near = _all(f, f.compare("ule", steps, span))
    with f.when(is_near):
        inside = f.compare("ule", constant_vector("i64", range(WIDTH)), span)
        window = f.masked_load(scalar.element_address(f, start, low, of), inside, vector(scalar.memory_type(of), WIDTH))
        _keep(f, scalar.from_memory(f, permute(f, window, steps), of), results)
    with f.when(f.binary("xor", is_near, 1)):
        otherwise()


def _keep(f: Builder, found: Operand, places: list[Value]) -> None:
    for part, place in zip(scalar.unpack(found), places, strict=True):
        f.store(part, place)


def _all(f: Builder, condition: Value) -> Value:
    return f.compare("eq", f.cast("bitcast", condition, f"i{WIDTH}"), -1)


def _largest(f: Builder, index: Value) -> Value:
    return f.intrinsic("vector.reduce.smax", index, returns="i64")


# -- permutations ----------------------------------------------------------------------------------------------------


def _permutation(f: Builder, of: DType) -> Callable[[Builder, Value, Value], Value] | None:
    """What takes any lanes (i64, from 0 to 15) of sixteen elements, if the target has instructions for it."""
    size, features = 0 if of.is_complex else bits(scalar.memory_type(of)), f.module.features
    if {"avx512f", "avx512bw", "avx512vl"} <= features:
        return {16: _permuted, 32: _permuted, 64: _permuted_in_halves}.get(size)
    return _permuted_by_eights if "avx2" in features and size == 32 else None


def _permuted(f: Builder, window: Value, places: Value) -> Value:
    element = element_type(window.type)
    name = {"float": "sf.512", "i32": "si.512", "i16": "hi.256"}[element]
    return f.intrinsic(f"x86.avx512.permvar.{name}", window, f.cast("trunc", places, vector(f"i{bits(element)}", WIDTH)), suffix="")


def _permuted_in_halves(f: Builder, window: Value, places: Value) -> Value:
    """Of two registers of eight elements."""
    name = "pd" if window.is_float else "q"
    low, high = _halves(f, window)
    return f.shuffle(
        *(f.intrinsic(f"x86.avx512.vpermi2var.{name}.512", low, half, high, suffix="") for half in _halves(f, places)), range(WIDTH)
    )


def _permuted_by_eights(f: Builder, window: Value, places: Value) -> Value:
    """Of two registers, each of which is permuted by itself."""
    name = "ps" if window.is_float else "d"
    low, high = _halves(f, window)
    parts = []
    for half in _halves(f, f.cast("trunc", places, vector("i32", WIDTH))):
        one, other = (f.intrinsic(f"x86.avx2.perm{name}", each, half, suffix="") for each in (low, high))
        parts.append(f.select(f.compare("ult", half, 8), one, other))
    return f.shuffle(*parts, range(WIDTH))


def _halves(f: Builder, whole: Value) -> tuple[Value, Value]:
    return f.shuffle(whole, whole, range(WIDTH // 2)), f.shuffle(whole, whole, range(WIDTH // 2, WIDTH))
