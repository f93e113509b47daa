"""What nodes are made of, where that can be read instead of them.

Before: ``%5 = cast (%0)``, ``%6 = contract (%4, view of %5)``.
After: ``%6 = contract (%4, view of %0)``; nobody reads ``%5`` any more.
"""

from __future__ import annotations

from flambeau._compiler.node import Node, Rows, base_of
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

SHORT = 8
"""A row of fewer elements is not worth an address of its own."""


def rows_of(value: Node) -> tuple[Rows, Node, tuple[Node, ...]] | None:
    """What a scattered value is made of, if it need not be stored: rows that lie side by side in memory, each named by an index, and perhaps
    times a number: the memory, and the indices (and the factors).

    Before: ``%5 = gather (%0, %4)``, ``%7 = map mul (%5, view of %6)``, ``scatter sum (%9, %7, %8)``.
    After: ``scatter sum (%9, %0, %8, %4, view of %6)``. (A million messages along edges were written and read again: 67 ms, and 48 without.)
    """
    factor: tuple[Node, ...] = ()
    if value.kind == "map" and value.attrs == ("mul",) and value.dtype.compute is value.dtype and not value.dtype.is_complex:
        left, right = value.args
        value, other = (left, right) if left.kind == "gather" else (right, left)
        factor = (other,)
    if value.kind != "gather" or len(value.args) != 2 or value.shape[-1] < SHORT:
        return None
    strides, offset, steps, _ = value.attrs
    memory, *named = (*value.args, *factor)
    still = all(each.kind == "view" and not each.attrs[1] and each.strides[-1] == 0 for each in named)
    return (Rows(strides, offset, steps[0], bool(factor)), memory, tuple(named)) if still and strides[-1] == 1 else None


def copied(node: Node, strides: tuple[int, ...]) -> Node | None:
    """What a node is a copy of, if that lies in memory with these strides from its start on, or is zero everywhere."""
    if node.kind == "view" and node.attrs == (0, ()) and node.numel == node.args[0].numel:
        node = node.args[0]
    if node.kind != "map" or node.attrs[0] != "copy":
        return None
    source = node.args[0]
    if source.kind == "constant":
        return source if source.attrs[2] in ("0", "0.0", "False") else None
    whole = source.kind == "view" and source.attrs == (0, ()) and source.layout.dense
    owns = source.kind not in ("view", "number", "iota")
    return source if (whole or owns) and source.strides == node.strides == strides else None


def before_widening(a: Node, b: Node) -> tuple[Node, Node]:
    """A contraction's operands, read as the half precision that a cast has widened: it widens what it reads itself.

    (The weights of a query times 4096 values of 12 heads in bfloat16: 3.8 and 1.2 ms.) Of two of bfloat16 the larger one, since to
    multiply two of these is another operation where a processor has instructions for it.
    """
    narrow = _narrow(a), _narrow(b)
    if narrow[0].dtype is narrow[1].dtype is dt.bfloat16 and dt.float32 in (a.dtype, b.dtype):
        return (narrow[0], b) if a.numel >= b.numel else (a, narrow[1])
    return narrow


def _narrow(operand: Node) -> Node:
    """What a cast has widened, where it lies in the same order before; otherwise the operand."""
    cast, view = base_of(operand)
    if cast.kind != "cast" or cast.args[0].dtype not in (dt.float16, dt.bfloat16) or cast.dtype is not dt.float32:
        return operand
    source = cast.args[0]
    memory, part = base_of(source)
    if memory.kind in ("constant", "number", "iota"):
        return operand
    if view is None:
        return source
    offset, bounds = view.attrs
    if part is not None:
        if part.attrs[1] or part.strides != cast.strides:
            return operand
        offset += part.attrs[0]
    elif source.strides != cast.strides:
        return operand
    return operand.graph.view(memory, lay.layout(view.shape, view.strides, offset, source.dtype), bounds)
