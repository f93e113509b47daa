"""Functions of neural networks: embeddings, dropout, what works on each sample of a batch, and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.distributed.tensor.dtensor import DTensor, local_of, moved, wrap
from flambeau.distributed.tensor.elementwise import ways_of_each
from flambeau.distributed.tensor.placement_types import Partial, Shard
from flambeau.distributed.tensor.spec import local_shape_and_offset
from flambeau.distributed.tensor.ways import WHOLE, Call, Way, argument, choose, run

__all__ = ["NETWORK"]

# -- embeddings ------------------------------------------------------------------------------------------------------


def embedding(call: Call) -> Any:
    """``embedding``: the indices may be cut, or the rows' length; of rows that are shared out each process adds what it has."""
    input, weight = argument(call, 0, "input"), argument(call, 1, "weight")
    if not isinstance(weight, DTensor):
        raise RuntimeError(f"embedding: the weight is an ordinary tensor of shape {list(weight.shape)}: distribute it, too")
    if not isinstance(input, DTensor):  # indices that are the same in each process
        input = wrap(input, DTensor.from_local(input, call.mesh).redistribute(placements=[WHOLE] * call.mesh.ndim)._spec)
        call = Call(
            call.function,
            (input, weight, *call.args[2:]),
            {name: each for name, each in call.kwargs.items() if name not in ("input", "weight")},
        )
    shape = (*input.shape, weight.shape[1])
    rows = [axis for axis, each in enumerate(weight.placements) if each.is_shard(0)]
    if argument(call, 3, "max_norm") is not None:
        return run(call, choose(call, None))

    def ways(call: Call, axis: int) -> Iterator[Way]:
        for dim in range(input.dim()):
            yield [Shard(dim), WHOLE], Shard(dim)
        yield [WHOLE, Shard(1)], Shard(len(shape) - 1)
        if axis in rows and call.mesh.size(axis) > 1:
            yield [WHOLE, Shard(0)], Partial()

    chosen = choose(call, ways)
    cut = [inputs[1] for inputs, _ in chosen]
    if not any(each.is_shard(0) for each in cut):
        return run(call, chosen, shape)
    start = local_shape_and_offset(weight.shape, call.mesh, cut)[1][0]

    def own_rows(indices: Tensor, rows: Tensor, *rest: Any, **options: Any) -> Tensor:
        if rows.shape[0] == 0:
            return rows.new_zeros((*indices.shape, rows.shape[1])) + rows.sum()
        here = (indices >= start) & (indices < start + rows.shape[0])
        found = flambeau.nn.functional.embedding(flambeau.where(here, indices - start, 0), rows)
        return found * here.unsqueeze(-1).to(found.dtype)

    return run(call, chosen, shape, own_rows)


# -- samples of a batch ------------------------------------------------------------------------------------------------

_BATCHED = {
    "conv1d": 3, "conv2d": 4, "conv3d": 5, "conv_transpose1d": 3, "conv_transpose2d": 4, "conv_transpose3d": 5, "max_pool1d": 3, "max_pool2d": 4,
    "max_pool3d": 5, "avg_pool1d": 3, "avg_pool2d": 4, "avg_pool3d": 5, "adaptive_avg_pool1d": 3, "adaptive_avg_pool2d": 4, "adaptive_avg_pool3d": 5,
    "adaptive_max_pool1d": 3, "adaptive_max_pool2d": 4, "group_norm": 2, "interpolate": 3, "pixel_shuffle": 4, "unfold": 4, "fold": 3, "pad": 3,
}  # fmt: skip
"""Functions of the samples of a batch, and how many dimensions a batch has at least."""


def batched(call: Call) -> Any:
    """Run on each process's samples, with weights that are whole."""
    if call.function is Tensor.unfold:  # another one, of any dimension
        return run(call, choose(call, None))
    tensor = call.tensors[0]
    is_batch = tensor.dim() >= _BATCHED[call.name] and not (call.name == "pad" and len(argument(call, 1, "pad")) > 2 * (tensor.dim() - 1))
    others = [WHOLE] * (len(call.tensors) - 1)
    return run(call, choose(call, lambda call, axis: [([Shard(0), *others], Shard(0))] if is_batch else []))


def dropout(call: Call) -> Any:
    """``dropout``: all processes draw for the whole tensor, so that what is dropped is what one process would drop."""
    tensor = call.tensors[0]
    p = argument(call, 1, "p", 0.5)
    trains = argument(call, 2, "train" if "train" in call.kwargs else "training", True)
    if not trains or p == 0:
        return tensor
    kept = call.function(flambeau.ones((), dtype=tensor.dtype).expand(tensor.shape), p, True)
    whole = tuple([WHOLE] * call.mesh.ndim)
    mask = wrap(kept, tensor._spec.with_placements(whole))
    return tensor * mask


# -- losses --------------------------------------------------------------------------------------------------------------

_ELEMENTS = {
    "mse_loss": 4, "l1_loss": 4, "smooth_l1_loss": 4, "huber_loss": 2, "binary_cross_entropy": 5, "binary_cross_entropy_with_logits": 5, "kl_div": 4,
    "soft_margin_loss": 4, "poisson_nll_loss": 7,
}  # fmt: skip
"""Losses of single elements, and at which place the reduction is told."""


def _reduction(call: Call, place: int) -> str:
    size_average, reduce = call.kwargs.get("size_average"), call.kwargs.get("reduce")
    if size_average is not None or reduce is not None:
        return "none" if reduce is False else "sum" if size_average is False else "mean"
    return argument(call, place, "reduction", "mean")


def _unreduced(call: Call, place: int) -> Call:
    kwargs = {name: each for name, each in call.kwargs.items() if name not in ("reduction", "size_average", "reduce")}
    args = call.args
    if len(args) > place:
        args = (*args[:place], "none", *args[place + 1 :])
    else:
        kwargs["reduction"] = "none"
    return Call(call.function, args, kwargs)


def loss_of_elements(call: Call) -> Any:
    """The losses of the elements, and their mean or sum."""
    place = _ELEMENTS[call.name]
    reduction = _reduction(call, place)
    each = _unreduced(call, place)
    losses = run(each, choose(each, ways_of_each))
    if reduction == "batchmean":
        return losses.sum() / call.tensors[0].shape[0]
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def loss_of_classes(call: Call) -> Any:
    """``cross_entropy`` and ``nll_loss``: the losses of the samples, and their (weighted) mean or sum."""
    from flambeau.distributed.tensor.parallel.loss import is_parallel, parallel_cross_entropy

    input, target = argument(call, 0, "input"), argument(call, 1, "target")
    weight, ignored = argument(call, 2, "weight"), argument(call, 4, "ignore_index", -100)
    reduction = _reduction(call, 6)
    classes = 0 if input.dim() == 1 else 1
    if call.name == "cross_entropy" and is_parallel(input, target, weight, argument(call, 7, "label_smoothing", 0.0)):
        losses = parallel_cross_entropy(input, target, ignored)
    else:
        each = _unreduced(call, 6)
        own = [number for number, tensor in enumerate(each.tensors) if tensor is not weight]

        def ways(call: Call, axis: int) -> Iterator[Way]:
            for dim in range(input.dim()):
                if dim != classes and classes:
                    place = dim if target.dim() == input.dim() else dim - (dim > classes)
                    placed = [Shard(dim), Shard(place)]
                    yield (
                        [placed[own.index(number)] if number in own else WHOLE for number in range(len(call.tensors))],
                        Shard(dim - (dim > classes)),
                    )

        losses = run(each, choose(each, ways))
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if target.is_floating_point():
        return losses.sum() / max(losses.numel(), 1)
    if weight is None:
        return losses.sum() / _whole((target != ignored).sum())
    counted = (target != ignored) & (target >= 0)
    weights = flambeau.nn.functional.embedding(flambeau.where(counted, target, 0), weight.detach().unsqueeze(1)).squeeze(-1)
    return losses.sum() / _whole((weights * counted).sum())


def _whole(tensor: DTensor) -> DTensor:
    return moved(tensor, [WHOLE] * tensor.device_mesh.ndim)


# -- random numbers --------------------------------------------------------------------------------------------------------


def random_like(call: Call) -> Any:
    """``rand_like``, ``randn_like``, …: all processes draw for the whole tensor."""
    tensor = call.tensors[0]
    shape_only = flambeau.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    whole = call.function(shape_only, *call.args[1:], **call.kwargs)
    made = wrap(whole.detach().contiguous(), tensor._spec.with_placements([WHOLE] * call.mesh.ndim))
    target = [WHOLE if isinstance(each, Partial) else each for each in tensor.placements]
    piece = moved(made, target)
    return wrap(local_of(piece), tensor._spec.with_placements(target)).requires_grad_(whole.requires_grad)


NETWORK: dict[str, Callable[[Call], Any]] = {
    "embedding": embedding, "dropout": dropout, **dict.fromkeys(_BATCHED, batched), **dict.fromkeys(_ELEMENTS, loss_of_elements),
    "cross_entropy": loss_of_classes, "nll_loss": loss_of_classes, "alike": random_like, "rand_like": random_like, "randn_like": random_like, "randint_like": random_like,
}  # fmt: skip
