"""``explain``: which kernels a function became, what was fused into each, and how near each comes to the machine's limits.

A program is data, so that nothing is instrumented: while a function is explained, the segments of each program that runs are cut into single
calls, and the clock is read between them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from math import log2, prod
from os import PathLike, fspath
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flambeau._codegen import serial
from flambeau._codegen.bundles import PRODUCTS
from flambeau._compiler import attention, limits
from flambeau._compiler.calls import KernelCall
from flambeau._compiler.cluster import ATTENTION, LEAVES
from flambeau._compiler.graph import build
from flambeau._compiler.limits import Limits
from flambeau._compiler.node import Node, base_of
from flambeau._compiler.plan import HostStep, Plan
from flambeau._compiler.program import CompiledProgram, HostCall, Run
from flambeau._compiler.reasons import reason
from flambeau._runtime import jit
from flambeau._runtime.interrupts import interrupts_held

__all__ = ["Explanation", "Kernel", "ProgramReport", "explain"]


@dataclass(frozen=True)
class Kernel:
    """One step of a program: a kernel call, or a call back into Python.

    Attributes:
        name: of the machine code, which follows from its IR; for a call back into Python the function's name
        operators: what was fused into it, in order: scalar operators, ``sum``, ``contract 64x32x16`` (m, n, k), ``pack``, …
        flops: arithmetic operations: ``2 * m * n * k`` for a contraction, one for each element and operator elsewhere
        bytes_read, bytes_written: memory that it has to touch, each byte counted once
        tiles: the independent parts that it has (0 for a call back into Python)
        chunks: how many pieces of several tiles are dealt out to threads
        seconds: how long it took, the call itself (a microsecond or two) included
        least_seconds: how long so many operations and bytes take at the machine's limits
        reason: why it took more than twice as long, if that is known
    """

    name: str
    operators: tuple[str, ...]
    flops: int
    bytes_read: int
    bytes_written: int
    tiles: int
    chunks: int
    seconds: float
    least_seconds: float
    reason: str = ""

    @property
    def share(self) -> float:
        """The share of the machine's limit: 1 is as fast as it can be; more if the bytes were in a cache."""
        return self.least_seconds / self.seconds

    @property
    def ir(self) -> str:
        """The kernel as LLVM IR.

        Raises:
            ValueError: it is a call back into Python.
        """
        return jit.ir(self._native_name())

    @property
    def assembly(self) -> str:
        """The kernel as this processor's assembly.

        Raises:
            ValueError: it is a call back into Python.
        """
        return jit.assembly(self._native_name())

    def _native_name(self) -> str:
        if not self.tiles:
            raise ValueError(f"{self.name!r} is a call back into Python: it has neither IR nor assembly")
        return self.name

    @property
    def summary(self) -> str:
        """The operators, each once: ``sub, mul ×2, sum``."""
        counts = Counter(self.operators)
        return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in counts.items())


@dataclass(frozen=True)
class ProgramReport:
    """One run of a program, the work of one flush.

    Attributes:
        operators: the operators that were recorded, in order
        kernels: what was run for them, in order
        results: how many values it left in memory
        result_bytes: their size
        arena_bytes: the memory of all values in between
        start: when it began, by ``time.perf_counter()``
    """

    operators: tuple[str, ...]
    kernels: tuple[Kernel, ...]
    results: int
    result_bytes: int
    arena_bytes: int
    start: float

    @property
    def seconds(self) -> float:
        """How long its kernels took."""
        return sum(kernel.seconds for kernel in self.kernels)


@dataclass(frozen=True)
class Explanation:
    """What ``explain`` found; ``str`` gives it as a table.

    Attributes:
        result: what the function returned
        programs: the programs that ran for it, in order
        limits: what this machine can do
        compiled, loaded: how many kernels were compiled, and how many came from the disk cache
        compile_seconds: how long that took
    """

    result: Any = field(repr=False)
    programs: tuple[ProgramReport, ...]
    limits: Limits
    compiled: int
    loaded: int
    compile_seconds: float

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of all programs, in order."""
        return tuple(kernel for program in self.programs for kernel in program.kernels)

    def __str__(self) -> str:
        return "\n".join(_text(self))

    def html(self, path: str | PathLike[str]) -> None:
        """Write a page with a bar for each kernel and its IR, which needs no other files."""
        Path(fspath(path)).write_text(_page(self), "utf-8")


def explain(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Explanation:
    r"""Call ``fn(*args, **kwargs)`` and say which kernels its operators became, and what each of them did and took.

    What was pending before is computed first, and what the function leaves pending is computed before ``explain`` returns. The
    first call of a function also warms up caches and memory; explain it a second time to see its steady state.

    Args:
        fn: the function; it runs once, with all its effects
        args, kwargs: its arguments

    Returns:
        An :class:`Explanation`, which prints as a table. ``kernels[i].ir`` and ``kernels[i].assembly`` show the code,
        ``html(path)`` writes a page, and ``result`` is what the function returned.

    Raises:
        Exception: what the function or one of its kernels raises.

    Example::

        >>> import flambeau
        >>> x = flambeau.ones(100, 100)
        >>> explanation = flambeau.explain(lambda: (2 * x + 1).exp().sum(dim=1))
        >>> [kernel.summary for kernel in explanation.kernels]
        ['mul, add, exp, sum']
        >>> explanation.kernels[0].bytes_read, explanation.kernels[0].bytes_written
        (40000, 400)
    """
    before = jit.statistics()
    programs: list[ProgramReport] = []
    with watched(programs.append) as flush:
        result = fn(*args, **kwargs)
        flush()
    after = jit.statistics()
    return Explanation(
        result,
        tuple(programs),
        limits.measure(),
        int(after["compiled"] - before["compiled"]),
        int(after["loaded"] - before["loaded"]),
        after["seconds"] - before["seconds"],
    )


# -- watching programs run ---------------------------------------------------------------------------------------------


@contextmanager
def watched(report: Callable[[ProgramReport], None]) -> Iterator[Callable[[], None]]:
    """Report each program that this thread's tape runs meanwhile; gives what computes all that is pending.

    What was pending before is computed first, and not reported.
    """
    from flambeau._tape.tape import LOCAL  # the room above: only at the call

    tape = LOCAL.tape
    tape.flush()
    known = limits.measure()

    def observe(program: CompiledProgram, run: Run, execute: Callable[[], None]) -> None:
        if not tape.flushing:  # another thread's
            execute()
            return
        operators = tuple(record.op.name for record in tape.cursor.path())
        segments = program.segments
        program.segments = steps = _Steps(segments)
        start = time.perf_counter()
        try:
            with interrupts_held():  # a program overwrites its inputs in its last segment, cut into single calls here
                execute()
        finally:
            program.segments = segments
        report(_report(program, run, operators, start, steps.seconds, known))

    with _observed(observe):
        yield tape.flush


_observing = threading.RLock()


@contextmanager
def _observed(observe: Callable[[CompiledProgram, Run, Callable[[], None]], None]) -> Iterator[None]:
    """Let ``observe(program, run, execute)`` run the programs meanwhile. One thread explains at a time.

    Flushes hold the lock of all tapes, so that no two programs run at once.
    """
    with _observing:
        execute = CompiledProgram.execute
        CompiledProgram.execute = lambda program, run: observe(program, run, lambda: execute(program, run))
        try:
            yield
        finally:
            CompiledProgram.execute = execute


class _Steps(list):
    """The segments of a program as single steps. Iterating takes the ``seconds`` between asking for a step and asking for the next."""

    def __init__(self, segments: Sequence[tuple[int, int] | HostCall]) -> None:
        for segment in segments:
            self.extend([segment] if isinstance(segment, HostCall) else [(number, number + 1) for number in range(*segment)])
        self.seconds: list[float] = []

    def __iter__(self) -> Iterator[tuple[int, int] | HostCall]:
        for step in super().__iter__():
            start = time.perf_counter()
            yield step
            self.seconds.append(time.perf_counter() - start)


def _report(
    program: CompiledProgram, run: Run, operators: tuple[str, ...], start: float, times: Sequence[float], known: Limits
) -> ProgramReport:
    plan = program.plan()
    work = _Work(plan, run)
    kernels = []
    for step, seconds in zip(plan.steps, times, strict=True):
        if isinstance(step, HostStep):
            read = sum(work.nbytes(argument) for argument in step.node.args)
            written = sum(work.nbytes(item) for item in step.items)
            least = known.seconds(0, read + written)
            kernels.append(Kernel(step.node.attrs[0].__name__, ("host",), 0, read, written, 0, 1, seconds, least))
            continue
        names, flops, read, written = work.of(step)
        itemsize = max(min(8, max((node.dtype.compute.itemsize for node in step.nodes), default=4)), 4)
        chunks = -(-step.tiles // step.grain)
        least = known.seconds(flops, read + written, itemsize)
        why = reason(step, names, seconds, least, known)
        kernels.append(Kernel(step.name, names, flops, read, written, step.tiles, chunks, seconds, least, why))
    nbytes = sum(node.numel * node.dtype.itemsize for node in plan.roots.values())
    return ProgramReport(operators, tuple(kernels), len(plan.roots), nbytes, plan.arena, start)


# -- operations and bytes ----------------------------------------------------------------------------------------------


class _Work:
    """What the kernels of one program have to do."""

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self.filled: set[tuple] = set()  # the temporaries that earlier kernels have written

    def nbytes(self, node: Node) -> int:
        """The size of a node's memory; that of an input is known when the program runs."""
        if node.kind == "input":
            return self.run.inputs[node.attrs[0]].nbytes
        return self.nbytes(base_of(node.args[0])[0]) if node.kind == "bitcast" else node.numel * node.dtype.itemsize

    def of(self, call: KernelCall) -> tuple[tuple[str, ...], int, int, int]:
        """What is fused into a kernel, its operations, and the bytes that it reads and writes."""
        if call.name == serial.copy_kernel()[0]:
            return ("copy",), 0, call.params[4], call.params[4]
        buffers = {buffer if isinstance(buffer, tuple) else buffer.index: buffer for _, buffer in call.buffers}
        read = written = partial = 0
        for key, buffer in buffers.items():
            if isinstance(buffer, tuple):
                size = self.plan.temporaries[buffer].nbytes
                if key in self.filled:
                    read, partial = read + size, size
                else:
                    written += size
                    self.filled.add(key)
        if not call.nodes:  # what a scatter writes over: one number, or a copy
            nbytes = self.nbytes(call.buffers[-1][1])
            return (("fill",), 0, 0, nbytes) if len(call.buffers) == 1 else (("copy",), 0, nbytes, nbytes)
        first = call.nodes[0]
        if first.kind == "contract" and len(call.nodes) == 1 and first.index not in buffers:
            return ("pack",), 0, read + self._read(call, buffers), written
        if first.kind == "reduce" and partial:  # the parts of a split reduction; what it reduces was read before
            return (f"combine {first.attrs[0]}",), partial // first.dtype.itemsize, read, written + self.nbytes(first)
        written += sum(self._written(node) for node in call.nodes if node.index in buffers)
        names = tuple(name for node in call.nodes for name in _names(node))
        return names, sum(map(_flops, call.nodes)), read + self._read(call, buffers), written

    def _written(self, node: Node) -> int:
        """An update or a scatter writes as many elements as it is given; all else writes the whole value."""
        return _values(node) * node.dtype.itemsize

    def _read(self, call: KernelCall, buffers: dict[Any, Any]) -> int:
        """The bytes that a kernel reads of values made before it: of each at most all of its memory."""
        inside = {node.index for node in call.nodes}
        reads: dict[int, dict[tuple, int]] = {}
        for node in call.nodes:
            for position, argument in enumerate(node.args):
                base, view = base_of(argument)
                if base.kind in LEAVES or base.index in inside or base.index not in buffers:
                    continue
                if node.kind in ("update", "scatter") and position == 0:
                    continue
                if (node.kind == "gather" and position == 0) or (node.kind == "scatter" and position == 1):
                    elements = _values(node)
                else:
                    elements = base.numel if view is None else _distinct(view)
                reads.setdefault(base.index, {})[argument.attrs, argument.shape, argument.strides] = elements * base.dtype.itemsize
            if node.kind == "scatter" and node.attrs[0] != "set":
                reads.setdefault(node.index, {})[()] = self._written(node)
        return sum(min(sum(pieces.values()), self.nbytes(buffers[index])) for index, pieces in reads.items())


def _distinct(view: Node) -> int:
    """How many elements of memory a view shows at most: neither repeated ones nor more than lie between the first and the last."""
    axes = [(size, abs(stride)) for size, stride in zip(view.shape, view.strides, strict=True) if stride]
    return min(prod(size for size, _ in axes), 1 + sum((size - 1) * stride for size, stride in axes)) if view.numel else 0


def _sizes(node: Node) -> tuple[int, int, int, int]:
    """The sizes of a contraction: of its batch, m, n and k axes."""
    batch, m, _, k, bundle = node.attrs
    left, right = (argument.shape for argument in node.args)
    return prod(left[:batch]), prod(left[batch : batch + m]), prod(right[batch + k :]), prod(left[batch + m :]) * PRODUCTS[bundle]


def _values(node: Node) -> int:
    """How many elements a node computes or writes."""
    if node.kind == "scatter":
        return prod(node.attrs[1])
    return node.args[1].numel if node.kind == "update" else node.numel


def _names(node: Node) -> tuple[str, ...]:
    """How a node is called in a table."""
    if node.kind in ("map", "reduce"):
        return (node.attrs[0],)
    if node.kind == "cast":
        return (f"to {node.dtype.name}",)
    if node.kind == "contract":
        batch, m, n, k = _sizes(node)
        return (f"contract {f'{batch}x' if batch > 1 else ''}{m}x{n}x{k}",)
    if node.kind in ("scan", "scatter", "recur", "linear"):
        return (f"{node.kind} {node.attrs[0]}",)
    if node.kind == "item":  # named with what makes it
        return ()
    return (node.kind,)


def operations(record: Any) -> list[tuple[str, int]]:
    """What one call would take if it were a program of its own: the name of each operation, and how many of them there are.

    Args:
        record: the call: ``op``, ``statics``, ``operands`` (whose slots do not count) and ``layouts``
    """
    count = len(record.operands)
    numbered = SimpleNamespace(
        op=record.op,
        statics=record.statics,
        layouts=record.layouts,
        first=count,
        operands=[(slot, kind) for slot, (_, kind) in enumerate(record.operands)],
    )
    graph, _, _ = build([numbered], [(count + number, -1) for number in range(len(record.layouts))])
    return [(", ".join(_names(node)), _flops(node)) for node in graph.nodes]


def _flops(node: Node) -> int:
    if node.kind == "map":
        return 0 if node.attrs[0] == "copy" else node.numel
    if node.kind == "contract":
        return prod(_sizes(node)) * (8 if node.args[0].dtype.is_complex else 2)
    if node.kind in ATTENTION:
        return attention.operations(node)
    if node.kind in ("reduce", "scan"):
        return node.args[0].numel
    if node.kind == "fourier":
        return int(5 * node.numel * log2(max(2, node.attrs[1])))
    if node.kind == "linear":
        from flambeau._compiler import linear

        return linear.operations(node)
    if node.kind == "recur":
        return 2 * node.args[0].shape[0] * node.args[1].numel * PRODUCTS[node.attrs[-1]]
    return _values(node) if node.kind == "scatter" and node.attrs[0] != "set" else 0


# -- for people --------------------------------------------------------------------------------------------------------

_WIDEST = 60


def _amount(number: float, unit: str) -> str:
    """``1.5 MB``: three digits and a prefix."""
    for prefix in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5 or prefix == "T":
            break
        number /= 1000
    return f"{number:.3g} {prefix}{unit}".rstrip()


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


_LEFT = (1, 2, 9)
"""Columns of text."""
_HEADINGS = ("", "kernel", "fused", "tiles", "operations", "read", "written", "time", "of limit", "reason")


def _row(number: int, kernel: Kernel) -> tuple[str, ...]:
    return (
        str(number), kernel.name, kernel.summary, str(kernel.tiles) if kernel.tiles else "", _amount(kernel.flops, ""),
        _amount(kernel.bytes_read, "B"), _amount(kernel.bytes_written, "B"), _duration(kernel.seconds), f"{kernel.share:.0%}", kernel.reason,
    )  # fmt: skip


def _machine(explanation: Explanation) -> str:
    known = explanation.limits
    text = f"{known.threads} threads, at most {_amount(known.flops, 'FLOP/s')} (float32) and {_amount(known.bandwidth, 'B/s')}"
    made = [
        f"{count} kernels {how}" for count, how in ((explanation.compiled, "compiled"), (explanation.loaded, "loaded from disk")) if count
    ]
    return f"{text}; {' and '.join(made)} in {_duration(explanation.compile_seconds)}" if made else text


def _heading(number: int, program: ProgramReport) -> str:
    recorded, kernels = len(program.operators), len(program.kernels)
    return (
        f"program {number}: {recorded} operator{'s' * (recorded != 1)} in {kernels} kernel{'s' * (kernels != 1)}, {_duration(program.seconds)}; "
        f"{program.results} result{'s' * (program.results != 1)} of {_amount(program.result_bytes, 'B')}, arena {_amount(program.arena_bytes, 'B')}"
    )


def _text(explanation: Explanation) -> Iterator[str]:
    yield _machine(explanation)
    number = 0
    for position, program in enumerate(explanation.programs):
        yield ""
        yield _heading(position, program)
        rows = [_HEADINGS]
        for kernel in program.kernels:
            index, name, summary, *rest = _row(number, kernel)
            rows.append((index, name[:12], summary if len(summary) <= _WIDEST else summary[: _WIDEST - 1] + "…", *rest))
            number += 1
        if len(rows) == 1:
            continue
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.ljust(width) if column in _LEFT else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            yield "  ".join(cells).rstrip()


_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
td, th { padding: 2px 8px; text-align: right; white-space: nowrap; vertical-align: top }
td:nth-child(2), th:nth-child(2), td:nth-child(3), th:nth-child(3), td:nth-child(10), th:nth-child(10) { text-align: left; white-space: normal }
tr { border-bottom: 1px solid #eee }
.bar { width: 16em; text-align: left }
.bar div { background: #e8a33d; height: 1.1em; min-width: 1px }
.bar div div { background: #3d7be8; min-width: 0 }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto; font-size: 12px; text-align: left; white-space: pre }
@media (prefers-color-scheme: dark) { body { background: #1b1b1b; color: #ddd } tr { border-color: #333 } pre { background: #262626 } }
"""


def _page(explanation: Explanation) -> str:
    """A bar is a kernel's time; the blue part of it is the time at the machine's limit."""
    parts = [
        "<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8"><title>Flambeau: explanation</title>', f"<style>{_STYLE}</style></head><body>",
        "<h1>Explanation</h1>", f"<p>{escape(_machine(explanation))}</p>",
        "<p>A bar is the time that a kernel took; its blue part is the time that it would take at the machine's limit.</p>",
    ]  # fmt: skip
    longest = max((kernel.seconds for kernel in explanation.kernels), default=1.0)
    number = 0
    for position, program in enumerate(explanation.programs):
        headings = "".join(f"<th>{heading}</th>" for heading in (*_HEADINGS, ""))
        parts += [
            f"<h2>{escape(_heading(position, program))}</h2>",
            f"<p>{escape(', '.join(program.operators))}</p>",
            f"<table><tr>{headings}</tr>",
        ]
        for kernel in program.kernels:
            index, name, *rest = map(escape, _row(number, kernel))
            link = f'<a href="#{name}">{name}</a>' if kernel.tiles else name
            cells = "".join(f"<td>{cell}</td>" for cell in (index, link, *rest))
            inner = f'<div style="width:{min(kernel.share, 1.0):.1%}"></div>'
            parts.append(f'<tr>{cells}<td class="bar"><div style="width:{kernel.seconds / longest:.1%}">{inner}</div></td></tr>')
            number += 1
        parts.append("</table>")
    parts.append("<h2>IR</h2>")
    for kernel in {kernel.name: kernel for kernel in explanation.kernels if kernel.tiles}.values():
        parts.append(f'<details id="{kernel.name}"><summary>{kernel.name}</summary><pre>{escape(kernel.ir)}</pre></details>')
    parts.append("</body></html>\n")
    return "\n".join(parts)
