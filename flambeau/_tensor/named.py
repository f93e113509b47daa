"""What ordinary tensors have to do with named ones: they become one, and say that their dimensions have no names."""

from __future__ import annotations

from typing import Any

from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase


class NamedMethods(TensorBase):
    """The methods of ``flambeau.Tensor`` that concern names of dimensions. The code for them is loaded when one is first asked for."""

    __slots__ = ()

    _names: tuple[str | None, ...] | None = None

    @property
    def names(self) -> tuple[str | None, ...]:
        """The names of the dimensions, ``None`` for those that have none.

        Setting them renames the tensor itself; a name is an identifier, and comes once.
        """
        return self._names or (None,) * self.layout.ndim

    @names.setter
    def names(self, names: Any) -> None:
        FUNCTIONS.named().rename_(self, (None,) if names is None else tuple(names), {})

    def has_names(self) -> bool:
        """Whether a dimension has a name."""
        return self._names is not None

    def rename(self, *names: Any, **rename_map: Any) -> Any:
        """A tensor over the same memory with other names.

        Args:
            names: one for each dimension, ``...`` for those that stay; ``None`` alone drops all
            rename_map: new names by the old ones

        Raises:
            RuntimeError: there are more or fewer names than dimensions, one is there twice or is none, or an old one is not there
        """
        return FUNCTIONS.named().rename(self, names, rename_map)

    def rename_(self, *names: Any, **rename_map: Any) -> Any:
        """Give the tensor itself other names; see ``rename``."""
        return FUNCTIONS.named().rename_(self, names, rename_map)

    def refine_names(self, *names: Any) -> Any:
        """A tensor over the same memory whose dimensions without a name get one; those that have one must be given the same.

        Raises:
            RuntimeError: one has another name, or there are more or fewer than dimensions
        """
        return FUNCTIONS.named().refine_names(self, names)

    def align_to(self, *names: Any) -> Any:
        """A view with the dimensions in the order of ``names``, and one of size 1 for each name that the tensor has not.

        ``...`` stands for the dimensions that are not mentioned, in their order.

        Raises:
            RuntimeError: a dimension has no name, or its name is not among ``names``
        """
        return FUNCTIONS.named().align_to(self, names)

    def align_as(self, other: Any) -> Any:
        """A view with the dimensions of ``other``, in its order; see ``align_to``."""
        return FUNCTIONS.named().align_to(self, other.names)
