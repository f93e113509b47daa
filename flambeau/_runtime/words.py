"""A small language for native code that handles Python's objects: Python's syntax, in which each value is a machine word.

The path from a call to the tape is a few dozen steps on objects with known fields. In Python's interpreter they take a microsecond, as native
code a fifth of it; and they read the same::

    def is_alive(tape: Tape, slot):
        storage: Storage = PyList_GetItem(tape.values, slot)
        return storage != 0 and references(storage) > 1

A value is a 64-bit integer or an address. A variable with a class has fields: those ``__slots__`` of the class whose places ``Structure``
knows. Reading a field gives what lies there and owns nothing; assigning to a field takes over a reference and lets the old one go. There
are ``if``, ``while``, ``break``, ``continue``, ``return``, arithmetic, comparison, ``and``, ``or`` and ``not`` (which give 0 or 1), and calls: of functions of the
same text, of the C functions of Python and the system, and of

- ``at(address)``, ``put(address, value)``: a word of memory
- ``call(function, word)``: the function at an address
- ``single(address)``: the float32 there, as the bits of a double
- ``references(object)``, ``class_of(object)``: what every Python object begins with
"""

from __future__ import annotations

import ast
import ctypes
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from typing import Any

from flambeau._runtime.jit import compile_kernels, load_kernels
from flambeau._runtime.language import Statements, is_inline, symbol

INT = ("PyList_Append", "PyObject_SetAttr", "PyList_SetItem", "PyTuple_SetItem", "PyDict_SetItem", "PyDict_Contains", "PyDict_Next", "PyType_IsSubtype", "PyObject_RichCompareBool", "PyFrame_GetLineNumber", "clock_gettime")  # fmt: skip
"""C functions that return an ``int``, which is no word."""
DOUBLE = ("PyFloat_AsDouble",)
"""C functions that return a ``double``, of which we take the bits."""
OF_DOUBLE = ("PyFloat_FromDouble",)
"""C functions of a ``double``, which are given the bits."""

_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and", ast.BitOr: "or", ast.LShift: "shl", ast.RShift: "ashr"}
_COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge"}
_REFERENCES, _CLASS = 0, 8


class Structure:
    """Where a class keeps its fields: ``{field: bytes from the object's start}``; ``owned`` if they are references."""

    def __init__(self, fields: Mapping[str, int], owned: bool = True) -> None:
        self.fields = dict(fields)
        self.owned = owned

    @staticmethod
    def of_class(cls: type, names: Sequence[str]) -> Structure:
        """That of a class of Python with these ``__slots__``."""
        return Structure({name: _place(getattr(cls, name)) for name in names})


def _place(descriptor: Any) -> int:
    """Where a slot lies in its object: descriptors of members end with a pointer to their C definition, whose third word says so."""
    definition = ctypes.c_int64.from_address(id(descriptor) + 40).value
    return ctypes.c_int64.from_address(definition + 16).value


def supported() -> bool:
    """Whether this Python's objects are as this file takes them to be: 64 bits, the count of references first, a lock for all threads."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.byteorder != "little":
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or hasattr(sys, "gettotalrefcount"):
        return False

    class Probe:
        __slots__ = ("first", "second")

    probe = Probe()
    probe.first, probe.second = marks = object(), object()
    found = [ctypes.c_int64.from_address(id(probe) + _place(getattr(Probe, name))).value for name in Probe.__slots__]
    count, cls = ctypes.c_uint32.from_address(id(marks[0])).value, ctypes.c_int64.from_address(id(probe) + _CLASS).value
    return found == [id(mark) for mark in marks] and cls == id(Probe) and count == sys.getrefcount(marks[0]) - 1


def build(source: str, structures: Mapping[str, Structure], visible: Sequence[str]) -> dict[str, int]:
    """The addresses of the ``visible`` functions of a text in this language; compiled at most once on a machine."""
    places = {name: (structure.fields, structure.owned) for name, structure in structures.items()}
    # By name, code in the disk cache needs no IR: 1 ms, and 25 with it.
    name = symbol("words", repr((source, sorted(places.items()), visible)).encode(), __file__)
    address = load_kernels([name]).get(name) or compile_kernels({name: _module(name, source, structures, visible)})[name]
    entries = (ctypes.c_int64 * len(visible))()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(entries))
    return dict(zip(visible, entries, strict=True))


def _module(name: str, source: str, structures: Mapping[str, Structure], visible: Sequence[str]) -> str:
    """The IR of a text, with a function of that name that stores the addresses of the visible ones."""
    stores = "\n".join(f"  store ptr @{name}, ptr %at.{i}" for i, name in enumerate(visible))
    places = "\n".join(f"  %at.{i} = getelementptr ptr, ptr %entries, i64 {i}" for i in range(len(visible)))
    return f"{_Module(source, structures).text}\ndefine void @{name}(ptr %entries) {{\n{places}\n{stores}\n  ret void\n}}\n"


class _Module:
    """All functions of a text, as IR."""

    def __init__(self, source: str, structures: Mapping[str, Structure]) -> None:
        self.structures = structures
        functions = [each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef)]
        self.own = {function.name for function in functions}
        self.foreign: dict[str, int] = {}
        bodies = [_Function(self, function).text for function in functions]
        self.text = "\n".join([*map(self._declaration, self.foreign.items()), *bodies])

    @staticmethod
    def _declaration(function: tuple[str, int]) -> str:
        name, count = function
        return f"declare {_returned(name)} @{name}({', '.join([_taken(name)] * count)})"


def _returned(name: str) -> str:
    return "i32" if name in INT else "double" if name in DOUBLE else "i64"


def _taken(name: str) -> str:
    return "double" if name in OF_DOUBLE else "i64"


def _named(expression: Any) -> str:
    return expression.id


class _Function(Statements):
    """One function, as IR: each variable is a place on the stack, which LLVM turns into registers."""

    def __init__(self, module: _Module, function: ast.FunctionDef) -> None:
        super().__init__()
        self.module = module
        self.classes: dict[str, str] = {}
        parameters = [argument.arg for argument in function.args.args]
        for argument in function.args.args:
            self._declare(argument.arg, argument.annotation)
        variables = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        places = [f"  %{name}.at = alloca i64" for name in sorted(variables | set(parameters))]
        places += [f"  store i64 %{name}, ptr %{name}.at" for name in parameters]
        self._block(function.body)
        inline = " alwaysinline" if is_inline(function) else ""
        head = f"define internal i64 @{function.name}({', '.join(f'i64 %{name}' for name in parameters)}){inline} {{"
        self.text = "\n".join([head, "entry:", *places, *self.lines, "  ret i64 0", "}"])

    # -- statements ------------------------------------------------------------------------------------------------

    def _declare(self, name: str, annotation: Any) -> None:
        if annotation is not None:
            self.classes[name] = annotation.id

    def _do_return(self, statement: ast.Return) -> None:
        value = "0" if statement.value is None else self._value(statement.value)
        self._leave(f"ret i64 {value}")

    def _do_annassign(self, statement: Any) -> None:
        self._declare(statement.target.id, statement.annotation)
        self._store(statement.target, self._value(statement.value))

    def _store(self, target: Any, value: str) -> None:
        if isinstance(target, ast.Name):
            self._emit(f"store i64 {value}, ptr %{target.id}.at")
            return
        place, owned = self._field(target)
        old = self._load(place)
        self._emit(f"store i64 {value}, ptr {place}")
        if owned:
            self._call("Py_DecRef", [old])  # which lets a null be

    # -- expressions -----------------------------------------------------------------------------------------------

    def _bit(self, test: ast.expr) -> str:
        if isinstance(test, ast.Compare):
            left, right = self._value(test.left), self._value(test.comparators[0])
            return self._result(f"icmp {_COMPARISONS[type(test.ops[0])]} i64 {left}, {right}")
        return self._result(f"icmp ne i64 {self._value(test)}, 0")

    def _value(self, expression: Any) -> str:
        if isinstance(expression, ast.Constant):
            return str(expression.value)
        if isinstance(expression, ast.Name):
            return self._load(f"%{expression.id}.at")
        if isinstance(expression, ast.Attribute):
            return self._load(self._field(expression)[0])
        if isinstance(expression, ast.BinOp):
            left, right = self._value(expression.left), self._value(expression.right)
            return self._result(f"{_ARITHMETIC[type(expression.op)]} i64 {left}, {right}")
        if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.USub):
            return self._result(f"sub i64 0, {self._value(expression.operand)}")
        if isinstance(expression, ast.UnaryOp) and isinstance(expression.op, ast.Invert):
            return self._result(f"xor i64 -1, {self._value(expression.operand)}")
        if isinstance(expression, ast.Call):
            return self._called(_named(expression.func), [self._value(argument) for argument in expression.args])
        return self._truth(expression)

    def _truth(self, test: ast.expr) -> str:
        """1 or 0."""
        yes, no, end = self._name(), self._name(), self._name()
        self._branch(test, yes, no)
        for label in (yes, no):
            self._label(label)
            self._emit(f"br label %{end}")
        self._label(end)
        return self._result(f"phi i64 [ 1, %{yes} ], [ 0, %{no} ]")

    def _called(self, name: str, arguments: list[str]) -> str:
        if name == "at":
            return self._load(self._pointer(arguments[0]))
        if name == "put":
            self._emit(f"store i64 {arguments[1]}, ptr {self._pointer(arguments[0])}")
            return "0"
        if name == "call":
            return self._result(f"call i64 {self._pointer(arguments[0])}({', '.join(f'i64 {each}' for each in arguments[1:])})")
        if name == "single":
            wide = self._result(f"fpext float {self._result(f'load float, ptr {self._pointer(arguments[0])}')} to double")
            return self._result(f"bitcast double {wide} to i64")
        if name == "class_of":
            return self._load(self._pointer(self._result(f"add i64 {arguments[0]}, {_CLASS}")))
        if name == "references":
            half = self._result(f"load i32, ptr {self._pointer(self._result(f'add i64 {arguments[0]}, {_REFERENCES}'))}")
            return self._result(f"zext i32 {half} to i64")
        return self._call(name, arguments)

    def _call(self, name: str, arguments: list[str]) -> str:
        kind = "i64"
        if name not in self.module.own:
            self.module.foreign[name] = len(arguments)
            kind = _returned(name)
            if name in OF_DOUBLE:
                arguments = [self._result(f"bitcast i64 {each} to double") for each in arguments]
        taken = _taken(name)
        result = self._result(f"call {kind} @{name}({', '.join(f'{taken} {each}' for each in arguments)})")
        if kind == "i64":
            return result
        return self._result(f"sext i32 {result} to i64" if kind == "i32" else f"bitcast double {result} to i64")

    def _field(self, expression: ast.Attribute) -> tuple[str, bool]:
        """The pointer to a field, and whether it owns what it refers to."""
        structure = self.module.structures[self.classes[_named(expression.value)]]
        object = self._value(expression.value)
        return self._pointer(self._result(f"add i64 {object}, {structure.fields[expression.attr]}")), structure.owned

    def _load(self, pointer: str) -> str:
        return self._result(f"load i64, ptr {pointer}")

    def _pointer(self, word: str) -> str:
        return self._result(f"inttoptr i64 {word} to ptr")
