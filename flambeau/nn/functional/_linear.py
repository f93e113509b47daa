"""Linear maps."""

from __future__ import annotations

import flambeau
from flambeau._ops import nn as ops
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import shape_text


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes x Aᵀ + b.

    Args:
        input: (..., in_features).
        weight: A, (out_features, in_features) or (in_features,).
        bias: b, (out_features) or ().

    Returns:
        (..., out_features), or (...) if ``weight`` has one dimension.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    try:
        return ops.linear(input, weight, bias)
    except RuntimeError:
        _explain_linear(input, weight, bias)
        raise


def _explain_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raises the error that says which rule the shapes break; returns if they break none."""
    features = weight.shape[-1] if weight.dim() in (1, 2) else None
    if features is None:
        raise RuntimeError(f"linear: weight must have 1 or 2 dimensions (out_features, in_features), got {shape_text(weight)}")
    if input.dim() == 0 or input.shape[-1] != features:
        last = "no dimension" if input.dim() == 0 else f"{input.shape[-1]} features in its last dimension"
        raise RuntimeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied: input of shape {shape_text(input)} has {last}, but weight of shape "
            f"{shape_text(weight)} takes {features} (in_features)"
        )
    if bias is not None and weight.dim() == 2 and tuple(bias.shape) not in ((), (1,), (weight.shape[0],)):
        raise RuntimeError(
            f"linear: bias of shape {shape_text(bias)} does not fit weight of shape {shape_text(weight)}, which has "
            f"{weight.shape[0]} out_features"
        )


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
    output = flambeau.einsum("bi,kij,bj->bk", input1.flatten(0, -2), weight, input2.flatten(0, -2))
    output = output.reshape(*input1.shape[:-1], weight.shape[0])
    return output if bias is None else output + bias
