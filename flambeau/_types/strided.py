"""Kinds of memory layout: there is one, a storage with strides."""

from __future__ import annotations

from flambeau._types.layout import Layout


class layout:
    """How a tensor keeps its elements; ``strided`` is the only kind (PyTorch has sparse ones besides).

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
        return self is other or isinstance(other, Layout)

    def __hash__(self) -> int:
        return id(self)


strided = layout("strided")
