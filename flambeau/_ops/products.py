"""Products by other names: dot, mv, outer, addmm and its kin, einsum, tensordot."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau._ops import elementwise as basic
from flambeau._ops.arguments import common_dtype, in_place, int_tuple, into, number
from flambeau._ops.autocast import STATE, cast, low, outside
from flambeau._ops.matrix import ADDMM, BADDBMM, DOT, MV, bmm, mm, require_dimensions, scaled_product
from flambeau._ops.operator import Operator
from flambeau._tape.storage import TensorBase
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


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last dimensions."""
    if input.layout.ndim == 0 or other.layout.ndim == 0:
        return into(out, input * other)
    return into(out, tensordot(input, other, ([-1], [-1])))


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


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last ``dims`` dimensions of ``a`` and the first of ``b``, or over the pairs given."""
    if isinstance(dims, int):
        if dims > min(a.layout.ndim, b.layout.ndim):
            raise RuntimeError(
                f"tensordot expects tensors of at least dims (={dims}) dimensions, but got {list(a.layout.shape)} and {list(b.layout.shape)}"
            )
        left, right = tuple(range(a.layout.ndim - dims, a.layout.ndim)), tuple(range(dims))
    else:
        left, right = (int_tuple(each, "dims") for each in dims)
    left = tuple(axis % a.layout.ndim for axis in left)
    right = tuple(axis % b.layout.ndim for axis in right)
    for one, two in zip(left, right, strict=True):
        if a.layout.shape[one] == 1 and b.layout.shape[two] != 1:
            b = b.sum(two, keepdim=True)
        elif b.layout.shape[two] == 1 and a.layout.shape[one] != 1:
            a = a.sum(one, keepdim=True)
        if a.layout.shape[one] != b.layout.shape[two]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.layout.shape[one]} in dim {one} and second has size {b.layout.shape[two]} in dim {two}"
            )
    keep_a = [axis for axis in range(a.layout.ndim) if axis not in left]
    keep_b = [axis for axis in range(b.layout.ndim) if axis not in right]
    inner_size = prod([a.layout.shape[axis] for axis in left])
    rows, columns = [a.layout.shape[axis] for axis in keep_a], [b.layout.shape[axis] for axis in keep_b]
    product = mm(a.permute(*keep_a, *left).reshape(prod(rows), inner_size), b.permute(*right, *keep_b).reshape(inner_size, prod(columns)))
    return into(out, product.reshape(*rows, *columns))


# -- einsum ----------------------------------------------------------------------------------------------------------


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Einstein's summation: ``einsum("bij,bjk->bik", a, b)``; operands are contracted in pairs from left to right.

    Raises:
        TypeError: an operand is no tensor.
        RuntimeError: the equation does not fit the operands, or products of different dtypes are to be summed.
        ValueError: there are none.
    """
    if not isinstance(equation, str):  # the form with lists of axis numbers: einsum(a, [0, 1], b, [1, 2], [0, 2])
        given = [equation, *operands]
        result = given.pop() if len(given) % 2 else None
        letters = lambda axes: "".join(
            "..." if axis is Ellipsis else chr(ord("A") + axis if axis < 26 else ord("a") + axis - 26) for axis in axes
        )
        equation = ",".join(letters(axes) for axes in given[1::2]) + ("" if result is None else "->" + letters(result))
        operands = tuple(given[::2])
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum(): must provide at least one operand")
    for position, operand in enumerate(operands):
        if not isinstance(operand, TensorBase):
            raise TypeError(f"einsum(): expected Tensor as element {position} of the operands, but got {operand.__class__.__name__}")
    inputs, output = _parse(equation.replace(" ", ""), operands)
    tensors = [_diagonals(tensor, labels) for tensor, labels in zip(operands, inputs, strict=True)]
    current, labels = tensors[0]
    for position, (tensor, other) in enumerate(tensors[1:], 1):
        later = {label for _, rest in tensors[position + 1 :] for label in rest} | set(output)
        current, labels = _pair(current, labels, tensor, other, later)
    extra = [axis for axis, label in enumerate(labels) if label not in output]
    if extra:
        current = current.sum(extra)
        labels = [label for label in labels if label in output]
    return current.permute(*[labels.index(label) for label in output]) if output else current


einsum.spreads = True  # see overriding.spread


def _parse(equation: str, operands: tuple) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand and of the result; an ellipsis becomes labels of its own."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise RuntimeError(
            f"einsum(): fewer or more operands were provided than specified in the equation: {len(operands)} operands for {equation!r}"
        )
    inputs = []
    hidden: list[str] = []
    for term, operand in zip(terms, operands, strict=True):
        before, dots, after = term.partition("...")
        named = len(before) + len(after)
        if any(not letter.isalpha() for letter in before + after):
            raise RuntimeError(f"einsum(): invalid subscript given in {term!r}, subscripts must be in [a-zA-Z]")
        rest = operand.layout.ndim - named
        if rest < 0 or (rest and not dots):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions ({operand.layout.ndim}) for operand {len(inputs)}"
            )
        covered = [f"...{number}" for number in range(rest, 0, -1)]
        if len(covered) > len(hidden):
            hidden = covered
        inputs.append([*before, *covered, *after])
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *(hidden if dots else []), *after]
    else:
        letters = sorted({label for labels in inputs for label in labels if len(label) == 1})
        output = [*hidden, *[letter for letter in letters if sum(labels.count(letter) for labels in inputs) == 1]]
    known = {label for labels in inputs for label in labels}
    for label in output:
        if label not in known:
            raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
        if output.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
    sizes: dict[str, int] = {}
    for labels, operand in zip(inputs, operands, strict=True):
        for label, size in zip(labels, operand.layout.shape, strict=True):
            if sizes.setdefault(label, size) != size:
                if size != 1 and sizes[label] != 1:
                    raise RuntimeError(
                        f"einsum(): subscript {label} has size {size} for operand which does not broadcast with previously seen size {sizes[label]}"
                    )
                sizes[label] = sizes[label] if size == 1 else size
    return inputs, output


def _diagonals(tensor: Tensor, labels: list[str]) -> tuple[Tensor, list[str]]:
    """Repeated labels of one operand are its diagonal."""
    labels = list(labels)
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            tensor = tensor.diagonal(0, first, second)
            labels = [each for axis, each in enumerate(labels) if axis not in (first, second)] + [label]
    return tensor, labels


def _pair(a: Tensor, left: list[str], b: Tensor, right: list[str], later: set[str]) -> tuple[Tensor, list[str]]:
    """The product of two operands, summed over what nobody needs later: one batched matrix product, or if nothing is summed a product of elements,
    which promotes their dtypes."""
    shape_a, shape_b = dict(zip(left, a.layout.shape, strict=True)), dict(zip(right, b.layout.shape, strict=True))
    alone_a = [label for label in left if label not in right and label not in later]
    alone_b = [label for label in right if label not in left and label not in later]
    if alone_a:
        a = a.sum([left.index(label) for label in alone_a])
        left = [label for label in left if label not in alone_a]
    if alone_b:
        b = b.sum([right.index(label) for label in alone_b])
        right = [label for label in right if label not in alone_b]
    shared = [label for label in left if label in right]
    size = {label: shape_a[label] if shape_a[label] != 1 else shape_b[label] for label in shared}
    a = a.expand([size.get(label, shape_a[label]) for label in left])
    b = b.expand([size.get(label, shape_b[label]) for label in right])
    batch = [label for label in shared if label in later]
    inner_labels = [label for label in shared if label not in later]
    rows = [label for label in left if label not in shared]
    columns = [label for label in right if label not in shared]
    if not inner_labels:
        spread = a.permute(*[left.index(label) for label in (*batch, *rows)])
        spread = spread.reshape(*spread.layout.shape, *[1] * len(columns))
        other = b.permute(*[right.index(label) for label in (*batch, *columns)])
        other = other.reshape(*other.layout.shape[: len(batch)], *[1] * len(rows), *other.layout.shape[len(batch) :])
        return spread * other, [*batch, *rows, *columns]
    sizes = [[size.get(label, shape_a.get(label, shape_b.get(label))) for label in group] for group in (batch, rows, inner_labels, columns)]
    count = [prod(group) for group in sizes]
    a = a.permute(*[left.index(label) for label in (*batch, *rows, *inner_labels)]).reshape(count[0], count[1], count[2])
    b = b.permute(*[right.index(label) for label in (*batch, *inner_labels, *columns)]).reshape(count[0], count[2], count[3])
    result = bmm(a, b).reshape(*sizes[0], *sizes[1], *sizes[3])
    return result, [*batch, *rows, *columns]


addmm_, addmv_, addr_, baddbmm_ = (in_place(function) for function in (addmm, addmv, addr, baddbmm))


def addbmm_(self: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """In-place version of ``addbmm()``; a tensor that is broadcast to the result takes its shape."""
    result = addbmm(self.clone(), batch1, batch2, beta=beta, alpha=alpha)
    if result.layout.shape != self.layout.shape:
        self.resize_(result.layout.shape)
    return self.copy_(result)


PUBLIC = (
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "dot", "einsum", "ger", "inner", "mv", "outer", "tensordot", "trace", "vdot",
)  # fmt: skip
METHODS = (*[name for name in PUBLIC if name not in ("einsum", "tensordot")], "addbmm_", "addmm_", "addmv_", "addr_", "baddbmm_")
