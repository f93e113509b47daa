"""Group, layer, root-mean-square, batch and instance norm: what each of them checks, and how it is put to the operator of all norms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from flambeau._ops.arguments import into
from flambeau._ops.copying import suggested_format
from flambeau._ops.creation import ones_like
from flambeau._ops.normalization import NORM, Shape, widened
from flambeau._ops.writing import write
from flambeau._tape.tape import LOCAL
from flambeau._types import dtype as dt
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

# -- what all norms share --------------------------------------------------------------------------------------------


def _affine_operands(weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
    if weight is None and bias is not None:
        weight = ones_like(bias)
    return tuple(each for each in (weight, bias) if each is not None)


def _layout(tensor: Tensor | None) -> Layout | None:
    try:
        return None if tensor is None else tensor.layout
    except AttributeError:
        raise TypeError(f"weight, bias and running statistics must be Tensors, not {type(tensor).__name__}") from None


def _check_dtypes(name: str, input: Layout, **parameters: Layout | None) -> None:
    """Check that there is an arithmetic for the input, and that all parameters have one dtype that goes with it."""
    source = input.dtype
    if not source.is_floating_point:
        raise NotImplementedError(f"{name} is not implemented for {source!r}: it needs a floating-point input")
    given = {what: parameter.dtype for what, parameter in parameters.items() if parameter is not None}
    for allowed in {source, source.compute}:
        if all(dtype is allowed for dtype in given.values()):
            return
    also = f" or all be {source.compute!r}" if source.compute is not source else ""
    raise RuntimeError(
        f"{name}: mixed dtype: with an input of {source!r} the parameters must all be {source!r}{also}, but got "
        + ", ".join(f"{what} of {dtype!r}" for what, dtype in given.items())
    )


def _check_channels(name: str, input: Layout, channels: int, **parameters: Layout | None) -> None:
    """Check that all parameters have a number for each channel, and dtypes that go together."""
    for what, parameter in parameters.items():
        if parameter is not None and parameter.shape != (channels,):
            raise RuntimeError(
                f"{what} should contain {channels} elements not {parameter.numel}, one for each channel of input {list(input.shape)}"
            )
    _check_dtypes(name, input, **parameters)


def _empty_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Of no elements: the input itself as far as values go, with zero gradients for weight and bias."""
    result = input.clone()
    for parameter in (weight, bias):
        if parameter is not None:
            result = result + (parameter.sum() * 0).to(result.dtype)
    return result


# -- group and layer norm --------------------------------------------------------------------------------------------


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Tensor:
    """Normalise each group of channels of each sample: input ``(N, C, *)``, weight and bias ``(C)``.

    Raises:
        RuntimeError: ``C`` is not divisible by ``num_groups``, or a weight has the wrong length.
        NotImplementedError: the input is not of a floating-point dtype.
    """
    statics = _plan_groups(input.layout, num_groups, _layout(weight), _layout(bias))
    if input.layout.numel == 0:
        return _empty_norm(input, weight, bias)
    return NORM(input, eps, *_affine_operands(weight, bias), statics=statics)[0]


@lru_cache(maxsize=1024)
def _plan_groups(input: Layout, groups: int, weight: Layout | None, bias: Layout | None) -> tuple:
    """The statics of a group norm, if what it is given fits together."""
    shape = input.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"group_norm: expected at least 2 dimensions (N, C, *) for input tensor but received {len(shape)}, of shape {list(shape)}"
        )
    count, channels, *rest = shape
    if groups <= 0:
        raise RuntimeError(f"group_norm: num_groups must be greater than 0, got {groups}")
    if channels % groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(shape)} and num_groups={groups}: "
            f"num_channels (={channels}) must be divisible by num_groups (={groups}): {channels} % {groups} = {channels % groups}"
        )
    _check_dtypes("group_norm", input, weight=weight, bias=bias)
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
                f"{list(parameter.shape)} and input of shape {list(shape)}: ({channels},) would fit"
            )
    full = (count, groups, channels // groups, *rest)
    return full, tuple(range(2, len(full))), (1, 2), True


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalise over the last dimensions, which must have ``normalized_shape``; so must weight and bias.

    Raises:
        RuntimeError: the shapes do not agree.
        NotImplementedError: the input is not of a floating-point dtype.
    """
    statics = _plan_layers("layer_norm", input.layout, tuple(normalized_shape), _layout(weight), _layout(bias))
    if input.layout.numel == 0:
        return _empty_norm(input, weight, bias)
    return _layered(input, weight, bias, eps, statics)[0]


def _layered(input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, statics: tuple) -> tuple[Tensor, ...]:
    """Result, mean, rstd and variance of the leading dimensions; contiguous, whatever the input's strides are."""
    return NORM(input.contiguous(), eps, *_affine_operands(weight, bias), statics=statics)


@lru_cache(maxsize=1024)
def _plan_layers(name: str, input: Layout, normalized: Shape, weight: Layout | None, bias: Layout | None) -> tuple:
    """The statics of a layer norm, if what it is given fits together."""
    _check_normalized(name, input.shape, normalized, weight, bias)
    _check_dtypes(name, input, weight=weight, bias=bias)
    axes = tuple(range(input.ndim - len(normalized), input.ndim))
    return input.shape, axes, axes, True


def _check_normalized(name: str, shape: Shape, normalized: Shape, weight: Layout | None, bias: Layout | None) -> None:
    if not normalized:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []"
        )
    for what, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and parameter.shape != normalized:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape {list(parameter.shape)} and normalized_shape = {list(normalized)}"
            )
    if len(shape) < len(normalized) or shape[len(shape) - len(normalized) :] != normalized:
        stars = ", ".join(["*", *map(str, normalized)])
        raise RuntimeError(
            f"Given normalized_shape={list(normalized)}, expected input with shape [{stars}], but got input of size{list(shape)} ({name})"
        )


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """``input / sqrt(mean(input²) + eps) * weight`` over the last dimensions."""
    normalized = tuple(normalized_shape)
    source = input.layout
    _check_normalized("rms_norm", source.shape, normalized, _layout(weight), None)
    if eps is None:
        eps = 2.0**-52 if source.dtype.compute in (dt.float64, dt.complex128) else 2.0**-23
    axes = tuple(range(source.ndim - len(normalized), source.ndim))
    if source.dtype.is_complex:
        result = input * ((input * input).mean(axes, keepdim=True) + eps).rsqrt()
        return result if weight is None else result * weight
    if not source.dtype.is_floating_point:
        raise NotImplementedError(f"rms_norm is not implemented for {source.dtype!r}: it needs a floating-point or complex input")
    if source.numel == 0:
        return _empty_norm(input, weight, None)
    statics = source.shape, axes, axes, False
    if weight is not None and weight.layout.dtype.compute is not source.dtype.compute:
        return (NORM(input, eps, statics=statics)[0] * weight).to(source.dtype)
    return NORM(input, eps, *(() if weight is None else (weight,)), statics=statics)[0]


# -- batch norm ------------------------------------------------------------------------------------------------------


def batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    """Normalise each channel (dimension 1) by the statistics of the batch when training, else by the running ones.

    When training, ``running_mean`` and ``running_var`` move towards the batch's mean and unbiased variance by ``momentum``.

    Raises:
        RuntimeError: a weight or a running statistic has the wrong length.
        NotImplementedError: the input is not of a floating-point dtype.
    """
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


def _batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """The result, and the mean and rstd of the batch if they were used."""
    shape = input.layout.shape
    channels = _check_batch(input.layout, _layout(running_mean), _layout(running_var), _layout(weight), _layout(bias))
    _check_constant("batch_norm", running_mean, running_var)
    if training and (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if input.layout.numel == 0:
        return _empty_norm(input, weight, bias), None, None
    if LOCAL.tape.dispatches:
        return LOCAL.tape.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("running_mean and running_var must be defined in evaluation mode")
        return _by_running_statistics(input, weight, bias, running_mean, running_var, eps), None, None
    axes = (0, *range(2, len(shape)))
    result, mean, rstd, variance = NORM(input, eps, *_affine_operands(weight, bias), statics=(shape, axes, (1,), True))
    if running_mean is not None and running_var is not None:
        _follow(running_mean, mean.detach(), momentum)
        _follow(running_var, _unbiased(variance.detach(), input.layout.numel // channels), momentum)
    return result, mean, rstd


@lru_cache(maxsize=1024)
def _check_batch(input: Layout, running_mean: Layout | None, running_var: Layout | None, weight: Layout | None, bias: Layout | None) -> int:
    """The number of channels, if what a batch norm is given fits together."""
    if input.ndim < 2 and input.numel:
        raise IndexError(
            f"batch_norm: expected at least 2 dimensions (N, C, *), but got input of shape {list(input.shape)}: there is no channel"
        )
    channels = input.shape[1] if input.ndim > 1 else 0
    _check_channels("batch_norm", input, channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    return channels


def _check_constant(name: str, running_mean: Tensor | None, running_var: Tensor | None) -> None:
    """Check that no gradient is asked for of what is moved in place and not differentiated."""
    if LOCAL.tape.grad:
        for what, running in (("running_mean", running_mean), ("running_var", running_var)):
            if running is not None and running.requires_grad:
                raise RuntimeError(f"{name}: {what} has no gradient, so that it must not require one; give {what}.detach()")


def _by_running_statistics(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor, running_var: Tensor, eps: float
) -> Tensor:
    """One multiplication and one addition for each element, by what the channel's four numbers come to."""
    compute = input.layout.dtype.compute
    scale = (running_var.to(compute) + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.to(compute)
    shift = -running_mean.to(compute) * scale
    if bias is not None:
        shift = shift + bias.to(compute)
    column = (1, -1, *(1,) * (input.layout.ndim - 2))
    source = input if input.layout.contiguous else input.contiguous(memory_format=suggested_format(input.layout))
    return (source.to(compute) * scale.reshape(column) + shift.reshape(column)).to(input.layout.dtype)


def _unbiased(variance: Tensor, count: int) -> Tensor:
    return variance * (count / max(count - 1, 1))


def _follow(running: Tensor, batch: Tensor, momentum: float) -> None:
    """Move a running statistic towards that of a batch, in place."""
    from flambeau.autograd.grad_mode import no_grad

    with no_grad():
        write(running, running * (1 - momentum) + batch.to(running.layout.dtype) * momentum)


# -- instance norm ---------------------------------------------------------------------------------------------------


def instance_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    """Normalise each channel of each sample by its own statistics, or all samples by the running ones.

    With its own, the running statistics move towards the mean over the samples of each sample's mean and unbiased variance.
    """
    shape = input.layout.shape
    if len(shape) < 2:
        raise IndexError(
            f"instance_norm: expected at least 2 dimensions (N, C, *), but got input of shape {list(shape)}: there is no channel"
        )
    input = input.contiguous()  # as its result is, whatever the input's strides are
    if not use_input_stats or input.layout.numel == 0:
        return batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps)
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_constant("instance_norm", running_mean, running_var)
    _check_channels("instance_norm", input.layout, shape[1], **{name: _layout(parameter) for name, parameter in given.items()})
    axes = tuple(range(2, len(shape)))
    result, mean, _, variance = NORM(input, eps, *_affine_operands(weight, bias), statics=(shape, axes, (1,), True))
    if running_mean is not None:
        _follow(running_mean, mean.detach().mean(0), momentum)
    if running_var is not None:
        _follow(running_var, _unbiased(variance.detach(), prod(shape[2:])).mean(0), momentum)
    return result


# -- with the statistics as results ----------------------------------------------------------------------------------


def _rounded(input: Tensor, weight: Tensor | None, *statistics: Tensor) -> tuple[Tensor, ...]:
    """Statistics as the ``native_`` functions give them: in the parameters' dtype, or in the input's."""
    dtype = input.layout.dtype if weight is None else weight.layout.dtype
    return tuple(statistic.to(dtype) for statistic in statistics)


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`group_norm` of an input of ``N * C * HxW`` elements, and the mean and 1 / standard deviation ``(N, group)`` that it used."""
    if group <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {group}")
    if C % group:
        raise RuntimeError(f"Expected number of channels in input to be divisible by num_groups, but got C={C} and group={group}")
    _check_dtypes("native_group_norm", input.layout, weight=_layout(weight), bias=_layout(bias))
    if input.layout.numel == 0:
        nothing = (input.sum() * 0).expand((N, group))
        return _empty_norm(input, weight, bias), nothing.clone(), nothing.clone()
    result = group_norm(input, group, weight, bias, eps)
    # These have gradients in PyTorch (those of the other two functions have not); where nobody looks at them they are not computed.
    groups = widened(input, (N, group, -1))
    rstd = (groups.var(-1, unbiased=False) + eps).rsqrt()
    return result, *_rounded(input, weight, groups.mean(-1), rstd)


def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`layer_norm`, and the mean and 1 / standard deviation that it used, with sizes of 1 for the normalised dimensions."""
    normalized = tuple(normalized_shape)
    statics = _plan_layers("native_layer_norm", input.layout, normalized, _layout(weight), _layout(bias))
    lead = input.layout.ndim - len(normalized)
    kept = (*input.layout.shape[:lead], *(1,) * len(normalized))
    if input.layout.numel == 0:
        nothing = input.new_zeros(kept)
        return _empty_norm(input, weight, bias), nothing, nothing.clone()
    result, mean, rstd, _ = _layered(input, weight, bias, eps, statics)
    return result, *_rounded(input, weight, mean.detach().reshape(kept), rstd.detach().reshape(kept))


def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float, *, out: tuple[Tensor, Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """:func:`batch_norm`, and the mean and 1 / standard deviation of the batch (of no elements where it was not used)."""
    result, mean, rstd = _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    if mean is None or rstd is None:
        nothing = input.new_zeros((0,))
        return into(out, (result, nothing, nothing.clone()))
    return into(out, (result, *_rounded(input, weight, mean.detach(), rstd.detach())))


PUBLIC = (
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "native_batch_norm", "native_group_norm", "native_layer_norm", "rms_norm",
)  # fmt: skip
METHODS = ()
