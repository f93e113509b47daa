"""Batches of sequences that differ in length: padded and packed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy

import flambeau
from flambeau._tensor.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


_FIELDS = [("data", Tensor), ("batch_sizes", Tensor), ("sorted_indices", Any), ("unsorted_indices", Any)]


class PackedSequence(NamedTuple("PackedSequence", _FIELDS)):
    """Sequences sorted by length, with the rows of the first step, then those of the second, and so on.

    Make one with :func:`pack_sequence` or :func:`pack_padded_sequence`.

    Attributes:
        data: the rows, (sum of ``batch_sizes``, ...).
        batch_sizes: how many sequences have a t-th element, int64.
        sorted_indices: how the sequences were reordered, or ``None``.
        unsorted_indices: how they are put in order again, or ``None``.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("PackedSequence takes data and batch_sizes: use pack_sequence or pack_padded_sequence")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with ``data.to(...)``."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [None if index is None else index.to(data.device) for index in self[2:]]
        return type(self)(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        """The same on the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = "cuda") -> PackedSequence:
        """The same on a CUDA device."""
        return self.to(device=device)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(dtype=flambeau.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(dtype=flambeau.float32)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(dtype=flambeau.float16)

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self.to(dtype=flambeau.int64)

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self.to(dtype=flambeau.int32)

    def short(self) -> PackedSequence:
        """The same in int16."""
        return self.to(dtype=flambeau.int16)

    def char(self) -> PackedSequence:
        """The same in int8."""
        return self.to(dtype=flambeau.int8)

    def byte(self) -> PackedSequence:
        """The same in uint8."""
        return self.to(dtype=flambeau.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether the data lie on a CUDA device."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation``."""
    if permutation is None:
        return None
    order = flambeau.arange(permutation.numel(), device=permutation.device)
    return flambeau.empty_like(permutation).scatter_(0, permutation, order)


def pack_padded_sequence(input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    """Packs a padded batch.

    Args:
        input: (T, N, ...), or (N, T, ...) if ``batch_first``.
        lengths: how long each sequence is.
        batch_first: which of the first two dimensions is the batch.
        enforce_sorted: whether the sequences must come sorted by falling length; otherwise they are sorted.

    Raises:
        RuntimeError: the lengths do not fit, or are not sorted.
    """
    lengths = lengths.tolist() if isinstance(lengths, Tensor) else [int(length) for length in lengths]
    steps = input if not batch_first else input.transpose(0, 1)
    if len(lengths) != steps.size(1):
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size={steps.size(1)})")
    if not lengths or min(lengths) <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0")
    sorted_indices = None
    if not enforce_sorted:
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        lengths = [lengths[i] for i in order]
        sorted_indices = flambeau.tensor(order, dtype=flambeau.int64, device=input.device)
        steps = steps.index_select(1, sorted_indices)
    elif any(before < after for before, after in pairwise(lengths)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` to "
            f"pack_padded_sequence and/or pack_sequence to sidestep this requirement. Got lengths {lengths}"
        )
    if lengths[0] > steps.size(0):
        raise RuntimeError(f"Expected lengths of at most {steps.size(0)} (the padded length), but got {lengths[0]}")
    sizes = _batch_sizes(lengths)
    rows = _rows(sizes, steps.size(1), input.device)
    data = steps.reshape(steps.size(0) * steps.size(1), *steps.shape[2:]).index_select(0, rows)
    return PackedSequence(data, flambeau.tensor(sizes, dtype=flambeau.int64), sorted_indices, None)


def _batch_sizes(lengths: list[int]) -> list[int]:
    """How many of the sequences, which are sorted, have a t-th element."""
    return [sum(length > t for length in lengths) for t in range(lengths[0])]


def _rows(sizes: list[int], batch: int, device: Any) -> Tensor:
    """Which rows of a padded batch, flattened to (T · N, ...), a packed one holds."""
    rows = [t * batch + i for t, size in enumerate(sizes) for i in range(size)]
    return flambeau.tensor(rows, dtype=flambeau.int64, device=device)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pads a packed batch again.

    Args:
        sequence: the batch.
        batch_first: whether the result is (N, T, ...) instead of (T, N, ...).
        padding_value: what is written behind the ends.
        total_length: T, if it shall be more than the longest sequence has.

    Returns:
        The padded batch, and the lengths.

    Raises:
        ValueError: ``total_length`` is less than the longest sequence has.
    """
    sizes = sequence.batch_sizes.tolist()
    length = len(sizes)
    if total_length is not None:
        if total_length < length:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {length}"
            )
        length = total_length
    data = sequence.data
    padded = flambeau.full((length * sizes[0], *data.shape[1:]), padding_value, dtype=data.dtype, device=data.device)
    padded = padded.index_copy(0, _rows(sizes, sizes[0], data.device), data).view(length, sizes[0], *data.shape[1:])
    lengths = flambeau.tensor([sum(size > i for size in sizes) for i in range(sizes[0])], dtype=flambeau.int64)
    if batch_first:
        padded = padded.transpose(0, 1)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    return padded, lengths


def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Tensor:
    """Stacks sequences of different lengths.

    Args:
        sequences: tensors (L_i, ...).
        batch_first: whether the result is (N, T, ...) instead of (T, N, ...), T being the greatest length.
        padding_value: what is written beside the shorter ones.
        padding_side: ``"right"`` or ``"left"``.

    Raises:
        RuntimeError: the tensors differ in another dimension, or there are none.

    Example:
        >>> flambeau.nn.utils.rnn.pad_sequence([flambeau.ones(2), flambeau.ones(3)], batch_first=True)
        tensor([[1., 1., 0.],
                [1., 1., 1.]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    tensors = list(sequences)
    if not tensors:
        raise RuntimeError("received an empty list of sequences")
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"pad_sequence: expected Tensor as element {i} in argument 0, but got {type(tensor).__name__}")
    rest, sizes = tuple(tensors[0].shape[1:]), [tensor.size(0) for tensor in tensors]
    length = max(sizes)
    # One concatenation: of samples that lie in memory it is done at once, and lengths, which hardly come again, are part of no program.
    filling = tensors[0].new_tensor(numpy.full((length - min(sizes), *rest), padding_value))
    pieces = []
    for i, (tensor, size) in enumerate(zip(tensors, sizes)):
        if tuple(tensor.shape[1:]) != rest:
            raise RuntimeError(
                f"pad_sequence: sequences may differ in their first dimension alone, but sequence {i} has shape {tuple(tensor.shape)} and "
                f"sequence 0 has shape {tuple(tensors[0].shape)}"
            )
        gap = filling[: length - size]
        pieces += [gap, tensor] if padding_side == "left" else [tensor, gap]
    padded = flambeau.cat(pieces).reshape(len(tensors), length, *rest)
    return padded if batch_first else padded.transpose(0, 1).contiguous()


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch without their padding, a list of N tensors (L_i, ...)."""
    sequences = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    counts = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [sequence[:count] for sequence, count in zip(sequences.unbind(0), counts)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences of different lengths; see :func:`pack_padded_sequence`."""
    lengths = [sequence.size(0) for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in their original order."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
