"""What both kinds of nested tensors have in common: they are Python objects around one ordinary tensor, of the elements of all pieces.

Whatever is computed with a nested tensor is recorded as work on its values, so that it is fused, and differentiated, as all else is: the
gradient of a nested tensor is the gradient of its values, in the same pieces. No kernel knows of it.

Functions that are given one find it by ``__torch_function__`` (``_tensor/overriding.py``), and ``table.py`` says what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau._tensor.composed import ComposedTensor
from flambeau._tensor.tensor import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau._types.strided import ComposedLayout
from flambeau._types.strided import layout as Kind


class NestedLayout(ComposedLayout):
    """The layout of a nested tensor, whose elements are those of all pieces."""

    __slots__ = ("count",)

    def __init__(self, kind: Kind, shape: tuple, dtype: DType, count: int | Callable[[], int]) -> None:
        super().__init__(kind, shape, dtype, ())
        self.count = count

    @property
    def numel(self) -> int:
        """The number of elements of all pieces."""
        return self.count if isinstance(self.count, int) else self.count()


class NestedTensor(ComposedTensor):
    """A batch of tensors that differ in size.

    ``JaggedTensor`` (``torch.jagged``) is for pieces that differ in one dimension, ``StridedNestedTensor`` (``torch.strided``) for any.
    """

    is_nested = True

    @classmethod
    def _make(cls, kind: Kind, shape: tuple, values: Tensor, count: int | Callable[[], int]) -> Any:
        return cls._compose(NestedLayout(kind, shape, values.dtype, count), values)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from flambeau.nested.table import call

        return call(func, args, kwargs or {})

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The pieces, which share the memory and the history of the whole."""
        raise NotImplementedError

    def values(self) -> Tensor:
        """The elements of all pieces, one piece after the other."""
        return self._elements

    # -- what it is ------------------------------------------------------------------------------------------------

    def untyped_storage(self) -> Any:
        return self._elements.untyped_storage()

    def data_ptr(self) -> int:
        return self._elements.data_ptr()

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self.contiguous()._elements.item()

    def to_padded_tensor(self, padding: float, output_size: Any = None, out: Tensor | None = None) -> Tensor:
        """All pieces in one dense tensor; see ``flambeau.nested.to_padded_tensor``."""
        from flambeau.nested.creation import to_padded_tensor

        return to_padded_tensor(self, padding, output_size, out)

    def numpy(self, *, force: bool = False) -> Any:
        raise RuntimeError("a nested tensor has no NumPy array; its pieces have (unbind()), and values(), and to_padded_tensor()")

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return [piece.tolist() for piece in self.unbind()]

    def __len__(self) -> int:
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.unbind())

    def __bool__(self) -> bool:
        raise RuntimeError("Boolean value of a nested tensor is ambiguous; use any() or all()")

    # -- autograd --------------------------------------------------------------------------------------------------

    def gradient_of_values(self, gradient: Any) -> Tensor:
        """The gradient of the values, of that of the tensor.

        Raises:
            RuntimeError: the pieces of the gradient are others.
        """
        self._require_same("the gradient", gradient)
        return gradient._elements

    _values_of = gradient_of_values

    def _require_same(self, name: str, other: Any) -> None:
        """Check that another tensor has the same pieces, laid out alike.

        Raises:
            RuntimeError: it has others.
        """
        raise NotImplementedError

    # -- copies and dtypes -----------------------------------------------------------------------------------------

    def type(self, dtype: Any = None, non_blocking: bool = False, **options: Any) -> Any:
        return self._elements.type() if dtype is None else self.to(self._elements.type(dtype).dtype)

    def type_as(self, other: Tensor) -> Any:
        return self.to(other.dtype)

    def cpu(self, memory_format: Any = None) -> Any:
        return self

    def clone(self, *, memory_format: Any = None) -> Any:
        return self._with(self._elements.clone())

    def parts(self) -> tuple:
        """What the tensor is made of, for files."""
        raise NotImplementedError

    def __reduce_ex__(self, protocol: Any) -> tuple:
        from flambeau.nested.creation import of_parts

        return of_parts, (self.layout.kind, self.parts())

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) not in memo:
            memo[id(self)] = self._with(self._elements.__deepcopy__(memo))
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        from flambeau.nested.printing import text

        return text(self)


def wrapped(tensor: Tensor, dim: int) -> int:
    """A dimension counted from the first.

    Raises:
        IndexError: there is no such dimension.
    """
    dims = tensor.layout.ndim
    if not -dims <= dim < dims:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-dims}, {dims - 1}], but got {dim})")
    return dim % dims
