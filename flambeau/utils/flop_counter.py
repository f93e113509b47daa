"""How many arithmetic operations the products of a program take."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any

from flambeau._compiler.explain import ProgramReport, operations, watched
from flambeau._ops import meta
from flambeau.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

__all__ = ["FlopCounterMode"]

PRODUCTS = ("attention", "contract", "recur")
"""How the names of operators begin that are made of products."""


class FlopCounterMode:
    """Counts, within a context, the operations of the kernels of matrix products, convolutions, attention and recurrent layers, as they are
    really run: a multiply-add is two, and what is fused into such a kernel (a bias, an activation) counts, too. On the meta device, where no
    kernels run, it counts those of each product by itself.

    Args:
        mods, depth, custom_mapping: for PyTorch's sake: kernels do not know of modules
        display: print the table at the end

    Example:
        >>> import flambeau
        >>> from flambeau.utils.flop_counter import FlopCounterMode
        >>> with FlopCounterMode(display=False) as counter:
        ...     _ = flambeau.ones(4, 5) @ flambeau.ones(5, 6)
        >>> counter.get_total_flops()
        240
    """

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: Any = None) -> None:
        self.display = display
        self.flop_counts: Counter[str] = Counter()
        self._watching = ExitStack()

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self._flush = self._watching.enter_context(watched(self._add))
        self._kept: list[Any] = []
        self._depth = 0
        self._known: dict[Any, list[tuple[str, int]]] = {}
        meta.OBSERVERS.append(self._add_call)
        self._watching.callback(meta.OBSERVERS.remove, self._add_call)
        for handle in (register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._end, always_call=True)):
            self._watching.enter_context(handle)
        return self

    def _begin(self, module: Any, args: Any) -> None:
        self._depth += 1

    def _end(self, module: Any, args: Any, output: Any) -> None:
        """Keep what a module returns to the program, which may not: a result that nobody can reach is not computed."""
        self._depth -= 1
        if not self._depth:
            self._kept.append(output)

    def __exit__(self, *exc: object) -> None:
        with self._watching:
            self._flush()
        self._kept.clear()
        if self.display:
            print(self.get_table())

    def _add(self, program: ProgramReport) -> None:
        for kernel in program.kernels:
            if products := [operator for operator in kernel.operators if operator.startswith(PRODUCTS)]:
                self.flop_counts[", ".join(products)] += kernel.flops

    def _add_call(self, call: Any) -> None:
        """Count a call on the meta device."""
        known = self._known.get(call)
        if known is None:
            known = self._known[call] = [(name, flops) for name, flops in operations(call) if name.startswith(PRODUCTS)]
        for name, flops in known:
            self.flop_counts[name] += flops

    def get_total_flops(self) -> int:
        """All of them."""
        return self.flop_counts.total()

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """The operations of each product, by its sizes."""
        return {"Global": dict(self.flop_counts)}

    def get_table(self, depth: int | None = None) -> str:
        """The operations of each product, the largest first, as text."""
        rows = [("Global", self.get_total_flops()), *self.flop_counts.most_common()]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {flops:>15,}" for name, flops in rows)
