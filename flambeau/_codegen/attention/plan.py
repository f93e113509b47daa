"""From shapes and strides to calls of the kernels: tiles, parameters and scratch memory.

Nothing here changes a result: blocks are the same however many of them a tile has.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from flambeau._codegen.attention.backward import backward_kernel
from flambeau._codegen.attention.forward import forward_kernel
from flambeau._codegen.attention.structure import BACKWARD_KEYS, KEYS, LANES, ROWS, Mask, Structure, round_up
from flambeau._codegen.contract.kernel import Code
from flambeau._runtime.targets import Target
from flambeau._types.dtype import dtype

_SHARE = 0.5
"""Of the second-level cache, for the queries of a tile and what is summed for them."""
_TILES = 4
"""Tiles for each core, so that all end together."""
_WORK = 1 << 20
"""Multiply-adds that a thread should claim at once, at least."""


class Extents(NamedTuple):
    """``q`` is (batch, queries, features), ``k`` (batch, keys, features), ``v`` (batch, keys, values); each at least 1."""

    batch: tuple[int, ...]
    queries: int
    keys: int
    features: int
    values: int


class Operand(NamedTuple):
    """An operand's place: strides for the axes of the batch, for rows, and for what is in a row; all in elements."""

    dtype: dtype
    strides: tuple[int, ...]
    offset: int = 0


class Call(NamedTuple):
    """A kernel call that ``writes`` some operands. ``params`` lack their buffers: ``(position, operand)`` says where an operand's table slot
    goes, and that the byte offset of its memory is to be added to the next number."""

    kernel: str
    source: str
    params: list[int]
    buffers: list[tuple[int, str]]
    tiles: int
    grain: int
    scratch_bytes: int
    writes: tuple[str, ...]


def forward(
    extents: Extents, operands: dict[str, Operand], is_causal: bool, scale: float, target: Target, cores: int, *, saves: bool
) -> Call:
    """The call that computes attention.

    Args:
        operands: ``q``, ``k``, ``v`` and ``out``, whose rows are contiguous; ``statistics``, of two planes (row maxima and inverse sums
            of weights) that the first axis tells apart, and if there is one the ``mask`` (batch, queries, keys)
        saves: whether statistics are written
    """
    plan = _Plan(extents, operands, is_causal, scale, target)
    blocks, heads = -(-extents.queries // ROWS), prod(extents.batch)
    fitting = max(1, int(_SHARE * target.l2_bytes / (ROWS * sum(plan.pitches) * plan.structure.tile.bytes)))
    tiles = min(blocks, max(-(-_TILES * cores // heads), -(-blocks // fitting)))
    rows = ROWS * -(-blocks // tiles)
    tiles = -(-extents.queries // rows)
    plan.values |= {"tiles": tiles, "block": rows, "saves": int(saves)}
    (features, values), pitch = plan.pitches, plan.structure.pitch(KEYS)
    plan.reserve(
        q=rows * features, k=KEYS * features, v=KEYS * values, scores=ROWS * pitch, totals=rows * values, maxima=rows, sums=rows * LANES,
        inverses=rows, factors=ROWS, factor=1,
    )  # fmt: skip
    writes = ("out", "statistics") if saves else ("out",)
    return plan.call(forward_kernel(plan.structure), heads * tiles, rows * extents.keys * (features + values), writes)


def backward(
    extents: Extents, operands: dict[str, Operand], is_causal: bool, scale: float, target: Target, cores: int, wants: Sequence[str]
) -> list[Call]:
    """The calls that compute the gradients ``grad_q``, ``grad_k`` and ``grad_v``, given ``grad`` and ``delta`` = sum(grad * out).

    A tile is a head, if there are enough for all cores; else blocks of keys are shared, and then blocks of queries.

    Args:
        wants: ``keys`` (and values) or ``queries``, or both
    """
    heads = prod(extents.batch)
    # Five products of blocks for a head as a whole; seven if keys and queries are apart.
    if len(wants) == 2 and 5 * cores * -(-heads // cores) <= 7 * heads:
        return [_gradients(extents, operands, is_causal, scale, target, wants, 1)]
    tiles = -(-_TILES * cores // heads)
    return [_gradients(extents, operands, is_causal, scale, target, [what], tiles) for what in wants]


def _gradients(
    extents: Extents, operands: dict[str, Operand], is_causal: bool, scale: float, target: Target, wants: Sequence[str], tiles: int
) -> Call:
    plan = _Plan(extents, operands, is_causal, scale, target)
    rows, keys = _block(extents.queries, ROWS, 1 if "keys" in wants else tiles), extents.keys
    if "queries" not in wants:
        keys = _block(keys, BACKWARD_KEYS, tiles)
    query_tiles, key_tiles = -(-extents.queries // rows), -(-extents.keys // keys)
    plan.values |= {"query.tiles": query_tiles, "query.block": rows, "key.tiles": key_tiles, "key.block": keys}
    plan.values |= {f"wants.{what}": int(what in wants) for what in ("keys", "queries")}
    (features, values), pitch = plan.pitches, plan.structure.pitch(BACKWARD_KEYS)
    plan.reserve(
        q=rows * features, grad=rows * values, grad_q=rows * features if "queries" in wants else 0, deltas=rows, factor=1,
        k=BACKWARD_KEYS * features, k_columns=BACKWARD_KEYS * features, v_columns=BACKWARD_KEYS * values,
        weights=ROWS * pitch, scores=ROWS * pitch, grad_k=BACKWARD_KEYS * features, grad_v=BACKWARD_KEYS * values,
    )  # fmt: skip
    work = rows * keys * 2 * (features + values)
    writes = ("grad_k", "grad_v") * ("keys" in wants) + ("grad_q",) * ("queries" in wants)
    return plan.call(backward_kernel(plan.structure), prod(extents.batch) * query_tiles * key_tiles, work, writes)


def _block(count: int, step: int, tiles: int) -> int:
    """How many of ``count`` a tile has, in whole steps, if there are to be so many tiles."""
    return step * -(-count // (step * tiles))


class _Plan:
    """The parameters of a call, by name."""

    def __init__(self, extents: Extents, operands: dict[str, Operand], is_causal: bool, scale: float, target: Target) -> None:
        mask = operands.get("mask")
        kind = None if mask is None else Mask(mask.dtype, mask.strides[-1] == 1)
        batch, axes = len(extents.batch), _axes(extents.batch, operands)
        dtype = operands["q"].dtype
        out = operands["out"].dtype if "out" in operands else dtype
        self.structure = Structure(target, dtype, max(1, len(axes)), is_causal, kind, out)
        tile = self.structure.tile
        self.pitches = tuple(map(self.structure.pitch, (extents.features, extents.values)))
        self.scratch = 0
        self.values = {
            "scale": struct.unpack("q", struct.pack("d", scale))[0],
            "queries": extents.queries, "keys": extents.keys, "features": extents.features, "values": extents.values,
            "features.pitch": self.pitches[0], "features.panel": round_up(extents.features, tile.width) * tile.lanes,
            "values.pitch": self.pitches[1], "values.panel": round_up(extents.values, tile.width) * tile.lanes,
        }  # fmt: skip
        for number, (extent, moves) in enumerate(axes or [(1, (0,) * len(operands))]):
            self.values[f"batch{number}.extent"] = extent
            for name, stride in zip(operands, moves, strict=True):
                self.values[f"batch{number}.{name}"] = stride
        for name, operand in operands.items():
            self.values[f"{name}.slot"] = 0
            self.values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
            self.values[f"{name}.row"] = operand.strides[batch]
        if mask is not None:
            self.values["mask.key"] = mask.strides[-1]
        self.values["plane"] = prod(extents.batch) * extents.queries

    def reserve(self, **counts: int) -> None:
        """Scratch memory for so many numbers of the compute dtype each, and a vector more."""
        tile = self.structure.tile
        for name, count in counts.items():
            self.values[f"scratch.{name}"] = self.scratch
            self.scratch += round_up((count + tile.width) * tile.bytes, 64)

    def call(self, code: Code, tiles: int, work: int, writes: tuple[str, ...]) -> Call:
        buffers = [(place, name.removesuffix(".slot")) for place, name in enumerate(code.parameters) if name.endswith(".slot")]
        params = [self.values[name] for name in code.parameters]
        return Call(code.name, code.source, params, buffers, tiles, max(1, _WORK // work), self.scratch, writes)


def _axes(batch: tuple[int, ...], operands: dict[str, Operand]) -> list[tuple[int, tuple[int, ...]]]:
    """The axes of the batch that are longer than 1, with each operand's stride; neighbours along which all move alike are one."""
    found: list[tuple[int, tuple[int, ...]]] = []
    for axis, size in enumerate(batch):
        moves = tuple(operand.strides[axis] for operand in operands.values())
        if size == 1:
            continue
        if found and found[-1][1] == tuple(size * move for move in moves):
            found[-1] = (found[-1][0] * size, moves)
        else:
            found.append((size, moves))
    return found
