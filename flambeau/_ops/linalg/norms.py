"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau._ops import elementwise as basic
from flambeau._ops.arguments import int_tuple, into
from flambeau._ops.linalg.host import check_floating, check_matrix, check_square
from flambeau._ops.linalg.solve import inv_ex
from flambeau._ops.linalg.spectral import svdvals
from flambeau._ops.operator import Operator
from flambeau._ops.reduction import amax, amin, infer_reduced, restore, sum
from flambeau._ops.registry import FUNCTIONS
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- vectors ---------------------------------------------------------------------------------------------------------


def _lower_count(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axes, keepdim, dtype = statics
    other = graph.cast(graph.map("ne", operands[0], graph.constant(0, operands[0].dtype)), dtype.compute)
    return graph.cast(graph.reduce("sum", other, axes, keepdim=keepdim), dtype)


COUNT = Operator("_linalg_norm_zero", ("x",), ("axes", "keepdim", "dtype"), infer=infer_reduced, lower=_lower_count)
COUNT.gradient(x=lambda grad: None)


def _lower_power_norm(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axes, keepdim, dtype, ord = statics
    wide = dt.float64  # as for squares: no power of float32 overflows that the norm does not, and the result alone is rounded
    size = graph.cast(graph.map("abs", graph.wide(operands[0])), wide)
    total = graph.map("pow", size, graph.constant(ord, wide)).sum(axes, keepdim=keepdim)
    return graph.cast(graph.map("pow", total, graph.constant(1.0 / ord, wide)), dtype)


POWER_NORM = Operator(
    "linalg_vector_norm",
    ("x",),
    ("axes", "keepdim", "dtype", "ord"),
    infer=lambda operands, statics: infer_reduced(operands, statics[:3]),
    lower=_lower_power_norm,
)


def _power_norm_gradient(grad: Tensor, x: Tensor, result: Tensor, axes: tuple, keepdim: bool, ord: float) -> Tensor:
    """``grad sgn(x) (|x| / norm)^(ord - 1)``, and 0 where that is not defined: at 0."""
    shape = x.layout.shape
    norm = restore(result, shape, axes, keepdim).to(dt.float64)  # a high power of a quotient has many times its error
    none = (x == 0) | (norm == 0)
    ratio = FUNCTIONS.where(none, 1.0, basic.abs(x).to(dt.float64)) / FUNCTIONS.where(none, 1.0, norm)
    return restore(grad, shape, axes, keepdim) * FUNCTIONS.where(none, 0.0, x.sgn() * ratio ** (ord - 1))


POWER_NORM.gradient(x=_power_norm_gradient)


def _lower_euclidean(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    axes, keepdim, dtype, within = statics
    x = operands[0]
    parts = [graph.map("real", x), graph.map("imag", x)] if x.dtype.is_complex else [x]
    total, *rest = [graph.reduce("squares", graph.cast(part, within), axes, keepdim=keepdim) for part in parts]
    return graph.cast(graph.map("sqrt", total + rest[0] if rest else total), dtype)


# Squares are added in the dtype ``within``.
EUCLIDEAN = Operator(
    "_linalg_norm_two",
    ("x",),
    ("axes", "keepdim", "dtype", "within"),
    infer=lambda operands, statics: infer_reduced(operands, statics[:3]),
    lower=_lower_euclidean,
    grad_name="LinalgVectorNormBackward0",
)


def _euclidean_gradient(grad: Tensor, x: Tensor, result: Tensor, axes: tuple, keepdim: bool) -> Tensor:
    """``grad x / norm``, and 0 where the norm is 0."""
    shape = x.layout.shape
    norm = restore(result, shape, axes, keepdim)
    return restore(grad, shape, axes, keepdim) * FUNCTIONS.where(norm == 0, 0.0, x / norm)


EUCLIDEAN.gradient(x=_euclidean_gradient)


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None, out: Tensor | None = None
) -> Tensor:
    """``(sum |x|^ord)^(1 / ord)`` over all elements or ``dim``; ``inf``, ``-inf`` and 0 are the maximum, the minimum and the count of non-zeros."""
    if dtype is not None:
        x = x.to(dt.of_python(dtype))
    if x.layout.dtype.category < dt.FLOAT:
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.layout.dtype!r}")
    axes = lay.wrap_axes(dim, x.layout.ndim)
    real = x.layout.dtype.to_real()
    if ord == 2:
        # In double precision no square of float32 or half precision overflows, and the result alone is rounded.
        result = EUCLIDEAN(x, statics=(axes, keepdim, real, dt.float64))
    elif ord == 0:
        result = COUNT(x, statics=(axes, keepdim, real))
    elif ord == 1:
        result = sum(basic.abs(x), axes, keepdim)
    elif ord in (math.inf, -math.inf):
        result = (amax if ord > 0 else amin)(basic.abs(x), axes, keepdim)
    else:
        result = POWER_NORM(x, statics=(axes, keepdim, real, float(ord)))
    return into(out, result)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return vector_norm(input - other, p)


# -- matrices --------------------------------------------------------------------------------------------------------


def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The norm of matrices that lie in the two dimensions ``dim``.

    ``"fro"`` is the root of the sum of squares, ``"nuc"`` the sum of the singular values, 2 and -2 the largest and the smallest one,
    1 and -1 the largest and smallest sum of absolute values of a column, and inf and -inf those of a row.
    """
    name = "linalg.matrix_norm"
    check_matrix(name, A)
    axes = tuple(lay.wrap_axis(axis, A.layout.ndim) for axis in int_tuple(dim, "dim"))
    if len(axes) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {' '.join(map(str, int_tuple(dim, 'dim')))}")
    if axes[0] == axes[1]:
        raise RuntimeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    if A.layout.dtype.category < dt.FLOAT:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {A.layout.dtype!r}")
    if dtype is not None:
        dtype = dt.of_python(dtype)
        if dtype.category < dt.FLOAT or (A.is_complex() and not dtype.is_complex):
            raise RuntimeError(f"{name}: dtype should be floating point or complex, and complex if the input is. Got {dtype!r}")
        A = A.to(dtype)
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"{name}: Order {ord} not supported.")
        if ord == "fro":
            return into(out, vector_norm(A, 2, axes, keepdim))
    elif math.fabs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if ord in ("nuc", 2, -2):
        check_floating(name, A)
        size = svdvals(A.movedim(axes, (-2, -1)))
        result = size.sum(-1) if ord == "nuc" else size.amax(-1) if ord == 2 else size.amin(-1)
    else:
        inner, outer = axes if math.fabs(ord) == 1 else axes[::-1]
        total = basic.abs(A).sum(inner)
        outer -= inner < outer
        result = total.amax(outer) if ord > 0 else total.amin(outer)
    if keepdim:
        for axis in sorted(axes):
            result = result.unsqueeze(axis)
    return into(out, result)


def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """A vector norm over one dimension, a matrix norm over two; with neither ``ord`` nor ``dim`` the 2-norm of all elements."""
    axes = None if dim is None else int_tuple(dim, "dim")
    if ord is not None and axes is not None and len(axes) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(axes)}")
    if ord is not None and axes is None and A.layout.ndim not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.layout.ndim}D.")
    if ord is not None and (len(axes) if axes is not None else A.layout.ndim) == 2:
        return matrix_norm(A, ord, (0, 1) if axes is None else axes, keepdim, dtype=dtype, out=out)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} is defined for matrices (two dimensions), not for vectors")
    return vector_norm(A, 2 if ord is None else ord, axes, keepdim, dtype=dtype, out=out)


def cond(A: Tensor, p: float | str | None = None, *, out: Tensor | None = None) -> Tensor:
    """The condition number ``norm(A, p) * norm(inv(A), p)``; by default the ratio of the largest and the smallest singular value.

    It is infinite for a singular matrix.
    """
    check_matrix("linalg.cond", A)
    check_floating("linalg.cond", A)
    if p is None or p in (2, -2):
        if not A.layout.numel:
            return into(out, A.new_zeros(A.layout.shape[:-2], dtype=A.layout.dtype.to_real()))
        size = svdvals(A)
        return into(out, size[..., -1] / size[..., 0] if p == -2 else size[..., 0] / size[..., -1])
    check_square("linalg.cond", A)
    if not A.layout.numel:
        return into(out, A.new_zeros(A.layout.shape[:-2], dtype=A.layout.dtype.to_real()))
    if p == "nuc":
        size = svdvals(A)
        return into(out, size.sum(-1) * (1 / size).sum(-1))
    inverse, info = inv_ex(A)
    return into(out, FUNCTIONS.where(info == 0, matrix_norm(A, p) * matrix_norm(inverse, p), math.inf))
