"""What operators on matrices, and those that join tensors, are made of that ONNX lacks."""

from __future__ import annotations

import itertools
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.onnx._registry import made_of


@made_of("bilinear")
def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    result = flambeau.einsum("...i,oij,...j->...o", input1, weight, input2)
    return result if bias is None else result + bias


@made_of("inner")
def _inner(input: Tensor, other: Tensor) -> Tensor:
    if not input.dim() or not other.dim():
        return input * other
    return flambeau.tensordot(input, other, [[-1], [-1]])


@made_of("tensordot")
def _tensordot(a: Tensor, b: Tensor, dims: Any = 2, *others: Any) -> Tensor:
    if others:
        dims = [dims, others[0]]
    if isinstance(dims, int):
        first, second = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        first, second = [each % a.dim() for each in dims[0]], [each % b.dim() for each in dims[1]]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    mine = [next(letters) for _ in range(a.dim())]
    theirs = [mine[first[second.index(dim)]] if dim in second else next(letters) for dim in range(b.dim())]
    kept = [name for dim, name in enumerate(mine) if dim not in first] + [name for dim, name in enumerate(theirs) if dim not in second]
    return flambeau.einsum(f"{''.join(mine)},{''.join(theirs)}->{''.join(kept)}", a, b)


@made_of("kron")
def _kron(input: Tensor, other: Tensor) -> Tensor:
    width = max(input.dim(), other.dim())
    a, b = (each.reshape([*[1] * (width - each.dim()), *each.shape]) for each in (input, other))
    lying = a.reshape([size for each in a.shape for size in (each, 1)]) * b.reshape([size for each in b.shape for size in (1, each)])
    return lying.reshape([x * y for x, y in zip(a.shape, b.shape)])


@made_of("chain_matmul", "linalg_multi_dot")
def _multi_dot(*matrices: Any) -> Tensor:
    parts = list(matrices[0]) if isinstance(matrices[0], (list, tuple)) else list(matrices)
    result = parts[0]
    for part in parts[1:]:
        result = result @ part
    return result


@made_of("linalg_matrix_power", "matrix_power")
def _matrix_power(input: Tensor, n: int) -> Tensor:
    if n < 1:
        raise NotImplementedError("matrix powers are exported for exponents from 1 on")
    result = input
    for _ in range(n - 1):
        result = result @ input
    return result


@made_of("trace")
def _trace(input: Tensor) -> Tensor:
    return input.diagonal().sum()


@made_of("diag")
def _diag(input: Tensor, diagonal: int = 0) -> Tensor:
    return flambeau.diag_embed(input, diagonal) if input.dim() == 1 else input.diagonal(diagonal)


@made_of("diagflat")
def _diagflat(input: Tensor, offset: int = 0) -> Tensor:
    return flambeau.diag_embed(input.reshape([-1]), offset)


@made_of("diag_embed")
def _diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    size = input.shape[-1] + abs(offset)
    rows, columns = flambeau.arange(size).unsqueeze(1), flambeau.arange(size).unsqueeze(0)
    spread = F.pad(input, (offset, 0) if offset > 0 else (0, -offset))  # by columns above the diagonal, by rows below
    filled = spread.unsqueeze(-2) if offset >= 0 else spread.unsqueeze(-1)
    result = flambeau.where(columns - rows == offset, filled, flambeau.zeros((), dtype=input.dtype))
    return result.movedim((-2, -1), (dim1, dim2))


@made_of("block_diag")
def _block_diag(*tensors: Any) -> Tensor:
    parts = list(tensors[0]) if isinstance(tensors[0], (list, tuple)) else list(tensors)
    blocks = [part.reshape([1, -1]) if part.dim() < 2 else part for part in parts]
    width = sum(block.shape[1] for block in blocks)
    rows, before = [], 0
    for block in blocks:
        rows.append(F.pad(block, (before, width - before - block.shape[1])))
        before = before + block.shape[1]
    return flambeau.cat(rows)


@made_of("cross")
def _cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    shape = flambeau.broadcast_shapes(input.shape, other.shape)
    return _linalg_cross(input, other, next(each for each, size in enumerate(shape) if size == 3) if dim is None else dim)


@made_of("linalg_cross")
def _linalg_cross(input: Tensor, other: Tensor, dim: int = -1) -> Tensor:
    a, b = flambeau.broadcast_tensors(input, other)
    turned = lambda x, shift: flambeau.roll(x, shift, dim)
    return turned(a, -1) * turned(b, -2) - turned(a, -2) * turned(b, -1)


@made_of("vander", "linalg_vander")
def _vander(x: Tensor, N: int | None = None, increasing: bool | None = None) -> Tensor:
    count = x.shape[-1] if N is None else N
    powers = flambeau.arange(count)
    return x.unsqueeze(-1) ** (powers if increasing else powers.flip(0))


def _matrices(tensors: Any) -> list[Tensor]:
    return list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)


@made_of("hstack")
def _hstack(*tensors: Any) -> Tensor:
    parts = [flambeau.atleast_1d(part) for part in _matrices(tensors)]
    return flambeau.cat(parts, 0 if parts[0].dim() == 1 else 1)


@made_of("vstack", "row_stack")
def _vstack(*tensors: Any) -> Tensor:
    return flambeau.cat([flambeau.atleast_2d(part) for part in _matrices(tensors)], 0)


@made_of("dstack")
def _dstack(*tensors: Any) -> Tensor:
    return flambeau.cat([flambeau.atleast_3d(part) for part in _matrices(tensors)], 2)


@made_of("column_stack")
def _column_stack(*tensors: Any) -> Tensor:
    return flambeau.cat([part.reshape([-1, 1]) if part.dim() < 2 else part for part in _matrices(tensors)], 1)


@made_of("cartesian_prod")
def _cartesian_prod(*tensors: Any) -> Tensor:
    parts = _matrices(tensors)
    if len(parts) == 1:
        return parts[0]
    return flambeau.stack([part.reshape([-1]) for part in flambeau.meshgrid(*parts, indexing="ij")], 1)


@made_of("combinations")
def _combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = flambeau.tensor(list(choose(range(len(input)), r)), dtype=flambeau.int64).reshape([-1, r])
    return input[places]
