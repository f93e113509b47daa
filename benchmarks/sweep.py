"""Every public operator on both sides: `python -m benchmarks.sweep [--select REGEX] [--size small|middle|large] [--gradients]`.

Flambeau and PyTorch are loaded side by side in one process, with one thread each, and take turns: a run of calls on one, a run on the
other, many times; the least time of a call counts. Every tensor that a call returns is asked for its address, before which Flambeau
computes it. A ratio above 1 means that Flambeau is faster. `benchmarks/operators.py` says how each operator is called.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.operators import GROUPS

SIDES = {"small": 32, "middle": 256, "large": 1024}
MATRIX = {"small": 8, "middle": 32, "large": 128}
RUN_SECONDS = 2e-4  # of calls on one side before it is the other's turn
WARM = 200  # calls before the first case: Flambeau loads a part of itself once a process has computed something a hundred times
KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 31)}  # or PyTorch's time is that of page faults
TOLERANCE = {"bfloat16": 2e-2, "float16": 2e-3}
BARE = {"inf": math.inf}


@dataclass
class Row:
    """One case: times in seconds of a call, and of the first call (with all that is compiled for it) of ours."""

    group: str
    call: str
    variant: str
    ours: float = math.nan
    theirs: float = math.nan
    first: float = math.nan
    agrees: bool = False
    error: str = ""

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours


class Inputs:
    """The inputs that calls name, as arrays that both sides copy; see `benchmarks/operators.py`."""

    def __init__(self, size: str) -> None:
        side = SIDES[size]
        random = np.random.default_rng(0)
        normal = lambda *shape: random.standard_normal(shape, np.float32)
        half = normal(MATRIX[size], MATRIX[size])
        small = normal(min(side * side // 16, 4096), 4, 4)
        pixels = {"small": (2, 8, 8, 8), "middle": (8, 8, 32, 32), "large": (32, 8, 64, 64)}[size]
        self.arrays: dict[str, Any] = {
            **{name: normal(side, side) for name in "xyzw"},
            "p": random.uniform(0.1, 3, (side, side)).astype(np.float32),
            "o": random.uniform(1.1, 3, (side, side)).astype(np.float32),
            "u": random.uniform(-0.9, 0.9, (side, side)).astype(np.float32),
            "q": random.uniform(0.05, 0.95, (side, side)).astype(np.float32),
            "v": normal(side * side),
            **{name: random.integers(1, 101, (side, side)) for name in "kl"},
            **{name: random.integers(0, 2, (side, side)).astype(bool) for name in "mn"},
            "i": random.integers(0, side, (side, side)),
            "e": random.permutation(side),
            "j": np.arange(side),
            "s": half @ half.T + np.eye(len(half), dtype=np.float32),
            "b": small @ small.transpose(0, 2, 1) + np.eye(4, dtype=np.float32),
            "r": normal(MATRIX[size], 4),
            **{name: normal(side, side) + 1j * normal(side, side) for name in "cd"},
            "f": normal(*pixels),
        }
        self.side = side

    def on(self, torch: ModuleType, name: str, variant: str, gradients: bool) -> Any:
        """One side's tensor of that name."""
        array = self.arrays[name]
        floating = array.dtype.kind in "fc"
        tensor = torch.tensor(array)
        if floating and array.dtype.kind == "f" and variant not in ("", "strided"):
            tensor = tensor.to(getattr(torch, variant))
        if variant == "strided" and array.ndim == 2:
            tensor = tensor.t().contiguous().t()
        return tensor.requires_grad_() if gradients and floating else tensor


def build(torch: ModuleType, text: str, inputs: Inputs, variant: str, gradients: bool) -> tuple[Callable[[], Any], list[Any]]:
    """The call on one side, and the tensors that it gets gradients of."""
    body = f"{text}; return w" if re.match(r"w\[.*\] = ", text) else f"return {text}"
    code = compile(f"def call(): {body}", text, "exec")
    names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "N": inputs.side, **BARE}
    for name in _names(code):
        if name in inputs.arrays:
            names[name] = inputs.on(torch, name, variant, gradients)
        elif name not in names and hasattr(torch, name):
            names[name] = getattr(torch, name)
    exec(code, names)
    return names["call"], [value for name, value in names.items() if name in inputs.arrays and value.requires_grad]


def _names(code: Any) -> set[str]:
    return set(code.co_names).union(*(_names(inner) for inner in code.co_consts if hasattr(inner, "co_names")))


def with_gradients(torch: ModuleType, call: Callable[[], Any], leaves: list[Any]) -> Callable[[], Any]:
    """The call, and the gradients of its results by all inputs."""
    results = [part for part in tensors(call()) if part.requires_grad]
    if not results or not leaves:
        raise LookupError("no gradient")
    ahead = [torch.ones_like(part) for part in results]

    def run() -> list[Any]:
        parts = [part for part in tensors(call()) if part.requires_grad]
        return [*parts, *torch.autograd.grad(parts, leaves, ahead, allow_unused=True)]

    return run


def tensors(result: Any) -> Iterator[Any]:
    if hasattr(result, "data_ptr"):
        yield result
    elif isinstance(result, (list, tuple)):
        for part in result:
            yield from tensors(part)


def run(call: Callable[[], Any], count: int) -> float:
    """Seconds of one of `count` calls whose results are computed."""
    begin = time.perf_counter()
    for _ in range(count):
        result = call()
        if hasattr(result, "data_ptr"):
            result.data_ptr()
        else:
            for part in tensors(result):
                part.data_ptr()
    return (time.perf_counter() - begin) / count


def turns(ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float) -> tuple[float, float]:
    """The least times of both, which take turns for about that long."""
    calls, counts, best = (ours, theirs), [], [math.inf, math.inf]
    for call in calls:
        run(call, 2)
        counts.append(max(1, min(200, int(RUN_SECONDS / run(call, 1)))))
    gc.disable()
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or (time.perf_counter() < end):
        for side, call in enumerate(calls):
            best[side] = min(best[side], run(call, counts[side]))
        rounds += 1
    gc.enable()
    return best[0], best[1]


def values(result: Any) -> list[np.ndarray]:
    """Everything that a call returned, as NumPy arrays."""
    if not hasattr(result, "data_ptr") and not isinstance(result, (list, tuple)):
        return [np.asarray(result)]
    arrays = []
    for part in tensors(result):
        copied = part.detach().resolve_conj().clone()  # what NumPy sees is written in another way from then on
        arrays.append((copied.double() if copied.is_floating_point() else copied).numpy())
    return arrays


def agree(ours: list[np.ndarray], theirs: list[np.ndarray], variant: str) -> bool:
    tolerance = TOLERANCE.get(variant, 1e-3)
    if len(ours) != len(theirs):
        return False
    for mine, other in zip(ours, theirs, strict=True):
        finite = np.isfinite(other)
        scale = float(np.abs(other[finite]).max()) if finite.any() else 0.0
        if mine.shape != other.shape or not np.allclose(mine, other, rtol=tolerance, atol=tolerance * scale * 0.1, equal_nan=True):
            return False
    return True


class Sweep:
    """Times cases on both sides."""

    def __init__(self, size: str, gradients: bool, seconds: float) -> None:
        import torch

        import flambeau

        self.sides: tuple[Any, Any] = (flambeau, torch)
        for side in self.sides:
            side.set_num_threads(1)
            for _ in range(WARM):
                (side.ones(1) + 1).item()
        self.inputs, self.gradients, self.seconds = Inputs(size), gradients, seconds

    def time(self, group: str, text: str, variant: str) -> Row | None:
        """One case; nothing if PyTorch does not take it."""
        row = Row(group, text, variant)
        try:
            theirs, expected = self._prepare(self.sides[1], text, variant)
        except Exception:
            return None
        try:
            begin = time.perf_counter()
            ours, result = self._prepare(self.sides[0], text, variant)
            row.first = time.perf_counter() - begin
            row.agrees = agree(result, expected, variant)
            row.ours, row.theirs = turns(ours, theirs, self.seconds)
        except Exception as error:
            row.error = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return row

    def _prepare(self, torch: Any, text: str, variant: str) -> tuple[Callable[[], Any], list[np.ndarray]]:
        call, leaves = build(torch, text, self.inputs, variant, self.gradients)
        if self.gradients:
            call = with_gradients(torch, call, leaves)
        torch.manual_seed(0)
        return call, values(call())


def cases(select: str) -> Iterator[tuple[str, str, str]]:
    """Group, call and variant of each case whose `group/call variant` matches."""
    for name, group in GROUPS.items():
        for variant in ("", *group.variants):
            for text in group.entries():
                if re.search(select, f"{name}/{text} {variant}"):
                    yield name, text, variant


def summary(rows: list[Row]) -> str:
    """The geometric mean, and what share is slower than PyTorch."""
    ratios = [row.ratio for row in rows if not row.error]
    if not ratios:
        return "nothing was timed"
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    below = [sum(ratio < bound for ratio in ratios) for bound in (1, 0.9, 0.5)]
    wrong = sum(not row.agrees and not row.error for row in rows)
    return (
        f"{len(ratios)} cases, geometric mean {mean:.2f}; below 1: {below[0]} ({below[0] / len(ratios):.0%}), below 0.9: {below[1]}, "
        f"below 0.5: {below[2]}; {wrong} differ, {sum(bool(row.error) for row in rows)} fail"
    )


def show(row: Row) -> str:
    name = f"{row.group}/{row.call} {row.variant}"
    if row.error:
        return f"{name:<80.80} {row.error}"
    return (
        f"{name:<80.80} {row.ours * 1e6:>11.1f} {row.theirs * 1e6:>11.1f} {row.ratio:>7.2f} {row.first * 1e3:>8.0f}"
        f"{'' if row.agrees else '  differs'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--select", default="", metavar="REGEX", help="only cases whose group/call variant it is found in")
    parser.add_argument("--size", choices=list(SIDES), default="small", help="1,024 elements, 65,536 or a million (default: %(default)s)")
    parser.add_argument("--gradients", action="store_true", help="with the gradients of what is differentiable")
    parser.add_argument("--seconds", type=float, default=0.05, help="to time each case for (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a row of JSON for each case")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in KEPT_MEMORY.items()):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.sweep", *sys.argv[1:]], {**os.environ, **KEPT_MEMORY})
    warnings.simplefilter("ignore")
    sweep = Sweep(options.size, options.gradients, options.seconds)
    if not options.json:
        print(f"{options.size}, one thread each{', with gradients' if options.gradients else ''}")
        print(f"{'':<80} {'ours, µs':>11} {'theirs, µs':>11} {'ratio':>7} {'1st, ms':>8}")
    rows = []
    for case in cases(options.select):
        row = sweep.time(*case)
        if row is not None:
            rows.append(row)
            print(json.dumps({**asdict(row), "ratio": row.ratio}) if options.json else show(row), flush=True)
    print(summary(rows), file=sys.stderr if options.json else sys.stdout)


if __name__ == "__main__":
    main()
