"""Products of float8 matrices, whose elements stand for larger or smaller numbers."""

from __future__ import annotations

from enum import Enum
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types import dtype as dt
from flambeau.nn.functional._common import shape_text


class ScalingType(Enum):
    """What one scale is for: a whole matrix, or a row (a column, of the second factor). Blocks are not there on the CPU."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(Enum):
    """In which order scales of blocks lie."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def scaled_mm(
    mat_a: Tensor, mat_b: Tensor, scale_a: Any, scale_recipe_a: Any, scale_b: Any, scale_recipe_b: Any, swizzle_a: Any = None, swizzle_b: Any = None,
    bias: Tensor | None = None, output_dtype: flambeau.dtype | None = dt.bfloat16, contraction_dim: Any = (), use_fast_accum: bool = False,
) -> Tensor:  # fmt: skip
    """Computes ``(scale_a * mat_a) @ (scale_b * mat_b) + bias`` of float8 matrices, in float32, and rounds it once.

    Args:
        mat_a: (M, K), float8.
        mat_b: (K, N), float8.
        scale_a: float32: one number with ``ScalingType.TensorWise``, (M, 1) with ``ScalingType.RowWise``; it, and its recipe, may stand in a list.
        scale_b: likewise one number, or (1, N).
        bias: (N).
        output_dtype: that of ``mat_a``, if ``None``.
        swizzle_a, swizzle_b, contraction_dim, use_fast_accum: for PyTorch's sake: they say what is only on GPUs.

    Returns:
        (M, N).

    Raises:
        ValueError: shapes or dtypes do not fit, or the recipes are others.

    Example:
        >>> import flambeau
        >>> from flambeau.nn.functional import ScalingType, scaled_mm
        >>> a, scale = flambeau.ones(2, 4).to(flambeau.float8_e4m3fn), flambeau.tensor(0.5)
        >>> scaled_mm(a, a.t(), scale, ScalingType.TensorWise, scale, ScalingType.TensorWise)
        tensor([[1., 1.],
                [1., 1.]], dtype=torch.bfloat16)
    """
    if mat_a.dim() != 2 or mat_b.dim() != 2 or mat_a.shape[1] != mat_b.shape[0]:
        raise ValueError(f"scaled_mm(): mat_a of shape {shape_text(mat_a)} and mat_b of shape {shape_text(mat_b)} cannot be multiplied")
    for name, matrix in (("mat_a", mat_a), ("mat_b", mat_b)):
        if matrix.dtype not in dt.FLOAT8:
            raise ValueError(f"scaled_mm(): {name} must be of a float8 type, not {matrix.dtype}")
    scales = [
        _scale(name, given, recipe, along)
        for name, given, recipe, along in (
            ("scale_a", scale_a, scale_recipe_a, (mat_a.shape[0], 1)), ("scale_b", scale_b, scale_recipe_b, (1, mat_b.shape[1])),
        )
    ]  # fmt: skip
    if len({each.dim() for each in scales}) > 1:
        raise ValueError(f"scaled_mm(): both scales must be of one kind, TensorWise or RowWise, not {scale_recipe_a} and {scale_recipe_b}")
    product = (mat_a.float() @ mat_b.float()) * (scales[0] * scales[1])
    if bias is not None:
        product = product + bias.float()
    return product.to(mat_a.dtype if output_dtype is None else output_dtype)


def _scale(name: str, given: Any, recipe: Any, along: tuple[int, int]) -> Tensor:
    """A scale that fits: of no dimensions for a whole matrix, of two for rows."""
    scale, recipe = (each[0] if isinstance(each, (list, tuple)) and len(each) == 1 else each for each in (given, recipe))
    if not isinstance(scale, Tensor) or scale.dtype is not dt.float32:
        raise ValueError(
            f"scaled_mm(): {name} must be a tensor of float32, not {scale.dtype if isinstance(scale, Tensor) else type(scale).__name__}"
        )
    if recipe is ScalingType.TensorWise and scale.numel() == 1:
        return scale.reshape(())
    if recipe is ScalingType.RowWise and tuple(scale.shape) == along:
        return scale
    raise ValueError(
        f"scaled_mm(): {name} of shape {shape_text(scale)} does not go with {recipe}: it must be one number with ScalingType.TensorWise, or "
        f"{list(along)} with ScalingType.RowWise; blocks are not there on the CPU"
    )
