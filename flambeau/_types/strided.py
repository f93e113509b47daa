"""Kinds of memory layout: most tensors have a storage with strides; ``torch.sparse`` and ``torch.nested`` make those of the other kinds."""

from __future__ import annotations

from typing import Any

from flambeau._types.layout import Layout


class layout:
    """How a tensor keeps its elements.

    ``tensor.layout`` says more than its kind: the sizes and strides themselves. It equals its kind.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (layout, Layout)):
            return self is other or (self is strided and isinstance(other, Layout))
        return NotImplemented  # the layout of a sparse tensor knows its kind

    def __hash__(self) -> int:
        return id(self)


strided = layout("strided")
sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc = (
    layout(name) for name in ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
)

jagged = layout("jagged")

_NAMES = {"torch.sparse_coo": "Sparse", "torch.sparse_csr": "SparseCsr", "torch.sparse_csc": "SparseCsc", "torch.jagged": "Jagged"}


def described(tensor_layout: Any) -> str:
    """The kind of a tensor's layout as PyTorch's messages write it: ``Strided``, ``Sparse``, ``SparseCsr``, ``SparseCsc``, ``Jagged``."""
    return _NAMES.get(repr(tensor_layout), "Strided")


def require_strided(kind: Any, name: str = "Flambeau", error: type[Exception] = RuntimeError) -> None:
    """Check that a layout is ``strided`` (or not given).

    Raises:
        RuntimeError: it is another (or ``error``).
    """
    if kind is not None and kind != strided:
        raise error(f"{name} is implemented for strided tensors only, got: {kind!r}")
