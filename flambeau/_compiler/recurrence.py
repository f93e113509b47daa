"""All steps of a recurrent layer: as one ``recur`` node, or as nodes for each step; and the kernel call that the former becomes.

One kernel for all steps lets each thread follow a few sequences from end to end, and nobody waits between steps. That pays while the weight
stays in the second-level cache. A larger one is better divided among the threads: then each step is a contraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from flambeau._codegen.bundles import PAIRS
from flambeau._codegen.contract.arithmetic import register_tile
from flambeau._codegen.contract.chains import cut
from flambeau._codegen.recurrence import Recurrence, names, recurrence
from flambeau._codegen.steps import STEPS
from flambeau._compiler.bundles import bundled
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.graph import Graph
from flambeau._compiler.node import Node, base_of
from flambeau._runtime import targets
from flambeau._types import dtype as dt

_ROWS = 32
"""Sequences of a tile: with more, what goes from step to step leaves the first-level cache; with as many, any weight comes fast enough."""
_LINE = 64
_LEAST = 16
"""Units from which on products of bfloat16 are made in pairs."""


def recur(
    graph: Graph, step: str, backward: bool, reverse: bool, sizes: tuple[int, ...], weight: Node, operands: Sequence[Node]
) -> tuple[Node, ...]:
    """The results of all steps of a layer in one direction; see ``names`` for what they are.

    Args:
        step: a key of ``STEPS``
        reverse: the last step comes first; ``backward`` does not turn that around
        sizes: how many sequences have a step t
        weight: (gates · units, units)
        operands: those of ``names`` but for the weight, in order
    """
    rule = STEPS[step]
    units, rows, dtype = weight.shape[1], sum(sizes), weight.dtype
    biased = not backward and len(operands) > 2
    if _divides(weight, sizes):
        key = (step, backward, reverse, sizes, weight.index, *[each.index for each in operands])
        if key not in graph.expanded:
            follow = _unrolled_backward if backward else _unrolled
            graph.expanded[key] = follow(graph, step, reverse, len(sizes), weight, operands)
        return graph.expanded[key]
    gates = rows, rule.gates * units
    shapes = {"saved": (rule.saves + 1, rows, units), "outputs": (rows, units), "inputs": gates, "products": gates}
    shapes["last"] = (1 + rule.cells, sizes[0], units)
    results = tuple((dtype, shapes[name]) for name in names(step, backward, biased)[1])
    first, *others = [_dense(graph, each) for each in operands]
    bundle = _bundle(weight)
    packed = _packed(graph, weight if backward else weight.transpose(0, 1), bundle)
    call = graph.make("recur", (first, packed, *others), (step, backward, results, reverse, sizes, units, biased, bundle), dt.bool, ())
    return tuple(graph.make("item", (call,), (number,), *result) for number, result in enumerate(results))


def _divides(weight: Node, sizes: tuple[int, ...]) -> bool:
    """Whether threads had better divide the weight than the sequences."""
    large = 4 * weight.numel * weight.dtype.compute.itemsize > 3 * targets.current().l2_bytes
    return large and sizes[0] == sizes[-1] and sizes[0] < _ROWS * targets.available_cores()


def _bundle(weight: Node) -> str:
    """What a number of the products' operands is, whoever computes them (``Contract``)."""
    units = weight.shape[1]
    return PAIRS if weight.dtype is dt.bfloat16 and targets.current().has_pairs and units % 2 == 0 and units >= _LEAST else ""


def _product(graph: Graph, rows: Node, weight: Node, bundle: str) -> Node:
    """What one step multiplies."""
    dtype = weight.dtype.compute
    if bundle:
        rows, weight = bundled(graph, rows, 1, dtype), bundled(graph, weight, 0, dtype)
    return graph.contract(rows, weight, dtype=dtype, bundle=bundle)


def _dense(graph: Graph, node: Node) -> Node:
    node = graph.lying(node)
    return node if node.layout.contiguous else graph.copy(node)


def _packed(graph: Graph, matrix: Node, bundle: str) -> Node:
    """A matrix (k, n) as its micro-kernels read it: (panels, k, columns of a panel), zeros where there are no columns."""
    if bundle:
        matrix = bundled(graph, matrix, 0, matrix.dtype.compute)
    columns = matrix.shape[1]
    lanes = register_tile(matrix.dtype, targets.current()).lanes
    panels = -(-columns // lanes)
    if panels * lanes > columns:
        matrix = graph.pad(matrix, (0, 0), (0, panels * lanes - columns))
    return graph.copy(graph.wide(matrix.split_axis(1, panels).permute((1, 0, 2))))


# -- a kernel ------------------------------------------------------------------------------------------------------------


def lower(node: Node, needed: Sequence[Node]) -> KernelCall:
    """The call of a ``recur`` node's kernel; ``needed`` are the nodes that the program needs."""
    step, backward, results, reverse, sizes, units, biased, bundle = node.attrs
    rule = STEPS[step]
    dtype = results[0][0]
    items = {each.attrs[0]: each for each in needed if each.kind == "item" and each.args[0] is node}
    target = targets.current()
    tile = register_tile(dtype, target)
    wanted = tuple(number in items for number in range(len(results)))
    code = recurrence(Recurrence(target, dtype, step, backward, biased, units % tile.width == 0, wanted, bundle))

    panels, depth, lanes = node.args[1].shape
    block = _block(sizes[0])
    areas = {"factors": depth, "sums": panels * lanes, "kept": (1 + rule.cells) * units}
    values = {
        "units": units, "panels": panels, "depth": depth, "chain": cut((depth,))[1], "block": block, "sequences": sizes[0], "rows": sum(sizes), "steps": len(sizes),
        "start": len(sizes) - 1 if reverse else 0, "pace": -1 if reverse else 1, "offsets": len(code.parameters),
    }  # fmt: skip
    scratch = 0
    for area, row in areas.items():
        values |= {f"scratch.{area}": scratch, f"{area}.row": row}
        scratch += -(-block * row * tile.bytes // _LINE) * _LINE
    operands, outcomes = names(step, backward, biased)
    nodes: dict[str, Node] = {}
    for name, argument in zip(operands, node.args, strict=True):
        nodes[name], view = base_of(argument)
        values[f"{name}.bytes"] = view.attrs[0] * argument.dtype.itemsize if view is not None else 0
    for number, item in items.items():
        nodes["to." + outcomes[number]] = item
    params, buffers = [], []
    for position, name in enumerate(code.parameters):
        if name.endswith(".slot"):
            buffers.append((position, nodes[name.removesuffix(".slot")]))
        params.append(values.get(name, 0))
    params += accumulate(sizes, initial=0)
    return KernelCall(code.name, code.source, params, buffers, -(-sizes[0] // block), 1, scratch, (node, *items.values()))


def _block(sequences: int) -> int:
    """How many sequences make a tile: few enough that all threads have one, and a multiple of four where there are more."""
    cores = targets.available_cores()
    tiles = cores * -(-sequences // (cores * _ROWS))
    block = -(-sequences // tiles)
    return block if block < 4 else -(-block // 4) * 4


# -- nodes for each step -------------------------------------------------------------------------------------------------


def _call(name: str, x: Node, *others: Node) -> Node:
    """A function that rules use; see ``steps.Call``."""
    if name == "relu":
        return x.graph.map("maximum", x, 0.0)
    if name == "gate":
        return x.graph.where(others[0] > 0.0, x, x.graph.constant(0.0, x.dtype))
    return x.graph.map(name, x)


def _columns(matrix: Node, count: int) -> list[Node]:
    width = matrix.shape[1] // count
    return [matrix.slice(1, number * width, width) for number in range(count)]


def _stacked(graph: Graph, pieces: dict[int, Node]) -> Node:
    """What steps gave, one below the other in the order of the steps."""
    return graph.concat([pieces[t] for t in sorted(pieces)], 0)


def _unrolled(graph: Graph, step: str, reverse: bool, steps: int, weight: Node, operands: Sequence[Node]) -> tuple[Node, ...]:
    rule = STEPS[step]
    inputs, state, *bias = operands
    hidden, *cells = [state.select(0, number) for number in range(1 + rule.cells)]
    rows, bundle = state.shape[1], _bundle(weight)
    outputs: dict[int, Node] = {}
    kept: list[dict[int, Node]] = [{} for _ in range(rule.saves + 1)]
    for t in reversed(range(steps)) if reverse else range(steps):
        product = _product(graph, hidden, weight.transpose(0, 1), bundle)
        if bias:
            product = product + graph.wide(bias[0])
        products = _columns(graph.cast(product, weight.dtype), rule.gates)
        before = hidden
        hidden, cells, saved = rule.forward(_call, _columns(inputs.slice(0, t * rows, rows), rule.gates), products, before, cells)
        outputs[t] = hidden
        for pieces, each in zip(kept, (*saved, before), strict=True):
            pieces[t] = each
    return _planes(graph, [_stacked(graph, each) for each in kept]), _stacked(graph, outputs), _planes(graph, [hidden, *cells])


def _unrolled_backward(graph: Graph, step: str, reverse: bool, steps: int, weight: Node, operands: Sequence[Node]) -> tuple[Node, ...]:
    rule = STEPS[step]
    outputs, state, saved = operands
    direct, *cells = [state.select(0, number) for number in range(1 + rule.cells)]
    rows, bundle = state.shape[1], _bundle(weight)
    gates: list[dict[int, Node]] = [{}, {}]
    zeros = graph.constant(0.0, weight.dtype, direct.shape)
    product = zeros
    for t in reversed(range(steps)) if reverse else range(steps):
        *before, hidden = [saved.select(0, number).slice(0, t * rows, rows) for number in range(rule.saves + 1)]
        grad = outputs.slice(0, t * rows, rows) + product + direct
        *grads, direct, cells = rule.backward(_call, grad, cells, before, hidden)
        for pieces, each in zip(gates, grads, strict=True):
            pieces[t] = graph.concat(each, 1)
        product = graph.cast(_product(graph, gates[1][t], weight, bundle), weight.dtype)
        direct = zeros if direct is None else direct
    return *[_stacked(graph, pieces) for pieces in gates[: 2 - rule.sums]], _planes(graph, [product + direct, *cells])


def _planes(graph: Graph, pieces: Sequence[Node]) -> Node:
    return graph.concat([each.unsqueeze(0) for each in pieces], 0)
