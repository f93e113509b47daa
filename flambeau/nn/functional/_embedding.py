"""Look-ups in tables of vectors."""

from __future__ import annotations

import flambeau
from flambeau._ops import encoding
from flambeau._ops import nn as ops
from flambeau._ops.arguments import whole
from flambeau._tape.tape import LOCAL
from flambeau._tensor.tensor import Tensor
from flambeau._types.device import CPU
from flambeau.nn.functional._common import shape_text


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Computes a tensor (..., ``num_classes``) with a 1 where the last index is the class, otherwise 0.

    Args:
        tensor: classes, int64.
        num_classes: how many there are; one more than the largest if -1.

    Raises:
        RuntimeError: a class is negative or not below ``num_classes``.
    """
    if tensor.dtype != flambeau.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    num_classes = whole(num_classes, "num_classes")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return flambeau.zeros(*tensor.shape, num_classes, dtype=flambeau.int64, device=tensor.device)
    if num_classes > 0 and (LOCAL.tape.batched or tensor.memory.device is not CPU):
        return ops.one_hot(tensor, num_classes)  # a class that is out of range in some sample is all zeros, as in PyTorch
    high = encoding.largest(tensor)
    if high >= 1 << 63:
        raise RuntimeError(f"Class values must be non-negative, got {int(tensor._array().min())}.")
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes < 1:
        raise RuntimeError(f"num_classes should be positive, got {num_classes}")
    elif high >= num_classes:
        raise RuntimeError(f"Class values must be smaller than num_classes: class {high} with num_classes (={num_classes}).")
    return ops.one_hot(tensor, num_classes)


def padding_row(padding_idx: int | None, rows: int) -> int | None:
    """``padding_idx`` counted from the start."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError(f"Padding_idx must be within num_embeddings: {padding_idx} with {rows} rows")
    return padding_idx % rows


def renormalize(weight: Tensor, rows: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows that are looked up, and whose norm exceeds ``max_norm``, down to it, in place."""
    with flambeau.no_grad():
        used = rows.reshape(-1)
        vectors = weight[used]
        norms = flambeau.norm(vectors, norm_type, 1, keepdim=True)
        weight[used] = flambeau.where(norms > max_norm, vectors * (max_norm / (norms + 1e-7)), vectors)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Looks up rows of ``weight``.

    Args:
        input: indices, any shape, int64 or int32.
        weight: (num_embeddings, embedding_dim).
        padding_idx: a row that gets no gradient.
        max_norm: the rows that are looked up are scaled down to this norm, in place.
        norm_type: the exponent of that norm.
        scale_grad_by_freq: whether a row's gradient is divided by how often it is looked up.
        sparse: whether the gradient is a sparse tensor.

    Returns:
        (*input.shape, embedding_dim).

    Raises:
        IndexError: an index is out of range.
    """
    if weight.dim() != 2:
        raise RuntimeError(f"'weight' must be 2-D, got shape {shape_text(weight)}")
    row = padding_row(padding_idx, weight.size(0))
    if max_norm is not None:
        renormalize(weight, input, max_norm, norm_type)
    return flambeau.embedding(weight, input, -1 if row is None else row, scale_grad_by_freq, sparse)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Computes the sum, mean or maximum of bags of rows of ``weight``.

    Args:
        input: indices: (B, L), a bag in each row, or (L) with ``offsets``.
        weight: (num_embeddings, embedding_dim).
        offsets: (B), where each bag begins.
        max_norm: the rows that are looked up are scaled down to this norm, in place.
        norm_type: the exponent of that norm.
        scale_grad_by_freq: whether a row's gradient is divided by how often it is looked up.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        sparse: whether the gradient is a sparse tensor.
        per_sample_weights: factors of the rows, in the shape of ``input``; only with ``mode="sum"``.
        include_last_offset: whether ``offsets`` has the end of the last bag too.
        padding_idx: a row that does not count.

    Returns:
        (B, embedding_dim); zeros for an empty bag.
    """
    _check_bags(input, weight, mode, per_sample_weights, scale_grad_by_freq or sparse)
    flat, bag, sizes = _bags(input, offsets, include_last_offset)
    bags = sizes.size(0)
    row = padding_row(padding_idx, weight.size(0))
    if max_norm is not None:
        renormalize(weight, flat, max_norm, norm_type)
    vectors = flambeau.embedding(weight, flat, -1 if row is None else row, scale_grad_by_freq, sparse)
    counted = None if row is None else flat != row
    if mode == "max":
        return _maxima(vectors, bag, bags, counted)
    half = weight.dtype in (flambeau.float16, flambeau.bfloat16)
    if half:  # rounded once, at the end
        vectors = vectors.float()
    if per_sample_weights is not None:
        vectors = vectors * per_sample_weights.reshape(-1, 1).to(vectors.dtype)  # its gradient, too, is a sum that is rounded once
    if counted is not None:
        vectors = vectors.masked_fill(~counted.unsqueeze(-1), 0.0)
    length = input.size(1) if input.dim() == 2 else None
    sums = _sums(vectors, bag, bags, length)
    if mode == "mean":
        counts = sizes.to(vectors.dtype) if counted is None else _sums(counted.to(vectors.dtype), bag, bags, length)
        sums = sums / counts.clamp_min(1).unsqueeze(-1)
    return sums.to(weight.dtype) if half else sums


def counted_bags(
    input: Tensor, weight: Tensor, offsets: Tensor, maxima: Tensor | None, include_last_offset: bool, padding_idx: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """For ``embedding_bag`` of one row of indices: the bag of each, how many that count each bag has, and the index that each of the ``maxima`` is from."""
    flat, bag, sizes = _bags(input, offsets, include_last_offset)
    row = padding_row(padding_idx, weight.size(0))
    counts = flat != row if row is not None else flambeau.ones_like(flat, dtype=flambeau.bool)
    if row is not None:
        sizes = flambeau.zeros_like(sizes).index_add(0, bag, counts.to(sizes.dtype))
    if maxima is None:
        return bag, sizes, sizes.new_empty(0)
    with flambeau.no_grad():
        is_largest = (weight[flat] == maxima[bag]) & counts.unsqueeze(1)
        place = flambeau.where(is_largest, flambeau.arange(flat.size(0)).unsqueeze(1), flat.size(0))
        first = flambeau.full_like(maxima, flat.size(0), dtype=flambeau.int64).scatter_reduce(
            0, bag.unsqueeze(1).expand_as(place), place, "amin"
        )
        return bag, sizes, flambeau.cat([flat, flat.new_zeros(1)])[first]


def _check_bags(input: Tensor, weight: Tensor, mode: str, per_sample_weights: Tensor | None, of_sums_only: bool) -> None:
    """Checks the arguments of ``embedding_bag``; ``of_sums_only`` says whether one asks for what maxima do not have."""
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the same shape as the "
            f"input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and of_sums_only:
        raise ValueError("max mode does not support scaling the gradient by the frequency or sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got mode='{mode}')."
        )


def _maxima(vectors: Tensor, bag: Tensor, bags: int, counted: Tensor | None) -> Tensor:
    """The largest of the vectors that count in each bag; zeros where there is none."""
    if counted is not None and counted.memory.device is CPU:
        found = counted.nonzero().squeeze(-1)
        vectors, bag = vectors[found], bag[found]
    zeros = flambeau.zeros(bags, vectors.size(1), dtype=vectors.dtype, device=vectors.device)
    return zeros.scatter_reduce(0, bag.unsqueeze(-1).expand_as(vectors), vectors, "amax", include_self=False)


def _sums(values: Tensor, bag: Tensor, bags: int, length: int | None) -> Tensor:
    """The sum of the values in each bag; if all bags have one length, each is a run of neighbours."""
    if length is not None:
        return values.reshape(bags, length, *values.shape[1:]).sum(1)
    return flambeau.zeros(bags, *values.shape[1:], dtype=values.dtype, device=values.device).index_add(0, bag, values)


def _bags(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The indices in one row, the bag of each, and how many each bag has."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. However, "
                f"found offsets of type {type(offsets)}"
            )
        bags, length = input.shape
        bag = flambeau.arange(bags, device=input.device).repeat_interleave(length)
        return input.reshape(-1), bag, flambeau.full((bags,), length, dtype=flambeau.int64, device=input.device)
    if input.dim() != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if offsets is None or offsets.dim() != 1:
        raise ValueError(f"offsets has to be a 1D Tensor but got {None if offsets is None else shape_text(offsets)}")
    starts = offsets[:-1] if include_last_offset else offsets
    if starts.numel() and starts.memory.device is CPU and int(starts[0]) != 0:
        raise RuntimeError(f"offsets[0] has to be 0: the first bag begins at position 0, got {int(starts[0])}")
    begins = flambeau.zeros(input.size(0) + 1, dtype=flambeau.int64, device=input.device)
    bag = begins.index_add(0, starts, flambeau.ones_like(starts, dtype=flambeau.int64)).cumsum(0)[:-1] - 1
    ends = flambeau.cat((starts[1:], flambeau.full((min(1, starts.size(0)),), input.size(0), dtype=starts.dtype, device=input.device)))
    return input, bag, ends - starts
