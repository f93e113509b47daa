"""Pieces of rows, copied to where they lie side by side: rows of a power of two lie in few sets of a cache, where the 512 of a matrix do not stay."""

from __future__ import annotations

from collections.abc import Callable

from flambeau._codegen.ir import Builder, Value

_PART = 64
"""Bytes that are copied at once, as pieces are too short for the C library."""
_AHEAD = 8
"""A piece is fetched so many rows before it is copied: each lies in another page, where processors do not look ahead."""


def copy_rows(f: Builder, count: Value, target: Callable[[Value], Value], source: Callable[[Value], Value], nbytes: Value) -> None:
    """Copy so many pieces, from and to where functions of the row's number say."""
    whole = f.binary("and", nbytes, -_PART)
    with f.loop(0, count) as rows:
        here, there, later = source(rows.index), target(rows.index), source(f.add(rows.index, _AHEAD))
        with f.loop(0, whole, _PART) as parts:
            f.prefetch(f.offset(later, parts.index, "i8"))
            part = f.load(f.offset(here, parts.index, "i8"), f"<{_PART // 8} x i64>", align=1)
            f.store(part, f.offset(there, parts.index, "i8"), align=1)
        with f.when(f.compare("slt", whole, nbytes)):
            f.copy(f.offset(there, whole, "i8"), f.offset(here, whole, "i8"), f.sub(nbytes, whole))
