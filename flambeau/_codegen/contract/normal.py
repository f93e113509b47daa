"""The normal form of a contraction: axes as rows of numbers, merged and sorted as far as possible.

An *axis* is a tuple ``(extent, stride, …)`` whose further entries say what one step along it adds to each affine function
of the contraction: the output's offset, the operands', the further writes' and reads', and each bound's coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from flambeau._codegen.contract.chains import TERMS, cut
from flambeau._codegen.contract.stage import Bound, Contract, Operand
from flambeau._types.dtype import dtype

Axis = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """An operand and where axes keep what is its own: its stride, and the coefficients of its bounds."""

    operand: Operand
    index: int
    bounds: tuple[int, ...]

    @property
    def dtype(self) -> dtype:
        return self.operand.dtype


@dataclass(slots=True)
class Normal:
    """A contraction with at least one axis in each group; ``names`` says what each column of an axis is.

    A chain of its sums is ``chain`` places along the axis ``k[split]``, and all of the axes of k that follow.
    """

    names: list[str]
    out: Column
    a: Column
    b: Column
    others: list[Column]
    batch: list[Axis]
    m: list[Axis]
    n: list[Axis]
    k: list[Axis]
    split: int
    chain: int
    is_swapped: bool = False
    bundle: str = ""

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """The numbers of batches, rows, columns and steps."""
        batch, m, n, k = (prod(axis[0] for axis in group) for group in (self.batch, self.m, self.n, self.k))
        return batch, m, n, k

    def swapped(self) -> Normal:
        """The same contraction with the operands' roles exchanged."""
        exchange = {"a": "b", "b": "a"}
        names = [exchange.get(name[0], name[0]) + name[1:] if name[:2] in ("a", "b", "a.", "b.") else name for name in self.names]
        bundle = exchange.get(self.bundle, self.bundle)
        return replace(self, names=names, a=self.b, b=self.a, m=self.n, n=self.m, is_swapped=not self.is_swapped, bundle=bundle)


def normalise(contract: Contract, terms: int = TERMS) -> Normal | None:
    """The normal form with chains of about so many terms, or None if the output has no elements."""
    if 0 in contract.batch or 0 in contract.m or 0 in contract.n:
        return None
    b, m, n, k = len(contract.batch), len(contract.m), len(contract.n), len(contract.k)
    left, right, k_extents = contract.a, contract.b, contract.k
    if 0 in k_extents:
        # An empty sum: one step of k that neither operand has.
        k_extents = (1,) * k
        left = replace(left, bounds=(Bound((0,) * (b + m + k), 0, 0),))
        right = replace(right, bounds=(Bound((0,) * (b + k + n), 0, 0),))
    else:
        left = _with_needed_bounds(left, contract.batch + contract.m + k_extents)
        right = _with_needed_bounds(right, contract.batch + k_extents + contract.n)
    out, others = contract.out.strides, {name: each for name, each in contract.results_and_reads.items() if name != "out"}
    zeros = (0,) * len(others)
    functions_a = [left.strides, *[bound.coefficients for bound in left.bounds]]
    functions_b = [right.strides, *[bound.coefficients for bound in right.bounds]]

    def axis(extent: int, in_out: int | None, in_a: int | None, in_b: int | None) -> Axis:
        of_a = [f[in_a] for f in functions_a] if in_a is not None else [0] * len(functions_a)
        of_b = [f[in_b] for f in functions_b] if in_b is not None else [0] * len(functions_b)
        of_out = (out[in_out], *[other.strides[in_out] for other in others.values()]) if in_out is not None else (0, *zeros)
        return (extent, of_out[0], of_a[0], of_b[0], *of_out[1:], *of_a[1:], *of_b[1:])

    batch_axes = [axis(extent, i, i, i) for i, extent in enumerate(contract.batch) if extent != 1]
    m_axes = [axis(extent, b + i, b + i, None) for i, extent in enumerate(contract.m) if extent != 1]
    n_axes = [axis(extent, b + m + i, None, b + k + i) for i, extent in enumerate(contract.n) if extent != 1]
    k_axes = [axis(extent, None, b + m + i, b + i) for i, extent in enumerate(k_extents) if extent != 1]

    names = ["extent", "out", "a", "b", *others]
    base = len(names)
    middle = base + len(left.bounds)
    names += [f"a.bound{i}" for i in range(len(left.bounds))] + [f"b.bound{i}" for i in range(len(right.bounds))]
    column_a = Column(left, 2, tuple(range(base, middle)))
    column_b = Column(right, 3, tuple(range(middle, len(names))))

    # A batch axis that only one operand has is one more axis of its rows or columns.
    for each in list(batch_axes):
        for column, group in ((column_b, m_axes), (column_a, n_axes)):
            if not any(each[i] for i in (column.index, *column.bounds)):
                batch_axes.remove(each)
                group.insert(0, each)
                break
    for group in (m_axes, n_axes):
        group.sort(key=lambda each: -abs(each[1]))
    unit = (1, 1, 1, 1) + (0,) * (len(names) - 4)
    split, chain = cut(tuple(axis[0] for axis in k_axes), terms)
    k_axes, split, chain = _merged_chains(k_axes or [unit], split, chain)
    batch_axes, m_axes, n_axes = (merged(group) or [unit] for group in (batch_axes, m_axes, n_axes))
    columns = [Column(other, 4 + i, ()) for i, other in enumerate(others.values())]
    return Normal(
        names, Column(contract.out, 1, ()), column_a, column_b, columns, batch_axes, m_axes, n_axes, k_axes, split, chain,
        bundle=contract.bundle,
    )  # fmt: skip


def projected(axes: list[Axis], columns: list[int]) -> list[Axis]:
    """Axes with their extents and some columns only."""
    return [(axis[0], *[axis[column] for column in columns]) for axis in axes]


def merged(axes: list[Axis]) -> list[Axis]:
    """Neighbouring axes made one wherever every function allows it."""
    result: list[Axis] = []
    for axis in axes:
        if result:
            outer, extent = result[-1], axis[0]
            if all(far == near * extent for far, near in zip(outer[1:], axis[1:])):
                result[-1] = (outer[0] * extent, *axis[1:])
                continue
        result.append(axis)
    return result


def _merged_chains(k: list[Axis], split: int, chain: int) -> tuple[list[Axis], int, int]:
    """The axes of k merged as far as their chains remain boxes, the position of the one that is cut, and how many of its places."""
    outer, inner = merged(k[:split]), merged(k[split:])
    chain *= inner[0][0] // k[split][0]
    axes = merged([*outer, *inner]) if inner[0][0] % chain == 0 else [*outer, *inner]
    return axes, len(axes) - len(inner), chain


def _with_needed_bounds(operand: Operand, extents: tuple[int, ...]) -> Operand:
    """The operand without the bounds that always hold."""
    if not operand.bounds:
        return operand
    needed = []
    for bound in operand.bounds:
        low = high = bound.start
        for coefficient, extent in zip(bound.coefficients, extents, strict=True):
            if coefficient > 0:
                high += coefficient * (extent - 1)
            else:
                low += coefficient * (extent - 1)
        if low < 0 or high >= bound.extent:
            needed.append(bound)
    return operand if len(needed) == len(operand.bounds) else replace(operand, bounds=tuple(needed))
