"""What the operators of linear algebra share: checks of their operands, and lowering to kernels of ours or to NumPy's LAPACK on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops.linalg.threads import single_threaded
from flambeau._ops.operator import Operator
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU
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
        NotImplementedError: one holds integers or numbers of half precision.
        RuntimeError: two have different dtypes.
    """
    for operand in operands:
        dtype = layout_of(operand).dtype
        if dtype.category < dt.FLOAT:
            raise NotImplementedError(f"{name}: Expected a floating point or complex tensor as input. Got {dtype!r}")
        if dtype.compute is not dtype:
            raise NotImplementedError(f"{name}: Low precision dtypes not supported. Got {dtype!r}")
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
    """Compute a tensor now; where it is one sample of many (``batching/``), all of them. There is nothing to compute on the meta device."""
    tape = LOCAL.tape
    if tape.batched:
        tape.compute(tensor, compute)
    elif tensor.memory.device is CPU:
        tensor.memory.materialize()


def may_look(tensor: Tensor) -> bool:
    """Whether there are elements that a decision can depend on: not on the meta device, nor where a tensor stands for many samples."""
    return tensor.layout.numel > 0 and tensor.memory.device is CPU and not LOCAL.tape.batched


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
    if isinstance(operand, TensorBase):
        return operand.layout
    if not isinstance(operand, Layout):
        raise TypeError(f"expected a matrix as a Tensor, but got {operand.__class__.__name__}")
    return operand


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
            with single_threaded():
                found = function(*arguments)
            found = found if isinstance(found, tuple) else (found,)
            return tuple(np.transpose(each, order) for each, order in zip(found, orders, strict=True))

        items = graph.host(run, operands, stored, *statics)
        nodes = tuple(item.permute([order.index(axis) for axis in range(item.ndim)]) for item, order in zip(items, orders, strict=True))
        return nodes if len(nodes) > 1 else nodes[0]

    return lower


def host_operator(
    name: str, operands: Sequence[str], statics: Sequence[str] = (), *, infer: Callable, compute: Callable, grad_name: str | None = None
) -> Operator:
    """An operator that NumPy computes: ``compute(*arrays, *statics)``."""
    return Operator(name, operands, statics, infer=infer, lower=on_host(compute), keeps_origin=True, grad_name=grad_name)


def kernel_operator(
    name: str,
    operands: Sequence[str],
    statics: Sequence[str] = (),
    *,
    infer: Callable,
    kernels: Callable,
    compute: Callable,
    suits: Callable[[Node], bool] = lambda first: True,
) -> Operator:
    """An operator on real matrices by kernels of ours: ``kernels(graph, operands, *statics)`` gives a node for each result.

    NumPy computes what there are no kernels for, complex matrices, and those without elements: ``compute(*arrays, *statics)``; and
    matrices that kernels do not suit.
    """
    host = on_host(compute)

    def lower(graph: Graph, nodes: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Any:
        usual = all(node.numel and node.dtype in (dt.float32, dt.float64, dt.int32) for node in nodes)
        return kernels(graph, nodes, *statics) if usual and suits(nodes[0]) else host(graph, nodes, statics, layouts)

    return Operator(name, operands, statics, infer=infer, lower=lower, keeps_origin=True)


def refuse(graph: Graph, name: str, info: Node, reason: Callable[[int], str]) -> None:
    """Make the first matrix of a batch whose ``info`` is not 0 a ``LinAlgError``; ``reason`` makes a sentence of it."""
    batch = info.shape

    def error(position: int, detail: int) -> LinAlgError:
        where = tuple(int(each) for each in np.unravel_index(position, batch))
        return LinAlgError(f"{name}: {batch_position(batch, where)}{reason(detail)}")

    graph.check(info.differs(0), graph.cast(info, dt.int64), error)


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


def refuse_infinite(graph: Graph, name: str, a: Node) -> None:
    """Make the first matrix of a batch that has an element that is not finite a ``LinAlgError``."""
    bad = graph.reduce("any", graph.map("logical_not", graph.map("isfinite", a)), (a.ndim - 2, a.ndim - 1))
    refuse(graph, name, graph.cast(bad, dt.int32), lambda _: _NOT_FINITE)


_NOT_FINITE = "The algorithm failed to converge because the input matrix contained non-finite values."


def converging(name: str, compute: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """``compute``, whose failure to converge is a ``LinAlgError`` of ours that names the batch position."""

    def run(array: np.ndarray, *statics: Any) -> Any:
        if not np.isfinite(array).all():
            position = tuple(int(each[0]) for each in np.nonzero(~np.isfinite(array).all((-2, -1)))) if array.ndim > 2 else ()
            raise LinAlgError(f"{name}: {batch_position(array.shape[:-2], position)}{_NOT_FINITE}")
        try:
            return compute(array, *statics)
        except np.linalg.LinAlgError as error:
            raise LinAlgError(f"{name}: The algorithm failed to converge: {error}") from None

    return run
