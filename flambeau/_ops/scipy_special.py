"""Special functions of mathematical physics and of distributions' tails. Bessel functions have kernels; what lacks one SciPy computes, in float64,
on the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import elementwise as basic
from flambeau._ops import functions
from flambeau._ops.elementwise import binary, binary_function, infer_float, unary, unary_function

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._types.layout import Layout


def _infer(name: str) -> Callable:
    """The shape rule of a function that SciPy computes: whoever lacks it is told at the call, before anything is recorded."""

    def infer(operands: tuple, statics: tuple) -> Layout:
        try:
            import scipy.special  # noqa: F401
        except ImportError:
            raise ImportError(f'special.{name} needs SciPy: pip install "flambeau[scipy]"') from None
        return infer_float(operands, statics)

    return infer


def _lower(compute: Callable[..., np.ndarray]) -> Callable:
    """The lowering to ``compute(scipy.special, *float64 arrays)``."""

    def function(*arrays: np.ndarray) -> tuple[np.ndarray]:
        from scipy import special

        with np.errstate(all="ignore"):
            found = compute(special, *[array.astype(np.float64) for array in arrays])
        return (np.asarray(found).astype(arrays[0].dtype).reshape(arrays[0].shape),)

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        wide = layouts[0].dtype.compute
        given = [graph.cast(operand, wide).expand(layouts[0].shape) for operand in operands]
        return graph.cast(graph.host(function, given, ((wide, layouts[0].shape),))[0], layouts[0].dtype)

    return lower


def _function(name: str, doc: str, compute: Callable[..., np.ndarray], gradient: Callable | None = None) -> Callable:
    operator = unary(f"special_{name}", infer=_infer(name), lower=_lower(compute), gradient=gradient)
    function, _ = unary_function(operator, doc)
    function.__name__ = function.__qualname__ = name
    return function


# -- Bessel and Airy functions ---------------------------------------------------------------------------------------


def _kernel(name: str, op: str, doc: str) -> Callable:
    """A function that has a kernel."""
    function, _ = unary_function(unary(f"special_{name}", op, infer=infer_float), doc)
    function.__name__ = function.__qualname__ = name
    return function


bessel_j0 = _kernel("bessel_j0", "j0", "The Bessel function of the first kind, of order 0.")
bessel_j1 = _kernel("bessel_j1", "j1", "The Bessel function of the first kind, of order 1.")
bessel_y0 = _kernel("bessel_y0", "y0", "The Bessel function of the second kind, of order 0.")
bessel_y1 = _kernel("bessel_y1", "y1", "The Bessel function of the second kind, of order 1.")
modified_bessel_i0 = _kernel("modified_bessel_i0", "i0", "The modified Bessel function of the first kind, of order 0.")
modified_bessel_i1 = _kernel("modified_bessel_i1", "i1", "The modified Bessel function of the first kind, of order 1.")
modified_bessel_k0 = _kernel("modified_bessel_k0", "k0", "The modified Bessel function of the second kind, of order 0.")
modified_bessel_k1 = _kernel("modified_bessel_k1", "k1", "The modified Bessel function of the second kind, of order 1.")
scaled_modified_bessel_k0 = _kernel("scaled_modified_bessel_k0", "k0e", "``exp(x)`` times ``modified_bessel_k0``.")
scaled_modified_bessel_k1 = _kernel("scaled_modified_bessel_k1", "k1e", "``exp(x)`` times ``modified_bessel_k1``.")


def _lower_sine_quotient(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    dtype = layouts[0].dtype
    x = graph.cast(operands[0], dtype.compute)
    quotient = graph.where(graph.map("isinf", x), 0.0, graph.map("sin", x) / x)
    return graph.cast(graph.where(x.equals(graph.constant(0.0, x.dtype, x.shape)), 1.0, quotient), dtype)


spherical_bessel_j0, _ = unary_function(
    unary("special_spherical_bessel_j0", infer=infer_float, lower=_lower_sine_quotient), "``sin(x) / x``, which is 1 at 0."
)
spherical_bessel_j0.__name__ = spherical_bessel_j0.__qualname__ = "spherical_bessel_j0"
airy_ai = _function("airy_ai", "The Airy function Ai.", lambda scipy, x: np.where(x > 1e3, 0.0, scipy.airy(x)[0]))

# -- tails of the normal distribution --------------------------------------------------------------------------------

erfcx = _function(
    "erfcx",
    "``exp(x^2) erfc(x)``, which does not underflow.",
    lambda scipy, x: scipy.erfcx(x),
    lambda grad, input, result: grad * (2 * input * result - 2 / math.sqrt(math.pi)),
)
log_ndtr = _function(
    "log_ndtr",
    "The logarithm of ``ndtr``, right also far out in the lower tail.",
    lambda scipy, x: scipy.log_ndtr(x),
    lambda grad, input: grad * math.sqrt(2 / math.pi) / erfcx(input * -math.sqrt(0.5)),
)
ndtri = _function(
    "ndtri",
    "The inverse of ``ndtr``: the quantiles of the standard normal distribution.",
    lambda scipy, x: scipy.ndtri(x),
    lambda grad, result: grad * math.sqrt(2 * math.pi) * basic.exp(0.5 * result * result),
)

# -- incomplete gamma functions --------------------------------------------------------------------------------------


def _density(grad: Any, input: Any, other: Any) -> Any:
    """``x^(a - 1) exp(-x) / Gamma(a)``."""
    return grad * basic.exp((input - 1) * basic.log(other) - other - functions.lgamma(input))


def _no_derivative(name: str) -> Callable:
    def gradient(grad: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}: input' is not implemented.")

    return gradient


_IGAMMA = binary(
    "igamma",
    infer=_infer("gammainc"),
    lower=_lower(lambda scipy, a, x: scipy.gammainc(a, x)),
    input=_no_derivative("igamma"),
    other=_density,
)
_IGAMMAC = binary(
    "igammac",
    infer=_infer("gammaincc"),
    lower=_lower(lambda scipy, a, x: scipy.gammaincc(a, x)),
    input=_no_derivative("igammac"),
    other=lambda grad, input, other: -_density(grad, input, other),
)
igamma, igamma_ = binary_function(
    _IGAMMA, "The regularised lower incomplete gamma function: the part of ``Gamma(input)``'s integral up to ``other``.", numbers=()
)
igammac, igammac_ = binary_function(_IGAMMAC, "``1 - igamma(input, other)``, without cancellation.", numbers=())

NAMES = (
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "erfcx", "log_ndtr", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "ndtri", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0",
)  # fmt: skip
PUBLIC = ("igamma", "igammac")
METHODS = ("igamma", "igamma_", "igammac", "igammac_")
