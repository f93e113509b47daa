"""Orthogonal polynomials, by their recurrences in float64; where the degree differs from element to element, on the host.

See Abramowitz and Stegun, "Handbook of mathematical functions", section 22.7. A degree that is negative or no number gives 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.arguments import into
from flambeau._ops.elementwise import binary, binary_function, infer_float
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._types.layout import Layout

Start = Callable[[Any], Any]
Step = Callable[[int, Any, Any, Any], Any]


def _evaluate(x: np.ndarray, n: np.ndarray, first: Start, step: Step) -> np.ndarray:
    """``p_0 = 1``, ``p_1 = first(x)``, ``p_(k + 1) = step(k, x, p_k, p_(k - 1))``."""
    degree = np.trunc(np.where(np.isfinite(n), n, -1.0))
    before, now = np.ones_like(x), first(x)
    result = np.where(degree == 0, before, np.where(degree < 0, 0.0, now))
    with np.errstate(all="ignore"):
        for k in range(1, int(degree.max(initial=0))):
            before, now = now, step(k, x, now, before)
            result = np.where(degree > k, now, result)
    return np.where(np.isnan(x), np.nan, result)


def _lower(first: Start, step: Step) -> Callable:
    def function(x: np.ndarray, n: np.ndarray) -> tuple[np.ndarray]:
        return (_evaluate(x.astype(np.float64), n.astype(np.float64), first, step).astype(x.dtype).reshape(x.shape),)

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        wide = layouts[0].dtype.compute
        given = [graph.cast(operand, wide).expand(layouts[0].shape) for operand in operands]
        return graph.cast(graph.host(function, given, ((wide, layouts[0].shape),))[0], layouts[0].dtype)

    return lower


def _doubled(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return 2 * x * now - before


def _shifted(k: int, x: np.ndarray, now: np.ndarray, before: np.ndarray) -> np.ndarray:
    return 2 * (2 * x - 1) * now - before


_TABLE: dict[str, tuple[str, Start, Step]] = {
    "chebyshev_polynomial_t": ("Chebyshev's polynomials of the first kind, ``cos(n acos(x))``", lambda x: x, _doubled),
    "chebyshev_polynomial_u": ("Chebyshev's polynomials of the second kind", lambda x: 2 * x, _doubled),
    "chebyshev_polynomial_v": ("Chebyshev's polynomials of the third kind", lambda x: 2 * x - 1, _doubled),
    "chebyshev_polynomial_w": ("Chebyshev's polynomials of the fourth kind", lambda x: 2 * x + 1, _doubled),
    "shifted_chebyshev_polynomial_t": ("``chebyshev_polynomial_t`` at ``2 x - 1``", lambda x: 2 * x - 1, _shifted),
    "shifted_chebyshev_polynomial_u": ("``chebyshev_polynomial_u`` at ``2 x - 1``", lambda x: 4 * x - 2, _shifted),
    "shifted_chebyshev_polynomial_v": ("``chebyshev_polynomial_v`` at ``2 x - 1``", lambda x: 4 * x - 3, _shifted),
    "shifted_chebyshev_polynomial_w": ("``chebyshev_polynomial_w`` at ``2 x - 1``", lambda x: 4 * x - 1, _shifted),
    "hermite_polynomial_h": (
        "Hermite's polynomials for the weight ``exp(-x^2)``", lambda x: 2 * x, lambda k, x, now, before: 2 * x * now - 2 * k * before,
    ),
    "hermite_polynomial_he": ("Hermite's polynomials for the weight ``exp(-x^2 / 2)``", lambda x: x, lambda k, x, now, before: x * now - k * before),
    "laguerre_polynomial_l": (
        "Laguerre's polynomials", lambda x: 1 - x, lambda k, x, now, before: ((2 * k + 1 - x) * now - k * before) / (k + 1),
    ),
    "legendre_polynomial_p": (
        "Legendre's polynomials", lambda x: x, lambda k, x, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1),
    ),
}  # fmt: skip

_WRITTEN_OUT = 32
"""Up to this degree the steps of one degree for all elements are arithmetic on tensors, which becomes one loop."""


def _of_one_degree(x: Any, degree: int, first: Start, step: Step) -> Any:
    """The polynomial of a degree from 1 on, in float64."""
    dtype = x.layout.dtype if x.is_floating_point() else get_default_dtype()
    wide = x.double()
    before, now = FUNCTIONS.ones(wide.layout), first(wide)
    for k in range(1, degree):
        before, now = now, step(k, wide, now, before)
    return now.to(dtype)


def _function(name: str, doc: str, first: Start, step: Step) -> Callable:
    general, _ = binary_function(binary(f"special_{name}", infer=infer_float, lower=_lower(first, step)), doc)

    def function(input: Any, n: Any, *, out: Any = None) -> Any:
        if n.__class__ not in (int, float) or not 1 <= n <= _WRITTEN_OUT or not isinstance(input, TensorBase):
            return general(input, n, out=out)
        if input.node is not None or input.layout.dtype.is_complex:  # these functions have no gradients
            return general(input, n, out=out)
        return into(out, _of_one_degree(input, int(n), first, step))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


for _name, (_doc, _first, _step) in _TABLE.items():
    globals()[_name] = _function(_name, f"{_doc}, of the degree ``n``, for each element of ``input``.", _first, _step)

NAMES = tuple(_TABLE)
