"""What the operators of linear algebra share: checks of their operands, and lowering to NumPy's LAPACK on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.operator import Operator
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.dtype import dtype as DType
from flambeau._types.errors import LinAlgError
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor

# -- operands --------------------------------------------------------------------------------------------------------


def check_floating(name: str, *operands: Any) -> None:
    """Check that the operands have one dtype that LAPACK computes in.

    Raises:
        RuntimeError: one holds integers or numbers of half precision, or two have different dtypes.
    """
    for operand in operands:
        dtype = layout_of(operand).dtype
        if dtype.category < dt.FLOAT:
            raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {dtype!r}")
        if dtype.compute is not dtype:
            raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {dtype!r}")
    dtypes = [layout_of(operand).dtype for operand in operands]
    if any(dtype is not dtypes[0] for dtype in dtypes):
        raise RuntimeError(f"{name}: Expected the operands to have the same dtype, but got {' and '.join(map(repr, dtypes))} instead")


def check_matrix(name: str, *operands: Any, letter: str = "A") -> None:
    """Check that the operands have at least two dimensions."""
    for operand in operands:
        if layout_of(operand).ndim < 2:
            raise RuntimeError(
                f"{name}: The input tensor {letter} must have at least 2 dimensions, but its shape is {list(layout_of(operand).shape)}."
            )


def compute(tensor: Any) -> None:
    """Compute a tensor now; where it is one sample of many (``batching/``), all of them."""
    tape = LOCAL.tape
    if tape.batched:
        tape.compute(tensor, compute)
    else:
        tensor.storage.materialize()


def checked(results: tuple, check_errors: bool) -> tuple:
    """An operator's results, computed now if it checks for errors: these are raised at the call, where programs catch them and try something else."""
    if check_errors and results[0].layout.numel:
        compute(results[0])
    return results


def check_square(name: str, operand: Any, letter: str = "A") -> None:
    """Check that the operand is a square matrix, or a batch of them."""
    check_matrix(name, operand, letter=letter)
    rows, columns = layout_of(operand).shape[-2:]
    if rows != columns:
        raise RuntimeError(f"{name}: {letter} must be batches of square matrices, but they are {rows} by {columns} matrices")


def layout_of(operand: Any) -> Layout:
    return operand.layout if isinstance(operand, TensorBase) else operand


def broadcast_batches(*matrices: Tensor) -> tuple[Tensor, ...]:
    """The matrices, all with the leading dimensions that they have together."""
    batch = lay.broadcast_shapes(*[matrix.layout.shape[:-2] for matrix in matrices])
    return tuple(matrix if matrix.layout.shape[:-2] == batch else matrix.expand(*batch, *matrix.layout.shape[-2:]) for matrix in matrices)


def hermitian_part(x: Tensor) -> Tensor:
    return (x + x.mH) * 0.5


# -- results ---------------------------------------------------------------------------------------------------------


def column_major(shape: tuple[int, ...], dtype: DType) -> Layout:
    """The layout of a batch of matrices whose columns lie together, as LAPACK writes them and PyTorch returns them."""
    ndim = len(shape)
    return lay.ordered(shape, (*range(ndim - 2), ndim - 1, ndim - 2), dtype)


def in_columns(x: Tensor) -> Tensor:
    """The same matrices with their columns together in memory."""
    return x.mT.contiguous().mT


def on_host(function: Callable[..., tuple | np.ndarray]) -> Callable:
    """The lowering to ``function(*arrays, *statics)``, which returns an array for each result (or the only one)."""

    def lower(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Any:
        orders = [lay.memory_order(layout) for layout in layouts]
        stored = [(layout.dtype, tuple(layout.shape[axis] for axis in order)) for layout, order in zip(layouts, orders, strict=True)]

        def run(*arguments: Any) -> tuple[np.ndarray, ...]:
            found = function(*arguments)
            found = found if isinstance(found, tuple) else (found,)
            return tuple(np.transpose(each, order) for each, order in zip(found, orders, strict=True))

        items = graph.host(run, operands, stored, *statics)
        nodes = tuple(item.permute([order.index(axis) for axis in range(item.ndim)]) for item, order in zip(items, orders, strict=True))
        return nodes if len(nodes) > 1 else nodes[0]

    return lower


def host_operator(name: str, operands: Sequence[str], statics: Sequence[str] = (), *, infer: Callable, compute: Callable) -> Operator:
    """An operator that NumPy computes: ``compute(*arrays, *statics)``."""
    return Operator(name, operands, statics, infer=infer, lower=on_host(compute), keeps_origin=True)


def batch_position(batch: tuple[int, ...], position: tuple[int, ...]) -> str:
    """Where in a batch something failed, to begin a message with."""
    return f"(Batch element {', '.join(map(str, position))}): " if batch else ""


def guarded(
    name: str,
    compute: Callable[..., np.ndarray],
    arrays: Sequence[np.ndarray],
    check: bool,
    failure: Callable[[np.ndarray], tuple[int, str]],
) -> tuple[np.ndarray, np.ndarray]:
    """``(compute(*arrays), info)``, where ``info`` is 0 for each matrix of the batch that succeeded.

    ``failure(matrix)`` gives the number that stands in ``info`` for one that failed, and the reason; its result is NaN.

    Raises:
        LinAlgError: ``check`` is True and a matrix failed.
    """
    batch = arrays[0].shape[:-2]
    info = np.zeros(batch, np.int32)
    try:
        return compute(*arrays), info
    except np.linalg.LinAlgError:
        result = np.full_like(arrays[-1], np.nan)
    for position in np.ndindex(batch):
        try:
            result[position] = compute(*[array[position] for array in arrays])
        except np.linalg.LinAlgError:
            info[position], reason = failure(arrays[0][position])
            if check:
                raise LinAlgError(f"{name}: {batch_position(batch, position)}{reason}") from None
    return result, info


def converging(name: str, compute: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """``compute``, whose failure to converge is a ``LinAlgError`` of ours that names the batch position."""

    def run(array: np.ndarray, *statics: Any) -> Any:
        if not np.isfinite(array).all():
            position = tuple(int(each[0]) for each in np.nonzero(~np.isfinite(array).all((-2, -1)))) if array.ndim > 2 else ()
            raise LinAlgError(
                f"{name}: {batch_position(array.shape[:-2], position)}The algorithm failed to converge because the input matrix contained non-finite values."
            )
        try:
            return compute(array, *statics)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(f"{name}: The algorithm failed to converge: {error}") from None

    return run
