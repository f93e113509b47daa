"""The text of a nested tensor, as PyTorch writes it."""

from __future__ import annotations

from typing import Any

from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.tensor import NestedTensor


def text(tensor: NestedTensor) -> str:
    """``NestedTensor(size=…, offsets=…, contiguous=…)`` of a jagged tensor; all pieces of one of layout ``torch.strided``."""
    history = ""
    if tensor.grad_fn is not None:
        history = f", grad_fn=<{tensor.grad_fn.name()}>"
    elif tensor.requires_grad:
        history = ", requires_grad=True"
    if isinstance(tensor, JaggedTensor):
        return f"NestedTensor(size={tuple(tensor.shape)}, offsets={tensor.offsets()}{history}, contiguous={tensor.is_contiguous()})"
    pieces = ",\n".join("  " + _piece(piece, bool(history)).replace("\n", "\n  ") for piece in tensor.detach().unbind())
    return f"nested_tensor([\n{pieces}\n]{history})"


def _piece(piece: Any, requires_grad: bool) -> str:
    return repr(piece.requires_grad_() if requires_grad else piece)
