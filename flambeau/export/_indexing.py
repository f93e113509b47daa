"""`x[:, 0, None]` as PyTorch's operators: select, slice, unsqueeze, index."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.export._sizes import FreeInt

__all__ = ["index_steps"]

_ALL = slice(None)


def index_steps(index: Any, ndim: int) -> list[tuple[str, tuple]] | None:
    """The operators that an index is, one after the other, each with its arguments behind the tensor.

    Returns:
        Nothing for an index that is none of them: with truth values, or with numbers beside tensors of indices.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(part, bool) for part in parts) or not all(_is_known(part) for part in parts):
        return None
    advanced = [part for part in parts if isinstance(part, (Tensor, list))]
    if advanced and any(isinstance(part, (int, FreeInt)) or part is None for part in parts):
        return None
    width = sum(_width(part) for part in parts)
    if any(part is Ellipsis for part in parts):
        place = next(number for number, part in enumerate(parts) if part is Ellipsis)
        parts[place : place + 1] = [_ALL] * max(ndim - width, 0)
    steps: list[tuple[str, tuple]] = []
    dim = 0
    indices: list[Any] = []
    for part in parts:
        if part is None:
            steps.append(("unsqueeze", (dim,)))
            dim += 1
        elif isinstance(part, (int, FreeInt)):
            steps.append(("select", (dim, part)))
        elif isinstance(part, slice):
            if part != _ALL:
                ends = (part.start, part.stop) if part.step is None else (part.start, part.stop, part.step)
                steps.append(("slice", (dim, *ends)))
            indices.append(None)
            dim += 1
        else:
            indices.append(part)
            dim += _width(part)
    if advanced:
        steps.append(("index", ([_as_tensor(part) for part in indices],)))
    return steps


def _is_known(part: Any) -> bool:
    return part is None or part is Ellipsis or isinstance(part, (int, FreeInt, slice, Tensor)) or (isinstance(part, list) and bool(part))


def _width(part: Any) -> int:
    """How many dimensions of the tensor a part of an index is for."""
    if part is None or part is Ellipsis:
        return 0
    if isinstance(part, Tensor) and not part.dtype.is_floating_point and str(part.dtype) in ("torch.bool", "torch.uint8"):
        return part.dim()
    return 1


def _as_tensor(part: Any) -> Any:
    return flambeau.tensor(part) if isinstance(part, list) else part
