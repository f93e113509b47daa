"""Sizes as SymPy writes them, in whose form PyTorch's `.pt2` files have them: ``Add(Mul(Integer(2), Symbol('s0', …)), Integer(1))``.

An expression here is a number, or the text of one; SymPy itself is not needed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

__all__ = ["Expression", "added", "linear", "multiplied", "of_text", "shown", "symbol"]

Expression = int | str


def symbol(name: str) -> Expression:
    """A size that is free."""
    return f"Symbol('{name}', positive=True, integer=True)"


def _written(value: Expression) -> str:
    return f"Integer({value})" if isinstance(value, int) else value


def added(a: Expression, b: Expression) -> Expression:
    """The sum."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return b if a == 0 else a if b == 0 else f"Add({_written(a)}, {_written(b)})"


def multiplied(a: Expression, b: Expression) -> Expression:
    """The product."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return b if a == 1 else a if b == 1 else f"Mul({_written(a)}, {_written(b)})"


def divided(a: Expression, b: Expression) -> Expression:
    """The whole part of the quotient."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return f"FloorDiv({_written(a)}, {_written(b)})"


def of_text(text: str, symbols: Callable[[str], Expression]) -> Expression:
    """What a size's description says: ``2*batch + 1``.

    Raises:
        ValueError: it says nothing, or something else than products and sums
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression of sizes") from error
    return _of_tree(tree, symbols)


def _of_tree(node: ast.expr, symbols: Callable[[str], Expression]) -> Expression:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return symbols(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_of_tree(node.left, symbols), _of_tree(node.right, symbols))
    raise ValueError(f"{ast.unparse(node)!r} is no sum or product of sizes")


_OPERATORS: dict[type, Callable[[Expression, Expression], Expression]] = {ast.Add: added, ast.Mult: multiplied}


# -- reading ---------------------------------------------------------------------------------------------------------------


def linear(expression: str) -> tuple[str, int, int]:
    """A symbol, its factor and what is added to it.

    Raises:
        ValueError: it is another expression
    """
    try:
        return _linear(ast.parse(expression, mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is no expression") from error


def _linear(node: ast.expr) -> tuple[str, int, int]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        kind, args = node.func.id, node.args
        if kind == "Symbol" and args and isinstance(args[0], ast.Constant):
            return str(args[0].value), 1, 0
        if kind in ("Mul", "Add") and len(args) == 2:
            number = next((_integer(each) for each in args if _integer(each) is not None), None)
            other = next((each for each in args if _integer(each) is None), None)
            if number is not None and other is not None:
                name, factor, offset = _linear(other)
                return (name, factor * number, offset * number) if kind == "Mul" else (name, factor, offset + number)
    raise ValueError("no linear expression of one symbol")


def _integer(node: ast.expr) -> int | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer":
        return int(ast.literal_eval(node.args[0]))
    return None


def shown(expression: str) -> str:
    """An expression as text: ``2*s0 + 1``; one that is no linear expression of one symbol as it is."""
    try:
        name, factor, offset = linear(expression)
    except ValueError:
        return expression
    product = name if factor == 1 else f"{factor}*{name}"
    return f"{product} + {offset}" if offset else product
