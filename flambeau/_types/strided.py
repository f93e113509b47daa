"""Kinds of memory layout: most tensors have a storage with strides; ``torch.sparse`` and ``torch.nested`` make those of the other kinds."""

from __future__ import annotations

from typing import Any

from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout


class _LayoutClass(type):
    """Lets what ``tensor.layout`` is be a ``torch.layout``."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or isinstance(instance, (Layout, ComposedLayout))


class layout(metaclass=_LayoutClass):
    """How a tensor keeps its elements.

    ``tensor.layout`` says more than its kind: the sizes and strides themselves. It equals its kind, and is printed as it.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ComposedLayout):
            return self is other.kind
        return self is other or (self is strided and isinstance(other, Layout))

    def __hash__(self) -> int:
        return id(self)


class ComposedLayout:
    """What stands in the place of a ``Layout`` where a tensor is made of others: shape, dtype and the kind of layout, which it equals."""

    __slots__ = ("dtype", "kind", "ndim", "offset", "shape", "strides")

    def __init__(self, kind: layout, shape: tuple, dtype: DType, strides: tuple) -> None:
        self.kind = kind
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self.strides = strides
        self.offset = 0

    def __repr__(self) -> str:
        return repr(self.kind)

    def __eq__(self, other: object) -> bool:
        return self.kind is (other.kind if isinstance(other, ComposedLayout) else other)

    def __hash__(self) -> int:
        return hash(self.kind)


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
        TypeError: it is none at all.
    """
    if kind is not None and not isinstance(kind, (layout, Layout)) and not repr(kind).startswith("torch."):  # or that of a sparse tensor
        raise TypeError(f"argument 'layout' must be torch.layout, not {type(kind).__name__} ({kind!r})")
    if kind is not None and kind != strided:
        raise error(f"{name} is implemented for strided tensors only, got: {kind!r}")
