"""Gathers of neighbours: elements that lie side by side are one load, those within a register of each other a load and a permutation.

What resizes, pads or pools along the axis that lies along memory reads at positions from a table, in which neighbouring lanes are neighbours or
equal. A gather takes a load for each lane all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau._codegen import scalar
from flambeau._codegen.ir import Builder, Value, bits, constant_vector, element_type, i64, vector
from flambeau._codegen.scalar import Operand
from flambeau._types.dtype import dtype as DType

WIDTH = 16
"""Lanes of the index, and elements that are looked at."""


class Plan(NamedTuple):
    """What of a gather does not depend on the row: it serves all rows that are read at the same index.

    Attributes:
        is_near: whether the elements lie within a register of each other (or side by side, where nothing permutes them)
        low: the first element that is loaded
        is_whole: whether all of a register may be loaded, where that is quicker than the lanes that are inside
        inside: the lanes that are loaded
        places: what the permutation is told
    """

    is_near: Value
    low: Value
    is_whole: Value | None
    inside: Value | None
    places: tuple[Value, ...]


def plan(f: Builder, index: Value, of: DType, mask: Value | None, reach: Value | None = None) -> Plan:
    """How the elements at ``index`` (16 lanes of i64, not negative) are read. Nothing is known of lanes that ``mask`` leaves out; it keeps the
    first. ``reach`` is a place that every row is known to have.

    Without AVX-512 a masked load takes as long as all the rest (a border around 62²: 2.5 ms with, 0.9 without); a whole register is loaded from
    rows of so many elements.
    """
    prepare = _permutation(f, of).prepare
    first = f.extract(index, 0)
    if prepare is None:
        as_wanted = f.compare("eq", f.sub(index, f.splat(first, WIDTH)), constant_vector("i64", range(WIDTH)))
        if mask is not None:
            as_wanted = f.binary("or", as_wanted, f.binary("xor", mask, 1))
        return Plan(_all(f, as_wanted), first, None, mask, ())
    if mask is not None:
        index = f.select(mask, index, f.splat(first, WIDTH))
    found = f.alloca("i64")
    guess = f.intrinsic("smax", first, f.extract(index, WIDTH - 1))
    if reach is not None:
        guess = f.intrinsic("smax", guess, f.intrinsic("smin", reach, i64(WIDTH - 1)))
    f.store(guess, found)
    with f.when(f.binary("xor", _is_within(f, index, guess)[0], 1)):  # the largest of all lanes takes longer to be found
        f.store(f.intrinsic("smax", guess, f.intrinsic("vector.reduce.smax", index, returns="i64")), found)
    last = f.load(found, "i64")
    is_near, low, steps, span = _is_within(f, index, last)
    is_whole = None if "avx512f" in f.module.features else f.compare("sge", last, i64(WIDTH - 1))
    return Plan(is_near, low, is_whole, f.compare("ule", constant_vector("i64", range(WIDTH)), span), prepare(f, steps))


def _is_within(f: Builder, index: Value, last: Value) -> tuple[Value, Value, Value, Value]:
    """Whether all lanes lie within a register that ends at ``last``; where it begins, each lane's place in it, and the last one's."""
    low = f.intrinsic("smax", f.sub(last, WIDTH - 1), i64(0))
    steps, span = f.sub(index, f.splat(low, WIDTH)), f.splat(f.sub(last, low), WIDTH)
    return _all(f, f.compare("ule", steps, span)), low, steps, span


def gather(f: Builder, start: Value, planned: Plan, of: DType, otherwise: Callable[[], Operand]) -> Operand:
    """The elements of a row from ``start``; ``otherwise`` writes the gather for where they lie far apart.

    Nothing is read beyond the elements that are asked for, of which the row has all that come before.
    """
    permute = _permutation(f, of).permute
    results = [f.alloca(type) for type in scalar.register_types(of, WIDTH)]
    address = scalar.element_address(f, start, planned.low, of)
    with f.when(planned.is_near):
        if permute is None:
            _keep(f, scalar.load(f, address, of, WIDTH, planned.inside), results)
        else:
            window = _window(f, address, planned, vector(scalar.memory_type(of), WIDTH))
            _keep(f, scalar.from_memory(f, permute(f, window, planned.places), of), results)
    with f.when(f.binary("xor", planned.is_near, 1)):
        _keep(f, otherwise(), results)
    return scalar.pack([f.load(place, type) for place, type in zip(results, scalar.register_types(of, WIDTH), strict=True)])


def _window(f: Builder, address: Value, planned: Plan, type: str) -> Value:
    """The register that is permuted."""
    assert planned.inside is not None
    if planned.is_whole is None:
        return f.masked_load(address, planned.inside, type)
    found = f.alloca(type)
    with f.when(planned.is_whole):
        f.store(f.load(address, type), found)
    with f.when(f.binary("xor", planned.is_whole, 1)):
        f.store(f.masked_load(address, planned.inside, type), found)
    return f.load(found, type)


def _keep(f: Builder, found: Operand, places: list[Value]) -> None:
    for part, place in zip(scalar.unpack(found), places, strict=True):
        f.store(part, place)


def _all(f: Builder, condition: Value) -> Value:
    return f.compare("eq", f.cast("bitcast", condition, f"i{WIDTH}"), -1)


# -- permutations ----------------------------------------------------------------------------------------------------


class _Permutation(NamedTuple):
    """What takes any lanes of sixteen elements: ``prepare`` is told which (i64, from 0 to 15), ``permute`` what it gave; nothing, if the target has no
    instructions for it."""

    prepare: Callable[[Builder, Value], tuple[Value, ...]] | None = None
    permute: Callable[[Builder, Value, tuple[Value, ...]], Value] | None = None


def _permutation(f: Builder, of: DType) -> _Permutation:
    size, features = 0 if of.is_complex else bits(scalar.memory_type(of)), f.module.features
    if {"avx512f", "avx512bw", "avx512vl"} <= features and size in (16, 32):
        return _Permutation(lambda f, places: (f.cast("trunc", places, vector(f"i{size}", WIDTH)),), _permuted)
    if {"avx512f", "avx512bw", "avx512vl"} <= features and size == 64:
        return _Permutation(_halves, _permuted_in_halves)
    if "avx2" in features and size == 32:
        return _Permutation(_by_eights, _permuted_by_eights)
    return _Permutation()


def _permuted(f: Builder, window: Value, places: tuple[Value, ...]) -> Value:
    name = {"float": "sf.512", "i32": "si.512", "i16": "hi.256"}[element_type(window.type)]
    return f.intrinsic(f"x86.avx512.permvar.{name}", window, *places, suffix="")


def _permuted_in_halves(f: Builder, window: Value, places: tuple[Value, ...]) -> Value:
    """Of two registers of eight elements."""
    name = "pd" if window.is_float else "q"
    low, high = _halves(f, window)
    return f.shuffle(*(f.intrinsic(f"x86.avx512.vpermi2var.{name}.512", low, half, high, suffix="") for half in places), range(WIDTH))


def _by_eights(f: Builder, places: Value) -> tuple[Value, ...]:
    """For each half of the lanes which places they take, and whether those are in the first register."""
    halves = _halves(f, f.cast("trunc", places, vector("i32", WIDTH)))
    return *halves, *(f.compare("ult", half, 8) for half in halves)


def _permuted_by_eights(f: Builder, window: Value, places: tuple[Value, ...]) -> Value:
    """Of two registers, each of which is permuted by itself."""
    name = "ps" if window.is_float else "d"
    low, high = _halves(f, window)
    parts = []
    for half, is_low in zip(places[:2], places[2:], strict=True):
        one, other = (f.intrinsic(f"x86.avx2.perm{name}", each, half, suffix="") for each in (low, high))
        parts.append(f.select(is_low, one, other))
    return f.shuffle(*parts, range(WIDTH))


def _halves(f: Builder, whole: Value) -> tuple[Value, Value]:
    return f.shuffle(whole, whole, range(WIDTH // 2)), f.shuffle(whole, whole, range(WIDTH // 2, WIDTH))
