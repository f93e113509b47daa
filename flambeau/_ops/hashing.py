"""A number for all the bits of a tensor: hash_tensor."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau._ops.arguments import into
from flambeau._ops.creation import zeros
from flambeau._ops.joining import cat
from flambeau._types import dtype as dt
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0, out: Tensor | None = None) -> Tensor:
    """The exclusive or of the elements' bits, as float64 or int64, over all of them or over ``dim``: uint64.

    Raises:
        RuntimeError: ``mode`` is not 0, which stands for exclusive or, or the tensor is complex.
    """
    if mode != 0:
        raise RuntimeError(f"hash_tensor: mode must be 0, for exclusive or, but got {mode!r}")
    if input.is_complex():
        raise NotImplementedError(f"hash_tensor is not implemented for {input.layout.dtype!r}")
    shape = input.layout.shape
    axes = lay.wrap_axes(dim, len(shape))
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    bits = input.detach().to(dt.float64 if input.is_floating_point() else dt.int64).view(dt.int64)
    bits = bits.permute(*axes, *rest).reshape(prod([shape[axis] for axis in axes]), *[shape[axis] for axis in rest])
    while (count := bits.layout.shape[0]) > 1:  # halves on each other
        half = count // 2
        folded = bits[:half] ^ bits[half : 2 * half]
        bits = cat((folded, bits[2 * half :])) if count % 2 else folded
    result = bits[0].clone() if bits.layout.shape[0] else zeros(bits.layout.shape[1:], dtype=dt.int64, device=input.device)
    if keepdim:
        result = result.reshape([1 if axis in axes else size for axis, size in enumerate(shape)])
    return into(out, result.view(dt.uint64))


PUBLIC = ("hash_tensor",)
METHODS = PUBLIC
