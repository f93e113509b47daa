"""The loops behind ``random.py``, as LLVM IR: the Mersenne Twister, and the transforms of its words into samples.

A kernel here is ``void kernel(ptr x, ptr y, double a, double b, i64 begin, i64 end)``, whose arguments come in a block, and handles positions ``begin`` to ``end``.
Fused multiply-adds stand where PyTorch's compiler has put them, and float64 functions are the C library's, which PyTorch calls
too: so samples are PyTorch's to the last bit. One exception to what looks natural: the single-precision ``log``, ``sin`` and
``cos`` of Box and Muller's transform follow the Cephes library (S. Moshier, netlib.org/cephes), as PyTorch's AVX2 kernel does.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable
from functools import cache
from hashlib import sha256

import numpy as np

from flambeau._runtime import jit

_PARAMETERS = "ptr %x, ptr %y, double %a, double %b, i64 %begin, i64 %end"
_ARGUMENTS = struct.Struct("=2Q2d2q")
"""All arguments in one block, since ctypes takes 0.2 µs for one of them and 0.9 for six."""

ADDRESSES: dict[str, int] = {}
"""Where the kernels are that ran before; native code calls them without ctypes."""

WORDS = 624
"""Words of the twister's state; its position follows them."""


def run(name: str, x: np.ndarray | int, y: np.ndarray | int = 0, a: float = 0.0, b: float = 0.0, end: int | None = None) -> None:
    """Run a kernel on contiguous arrays, or on memory at an address, for positions 0 to ``end`` (default: those of the array ``x``)."""
    if end is None:
        assert isinstance(x, np.ndarray)
        end = x.size
    at_x = x if isinstance(x, int) else address(x)  # other names, so that arrays live until the call returns
    at_y = y if isinstance(y, int) else address(y)
    run_at(name, at_x, at_y, a, b, end)


def run_in_python(name: str, x: int, y: int, a: float, b: float, end: int) -> None:
    """Run a kernel on memory at addresses, for positions 0 to ``end``."""
    _kernel(name)(_ARGUMENTS.pack(x, y, float(a), float(b), 0, end))  # whose errors are Python's, as in native code


run_at: Callable[[str, int, int, float, float, int], None] = run_in_python
"""``run_in_python``, until native code does it (``_tape/native/``; 0.9 and 0.2 µs)."""


def address(array: np.ndarray) -> int:
    """Where an array's memory is; the array is contiguous and writable."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array)) if array.size else 0  # NumPy's ways take 1.2 µs, this one 0.3


@cache
def _kernel(name: str) -> Callable[..., None]:
    text = _SOURCES[name]().replace("define void @kernel(", "define internal void @kernel(") + _entry()
    symbol = f"k_random_{name}_{sha256(text.encode()).hexdigest()[:16]}"
    ADDRESSES[name] = jit.compile_kernels({symbol: text.replace("@entry(", f"@{symbol}(")})[symbol]
    return ctypes.CFUNCTYPE(None)(ADDRESSES[name])


def _entry() -> str:
    """The visible function, which takes the arguments out of the block."""
    parameters = [parameter.split() for parameter in _PARAMETERS.split(", ")]
    loads = "".join(
        f"  {name}.at = getelementptr i64, ptr %arguments, i64 {number}\n  {name} = load {kind}, ptr {name}.at, align 8\n"
        for number, (kind, name) in enumerate(parameters)
    )
    return f"define void @entry(ptr %arguments) {{\n{loads}  call void @kernel({_PARAMETERS})\n  ret void\n}}\n"


# ------------------------------------------------------------------------------------------------------ writing IR


class _Body:
    """The instructions of one iteration, on ``width`` positions at once."""

    def __init__(self, width: int, tag: str) -> None:
        self.width = width
        self.lines: list[str] = []
        self._tag = tag

    def as_wide_as(self, width: int) -> _Body:
        """A view of the same instructions that adds such of another width."""
        other = _Body(width, self._tag)
        other.lines = self.lines
        return other

    def type(self, element: str) -> str:
        return element if self.width == 1 else f"<{self.width} x {element}>"

    def let(self, instruction: str) -> str:
        name = f"%{self._tag}{len(self.lines)}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def load(self, element: str, base: str, index: str, align: int) -> str:
        return self.let(f"load {self.type(element)}, ptr {self._at(element, base, index)}, align {align}")

    def store(self, element: str, value: str, base: str, index: str, align: int) -> None:
        address = self._at(element, base, index)
        self.lines.append(f"store {self.type(element)} {value}, ptr {address}, align {align}")

    def _at(self, element: str, base: str, index: str) -> str:
        return self.let(f"getelementptr {element}, ptr {base}, i64 {index}")

    def constant(self, element: str, value: float | int | str) -> str:
        if isinstance(value, str):
            text = value
        elif element == "float":
            (rounded,) = struct.unpack("<f", struct.pack("<f", value))
            text = f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
        elif element == "double":
            text = f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
        else:
            text = str(value)
        return text if self.width == 1 else f"<{', '.join([f'{element} {text}'] * self.width)}>"

    def splat(self, element: str, value: str) -> str:
        """A scalar in all lanes."""
        if self.width == 1:
            return value
        first = self.let(f"insertelement {self.type(element)} poison, {element} {value}, i64 0")
        return self.let(f"shufflevector {self.type(element)} {first}, {self.type(element)} poison, <{self.width} x i32> zeroinitializer")

    def op(self, name: str, element: str, x: str, y: str | float) -> str:
        y = y if isinstance(y, str) else self.constant(element, y)
        return self.let(f"{name} {self.type(element)} {x}, {y}")

    def cast(self, name: str, source: str, x: str, target: str) -> str:
        return self.let(f"{name} {self.type(source)} {x} to {self.type(target)}")

    def call(self, function: str, element: str, *arguments: str) -> str:
        """An intrinsic (``fma``, ``floor``, …), whose name ends in its type; or a function of the C library, on one number."""
        kind = self.type(element)
        if function in ("fma", "sqrt", "fshl", "floor"):
            short = {"float": "f32", "double": "f64"}.get(element, element)
            function = f"llvm.{function}.{short if self.width == 1 else f'v{self.width}{short}'}"
        return self.let(f"call {kind} @{function}({', '.join(f'{kind} {argument}' for argument in arguments)})")


def _loop(body: Callable[[_Body, str], None], widths: tuple[int, ...] = (1,), name: str = "kernel", more: str = "") -> str:
    """A function that runs ``body(instructions, index)`` with each of the widths in turn, for as many positions as it can."""
    text = f"define {'void' if name == 'kernel' else 'internal void'} @{name}({_PARAMETERS}{more}) {{\nentry:\n  br label %head0\n"
    before, start = "entry", "%begin"
    for number, width in enumerate(widths):
        instructions = _Body(width, f"v{number}.")
        body(instructions, f"%i{number}")
        lines = "\n  ".join(instructions.lines)
        text += (
            f"head{number}:\n  %i{number} = phi i64 [ {start}, %{before} ], [ %next{number}, %body{number} ]\n"
            f"  %next{number} = add i64 %i{number}, {width}\n  %fits{number} = icmp sle i64 %next{number}, %end\n"
            f"  br i1 %fits{number}, label %body{number}, label %after{number}\n"
            f"body{number}:\n  {lines}\n  br label %head{number}\n"
            f"after{number}:\n  br label %{f'head{number + 1}' if number + 1 < len(widths) else 'done'}\n"
        )
        before, start = f"after{number}", f"%i{number}"
    return text + "done:\n  ret void\n}\n" + ("" if name != "kernel" else _declarations(text))


def _declarations(text: str) -> str:
    intrinsics = {
        f"llvm.{name}.{prefix}{short}": (kind if not prefix else f"<{prefix[1:]} x {kind}>", count)
        for name, count, kinds in (("fma", 3, "fd"), ("sqrt", 1, "fd"), ("floor", 1, "fd"), ("fshl", 3, "i"))
        for kind, short in (("float", "f32"), ("double", "f64"), ("i64", "i64"))
        if kind[0] in kinds
        for prefix in ("", "v8", "v16")
    }
    functions = dict.fromkeys(("log", "log1p", "exp", "sin", "cos", "tan"), ("double", 1))
    used = {name: signature for name, signature in {**intrinsics, **functions}.items() if f"@{name}(" in text}
    return "".join(f"declare {kind} @{name}({', '.join([kind] * count)})\n" for name, (kind, count) in used.items())


# ------------------------------------------------------------------------------------------------------- the twister


def _seed(body: _Body, index: str) -> None:
    """Word i + 1 of the state that a seed, word 0, is expanded to (Matsumoto and Nishimura, 2002)."""
    following = body.let(f"add i64 {index}, 1")
    word = body.load("i32", "%x", index, 4)
    mixed = body.op("mul", "i32", body.op("xor", "i32", word, body.op("lshr", "i32", word, 30)), 1812433253)
    body.store("i32", body.op("add", "i32", mixed, body.let(f"trunc i64 {following} to i32")), "%x", following, 4)


def _twist(body: _Body, index: str) -> None:
    """Word ``i`` of the next state, from words i, i + 1 and i + ``shift`` of those there are."""
    upper = body.op("and", "i32", body.load("i32", "%x", index, 4), 0x80000000)
    following = body.load("i32", "%x", body.let(f"add i64 {index}, 1"), 4)
    mixed = body.op("lshr", "i32", body.op("or", "i32", upper, body.op("and", "i32", following, 0x7FFFFFFF)), 1)
    odd = body.op("and", "i32", following, 1)
    matrix = body.op("and", "i32", body.op("sub", "i32", body.constant("i32", 0), odd), 0x9908B0DF)
    other = body.load("i32", "%x", body.let(f"add i64 {index}, %shift"), 4)
    body.store("i32", body.op("xor", "i32", other, body.op("xor", "i32", mixed, matrix)), "%x", index, 4)


def _temper(body: _Body, index: str) -> None:
    """A word of the stream from a word of the state."""
    word = body.load("i32", "%x", index, 4)
    for shift, name, mask in ((11, "lshr", None), (7, "shl", 0x9D2C5680), (15, "shl", 0xEFC60000), (18, "lshr", None)):
        shifted = body.op(name, "i32", word, shift)
        word = body.op("xor", "i32", word, shifted if mask is None else body.op("and", "i32", shifted, mask))
    body.store("i32", word, "%y", index, 4)


def _words() -> str:
    """``y[begin:end]``: the next words of the stream whose state is ``x``.

    While the state is renewed its first word also stands where the position does: the last word's successor.
    """
    return (
        _loop(_twist, (16, 1), "twist", ", i64 %shift")
        + _loop(_temper, (16, 1), "temper")
        + f"""define void @kernel({_PARAMETERS}) {{
entry:
  %place = getelementptr i32, ptr %x, i64 {WORDS}
  %place.short = load i32, ptr %place
  %first = zext i32 %place.short to i64
  br label %head
head:
  %done = phi i64 [ %begin, %entry ], [ %done.next, %temper ]
  %position = phi i64 [ %first, %entry ], [ %position.next, %temper ]
  %more = icmp slt i64 %done, %end
  br i1 %more, label %check, label %finish
check:
  %used.up = icmp eq i64 %position, {WORDS}
  br i1 %used.up, label %renew, label %temper
renew:
  call void @twist(ptr %x, ptr null, double 0.0, double 0.0, i64 0, i64 227, i64 397)
  %word = load i32, ptr %x
  store i32 %word, ptr %place
  call void @twist(ptr %x, ptr null, double 0.0, double 0.0, i64 227, i64 {WORDS}, i64 -227)
  br label %temper
temper:
  %from = phi i64 [ %position, %check ], [ 0, %renew ]
  %there = sub i64 {WORDS}, %from
  %wanted = sub i64 %end, %done
  %enough = icmp slt i64 %wanted, %there
  %count = select i1 %enough, i64 %wanted, i64 %there
  %source = getelementptr i32, ptr %x, i64 %from
  %target = getelementptr i32, ptr %y, i64 %done
  call void @temper(ptr %source, ptr %target, double 0.0, double 0.0, i64 0, i64 %count)
  %done.next = add i64 %done, %count
  %position.next = add i64 %from, %count
  br label %head
finish:
  %position.short = trunc i64 %position to i32
  store i32 %position.short, ptr %place
  ret void
}}
"""
    )


# ------------------------------------------------------------------------------------------------ words to numbers


_CHUNK = 1024
"""Samples that are made of their words while these are in the first-level cache still."""


def _stream(body: Callable[[_Body, str], None], widths: tuple[int, ...], words: int, itemsize: int) -> str:
    """``y[begin:end]``: samples of so many words each, of the stream whose state is ``x``.

    One call for both steps: two would cost 0.7 µs more, a tenth of what ``rand(10)`` takes.
    """
    samples = _loop(body, widths, "samples")
    place = "%target" if itemsize == 4 * words else "%scratch"  # in place, if a sample is as large as its words
    return (
        _words().replace("define void @kernel(", "define internal void @words(")
        + samples
        + _declarations(samples)
        + f"""define void @kernel({_PARAMETERS}) {{
entry:
  %scratch = alloca [{_CHUNK * words} x i32], align 64
  br label %head
head:
  %first = phi i64 [ %begin, %entry ], [ %next, %chunk ]
  %left = sub i64 %end, %first
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %chunk, label %finish
chunk:
  %short = icmp slt i64 %left, {_CHUNK}
  %count = select i1 %short, i64 %left, i64 {_CHUNK}
  %words = mul i64 %count, {words}
  %offset = mul i64 %first, {itemsize}
  %target = getelementptr i8, ptr %y, i64 %offset
  call void @words(ptr %x, ptr {place}, double 0.0, double 0.0, i64 0, i64 %words)
  call void @samples(ptr {place}, ptr %target, double %a, double %b, i64 0, i64 %count)
  %next = add i64 %first, %count
  br label %head
finish:
  ret void
}}
"""
    )


def _unit32(body: _Body, words: str) -> str:
    """The low 24 bits as a number in [0, 1)."""
    number = body.cast("sitofp", "i32", body.op("and", "i32", words, 0xFFFFFF), "float")
    return body.op("fmul", "float", number, 2.0**-24)


def _low53(body: _Body, index: str) -> str:
    """The low 53 bits of a number of 64, whose high half was drawn first."""
    words = body.load("i64", "%x", index, 4)
    return body.op("and", "i64", body.call("fshl", "i64", words, words, body.constant("i64", 32)), (1 << 53) - 1)


def _uniform32(body: _Body, index: str) -> None:
    """``x = x a + b`` for words as numbers in [0, 1), in float32."""
    scale, offset = (body.splat("float", body.let(f"fptrunc double {name} to float")) for name in ("%a", "%b"))
    body.store("float", body.call("fma", "float", _unit32(body, body.load("i32", "%x", index, 4)), scale, offset), "%x", index, 4)


def _uniform64(body: _Body, index: str) -> None:
    """``x = x a + b`` for pairs of words as numbers in [0, 1), in float64."""
    unit = body.op("fmul", "double", body.cast("sitofp", "i64", _low53(body, index), "double"), 2.0**-53)
    body.store("double", body.call("fma", "double", unit, body.splat("double", "%a"), body.splat("double", "%b")), "%x", index, 4)


def _below(body: _Body, index: str) -> None:
    """``y = x < a`` for the low 53 bits of pairs of words."""
    threshold = body.splat("i64", body.let("fptoui double %a to i64"))
    smaller = body.let(f"icmp ult {body.type('i64')} {_low53(body, index)}, {threshold}")
    body.store("i8", body.cast("zext", "i1", smaller, "i8"), "%y", index, 1)


def _integer(body: _Body, index: str) -> None:
    """``y = b + x mod a`` for words, as int64. The quotient in float64 is right or off by one; processors divide lanes of integers one by one."""
    doubles, bools, zero = body.type("double"), body.type("i1"), body.constant("double", 0.0)
    span, inverse = body.splat("double", "%a"), body.splat("double", body.let("fdiv double 1.0, %a"))
    word = body.cast("uitofp", "i32", body.load("i32", "%x", index, 4), "double")
    quotient = body.call("floor", "double", body.op("fmul", "double", word, inverse))
    rest = body.call("fma", "double", body.let(f"fneg {doubles} {quotient}"), span, word)
    below = body.let(f"fcmp olt {doubles} {rest}, {zero}")
    rest = body.let(f"select {bools} {below}, {doubles} {body.op('fadd', 'double', rest, span)}, {doubles} {rest}")
    beyond = body.let(f"fcmp oge {doubles} {rest}, {span}")
    rest = body.let(f"select {bools} {beyond}, {doubles} {body.op('fsub', 'double', rest, span)}, {doubles} {rest}")
    low = body.splat("i64", body.let("fptosi double %b to i64"))
    body.store("i64", body.op("add", "i64", body.cast("fptosi", "double", rest, "i64"), low), "%y", index, 8)


def _fma(body: _Body, index: str) -> None:
    """``x = x a + b`` in float64."""
    x = body.load("double", "%x", index, 8)
    body.store("double", body.call("fma", "double", x, body.splat("double", "%a"), body.splat("double", "%b")), "%x", index, 8)


def _narrow(body: _Body, index: str) -> None:
    """``y = x`` for ``x`` in float64, ``y`` in float32."""
    body.store("float", body.cast("fptrunc", "double", body.load("double", "%x", index, 8), "float"), "%y", index, 4)


def _bfloat16(body: _Body, index: str) -> None:
    """``y = x`` for ``x`` in float32, ``y`` the bits of bfloat16: rounded to nearest, ties to even; NaN becomes the usual one."""
    bits = body.load("i32", "%x", index, 4)
    odd = body.op("and", "i32", body.op("lshr", "i32", bits, 16), 1)
    rounded = body.op("lshr", "i32", body.op("add", "i32", bits, body.op("add", "i32", odd, 0x7FFF)), 16)
    size = body.op("and", "i32", bits, 0x7FFFFFFF)
    integers = body.type("i32")
    number = body.let(f"icmp ule {integers} {size}, {body.constant('i32', 0x7F800000)}")
    chosen = body.let(f"select {body.type('i1')} {number}, {integers} {rounded}, {integers} {body.constant('i32', 0x7FC0)}")
    body.store("i16", body.cast("trunc", "i32", chosen, "i16"), "%y", index, 2)


def _elementwise(formula: Callable[[_Body, str], str]) -> Callable[[_Body, str], None]:
    """``x = formula(x)`` in float64."""

    def body(body: _Body, index: str) -> None:
        body.store("double", formula(body, body.load("double", "%x", index, 8)), "%x", index, 8)

    return body


def _exponential(body: _Body, u: str) -> str:
    return body.op("fmul", "double", body.call("log1p", "double", body.let(f"fneg double {u}")), "%a")


def _cauchy(body: _Body, u: str) -> str:
    angle = body.op("fmul", "double", body.op("fsub", "double", u, 0.5), math.pi)
    return body.call("fma", "double", body.call("tan", "double", angle), "%a", "%b")


# ------------------------------------------------------------------------------------- Box and Muller's transform


def _radius_and_angle(body: _Body, log: str, v: str) -> tuple[str, str]:
    radius = body.call("sqrt", "double", body.op("fmul", "double", log, -2.0))
    return radius, body.op("fmul", "double", v, 2 * math.pi)


def _pairs64(body: _Body, index: str) -> None:
    """Pairs ``(u, v)`` become ``sqrt(-2 log(1 - v))`` times the cosine and sine of 2 pi u."""
    first = body.let(f"shl i64 {index}, 1")
    second = body.let(f"or i64 {first}, 1")
    log = body.call("log1p", "double", body.let(f"fneg double {body.load('double', '%x', second, 8)}"))
    radius, angle = _radius_and_angle(body, log, body.load("double", "%x", first, 8))
    for function, place in (("cos", first), ("sin", second)):
        body.store("double", body.op("fmul", "double", radius, body.call(function, "double", angle)), "%x", place, 8)


def _normal64(body: _Body, index: str) -> None:
    """In blocks of 16, ``u`` and ``v`` 8 further on become ``sqrt(-2 log(1 - u))`` times cosine and sine of 2 pi v, times a, plus b."""
    block = body.let(f"shl i64 {body.let(f'lshr i64 {index}, 3')}, 4")
    first = body.let(f"or i64 {block}, {body.let(f'and i64 {index}, 7')}")
    second = body.let(f"or i64 {first}, 8")
    one_less = body.let(f"fsub double 1.0, {body.load('double', '%x', first, 8)}")
    radius, angle = _radius_and_angle(body, body.call("log", "double", one_less), body.load("double", "%x", second, 8))
    for function, place in (("cos", first), ("sin", second)):
        sample = body.op("fmul", "double", radius, body.call(function, "double", angle))
        body.store("double", body.call("fma", "double", sample, "%a", "%b"), "%x", place, 8)


def _normal32(blocks: _Body, index: str) -> None:
    """The same from words, in float32, for one block or several at once."""
    eight, body = blocks.as_wide_as(8), blocks.as_wide_as(8 * blocks.width)
    starts = [eight.let(f"shl i64 {eight.let(f'add i64 {index}, {number}')}, 4") for number in range(blocks.width)]
    places = starts, [eight.let(f"or i64 {start}, 8") for start in starts]
    u, v = (_unit32(body, _joined(body, "i32", [eight.load("i32", "%x", place, 4) for place in half])) for half in places)
    log = _log32(body, body.op("fsub", "float", body.constant("float", 1.0), u))
    radius = body.call("sqrt", "float", body.op("fmul", "float", log, -2.0))
    scale, offset = (body.splat("float", body.let(f"fptrunc double {name} to float")) for name in ("%a", "%b"))
    for value, half in zip(_cos_sin32(body, body.op("fmul", "float", v, 2 * math.pi)), places, strict=True):
        samples = body.call("fma", "float", body.op("fmul", "float", radius, value), scale, offset)
        for number, place in enumerate(half):
            lanes = ", ".join(f"i32 {8 * number + lane}" for lane in range(8))
            part = body.let(f"shufflevector {body.type('float')} {samples}, {body.type('float')} poison, <8 x i32> <{lanes}>")
            eight.store("float", part, "%x", place, 4)


def _joined(body: _Body, element: str, parts: list[str]) -> str:
    """Vectors of 8 as one (of one or two)."""
    if len(parts) == 1:
        return parts[0]
    lanes = ", ".join(f"i32 {lane}" for lane in range(16))
    return body.let(f"shufflevector <8 x {element}> {parts[0]}, <8 x {element}> {parts[1]}, <16 x i32> <{lanes}>")


def _polynomial(body: _Body, x: str, coefficients: tuple[float, ...]) -> str:
    """Horner's scheme, highest power first."""
    value, *rest = (body.constant("float", coefficient) for coefficient in coefficients)
    for coefficient in rest:
        value = body.call("fma", "float", value, x, coefficient)
    return value


_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
"""``log(1 + x) = x - x**2/2 + x**3 P(x)`` for sqrt(1/2) <= 1 + x < sqrt(2)."""
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4

_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
"""``sin x = x + x**3 P(x**2)`` for |x| <= pi/4."""
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
"""``cos x = 1 - x**2/2 + x**4 P(x**2)`` for |x| <= pi/4."""
_QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)
"""pi/4 in three parts."""


def _log32(body: _Body, u: str) -> str:
    """The logarithm of float32 numbers in (0, 1]."""
    bits = body.cast("bitcast", "float", u, "i32")
    exponent = body.cast("sitofp", "i32", body.op("sub", "i32", body.op("lshr", "i32", bits, 23), 126), "float")
    half = body.op("or", "i32", body.op("and", "i32", bits, 0x007FFFFF), 0x3F000000)
    fraction = body.cast("bitcast", "i32", half, "float")  # in [1/2, 1)
    floats, bools = body.type("float"), body.type("i1")
    small = body.let(f"fcmp olt {floats} {fraction}, {body.constant('float', math.sqrt(0.5))}")
    zero = body.constant("float", 0.0)
    again = body.let(f"select {bools} {small}, {floats} {fraction}, {floats} {zero}")
    one = body.let(f"select {bools} {small}, {floats} {body.constant('float', 1.0)}, {floats} {zero}")
    x = body.op("fadd", "float", body.op("fsub", "float", fraction, 1.0), again)
    exponent = body.op("fsub", "float", exponent, one)
    square = body.op("fmul", "float", x, x)
    cube = body.op("fmul", "float", _polynomial(body, x, _LOG), x)
    low = body.call("fma", "float", cube, square, body.op("fmul", "float", exponent, _LN2_LOW))
    low = body.call("fma", "float", square, body.constant("float", -0.5), low)
    return body.call("fma", "float", exponent, body.constant("float", _LN2_HIGH), body.op("fadd", "float", x, low))


def _cos_sin32(body: _Body, angle: str) -> tuple[str, str]:
    """Cosine and sine of float32 numbers in [0, 2 pi]."""
    octant = body.cast("fptosi", "float", body.op("fmul", "float", angle, 4 / math.pi), "i32")
    octant = body.op("and", "i32", body.op("add", "i32", octant, 1), -2)  # to the next even one
    turns = body.cast("sitofp", "i32", octant, "float")
    x = angle
    for part in _QUARTER_PI:
        x = body.call("fma", "float", turns, body.constant("float", -part), x)
    square = body.op("fmul", "float", x, x)
    cosine = body.op("fmul", "float", _polynomial(body, square, _COS), square)
    cosine = body.call("fma", "float", cosine, square, body.op("fmul", "float", square, -0.5))
    cosine = body.op("fadd", "float", cosine, 1.0)
    sine = body.op("fmul", "float", _polynomial(body, square, _SIN), square)
    sine = body.call("fma", "float", sine, x, x)
    floats, bools = body.type("float"), body.type("i1")
    swapped = body.let(f"icmp ne {body.type('i32')} {body.op('and', 'i32', octant, 2)}, {body.constant('i32', 0)}")
    results = []
    for value, other, phase in ((cosine, sine, 2), (sine, cosine, 0)):
        chosen = body.let(f"select {bools} {swapped}, {floats} {other}, {floats} {value}")
        negative = body.op("shl", "i32", body.op("and", "i32", body.op("add", "i32", octant, phase), 4), 29)
        bits = body.op("xor", "i32", body.cast("bitcast", "float", chosen, "i32"), negative)
        results.append(body.cast("bitcast", "i32", bits, "float"))
    return results[0], results[1]


_SOURCES: dict[str, Callable[[], str]] = {
    "seed": lambda: _loop(_seed),
    "words": _words,
    "uniform32": lambda: _stream(_uniform32, (16, 1), 1, 4),
    "uniform64": lambda: _stream(_uniform64, (8, 1), 2, 8),
    "below": lambda: _stream(_below, (8, 1), 2, 1),
    "integers": lambda: _stream(_integer, (8, 1), 1, 8),
    "fma": lambda: _loop(_fma, (8, 1)),
    "narrow": lambda: _loop(_narrow, (8, 1)),
    "bfloat16": lambda: _loop(_bfloat16, (16, 1)),
    "log": lambda: _loop(_elementwise(lambda body, x: body.call("log", "double", x))),
    "exp": lambda: _loop(_elementwise(lambda body, x: body.call("exp", "double", x))),
    "exponential": lambda: _loop(_elementwise(_exponential)),
    "cauchy": lambda: _loop(_elementwise(_cauchy)),
    "pairs64": lambda: _loop(_pairs64),
    "normal64": lambda: _loop(_normal64),
    "normal32": lambda: _loop(_normal32, (2, 1)),
}
