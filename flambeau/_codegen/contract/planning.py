"""From a contraction to calls of kernels: structures, parameters, tiles, scratch memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from flambeau._codegen.contract.arithmetic import Tile, register_tile
from flambeau._codegen.contract.blocking import Blocking, SideChoice, best_blocking, own_box
from flambeau._codegen.contract.kernel import Code, PackStructure, Structure, contraction, packing
from flambeau._codegen.contract.micro import split_rows
from flambeau._codegen.contract.normal import Axis, Column, merged, normalise
from flambeau._codegen.contract.packing import Side
from flambeau._codegen.contract.stage import Contract
from flambeau._runtime.targets import Target

_GRAIN = 20_000
"""Cycles of work that a thread should claim at once, at least."""


@dataclass(slots=True)
class ContractCall:
    """One kernel call.  ``params`` lack their buffers: for each ``(position, buffer)`` of ``buffers`` the caller stores the
    buffer's table slot at ``position`` and adds the byte offset of its first element at ``position + 1``."""

    kernel: str
    source: str
    params: list[int]
    buffers: list[tuple[int, str]]
    tiles: int
    grain: int
    scratch_bytes: int


@dataclass(slots=True)
class ContractPlan:
    """Calls to run in order.  Buffers are ``a``, ``b``, ``out``, ``read0``, …, and ``t0``, … for ``temporaries`` of so many bytes."""

    calls: list[ContractCall]
    temporaries: list[int]


def plan(contract: Contract, target: Target) -> ContractPlan:
    """The kernel calls that compute a contraction on ``target``: none if the output is empty."""
    normal = normalise(contract)
    if normal is None:
        return ContractPlan([], [])
    tile = register_tile(contract.a.dtype, target)
    return _Planner(contract, best_blocking(normal, tile, target), tile, target).plan()


class _Planner:
    def __init__(self, contract: Contract, blocking: Blocking, tile: Tile, target: Target) -> None:
        self.contract, self.blocking, self.normal, self.tile, self.target = contract, blocking, blocking.normal, tile, target
        self.m, self.n, self.k = (prod(axis[0] for axis in group) for group in (self.normal.m, self.normal.n, self.normal.k))
        self.batch = prod(axis[0] for axis in self.normal.batch)
        # The last tile has fewer rows, but may need more panels.
        whole, rest = divmod(self.m, blocking.m_block)
        self.tile_panels = len(split_rows(blocking.m_block, tile.variants))
        self.most_panels = max(self.tile_panels, len(split_rows(rest, tile.variants)))
        self.all_panels = whole * self.tile_panels + len(split_rows(rest, tile.variants))
        self.box = self.normal.k[blocking.split :]
        self.inner = prod(axis[0] for axis in self.box[1:])
        self.steps = blocking.chunk * self.inner
        self.values: dict[str, int] = {}
        self.scratch = 0
        self.calls: list[ContractCall] = []
        self.temporaries: list[int] = []
        self.buffers: dict[str, str] = {}

    def plan(self) -> ContractPlan:
        normal, blocking, tile, values = self.normal, self.blocking, self.tile, self.values
        outer = normal.k[: blocking.split]
        for name, axes in (("batch", normal.batch), ("m", normal.m), ("n", normal.n), ("outer", outer), ("split", self.box[:1])):
            for position, axis in enumerate(axes):
                prefix = name if name == "split" else f"{name}{position}"
                for what, number in zip(normal.names, axis, strict=True):
                    values[f"{prefix}.{what}"] = number
        m_tiles, n_tiles = -(-self.m // blocking.m_block), -(-self.n // blocking.n_block)
        values |= {
            "m.extent": self.m, "n.extent": self.n, "m.tiles": m_tiles, "n.tiles": n_tiles, "m.block": blocking.m_block, "n.block": blocking.n_block,
            "m.panels": self.tile_panels, "n.panels": blocking.n_block // tile.lanes, "split.chunk": blocking.chunk, "inner": self.inner,
        }  # fmt: skip
        for name, operand in (("out", self.contract.out), *[(f"read{i}", read) for i, read in enumerate(self.contract.reads)]):
            values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
            self.buffers[name] = name
            if name != "out":
                values[f"scratch.{name}.m"] = self._reserve(8 * (blocking.m_block + tile.width))
                values[f"scratch.{name}.n"] = self._reserve(8 * (blocking.n_block + tile.width))
        values["scratch.out.m"] = self._reserve(8 * (blocking.m_block + tile.width))
        values["scratch.out.n"] = self._reserve(8 * (blocking.n_block + tile.width))
        self._sums()
        sides = [self._side(column, choice, left) for column, choice, left in ((normal.a, blocking.a, True), (normal.b, blocking.b, False))]

        out = normal.out.index
        rows = merged([(axis[0], axis[out]) for axis in normal.m])
        neighbours = normal.n[-1][out]
        in_place = neighbours == 1 and len(rows) == 1 and self.contract.out.dtype is tile.compute and not self.contract.epilogue and tile.parts == 1
        values["out.row"] = rows[-1][1]
        structure = Structure(
            self.target, len(normal.batch), len(normal.m), len(normal.n), len(outer), *sides, self.contract.out.dtype, neighbours if neighbours in (1, 2) else 0, in_place,
            tuple((read.dtype, self._kind(read)) for read in normal.reads), self.contract.epilogue,
        )  # fmt: skip
        self._call(contraction(structure), values, self.buffers, self.batch * m_tiles * n_tiles, blocking.tile_cycles, self.scratch)
        return ContractPlan(self.calls, self.temporaries)

    def _reserve(self, size: int) -> int:
        start = self.scratch
        self.scratch += -(-size // 64) * 64
        return start

    def _call(self, code: Code, values: dict[str, int], buffers: dict[str, str], tiles: int, cycles: float, scratch: int) -> None:
        slots = [(position, buffers[name[:-5]]) for position, name in enumerate(code.parameters) if name.endswith(".slot")]
        params = [values.get(name, 0) if name.endswith((".slot", ".bytes")) else values[name] for name in code.parameters]
        self.calls.append(ContractCall(code.name, code.source, params, slots, tiles, max(1, round(_GRAIN / cycles)), scratch))

    def _kind(self, read: Column) -> str:
        if not any(axis[read.index] for axis in self.normal.n):
            return "rows"
        return "both" if any(axis[read.index] for axis in self.normal.m) else "columns"

    def _sums(self) -> None:
        """Sums between blocks of k: none are kept if there is one block, so that one register tile's place serves all."""
        row = self.tile.pitch
        several = self.steps < self.k
        self.values["sums.row"] = row if several else 0
        self.values["sums.panel"] = row * self.blocking.m_block if several else 0
        panels = self.blocking.n_block // self.tile.lanes
        self.values["scratch.sums"] = self._reserve(row * self.tile.bytes * (self.blocking.m_block * panels if several else self.tile.rows))

    def _side(self, column: Column, choice: SideChoice, left: bool) -> Side:
        """Set the parameters of an operand, adding a call that packs it if so chosen."""
        name, tile, values = "a" if left else "b", self.tile, self.values
        operand = column.operand
        original = "b" if left == self.normal.is_swapped else "a"
        if choice.where == "call":
            return self._packed_before(name, original, column, choice, left)
        self.buffers[name] = original
        values[f"{name}.bytes"] = operand.offset * operand.dtype.itemsize
        k_stride, parts = self.box[-1][column.index], tile.parts
        if choice.where == "place":
            if left:
                row = self.normal.m[-1][column.index] * parts
                values |= {"a.row": row, "a.panel": 0, "a.rs": row, "a.ks": k_stride * parts}
            else:
                values |= {"b.panel": tile.lanes, "b.ks": k_stride}
            return Side(name, operand.dtype, "place")
        side = self._packing_side(name, column, choice.mode, self.normal.m if left else self.normal.n, self.box, self.blocking.chunk, values)
        block = self.blocking.m_block if left else self.blocking.n_block
        values[f"{name}.capacity"] = capacity = block + tile.width
        values[f"scratch.{name}.lanes"] = self._reserve(8 * capacity * (1 + side.bounds))
        self._layout(side, self.steps, values)
        size = (values["a.packed_row"] * block if side.keeps_rows else values["a.panel"] * self.most_panels) if left else values["b.panel"] * (block // tile.lanes)
        values[f"scratch.{name}.panels"] = self._reserve(size * tile.bytes * (tile.parts if side.keeps_rows else 1) + 64)
        return side

    def _layout(self, side: Side, steps: int, values: dict[str, int]) -> None:
        """How the micro-kernel steps through an operand that was packed for ``steps`` steps of k, in numbers."""
        tile = self.tile
        if not side.is_left:
            values |= {"b.panel": steps * tile.pitch, "b.ks": tile.pitch}
        elif side.keeps_rows:
            # An odd number of cache lines, so that the rows of a panel do not evict each other.
            line = 64 // (tile.bytes * tile.parts)
            row = (-(-steps // line) | 1) * line
            values |= {"a.packed_row": row, "a.row": row * tile.parts, "a.panel": 0, "a.rs": row * tile.parts, "a.ks": tile.parts}
        else:
            values |= {"a.row": 0, "a.panel": steps * tile.rows * tile.parts, "a.rs": tile.parts, "a.ks": tile.rows * tile.parts}

    def _packing_side(self, name: str, column: Column, mode: str, lanes: list[Axis], k: list[Axis], chunk: int, values: dict[str, int]) -> Side:
        """The parameters by which an operand is packed over a box of k."""
        box, scale = own_box(k, [column.index, *column.bounds])
        values[f"{name}.box0.scale"] = scale
        values[f"{name}.box0.steps"] = prod(axis[0] for axis in box[1:])
        free = 0
        if mode == "lanes":
            extents = [chunk * scale, *[axis[0] for axis in box[1:]]]
            candidates = [position for position, axis in enumerate(box) if not any(axis[2:])]
            if not candidates:
                box, extents, candidates = [*box, (1,) * 2 + (0,) * len(column.bounds)], [*extents, 1], [len(box)]
            free = max(candidates, key=lambda position: extents[position])
        for position, axis in enumerate(box):
            values[f"{name}.box{position}.extent"] = axis[0]
            values[f"{name}.box{position}.stride"] = axis[1]
            for bound, coefficient in enumerate(axis[2:]):
                values[f"{name}.box{position}.bound{bound}"] = coefficient
        for bound, each in enumerate(column.operand.bounds):
            values[f"{name}.bound{bound}.start"] = each.start
            values[f"{name}.bound{bound}.extent"] = each.extent
        neighbours = {"lanes": lanes[-1][column.index], "steps": box[-1][1], "gather": 1}
        return Side(name, column.dtype, mode, len(column.bounds), len(box), free, neighbours[mode])

    def _packed_before(self, name: str, original: str, column: Column, choice: SideChoice, left: bool) -> Side:
        """Add the call that packs a whole operand, and let the contraction read its temporary."""
        tile, values, normal = self.tile, self.values, self.normal
        own: dict[str, int] = {}
        columns = [column.index, *column.bounds]
        k = merged([(axis[0], *[axis[i] for i in columns]) for axis in normal.k])
        lanes = merged([(axis[0], *[axis[i] for i in columns]) for axis in (normal.m if left else normal.n)])
        batch = [axis for axis in normal.batch if any(axis[i] for i in columns)]
        side = self._packing_side(name, Column(column.operand, 1, tuple(range(2, len(columns) + 1))), choice.mode, lanes, k, k[0][0], own)
        self._layout(side, self.k, values)
        if "a.packed_row" in values:
            own["a.packed_row"] = values["a.packed_row"]

        # What the contraction steps by, in elements: along k, and from one batch to the next.
        step = 1 if side.keeps_rows else tile.rows if left else tile.lanes
        lane_count = self.m if left else self.n
        if side.keeps_rows:
            panels, each, size = -(-lane_count // tile.lanes), tile.lanes * values["a.packed_row"] * tile.parts, lane_count * values["a.packed_row"] * tile.parts
        else:
            panels = self.all_panels if left else -(-lane_count // tile.lanes)
            each = values[f"{name}.panel"]
            size = panels * each
        linear = step
        for position in reversed(range(len(normal.k))):
            if position < self.blocking.split:
                values[f"outer{position}.{name}"] = linear
            elif position == self.blocking.split:
                values[f"split.{name}"] = linear
            linear *= normal.k[position][0]
        distance = size // tile.parts
        packed_at: dict[int, int] = {}
        for position in reversed(range(len(normal.batch))):
            axis = normal.batch[position]
            if axis in batch:
                packed_at[position] = distance
                distance *= axis[0]
            values[f"batch{position}.{name}"] = packed_at.get(position, 0)

        kept = [position for position, axis in enumerate(normal.batch) if axis in batch] or [0]
        for number, position in enumerate(kept):
            axis = normal.batch[position]
            own[f"batch{number}.extent"] = axis[0] if batch else 1
            own[f"batch{number}.{name}"] = axis[column.index] if batch else 0
            own[f"batch{number}.packed"] = packed_at.get(position, 0) * tile.parts
            for bound, index in enumerate(column.bounds):
                own[f"batch{number}.{name}.bound{bound}"] = axis[index] if batch else 0
        for number, axis in enumerate(lanes):
            own[f"lanes{number}.extent"] = axis[0]
            own[f"lanes{number}.{name}"] = axis[1]
            for bound, coefficient in enumerate(axis[2:]):
                own[f"lanes{number}.{name}.bound{bound}"] = coefficient
        inner = self.k // k[0][0]
        copies = prod(axis[0] for axis in batch)
        # Enough tiles for many threads, of at least some hundred steps of k.
        chunks = max(1, min(-(-64 // (panels * copies)), self.k // 512, k[0][0]))
        chunk = -(-k[0][0] // chunks)
        chunks = -(-k[0][0] // chunk)
        own |= {
            "split.extent": k[0][0], "split.chunk": chunk, "split.chunks": chunks, "split.stride": k[0][1], "split.packed": inner * step * tile.parts,
            "panels": panels, "panel": each, "lanes.extent": lane_count, "m.panels": self.tile_panels, "m.tiles": -(-self.m // self.blocking.m_block), "m.block": self.blocking.m_block,
            f"{name}.capacity": max(tile.lanes, tile.rows) + tile.width, f"{name}.bytes": column.operand.offset * column.operand.dtype.itemsize,
        }  # fmt: skip
        own |= {f"split.bound{bound}": coefficient for bound, coefficient in enumerate(k[0][2:])}
        temporary = f"t{len(self.temporaries)}"
        self.temporaries.append(distance * tile.parts * tile.bytes)
        scratch = 8 * own[f"{name}.capacity"] * (1 + side.bounds)
        tiles = copies * panels * chunks
        cycles = choice.elements * choice.cost / tiles
        code = packing(PackStructure(self.target, len(kept), len(lanes), side))
        self._call(code, own, {name: original, "packed": temporary}, tiles, cycles, scratch)
        self.buffers[name] = temporary
        values[f"{name}.bytes"] = 0
        return Side(name, tile.compute, "panels")
