"""The text of a sparse tensor, as PyTorch writes it."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.printing import get_printoptions, printoptions
from flambeau._tensor.tensor import Tensor
from flambeau._types.promotion import get_default_dtype
from flambeau.sparse.tensor import SparseCompressed, SparseCoo, SparseTensor

_NAMES = {"torch.sparse_csr": ("crow_indices", "col_indices"), "torch.sparse_csc": ("ccol_indices", "row_indices")}


def text(tensor: SparseTensor) -> str:
    """``tensor(indices=…, values=…, size=…, nnz=…, layout=…)``."""
    parts: list[tuple[str, Tensor]]
    if isinstance(tensor, SparseCompressed):
        first, second = _NAMES[repr(tensor.layout)]
        parts = [(first, tensor._starts), (second, tensor._plain)]
    else:
        assert isinstance(tensor, SparseCoo)
        parts = [("indices", tensor._places)]
    parts.append(("values", tensor._elements))
    shown = ",\n       ".join(f"{name}={_part(part, len('tensor(=') + len(name))}" for name, part in parts)
    suffixes = [f"size={tuple(tensor.shape)}", f"nnz={tensor._nnz()}"]
    if tensor.dtype is not get_default_dtype() and not (
        tensor._nnz() and str(tensor.dtype) in ("torch.int64", "torch.bool", "torch.complex64")
    ):
        suffixes.append(f"dtype={tensor.dtype!r}")
    suffixes.append(f"layout={tensor.layout!r}")
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _joined(f"tensor({shown}", suffixes, isinstance(tensor, SparseCoo))


def _part(part: Tensor, indent: int) -> str:
    part = part.detach()
    if part.numel() == 0:
        return f"tensor([], size={tuple(part.shape)})"
    with printoptions(linewidth=max(1, get_printoptions()["linewidth"] - indent)):  # of which PyTorch takes as much off
        shown = repr(part)
    if "dtype=" in shown and part.is_floating_point():  # it is told of the whole
        cut = shown.rindex("dtype=")
        shown = shown[:cut].rstrip().rstrip(",") + ")"
    return shown.replace("\n", "\n" + " " * indent)


def _joined(shown: str, suffixes: list[str], new_line: Any) -> str:
    width = get_printoptions()["linewidth"]
    line = len(shown) - shown.rfind("\n") + 1
    for suffix in suffixes:
        if new_line or line + len(suffix) + 2 > width:
            shown += f",\n       {suffix}"
            line = 7 + len(suffix)
            new_line = False
        else:
            shown += f", {suffix}"
            line += len(suffix) + 2
    return shown + ")"
