"""Arithmetic notation for IR: ``x * y + 1`` appends the instructions and is the new value.

Scalar operators and vector mathematics are formulas; this makes them read as such.  The same formula serves one
lane and many, and since every instruction here is exact or correctly rounded, gives the same bits for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau._codegen.ir import Builder, Value, bits, constant, vector

Number = float | int


class Lanes:
    """A value of one or more lanes together with the builder that it is written by.

    Numbers mix freely with lanes and become constants of the lanes' type.  Comparisons are ordered (false for NaN),
    except ``!=``.  On integers ``>>``, ``/``, ``%`` and comparisons follow ``signed``.
    """

    __slots__ = ("builder", "signed", "value")

    def __init__(self, builder: Builder, value: Value, signed: bool = True) -> None:
        self.builder = builder
        self.value = value
        self.signed = signed

    @property
    def type(self) -> str:
        return self.value.type

    @property
    def element(self) -> str:
        return self.value.element

    @property
    def width(self) -> int:
        return self.value.width

    @property
    def is_float(self) -> bool:
        return self.value.is_float

    @property
    def bits(self) -> int:
        """The bits of one lane."""
        return bits(self.value.type)

    def of(self, value: Value) -> Lanes:
        return Lanes(self.builder, value, self.signed)

    def constant(self, number: Number) -> Lanes:
        """``number`` in every lane, of this type."""
        return self.of(constant(self.value.type, number))

    def _lift(self, other: Lanes | Number) -> Value:
        return other.value if isinstance(other, Lanes) else constant(self.value.type, other)

    def _binary(self, float_opcode: str, integer_opcode: str, other: Lanes | Number) -> Lanes:
        return self.of(self.builder.binary(float_opcode if self.is_float else integer_opcode, self.value, self._lift(other)))

    def _reversed(self, opcode: str, other: Number) -> Lanes:
        return self.of(self.builder.binary(opcode, constant(self.value.type, other), self.value))

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def __add__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fadd", "add", other)

    __radd__ = __add__

    def __sub__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other: Number) -> Lanes:
        return self._reversed("fsub" if self.is_float else "sub", other)

    def __mul__(self, other: Lanes | Number) -> Lanes:
        return self._binary("fmul", "mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Lanes | Number) -> Lanes:
        """Division; of integers the quotient rounded to zero (the divisor must not be 0)."""
        return self._binary("fdiv", "sdiv" if self.signed else "udiv", other)

    def __rtruediv__(self, other: Number) -> Lanes:
        return self._reversed("fdiv" if self.is_float else "sdiv" if self.signed else "udiv", other)

    def __mod__(self, other: Lanes | Number) -> Lanes:
        """The remainder of ``/``, which has the sign of the dividend; of integers only."""
        return self._binary("frem", "srem" if self.signed else "urem", other)

    def __pos__(self) -> Lanes:
        return self

    def __neg__(self) -> Lanes:
        return self.of(self.builder.neg(self.value))

    def fma(self, factor: Lanes | Number, addend: Lanes | Number) -> Lanes:
        """``self * factor + addend``, rounded once."""
        return self.of(self.builder.fma(self.value, self._lift(factor), self._lift(addend)))

    def _call(self, intrinsic: str, *others: Lanes | Number) -> Lanes:
        return self.of(self.builder.intrinsic(intrinsic, self.value, *map(self._lift, others)))

    def abs(self) -> Lanes:
        if self.is_float:
            return self._call("fabs")
        if not self.signed:
            return self
        return self.of(self.builder.intrinsic("abs", self.value, constant("i1", 0)))

    def sqrt(self) -> Lanes:
        return self._call("sqrt")

    def floor(self) -> Lanes:
        return self._call("floor")

    def ceil(self) -> Lanes:
        return self._call("ceil")

    def trunc(self) -> Lanes:
        return self._call("trunc")

    def round(self) -> Lanes:
        """The nearest integer, halves to even."""
        return self._call("roundeven")

    def copysign(self, sign: Lanes | Number) -> Lanes:
        return self._call("copysign", sign)

    def at_most(self, limit: Lanes | Number) -> Lanes:
        """The smaller of the two; a NaN in ``self`` stays (one ``vminps``)."""
        limit = self.of(self._lift(limit))
        return (limit < self).select(limit, self)

    def at_least(self, limit: Lanes | Number) -> Lanes:
        """The larger of the two; a NaN in ``self`` stays (one ``vmaxps``)."""
        limit = self.of(self._lift(limit))
        return (limit > self).select(limit, self)

    # -- bits ------------------------------------------------------------------------------------------------------

    def __and__(self, other: Lanes | Number) -> Lanes:
        return self.of(self.builder.binary("and", self.value, self._lift(other)))

    def __or__(self, other: Lanes | Number) -> Lanes:
        return self.of(self.builder.binary("or", self.value, self._lift(other)))

    def __xor__(self, other: Lanes | Number) -> Lanes:
        return self.of(self.builder.binary("xor", self.value, self._lift(other)))

    def __invert__(self) -> Lanes:
        return self ^ (1 if self.element == "i1" else -1)

    def __lshift__(self, count: Lanes | int) -> Lanes:
        return self.of(self.builder.binary("shl", self.value, self._lift(count)))

    def __rshift__(self, count: Lanes | int) -> Lanes:
        return self.of(self.builder.binary("ashr" if self.signed else "lshr", self.value, self._lift(count)))

    def shift_in_zeros(self, count: Lanes | int) -> Lanes:
        """A right shift that fills with zeros whatever the sign."""
        return self.of(self.builder.binary("lshr", self.value, self._lift(count)))

    def as_integer(self) -> Lanes:
        """The bits of a float, as a signed integer."""
        return Lanes(self.builder, self.builder.cast("bitcast", self.value, vector(f"i{self.bits}", self.width)))

    def as_float(self) -> Lanes:
        """The float that has these bits."""
        return self.of(self.builder.cast("bitcast", self.value, vector({32: "float", 64: "double"}[self.bits], self.width)))

    # -- comparison and choice -------------------------------------------------------------------------------------

    def _compare(self, name: str, other: Lanes | Number) -> Lanes:
        if self.is_float:
            predicate = "une" if name == "ne" else "o" + name
        else:
            predicate = name if name in ("eq", "ne") else ("s" if self.signed else "u") + name
        return Lanes(self.builder, self.builder.compare(predicate, self.value, self._lift(other)), False)

    def __lt__(self, other: Lanes | Number) -> Lanes:
        return self._compare("lt", other)

    def __le__(self, other: Lanes | Number) -> Lanes:
        return self._compare("le", other)

    def __gt__(self, other: Lanes | Number) -> Lanes:
        return self._compare("gt", other)

    def __ge__(self, other: Lanes | Number) -> Lanes:
        return self._compare("ge", other)

    def __eq__(self, other: Lanes | Number) -> Lanes:
        return self._compare("eq", other)

    def __ne__(self, other: Lanes | Number) -> Lanes:
        return self._compare("ne", other)

    __hash__ = None

    def __bool__(self) -> bool:
        raise TypeError("lanes have no truth value while code is being written; use select()")

    def is_nan(self) -> Lanes:
        return Lanes(self.builder, self.builder.compare("uno", self.value, self.value), False)

    def select(self, then: Lanes | Number, otherwise: Lanes | Number) -> Lanes:
        """``then`` where this condition holds, else ``otherwise``; at most one of them is a number."""
        model = then if isinstance(then, Lanes) else otherwise
        return model.of(self.builder.select(self.value, model._lift(then), model._lift(otherwise)))

    def unfolded(self) -> Lanes:
        """The same, which LLVM does not see through: of a choice between something and what was loaded from the place that it is stored to
        it makes a masked store, which takes AMD's processors some 12 cycles (a maximum over columns was a third as fast as their sum)."""
        return self.of(self.builder.freeze(self.value))

    def any(self) -> Lanes:
        """One lane: whether any lane of this condition holds."""
        if self.width == 1:
            return self
        return self.of(self.builder.intrinsic("vector.reduce.or", self.value, returns="i1"))

    # -- conversion ------------------------------------------------------------------------------------------------

    def convert(self, opcode: str, element: str, signed: bool = True) -> Lanes:
        """An IR conversion to ``element``: ``x.convert("fptosi", "i32")``."""
        return Lanes(self.builder, self.builder.cast(opcode, self.value, vector(element, self.width)), signed)

    def to_float(self) -> Lanes:
        """An integer as a float of as many bits, rounded."""
        return self.convert("sitofp" if self.signed else "uitofp", {32: "float", 64: "double"}[self.bits])


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """``c[0] + c[1] x + c[2] x**2 + …`` by Horner's rule with fused multiply-adds."""
    result = x.constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result.fma(x, coefficient)
    return result


def rarely(condition: Lanes, values: Sequence[Lanes], body: Callable[[], Sequence[Lanes]]) -> list[Lanes]:
    """``values``, and in the lanes where ``condition`` holds what ``body`` computes, which runs only if there are any."""
    builder = condition.builder
    places = [builder.alloca(value.type) for value in values]
    for value, place in zip(values, places, strict=True):
        builder.store(value.value, place)
    with builder.when(condition.any().value):
        for value, place, rare in zip(values, places, body(), strict=True):
            builder.store(condition.select(rare, value).value, place)
    return [value.of(builder.load(place, value.type)) for value, place in zip(values, places, strict=True)]


def seldom(
    name: str, x: Lanes, values: Sequence[Lanes], is_rare: Callable[[Lanes], Lanes], body: Callable[[Lanes], Sequence[Lanes]]
) -> list[Lanes]:
    """``values``, and in the lanes where ``is_rare(x)`` holds what ``body(x)`` gives: for what is seldom done and should be short.

    It is done as many lanes at a time as fill a register, and in a kernel by a function of that name, which kernels share.
    """
    builder, width = x.builder, (512 if "avx512f" in x.builder.module.features else 256) // x.bits
    if x.width <= width:
        return rarely(is_rare(x), values, lambda: body(x))
    places = [builder.alloca(each.type) for each in (x, *values)]
    for value, place in zip(values, places[1:], strict=True):
        builder.store(value.value, place)

    def by_pieces(f: Builder, source: Value, results: Sequence[Value], count: Value) -> None:
        with f.loop(0, count, width) as pieces:
            piece = Lanes(f, f.load(f.offset(source, pieces.index, x.element), vector(x.element, width)))
            condition = is_rare(piece)
            for rare, result in zip(body(piece), results, strict=True):
                place = f.offset(result, pieces.index, rare.element)
                f.store(condition.select(rare, rare.of(f.load(place, rare.type))).value, place)

    with builder.when(is_rare(x).any().value):
        builder.store(x.value, places[0])
        count = Value(str(x.width), "i64")
        if builder.is_internal:  # it may itself be shared
            by_pieces(builder, places[0], places[1:], count)
        else:
            if not builder.module.has_function(name):
                labels = [("ptr", f"place{number}") for number in range(len(places))]
                f = builder.module.function(name, [*labels, ("i64", "count")], linkage="internal", attributes="cold noinline")
                by_pieces(f, f.parameters[0], f.parameters[1:-1], f.parameters[-1])
                f.ret()
            builder.call(f"@{name}", *places, count)
    return [value.of(builder.load(place, value.type)) for value, place in zip(values, places[1:], strict=True)]
