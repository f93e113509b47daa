"""Rules for reading and writing at computed positions: tensors of indices, gather and scatter, tables, classes.

Where indices differ from sample to sample, the sample's own number is one more index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau._ops.batching.call import Call, with_ones
from flambeau._ops.batching.products import fold, moved
from flambeau._ops.gathering import GATHER
from flambeau._ops.loss import MEAN, NLL_BACKWARD, NLL_LOSS, NONE
from flambeau._ops.ranges import arange
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.views import expand, permute, reshape, unsqueeze
from flambeau._types import layout as lay

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

# -- tensors of indices ------------------------------------------------------------------------------------------------


def _neighbours(axes: tuple[int, ...]) -> bool:
    return all(after == before + 1 for before, after in zip(axes, axes[1:], strict=False))


def _positions(call: Call, first: int) -> tuple[list[Any], int]:
    """The indices of all samples, and how many dimensions they have together in one sample."""
    count = max(call.ndim(position) for position in range(first, len(call.values)))
    return [call.aligned(position, count) for position in range(first, len(call.values))], count


def _own_number(call: Call, count: int) -> Tensor:
    return reshape(arange(call.size), call.size, *(1,) * count)


def index(call: Call) -> Tensor:
    axes = call.axes
    indices, count = _positions(call, 1)
    at = axes[0] if _neighbours(axes) else 0
    if not any(call.held[1:]):
        result = call(call.values[0], *indices, statics=(tuple([axis + 1 for axis in axes]),))
        return result if _neighbours(axes) else moved(result, count, 0)
    if not call.held[0]:
        return moved(call(call.values[0], *indices, statics=(axes,)), at, 0)
    inner = (0, *[axis + 1 for axis in axes])
    result = call(call.values[0], _own_number(call, count), *indices, statics=(inner,))
    return _shifted(result, 1, 1 + at, count)


def _shifted(tensor: Tensor, source: int, target: int, count: int) -> Tensor:
    """The view with ``count`` neighbouring dimensions somewhere else."""
    if source == target:
        return tensor
    order = list(range(tensor.layout.ndim))
    part = order[source : source + count]
    del order[source : source + count]
    order[target:target] = part
    return permute(tensor, *order)


def index_put(call: Call) -> Tensor:
    """The result of all samples is written with the sample's own number as the first index, so that positions come first."""
    axes = call.axes
    indices, count = _positions(call, 2)
    at = axes[0] if _neighbours(axes) else 0
    ndim = call.ndim(0) - len(axes) + count
    values = call.values[1]
    if call.held[1] or values.layout.ndim > at:
        values = with_ones(values, ndim) if call.held[1] else reshape(values, *(1,) * (ndim - values.layout.ndim), *values.layout.shape)
        lead = 1 if call.held[1] else 0
        values = _shifted(values, lead + at, lead, count)
    inner = (0, *[axis + 1 for axis in axes])
    return call(call.all(0), values, _own_number(call, count), *indices, statics=call.changed(axes=inner))


# -- gather and scatter ------------------------------------------------------------------------------------------------


def gather(call: Call) -> Tensor:
    return call(_with_axis(call.all(0)), _with_axis(call.all(1)), statics=call.changed(dim=call.dim + 1))


def index_select(call: Call) -> Tensor:
    source, dim = call.all(0), call.dim + 1
    if not call.held[1]:
        return call(source, call.values[1], statics=(dim,))
    places, shape = call.values[1], source.layout.shape
    count = places.layout.shape[1]
    places = reshape(places, *(size if axis == 0 else count if axis == dim else 1 for axis, size in enumerate(shape)))
    return GATHER(source, expand(places, *shape[:dim], count, *shape[dim + 1 :]), statics=(dim, "index_select"))


def scatter(call: Call) -> Tensor:
    target, places = _with_axis(call.all(0)), _with_axis(call.all(1))
    source = call.all(2)
    if call.held[2] or not isinstance(source, (int, float, bool, complex)):
        source = _with_axis(source)
    return call(target, places, source, statics=call.changed(dim=call.dim + 1))


def _with_axis(samples: Tensor) -> Tensor:
    """A tensor without dimensions has one of size 1."""
    return samples if samples.layout.ndim > 1 else unsqueeze(samples, 1)


# -- tables --------------------------------------------------------------------------------------------------------------


def embedding(call: Call) -> Any:
    weight, indices = call.values
    if not call.held[0]:
        return call(weight, indices, statics=call.statics)
    if call.scale_grad_by_freq:
        return None
    places = reshape(call.all(1), call.size, -1 if call.operands[1].layout.numel else 0)
    width = weight.layout.shape[2]
    rows = GATHER(weight, expand(unsqueeze(places, 2), -1, -1, width), statics=(1, "index_select"))
    if call.padding_idx >= 0 and rows.node is not None:
        rows = FUNCTIONS.where(unsqueeze(places == call.padding_idx, 2), rows.detach(), rows)
    return reshape(rows, call.size, *call.layouts[0].shape)


# -- classes -------------------------------------------------------------------------------------------------------------


def nll_loss(call: Call) -> Any:
    """The loss of each position, added up in each sample."""
    if any(call.held[2:]):
        return None
    target, weight = call.all(1), call.values[2:]
    losses = NLL_LOSS(_as_rows(call.all(0)), _as_rows(target, 0), *weight, statics=(NONE, call.ignore_index))[0]
    losses = reshape(losses, *target.layout.shape)
    counted = target != call.ignore_index
    if weight:
        counts = FUNCTIONS.where(counted, weight[0][FUNCTIONS.where(counted, target, 0)], 0.0)
    else:
        counts = FUNCTIONS.cast(counted, call.layouts[1].dtype)
    total = _added(counts)
    if call.reduction == NONE:
        return losses, total
    return _added(losses) / total if call.reduction == MEAN else _added(losses), total


def nll_loss_backward(call: Call) -> Any:
    if any(call.held[3:]):
        return None
    grad, target = call.aligned(0, call.ndim(1)), call.all(1)
    if call.reduction == MEAN:
        total = call.aligned(2, call.ndim(1))
        grad = FUNCTIONS.where(total == 0, 0.0, grad / total)
    shape = (call.size, *call.shape) if len(call.shape) == 1 else (call.size * call.shape[0], *call.shape[1:])
    grad = _as_rows(expand(grad, *target.layout.shape), 0)
    total = FUNCTIONS.zeros(lay.contiguous((), call.layouts[0].dtype))
    statics = (NONE, call.ignore_index, shape)
    return reshape(NLL_BACKWARD(grad, _as_rows(target, 0), total, *call.values[3:], statics=statics), call.size, *call.shape)


def _as_rows(samples: Tensor, classes: int = 1) -> Tensor:
    """``(B, N, *)`` as ``(B * N, *)``; where one sample is one row, as it is."""
    return samples if samples.layout.ndim == 1 + classes else fold(samples, 0)


def _added(samples: Tensor) -> Tensor:
    """The sum over each sample."""
    return samples.sum(tuple(range(1, samples.layout.ndim))) if samples.layout.ndim > 1 else samples


RULES = {
    "embedding": embedding, "gather": gather, "index": index, "index_put": index_put, "index_select": index_select, "nll_loss": nll_loss, "scatter": scatter, "scatter_add": scatter,
    "scatter_reduce": scatter, "_nll_loss_backward": nll_loss_backward,
}  # fmt: skip
