"""``torch.jagged``: a batch of tensors that differ in the size of one dimension."""

from __future__ import annotations

from typing import Any

from flambeau._tensor.size import Size
from flambeau._tensor.tensor import Tensor
from flambeau._types.strided import jagged
from flambeau.nested.moving import moved
from flambeau.nested.ragged import Ragged
from flambeau.nested.tensor import NestedTensor, wrapped


class JaggedTensor(NestedTensor):
    """Pieces that differ in one dimension, along which their rows lie one after the other in ``values``.

    The shape is (B, …, j, …): that of ``values`` with the number of pieces before it, and a ragged size in the place of the number of rows.
    ``_dim`` says where that is: 1 in a new tensor, and something else after a transposition.
    """

    _ragged: Ragged
    _dim: int

    @staticmethod
    def of(values: Tensor, ragged: Ragged, dim: int = 1) -> JaggedTensor:
        """One with these values, which are taken as they are; ``dim`` is the ragged one of the result."""
        sizes = values.layout.shape
        shape = (len(ragged), *sizes[: dim - 1], ragged.size, *sizes[dim:])
        numel, rows = values.layout.numel, sizes[dim - 1]
        holes = ragged.lengths is not None and rows > 0
        made = JaggedTensor._make(jagged, shape, values, (lambda: numel // rows * sum(ragged.sizes)) if holes else numel)
        made._ragged, made._dim = ragged, dim
        return made

    def _with(self, values: Tensor) -> JaggedTensor:
        return JaggedTensor.of(values, self._ragged, self._dim)

    @property
    def _rows(self) -> int:
        """The number of rows of all pieces, and of those that belong to none."""
        return self._elements.layout.shape[self._dim - 1]

    # -- what it is ------------------------------------------------------------------------------------------------

    def offsets(self) -> Tensor:
        """Where each piece begins in ``values``, and where the last one ends, (B + 1)."""
        return self._ragged.offsets

    def lengths(self) -> Tensor | None:
        """The number of rows of each piece, (B), or ``None`` where a piece has all rows up to the next one."""
        return self._ragged.lengths

    def size(self, dim: int | None = None) -> Any:
        """The sizes of all dimensions, or of one; that of the ragged one is a ``NestedInt``."""
        shape = Size(self.layout.shape)
        return shape if dim is None else shape[wrapped(self, dim)]

    def is_same_size(self, other: Tensor) -> bool:
        """Whether the other tensor has the same shape, with the same pieces."""
        return isinstance(other, JaggedTensor) and self.layout.shape == other.layout.shape

    def stride(self, dim: int | None = None) -> Any:
        strides = (self._ragged.size * self._elements.stride(self._dim - 1), *self._elements.stride())
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        return self._elements.storage_offset()

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in memory in the order of ``values``, without gaps between pieces."""
        return self._ragged.lengths is None and self._elements.is_contiguous()

    @property
    def _max_seqlen(self) -> int:
        return self._ragged.longest

    @property
    def _min_seqlen(self) -> int:
        return self._ragged.shortest

    @property
    def _ragged_idx(self) -> int:
        return self._dim

    _offsets, _lengths = property(offsets), property(lengths)

    def _require_same(self, name: str, other: Any) -> None:
        if not isinstance(other, JaggedTensor) or other.layout.shape != self.layout.shape:
            shape = tuple(other.layout.shape) if isinstance(other, Tensor) else other
            raise RuntimeError(
                f"{name} must have the same pieces, size {tuple(self.layout.shape)}, got {shape}; sizes j1 and j2 differ where offsets() are "
                "not the same tensor"
            )

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        if dim not in (0, -self.dim()):
            raise RuntimeError(f"unbind(): a nested tensor has pieces along dim=0, got dim={dim}")
        ragged = self._ragged
        ragged.check(self._rows)
        along = self._dim - 1
        return tuple([self._elements.narrow(along, start, size) for start, size in zip(ragged.starts, ragged.sizes)])

    # -- other forms of it -----------------------------------------------------------------------------------------

    def contiguous(self, memory_format: Any = None) -> JaggedTensor:
        """The same pieces without gaps between them."""
        if self._ragged.lengths is None:
            return self if self._elements.is_contiguous() else self._with(self._elements.contiguous())
        ragged = Ragged.of_sizes(self._ragged.sizes)
        return JaggedTensor.of(self._packed(), ragged, self._dim)

    def rows_first(self) -> Tensor:
        """The values with their ragged dimension as the first."""
        return self._elements if self._dim == 1 else self._elements.movedim(self._dim - 1, 0)

    def rows_back(self, rows: Tensor) -> Tensor:
        """The way back from ``rows_first``."""
        return rows if self._dim == 1 else rows.movedim(0, self._dim - 1)

    def _packed(self) -> Tensor:
        """The values without rows that belong to no piece."""
        if self._ragged.lengths is None:
            return self._elements
        rows = self.rows_first()
        inside = self._ragged.inside(self._rows)
        kept = inside.nonzero().squeeze(1)
        place = (inside.cumsum(0) - 1).clamp(min=0)
        return self.rows_back(moved(rows, (kept, None), (place, inside)))

    def padded(self, padding: Any = 0, length: int | None = None) -> Tensor:
        """All pieces with the same number of rows, (B, …, length, …).

        Args:
            padding: what follows the rows of a piece
            length: that of the longest piece if left out; longer ones are cut off
        """
        ragged, rows = self._ragged, self.rows_first()
        length = ragged.longest if length is None else length
        there, back = ragged.padding(self._rows, length)
        result = moved(rows, there, back)
        result = result.reshape(len(ragged), length, *rows.layout.shape[1:])
        if padding != 0:
            present = there[1].reshape(len(ragged), length, *(1,) * (rows.layout.ndim - 1))
            result = result.masked_fill(~present, padding)
        return result if self._dim == 1 else result.movedim(1, self._dim)

    def like_padded(self, padded: Tensor) -> JaggedTensor:
        """The rows of a padded batch, (B, …, length, …), that belong to the pieces of this tensor."""
        ragged, length = self._ragged, padded.shape[self._dim]
        rows = (padded if self._dim == 1 else padded.movedim(self._dim, 1)).flatten(0, 1)
        there, back = ragged.padding(self._rows, length)
        values = moved(rows, back, there)
        return self._with(self.rows_back(values))

    def __deepcopy__(self, memo: dict) -> JaggedTensor:
        if id(self) not in memo:
            memo[id(self)] = JaggedTensor.of(self._elements.__deepcopy__(memo), self._ragged.__deepcopy__(memo), self._dim)
        return memo[id(self)]

    def parts(self) -> tuple:
        """Values, offsets, lengths, and which dimension is ragged."""
        return self._elements, self._ragged.offsets, self._ragged.lengths, self._dim
