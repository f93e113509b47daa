"""Linear maps."""

from __future__ import annotations

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.arguments import into
from flambeau._ops.autocast import outside
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import shape_text


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """Computes x Aᵀ + b.

    Args:
        input: (..., in_features).
        weight: A, (out_features, in_features) or (in_features,).
        bias: b, (out_features) or ().
        out: where the result is written.

    Returns:
        (..., out_features), or (...) if ``weight`` has one dimension.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    result = ops.linear(input, weight, bias)
    return result if out is None else into(out, result)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes y_k = x₁ᵀ A_k x₂ + b_k.

    Args:
        input1: x₁, (..., in1_features).
        input2: x₂, (..., in2_features), with the same leading dimensions.
        weight: A, (out_features, in1_features, in2_features).
        bias: b, (out_features).

    Returns:
        (..., out_features).

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {shape_text(input1)} and {shape_text(input2)}; all but the last "
            "must be equal"
        )
    for which, (tensor, features) in enumerate(zip((input1, input2), weight.shape[1:]), 1):
        if tensor.shape[-1] != features:
            raise RuntimeError(
                f"bilinear(): input{which} of shape {shape_text(tensor)} has {tensor.shape[-1]} features, but weight of shape "
                f"{shape_text(weight)} takes {features} (in{which}_features)"
            )
    rows1, rows2 = input1.reshape(-1, input1.shape[-1]), input2.reshape(-1, input2.shape[-1])
    output = outside(flambeau.einsum, "bi,kij,bj->bk", rows1, weight, rows2)  # in a region of automatic casts, too, PyTorch's runs as it is
    output = output.reshape(*input1.shape[:-1], weight.shape[0])
    return output if bias is None else output + bias


def grouped_mm(
    mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: flambeau.dtype | None = None
) -> Tensor:
    """Products of groups of rows, or of columns, with a matrix each, as mixtures of experts have them.

    Where an operand has two dimensions, groups lie one behind the other in it, and `offs` says where each of them ends: rows of A (M, K) with B (G, K, N), columns
    of B (K, N) with A (G, M, K), or both along K. The offsets are read, so that what was recorded is computed.

    Args:
        mat_a: A, (M, K) or (G, M, K).
        mat_b: B, (K, N) or (G, K, N).
        offs: (G), int32, in increasing order; nothing where both operands have three dimensions. What lies behind the last one is in no group, and gives zeros.
        bias: has to be nothing, as in PyTorch.
        out_dtype: has to be that of A, as in PyTorch.

    Returns:
        (M, N), or (G, M, N) where all dimensions of groups are in front or along K.

    Raises:
        RuntimeError: shapes, dtypes or offsets do not fit.

    Example:
        >>> import flambeau
        >>> tokens, experts = flambeau.ones(5, 2), flambeau.tensor([1.0, 10.0]).reshape(2, 1, 1).expand(2, 2, 1)
        >>> flambeau.nn.functional.grouped_mm(tokens, experts, offs=flambeau.tensor([2, 5], dtype=flambeau.int32)).flatten()
        tensor([ 2.,  2., 20., 20., 20.])
    """
    _check_groups(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return flambeau.bmm(mat_a, mat_b)
    rows, columns = mat_a.dim() == 2, mat_b.dim() == 2
    groups = offs.shape[0] if rows and columns else (mat_b if rows else mat_a).shape[0]
    whole = mat_a.shape[0] if rows and not columns else mat_b.shape[1] if columns and not rows else mat_a.shape[1]
    ends = [0, *offs.tolist()]
    if len(ends) != groups + 1 or ends[-1] > whole or any(a > b for a, b in zip(ends, ends[1:])):
        raise RuntimeError(
            f"grouped_mm(): offs says where each of {groups} groups ends, in order and up to {whole} at most, not {ends[1:]}"
        )
    parts = list(zip(ends, ends[1:]))
    if rows and columns:
        return flambeau.stack([mat_a[:, start:end] @ mat_b[start:end] for start, end in parts])
    if rows:
        products = [mat_a[start:end] @ matrix for (start, end), matrix in zip(parts, mat_b)]
        return flambeau.cat([*products, mat_a.new_zeros(whole - ends[-1], mat_b.shape[2])])
    products = [matrix @ mat_b[:, start:end] for (start, end), matrix in zip(parts, mat_a)]
    return flambeau.cat([*products, mat_a.new_zeros(mat_a.shape[1], whole - ends[-1])], 1)


def _check_groups(mat_a: Tensor, mat_b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: flambeau.dtype | None) -> None:
    shapes = f"mat_a of shape {shape_text(mat_a)} and mat_b of shape {shape_text(mat_b)}"
    if mat_a.dim() not in (2, 3) or mat_b.dim() not in (2, 3):
        raise RuntimeError(f"grouped_mm(): matrices have 2 dimensions, or 3 with one for groups, got {shapes}")
    if mat_a.shape[-1] != mat_b.shape[-2]:
        raise RuntimeError(f"grouped_mm(): the last size of mat_a must be the last but one of mat_b, got {shapes}")
    if mat_a.dim() == mat_b.dim() == 3 and mat_a.shape[0] != mat_b.shape[0]:
        raise RuntimeError(f"grouped_mm(): there must be as many groups in both, got {shapes}")
    if (offs is None) != (mat_a.dim() == mat_b.dim() == 3):
        raise RuntimeError(f"grouped_mm(): offs is given if, and only if, a matrix has two dimensions, got {shapes}")
    if offs is not None and (offs.dim() != 1 or offs.dtype is not flambeau.int32):
        raise RuntimeError(f"grouped_mm(): offs must be a vector of int32, got shape {shape_text(offs)} and {offs.dtype}")
    if mat_a.dtype is not mat_b.dtype or not mat_a.is_floating_point():
        raise RuntimeError(f"grouped_mm(): both must have one floating point dtype, got {mat_a.dtype} and {mat_b.dtype}")
    if bias is not None:
        raise RuntimeError("grouped_mm(): a bias is not supported: add it to the result")
    if out_dtype is not None and out_dtype is not mat_a.dtype:
        raise RuntimeError(f"grouped_mm(): out_dtype must be that of mat_a, {mat_a.dtype}, got {out_dtype}")
