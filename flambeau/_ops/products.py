"""Products by other names: dot, mv, outer, addmm and its kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops import elementwise as basic
from flambeau._ops.arguments import common_dtype, in_place, into, number
from flambeau._ops.autocast import STATE, cast, low, outside
from flambeau._ops.matrix import ADDMM, BADDBMM, DOT, MV, require_dimensions, scaled_product
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def _vectors(name: str, *tensors: Tensor) -> None:
    if any(tensor.layout.ndim != 1 for tensor in tensors):
        raise RuntimeError(f"1D tensors expected, but got {' and '.join(f'{tensor.layout.ndim}D' for tensor in tensors)} tensors ({name})")


def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The sum of the products of two vectors."""
    if STATE.dtype is not None:
        return outside(dot, input, tensor, out=out)
    _vectors("dot", input, tensor)
    if input.layout.shape != tensor.layout.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor {list(input.layout.shape)} and src {list(tensor.layout.shape)} to have the same number of elements"
        )
    if input.layout.dtype is not tensor.layout.dtype:
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {input.layout.dtype!r} and {tensor.layout.dtype!r}")
    return into(out, DOT(input, tensor))


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``dot`` with the conjugate of the first."""
    return dot(basic.conj(input), other, out=out)


def _matrix_and_vector(input: Tensor, vec: Tensor) -> None:
    if input.layout.ndim != 2 or vec.layout.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.layout.ndim}D and {vec.layout.ndim}D")


def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of a matrix and a vector."""
    if STATE.dtype is not None:
        return outside(mv, input, vec, out=out)
    _matrix_and_vector(input, vec)
    return into(out, MV(input, vec))


def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Every product of an element of the first vector and one of the second."""
    _vectors("outer", input, vec2)
    return into(out, input.unsqueeze(1) * vec2)


ger = outer


def _plus(operator: Operator, input: Tensor, first: Tensor, second: Tensor, beta: Any, alpha: Any) -> Tensor:
    """``beta * input + alpha * (first @ second)`` by ``ADDMM`` or ``BADDBMM``; with ``beta`` 0 whatever is in ``input`` is ignored.

    Raises:
        RuntimeError: ``input`` has another dtype than the product.
    """
    dtype = first.layout.dtype
    if input.layout.dtype is not dtype:
        raise RuntimeError(f"expected input and the product to have the same dtype, but got {input.layout.dtype!r} and {dtype!r}")
    if dtype.category < dt.FLOAT:
        beta, alpha = int(beta), int(alpha)
    if beta == 0:
        return scaled_product(operator, first, second, number(alpha))
    return operator(first, second, number(alpha), input, number(beta))


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``."""
    input, mat1, mat2 = low(input, mat1, mat2)
    require_dimensions(2, "matrix", mat1=mat1, mat2=mat2)
    return into(out, _plus(ADDMM, input, mat1, mat2, beta, alpha))


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``."""
    if STATE.dtype is not None:
        return outside(addmv, input, mat, vec, beta=beta, alpha=alpha, out=out)
    _matrix_and_vector(mat, vec)
    return into(out, _plus(ADDMM, input.unsqueeze(-1), mat, vec.unsqueeze(1), beta, alpha).squeeze(-1))


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``, rounded once in half precision."""
    dtype = common_dtype([each.layout for each in (input, vec1, vec2)])
    if dtype.category < dt.FLOAT:
        kind = bool if dtype is dt.bool else int
        beta, alpha = kind(beta), kind(alpha)
    elif dtype.compute is not dtype:
        input, vec1, vec2 = (each.to(dtype.compute) for each in (input, vec1, vec2))
    product = outer(vec1, vec2)
    if alpha != 1:
        product = product * alpha
    if beta != 0:
        product = product + (input if beta == 1 else input * beta)
    return into(out, product.to(dtype))


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2)``, for each matrix of the batches."""
    input, batch1, batch2 = low(input, batch1, batch2)
    require_dimensions(3, "3D tensor", batch1=batch1, batch2=batch2)
    return into(out, _plus(BADDBMM, input, batch1, batch2, beta, alpha))


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1, out: Tensor | None = None) -> Tensor:
    """``beta * input + alpha * sum(batch1 @ batch2)`` over the batch: one product, which is summed over the batch as well."""
    input, batch1, batch2 = low(input, batch1, batch2)
    require_dimensions(3, "3D tensor", batch1=batch1, batch2=batch2)
    (count, rows, inner), columns = batch1.layout.shape, batch2.layout.shape[2]
    if batch2.layout.shape[:2] != (count, inner):
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: {[count, inner]} but got: {list(batch2.layout.shape[:2])}."
        )
    left, right = batch1.transpose(0, 1).reshape(rows, count * inner), batch2.reshape(count * inner, columns)
    return into(out, _plus(ADDMM, input, left, right, beta, alpha))


def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if STATE.dtype is not None:
        return outside(trace, cast(input, dt.float32))
    if input.layout.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.layout.ndim}")
    return input.diagonal().sum()


addmm_, addmv_, addr_, baddbmm_ = (in_place(function) for function in (addmm, addmv, addr, baddbmm))


def addbmm_(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """In-place version of ``addbmm()``; a tensor that is broadcast to the result takes its shape."""
    result = addbmm(self.clone(), batch1, batch2, beta=beta, alpha=alpha)
    if result.layout.shape != self.layout.shape:
        self.resize_(result.layout.shape)
    return self.copy_(result)


PUBLIC = (
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "dot", "ger", "mv", "outer", "trace", "vdot",
)  # fmt: skip
METHODS = (*PUBLIC, "addbmm_", "addmm_", "addmv_", "addr_", "baddbmm_")
