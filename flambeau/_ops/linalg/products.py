"""Products, powers and the exponential of matrices, and tensors as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.arguments import into
from flambeau._ops.autocast import low
from flambeau._ops.composing import vector_product
from flambeau._ops.elementwise import conj
from flambeau._ops.joining import cat
from flambeau._ops.linalg.host import check_square, host_operator, kernel_operator, may_look
from flambeau._ops.linalg.solve import inv, solve
from flambeau._ops.ranges import eye
from flambeau._ops.registry import FUNCTIONS
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- powers ----------------------------------------------------------------------------------------------------------


def matrix_power(A: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """A multiplied by itself ``n`` times, by repeated squaring; negative powers are those of the inverse."""
    check_square("linalg.matrix_power", A)
    if not isinstance(n, int):
        raise TypeError(f"matrix_power(): argument 'n' must be int, not {n.__class__.__name__}")
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        return into(out, FUNCTIONS.where(A.new_zeros((), dtype=dt.bool), A, eye(A.layout.shape[-1], dtype=A.layout.dtype)))
    if n == 1:
        return into(out, A.clone())
    result = None
    while n:
        if n % 2:
            result = A if result is None else result @ A
        n //= 2
        if n:
            A = A @ A
    return into(out, result)


# -- the exponential -------------------------------------------------------------------------------------------------

_PADE = [math.perm(13, j) / (math.perm(26, j) * math.factorial(j)) for j in range(14)]
_PADE_RADIUS = 5.371920351148152
"""The 1-norm up to which the approximant of degree 13 is exact in float64."""


def _compute_exp(a: np.ndarray) -> np.ndarray:
    """Padé's approximant of degree 13 with scaling and squaring (Higham, 2005), in double precision, each matrix scaled for itself."""
    x = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    if not x.size:
        return a
    size = np.abs(x).sum(-2).max(-1)
    finite = np.isfinite(size)
    safe = np.where(finite & (size > _PADE_RADIUS), size / _PADE_RADIUS, 1.0)
    halvings = np.ceil(np.log2(safe)).astype(int)
    x = np.where(finite[..., None, None], x, 0) * (0.5**halvings)[..., None, None]
    identity = np.eye(x.shape[-1])
    square = x @ x
    odd, even, power = identity * _PADE[1], identity * _PADE[0], identity
    for j in range(2, 14, 2):
        power = power @ square
        even = even + _PADE[j] * power
        odd = odd + _PADE[j + 1] * power if j < 13 else odd
    odd = x @ odd
    result = np.linalg.solve(even - odd, even + odd)
    with np.errstate(all="ignore"):
        for step in range(int(halvings.max(initial=0))):
            result = np.where((halvings > step)[..., None, None], result @ result, result)
    return np.where(finite[..., None, None], result, np.nan).astype(a.dtype)


_TERMS = {dt.float32: (12, 1.46), dt.float64: (16, 0.78)}
"""The degree of Taylor's polynomial for each dtype, and the 1-norm up to which what is left out does not matter to it (Bader, Blanes and Casas, 2019)."""


def _lower_exp(graph: Graph, operands: list[Node], squarings: int) -> Node:
    """Taylor's polynomial of a matrix that is halved until it is small, by Paterson's and Stockmeyer's scheme; then squared as often as it was halved.

    Each matrix of a batch is halved for itself, at most ``squarings`` times.
    """
    a = operands[0]
    degree, radius = _TERMS[a.dtype]
    last = a.ndim - 1
    size = graph.map("abs", a).sum((last - 1,), keepdim=True).max((last,), keepdim=True)
    large = [(size > radius * 2.0**step).expand(a.shape) for step in range(squarings)]
    x = a
    for each in large:
        x = graph.where(each, x * 0.5, x)
    result = _taylor(graph, x, degree)
    for each in large:
        result = graph.where(each, _product(graph, result, result), result)
    return result


def _product(graph: Graph, left: Node, right: Node) -> Node:
    return graph.contract(left, right, batch=left.ndim - 2, m=1, n=1, k=1)


def _taylor(graph: Graph, x: Node, degree: int) -> Node:
    """``sum of x^k / k!`` in steps of four powers: five products for degree 12, six for 16."""
    same = graph.iota(x.shape, x.ndim - 2).equals(graph.iota(x.shape, x.ndim - 1))
    square = _product(graph, x, x)
    powers = [graph.cast(same, x.dtype), x, square, _product(graph, square, x), _product(graph, square, square)]
    total = powers[4] * (1 / math.factorial(degree))
    for first in range(degree - 4, -1, -4):
        if first < degree - 4:
            total = _product(graph, total, powers[4])
        for place in reversed(range(4)):
            total = total + powers[place] * (1 / math.factorial(first + place))
    return total


EXP = kernel_operator(
    "linalg_matrix_exp",
    ("A",),
    ("squarings",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    kernels=_lower_exp,
    compute=lambda a, squarings: _compute_exp(a),
)
EXP_ON_HOST = host_operator(
    "_linalg_matrix_exp",
    ("A",),
    infer=lambda operands, statics: lay.contiguous(operands[0].shape, operands[0].dtype),
    compute=_compute_exp,
    grad_name="LinalgMatrixExpBackward0",
)


def _exp(A: Tensor) -> Tensor:
    """The exponential, by kernels that are made for the size of the largest matrix: so one has to look."""
    if A.is_complex() or not may_look(A):
        return EXP_ON_HOST(A)
    size = A.detach().abs().sum(-2).max().item()
    if not math.isfinite(size):
        return EXP_ON_HOST(A)
    radius = _TERMS[A.layout.dtype][1]
    return EXP(A, statics=(math.ceil(math.log2(size / radius)) if size > radius else 0,))


def _exp_gradient(grad: Tensor, A: Tensor) -> Tensor:
    """The upper right block of ``exp([[A^H, G], [0, A^H]])`` is the derivative in the direction G (Mathias, 1996)."""
    size = A.layout.shape[-1]
    adjoint = A.mH
    block = cat((cat((adjoint, grad), -1), cat((adjoint * 0, adjoint), -1)), -2)
    return _exp(block)[..., :size, size:]


EXP.gradient(A=_exp_gradient)
EXP_ON_HOST.gradient(A=_exp_gradient)


def matrix_exp(A: Tensor) -> Tensor:
    """The exponential ``I + A + A^2 / 2! + …`` of square matrices.

    Example::

        >>> flambeau.linalg.matrix_exp(flambeau.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    check_square("linalg.matrix_exp", A)
    dtype = A.layout.dtype
    if dtype.category < dt.FLOAT:
        raise RuntimeError(f"linalg.matrix_exp: Expected a floating point or complex tensor as input. Got {dtype!r}")
    if dtype.compute is not dtype:
        return _exp(A.to(dtype.compute)).to(dtype)
    return _exp(A)


# -- products --------------------------------------------------------------------------------------------------------


def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The product of two or more matrices, in the order that takes the fewest multiplications; the first and last may be vectors."""
    given = list(tensors)
    if len(given) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(given)}")
    row, column = given[0].layout.ndim == 1, given[-1].layout.ndim == 1
    if row:
        given[0] = given[0].unsqueeze(0)
    if column:
        given[-1] = given[-1].unsqueeze(-1)
    for position, each in enumerate(given):
        if each.layout.ndim != 2:
            raise RuntimeError(
                f"multi_dot(): tensor {position} must be 2D{' or 1D' if position in (0, len(given) - 1) else ''} but got {each.layout.ndim}D"
            )
        if each.layout.dtype is not given[0].layout.dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {given[0].layout.dtype!r} and tensor {position} {each.layout.dtype!r}"
            )
    sizes = [each.layout.shape[0] for each in given] + [given[-1].layout.shape[1]]
    for position, (one, other) in enumerate(zip(given, given[1:], strict=False)):
        if one.layout.shape[1] != other.layout.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {position} and {position + 1} with shapes {list(one.layout.shape)} and {list(other.layout.shape)} cannot be multiplied"
            )
    result = _multiply(given, _cheapest(sizes), 0, len(given) - 1)
    if row:
        result = result.squeeze(0)
    if column:
        result = result.squeeze(-1)
    return into(out, result)


def _cheapest(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to cut each chain of matrices in two, by dynamic programming over their sizes (Cormen et al., section 15.2)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    cut: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            cost[first, last], cut[first, last] = min(
                (cost[first, k] + cost[k + 1, last] + sizes[first] * sizes[k + 1] * sizes[last + 1], k) for k in range(first, last)
            )
    return cut


def _multiply(given: Sequence[Tensor], cut: dict[tuple[int, int], int], first: int, last: int) -> Tensor:
    if first == last:
        return given[first]
    middle = cut[first, last]
    return _multiply(given, cut, first, middle) @ _multiply(given, cut, middle + 1, last)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The sum of ``conj(x) * y`` along ``dim``."""
    x, y = low(x, y)
    if x.layout.dtype is not y.layout.dtype:
        raise RuntimeError(f"linalg.vecdot: Expected x and y to have the same dtype, but got {x.layout.dtype!r} and {y.layout.dtype!r}")
    if x.layout.dtype is dt.bool:
        raise RuntimeError("\"linalg.vecdot\" not implemented for 'Bool'")
    total = (conj(x) * y).sum(dim)
    return into(out, total if total.layout.dtype is x.layout.dtype else total.to(x.layout.dtype))


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The vector product of vectors of size 3 along ``dim``."""
    return into(out, vector_product(input, other, dim))


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view."""
    return A.diagonal(offset, dim1, dim2)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Vandermonde's matrix: the powers 0 to ``N - 1`` of each element, in a new last dimension."""
    if x.layout.ndim < 1:
        x = x.unsqueeze(0)
    count = x.layout.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    if x.layout.dtype is dt.bool:
        raise RuntimeError("linalg.vander: Bool tensors are not supported")
    if x.layout.dtype.category < dt.FLOAT:
        x = x.to(dt.int64)
    x = x.unsqueeze(-1)
    return cat((x.new_ones(x.layout.shape), x.expand(*x.layout.shape[:-1], count - 1).cumprod(-1)), -1)


# -- tensors as matrices ---------------------------------------------------------------------------------------------


def tensorinv(A: Tensor, ind: int = 2, *, out: Tensor | None = None) -> Tensor:
    """The inverse of A as a map from its last dimensions to its first ``ind``: what ``tensordot(A, ·, A.ndim - ind)`` undoes."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, last = A.layout.shape[:ind], A.layout.shape[ind:]
    if math.prod(first) != math.prod(last):
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got {math.prod(last)} != {math.prod(first)}"
        )
    return into(out, inv(A.reshape(math.prod(first), math.prod(last))).reshape(*last, *first))


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None, *, out: Tensor | None = None) -> Tensor:
    """The X of ``tensordot(A, X, X.ndim) == B``; the dimensions ``dims`` of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.layout.ndim - len(dims), A.layout.ndim)))
    rest = A.layout.shape[B.layout.ndim :]
    if math.prod(rest) != math.prod(A.layout.shape[: B.layout.ndim]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got "
            f"{math.prod(rest)} != {math.prod(A.layout.shape[: B.layout.ndim])}"
        )
    return into(out, solve(A.reshape(B.layout.numel, -1) if B.layout.numel else A.reshape(0, 0), B.reshape(-1)).reshape(rest))
