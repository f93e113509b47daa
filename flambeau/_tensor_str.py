"""The text of tensors, under the names by which packages ask for parts of it."""

from __future__ import annotations

from flambeau import Tensor
from flambeau._tensor.printing import OPTIONS as PRINT_OPTS
from flambeau._tensor.printing import elements_text, tensor_repr, with_suffixes

__all__ = ["PRINT_OPTS"]


def _tensor_str(self: Tensor, indent: int) -> str:
    """The elements, with lines after the first indented."""
    return elements_text(self._array(), self.dtype, indent) if self.numel() else "[]"


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    """The text of an opened parenthesis with what is to be said besides, closed."""
    if force_newline and suffixes:
        return with_suffixes(f"{tensor_str},\n{' ' * indent}{suffixes[0]}", suffixes[1:], indent)
    return with_suffixes(tensor_str, suffixes, indent)


def _str_intern(inp: Tensor, *, tensor_contents: str | None = None) -> str:
    """The text of a tensor; `tensor_contents` takes the place of its elements."""
    return tensor_repr(inp, tensor_contents)
