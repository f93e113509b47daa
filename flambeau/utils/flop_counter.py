"""How many arithmetic operations the products of a program take, module by module."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flambeau import ops
from flambeau._compiler.explain import operations
from flambeau._ops import meta
from flambeau._tape.tape import LOCAL, Tape
from flambeau.nn import Module
from flambeau.utils.module_tracker import ModuleTracker

__all__ = ["FlopCounterMode"]

_PRODUCTS = ("attention", "contract")
"""How the names of operations begin that are made of products."""
_UNITS = ("", "K", "M", "B", "T")


class FlopCounterMode:
    """Counts, within a context, the operations of matrix products, convolutions, attention and recurrent layers, forward and backward, on the
    CPU and on the meta device. A multiply-add is two. What a call takes is counted when it is made, whether anybody wants its result
    or not.

    Counts are those of PyTorch's formulas, but for the gradient by the weights of a convolution in groups, which PyTorch counts as if there
    were no groups, and for products by vectors, attention and recurrent layers, which it does not count on the CPU.
    (https://docs.pytorch.org/docs/stable/torch.utils.html)

    Args:
        mods: for PyTorch's sake: all modules that are called are told apart
        depth: how many levels of modules the table shows
        display: print the table at the end
        custom_mapping: must be ``None``

    Raises:
        NotImplementedError: there is a custom mapping: formulas are those of the operators that are recorded, not of PyTorch's

    Example:
        >>> import flambeau
        >>> from flambeau.utils.flop_counter import FlopCounterMode
        >>> layer = flambeau.nn.Linear(5, 6)
        >>> with FlopCounterMode(display=False) as counter:
        ...     layer(flambeau.ones(4, 5)).sum().backward()
        >>> counter.get_total_flops(), counter.get_flop_counts()["Linear"]
        (480, {<OpOverloadPacket(op='aten.addmm')>: 240, <OpOverloadPacket(op='aten.mm')>: 240})
    """

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: Any = None) -> None:
        if custom_mapping is not None:
            raise NotImplementedError("custom_mapping: what Flambeau records are its own operators, which PyTorch's formulas do not fit")
        self.depth = depth
        self.display = display
        self.flop_counts: dict[str, dict[Any, int]] = {"Global": {}}
        self._watching = ExitStack()

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts = defaultdict(lambda: defaultdict(int), {"Global": defaultdict(int)})
        self._tape = LOCAL.tape.root
        self._seen = self._tape.cursor
        self._tracker = self._watching.enter_context(_Tracker(self._settle))
        self._watching.enter_context(_flushes(self._tape, self._flushed))
        self._watching.enter_context(_observer(self._add))
        return self

    def __exit__(self, *exc: object) -> None:
        self._settle()
        self._watching.close()
        if self.display:
            print(self.get_table())

    def _flushed(self) -> None:
        """Count what was recorded until now: the tape begins anew."""
        self._settle()
        self._seen = None

    def _settle(self) -> None:
        """Count what was recorded since the last time."""
        here = self._tape.cursor
        node = here
        while node is not None and node is not self._seen and node.parent is not None:
            self._add(node)
            node = node.parent
        self._seen = here

    def _add(self, record: Any) -> None:
        flops = _flops(record)
        if flops:
            name = _name(record, self._tracker.is_bw)
            for module in self._tracker.parents:
                self.flop_counts[module][name] += flops

    def get_total_flops(self) -> int:
        """All of them."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """The operations of each operator, by the names of the modules that it ran in (those inside of others count for both)."""
        return {module: dict(counts) for module, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The operations of modules and of their operators, and their share, as text."""
        depth = self.depth if depth is None else depth
        total = max(1, self.get_total_flops())
        rows = [("Module", "FLOP", "% Total")]
        for module in sorted(self.flop_counts, key=lambda name: (name != "Global", name)):
            if module.count(".") < depth:
                counts = self.flop_counts[module]
                for name, flops in ((module, sum(counts.values())), *((f" - {operator}", flops) for operator, flops in counts.items())):
                    indent = " " * module.count(".")
                    rows.append((indent + name, _short(flops), f"{flops / total:.2%}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, tuple(["-" * width for width in widths]))
        return "\n".join(f"{name:<{widths[0]}}  {flops:>{widths[1]}}  {share:>{widths[2]}}" for name, flops, share in rows)


class _Tracker(ModuleTracker):
    """Knows the modules that are running, and says before that changes."""

    def __init__(self, changes: Callable[[], None]) -> None:
        super().__init__()
        self._changes = changes

    def _begin(self, module: Module, args: Any) -> None:
        self._changes()
        super()._begin(module, args)

    def _end(self, module: Module, args: Any, output: Any) -> None:
        self._changes()
        super()._end(module, args, output)

    def _on_gradients(self, tensors: list[Any], step: Callable[[], None]) -> None:
        def change() -> None:
            self._changes()
            step()

        super()._on_gradients(tensors, change)


@contextmanager
def _flushes(tape: Tape, before: Callable[[], None]) -> Iterator[None]:
    """Call a function before the tape computes what it has recorded, and begins anew."""
    flush = Tape.flush

    def flush_and_tell(self: Tape) -> None:
        if self is tape:
            before()
        flush(self)

    Tape.flush = flush_and_tell
    try:
        yield
    finally:
        Tape.flush = flush


@contextmanager
def _observer(observe: Callable[[Any], None]) -> Iterator[None]:
    """Tell of calls on the meta device, which no tape records."""
    meta.OBSERVERS.append(observe)
    try:
        yield
    finally:
        meta.OBSERVERS.remove(observe)


def _flops(record: Any) -> int:
    """What one call takes."""
    if record.op.name.startswith("_recurrence"):
        rows, weight = (kind for _, kind in record.operands[:2])
        return 2 * rows.shape[0] * math.prod(weight.shape)
    if record.op.name.startswith("conv"):
        # Each position times the weights that it meets, also those that see padding alone, or that it cuts off.
        first, second = (kind for _, kind in record.operands[:2])
        weight = record.layouts[0] if record.op.name == "convolution_weight" else second
        positions = (record.layouts[0] if record.op.name == "convolution" else first).shape
        return 2 * positions[0] * math.prod(positions[2:]) * math.prod(weight.shape)
    return sum(flops for name, flops in operations(record) if name.startswith(_PRODUCTS))


def _name(record: Any, is_backward: bool) -> Any:
    """PyTorch's operator that a record is."""
    name = record.op.name
    if name == "bmm":
        name = "mm" if math.prod(record.layouts[0].shape[:-2]) == 1 else "bmm"
    elif name == "linear":
        name = "mm" if len(record.operands) < 3 else "addmm"
    elif name.startswith("conv"):
        name = "convolution_backward" if is_backward or name == "convolution_weight" else "convolution"
    elif name.startswith("_recurrence"):
        name = record.statics[0].lower()
    elif name == "_scaled_dot_product_attention_backward":
        name = "scaled_dot_product_attention"
    return getattr(ops.aten, name)


def _short(flops: int) -> str:
    """A count with three decimals and a unit: ``14.184K``."""
    unit = min(len(_UNITS) - 1, max(0, len(str(flops)) - 1) // 3)
    return f"{flops / 1000**unit:.3f}{_UNITS[unit]}" if unit else str(flops)
