"""A small builder of LLVM IR text.

Kernels are written as explicit vector IR (see ``docs/design/0001-architecture.md``).  The builder knows
types as LLVM spells them (``"<16 x float>"``), gives every instruction a numbered name, and builds
structured loops and branches.  It is some fifty times faster than ``llvmlite.ir``, whose objects we do not need:
what it makes is text, and the text is the key of the object cache.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_FLOAT_TYPES = ("half", "bfloat", "float", "double")


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value or a constant: its text in IR and its type."""

    text: str
    type: str

    @property
    def element(self) -> str:
        """The scalar type of a vector, or the type itself."""
        return element_type(self.type)

    @property
    def width(self) -> int:
        """The number of lanes; 1 for a scalar."""
        return vector_width(self.type)

    @property
    def is_float(self) -> bool:
        return self.element in _FLOAT_TYPES


def vector(element: str, width: int) -> str:
    """``vector("float", 16) == "<16 x float>"``; a width of 1 is the scalar type."""
    return element if width == 1 else f"<{width} x {element}>"


def element_type(type: str) -> str:
    return type[type.index(" x ") + 3 : -1] if type[0] == "<" else type


def vector_width(type: str) -> int:
    return int(type[1 : type.index(" x ")]) if type[0] == "<" else 1


def bits(type: str) -> int:
    """The number of bits of a scalar type, or of one lane of a vector."""
    element = element_type(type)
    sizes = {"half": 16, "bfloat": 16, "float": 32, "double": 64, "ptr": 64}
    return sizes[element] if element in sizes else int(element[1:])


def _literal(type: str, number: complex | float | int) -> str:
    if type in _FLOAT_TYPES:
        value = float(number)
        if type == "float":
            value = struct.unpack("f", struct.pack("f", value))[0] if abs(value) < 3.5e38 else value
        if type == "half":
            return "0xH" + struct.pack(">e", value).hex().upper()
        if type == "bfloat":
            return "0xR" + struct.pack(">f", value)[:2].hex().upper()
        return "0x" + struct.pack(">d", value).hex().upper()
    if type == "i1":
        return "true" if number else "false"
    if type == "ptr":
        return "null"
    return str(int(number))


def constant(type: str, number: float | int) -> Value:
    """A constant of ``type``; for a vector type the same number in every lane."""
    if type[0] != "<":
        return Value(_literal(type, number), type)
    element = element_type(type)
    return Value(f"splat ({element} {_literal(element, number)})", type)


def constant_vector(element: str, numbers: Sequence[float | int]) -> Value:
    """A constant vector with one number a lane."""
    lanes = ", ".join(f"{element} {_literal(element, number)}" for number in numbers)
    return Value(f"<{lanes}>", f"<{len(numbers)} x {element}>")


def i64(number: int) -> Value:
    return Value(str(number), "i64")


class Loop:
    """The inside of ``Builder.loop``: the index, the carried values, and what they become."""

    def __init__(self, index: Value, carried: list[Value]) -> None:
        self.index = index
        self.carried = carried
        self._next: list[Value] | None = None

    def carry(self, *values: Value) -> None:
        """Set the carried values of the next iteration (also the results once the loop has ended)."""
        self._next = list(values)


class Repeat:
    """The inside of ``Builder.repeat``: the carried values, whether to go on, and what they become."""

    def __init__(self, carried: list[Value]) -> None:
        self.carried = carried
        self.condition = Value("false", "i1")
        self.following = carried

    def again(self, condition: Value, *values: Value) -> None:
        """Go on while ``condition`` (a scalar ``i1``) holds, with ``values`` as the carried values."""
        self.condition = condition
        self.following = list(values)


class Module:
    """Functions and the declarations that they need, printed as one LLVM module.

    ``features`` are instruction sets of the target by LLVM's names (``"avx512f"``, ``"f16c"``) that generators may use by
    name.  Results are the same without them.
    """

    def __init__(self, features: Collection[str] = ()) -> None:
        self.features = frozenset(features)
        self.functions: list[Builder] = []
        self.declarations: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        self.metadata: dict[str, str] = {}

    def function(
        self, name: str, parameters: Sequence[tuple[str, str]], returns: str = "void", *, linkage: str = "", attributes: str = ""
    ) -> Builder:
        """Start a function; ``parameters`` are ``(type with attributes, name)``."""
        builder = Builder(self, name, parameters, returns, linkage, attributes)
        self.functions.append(builder)
        return builder

    def include(self, other: Module) -> None:
        """Have the functions of another module as well, with the tables that they need."""
        if other.metadata:
            raise ValueError("metadata has numbers of its own, and cannot be included")
        self.functions += other.functions
        self.declarations |= other.declarations
        self.globals |= other.globals

    def has_function(self, name: str) -> bool:
        """Whether the function is already written, for helpers that several places call."""
        return any(function.name == name for function in self.functions)

    def declare(self, signature: str) -> None:
        """Declare a function, for example ``declare("void @memcpy(ptr, ptr, i64)")``; once is enough."""
        name = signature[signature.index("@") : signature.index("(")]
        self.declarations[name] = f"declare {signature}"

    def table(self, element: str, numbers: Sequence[float | int]) -> Value:
        """A constant table in memory, named by what is in it; returns its address.  Equal tables are shared."""
        body = ", ".join(f"{element} {_literal(element, number)}" for number in numbers)
        definition = f"private unnamed_addr constant [{len(numbers)} x {element}] [{body}], align 64"
        name = f"@table.{hashlib.blake2b(definition.encode(), digest_size=8).hexdigest()}"
        self.globals[name] = definition
        return Value(name, "ptr")

    def __str__(self) -> str:
        parts = [f"{name} = {definition}" for name, definition in self.globals.items()]
        parts += self.declarations.values()
        parts += [str(function) for function in self.functions]
        parts += [f"{name} = {content}" for name, content in self.metadata.items()]
        return "\n".join(parts) + "\n"


class Builder:
    """One function being written.  Methods append an instruction and return its value."""

    def __init__(
        self, module: Module, name: str, parameters: Sequence[tuple[str, str]], returns: str, linkage: str, attributes: str
    ) -> None:
        self.module = module
        self.name = name
        self.is_internal = linkage == "internal"
        self._head = f"define {linkage} {returns} @{name}({', '.join(f'{type} %{label}' for type, label in parameters)}) {attributes}"
        self.parameters = [Value(f"%{label}", type.split()[0] if type[0] != "<" else type) for type, label in parameters]
        self._allocas: list[str] = []
        self._lines: list[str] = []
        self._counter = 0
        self._block = "entry"
        self._waiting: dict[tuple[str, Value], list[tuple[Value, Value]]] | None = None  # see ``stores_together``

    def __str__(self) -> str:
        return "\n".join([self._head + " {", "entry:", *self._allocas, *self._lines, "}"])

    # -- the plain instruction -------------------------------------------------------------------------------------

    def emit(self, text: str) -> None:
        """Append a line that gives no value."""
        self._lines.append("  " + text)

    def value(self, text: str, type: str) -> Value:
        """Append ``text`` as an instruction whose value has ``type``."""
        name = f"%v{self._counter}"
        self._counter += 1
        self._lines.append(f"  {name} = {text}")
        return Value(name, type)

    def _label(self, hint: str) -> str:
        self._counter += 1
        return f"{hint}{self._counter}"

    def block(self, label: str) -> None:
        """Start the basic block ``label``."""
        self._lines.append(f"{label}:")
        self._block = label

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def binary(self, opcode: str, left: Value, right: Value | int | float) -> Value:
        """Any two-operand instruction, for example ``binary("xor", a, b)`` or ``binary("fdiv", a, 2.0)``."""
        if not isinstance(right, Value):
            right = constant(left.type, right)
        return self.value(f"{opcode} {left.type} {left.text}, {right.text}", left.type)

    def add(self, left: Value, right: Value | int | float) -> Value:
        return self.binary("fadd" if left.is_float else "add", left, right)

    def sub(self, left: Value, right: Value | int | float) -> Value:
        return self.binary("fsub" if left.is_float else "sub", left, right)

    def mul(self, left: Value, right: Value | int | float) -> Value:
        return self.binary("fmul" if left.is_float else "mul", left, right)

    def neg(self, operand: Value) -> Value:
        if operand.is_float:
            return self.value(f"fneg {operand.type} {operand.text}", operand.type)
        return self.binary("sub", constant(operand.type, 0), operand)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c`` rounded once."""
        return self.intrinsic("fma", a, b, c)

    def compare(self, predicate: str, left: Value, right: Value | int | float) -> Value:
        """``icmp`` or ``fcmp`` by the operands' type: ``compare("olt", x, 0.0)``, ``compare("slt", i, n)``."""
        if not isinstance(right, Value):
            right = constant(left.type, right)
        opcode = "fcmp" if left.is_float else "icmp"
        return self.value(f"{opcode} {predicate} {left.type} {left.text}, {right.text}", vector("i1", left.width))

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        return self.value(
            f"select {condition.type} {condition.text}, {then.type} {then.text}, {otherwise.type} {otherwise.text}", then.type
        )

    def halved(self, opcode: str, operand: Value, width: int) -> Value:
        """The halves of a vector combined, and the halves of that, until it has no more than ``width`` lanes."""
        while operand.width > width:
            half = operand.width // 2
            low, high = (self.shuffle(operand, operand, range(start, start + half)) for start in (0, half))
            operand = self.binary(opcode, low, high)
        return operand

    def freeze(self, operand: Value) -> Value:
        """The same value, which what is done with it later cannot be folded into."""
        return self.value(f"freeze {operand.type} {operand.text}", operand.type)

    def cast(self, opcode: str, operand: Value, type: str) -> Value:
        """``cast("sext", x, "<16 x i64>")``, ``cast("bitcast", x, …)``, ``cast("fptrunc", x, …)``, …"""
        return operand if operand.type == type else self.value(f"{opcode} {operand.type} {operand.text} to {type}", type)

    def intrinsic(self, name: str, *operands: Value, returns: str | None = None, suffix: str | None = None) -> Value:
        """Call ``llvm.NAME.SUFFIX``; the result type is the first operand's unless given.

        The suffix is made from the first operand's type (``v16f32``) unless given (``""`` for none).
        """
        returns = returns or operands[0].type
        suffix = mangle(operands[0].type) if suffix is None else suffix
        full = f"@llvm.{name}.{suffix}" if suffix else f"@llvm.{name}"
        self.module.declare(f"{returns} {full}({', '.join(operand.type for operand in operands)})")
        return self.call(full, *operands, returns=returns)

    def call(self, name: str, *operands: Value, returns: str = "void") -> Value:
        """Call a function (or a function pointer's value text) by name."""
        text = f"call {returns} {name}({', '.join(f'{operand.type} {operand.text}' for operand in operands)})"
        if returns == "void":
            self.emit(text)
            return Value("", "void")
        return self.value(text, returns)

    # -- vectors ---------------------------------------------------------------------------------------------------

    def splat(self, operand: Value, width: int) -> Value:
        """The scalar in each of ``width`` lanes."""
        if width == 1:
            return operand
        type = vector(operand.type, width)
        first = self.value(f"insertelement {type} poison, {operand.type} {operand.text}, i64 0", type)
        return self.shuffle(first, first, [0] * width)

    def shuffle(self, left: Value, right: Value, lanes: Sequence[int]) -> Value:
        """Lanes of two vectors, those of ``right`` counted on; nothing is known of a lane that is to be -1."""
        if len(lanes) == 1:
            return self.extract(left, lanes[0]) if lanes[0] < left.width else self.extract(right, lanes[0] - left.width)
        type = vector(left.element, len(lanes))
        mask = ", ".join(f"i32 {lane}" if lane >= 0 else "i32 poison" for lane in lanes)
        return self.value(f"shufflevector {left.type} {left.text}, {right.type} {right.text}, <{len(lanes)} x i32> <{mask}>", type)

    def extract(self, operand: Value, lane: int) -> Value:
        return self.value(f"extractelement {operand.type} {operand.text}, i64 {lane}", operand.element)

    def insert(self, operand: Value, element: Value, lane: int) -> Value:
        return self.value(f"insertelement {operand.type} {operand.text}, {element.type} {element.text}, i64 {lane}", operand.type)

    def lane_mask(self, count: Value, width: int) -> Value:
        """An ``i1`` vector that is true in the lanes below ``count`` (an ``i64``)."""
        lanes = constant_vector("i64", range(width))
        return self.compare("slt", lanes, self.splat(count, width))

    # -- memory ----------------------------------------------------------------------------------------------------

    def offset(self, pointer: Value, index: Value | int, type: str) -> Value:
        """The address of element ``index`` of an array of ``type`` (a scalar type) at ``pointer``."""
        index = index if isinstance(index, Value) else i64(index)
        return self.value(f"getelementptr {type}, ptr {pointer.text}, {index.type} {index.text}", "ptr")

    def load(self, pointer: Value, type: str, *, align: int | None = None) -> Value:
        align = align or max(1, bits(type) // 8)
        return self.value(f"load {type}, ptr {pointer.text}, align {align}", type)

    def store(self, operand: Value, pointer: Value, *, align: int | None = None) -> None:
        align = align or max(1, bits(operand.type) // 8)
        self.emit(f"store {operand.type} {operand.text}, ptr {pointer.text}, align {align}")

    def stream(self, operand: Value, pointer: Value) -> None:
        """Store past the caches a vector whose place is a multiple of its size (or of a cache line); see ``fence``."""
        align = min(64, operand.width * bits(operand.type) // 8)
        self.module.metadata["!0"] = "!{i32 1}"
        self.emit(f"store {operand.type} {operand.text}, ptr {pointer.text}, align {align}, !nontemporal !0")

    def stream_if(self, condition: Value, operand: Value, pointer: Value) -> None:
        """``stream`` where the scalar ``condition`` holds, else ``store``."""
        past, through, done = self._label("past"), self._label("through"), self._label("done")
        self.emit(f"br i1 {condition.text}, label %{past}, label %{through}")
        self.block(past)
        self.stream(operand, pointer)
        self.emit(f"br label %{done}")
        self.block(through)
        self.store(operand, pointer)
        self.emit(f"br label %{done}")
        self.block(done)

    def fence(self) -> None:
        """Wait for what was streamed: other threads may look once this thread says that it is done."""
        self.emit("fence seq_cst")

    def prefetch(self, pointer: Value, *, writes: bool = False, level: int = 1) -> None:
        """Bring the cache line at ``pointer`` into the cache of a ``level``, to be read or to be written; any address is harmless."""
        self.module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.emit(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 {int(writes)}, i32 {4 - level}, i32 1)")

    def masked_load(self, pointer: Value, mask: Value, type: str, otherwise: Value | None = None) -> Value:
        otherwise = otherwise or constant(type, 0)
        self.module.declare(f"{type} @llvm.masked.load.{mangle(type)}.p0(ptr, {mask.type}, {type})")
        align = max(1, bits(type) // 8)
        return self.value(
            f"call {type} @llvm.masked.load.{mangle(type)}.p0(ptr align {align} {pointer.text}, {mask.type} {mask.text}, {type} {otherwise.text})",
            type,
        )

    def masked_store(self, operand: Value, pointer: Value, mask: Value) -> None:
        type = operand.type
        self.module.declare(f"void @llvm.masked.store.{mangle(type)}.p0({type}, ptr, {mask.type})")
        align = max(1, bits(type) // 8)
        self.emit(
            f"call void @llvm.masked.store.{mangle(type)}.p0({type} {operand.text}, ptr align {align} {pointer.text}, {mask.type} {mask.text})"
        )

    def store_first(self, operand: Value, pointer: Value, count: Value) -> None:
        """Store the first ``count`` elements (all, if there are not so many) in pieces of half of a vector, a quarter, and so on: fewer steps than a
        masked store has without AVX-512 (a third of a border around 64² was its rows' last two elements)."""
        if self._waiting is not None:
            self._waiting.setdefault((operand.type, count), []).append((operand, pointer))
            return
        size, rest = operand.width, operand
        with self.when(self.compare("sge", count, size)):
            self.store(operand, pointer)
        count = self.intrinsic("smin", count, Value(str(size), "i64"))
        while size > 1:
            size //= 2
            halves = [
                self.shuffle(rest, rest, range(first, first + size)) if size > 1 else self.extract(rest, first) for first in (0, size)
            ]
            ahead = self.binary("and", count, size)
            has = self.compare("ne", ahead, 0)
            with self.when(has):
                self.store(halves[0], pointer)
            rest = self.select(has, halves[1], halves[0])
            pointer = self.offset(pointer, ahead, element_type(operand.type))

    @contextmanager
    def stores_together(self) -> Iterator[None]:
        """Inside, ``store_first`` waits, and in the end one loop does what is alike: its code was a third of an optimizer's step."""
        outside, self._waiting = self._waiting, {}
        yield
        waiting, self._waiting = self._waiting, outside
        for (type, count), stores in waiting.items():
            if len(stores) == 1:
                self.store_first(*stores[0], count)
                continue
            operands, pointers = self.alloca(type, len(stores)), self.alloca("ptr", len(stores))
            for number, (operand, pointer) in enumerate(stores):
                self.store(operand, self.offset(operands, number, type))
                self.store(pointer, self.offset(pointers, number, "ptr"))
            with self.loop(0, len(stores)) as each:
                operand = self.load(self.offset(operands, each.index, type), type)
                self.store_first(operand, self.load(self.offset(pointers, each.index, "ptr"), "ptr"), count)

    def gather(self, pointers: Value, mask: Value, type: str) -> Value:
        """Load lane by lane through a vector of addresses; lanes that are masked out are 0."""
        suffix = f"{mangle(type)}.v{pointers.width}p0"
        self.module.declare(f"{type} @llvm.masked.gather.{suffix}({pointers.type}, {mask.type}, {type})")
        align = max(1, bits(type) // 8)
        return self.value(
            f"call {type} @llvm.masked.gather.{suffix}({pointers.type} align {align} {pointers.text}, {mask.type} {mask.text}, {type} {constant(type, 0).text})",
            type,
        )

    def scatter(self, operand: Value, pointers: Value, mask: Value) -> None:
        """Store lane by lane; where addresses repeat, the highest lane wins."""
        suffix = f"{mangle(operand.type)}.v{pointers.width}p0"
        self.module.declare(f"void @llvm.masked.scatter.{suffix}({operand.type}, {pointers.type}, {mask.type})")
        align = max(1, bits(operand.type) // 8)
        self.emit(
            f"call void @llvm.masked.scatter.{suffix}({operand.type} {operand.text}, {pointers.type} align {align} {pointers.text}, {mask.type} {mask.text})"
        )

    def offsets(self, pointer: Value, indices: Value, type: str) -> Value:
        """A vector of addresses: ``pointer`` plus each lane of ``indices`` elements of ``type``."""
        return self.value(f"getelementptr {type}, ptr {pointer.text}, {indices.type} {indices.text}", f"<{indices.width} x ptr>")

    def offsets_each(self, pointers: Value, index: int, type: str) -> Value:
        """Each address of a vector, moved by ``index`` elements of ``type``."""
        return self.value(f"getelementptr {type}, {pointers.type} {pointers.text}, i64 {index}", pointers.type)

    def copy(self, target: Value, source: Value, size: Value) -> None:
        """Copy ``size`` bytes of memory to memory that does not overlap it."""
        self.module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        self.emit(f"call void @llvm.memcpy.p0.p0.i64(ptr {target.text}, ptr {source.text}, i64 {size.text}, i1 false)")

    def fill(self, target: Value, size: Value, byte: int = 0) -> None:
        """Set ``size`` bytes of memory."""
        self.module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        self.emit(f"call void @llvm.memset.p0.i64(ptr {target.text}, i8 {byte}, i64 {size.text}, i1 false)")

    def alloca(self, type: str, count: int = 1, *, align: int = 64) -> Value:
        """Stack memory, placed in the entry block whatever the current block is."""
        name = f"%v{self._counter}"
        self._counter += 1
        self._allocas.append(f"  {name} = alloca {type}, i64 {count}, align {align}")
        return Value(name, "ptr")

    def at_entry(self, text: str, type: str) -> Value:
        """Append ``text`` to the entry block whatever the current block is; it may use the function's parameters."""
        name = f"%v{self._counter}"
        self._counter += 1
        self._allocas.append(f"  {name} = {text}")
        return Value(name, type)

    # -- control ---------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Value | int, stop: Value | int, step: Value | int = 1, carried: Sequence[Value] = ()) -> Iterator[Loop]:
        """``for index in range(start, stop, step)`` over ``i64`` (step > 0), with loop-carried values.

        Inside, read ``loop.index`` and ``loop.carried`` and end with ``loop.carry(…)``; after the ``with``
        ``loop.carried`` holds the final values.
        """
        start, stop, step = (bound if isinstance(bound, Value) else i64(bound) for bound in (start, stop, step))
        head, body, done = self._label("head"), self._label("body"), self._label("done")
        before = self._block
        self.emit(f"br label %{head}")
        self.block(head)
        index = Value(f"%i.{head}", "i64")
        phis = [Value(f"%c{number}.{head}", value.type) for number, value in enumerate(carried)]
        mark = len(self._lines)
        test = self.compare("slt", index, stop)
        self.emit(f"br i1 {test.text}, label %{body}, label %{done}")
        self.block(body)
        loop = Loop(index, list(phis))
        yield loop
        after = loop._next if loop._next is not None else list(phis)
        if len(after) != len(phis):
            raise ValueError(f"loop carries {len(phis)} values, but carry() was given {len(after)}")
        following = self.value(f"add nuw nsw i64 {index.text}, {step.text}", "i64")
        latch = self._block
        self.emit(f"br label %{head}")
        lines = [f"  {index.text} = phi i64 [ {start.text}, %{before} ], [ {following.text}, %{latch} ]"]
        for phi, first, last in zip(phis, carried, after, strict=True):
            lines.append(f"  {phi.text} = phi {phi.type} [ {first.text}, %{before} ], [ {last.text}, %{latch} ]")
        self._lines[mark:mark] = lines
        self.block(done)
        loop.carried = list(phis)

    @contextmanager
    def repeat(self, carried: Sequence[Value]) -> Iterator[Repeat]:
        """``do … while`` with loop-carried values: end the body with ``loop.again(condition, …)``.

        Inside, read ``loop.carried``; after the ``with`` it holds the final values.
        """
        body, done = self._label("body"), self._label("done")
        before = self._block
        self.emit(f"br label %{body}")
        self.block(body)
        phis = [Value(f"%c{number}.{body}", value.type) for number, value in enumerate(carried)]
        mark = len(self._lines)
        loop = Repeat(list(phis))
        yield loop
        latch = self._block
        self.emit(f"br i1 {loop.condition.text}, label %{body}, label %{done}")
        self._lines[mark:mark] = [
            f"  {phi.text} = phi {phi.type} [ {first.text}, %{before} ], [ {last.text}, %{latch} ]"
            for phi, first, last in zip(phis, carried, loop.following, strict=True)
        ]
        self.block(done)
        loop.carried = loop.following

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the body only if the scalar ``condition`` holds; the body gives no values."""
        then, done = self._label("then"), self._label("done")
        self.emit(f"br i1 {condition.text}, label %{then}, label %{done}")
        self.block(then)
        yield
        self.emit(f"br label %{done}")
        self.block(done)

    def ret(self, operand: Value | None = None) -> None:
        self.emit("ret void" if operand is None else f"ret {operand.type} {operand.text}")


def mangle(type: str) -> str:
    """The suffix of an overloaded intrinsic: ``<16 x float>`` is ``v16f32``."""
    names = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}
    element = element_type(type)
    name = names.get(element, element)
    return name if type[0] != "<" else f"v{vector_width(type)}{name}"
