"""Linear maps."""

from __future__ import annotations

import flambeau
from flambeau._ops import nn as ops
from flambeau._ops.arguments import into
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
    output = flambeau.einsum("bi,kij,bj->bk", rows1, weight, rows2)
    output = output.reshape(*input1.shape[:-1], weight.shape[0])
    return output if bias is None else output + bias
