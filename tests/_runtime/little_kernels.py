"""Little kernels in LLVM IR for the tests of the runner."""

from __future__ import annotations

import numpy

from flambeau._runtime.jit import compile_kernels

_PROLOGUE = """
define internal ptr @slot(ptr %table, ptr %params, i64 %number) alwaysinline {
  %at = getelementptr i64, ptr %params, i64 %number
  %index = load i64, ptr %at
  %entry = getelementptr ptr, ptr %table, i64 %index
  %address = load ptr, ptr %entry
  ret ptr %address
}
define internal i64 @param(ptr %params, i64 %number) alwaysinline {
  %at = getelementptr i64, ptr %params, i64 %number
  %value = load i64, ptr %at
  ret i64 %value
}
declare i32 @sched_yield()
declare ptr @pthread_self()
"""

_KERNEL = """
define void @NAME(ptr %table, ptr %params, i64 %begin, i64 %end, ptr %scratch) {
entry:
  SETUP
  br label %head
head:
  %tile = phi i64 [ %begin, %entry ], [ %next, %again ]
  %more = icmp slt i64 %tile, %end
  br i1 %more, label %body, label %done
body:
  BODY
  br label %again
again:
  %next = add i64 %tile, 1
  br label %head
done:
  ret void
}
"""

_BODIES = {
    # counts[tile] += 1
    "tally": (
        "%counts = call ptr @slot(ptr %table, ptr %params, i64 0)",
        """%at = getelementptr i64, ptr %counts, i64 %tile
  %old = atomicrmw add ptr %at, i64 1 monotonic""",
    ),
    # to[tile] = 3 * from[(tile + shift) % size] + 1, with params (to, from, shift, size)
    "rotate": (
        """%to = call ptr @slot(ptr %table, ptr %params, i64 0)
  %from = call ptr @slot(ptr %table, ptr %params, i64 1)
  %shift = call i64 @param(ptr %params, i64 2)
  %size = call i64 @param(ptr %params, i64 3)""",
        """%far = add i64 %tile, %shift
  %where = urem i64 %far, %size
  %from.at = getelementptr i64, ptr %from, i64 %where
  %value = load i64, ptr %from.at
  %triple = mul i64 %value, 3
  %result = add i64 %triple, 1
  %to.at = getelementptr i64, ptr %to, i64 %tile
  store i64 %result, ptr %to.at""",
    ),
    # Leave error 7 in the error block at tile params[0].
    "fail": (
        """%error = load ptr, ptr %table
  %culprit = call i64 @param(ptr %params, i64 0)""",
        """%bad = icmp eq i64 %tile, %culprit
  br i1 %bad, label %record, label %again
record:
  store i64 7, ptr %error
  %position = getelementptr i64, ptr %error, i64 1
  store i64 %tile, ptr %position""",
    ),
    # Each tile marks its scratch, lets others run, and counts in wrong[0] how often the mark changed; scratch has params[1] bytes.
    "private": (
        """%wrong = call ptr @slot(ptr %table, ptr %params, i64 0)
  %bytes = call i64 @param(ptr %params, i64 1)
  %last = sub i64 %bytes, 8
  %far = getelementptr i8, ptr %scratch, i64 %last
  %address = ptrtoint ptr %scratch to i64
  %skew = and i64 %address, 63""",
        """store volatile i64 %tile, ptr %scratch
  store volatile i64 %tile, ptr %far
  %ignored = call i32 @sched_yield()
  %near.mark = load volatile i64, ptr %scratch
  %far.mark = load volatile i64, ptr %far
  %near.off = sub i64 %near.mark, %tile
  %far.off = sub i64 %far.mark, %tile
  %either = or i64 %near.off, %far.off
  %all = or i64 %either, %skew
  %differs = icmp ne i64 %all, 0
  %one = zext i1 %differs to i64
  %old = atomicrmw add ptr %wrong, i64 %one monotonic""",
    ),
    # Every tile waits until all params[1] tiles have begun, which takes as many threads; threads[tile] is who computed it.
    "meet": (
        """%arrived = call ptr @slot(ptr %table, ptr %params, i64 0)
  %count = call i64 @param(ptr %params, i64 1)
  %threads = getelementptr i64, ptr %arrived, i64 1
  %self = call ptr @pthread_self()""",
        """%mine = getelementptr ptr, ptr %threads, i64 %tile
  store ptr %self, ptr %mine
  %old = atomicrmw add ptr %arrived, i64 1 seq_cst
  br label %wait
wait:
  %ignored = call i32 @sched_yield()
  %here = load atomic i64, ptr %arrived seq_cst, align 8
  %waiting = icmp slt i64 %here, %count
  br i1 %waiting, label %wait, label %again""",
    ),
}


def source(kernel: str, name: str | None = None) -> str:
    setup, body = _BODIES[kernel]
    text = _KERNEL.replace("NAME", name or kernel).replace("SETUP", setup).replace("BODY", body)
    if kernel == "meet":  # its body ends in a branch of its own
        text = text.replace("label %again\n  br label %again", "label %again")
    return _PROLOGUE + text


def scale(name: str, factor: float) -> str:
    """IR of ``void name(ptr x)``, which multiplies the float at ``x``."""
    return f"""define void @{name}(ptr %x) {{
  %value = load float, ptr %x
  %product = fmul float %value, {factor:e}
  store float %product, ptr %x
  ret void
}}
"""


def kernel(name: str) -> int:
    """The address of a kernel above."""
    return compile_kernels({f"test_{name}": source(name, f"test_{name}")})[f"test_{name}"]


class Table:
    """A table of buffers: the error block in slot 0, then the arrays given from slot 2 on."""

    def __init__(self, *arrays: numpy.ndarray) -> None:
        self.error = numpy.zeros(4, numpy.int64)
        self.arrays = arrays
        self.slots = numpy.array([self.error.ctypes.data, 0, *(array.ctypes.data for array in arrays)], numpy.int64)
        self.address = self.slots.ctypes.data
