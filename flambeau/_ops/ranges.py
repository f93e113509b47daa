"""Creation by position: evenly spaced numbers, and ones on a diagonal."""

from __future__ import annotations

from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

from flambeau._ops import creation
from flambeau._ops.arguments import into, number, whole
from flambeau._ops.copying import infer_given
from flambeau._ops.creation import Place, with_options
from flambeau._ops.meta import nowhere
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import is_meta
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._compiler.graph import Graph
    from flambeau._compiler.node import Node
    from flambeau._tensor.tensor import Tensor


def _lower_arange(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    layout = layouts[0]
    accumulate = dt.float64 if layout.dtype.is_floating_point else dt.int64
    start, step = [graph.cast(operand, accumulate) for operand in operands]
    return graph.cast(start + step * graph.iota(layout.shape, 0, accumulate), layout.dtype)


ARANGE = Operator("arange", ("start", "step"), ("layout",), infer=infer_given, lower=_lower_arange)
FUNCTIONS.arange = lambda length: ARANGE(0, 1, statics=(lay.contiguous((length,), dt.int64),))


def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None, device: Place = None,
           requires_grad: bool = False, out: Tensor | None = None, layout: Any = None, pin_memory: bool = False) -> Tensor:  # fmt: skip
    """``start, start + step, …`` up to but not including ``end``.

    Raises:
        RuntimeError: the step is 0 or leads away from ``end``.

    Example::

        >>> flambeau.arange(1, 2.5, 0.5)
        tensor([1.0000, 1.5000, 2.0000])
    """
    dtype = None if dtype is None else dt.required(dtype)
    if end is None:
        start, end = 0, start
    if not start.__class__ is end.__class__ is step.__class__ is int:
        start, end, step = [each.item() if isinstance(each, TensorBase) else number(each) for each in (start, end, step)]
    if dtype is None and out is not None:
        dtype = out.layout.dtype
    if dtype is None:
        dtype = get_default_dtype() if float in (start.__class__, end.__class__, step.__class__) else dt.int64
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (isfinite(start) and isfinite(end)):  # NumPy's takes 0.6 µs
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise RuntimeError(f"upper bound and lower bound inconsistent with step sign: {start} to {end} by {step}")
    if dtype.is_floating_point:
        length = ceil((end - start) / step)
    elif start.__class__ is end.__class__ is step.__class__ is int or dtype is dt.int64:
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise ValueError("step must be nonzero, but is a fraction that an integer dtype cuts off")
        length = -((start - end) // step)
    else:  # narrower integers are as many as the numbers would be
        length = ceil((end - start) / step)
        start, step = int(start), int(step)
    made = creation.layout_of((max(length, 0),), dtype)
    result = nowhere(made) if device is not None and is_meta(device) else ARANGE(start, step, statics=(made,))
    return result if out is layout is None and not requires_grad else into(out, with_options(result, requires_grad, None, layout))


def _lower_linspace(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    """From the nearer end, so that both ends are exact."""
    layout = layouts[0]
    count = layout.shape[0]
    accumulate = layout.dtype.compute if layout.dtype.is_floating_point else dt.float64
    start, end = (graph.cast(operand, accumulate) for operand in operands)
    if count == 1:
        return graph.cast(start, layout.dtype).expand(layout.shape)
    step = (end - start) / float(max(count - 1, 1))
    index = graph.iota(layout.shape, 0)
    back = graph.cast((count - 1) - index, accumulate)
    result = graph.where(index < count // 2, start + step * graph.cast(index, accumulate), end - step * back)
    return graph.cast(result, layout.dtype)


LINSPACE = Operator("linspace", ("start", "end"), ("layout",), infer=infer_given, lower=_lower_linspace)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, evenly spaced, both ends included."""
    if is_meta(device):  # nobody needs to know from where to where
        start, end = 0, 0
    start, end = (each.item() if isinstance(each, TensorBase) else number(each) for each in (start, end))
    steps = whole(steps, "steps")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    dtype = dt.of_python(dtype) or get_default_dtype()
    if dtype.category < dt.FLOAT:
        start, end = int(start), int(end)
    made = lay.contiguous((steps,), dtype)
    result = nowhere(made) if is_meta(device) else LINSPACE(start, end, statics=(made,))
    return into(out, with_options(result, requires_grad, None, layout))


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
    out: Tensor | None = None, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """``steps`` numbers from ``base**start`` to ``base**end``, whose logarithms are evenly spaced, both ends included."""
    steps = whole(steps, "steps")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    dtype = dt.of_python(dtype) or get_default_dtype()
    if is_meta(device):  # nobody needs to know from where to where
        start, end = 0, 0
    if dtype.category < dt.FLOAT:
        start, end = (int(each) for each in (start, end))
    wide = dt.complex128 if dtype.is_complex else dt.float64
    result = (float(base) ** linspace(start, end, steps, dtype=wide, device=device, layout=layout)).to(dtype)
    return into(out, result.requires_grad_() if requires_grad else result)


def _lower_eye(graph: Graph, operands: list[Node], statics: tuple, layouts: tuple[Layout, ...]) -> Node:
    layout = layouts[0]
    return graph.cast(graph.iota(layout.shape, 0).equals(graph.iota(layout.shape, 1)), layout.dtype)


EYE = Operator("eye", (), ("layout",), infer=infer_given, lower=_lower_eye)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """A matrix with ones on the diagonal and zeros elsewhere."""
    n = whole(n, "n")
    columns = n if m is None else whole(m, "m")
    if n < 0 or columns < 0:
        raise RuntimeError(f"n must be greater or equal to 0, got {min(n, columns)}")
    made = lay.contiguous((n, columns), dt.of_python(dtype) or get_default_dtype())
    result = nowhere(made) if is_meta(device) else EYE(statics=(made,))
    return into(out, with_options(result, requires_grad, None, layout))


PUBLIC = ("arange", "eye", "linspace", "logspace")
METHODS: tuple[str, ...] = ()
