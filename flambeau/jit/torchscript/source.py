"""Reading the source of a TorchScript program: which classes and functions there are. Nothing of it is run.

The text is Python's grammar, so that Python's parser reads it; what the nodes mean is in `interpreter.py`.
"""

from __future__ import annotations

import ast
import io
import sys
import textwrap
import tokenize
from dataclasses import dataclass, field
from typing import Any

from flambeau.jit.torchscript.types import Type, dotted, parsed

__all__ = ["Class", "Function", "Parameter", "read_source"]

_MOST_SIGNS = 50_000


@dataclass
class Parameter:
    """A parameter of a function; its default is an expression."""

    name: str
    type: Type
    default: ast.expr | None = None


@dataclass
class Function:
    """A function or a method."""

    name: str
    parameters: list[Parameter]
    returns: Type
    body: list[ast.stmt]
    source: str
    file: str
    positions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.positions = {parameter.name: position for position, parameter in enumerate(self.parameters)}


@dataclass
class Class:
    """A class: a module, an interface, a named tuple, an enumeration (``kind`` says which), or one of the user's (``kind`` is empty).

    Attributes:
        name: with the names of the packages in front
        fields: the types of what objects hold, in order
        constants: expressions of attributes that every object has, and of an enumeration's members
        parameters, buffers: of a module, the names of its tensors
    """

    name: str
    kind: str
    fields: dict[str, Type] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    methods: dict[str, Function] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Class:
        return self


def read_source(text: str, qualifier: str, file: str) -> dict[str, Class | Function]:
    """The definitions in a file by their full names.

    Raises:
        RuntimeError: it is not TorchScript
    """
    try:
        if sys.version_info < (3, 11):
            _check_depth(text)
        tree = ast.parse(text)
        return {f"{qualifier}.{name}": found for name, found in _definitions(tree.body, qualifier, text.splitlines(), file)}
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise RuntimeError(f"{file} of this archive is no TorchScript: {error}") from error


def _check_depth(text: str) -> None:
    """Check that no line has more signs than a tree may be deep: the parser of Python 3.10 does not, and crashes.

    Raises:
        ValueError: one has
    """
    count = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        count = 0 if token.type == tokenize.NEWLINE else count + (token.type == tokenize.OP)
        if count > _MOST_SIGNS:
            raise ValueError(f"line {token.start[0]} has more than {_MOST_SIGNS} signs")


def _definitions(body: list[ast.stmt], qualifier: str, lines: list[str], file: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            found.append((statement.name, function_of(statement, lines, file)))
        elif isinstance(statement, ast.ClassDef):
            found.append((statement.name, _class(statement, f"{qualifier}.{statement.name}", lines, file)))
        elif not isinstance(statement, (ast.Import, ast.Pass)):
            raise ValueError(f"line {statement.lineno} is neither a class nor a function")
    return found


def _class(node: ast.ClassDef, name: str, lines: list[str], file: str) -> Class:
    kind = (dotted(node.bases[0]) or "") if node.bases else ""
    made = Class(name, kind)
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef):
            made.methods[statement.name] = function_of(statement, lines, file)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            target = statement.target.id
            if statement.value is None:
                made.fields[target] = parsed(statement.annotation)
            else:
                made.constants[target] = statement.value
        elif isinstance(statement, ast.Assign):
            _assign(made, statement)
        elif not isinstance(statement, ast.Pass):
            raise ValueError(f"line {statement.lineno} does not belong into a class")
    return made


def _assign(made: Class, statement: ast.Assign) -> None:
    """An assignment in a class: the names of tensors, the type of an attribute whose name is no identifier, or a member of an enumeration."""
    target = statement.targets[0]
    if isinstance(target, ast.Subscript) and dotted(target.value) == "__annotations__":
        made.fields[str(ast.literal_eval(target.slice))] = parsed(statement.value)
    elif isinstance(target, ast.Name) and target.id in ("__parameters__", "__buffers__"):
        setattr(made, target.id.strip("_"), tuple(map(str, ast.literal_eval(statement.value))))
    elif isinstance(target, ast.Name):
        made.constants[target.id] = statement.value


def function_of(node: ast.FunctionDef, lines: list[str], file: str) -> Function:
    """A function's definition."""
    given = node.args.args
    defaults = [*[None] * (len(given) - len(node.args.defaults)), *node.args.defaults]
    parameters = [Parameter(each.arg, parsed(each.annotation), default) for each, default in zip(given, defaults, strict=True)]
    return Function(node.name, parameters, parsed(node.returns), node.body, _source_of(node, lines), file)


def _source_of(node: ast.FunctionDef, lines: list[str]) -> str:
    """The text of a function, from its margin."""
    return textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])) + "\n"
