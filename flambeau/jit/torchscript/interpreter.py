"""Running a TorchScript program: a walk over its syntax trees.

The walk knows a closed set of statements and expressions, and reaches nothing of Python's: attributes are looked up in the program's own modules
and objects, names in the function's own variables, and functions in the table of operators. What the operators compute goes to the tape as if
a Python function had called them.
"""

from __future__ import annotations

import ast
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from flambeau import Tensor
from flambeau.futures import Future
from flambeau.jit._script import Error
from flambeau.jit.torchscript.objects import EnumMember, ScriptObject
from flambeau.jit.torchscript.operators import operator_at
from flambeau.jit.torchscript.source import Class, Function, function_of
from flambeau.jit.torchscript.text import shown
from flambeau.jit.torchscript.types import dotted, is_instance, parsed, received
from flambeau.nn import Module

__all__ = ["Interpreter"]

Scope = dict[str, Any]


class _Returned:
    """The result of a function on its way out of the statements."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Interpreter:
    """Runs the functions of one program.

    Args:
        definitions: its classes and functions by their full names
        constants: what its source names ``CONSTANTS.c0`` and so on
        files: the records of the archive that its source is in
    """

    def __init__(self, definitions: dict[str, Class | Function], constants: Sequence[Any], files: dict[str, bytes] | None = None) -> None:
        self.definitions = definitions
        self.constants = constants
        self.files = files or {}
        self._tuples: dict[str, type] = {}
        self._members: dict[tuple[str, str], EnumMember] = {}
        self._place: tuple[Function, ast.AST] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Interpreter:
        return self  # nothing of a program changes

    def __reduce__(self) -> NoReturn:
        raise TypeError("a TorchScript module is not pickled: keep the file that it came from, or save its state_dict()")

    # -- calls -----------------------------------------------------------------------------------------------------------

    def run(self, function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function from Python; the first parameter of a method is its object.

        Raises:
            RuntimeError: the arguments do not fit, or an operator has refused its own
            jit.Error: the program raises it
        """
        scope = self._received(function, args, kwargs)
        try:
            return self._executed(function, scope)
        except (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError) as error:
            kind = NotImplementedError if isinstance(error, NotImplementedError) else RuntimeError
            raise kind(f"{error}{self._where()}") from error

    def call(self, function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function from within the program."""
        if len(args) > len(function.parameters):
            raise TypeError(f"{function.name} takes {len(function.parameters)} arguments, not {len(args)}")
        scope = {parameter.name: value for parameter, value in zip(function.parameters, args)}
        scope.update(kwargs)
        self._complete(function, scope)
        return self._executed(function, scope)

    def _received(self, function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Scope:
        names = [parameter.name for parameter in function.parameters]
        if len(args) > len(names):
            raise RuntimeError(
                f"{function.name}() expected at most {len(names)} argument(s) but received {len(args)} argument(s). {_declaration(function)}"
            )
        scope: Scope = dict(zip(names, args))
        for name, value in kwargs.items():
            if name in scope or name not in names:
                problem = "is given twice" if name in scope else "is unknown"
                raise RuntimeError(f"{function.name}(): the argument {name!r} {problem}. {_declaration(function)}")
            scope[name] = value
        for parameter in function.parameters:
            if parameter.name in scope and parameter is not function.parameters[0]:
                try:
                    scope[parameter.name] = received(scope[parameter.name], parameter.type)
                except TypeError as error:
                    raise RuntimeError(f"{function.name}(): argument {parameter.name!r}: {error}. {_declaration(function)}") from None
        try:
            self._complete(function, scope)
        except TypeError as error:
            raise RuntimeError(f"{error}. {_declaration(function)}") from None
        return scope

    def _complete(self, function: Function, scope: Scope) -> None:
        """Put in the defaults of what is not given."""
        for parameter in function.parameters:
            if parameter.name not in scope:
                if parameter.default is None:
                    raise TypeError(f"{function.name}() is missing value for argument {parameter.name!r}")
                scope[parameter.name] = self.value(parameter.default, {})

    def _executed(self, function: Function, scope: Scope) -> Any:
        before = self._place
        returned = self._block(function, function.body, scope)
        self._place = before
        return None if returned is None else returned.value

    def method(self, receiver: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a method of a module or an object of the program."""
        function = _definition(receiver).methods.get(name)
        if function is None:
            raise AttributeError(f"{_definition(receiver).name} has no method {name!r}")
        return self.call(function, [receiver, *args], kwargs)

    def _where(self) -> str:
        """Where in the program an error has happened."""
        if self._place is None:
            return ""
        function, node = self._place
        return f" (in {function.name} of {function.file}, line {getattr(node, 'lineno', 0)}: {ast.unparse(node).splitlines()[0][:120]})"

    # -- statements --------------------------------------------------------------------------------------------------------

    def _block(self, function: Function, statements: list[ast.stmt], scope: Scope) -> _Returned | None:
        for statement in statements:
            self._place = (function, statement)
            execute = _STATEMENTS.get(type(statement))
            if execute is None:
                raise NotImplementedError(f"TorchScript has no statement {type(statement).__name__}{self._where()}")
            returned = execute(self, function, statement, scope)
            if returned is not None:
                return returned
        return None

    def _assign(self, function: Function, statement: ast.Assign, scope: Scope) -> None:
        value = self.value(statement.value, scope)
        for target in statement.targets:
            self._set(target, value, scope)

    def _annotated(self, function: Function, statement: ast.AnnAssign, scope: Scope) -> None:
        if statement.value is not None:
            self._set(statement.target, self.value(statement.value, scope), scope)

    def _set(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, ast.Tuple):
            values = list(value)
            if len(values) != len(target.elts):
                raise ValueError(f"{len(target.elts)} values are to be unpacked, but there are {len(values)}")
            for each, part in zip(target.elts, values, strict=True):
                self._set(each, part, scope)
        elif isinstance(target, ast.Attribute):
            _set_attribute(self.value(target.value, scope), target.attr, value)
        else:
            raise NotImplementedError(f"TorchScript assigns to names and attributes, not to {ast.unparse(target)}")

    def _if(self, function: Function, statement: ast.If, scope: Scope) -> _Returned | None:
        chosen = statement.body if self._truth(statement.test, scope) else statement.orelse
        return self._block(function, chosen, scope)

    def _while(self, function: Function, statement: ast.While, scope: Scope) -> _Returned | None:
        while self._truth(statement.test, scope):
            returned = self._block(function, statement.body, scope)
            if returned is not None:
                return returned
        return None

    def _for(self, function: Function, statement: ast.For, scope: Scope) -> _Returned | None:
        for value in self.value(statement.iter, scope):
            self._set(statement.target, value, scope)
            returned = self._block(function, statement.body, scope)
            if returned is not None:
                return returned
        return None

    def _with(self, function: Function, statement: ast.With, scope: Scope) -> _Returned | None:
        managers = []
        try:
            for item in statement.items:
                manager = self.value(item.context_expr, scope)
                entered = self.method(manager, "__enter__", [], {})
                managers.append(manager)
                if item.optional_vars is not None:
                    self._set(item.optional_vars, entered, scope)
            return self._block(function, statement.body, scope)
        finally:
            for manager in reversed(managers):
                self.method(manager, "__exit__", [None, None, None], {})

    def _nested(self, function: Function, statement: ast.FunctionDef, scope: Scope) -> None:
        scope[statement.name] = (function_of(statement, [], function.file), scope)

    def _return(self, function: Function, statement: ast.Return, scope: Scope) -> _Returned:
        return _Returned(None if statement.value is None else self.value(statement.value, scope))

    def _expression(self, function: Function, statement: ast.Expr, scope: Scope) -> None:
        self.value(statement.value, scope)

    def _pass(self, function: Function, statement: ast.Pass, scope: Scope) -> None:
        return None

    # -- expressions -------------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """What an expression gives."""
        evaluate = _EXPRESSIONS.get(type(node))
        if evaluate is None:
            raise NotImplementedError(f"TorchScript has no expression {ast.unparse(node)}")
        return evaluate(self, node, scope)

    def _truth(self, node: ast.expr, scope: Scope) -> bool:
        return bool(self.value(node, scope))

    def _constant(self, node: ast.Constant, scope: Scope) -> Any:
        return node.value

    def _name(self, node: ast.Name, scope: Scope) -> Any:
        if node.id in scope:
            return scope[node.id]
        if node.id in _CONSTANTS:
            return _CONSTANTS[node.id]
        raise NameError(f"the program uses the name {node.id!r} before it has a value")

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        path = dotted(node)
        root = "" if path is None else path.partition(".")[0]
        if path is not None and root not in scope:
            if root == "CONSTANTS":
                return self.constants[int(path.removeprefix("CONSTANTS.c"))]
            if root == "__torch__":
                return self.global_named(path)
        return _get_attribute(self.value(node.value, scope), node.attr)

    def global_named(self, path: str) -> Any:
        """A class, a function or a member of an enumeration, by its full name."""
        found = self.definitions.get(path)
        if found is not None:
            return found
        above, _, name = path.rpartition(".")
        owner = self.definitions.get(above)
        if isinstance(owner, Class) and owner.kind == "Enum" and name in owner.constants:
            return self._member(owner, name)
        raise NameError(f"the program names {path}, which its source does not define")

    def _member(self, owner: Class, name: str) -> EnumMember:
        member = self._members.get((owner.name, name))
        if member is None:
            member = self._members[owner.name, name] = EnumMember(owner.name, name, self.value(owner.constants[name], {}))
        return member

    def member_of(self, owner: Class, value: Any) -> EnumMember:
        """The member of an enumeration that has a value."""
        return next(member for member in (self._member(owner, name) for name in owner.constants) if member.value == value)

    def _list(self, node: ast.List, scope: Scope) -> list:
        return [self.value(each, scope) for each in node.elts]

    def _tuple(self, node: ast.Tuple, scope: Scope) -> tuple:
        return tuple([self.value(each, scope) for each in node.elts])

    def _dict(self, node: ast.Dict, scope: Scope) -> dict:
        pairs = zip(node.keys, node.values, strict=True)
        return {self.value(key, scope): self.value(each, scope) for key, each in pairs if key is not None}

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        container = self.value(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            limits = [None if each is None else self.value(each, scope) for each in (node.slice.lower, node.slice.upper, node.slice.step)]
            return container[slice(*limits)]
        return container[self.value(node.slice, scope)]

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Any:
        value = self.value(node.operand, scope)
        if isinstance(node.op, ast.USub):
            return -value
        if isinstance(node.op, ast.Not):
            return not value
        raise NotImplementedError(f"TorchScript has no operator {ast.unparse(node)}")

    def _conditional(self, node: ast.IfExp, scope: Scope) -> Any:
        return self.value(node.body if self._truth(node.test, scope) else node.orelse, scope)

    # -- calls in expressions ------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, scope: Scope) -> Any:
        target = node.func
        if isinstance(target, ast.Name) and target.id not in scope:
            form = _FORMS.get(target.id)
            if form is not None:
                return form(self, node, scope)
        args = [self.value(each, scope) for each in node.args]
        kwargs = {keyword.arg: self.value(keyword.value, scope) for keyword in node.keywords if keyword.arg is not None}
        if isinstance(target, ast.Name):
            return self._call_value(self._builtin(target, scope), args, kwargs)
        if not isinstance(target, ast.Attribute):
            return self._call_value(self.value(target, scope), args, kwargs)
        path = dotted(target)
        root = "" if path is None else path.partition(".")[0]
        if path is not None and root not in scope:
            if path == "ops.prim.RaiseException":
                raise Error(self._message(*args))
            if root in ("torch", "ops"):
                return operator_at(path)(*args, **kwargs)
            if root == "__torch__":
                if target.attr == "__new__":
                    return ScriptObject(args[0])
                return self._call_value(self.global_named(path), args, kwargs)
        return self.method(self.value(target.value, scope), target.attr, args, kwargs)

    def _builtin(self, target: ast.Name, scope: Scope) -> Any:
        return scope[target.id] if target.id in scope else _BUILTINS.get(target.id) or self._name(target, scope)

    def _call_value(self, function: Any, args: list, kwargs: dict[str, Any]) -> Any:
        if isinstance(function, Function):
            return self.call(function, args, kwargs)
        if isinstance(function, Class) and function.kind == "NamedTuple":
            return self.tuple_of(function)(*args, **kwargs)
        if isinstance(function, Class) and function.kind == "Enum":
            return self.member_of(function, *args)
        if isinstance(function, tuple):  # a nested function and the variables around it
            return self._executed(function[0], {**function[1], **dict(zip(function[0].positions, args))})
        if any(function is each for each in _BUILTINS.values()):
            return function(*args, **kwargs)
        raise TypeError(f"{function!r} cannot be called")

    def tuple_of(self, definition: Class) -> type:
        """A named tuple's class."""
        made = self._tuples.get(definition.name)
        if made is None:
            made = self._tuples[definition.name] = namedtuple(definition.name.rpartition(".")[2], list(definition.fields), rename=True)
            made.torchscript_name = definition.name
        return made

    def _message(self, message: str, kind: str = "") -> str:
        raised = f"{kind}: {message}" if kind else message
        return f"The following operation failed in the TorchScript interpreter: {raised}{self._where()}"

    # -- forms: calls whose arguments are types or names -----------------------------------------------------------------------

    def _annotate(self, node: ast.Call, scope: Scope) -> Any:
        """A value with a type; a tensor becomes a number where that is the type."""
        value = self.value(node.args[1], scope)
        wanted = parsed(node.args[0]).name
        return value.item() if wanted in ("int", "float", "complex", "number", "bool") and isinstance(value, Tensor) else value

    def _uninitialized(self, node: ast.Call, scope: Scope) -> None:
        return None

    def _unchecked_cast(self, node: ast.Call, scope: Scope) -> Any:
        return self.value(node.args[1], scope)

    def _isinstance(self, node: ast.Call, scope: Scope) -> bool:
        value, wanted = self.value(node.args[0], scope), node.args[1]
        types = [parsed(each) for each in wanted.elts] if isinstance(wanted, (ast.Tuple, ast.List)) else [parsed(wanted)]
        return any(is_instance(value, each) for each in types)

    def _getattr(self, node: ast.Call, scope: Scope) -> Any:
        return _get_attribute(self.value(node.args[0], scope), str(self.value(node.args[1], scope)))

    def _fork(self, node: ast.Call, scope: Scope) -> Future:
        future: Future = Future()
        function, *args = [self.value(each, scope) for each in node.args]
        future.set_result(self._call_value(function, args, {}))
        return future


def _declaration(function: Function) -> str:
    shown_parameters = [f"{parameter.type} {parameter.name}" for parameter in function.parameters]
    return f"Declaration: {function.name}({', '.join(shown_parameters)}) -> {function.returns}"


# -- attributes ----------------------------------------------------------------------------------------------------------


def _definition(receiver: Any) -> Class:
    definition = getattr(receiver, "_definition", None) if isinstance(receiver, (Module, ScriptObject)) else None
    if not isinstance(definition, Class):
        raise TypeError(f"a {type(receiver).__name__} has no methods in TorchScript")
    return definition


def _get_attribute(receiver: Any, name: str) -> Any:
    """An attribute of what the program may look into; never one of Python's."""
    if isinstance(receiver, Module):
        return receiver._slot(name)
    if isinstance(receiver, ScriptObject) and name in receiver._fields:
        return receiver._fields[name]
    if isinstance(receiver, EnumMember) and name in ("name", "value"):
        return receiver.name if name == "name" else receiver.value
    if isinstance(receiver, tuple) and name in getattr(receiver, "_fields", ()):
        return receiver[receiver._fields.index(name)]
    raise AttributeError(f"a {type(receiver).__name__} has no attribute {name!r} in TorchScript")


def _set_attribute(receiver: Any, name: str, value: Any) -> None:
    if isinstance(receiver, Module):
        receiver._set_slot(name, value)
    elif isinstance(receiver, ScriptObject):
        receiver._fields[name] = value
    else:
        raise AttributeError(f"TorchScript sets attributes of modules and objects, not of a {type(receiver).__name__}")


# -- what there is ---------------------------------------------------------------------------------------------------------


def _number(kind: Callable) -> Callable:
    def convert(value: Any) -> Any:
        return kind(value.item() if isinstance(value, Tensor) else value)

    return convert


def _printed(*values: Any) -> None:
    print(*map(shown, values))


_CONSTANTS = {"inf": float("inf"), "nan": float("nan"), "infj": complex(0, float("inf")), "nanj": complex(0, float("nan"))}
_BUILTINS: dict[str, Callable] = {
    "bool": _number(bool), "complex": complex, "float": _number(float), "int": _number(int), "print": _printed, "range": range, "str": shown,
}  # fmt: skip
_FORMS: dict[str, Callable] = {
    "annotate": Interpreter._annotate, "fork": Interpreter._fork, "getattr": Interpreter._getattr, "isinstance": Interpreter._isinstance,
    "unchecked_cast": Interpreter._unchecked_cast, "uninitialized": Interpreter._uninitialized,
}  # fmt: skip
_STATEMENTS: dict[type, Callable] = {
    ast.AnnAssign: Interpreter._annotated, ast.Assign: Interpreter._assign, ast.Expr: Interpreter._expression, ast.For: Interpreter._for,
    ast.FunctionDef: Interpreter._nested, ast.If: Interpreter._if, ast.Pass: Interpreter._pass, ast.Return: Interpreter._return,
    ast.While: Interpreter._while, ast.With: Interpreter._with,
}  # fmt: skip
_EXPRESSIONS: dict[type, Callable] = {
    ast.Attribute: Interpreter._attribute, ast.Call: Interpreter._call, ast.Constant: Interpreter._constant, ast.Dict: Interpreter._dict,
    ast.IfExp: Interpreter._conditional, ast.List: Interpreter._list, ast.Name: Interpreter._name, ast.Subscript: Interpreter._subscript,
    ast.Tuple: Interpreter._tuple, ast.UnaryOp: Interpreter._unary,
}  # fmt: skip
