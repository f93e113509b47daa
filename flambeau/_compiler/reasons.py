"""Why a kernel is far from its limit: what it has to do beside the operations and bytes that ``explain`` counts.

Before: ``gelu`` of a million numbers, 15 % of the limit, which counts one operation for each. After: "functions: 45 instructions an element", if so many
take more than half of the time. A reason is computed, and none is given where none is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from flambeau._codegen import scalar
from flambeau._codegen.ir import Module, Value, bits
from flambeau._codegen.scalar import registers
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.cluster import ATTENTION
from flambeau._compiler.limits import Limits
from flambeau._compiler.nest import MOST_INTERLEAVED
from flambeau._compiler.node import Node
from flambeau._runtime import targets
from flambeau._types import dtype as dt
from flambeau._types.dtype import dtype as DType

FAR = 0.5
"""A share of the limit that needs no reason."""
SHORT = 5e-6
"""Seconds of which most is the call itself, and reading the clock."""
DIVISION = 10
"""Instructions that a division or a root of a vector takes the time of: 5 cycles on Zen 3, and 16 of longer vectors on Sapphire Rapids."""
ACROSS = "reads in another order than it writes"


def reason(step: KernelCall, names: tuple[str, ...], seconds: float, least: float, known: Limits) -> str:
    """The first reason that explains why a kernel took so long; ``""`` if it needs none, or if none is known.

    Args:
        step: the kernel's call
        names: what is fused into it
        seconds: how long it took
        least: how long it would take at the limit, by its operations and bytes
    """
    if least >= FAR * seconds:
        return ""
    if seconds < SHORT:
        return "short: most of it is the call"
    if 0 < step.tiles < known.threads and least * known.threads / step.tiles >= FAR * seconds:
        return f"{step.tiles} tile{'s' * (step.tiles > 1)} for {known.threads} threads"
    if names == ("pack",):
        return ACROSS
    done = sum(map(_instructions, step.nodes))
    if done / (known.flops / 2) * _width(step.nodes) + _others(step.nodes, least) >= FAR * seconds:
        return f"functions: {done / max(1, max(map(_elements, step.nodes))):.0f} instructions an element"
    return _kind(step.nodes)


def _kind(nodes: Sequence[Node]) -> str:
    """What the kind of a kernel's work says."""
    kinds = {node.kind for node in nodes}
    if "recur" in kinds:
        return "recurrence: one step waits for the other"
    if "scan" in kinds:
        return "scan: one element waits for the other"
    if kinds & {"gather", "scatter"}:
        return "addresses come from an index"
    return ACROSS if any(map(_reads_across, nodes)) else ""


def _reads_across(node: Node) -> bool:
    """Whether the elements of an operand, in the order in which the results lie, are far from each other."""
    if node.kind != "map":
        return False
    fastest = min((axis for axis in range(node.ndim) if node.shape[axis] > 1), key=lambda axis: node.strides[axis], default=None)
    return fastest is not None and any(argument.ndim and abs(argument.strides[fastest]) > MOST_INTERLEAVED for argument in node.args)


def _width(nodes: Sequence[Node]) -> float:
    """How many times as long a vector instruction takes for an element than it does in float32."""
    return max((max(4, min(8, node.dtype.compute.itemsize)) / 4 for node in nodes), default=1.0)


def _others(nodes: Sequence[Node], least: float) -> float:
    """What attention takes beside its functions."""
    return least if any(node.kind in ATTENTION for node in nodes) else 0.0


def _elements(node: Node) -> int:
    if node.kind in ATTENTION:
        q, k = node.args[:2]
        return prod(q.shape[:-1]) * k.shape[-2] // (2 if node.attrs[1] else 1)
    return node.args[0].numel if node.kind == "reduce" else node.numel


def _instructions(node: Node) -> int:
    """The instructions of one lane each that a node takes."""
    if node.kind == "map" and node.attrs[0] != "copy":
        return node.numel * instructions(node.attrs[0], node.args[1].dtype if node.attrs[0] == "where" else node.args[0].dtype)
    if node.kind == "reduce":
        return node.args[0].numel
    if node.kind in ATTENTION and node.attrs[0] == 0:  # the power of each score, and what makes it one
        return _elements(node) * (instructions("exp", dt.float32) + 4)
    return 0


@lru_cache(maxsize=1024)
def instructions(operator: str, of: DType) -> int:
    """How many vector instructions an operator is written as, a division as ``DIVISION`` of them; constants are free."""
    target = targets.current()
    module = Module(target.instruction_sets)
    types = registers.register_types(of, target.lanes(max(bits(registers.register_types(of, 1)[0]), 8)))
    names = [[(type, f"a{number}_{part}") for part, type in enumerate(types)] for number in range(scalar.OPS[operator].arity)]
    if operator == "where":
        names[0] = [(types[0].replace(types[0].split()[-1], "i1>") if types[0][0] == "<" else "i1", "condition")]
    f = module.function("KERNEL", [pair for group in names for pair in group])
    operands = [registers.pack([Value(f"%{name}", type) for type, name in group]) for group in names]
    scalar.emit(f, operator, of, *operands)
    lines = [line for line in str(f).splitlines()[2:-1] if " = " in line and "shufflevector" not in line and "insertelement" not in line]
    return sum(DIVISION if " fdiv " in line or "llvm.sqrt" in line else 1 for line in lines)
