"""From a sort to kernel calls.

Before: ``sort`` of a line of 1,000,000 elements.
After: 16 tiles sort parts of 65,536 and leave their items; four rounds of merging make one line of them.
"""

from __future__ import annotations

from math import prod

from flambeau._codegen import merging, sorting
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.node import Node, base_of


def lower_sort(node: Node) -> list[KernelCall]:
    """The kernel calls of a sort: one, or for whole lines of more than a part several."""
    axis, descending, low, high = node.attrs
    operand = node.args[0]
    if not node.numel:
        return []
    source, view = base_of(operand)
    offset = view.attrs[0] * operand.dtype.itemsize if view is not None else 0
    length, inner = operand.shape[axis], prod(operand.shape[axis + 1 :])
    lines = prod(operand.shape[:axis]) * inner
    if len(node.args) == 1 and (low, high) == (0, length) and length > sorting.part_length(operand.dtype):
        return _in_parts(node, source, offset, lines, length, inner)
    params, scratch = [0, offset, 0, 0, length, inner, low, high], sorting.scratch_bytes(operand.dtype, length)
    buffers: list[tuple[int, Node | str]] = [(0, source), (2, node)]
    mode = sorting.mode_for(length, inner, low, high)
    if len(node.args) > 1:
        ranks, view = base_of(node.args[1])
        mode = "each"
        params[6:] = [0, (view.attrs[0] if view is not None else 0) * ranks.dtype.itemsize]
        buffers.append((6, ranks))
    name, text = sorting.sort_kernel(operand.dtype, descending, mode)
    return [KernelCall(name, text, params, buffers, lines, max(1, 512 // length), scratch, (node,))]


def _in_parts(node: Node, source: Node, offset: int, lines: int, length: int, inner: int) -> list[KernelCall]:
    """Sort parts of lines, then merge neighbours until each line is one."""
    dtype = node.args[0].dtype
    run, item = sorting.part_length(dtype), sorting.item_type(dtype)
    parts, blocks = -(-length // run), -(-length // merging.BLOCK)
    nbytes = (lines * length + 1) * int(item[1:]) // 8
    here, there = "items", "merged items"
    name, text = sorting.parts_kernel(dtype, node.attrs[1])
    params, scratch = [0, offset, 0, 0, length, inner, run, parts], sorting.scratch_bytes(dtype, run)
    calls = [KernelCall(name, text, params, [(0, source), (2, here)], lines * parts, 1, scratch, (node,), {here: nbytes})]
    while run < length:
        last = 2 * run >= length
        name, text = merging.merge_kernel(item, last)
        params = [0, 0, 0, 0, length, run, inner, blocks]
        buffers: list[tuple[int, Node | str]] = [(0, here), (2, node if last else there)]
        temporaries = {} if last else {there: nbytes}
        calls.append(KernelCall(name, text, params, buffers, lines * blocks, nodes=(node,), temporaries=temporaries))
        here, there, run = there, here, 2 * run
    return calls
