"""What the functions of a contraction share: its parameters, and the frame that says where a thread is.

The walk over tiles and blocks, what gets an operand ready, and the sweep over register tiles are the same code in many kernels (``_runtime/parts.py``
compiles it once). So they know each other as addresses in the frame, and find parameters where every kernel has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau._codegen.ir import Builder, Module, Value

_OF_SIDES = (
    "panel", "row", "rows", "scale", "stride", "step", "tile", "keep", "kept", "keep.area", "keep.blocks", "keep.batch",
)  # fmt: skip
PARAMETERS = (
    # Extents and blocks; where tables of places are described (``places``), and how many operands there are.
    "m.extent", "m.tiles", "m.block", "m.panels", "n.extent", "n.tiles", "n.block", "inner", "outer.count", "split.extent", "split.chain",
    "split.chunk", "outer.blocks", "batch.places", "m.places", "n.places", "k.places", "steps.places", "slots", "operands",
    "moving", "bounds", "scratch.m", "scratch.n", "m.apart", "n.apart", "continues",
    # Register tiles: distances of what they read and write.
    "a.rs", "a.ks", "a.run", "a.first.row", "a.first.panel", "b.ks", "edge", "short", "short.micro", "out.row", "out.far", "out.place", "sums.row", "sums.panel",
    "chains.row", "chains.panel", "scratch.sums", "scratch.chains",
    "scratch.a.steps", "steps.apart", "scratch.a.band", "lists.places", "scratch.a.lists", "scratch.a.keys", "scratch.a.which",
    *[f"{name}.{what}" for name in "ab" for what in _OF_SIDES],
    *[f"scratch.{name}.{area}" for name in "ab" for area in ("lanes", "panels", "raw")],
)  # fmt: skip
"""The parameters that every contraction has, whether it needs them or not. Extents, blocks and numbers of tiles of rows, columns and k; ``NAME.places``
is where a table is described, ``slots`` where the operands are; of the operands what is packed, kept, and where; see ``planning``."""
_POSITIONS = {name: position for position, name in enumerate(PARAMETERS)}

_SLOTS = (
    "table", "params", "scratch", "operands", "offsets", "of_block", "a.shifts", "b.shifts", "a.section", "b.section",
    "fill", "lists", "ready.a", "ready.b", "pack.a", "pack.b", "sweep", "ask", "ending", "direct", "micro",
    "row_tile", "column_tile", "batch", "first_row", "rows", "columns", "block", "length", "steps", "starts", "ends", "adds", "finish",
    "a.source", "b.source", "a.offset", "copied", "known",
)  # fmt: skip
SIZE = len(_SLOTS)
"""Words of a frame: addresses of memory, of functions, and where a thread is: its tile and its block of k."""


class Frame:
    """Access to a frame and to the parameters from one of the functions; each is loaded where it is used."""

    def __init__(self, f: Builder, pointer: Value) -> None:
        self.f, self.pointer = f, pointer
        self._known: dict[str, Value] = {}

    def _slot(self, name: str) -> Value:
        return self.f.offset(self.pointer, _SLOTS.index(name), "i64")

    def address(self, name: str) -> Value:
        """The address in a slot."""
        return self.f.load(self._slot(name), "ptr")

    def number(self, name: str) -> Value:
        return self.f.load(self._slot(name), "i64")

    def flag(self, name: str) -> Value:
        return self.f.compare("ne", self.number(name), 0)

    def set(self, name: str, value: Value) -> None:
        if value.type == "i1":
            value = self.f.cast("zext", value, "i64")
        self.f.store(value, self._slot(name))

    def memory(self, name: str) -> Value:
        """The address in a slot that stays the same: loaded once, at the function's start."""
        if name not in self._known:
            place = self.f.at_entry(f"getelementptr i64, ptr {self.pointer.text}, i64 {_SLOTS.index(name)}", "ptr")
            self._known[name] = self.f.at_entry(f"load ptr, ptr {place.text}, align 8", "ptr")
        return self._known[name]

    def parameter(self, name: str) -> Value:
        return self.f.load(self.f.offset(self.memory("params"), _POSITIONS[name], "i64"), "i64")

    def scratch(self, name: str) -> Value:
        """The address of an area of scratch memory."""
        return self.f.offset(self.memory("scratch"), self.parameter(f"scratch.{name}"), "i8")

    def call(self, name: str, *arguments: Value) -> None:
        """Call the function whose address is in a slot."""
        self.f.call(self.address(name).text, *arguments)


def function(module: Module, name: str, labels: Sequence[tuple[str, str]] = ()) -> tuple[Builder, Frame]:
    """Begin a function that kernels share: it gets the frame, and what ``labels`` say."""
    f = module.function(name, [("ptr", "frame"), *labels], linkage="internal", attributes="noinline")
    return f, Frame(f, f.parameters[0])
