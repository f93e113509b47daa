"""What ordinary tensors have to do with sparse and nested ones: they become one, and say that they are none."""

from __future__ import annotations

from typing import Any

from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types.strided import described


class SparseMethods(TensorBase):
    """The methods of ``flambeau.Tensor`` that concern sparse layouts. The code for them is loaded when one is first asked for."""

    __slots__ = ()

    def to_sparse(self, *args: Any, **options: Any) -> Any:
        """The tensor in a sparse layout: ``to_sparse(sparse_dim)`` or ``to_sparse(layout=…)``, ``torch.sparse_coo`` if left out."""
        return FUNCTIONS.sparse().to_sparse(self, *args, **options)

    def to_sparse_coo(self) -> Any:
        """The tensor as a list of the positions and values that are not zero."""
        return self.to_sparse()

    def to_sparse_csr(self, dense_dim: int | None = None) -> Any:
        """The matrix by rows."""
        return FUNCTIONS.sparse().to_sparse_csr(self, dense_dim)

    def to_sparse_csc(self, dense_dim: int | None = None) -> Any:
        """The matrix by columns."""
        return FUNCTIONS.sparse().to_sparse_csc(self, dense_dim)

    def sparse_mask(self, mask: Any) -> Any:
        """The elements at the positions of a sparse tensor."""
        return FUNCTIONS.sparse().sparse_mask(self, mask)

    def to_padded_tensor(self, padding: float, output_size: Any = None) -> Any:
        """Of nested tensors only: all pieces in one dense tensor."""
        raise NotImplementedError("to_padded_tensor is for nested tensors; this one is dense: torch.nn.functional.pad")

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Any:
        """The tensor itself, or in another dtype: all its elements are there."""
        return self if dtype is None else self.to(dtype)

    def sparse_dim(self) -> int:
        """0: no dimension is sparse."""
        return 0

    def dense_dim(self) -> int:
        """The number of dimensions: all are dense."""
        return self.layout.ndim


def _refusing(name: str, wanted: str) -> Any:
    def refuse(self: TensorBase, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError(f"{name} expected sparse {wanted} tensor layout but got {described(self.layout)}")

    refuse.__name__, refuse.__qualname__, refuse.__doc__ = name, f"Tensor.{name}", f"Of sparse ({wanted}) tensors only."
    return refuse


PARTS = {
    "coordinate": (
        "coalesce", "is_coalesced", "indices", "values", "_nnz", "_indices", "_values", "smm", "sparse_resize_", "sparse_resize_and_clear_", "sspaddmm",
    ),
    "row compressed": ("crow_indices", "col_indices"),
    "column compressed": ("ccol_indices", "row_indices"),
}  # fmt: skip
"""What tensors of one layout have, and others refuse."""

for _wanted, _names in PARTS.items():
    for _name in _names:
        setattr(SparseMethods, _name, _refusing(_name, _wanted))
