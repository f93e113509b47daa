"""Attention: the kernel calls for the results that one pass over the scores computes together.

Before: ``%5 = attention 0``, ``%6 = attention 1`` of the same arguments, in one cluster. After: one call that writes both.
"""

from __future__ import annotations

from math import prod

from flambeau._codegen import attention
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.node import Node, base_of
from flambeau._runtime import targets
from flambeau._types import layout as lay

_RESULTS = {"attention": ("out", "statistics"), "attention_backward": ("grad_q", "grad_k", "grad_v")}
_ARGUMENTS = {"attention": ("q", "k", "v", "mask"), "attention_backward": ("q", "k", "v", "statistics", "grad", "delta", "mask")}


def lower(nodes: list[Node]) -> list[KernelCall]:
    """The kernel calls for those results of one ``attention`` or ``attention_backward`` that somebody needs."""
    kind, args, (_, is_causal, scale) = nodes[0].kind, nodes[0].args, nodes[0].attrs
    q, k, v = args[:3]
    batch = q.shape[:-2]
    extents = attention.Extents(batch, q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1])
    buffers: dict[str, Node | str] = {}
    operands: dict[str, attention.Operand] = {}
    for name, argument in zip(_ARGUMENTS[kind], args):
        buffers[name], view = base_of(argument)
        strides = argument.strides[1:] if name == "statistics" else argument.strides
        operands[name] = attention.Operand(argument.dtype, strides, 0 if view is None else view.attrs[0])
    found = {_RESULTS[kind][node.attrs[0]]: node for node in nodes}
    if kind == "attention":
        shapes = {"out": (*q.shape[:-1], v.shape[-1]), "statistics": q.shape[:-1]}
    else:
        shapes = {"grad_q": q.shape, "grad_k": k.shape, "grad_v": v.shape}
    dtypes = {name: q.dtype.compute if name == "statistics" else found[name].dtype if name in found else q.dtype for name in shapes}
    operands |= {name: attention.Operand(dtypes[name], lay.row_major(shape)) for name, shape in shapes.items()}
    # What a kernel writes although nobody needs it.
    unwanted = {name: prod(shape) * q.dtype.itemsize for name, shape in shapes.items() if name not in found and name != "statistics"}
    buffers |= {name: found.get(name, name) for name in shapes if name in found or name in unwanted}
    target, cores = targets.current(), targets.available_cores()
    if kind == "attention":
        calls = [attention.forward(extents, operands, is_causal, scale, target, cores, saves="statistics" in found)]
    else:
        wanted = [
            what for what, names in (("keys", ("grad_k", "grad_v")), ("queries", ("grad_q",))) if any(name in found for name in names)
        ]
        calls = attention.backward(extents, operands, is_causal, scale, target, cores, wanted)
    lowered = []
    for call in calls:
        places = [(position, buffers[name]) for position, name in call.buffers if name in buffers]
        own = tuple(node for name, node in found.items() if name in call.writes)
        lowered.append(KernelCall(call.kernel, call.source, call.params, places, call.tiles, call.grain, call.scratch_bytes, own, unwanted))
        unwanted = {}
    return lowered


def operations(node: Node) -> int:
    """Multiplications and additions for one result."""
    result, is_causal, _ = node.attrs
    q, k, v = node.args[:3]
    features, values = q.shape[-1], v.shape[-1]
    pairs = prod(q.shape[:-1]) * k.shape[-2] // (2 if is_causal else 1)
    if node.kind == "attention":
        return 2 * pairs * (features + values) if result == 0 else 0
    return 2 * pairs * (features, 2 * features, 2 * values)[result]
