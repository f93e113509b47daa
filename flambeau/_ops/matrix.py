"""Matrix products: matmul, mm, bmm, addmm, linear and their kin, all one contraction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._compiler.bundles import matrix_product
from flambeau._ops.arguments import into
from flambeau._ops.elementwise import conj
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _same_dtype(name: str, *operands: Layout) -> None:
    dtypes = [operand.dtype for operand in operands]
    if any(dtype is not dtypes[0] for dtype in dtypes):
        raise RuntimeError(f"{name}: expected all operands to have the same dtype, but got: {' and '.join(map(repr, dtypes))}")
    if dtypes[0] is dt.bool:
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")


# -- matrix by matrix, batched ---------------------------------------------------------------------------------------


def _infer_bmm(operands: tuple, statics: tuple) -> Layout:
    a, b = operands
    _same_dtype("matmul", a, b)
    if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
            if a.ndim == 2
            else f"Expected size for first two dimensions of batch2 tensor to be: {[a.shape[0], a.shape[2]]} but got: {[b.shape[0], b.shape[1]]}."
        )
    return lay.contiguous((*a.shape[:-1], b.shape[-1]), a.dtype)


def _lower_bmm(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    a, b = operands
    return matrix_product(graph, a, b, a.ndim - 2)


BMM = Operator("bmm", ("input", "mat2"), infer=_infer_bmm, lower=_lower_bmm)
BMM.gradient(
    input=lambda grad, mat2: BMM(grad, conj(mat2).transpose(-1, -2)),
    mat2=lambda grad, input: BMM(conj(input).transpose(-1, -2), grad),
)


# -- matrix by vector, vector by vector ---------------------------------------------------------------------------------


def _infer_by_vector(operands: tuple, statics: tuple) -> Layout:
    input, vec = operands
    _same_dtype("matmul", input, vec)
    if input.shape[-1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch: a {' x '.join(map(str, input.shape))} tensor cannot be multiplied by a vector of {vec.shape[0]} elements"
        )
    return lay.contiguous(input.shape[:-1], input.dtype)


def _lower_by_vector(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    input, vec = operands
    return graph.contract(input, vec, m=input.ndim - 1, n=0)


MV = Operator("mv", ("input", "vec"), infer=_infer_by_vector, lower=_lower_by_vector)
MV.gradient(
    input=lambda grad, vec: grad.unsqueeze(1) * conj(vec),
    vec=lambda grad, input: MV(conj(input).transpose(0, 1), grad),
)

DOT = Operator("dot", ("input", "tensor"), infer=_infer_by_vector, lower=_lower_by_vector)
DOT.gradient(
    input=lambda grad, tensor: grad * conj(tensor),
    tensor=lambda grad, input: grad * conj(input),
)


# -- by any dimensions ---------------------------------------------------------------------------------------------------


def require_dimensions(ndim: int, kind: str, **tensors: Tensor) -> None:
    """Check that tensors, given by their names, have so many dimensions."""
    for name, tensor in tensors.items():
        if tensor.layout.ndim != ndim:
            raise RuntimeError(f"{name} must be a {kind}, but it has shape {list(tensor.layout.shape)}")


def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of two matrices: ``(n, k) @ (k, m) -> (n, m)``.

    Raises:
        RuntimeError: an operand is no matrix, or the inner sizes differ.
    """
    require_dimensions(2, "matrix", self=input, mat2=mat2)
    return into(out, BMM(input, mat2))


def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The products of two batches of matrices: ``(b, n, k) @ (b, k, m) -> (b, n, m)``."""
    require_dimensions(3, "3D tensor", batch1=input, batch2=mat2)
    return into(out, BMM(input, mat2))


def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product; leading dimensions are broadcast, and a vector counts as a row or a column.

    Raises:
        RuntimeError: an operand has no dimensions, or the inner sizes differ.

    Example::

        >>> flambeau.ones(2, 3) @ flambeau.ones(3)
        tensor([3., 3.])
    """
    a, b = input, other
    if a.layout.ndim == 0 or b.layout.ndim == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a.layout.ndim}D and {b.layout.ndim}D")
    if a.layout.ndim == 2 and b.layout.ndim == 2:
        return into(out, BMM(a, b))
    row, column = a.layout.ndim == 1, b.layout.ndim == 1
    if a.layout.shape[-1] != b.layout.shape[-1 if column else -2]:
        raise RuntimeError(
            f"size mismatch in matmul: {list(a.layout.shape)} @ {list(b.layout.shape)} (inner sizes {a.layout.shape[-1]} and {b.layout.shape[-1 if column else -2]})"
        )
    if column and a.layout.ndim <= 2:
        return into(out, DOT(a, b) if row else MV(a, b))
    if row and b.layout.ndim == 2:
        return into(out, MV(b.transpose(0, 1), a))
    if row:
        a = a.unsqueeze(0)
    if column:
        b = b.unsqueeze(1)
    if a.layout.shape[:-2] != b.layout.shape[:-2]:
        a = _without_batch(a, b.layout.ndim)
        b = _without_batch(b, a.layout.ndim)
    if b.layout.ndim == 2 and a.layout.ndim > 2:  # many rows by one matrix: one large product
        lead = a.layout.shape[:-1]
        result = BMM(a.reshape(-1, a.layout.shape[-1]) if a.layout.numel else a.reshape(_rows(lead), a.layout.shape[-1]), b).reshape(
            *lead, b.layout.shape[-1]
        )
    elif a.layout.ndim == 2 and a.layout.dtype is not a.layout.dtype.compute:  # one by many: its gradient is one sum, and rounded once
        result = LINEAR(b.transpose(-1, -2), a).transpose(-1, -2).contiguous()
    else:
        left, right = a.layout.shape[:-2], b.layout.shape[:-2]
        if left != right:
            batch = lay.broadcast_shapes(left, right)
            a = a.expand(*batch, *a.layout.shape[-2:])
            b = b.expand(*batch, *b.layout.shape[-2:])
        result = BMM(a, b)
    if row:
        result = result.squeeze(-2)
    if column:
        result = result.squeeze(-1)
    return into(out, result)


def _without_batch(matrices: Tensor, ndim: int) -> Tensor:
    """A batch of one matrix as the matrix, beside matrices of at least as many and more than two dimensions."""
    shape = matrices.layout.shape
    return matrices.reshape(shape[-2:]) if 2 < len(shape) <= ndim and _rows(shape[:-2]) == 1 else matrices


def _rows(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


# -- a product and a sum ---------------------------------------------------------------------------------------------


def _sum_of_products(name: str) -> Operator:
    """``alpha * (mat1 @ mat2) + beta * input``, or without the last two ``alpha * (mat1 @ mat2)``: rounded once, to the dtype of the matrices.

    In float32 only what is left is rounded; half precision is multiplied as ``bmm`` does, and its sums are scaled and added to in float32.
    """

    def infer(operands: tuple, statics: tuple) -> Layout:
        mat1, mat2, _, *added = operands
        layout = _infer_bmm((mat1, mat2), ())
        if added and lay.broadcast_shapes(added[0].shape, layout.shape) != layout.shape:
            raise RuntimeError(
                f"{name}: input of shape {list(added[0].shape)} cannot be expanded to the product's shape {list(layout.shape)}"
            )
        return layout

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
        dtype = layouts[0].dtype
        mat1, mat2, *others = operands
        alpha, *added = (graph.cast(each, dtype.compute) for each in others)
        result = matrix_product(graph, mat1, mat2, mat1.ndim - 2, dtype=dtype.compute) * alpha
        if added:
            input, beta = added
            result = graph.map("fma", input, beta, result) if dtype.is_floating_point else input * beta + result
        return graph.cast(result, dtype)

    operator = Operator(name, ("mat1", "mat2", "alpha", "input", "beta"), infer=infer, lower=lower)
    return operator.gradient(
        mat1=lambda grad, mat2, alpha: scaled_product(operator, grad, conj(mat2).transpose(-1, -2), conj(alpha)),
        mat2=lambda grad, mat1, alpha: scaled_product(operator, conj(mat1).transpose(-1, -2), grad, conj(alpha)),
        input=lambda grad, beta: grad if beta == 1 else grad.to(grad.layout.dtype.compute) * conj(beta),
    )


def scaled_product(operator: Operator, mat1: Tensor, mat2: Tensor, alpha: Any) -> Tensor:
    """``alpha * (mat1 @ mat2)`` by ``ADDMM`` or ``BADDBMM``."""
    return BMM(mat1, mat2) if alpha == 1 else operator(mat1, mat2, alpha)


ADDMM, BADDBMM = _sum_of_products("addmm"), _sum_of_products("baddbmm")


# -- linear ----------------------------------------------------------------------------------------------------------


def _infer_linear(operands: tuple, statics: tuple) -> Layout:
    input, weight = operands[:2]
    _same_dtype("linear", *operands)
    if weight.ndim != 2 or input.ndim < 1 or input.shape[-1] != weight.shape[1]:
        rows = _rows(input.shape[:-1])
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1] if input.ndim else 1} and {weight.shape[-1]}x{weight.shape[0]}): "
            f"linear: input of shape {list(input.shape)} must end in in_features={weight.shape[-1]} (weight of shape {list(weight.shape)})"
        )
    if len(operands) == 3 and operands[2].shape != weight.shape[:1]:
        raise RuntimeError(f"linear: bias of shape {list(operands[2].shape)} must have shape [{weight.shape[0]}] (out_features)")
    return lay.contiguous((*input.shape[:-1], weight.shape[0]), input.dtype)


def _lower_linear(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    input, weight = operands[:2]
    dtype = layouts[0].dtype
    product = matrix_product(graph, input, weight.transpose(0, 1), m=input.ndim - 1, dtype=dtype.compute)
    if len(operands) == 3:
        product = product + graph.wide(operands[2])
    return graph.cast(product, dtype)


LINEAR = Operator("linear", ("input", "weight", "bias"), infer=_infer_linear, lower=_lower_linear, grad_name="AddmmBackward0")


def _flat(x: Tensor) -> Tensor:
    """All rows as one matrix."""
    shape = x.layout.shape
    return x if len(shape) == 2 else x.reshape(_rows(shape[:-1]), shape[-1])


LINEAR.gradient(
    input=lambda grad, weight: matmul(grad, conj(weight)),
    weight=lambda grad, input: BMM(_flat(grad).transpose(0, 1), conj(_flat(input))),
    bias=lambda grad: _flat(grad).sum(0),
)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Shapes: input ``(*, in_features)``, weight ``(out_features, in_features)``, bias ``(out_features)``, result ``(*, out_features)``.
    """
    return LINEAR(input, weight) if bias is None else LINEAR(input, weight, bias)


PUBLIC = ("mm", "bmm", "matmul")
METHODS = ("mm", "bmm", "matmul")
