"""Squares of vectors, transposed in registers."""

from __future__ import annotations

from flambeau._codegen.ir import Builder, Value


def transpose(f: Builder, rows: list[Value], distance: int = 1) -> list[Value]:
    """The columns of a square of vectors, or of squares side by side: one exchange of halves for each bit of the lane number.

    Squares of ``distance`` lanes, a power of two, are transposed already.
    """
    width = rows[0].width
    while distance < len(rows):
        following = list(rows)
        for i in range(len(rows)):
            if not i & distance:
                upper, lower = rows[i], rows[i | distance]
                following[i] = f.shuffle(upper, lower, [width + l - distance if l & distance else l for l in range(width)])
                following[i | distance] = f.shuffle(upper, lower, [width + l if l & distance else l + distance for l in range(width)])
        rows, distance = following, 2 * distance
    return rows
