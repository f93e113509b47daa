"""Describes to a contraction's kernel where batches, rows, columns and blocks of k are in its operands; see ``places``."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau._codegen.contract.choice import Values
from flambeau._codegen.contract.existing import Listing
from flambeau._codegen.contract.kernel import Structure
from flambeau._codegen.contract.packing import Side
from flambeau._codegen.contract.places import MORE, described


class Tables:
    """Parameters behind the first ``begin`` ones; ``values`` says what each axis is worth, and gets where each table is described."""

    def __init__(self, structure: Structure, values: Values, begin: int) -> None:
        self.structure, self.values, self.begin, self.sides = structure, values, begin, (structure.a, structure.b)
        self.numbers: list[int] = []
        self.bounds = [f"{side.name}.bound{bound}" for side in self.sides for bound in range(side.bounds)]
        values["bounds"] = len(self.bounds)

    def _add(self, name: str, numbers: list[int]) -> None:
        self.values[name] = self.begin + len(self.numbers)
        self.numbers += numbers

    def _strides(self, axes: list[str], name: str, size: int = 1) -> list[int]:
        return [size * self.values[f"{axis}.{name}"] for axis in axes]

    def _extents(self, axes: list[str]) -> list[int]:
        return [self.values[f"{axis}.extent"] for axis in axes]

    def batches(self, count: int) -> None:
        """Bytes from the start of each operand, and coordinates of the bounds."""
        s, axes = self.structure, [f"batch{axis}" for axis in range(count)]
        sizes = {"a": s.a.border.dtype.itemsize if s.a.border else s.a.dtype.itemsize, "b": s.b.dtype.itemsize}
        sizes |= {name: of.itemsize for name, of in s.ending.dtypes.items()}
        columns = [(0, self._strides(axes, name, sizes[name])) for name in s.operands]
        columns += [(self.values[f"{bound}.start"], self._strides(axes, bound)) for bound in self.bounds]
        self._add("batch.places", described(0, 8 * MORE, self._extents(axes), columns))

    def lanes(self, group: str, count: int, side: Side) -> None:
        """Rows (``m``) or columns (``n``): numbers from the start of the output and of those beside it, and of an operand that a tile packs."""
        ending, axes, values = self.structure.ending, [f"{group}{axis}" for axis in range(count)], self.values
        names = ending.operands[: ending.moving]
        if side.is_packed_here or side.mode == "table":
            names += [side.name, *[bound for bound in self.bounds if bound.startswith(f"{side.name}.")]]
        starts = self.values if side.listed else {}
        columns = [(starts.get(f"{name}.start", 0), self._strides(axes, name)) for name in names]
        self._add(f"{group}.places", described(values[f"scratch.{group}"], values[f"{group}.apart"], self._extents(axes), columns))

    def blocks(self, count: int) -> None:
        """Blocks of k: bytes from the start of both operands, and coordinates of the bounds. Behind the outer axes are chains, and their blocks."""
        values, axes, columns = self.values, [f"outer{axis}" for axis in range(count)], []
        chain, block = values["split.chain"], values["split.chunk"]
        for name in ("a", "b", *self.bounds):
            side = self.sides["ab".index(name[0])]
            size = side.dtype.itemsize if name in "ab" else 1
            # Panels for matrix registers that a call before has packed follow each other.
            unit = block if side.is_paired and not side.is_packed_here else 1
            of_split = size * values[f"split.{name}"]
            columns.append((0, [*self._strides(axes, name, size), of_split * chain // unit, of_split * block // unit]))
        blocks = -(-chain // block)
        self._add("k.places", described(0, 8 * MORE, [*self._extents(axes), values["outer.blocks"] // blocks, blocks], columns))

    def steps(self, count: int) -> None:
        """Steps of a block of k in a left operand that is read through tables, and coordinates of the bounds by which they are listed."""
        axes = [f"steps{axis}" for axis in range(count)]
        columns = [(0, self._strides(axes, name)) for name in ("a", *[f"a.bound{bound}" for bound in range(self.sides[0].bounds)])]
        self._add("steps.places", described(self.values["scratch.a.steps"], self.values["steps.apart"], self._extents(axes), columns))

    def limits(self, listings: Sequence[Listing]) -> None:
        """What lists of steps depend on."""
        numbers = [number for each in listings for number in (each.extent, each.low, each.high)]
        self._add("lists.places", [len(listings), *numbers])


def describe_panels(side: Side, values: Values, axes: Sequence[str], lanes: int, begin: int) -> list[int]:
    """The parameters from position ``begin`` on that describe to a packing kernel where its chunks are, along ``axes`` and then the one that is cut, and its lanes."""
    name, chunk = side.name, values["split.chunk"]
    functions = [name, "packed", *[f"{name}.bound{bound}" for bound in range(side.bounds)]]
    columns = []
    for function in functions:
        size = side.dtype.itemsize if function == name else 1
        strides = [values.get(f"{axis}.{function}", 0) for axis in axes] + [values[f"split.{function}"] * chunk]
        columns.append((values.get(f"{function}.start", 0), [size * stride for stride in strides]))
    tiles = described(0, 8 * MORE, [*[values[f"{axis}.extent"] for axis in axes], values["split.chunks"]], columns)
    columns = [(0, [values[f"lanes{axis}.{function}"] for axis in range(lanes)]) for function in functions if function != "packed"]
    of_lanes = described(0, 8 * values[f"{name}.capacity"], [values[f"lanes{axis}.extent"] for axis in range(lanes)], columns)
    values |= {"tiles.places": begin, "lanes.places": begin + len(tiles)}
    return tiles + of_lanes
