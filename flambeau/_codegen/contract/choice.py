"""What the planners of special kernels offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flambeau._codegen.contract.kernel import Code
from flambeau._codegen.contract.normal import Normal

Values = dict[str, int]
"""Parameters of a kernel by name."""


@dataclass(slots=True)
class Choice:
    """One way to compute a contraction with one call, and its estimated cycles; ``code`` makes the kernel.

    So many neighbouring tiles ``together`` share what the first of them packs.
    """

    normal: Normal
    code: Callable[[], Code]
    values: Values
    tiles: int
    tile_cycles: float
    cycles: float
    scratch_bytes: int
    together: int = 1
