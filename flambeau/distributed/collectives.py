"""The collectives, on flat arrays of NumPy's, made of exchanges.

The pieces of an all-reduce of two processes: each reduces one half, and reads the other's half then.

```
rank 0   [ a0 | a1 ]  ── a1 ──▶            a0 + b0 ──▶    [ a0 + b0 | a1 + b1 ]
rank 1   [ b0 | b1 ]  ◀── b0 ──            a1 + b1 ◀──    [ a0 + b0 | a1 + b1 ]
```

A sum is computed once, in the order of the ranks, by one process: all get the same bits, whoever came first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy

from flambeau.distributed.mesh import Mesh
from flambeau.distributed.reduction import Reduce
from flambeau.distributed.shared_memory import SLOT_BYTES

__all__ = [
    "all_gather",
    "all_reduce",
    "all_reduce_many",
    "all_to_all",
    "broadcast",
    "broadcast_many",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]

_SMALL = 32 << 10
"""Bytes of all processes together up to which each reduces everything itself: one exchange instead of two."""

_PACKED = 1 << 20
"""Bytes up to which an array is reduced together with others, for which it is copied."""


def _bytes(array: numpy.ndarray) -> numpy.ndarray:
    return array.view(numpy.uint8)


def _chunks(length: int, itemsize: int, share: int = 1) -> Iterator[slice]:
    """Parts of an array of which ``share`` such parts at a time are exchanged; one, if it is empty."""
    step = max(1, SLOT_BYTES // (itemsize * share) // 64 * 64)
    for start in range(0, max(length, 1), step):
        yield slice(start, min(length, start + step))


def _pieces(array: numpy.ndarray, size: int) -> list[numpy.ndarray]:
    """The piece of each process."""
    length = len(array)
    bounds = [length * number // size for number in range(size + 1)]
    return [array[start:end] for start, end in zip(bounds, bounds[1:])]


def all_reduce(mesh: Mesh, array: numpy.ndarray, reduce: Reduce, label: bytes) -> None:
    """Replace the array by the reduction of those of all processes."""
    if mesh.size == 1:
        return
    if array.nbytes * mesh.size <= _SMALL:
        reduce([each.view(array.dtype) for each in mesh.gather_all(_bytes(array), label)], array)
        return
    for part in _chunks(len(array), array.itemsize):
        pieces = _pieces(array[part], mesh.size)
        _reduce_pieces(mesh, pieces, reduce, label)
        mine = _bytes(pieces[mesh.rank])
        found = mesh.exchange([mine] * mesh.size, [piece.nbytes for piece in pieces], label)
        for peer, piece in enumerate(pieces):
            if peer != mesh.rank:
                piece[...] = found[peer].view(array.dtype)


def _reduce_pieces(mesh: Mesh, pieces: Sequence[numpy.ndarray], reduce: Reduce, label: bytes) -> None:
    """Replace this process's piece by the reduction of that piece of all processes."""
    mine = pieces[mesh.rank]
    found = mesh.exchange([_bytes(piece) for piece in pieces], [mine.nbytes] * mesh.size, label)
    reduce([each.view(mine.dtype) for each in found], mine)


def all_reduce_many(mesh: Mesh, arrays: Sequence[numpy.ndarray], reduce: Reduce, label: bytes) -> None:
    """``all_reduce`` of several arrays of one dtype: the small ones are packed together."""
    small = [array for array in arrays if array.nbytes < _PACKED]
    for array in arrays:
        if array.nbytes >= _PACKED:
            all_reduce(mesh, array, reduce, label)
    if small:
        packed = numpy.concatenate(small)
        all_reduce(mesh, packed, reduce, label)
        unpack(packed, small)


def unpack(packed: numpy.ndarray, arrays: Sequence[numpy.ndarray]) -> None:
    """Fill flat arrays with the consecutive parts of one."""
    start = 0
    for array in arrays:
        array[...] = packed[start : start + len(array)]
        start += len(array)


def broadcast(mesh: Mesh, array: numpy.ndarray, root: int, label: bytes) -> None:
    """Replace the array by the root's."""
    for part in _chunks(len(array), array.itemsize):
        mine = _bytes(array[part])
        sends = mesh.rank == root
        found = mesh.exchange(
            [mine if sends else None] * mesh.size, [mine.nbytes if peer == root else 0 for peer in range(mesh.size)], label
        )
        if not sends:
            mine[...] = found[root]


def broadcast_many(mesh: Mesh, arrays: Sequence[numpy.ndarray], root: int, label: bytes) -> None:
    """``broadcast`` of several arrays of any dtypes: the small ones are packed together."""
    small = [_bytes(array) for array in arrays if array.nbytes < _PACKED]
    for array in arrays:
        if array.nbytes >= _PACKED:
            broadcast(mesh, array, root, label)
    if small:
        packed = numpy.concatenate(small)
        broadcast(mesh, packed, root, label)
        if mesh.rank != root:
            unpack(packed, small)


def all_gather(mesh: Mesh, array: numpy.ndarray, outputs: Sequence[numpy.ndarray], label: bytes) -> None:
    """Fill the outputs with the arrays of all processes."""
    for part in _chunks(len(array), array.itemsize):
        for output, each in zip(outputs, mesh.gather_all(_bytes(array[part]), label)):
            output[part] = each.view(array.dtype)


def gather(mesh: Mesh, array: numpy.ndarray, outputs: Sequence[numpy.ndarray] | None, root: int, label: bytes) -> None:
    """Fill the root's outputs with the arrays of all processes."""
    for part in _chunks(len(array), array.itemsize):
        mine = _bytes(array[part])
        outgoing = [mine if peer == root else None for peer in range(mesh.size)]
        found = mesh.exchange(outgoing, [mine.nbytes if mesh.rank == root else 0] * mesh.size, label)
        if outputs is not None:
            for output, each in zip(outputs, found):
                output[part] = each.view(array.dtype)


def scatter(mesh: Mesh, output: numpy.ndarray, inputs: Sequence[numpy.ndarray] | None, root: int, label: bytes) -> None:
    """Fill each process's output with the root's array for it."""
    for part in _chunks(len(output), output.itemsize, mesh.size):
        outgoing = [None] * mesh.size if inputs is None else [_bytes(each[part]) for each in inputs]
        nbytes = output[part].nbytes
        found = mesh.exchange(outgoing, [nbytes if peer == root else 0 for peer in range(mesh.size)], label)
        output[part] = found[root].view(output.dtype)


def reduce(mesh: Mesh, array: numpy.ndarray, reduce: Reduce, root: int, label: bytes) -> None:
    """Replace the root's array by the reduction of those of all processes; the others' stay."""
    for part in _chunks(len(array), array.itemsize):
        whole = array[part] if mesh.rank == root else array[part].copy()
        pieces = _pieces(whole, mesh.size)
        _reduce_pieces(mesh, pieces, reduce, label)
        mine = _bytes(pieces[mesh.rank])
        outgoing = [mine if peer == root else None for peer in range(mesh.size)]
        found = mesh.exchange(outgoing, [piece.nbytes if mesh.rank == root else 0 for piece in pieces], label)
        if mesh.rank == root:
            for peer, piece in enumerate(pieces):
                if peer != root:
                    piece[...] = found[peer].view(array.dtype)


def reduce_scatter(mesh: Mesh, output: numpy.ndarray, inputs: Sequence[numpy.ndarray], reduce: Reduce, label: bytes) -> None:
    """Fill each process's output with the reduction of all processes' arrays for it."""
    for part in _chunks(len(output), output.itemsize, mesh.size):
        found = mesh.exchange([_bytes(each[part]) for each in inputs], [output[part].nbytes] * mesh.size, label)
        reduce([each.view(output.dtype) for each in found], output[part])


def all_to_all(mesh: Mesh, outputs: Sequence[numpy.ndarray], inputs: Sequence[numpy.ndarray], label: bytes) -> None:
    """Send each process its input, and fill the outputs with what they send; all may differ in length."""
    found = mesh.exchange([_bytes(each) for each in inputs], [output.nbytes for output in outputs], label)
    for output, each in zip(outputs, found):
        output[...] = each.view(output.dtype)
