"""What our two small languages share: Python's statements and conditions, as LLVM IR.

``numbers.py`` has floats and integers, ``words.py`` machine words and Python's objects. Both take a function apart with Python's own parser; variables are
places on the stack, which LLVM turns into registers.
"""

from __future__ import annotations

import ast
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


def symbol(prefix: str, said: bytes, definition: str) -> str:
    """A name that follows from what is said and from the files that define the language, so that code in the disk cache needs no IR."""
    said += __loader__.get_data(definition) + __loader__.get_data(__file__)  # which may lie in an archive
    return f"{prefix}_{hashlib.sha256(said).hexdigest()[:16]}"


def is_inline(function: ast.FunctionDef) -> bool:
    """Whether a function becomes part of its callers."""
    return any(getattr(each, "id", "") == "inline" for each in function.decorator_list)


class Statements(ABC):
    """The lines of a function's IR. A language says what values and assignments are: ``_value``, ``_store`` and ``_bit``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.loops: list[tuple[str, str]] = []

    @abstractmethod
    def _value(self, expression: Any) -> Any:
        """An expression."""

    @abstractmethod
    def _store(self, target: Any, value: Any) -> None:
        """An assignment."""

    @abstractmethod
    def _bit(self, test: ast.expr) -> str:
        """A comparison, or whether something is not 0, as an ``i1``."""

    # -- statements ------------------------------------------------------------------------------------------------

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            getattr(self, f"_do_{type(statement).__name__.lower()}")(statement)

    def _do_expr(self, statement: ast.Expr) -> None:
        if not isinstance(statement.value, ast.Constant):  # a docstring
            self._value(statement.value)

    def _do_break(self, statement: ast.Break) -> None:
        self._leave(f"br label %{self.loops[-1][1]}")

    def _do_continue(self, statement: ast.Continue) -> None:
        self._leave(f"br label %{self.loops[-1][0]}")

    def _leave(self, instruction: str) -> None:
        self._emit(instruction)
        self._label(self._name())  # for what comes after it, which nobody reaches

    def _do_assign(self, statement: ast.Assign) -> None:
        self._store(statement.targets[0], self._value(statement.value))

    def _do_augassign(self, statement: ast.AugAssign) -> None:
        read: Any = ast.parse(ast.unparse(statement.target), mode="eval").body
        self._store(statement.target, self._value(ast.BinOp(read, statement.op, statement.value)))

    def _do_if(self, statement: ast.If) -> None:
        yes, no, end = self._name(), self._name(), self._name()
        self._branch(statement.test, yes, no)
        for label, body in ((yes, statement.body), (no, statement.orelse)):
            self._label(label)
            self._block(body)
            self._emit(f"br label %{end}")
        self._label(end)

    def _do_while(self, statement: ast.While) -> None:
        test, body, end = self._name(), self._name(), self._name()
        self._emit(f"br label %{test}")
        self._label(test)
        self._branch(statement.test, body, end)
        self._repeat(statement.body, body, test, end)
        self._emit(f"br label %{test}")
        self._label(end)

    def _repeat(self, statements: list[ast.stmt], body: str, again: str, end: str) -> None:
        """What a loop repeats: ``continue`` goes on at ``again``, ``break`` at ``end``."""
        self._label(body)
        self.loops.append((again, end))
        self._block(statements)
        self.loops.pop()

    # -- conditions ------------------------------------------------------------------------------------------------

    def _branch(self, test: ast.expr, yes: str, no: str) -> None:
        """Go on at ``yes`` or at ``no``."""
        if isinstance(test, ast.BoolOp):
            for part in test.values[:-1]:
                following = self._name()
                self._branch(part, *((following, no) if isinstance(test.op, ast.And) else (yes, following)))
                self._label(following)
            self._branch(test.values[-1], yes, no)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self._branch(test.operand, no, yes)
        else:
            self._emit(f"br i1 {self._bit(test)}, label %{yes}, label %{no}")

    # -- lines -----------------------------------------------------------------------------------------------------

    def _name(self) -> str:
        self.count += 1
        return f"t.{self.count}"

    def _result(self, instruction: str) -> str:
        name = f"%{self._name()}"
        self._emit(f"{name} = {instruction}")
        return name

    def _emit(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")
