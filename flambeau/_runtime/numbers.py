"""A small language for loops whose steps depend on each other: Python's syntax, in which a value is a float64 or an integer of 64 bits.

What is the same for all elements is a program's business, which has vectors and threads. Where each element takes another way (rejection
sampling, searching), a loop of C is what one would write; this is it, in Python's words::

    def total(values: float32, count: int):
        result = 0.0
        for i in range(count):
            if values[i] > 0:
                result += values[i]
        return result

A parameter is a number (a float, or an ``int``) or the elements of an array of a dtype, which are read as numbers and rounded as they are
written. A variable is what it is given first. There are ``if``, ``while``, ``for`` over a ``range``, ``break``, ``continue``, ``return``,
arithmetic (``%`` and ``//`` of integers are C's), comparison, conditional expressions (of one comparison; both values are computed), and calls: of functions
of the same text (they return a float unless ``-> int`` says otherwise, and become part of their callers if they are ``@inline``), of the C library,
``int`` and ``float``. ``float32`` makes a number one of single precision, and so is what two of them give. Nothing is contracted or
reassociated: numbers are Python's, to the last bit.
"""

from __future__ import annotations

import ast
import ctypes
import struct
from collections.abc import Callable
from typing import Any

from flambeau._runtime.jit import compile_kernels, load_kernels
from flambeau._runtime.language import Statements, is_inline, symbol

_MEMORY = {
    "float64": "double",
    "float32": "float",
    "int64": "i64",
    "int32": "i32",
    "uint64": "i64",
    "uint32": "i32",
    "uint16": "i16",
    "uint8": "i8",
}
"""What an element of each dtype is in memory."""
_NARROW = ("i32", "i16", "i8")
_LIBRARY = {"exp": 1, "log": 1, "log1p": 1, "sin": 1, "cos": 1, "tan": 1, "pow": 2, "lgamma": 1}
_INTRINSICS = {"sqrt": 1, "floor": 1, "ceil": 1, "fabs": 1, "fma": 3}
_KINDS = {"int": "i64", "float": "double", "single": "float"}
_FLOATS: dict[type, str] = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_INTEGERS: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Mod: "srem", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl",
    ast.RShift: "ashr", ast.FloorDiv: "sdiv",
}  # fmt: skip
_ORDER: dict[type, str] = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_CONVERSIONS = {
    ("int", "float"): "sitofp", ("int", "single"): "sitofp", ("single", "float"): "fpext", ("float", "single"): "fptrunc", ("float", "int"): "fptosi",
    ("single", "int"): "fptosi",
}  # fmt: skip

Value = tuple[str, str]
"""The kind of a value (one of ``_KINDS``) and what it is called in IR."""


def build(source: str, name: str) -> Callable[..., int]:
    """One of the functions of a text, compiled at most once on a machine: it takes numbers and addresses, and returns an integer.

    Python's lock is not held while it runs.
    """
    functions = {each.name: each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef)}
    chosen = functions[name]
    label = symbol(f"n_{name}", (source + name).encode(), __file__)
    address = load_kernels([label]).get(label) or compile_kernels({label: _module(functions, chosen, label)})[label]
    call = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_char_p)(address)
    pack = struct.Struct("=" + "".join("d" if _is_float(each) else "q" for each in chosen.args.args)).pack  # one block: 0.2 µs, not 0.9
    return lambda *arguments: call(pack(*arguments))


def _is_float(argument: ast.arg) -> bool:
    return argument.annotation is None or getattr(argument.annotation, "id", "") == "float"


def _needed(functions: dict[str, ast.FunctionDef], name: str, found: set[str]) -> set[str]:
    """A function and those that it calls."""
    found.add(name)
    for node in ast.walk(functions[name]):
        if isinstance(node, ast.Name) and node.id in functions and node.id not in found:
            _needed(functions, node.id, found)
    return found


def _module(functions: dict[str, ast.FunctionDef], chosen: ast.FunctionDef, symbol: str) -> str:
    """The IR of a function and of those that it calls, and of the visible one, which takes the arguments out of their block."""
    own = {name: _Signature(functions[name]) for name in functions if name in _needed(functions, chosen.name, set())}
    bodies = [_Function(functions[name], own).text for name in own]
    lines, arguments = [], []
    for number, (_, kind) in enumerate(own[chosen.name].parameters):
        lines.append(f"  %at.{number} = getelementptr i64, ptr %block, i64 {number}")
        lines.append(f"  %a.{number} = load {_passed(kind)}, ptr %at.{number}")
        arguments.append(f"{_passed(kind)} %a.{number}")
    lines.append(f"  %result = call i64 @{chosen.name}({', '.join(arguments)})")
    declared = [f"declare double @{each}({', '.join(['double'] * count)})" for each, count in _LIBRARY.items()]
    declared += [f"declare double @llvm.{each}.f64({', '.join(['double'] * count)})" for each, count in _INTRINSICS.items()]
    head = f"define i64 @{symbol}(ptr %block) {{"
    return "\n".join([*declared, *bodies, head, *lines, "  ret i64 %result", "}", ""])


def _passed(kind: str) -> str:
    return _KINDS.get(kind, "ptr")


class _Signature:
    """What a function takes, as ``(name, kind)``, and gives."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self.parameters = [(each.arg, "float" if _is_float(each) else each.annotation.id) for each in function.args.args]
        self.result = getattr(function.returns, "id", "float")


class _Function(Statements):
    """A function becomes IR; variables are stack slots, which LLVM turns into registers."""

    def __init__(self, function: ast.FunctionDef, own: dict[str, _Signature]) -> None:
        super().__init__()
        self.own, self.signature = own, own[function.name]
        self.kinds = dict(self.signature.parameters)
        self.slots: list[str] = []
        for name, kind in self.signature.parameters:
            if kind in _KINDS:
                self._declare(name, kind)
                self.slots.append(f"  store {_KINDS[kind]} %{name}, ptr %{name}.at")
        self._block(function.body)
        result = _KINDS[self.signature.result]
        parameters = ", ".join(f"{_passed(kind)} %{name}" for name, kind in self.signature.parameters)
        zero = "0.0" if result == "double" else "0"
        inline = " alwaysinline" if is_inline(function) else ""
        head = f"define internal {result} @{function.name}({parameters}){inline} {{"
        self.text = "\n".join([head, "entry:", *self.slots, *self.lines, f"  ret {result} {zero}", "}"])

    # -- statements ------------------------------------------------------------------------------------------------

    def _declare(self, name: str, kind: str) -> None:
        self.kinds[name] = kind
        self.slots.append(f"  %{name}.at = alloca {_KINDS[kind]}")

    def _do_return(self, statement: ast.Return) -> None:
        kind = self.signature.result
        self._leave(f"ret {_KINDS[kind]} {self._as(kind, self._value(statement.value))}")

    def _store(self, target: Any, value: Value) -> None:
        if isinstance(target, ast.Subscript):
            dtype, place = self._element(target)
            kind = "float" if dtype.startswith("float") else "int"
            kind = "single" if dtype == "float32" else kind
            text, memory = self._as(kind, value, cut=kind == "single"), _MEMORY[dtype]
            if memory in _NARROW:
                text = self._result(f"trunc i64 {text} to {memory}")
            self._emit(f"store {memory} {text}, ptr {place}")
            return
        if target.id not in self.kinds:
            self._declare(target.id, value[0])
        kind = self.kinds[target.id]
        self._emit(f"store {_KINDS[kind]} {self._as(kind, value)}, ptr %{target.id}.at")

    def _do_for(self, statement: Any) -> None:
        """``for name in range(end)`` or ``range(start, end)``; the end is looked at once."""
        bounds = [self._as("int", self._value(each)) for each in statement.iter.args]
        start, stop = bounds if len(bounds) == 2 else ("0", bounds[0])
        test, body, step, end = self._name(), self._name(), self._name(), self._name()
        self._store(statement.target, ("int", start))
        self._emit(f"br label %{test}")
        self._label(test)
        bit = self._result(f"icmp slt i64 {self._value(statement.target)[1]}, {stop}")
        self._emit(f"br i1 {bit}, label %{body}, label %{end}")
        self._repeat(statement.body, body, step, end)
        self._emit(f"br label %{step}")
        self._label(step)
        self._store(statement.target, ("int", self._result(f"add i64 {self._value(statement.target)[1]}, 1")))
        self._emit(f"br label %{test}")
        self._label(end)

    # -- expressions -----------------------------------------------------------------------------------------------

    def _bit(self, test: ast.expr) -> str:
        if not isinstance(test, ast.Compare):
            return self._result(f"icmp ne i64 {self._as('int', self._value(test))}, 0")
        left, right, order = self._value(test.left), self._value(test.comparators[0]), _ORDER[type(test.ops[0])]
        if left[0] == right[0] == "int":
            return self._result(f"icmp {order if order in ('eq', 'ne') else 's' + order} i64 {left[1]}, {right[1]}")
        return self._result(f"fcmp {'une' if order == 'ne' else 'o' + order} double {self._as('float', left)}, {self._as('float', right)}")

    def _value(self, expression: Any) -> Value:
        return getattr(self, f"_of_{type(expression).__name__.lower()}")(expression)

    def _of_constant(self, expression: ast.Constant) -> Value:
        if isinstance(expression.value, float):
            return "float", f"0x{struct.unpack('<Q', struct.pack('<d', expression.value))[0]:016X}"
        return "int", str(int(expression.value))

    def _of_name(self, expression: ast.Name) -> Value:
        kind = self.kinds[expression.id]
        return kind, self._result(f"load {_KINDS[kind]}, ptr %{expression.id}.at")

    def _of_binop(self, expression: ast.BinOp) -> Value:
        left, right = self._value(expression.left), self._value(expression.right)
        if left[0] == right[0] == "int" and type(expression.op) in _INTEGERS:
            return "int", self._result(f"{_INTEGERS[type(expression.op)]} i64 {left[1]}, {right[1]}")
        kind = "single" if left[0] == right[0] == "single" else "float"
        return kind, self._result(f"{_FLOATS[type(expression.op)]} {_KINDS[kind]} {self._as(kind, left)}, {self._as(kind, right)}")

    def _of_unaryop(self, expression: ast.UnaryOp) -> Value:
        kind, text = self._value(expression.operand)
        return kind, self._result(f"sub i64 0, {text}" if kind == "int" else f"fneg {_KINDS[kind]} {text}")

    def _of_ifexp(self, expression: ast.IfExp) -> Value:
        yes, no = self._value(expression.body), self._value(expression.orelse)
        kind = "int" if yes[0] == no[0] == "int" else "float"
        one, other = self._as(kind, yes), self._as(kind, no)
        return kind, self._result(f"select i1 {self._bit(expression.test)}, {_KINDS[kind]} {one}, {_KINDS[kind]} {other}")

    def _of_subscript(self, expression: ast.Subscript) -> Value:
        dtype, place = self._element(expression)
        text, memory = self._result(f"load {_MEMORY[dtype]}, ptr {place}"), _MEMORY[dtype]
        if memory == "float":
            text = self._result(f"fpext float {text} to double")
        elif memory in _NARROW:
            text = self._result(f"{'zext' if dtype.startswith('u') else 'sext'} {memory} {text} to i64")
        return "float" if dtype.startswith("float") else "int", text

    def _element(self, expression: Any) -> tuple[str, str]:
        """The dtype of an array, and the pointer to an element."""
        dtype = self.kinds[expression.value.id]
        index = self._as("int", self._value(expression.slice))
        return dtype, self._result(f"getelementptr {_MEMORY[dtype]}, ptr %{expression.value.id}, i64 {index}")

    def _of_call(self, expression: Any) -> Value:
        name = expression.func.id
        if name in _KINDS:
            return name, self._as(name, self._value(expression.args[0]), cut=True)
        if name in ("float32", "float64"):
            kind = "single" if name == "float32" else "float"
            return kind, self._as(kind, self._value(expression.args[0]), cut=True)
        if name not in self.own:
            arguments = [f"double {self._as('float', self._value(each))}" for each in expression.args]
            function = f"llvm.{name}.f64" if name in _INTRINSICS else name
            return "float", self._result(f"call double @{function}({', '.join(arguments)})")
        signature = self.own[name]
        arguments = [self._argument(each, kind) for each, (_, kind) in zip(expression.args, signature.parameters, strict=True)]
        return signature.result, self._result(f"call {_KINDS[signature.result]} @{name}({', '.join(arguments)})")

    def _argument(self, expression: Any, kind: str) -> str:
        if kind in _KINDS:
            return f"{_KINDS[kind]} {self._as(kind, self._value(expression))}"
        return f"ptr %{expression.id}"

    def _as(self, kind: str, value: Value, cut: bool = False) -> str:
        """A value as one of a kind; what may lose digits happens only where the text says so."""
        if value[0] == kind:
            return value[1]
        instruction = _CONVERSIONS[value[0], kind]
        if instruction in ("fptosi", "fptrunc") and not cut:
            raise TypeError(f"{value[0]} stands where {kind} must: say which with int(…) or float32(…)")
        return self._result(f"{instruction} {_KINDS[value[0]]} {value[1]} to {_KINDS[kind]}")
