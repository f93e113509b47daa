"""Making nested tensors: of lists of tensors, of padded and of jagged batches, and by choosing elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau._types.device import require_cpu
from flambeau._types.dtype import dtype as DType
from flambeau._types.strided import jagged, strided
from flambeau._types.strided import layout as Kind
from flambeau.nested.jagged import JaggedTensor
from flambeau.nested.ragged import Ragged
from flambeau.nested.strided import StridedNestedTensor, largest
from flambeau.nested.tensor import NestedTensor


def nested_tensor(
    tensor_list: Any,
    *,
    dtype: DType | None = None,
    layout: Kind | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Any:
    """A nested tensor with copies of some tensors, a leaf.

    Args:
        tensor_list: tensors with the same number of dimensions, or lists of numbers
        dtype: that of the first tensor if left out
        layout: ``torch.strided`` (if left out), for pieces of any sizes, or ``torch.jagged``, for pieces that differ in one dimension
        requires_grad: whether its gradient is to be computed
        pin_memory: accepted; there is no device to pin memory for

    Raises:
        RuntimeError: the tensors do not fit each other, or the layout.
        TypeError: it is no list.

    Example::

        >>> batch = flambeau.nested.nested_tensor([flambeau.arange(2), flambeau.arange(3)], layout=flambeau.jagged)
        >>> batch.shape[0], batch.values()
        (2, tensor([0, 1, 0, 1, 2]))
    """
    kind = _checked(layout)
    if device is not None:
        require_cpu(device)
    if kind is strided and not isinstance(tensor_list, (list, tuple)):
        raise TypeError(f"nested_tensor: expected a list of tensors or of lists of numbers, got {type(tensor_list).__name__}")
    pieces = [each.detach() if isinstance(each, Tensor) else flambeau.tensor(each) for each in tensor_list]
    made = _of_list(pieces, dtype, kind)
    if not pieces and dtype is not None:
        made = made.to(dtype)
    return made.requires_grad_() if requires_grad else made


def as_nested_tensor(ts: Any, dtype: DType | None = None, device: Any = None, layout: Kind | None = None) -> Any:
    """A nested tensor of some tensors, whose gradients go back to them.

    Args:
        ts: a list of tensors, or a tensor of which each row is a piece; a nested tensor of the same layout is returned as it is
        dtype: that of the first tensor if left out
        layout: ``torch.strided`` if left out, or ``torch.jagged``

    Raises:
        RuntimeError: the tensors do not fit each other, or the layout.
        TypeError: it is no list of tensors.
    """
    kind = _checked(layout)
    if device is not None:
        require_cpu(device)
    if isinstance(ts, NestedTensor):
        if ts.layout != kind:
            raise RuntimeError(f"as_nested_tensor(): Converting between nested tensor layouts is not supported, from {ts.layout} to {kind}")
        return ts if dtype is None else ts.to(dtype)
    if isinstance(ts, Tensor):
        return _of_dense(ts if dtype is None else ts.to(dtype), kind)
    if not isinstance(ts, (list, tuple)) or not all(isinstance(each, Tensor) for each in ts):
        raise TypeError(f"as_nested_tensor(): Expected first argument to be a tensor or a list / tuple of tensors, got {type(ts).__name__}")
    return _of_list(list(ts), dtype, kind)


def _checked(layout: Kind | None) -> Kind:
    if layout in (None, strided):
        return strided
    if layout != jagged:
        raise RuntimeError(f"Specified layout is unsupported for nested tensors: {layout}; torch.strided and torch.jagged are there")
    return jagged


def _of_dense(tensor: Tensor, kind: Kind) -> Any:
    """A nested tensor whose pieces are the rows of a dense one."""
    if tensor.dim() < 2:
        raise RuntimeError(f"as_nested_tensor(): Expected tensor argument to have dim() > 1, got size {list(tensor.shape)}")
    count, size = tensor.shape[:2]
    if kind is jagged:
        return JaggedTensor.of(tensor.flatten(0, 1), Ragged.of_sizes([size] * count))
    return StridedNestedTensor.of(tensor.reshape(-1), [tensor.shape[1:]] * count, dims=tensor.dim() - 1)


def _of_list(pieces: list[Tensor], dtype: DType | None, kind: Kind) -> Any:
    for number, piece in enumerate(pieces):
        if piece.dim() != pieces[0].dim():
            raise RuntimeError(
                "All Tensors given to nested_tensor must have the same dimension. "
                f"Found dimension {piece.dim()} for Tensor at index {number} and dimension {pieces[0].dim()} for Tensor at index 0."
            )
        if piece.is_nested:
            raise RuntimeError(f"a piece of a nested tensor cannot be nested itself, as the one at index {number}")
    if kind is jagged:
        return _jagged_of(pieces, dtype)
    wanted = dtype or (pieces[0].dtype if pieces else flambeau.get_default_dtype())
    return StridedNestedTensor.of_pieces([piece.to(wanted) for piece in pieces])


def _jagged_of(pieces: list[Tensor], dtype: DType | None) -> JaggedTensor:
    """The pieces along the one dimension in which they differ (the first, if they do not)."""
    if not pieces:
        raise RuntimeError("Cannot construct a nested tensor from an empty tensor list")
    if not pieces[0].dim():
        raise RuntimeError("Cannot construct a nested tensor from a list of zero-dim tensors")
    if any(piece.dtype is not pieces[0].dtype for piece in pieces):
        names = sorted({str(piece.dtype) for piece in pieces})
        raise RuntimeError(f"When constructing a nested tensor, all tensors in list must have the same dtype, got {', '.join(names)}")
    different = [dim for dim, sizes in enumerate(zip(*[piece.shape for piece in pieces])) if len(set(sizes)) > 1]
    if len(different) > 1:
        raise RuntimeError(
            f"torch.jagged is for tensors that differ in one dimension, these differ in {different}: "
            f"{', '.join(str(tuple(piece.shape)) for piece in pieces[:4])}; use layout=torch.strided"
        )
    dim = different[0] if different else 0
    values = flambeau.cat(pieces, dim)
    values = values if dtype is None else values.to(dtype)
    return JaggedTensor.of(values, Ragged.of_sizes([piece.shape[dim] for piece in pieces]), dim + 1)


def nested_tensor_from_jagged(
    values: Tensor,
    offsets: Tensor | None = None,
    lengths: Tensor | None = None,
    jagged_dim: int | None = None,
    min_seqlen: int | None = None,
    max_seqlen: int | None = None,
) -> JaggedTensor:
    """A jagged tensor of the rows of all pieces. It shares memory and history with ``values``.

    Args:
        values: the rows, one piece after the other
        offsets: (B + 1), where each piece begins, and where the last one ends
        lengths: (B), the number of rows of each piece; without ``offsets`` they follow each other without gaps
        jagged_dim: the ragged dimension of the result, 1 if left out: one more than the dimension of ``values`` in which the rows are
        min_seqlen: the number of rows of the shortest piece; accepted
        max_seqlen: the number of rows of the longest piece; accepted

    Raises:
        RuntimeError: neither ``offsets`` nor ``lengths`` is given, or they have the wrong dtype.
        AssertionError: ``offsets`` is no vector.
        ValueError: ``jagged_dim`` is less than 1.
        IndexError: ``values`` has fewer dimensions.

    Example::

        >>> batch = flambeau.nested.nested_tensor_from_jagged(flambeau.arange(5), flambeau.tensor([0, 2, 5]))
        >>> batch[1]
        tensor([2, 3, 4])
    """
    if offsets is None and lengths is None:
        raise RuntimeError("nested_tensor_from_jagged(): At least one of offsets or lengths is required.")
    for name, given in (("values", values), ("offsets", offsets), ("lengths", lengths)):
        if given is not None and not isinstance(given, Tensor):
            raise TypeError(f"nested_tensor_from_jagged(): {name} must be a Tensor, not {type(given).__name__}")
    dim = 1 if jagged_dim is None else jagged_dim
    if not 1 <= dim <= values.dim():
        error = ValueError if dim < 1 else IndexError
        raise error(f"Expected jagged_dim >=1 and at most {values.dim()}, the number of dimensions of values, but got {dim}.")
    if offsets is None:
        assert lengths is not None
        offsets = flambeau.cat([lengths.new_zeros(1), lengths.cumsum(0).to(lengths.dtype)])
        lengths = None
    for name, given in (("offsets", offsets), ("lengths", lengths)):
        if given is not None and given.dim() != 1:
            raise AssertionError(f"{name} must be 1D, but got {given.dim()}D")
        if given is not None and given.dtype not in (flambeau.int64, flambeau.int32):
            raise RuntimeError(f"{name} must be int64 or int32, got {given.dtype}")
    if not offsets.numel() or (lengths is not None and lengths.numel() != offsets.numel() - 1):
        found = "" if lengths is None else f" and {lengths.numel()} lengths"
        raise RuntimeError(f"offsets must have one number more than there are pieces (and lengths), got {offsets.numel()} offsets{found}")
    return JaggedTensor.of(_own(values), Ragged.of(offsets, lengths), dim)


def _own(values: Tensor) -> Tensor:
    """The values of a new tensor, with the history and the memory that they have, but without their ``requires_grad``."""
    return values.view(values.shape) if values.requires_grad else values.detach()


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Kind = strided) -> Any:
    """Of each row of a tensor the elements ``start`` to ``start + length``, without copying them.

    Args:
        tensor: (B, L, …)
        dim: 1 with the layout ``torch.jagged``
        start: a number, or (B)
        length: a number, or (B)

    Raises:
        RuntimeError: the layout is ``torch.strided`` and start or length differ by row, or dim is not 1, or the numbers do not fit.
    """
    kind = _checked(layout)
    if kind is strided:
        if isinstance(start, Tensor) or isinstance(length, Tensor):
            raise RuntimeError("start and length must be integers for the strided layout NT impl; layout=torch.jagged takes tensors")
        return _of_dense(flambeau.narrow(tensor, dim, start, length), kind)
    if dim != 1:
        raise RuntimeError(f"jagged layout only supports dim=1, got dim={dim}")
    if tensor.is_nested or tensor.dim() < 2:
        raise RuntimeError("narrow() to a jagged tensor needs a dense tensor of at least 2 dimensions, (B, L, …)")
    count, size = tensor.shape[:2]
    given = [flambeau.as_tensor(each, dtype=flambeau.int64) for each in (start, length)]
    if any(each.dim() > 1 or (each.dim() and each.shape[0] not in (1, count)) for each in given):
        raise RuntimeError(
            "When constructing a jagged nested tensor using narrow(), your start and length must be Tensors that broadcast to "
            f"input.shape[0] (={count}), got sizes {[list(each.shape) for each in given]}"
        )
    start, length = (each.expand(count) for each in given)
    begins = flambeau.arange(count) * size + start
    offsets = flambeau.cat([begins, (begins + length)[-1:] if count else flambeau.zeros(1, dtype=flambeau.int64)])
    return JaggedTensor.of(_own(tensor.flatten(0, 1)), Ragged.of(offsets, length.contiguous()))


def masked_select(tensor: Tensor, mask: Tensor) -> JaggedTensor:
    """The elements that a mask selects, a piece for each row of the last dimension.

    Args:
        tensor: (…, L)
        mask: booleans that broadcast with it

    Returns:
        (rows, j)

    Raises:
        RuntimeError: the tensor is nested, or the mask holds no booleans.
    """
    if tensor.is_nested or mask.dtype is not flambeau.bool:
        raise RuntimeError(f"masked_select() needs a dense tensor and a mask of booleans, got a mask of {mask.dtype}")
    tensor, mask = flambeau.broadcast_tensors(tensor, mask)
    rows = mask.reshape(-1, mask.shape[-1]) if mask.dim() else mask.reshape(1, 1)
    counts = rows.sum(1)
    offsets = flambeau.cat([counts.new_zeros(1), counts.cumsum(0)])
    return JaggedTensor.of(flambeau.masked_select(tensor, mask), Ragged(offsets))


def to_padded_tensor(input: Any, padding: float, output_size: Sequence[int] | None = None, out: Tensor | None = None) -> Tensor:
    """All pieces of a nested tensor in one dense tensor, with a number behind those that are shorter.

    Args:
        padding: the number
        output_size: of the result; if left out, the smallest that has room

    Raises:
        RuntimeError: ``output_size`` has no room.

    Example::

        >>> batch = flambeau.nested.nested_tensor([flambeau.arange(1), flambeau.arange(3)])
        >>> flambeau.nested.to_padded_tensor(batch, -1)
        tensor([[ 0, -1, -1],
                [ 0,  1,  2]])
    """
    if out is not None:
        raise NotImplementedError("to_padded_tensor: out= is not implemented; copy_ the result")
    if not isinstance(input, NestedTensor):
        raise NotImplementedError("to_padded_tensor is for nested tensors; this one is dense: torch.nn.functional.pad")
    if output_size is not None and len(output_size) != input.dim():
        raise RuntimeError(f"output_size must have {input.dim()} sizes, one for each dimension, got {list(output_size)}")
    if isinstance(input, JaggedTensor):
        return input.padded(padding, None if output_size is None else output_size[input._dim])
    assert isinstance(input, StridedNestedTensor)
    if output_size is None:
        return input.padded(padding)
    count, *shape = output_size
    if count < len(input._sizes) or any(size < needed for size, needed in zip(shape, largest(input))):
        raise RuntimeError(
            f"Value in output_size is less than NestedTensor padded size. Truncation is not supported: {list(output_size)} has no room for "
            f"{[len(input._sizes), *largest(input)]}"
        )
    result = input.padded(padding, shape)
    missing = count - len(input._sizes)
    return flambeau.cat([result, result.new_full((missing, *shape), padding)]) if missing else result


def of_parts(kind: Kind, parts: tuple) -> NestedTensor:
    """A nested tensor of what ``parts`` gave, which may have come out of a stranger's file and is checked.

    Raises:
        RuntimeError: it describes no tensor.
    """
    if kind is strided:
        values, sizes, order = parts
        return _strided_of_parts(values, tuple(map(tuple, sizes)), tuple(order))
    values, offsets, lengths, dim = parts
    made = nested_tensor_from_jagged(values.detach(), offsets, lengths, dim)
    made._ragged.check(made._rows)
    return made.requires_grad_(values.requires_grad)


def _strided_of_parts(values: Tensor, sizes: tuple, order: tuple) -> StridedNestedTensor:
    if any(not isinstance(each, int) or each < 0 for size in sizes for each in size) or any(len(size) != len(order) for size in sizes):
        raise RuntimeError(f"invalid sizes of the pieces of a nested tensor: {sizes[:4]}")
    if sorted(order) != list(range(len(order))) or values.dim() != 1 or values.numel() != sum(map(prod, sizes)):
        raise RuntimeError(f"a nested tensor of {sum(map(prod, sizes))} elements cannot be made of {values.numel()}, in the order {order}")
    made = StridedNestedTensor.of(values.detach(), sizes, order)
    return made.requires_grad_(values.requires_grad)
