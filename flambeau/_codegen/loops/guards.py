"""Indices that must be in bounds: those outside are reported, and 0 is read in their place.

A *guard* is a condition *an index is outside of its bounds* that nothing uses but checks and choices of 0 instead of the index. Hardly ever does one
hold: the value of a guard is whether it does in any lane, and what is done if so is done aside. (Masks of 64-bit numbers, and choices by them, were
half of a gather's instructions with AVX2.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau._codegen import faults, scalar
from flambeau._codegen.ir import Value, constant, i64
from flambeau._codegen.loops.spec import Instr
from flambeau._types import dtype as dtypes

if TYPE_CHECKING:
    from flambeau._codegen.loops.body import Body


def find(body: Body) -> frozenset[int]:
    """The guards among the instructions."""
    users: dict[int, list[Instr]] = {}
    for instr in body.instructions:
        for argument in instr.args:
            users.setdefault(argument, []).append(instr)

    def is_guarded(user: Instr, number: int) -> bool:
        if user.op == "check":  # which reports the index itself
            return user.args == (number, body.instructions[number].args[0])
        if user.attrs != ("where",) or user.args[0] != number or user.dtype is not dtypes.int64:
            return False
        zero = body.instructions[user.args[1]]
        return zero.op == "constant" and zero.attrs[0] == 0

    return frozenset(
        number
        for number, instr in enumerate(body.instructions)
        if instr.attrs == ("outside",)
        and body.instructions[instr.args[0]].dtype is dtypes.int64
        and [body.is_vector(argument) for argument in instr.args] == [True, False, False]
        and all(is_guarded(user, number) for user in users.get(number, ()))
    )


def holds(body: Body, guard: Instr, width: int) -> Value:
    """Whether a guard holds in any lane."""
    f = body.f
    index, low, high = (body.widened(argument, lanes) for argument, lanes in zip(guard.args, (width, 1, 1), strict=True))
    assert isinstance(index, Value) and isinstance(low, Value) and isinstance(high, Value)
    return faults.any_outside(f, f.sub(index, f.splat(low, width)), f.sub(high, low))


def safe_index(body: Body, choice: Instr, width: int, mask: Value | None) -> Value:
    """An index with 0 in the lanes in which a guard holds; if it was loaded, what is in memory is remembered, or a copy with the zeros."""
    f = body.f
    index, found = body.widened(choice.args[2], width), body.values[choice.args[0]]
    assert isinstance(index, Value) and isinstance(found, Value)
    safe, copy, where = f.alloca(index.type), f.alloca(index.type), f.alloca("ptr")
    source = body.instructions[choice.args[2]]
    is_loaded = source.op == "load" and not source.attrs[1] and body.spec.accesses[source.attrs[0]].vector == 1 and mask is None
    f.store(index, safe)
    if is_loaded:
        f.store(body.pointer(source.attrs[0]), where)
    with f.when(found):
        fixed = f.select(_lanes_outside(body, body.instructions[choice.args[0]], width), constant(index.type, 0), index)
        f.store(fixed, safe)
        if is_loaded:
            f.store(fixed, copy)
            f.store(copy, where)
    result = f.load(safe, index.type)
    if is_loaded:
        body.read_again[result.text] = f.load(where, "ptr")
    return result


def _lanes_outside(body: Body, guard: Instr, width: int) -> Value:
    """The lanes in which a guard holds."""
    found = scalar.emit(body.f, "outside", body.instructions[guard.args[0]].dtype, *[body.widened(each, width) for each in guard.args])
    assert isinstance(found, Value)
    return found


def check(body: Body, number: int, width: int, mask: Value | None) -> None:
    """Report the first lane in which a check's condition holds, and what it tells of that."""
    f, instr = body.f, body.instructions[number]
    access, which = instr.attrs
    condition, detail = instr.args[0], body.widened(instr.args[1], width)
    assert isinstance(detail, Value)
    position = body.affine(access)
    if condition in body.guards:
        _check_guard(body, number, position, detail, mask)
        return
    found = body.widened(condition, width)
    assert isinstance(found, Value)
    if width == 1:
        with f.when(found):
            faults.report(f, which, position, detail)
        return
    if mask is not None:
        found = f.binary("and", found, mask)
    lanes = f.cast("bitcast", found, f"i{width}")
    with f.when(f.compare("ne", lanes, 0)):
        lane = f.cast("zext", f.intrinsic("cttz", lanes, constant("i1", 0)), "i64")  # along the lanes positions grow
        step = body.strides[access].get(body.vector_digit, i64(0))
        value = f.value(f"extractelement {detail.type} {detail.text}, i64 {lane.text}", "i64")
        faults.report(f, which, f.add(position, f.mul(lane, step)), value)


def _check_guard(body: Body, number: int, position: Value, detail: Value, mask: Value | None) -> None:
    """Look at one lane after the other, if there is one to report. (With vectors LLVM would move what this and ``safe_index`` share to where it is
    always done.)"""
    f, width = body.f, detail.width
    access, which = body.instructions[number].attrs
    guard = body.instructions[number].args[0]
    found, of = body.values[guard], body.instructions[body.instructions[guard].args[0]].dtype
    bounds = [body.widened(each, 1) for each in body.instructions[guard].args[1:]]
    step = body.strides[access].get(body.vector_digit, i64(0))
    assert isinstance(found, Value)
    with f.when(found):
        copy = f.alloca(detail.type)
        f.store(detail, copy)
        lanes = f.cast("zext", f.cast("bitcast", mask, f"i{width}"), "i64") if mask is not None else i64(-1)
        with f.loop(0, width) as each:
            here = f.load(f.offset(copy, each.index, "i64"), "i64")
            is_lane = f.cast("trunc", f.binary("lshr", lanes, each.index), "i1")
            is_outside = scalar.emit(f, "outside", of, here, *bounds)
            assert isinstance(is_outside, Value)
            with f.when(f.binary("and", is_lane, is_outside)):
                faults.report(f, which, f.add(position, f.mul(each.index, step)), here)
