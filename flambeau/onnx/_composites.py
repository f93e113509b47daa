"""What operators are made of that ONNX lacks. (Losses are in ``_losses.py``.)"""

from __future__ import annotations

import itertools
import math
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.onnx._registry import made_of

# -- one element -----------------------------------------------------------------------------------------------------------


@made_of("atan2", "arctan2")
def _atan2(input: Tensor, other: Tensor) -> Tensor:
    slope = (input / other).atan()
    half_turn = flambeau.where(input < 0, -math.pi, math.pi)
    left = flambeau.where(other < 0, slope + half_turn, slope)
    straight = flambeau.where(input == 0, 0.0, half_turn / 2)
    return flambeau.where(other == 0, straight, left)


@made_of("hypot")
def _hypot(input: Tensor, other: Tensor) -> Tensor:
    return (input.square() + other.square()).sqrt()


@made_of("logaddexp")
def _logaddexp(input: Tensor, other: Tensor) -> Tensor:
    return flambeau.maximum(input, other) + (1 + (-(input - other).abs()).exp()).log()


@made_of("logaddexp2")
def _logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    return flambeau.maximum(input, other) + (1 + flambeau.exp2(-(input - other).abs())).log2()


@made_of("xlogy", "special_xlogy")
def _xlogy(input: Any, other: Any) -> Tensor:
    x, y = _as_tensors(input, other)
    return flambeau.where((x == 0) & (y == y), 0.0, x * y.log())


@made_of("special_xlog1py")
def _xlog1py(input: Any, other: Any) -> Tensor:
    x, y = _as_tensors(input, other)
    return flambeau.where((x == 0) & (y == y), 0.0, x * y.log1p())


def _as_tensors(*given: Any) -> list[Tensor]:
    found = next(each for each in given if isinstance(each, Tensor))
    dtype = found.dtype if found.is_floating_point() else flambeau.get_default_dtype()
    return [each.to(dtype) if isinstance(each, Tensor) else flambeau.scalar_tensor(each, dtype=dtype) for each in given]


@made_of("sinc", "special_sinc")
def _sinc(input: Tensor) -> Tensor:
    turned = input * math.pi
    return flambeau.where(input == 0, 1.0, turned.sin() / turned)


@made_of("erfc", "special_erfc")
def _erfc(input: Tensor) -> Tensor:
    return 1 - input.erf()


@made_of("special_ndtr")
def _ndtr(input: Tensor) -> Tensor:
    return 0.5 * (1 + (input * math.sqrt(0.5)).erf())


@made_of("logit", "special_logit")
def _logit(input: Tensor, eps: float | None = None) -> Tensor:
    p = input if eps is None else input.clamp(eps, 1 - eps)
    return (p / (1 - p)).log()


@made_of("special_entr")
def _entr(input: Tensor) -> Tensor:
    return flambeau.where(input < 0, -math.inf, -flambeau.xlogy(input, input))


@made_of("deg2rad")
def _deg2rad(input: Tensor) -> Tensor:
    return input * (math.pi / 180)


@made_of("rad2deg")
def _rad2deg(input: Tensor) -> Tensor:
    return input * (180 / math.pi)


@made_of("frac")
def _frac(input: Tensor) -> Tensor:
    return input - input.trunc()


@made_of("angle")
def _angle(input: Tensor) -> Tensor:
    return flambeau.where(input < 0, math.pi, flambeau.where(input != input, math.nan, 0.0))


@made_of("signbit")
def _signbit(input: Tensor) -> Tensor:
    """Of zeros, whose sign nothing else tells, by dividing."""
    return (input < 0) | ((input == 0) & (1 / input < 0)) if input.is_floating_point() else input < 0


@made_of("copysign")
def _copysign(input: Tensor, other: Any) -> Tensor:
    sign = flambeau.signbit(other) if isinstance(other, Tensor) else math.copysign(1, other) < 0
    size = input.abs().to(flambeau.get_default_dtype()) if not input.is_floating_point() else input.abs()
    return flambeau.where(sign, -size, size) if isinstance(sign, Tensor) else -size if sign else size


@made_of("heaviside")
def _heaviside(input: Tensor, values: Tensor) -> Tensor:
    return flambeau.where(input == 0, values, (input > 0).to(input.dtype))


@made_of("fmax")
def _fmax(input: Tensor, other: Tensor) -> Tensor:
    return flambeau.where((input > other) | (other != other), input, other)


@made_of("fmin")
def _fmin(input: Tensor, other: Tensor) -> Tensor:
    return flambeau.where((input < other) | (other != other), input, other)


@made_of("nan_to_num")
def _nan_to_num(input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    if not input.is_floating_point():
        return input.clone()
    limits = flambeau.finfo(input.dtype)
    top, bottom = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    finite = flambeau.where(input == math.inf, top, flambeau.where(input == -math.inf, bottom, input))
    return flambeau.where(input != input, 0.0 if nan is None else nan, finite)


@made_of("isclose")
def _isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    near = (input == other) | (((input - other).abs() <= atol + rtol * other.abs()) & flambeau.isfinite(other))
    return near | ((input != input) & (other != other)) if equal_nan else near


@made_of("isreal")
def _isreal(input: Tensor) -> Tensor:
    return flambeau.ones_like(input, dtype=flambeau.bool)


@made_of("lerp")
def _lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    return input + (end - input) * weight


@made_of("addcmul")
def _addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: Any = 1) -> Tensor:
    return input + (tensor1 * tensor2 if value == 1 else tensor1 * tensor2 * value)


@made_of("addcdiv")
def _addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: Any = 1) -> Tensor:
    return input + (tensor1 / tensor2 if value == 1 else tensor1 / tensor2 * value)


@made_of("ldexp")
def _ldexp(input: Tensor, other: Tensor) -> Tensor:
    return input * flambeau.exp2(other.to(input.dtype if input.is_floating_point() else flambeau.get_default_dtype()))


@made_of("float_power")
def _float_power(input: Any, exponent: Any) -> Tensor:
    base, power = (each.to(flambeau.float64) if isinstance(each, Tensor) else each for each in (input, exponent))
    return flambeau.pow(base, power)


@made_of("nn.functional.tanhshrink", "tanhshrink")
def _tanhshrink(input: Tensor) -> Tensor:
    return input - input.tanh()


@made_of("renorm")
def _renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    others = [each for each in range(input.dim()) if each != dim % input.dim()]
    length = flambeau.linalg.vector_norm(input, p, others, True)
    return input * flambeau.where(length > maxnorm, maxnorm / (length + 1e-7), 1.0)


# -- rows of elements ------------------------------------------------------------------------------------------------------


@made_of("nansum")
def _nansum(input: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    known = flambeau.where(input != input, 0, input)
    return known.sum(dtype=dtype) if dim is None else known.sum(dim, keepdim, dtype=dtype)


@made_of("nanmean")
def _nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    dims = list(range(input.dim())) if dim is None else dim
    counts = (input == input).to(input.dtype if dtype is None else dtype).sum(dims, keepdim)
    return flambeau.nansum(input, dims, keepdim, dtype=dtype) / counts


@made_of("logcumsumexp")
def _logcumsumexp(input: Tensor, dim: int) -> Tensor:
    top = input.amax(dim, True)
    return (input - top).exp().cumsum(dim).log() + top


@made_of("cumprod")
def _cumprod(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    x = input if dtype is None else input.to(dtype)
    x = x.to(flambeau.int64) if dtype is None and not x.is_floating_point() else x
    if not x.dim():
        return x.clone()
    columns = list(x.unbind(dim))
    return flambeau.stack(list(itertools.accumulate(columns, lambda a, b: a * b)), dim)


def _running(input: Tensor, dim: int, later: Any) -> tuple[Tensor, Tensor]:
    """The extreme up to each element, and where it is."""
    columns = list(input.unbind(dim))
    best, place = columns[0], flambeau.zeros_like(columns[0], dtype=flambeau.int64)
    values, places = [best], [place]
    for number, column in enumerate(columns[1:], 1):
        taken = later(column, best) | (column != column)
        best, place = flambeau.where(taken, column, best), flambeau.where(taken, number, place)
        values.append(best)
        places.append(place)
    return flambeau.stack(values, dim), flambeau.stack(places, dim)


@made_of("cummax")
def _cummax(input: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    return _running(input, dim, lambda new, best: new >= best)


@made_of("cummin")
def _cummin(input: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    return _running(input, dim, lambda new, best: new <= best)


@made_of("diff")
def _diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    parts = [part for part in (prepend, input, append) if part is not None]
    x = parts[0] if len(parts) == 1 else flambeau.cat(parts, dim)
    for _ in range(n):
        length = x.shape[dim] - 1
        ahead, behind = x.narrow(dim, 1, length), x.narrow(dim, 0, length)
        x = ahead ^ behind if x.dtype is flambeau.bool else ahead - behind
    return x


@made_of("trapezoid", "trapz")
def _trapezoid(y: Tensor, x: Tensor | None = None, dx: Any = 1, dim: int = -1) -> Tensor:
    return (_strips(y, x, dx, dim)).sum(dim)


@made_of("cumulative_trapezoid")
def _cumulative_trapezoid(y: Tensor, x: Tensor | None = None, dx: Any = 1, dim: int = -1) -> Tensor:
    return _strips(y, x, dx, dim).cumsum(dim)


def _strips(y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Tensor:
    length = y.shape[dim] - 1
    means = (y.narrow(dim, 1, length) + y.narrow(dim, 0, length)) / 2
    if x is None:
        return means * dx
    steps = x.narrow(-1 if x.dim() == 1 else dim, 1, length) - x.narrow(-1 if x.dim() == 1 else dim, 0, length)
    return means * (steps.reshape([-1, *[1] * (y.dim() - 1 - dim % y.dim())]) if x.dim() == 1 else steps)


@made_of("cov")
def _cov(input: Tensor, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    if fweights is not None or aweights is not None:
        raise NotImplementedError("cov with weights is not exported")
    x = input.reshape([1, -1]) if input.dim() < 2 else input
    centred = x - x.mean(1, True)
    return (centred @ centred.t() / (x.shape[1] - correction)).squeeze()


@made_of("corrcoef")
def _corrcoef(input: Tensor) -> Tensor:
    cov = flambeau.cov(input)
    if not cov.dim():
        return cov / cov
    width = cov.diagonal().sqrt()
    return (cov / width.unsqueeze(1) / width.unsqueeze(0)).clamp(-1, 1)


@made_of("isin")
def _isin(elements: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    if isinstance(test_elements, Tensor):
        shown = elements.unsqueeze(-1) if isinstance(elements, Tensor) else elements
        found = (test_elements.reshape([-1]) == shown).any(-1)
    else:
        found = elements == test_elements
    return ~found if invert else found


@made_of("searchsorted")
def _searchsorted(
    sorted_sequence: Tensor, input: Any, out_int32: bool = False, right: bool = False, side: str | None = None, sorter: Tensor | None = None
) -> Tensor:
    rows = sorted_sequence if sorter is None else sorted_sequence.gather(-1, sorter)
    wanted = input.unsqueeze(-1) if isinstance(input, Tensor) else input
    behind = rows.unsqueeze(-2) if rows.dim() > 1 else rows
    before = behind <= wanted if right or side == "right" else behind < wanted
    return before.sum(-1).to(flambeau.int32 if out_int32 else flambeau.int64)


@made_of("bucketize")
def _bucketize(input: Any, boundaries: Tensor, out_int32: bool = False, right: bool = False) -> Tensor:
    return _searchsorted(boundaries, input, out_int32, right)


@made_of("one_hot", "nn.functional.one_hot")
def _one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    if num_classes == -1:
        raise NotImplementedError("one_hot is exported with num_classes only, which are counted from the numbers else")
    return (input.unsqueeze(-1) == flambeau.arange(num_classes)).to(flambeau.int64)


@made_of("repeat_interleave")
def _repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None, output_size: Any = None) -> Tensor:
    if isinstance(repeats, Tensor):
        raise NotImplementedError("repeat_interleave is exported with one number of repeats only")
    x, axis = (input.flatten(), 0) if dim is None else (input, dim % input.dim())
    return flambeau.stack([x] * repeats, axis + 1).flatten(axis, axis + 1)


@made_of("masked_scatter")
def _masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    whole, shown = flambeau.broadcast_tensors(input, mask)
    places = (shown.flatten().to(flambeau.int64).cumsum(0) - 1).clamp(min=0)
    return flambeau.where(shown, source.flatten()[places].reshape_as(whole), whole)


@made_of("nn.functional.embedding_bag")
def _embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: Any = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = "mean",
    sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """Rows are bags of equal lengths; with offsets each row of the table goes to the bag that has begun last."""
    if max_norm is not None:
        raise NotImplementedError("embedding_bag with max_norm writes to its weights, and is not exported")
    found = F.embedding(input, weight)
    counted = (
        flambeau.ones_like(input, dtype=weight.dtype) if padding_idx is None else (input != padding_idx % weight.shape[0]).to(weight.dtype)
    )
    if per_sample_weights is not None:
        found = found * per_sample_weights.unsqueeze(-1)
    if mode == "max":
        kept = found if padding_idx is None else flambeau.where(counted.unsqueeze(-1) > 0, found, -math.inf)
        if offsets is None:
            return kept.amax(1)
        bags, empty = _bags(input, offsets, weight, include_last_offset)
        return empty.scatter_reduce(0, bags.unsqueeze(1).expand_as(kept), kept, "amax", include_self=False)
    rows = found if padding_idx is None else found * counted.unsqueeze(-1)
    if offsets is None:
        sums = rows.sum(1)
        return sums if mode == "sum" else sums / counted.sum(1, keepdim=True)
    bags, empty = _bags(input, offsets, weight, include_last_offset)
    sums = empty.index_add(0, bags, rows)
    if mode == "sum":
        return sums
    counts = flambeau.zeros_like(empty[:, 0]).index_add(0, bags, counted)
    return sums / counts.clamp(min=1).unsqueeze(1)


def _bags(input: Tensor, offsets: Tensor, weight: Tensor, include_last_offset: bool) -> tuple[Tensor, Tensor]:
    """The bag of each element, and zeros for each bag."""
    starts = offsets[:-1] if include_last_offset else offsets
    bags = (starts.unsqueeze(1) <= flambeau.arange(input.shape[0])).sum(0) - 1
    return bags, flambeau.zeros([starts.shape[0], weight.shape[1]], dtype=weight.dtype)


@made_of("msort")
def _msort(input: Tensor) -> Tensor:
    return input.sort(0).values


@made_of("quantile")
def _quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear") -> Tensor:
    x, axis = (input.reshape([-1]), 0) if dim is None else (input, dim % input.dim())
    ordered = x.sort(axis).values.movedim(axis, -1)
    places = q * (x.shape[axis] - 1) if isinstance(q, Tensor) else flambeau.tensor(q * (x.shape[axis] - 1), dtype=input.dtype)
    below, above = places.floor(), places.ceil()
    if interpolation == "linear":
        result = flambeau.lerp(_at(ordered, below), _at(ordered, above), places - below)
    elif interpolation in ("lower", "higher", "nearest"):
        result = _at(ordered, {"lower": below, "higher": above, "nearest": places.round()}[interpolation])
    else:
        raise NotImplementedError("quantiles are exported with interpolation linear, lower, higher and nearest")
    several = places.dim()
    result = result.movedim(-1, 0) if several else result
    if keepdim:
        return result.reshape([*places.shape, *[1] * input.dim()]) if dim is None else result.unsqueeze(axis + several)
    return result


def _at(x: Tensor, places: Tensor) -> Tensor:
    """Elements of the last dimension."""
    found = x.index_select(-1, places.reshape([-1]).to(flambeau.int64))
    return found if places.dim() else found.squeeze(-1)


@made_of("fake_quantize_per_tensor_affine")
def _fake_quantize(input: Tensor, scale: Any, zero_point: Any, quant_min: int, quant_max: int) -> Tensor:
    return ((input * (1 / scale)).round() + zero_point).clamp(quant_min, quant_max).sub(zero_point) * scale


@made_of("fake_quantize_per_channel_affine")
def _fake_quantize_channels(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int) -> Tensor:
    shape = [-1 if dim == axis % input.dim() else 1 for dim in range(input.dim())]
    factor, offset = scale.reshape(shape), zero_point.reshape(shape).to(input.dtype)
    return (input * factor.reciprocal() + offset).round().clamp(quant_min, quant_max).sub(offset) * factor


@made_of("native_layer_norm")
def _native_layer_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
    dims = list(range(input.dim() - len(normalized_shape), input.dim()))
    mean = input.mean(dims, True)
    rstd = ((input - mean).square().mean(dims, True) + eps).rsqrt()
    return F.layer_norm(input, normalized_shape, weight, bias, eps), mean, rstd
