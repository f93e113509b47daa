"""Choosing blocks for matrix registers: which operand has the rows, who packs, and how large a tile is; see ``blocking``."""

from __future__ import annotations

from math import prod

from flambeau._codegen.contract.amx import LANES
from flambeau._codegen.contract.arithmetic import Tile
from flambeau._codegen.contract.blocking import Blocking, describe_side
from flambeau._codegen.contract.normal import Axis, Column, Normal, merged, projected
from flambeau._runtime import targets
from flambeau._runtime.targets import Target

_STEP = (1.3, 2.2)
"""Cycles of one step of k of a register tile of 16 and of 32 rows."""
_SUMS = (150, 400)
"""Cycles to load and store a tile's sums, from the second-level cache and from a farther one."""
_ORDER, _TRANSPOSE, _FETCH = 0.35, 0.1, 0.06
"""Cycles to read and order a number, to transpose it besides, and to fetch one that is packed from a farther cache."""
_KEEP = (0.3, 0.6)
"""Cycles to write a packed number so that another tile may read it: if all fit the second-level cache, and if not."""
_FINISH = (1.0, 4.0)
"""Cycles to round and store a result whose neighbours are columns, and any other."""
_CALL = 9000.0
"""Cycles of one more call of a kernel with its barrier."""


def best_matrix_blocking(normal: Normal, tile: Tile, target: Target) -> Blocking:
    """The cheaper orientation."""
    return min((_blocking(each, tile, target) for each in (normal, normal.swapped())), key=lambda each: each.cycles)


def is_direct(normal: Normal, column: Column, lanes: list[Axis], mode: str) -> bool:
    """Whether panels are ordered from where the operand lies: no bounds, and one axis of lanes and one of terms."""
    box = merged(projected(normal.k[normal.split :], [column.index]))
    axes = merged(projected(lanes, [column.index]))
    near = {"lanes": axes[-1][1], "steps": box[-1][1]}.get(mode)
    return near == len(box) == len(axes) == 1 and not column.bounds


def _blocking(normal: Normal, tile: Tile, target: Target) -> Blocking:
    batch, m, n, k = normal.extents
    steps = normal.chain * prod(axis[0] for axis in normal.k[normal.split + 1 :])
    blocks, threads = -(-k // steps), targets.available_cores()
    sides = [describe_side(normal, column, lanes, normal.chain, tile, left=True) for column, lanes in _operands(normal)]
    prices = []
    for side, (column, lanes), near in zip(sides, _operands(normal), ("steps", "lanes"), strict=True):
        copy = 0.0 if is_direct(normal, column, lanes, side.mode) else side.cost
        prices.append(_ORDER + copy + (_TRANSPOSE if side.mode != near else 0.0))
    finish = _FINISH[normal.n[-1][normal.out.index] not in (1, 2)]
    cheapest: tuple[float, int, int, float, list[str]] | None = None
    for m_block in _sizes(m):
        for n_block in _sizes(n):
            if max(m_block, n_block) > LANES and 2 * (m_block + n_block) * steps > target.l2_bytes * 3 // 4:
                continue
            repeats = -(-n // n_block), -(-m // m_block)
            tiles = batch * repeats[0] * repeats[1]
            whole, rest = divmod(min(m, m_block), LANES)
            of_rows = whole * _STEP[1] + (_STEP[rest > LANES // 2] if rest else 0.0)
            panels = -(-min(n, n_block) // LANES)
            sums = 0 if blocks == 1 else _SUMS[4 * m_block * n_block > target.l2_bytes // 2]
            cycles = 400 + panels * (of_rows * k + (whole + 1) * (blocks * sums + 60)) + finish * min(m, m_block) * min(n, n_block)
            before, wheres = 0.0, []
            for side, price, lanes, times in zip(sides, prices, (m_block, n_block), repeats, strict=True):
                once = _CALL * threads + side.elements * (price + _KEEP[2 * side.elements >= target.l2_bytes])
                if times > 1 and once < times * side.elements * (price - _FETCH):
                    wheres.append("call")
                    before += once
                    cycles += lanes * k * _FETCH
                else:
                    wheres.append("tile")
                    cycles += lanes * k * price
            total = before + cycles * (-(-tiles // threads) * threads + 0.2 * (threads - 1))
            if cheapest is None or total < cheapest[0]:
                cheapest = total, m_block, n_block, cycles, wheres
    assert cheapest is not None
    total, m_block, n_block, cycles, wheres = cheapest
    for side, where in zip(sides, wheres, strict=True):
        side.where = where
    return Blocking(normal, normal.chain, sides[0], sides[1], m_block, n_block, total, cycles)


def _operands(normal: Normal) -> list[tuple[Column, list[Axis]]]:
    return [(normal.a, normal.m), (normal.b, normal.n)]


def _sizes(lanes: int) -> set[int]:
    """Blocks of whole panels, in equal shares."""
    panels = -(-lanes // LANES)
    return {LANES * -(-panels // -(-panels // count)) for count in (1, 2, 4, 8, 16, 32, 64)}
