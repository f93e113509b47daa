"""What all lowerings come to: calls of kernels, whose memory is not planned yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from flambeau._compiler.node import Node


@dataclass
class KernelCall:
    """A call of a kernel whose buffers are still nodes (or named temporaries).

    ``buffers`` lists ``(position, buffer)``: the parameter at ``position`` is the buffer's table slot, and its byte offset is added to the next.
    ``sizes`` lists ``(position, size)``, where a kernel reads a size as it reads a run-time scalar: the parameter is the table slot of what has it.
    ``numbers`` lists the positions of parameters that say which run-time scalar is read.
    ``keeps`` lists operands that it may keep packed: which, bytes, the key of the way of packing, and the parameters for how and where.
    """

    name: str
    source: str
    params: list[int]
    buffers: list[tuple[int, Node | str]]
    tiles: int
    grain: int = 1
    scratch_bytes: int = 0
    nodes: tuple[Node, ...] = ()
    temporaries: dict[str, int] = field(default_factory=dict)
    keeps: list[tuple[Node, int, str, int, int]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
