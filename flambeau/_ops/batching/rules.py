"""What a call of all samples is, for every operator: a table of rules by the operators' names.

A rule gets a ``Call`` and returns the results of all samples, ``(B, *shape)`` each. Most operators belong to a family whose rule is a line: what
is broadcast, what has an axis that moves by one, what leaves leading dimensions alone. Products, convolutions and norms are in
``products.py``, reading and writing at computed positions in ``places.py``.

An operator without a rule, or a call for which its rule returns ``None``, is called once for each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any

from flambeau._ops import polynomials
from flambeau._ops.batching import places, products
from flambeau._ops.batching.call import Call, with_ones
from flambeau._ops.batching.samples import of_all
from flambeau._ops.copying import TO
from flambeau._ops.joining import stack
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.views import expand, reshape, select
from flambeau._tape.storage import TensorBase
from flambeau._types import layout as lay
from flambeau._types.promotion import result_type

Rule = Callable[[Call], Any]


def batched_call(call: Call) -> tuple[tuple, tuple | None]:
    """The results of all samples; and if they are those of the same call of all samples, but for static attributes, these."""
    rule = RULES.get(call.op.name)
    results = None if rule is None or not call.size else rule(call)
    if results is None:
        results = one_by_one(call)
    operands, statics, forwarded = call.forwarded
    is_same = results is forwarded and len(operands) == len(call.values) and all(map(is_, operands, call.values))
    if results.__class__ is not tuple:
        results = (results,)
    found = tuple([_as_said(result, layout) for result, layout in zip(results, call.layouts, strict=True)])
    return found, statics if is_same and all(map(is_, found, results)) else None


def _as_said(result: Any, layout: lay.Layout) -> Any:
    if result.layout.shape[1:] != layout.shape:
        result = reshape(result, result.layout.shape[0], *layout.shape)
    return FUNCTIONS.cast(result, layout.dtype)


def one_by_one(call: Call) -> tuple:
    """The operator called for each sample; what every rule has to agree with."""
    found = []
    for position in range(call.size):
        operands = [select(value, 0, position) if held else value for value, held in zip(call.values, call.held, strict=True)]
        result = call(*operands, statics=call.statics)
        found.append(result if result.__class__ is tuple else (result,))
    if not found:
        return tuple([FUNCTIONS.zeros(lay.contiguous((0, *layout.shape), layout.dtype)) for layout in call.layouts])
    return tuple([stack(results) for results in zip(*found, strict=True)])


# -- what is broadcast -------------------------------------------------------------------------------------------------


def broadcast(call: Call) -> Any:
    """Operands are aligned at their last dimensions, as ever; those that have fewer get dimensions of size 1 after the first."""
    ndim = call.layouts[0].ndim
    operands = [call.aligned(position, ndim) for position in range(len(call.values))]
    return call(*_as_promoted(call, operands, 0), statics=call.statics)


def choice(call: Call) -> Any:
    """``where``: the condition has a dtype of its own."""
    ndim = call.layouts[0].ndim
    operands = [call.aligned(position, ndim) for position in range(len(call.values))]
    return call(*_as_promoted(call, operands, 1), statics=call.statics)


def _as_promoted(call: Call, operands: list[Any], first: int) -> list[Any]:
    """Operands from ``first`` on in the dtype that they have together, where tensors of no dimensions count for less in one sample."""
    tensors = [each.layout for each in call.operands[first:] if isinstance(each, TensorBase)]
    if all(each.dtype is tensors[0].dtype for each in tensors) or all(each.ndim for each in tensors):
        return operands
    kinds = [
        (each.layout.dtype, bool(each.layout.ndim)) if isinstance(each, TensorBase) else each.__class__ for each in call.operands[first:]
    ]
    dtype = result_type(*kinds)
    return operands[:first] + [FUNCTIONS.cast(each, dtype) if isinstance(each, TensorBase) else each for each in operands[first:]]


def like_first(call: Call) -> Any:
    """The result has the shape of the first operand, and others are broadcast to it."""
    ndim = call.ndim(0)
    others = [call.aligned(position, ndim) for position in range(1, len(call.values))]
    return call(with_ones(call.all(0), ndim), *others, statics=call.statics)


def fill(call: Call) -> Any:
    """The value, if it is a tensor, has no dimensions in one sample."""
    if not call.held[1]:
        return call(*call.values, statics=call.statics)
    layout = call.layouts[0]
    value = expand(with_ones(FUNCTIONS.cast(call.values[1], layout.dtype), layout.ndim), call.size, *layout.shape)
    return TO(value, statics=(of_all(layout, call.size, layout.extent),))


def masked_fill(call: Call) -> Any:
    """The value, if it is a tensor, has no dimensions in one sample."""
    ndim = call.layouts[0].ndim
    input, mask, value = (call.aligned(position, ndim) for position in range(3))
    if call.held[2]:
        whole = lay.broadcast_shapes(input.layout.shape, mask.layout.shape, value.layout.shape)
        return FUNCTIONS.where(expand(mask, *whole), FUNCTIONS.cast(value, input.layout.dtype), input)
    return call(input, mask, value, statics=call.statics)


# -- what has leading dimensions, or an axis -------------------------------------------------------------------------------


def leading(call: Call) -> Any:
    """All operands have the same leading dimensions, or could have them."""
    return call(*[call.all(position) for position in range(len(call.values))], statics=call.statics)


def along(name: str) -> Rule:
    """The axis of this name moves by one; a tensor without dimensions gets one of size 1."""

    def rule(call: Call) -> Any:
        operands = [call.all(position) for position in range(len(call.values))]
        statics = call.changed(**{name: getattr(call, name) + 1})
        if any(isinstance(each, TensorBase) and each.layout.ndim == 1 for each in operands):
            operands = [
                reshape(each, call.size, 1) if isinstance(each, TensorBase) and each.layout.ndim == 1 else each for each in operands
            ]
        return call(*operands, statics=statics)

    return rule


def along_all(name: str) -> Rule:
    """The axes of this name move by one."""

    def rule(call: Call) -> Any:
        axes = tuple([axis + 1 for axis in getattr(call, name)])
        return call(*[call.all(position) for position in range(len(call.values))], statics=call.changed(**{name: axes}))

    return rule


def transform(call: Call) -> Any:
    """Fourier transforms, whose tables are not mapped over."""
    return call(*call.values, statics=call.changed(dims=tuple([axis + 1 for axis in call.dims])))


def pad(call: Call) -> Any:
    if call.held[1]:
        return None
    return call(call.values[0], call.values[1], statics=call.changed(before=(0, *call.before), after=(0, *call.after)))


def pad_border(call: Call) -> Any:
    return call(*call.values, statics=call.changed(amounts=((0, 0), *call.amounts)))


def resample(call: Call) -> Any:
    return call(*call.values, statics=call.changed(axis=call.axis + 1))


def pick(call: Call) -> Any:
    return call(*call.values, statics=call.changed(rules=tuple([(axis + 1, rule) for axis, rule in call.rules])))


def roll(call: Call) -> Any:
    return call.op(*call.values, statics=call.changed(steps=tuple([(axis + 1, amount) for axis, amount in call.steps])))


def first_leading(call: Call) -> Any:
    """The first operand has leading dimensions that do not matter; the others are tables."""
    return call(*call.values, statics=call.statics)


# -- what names a layout -------------------------------------------------------------------------------------------------


def to_layout(call: Call) -> Any:
    layout = call.layout
    return call(call.values[0], statics=(of_all(layout, call.size, layout.extent),))


def full(call: Call) -> Any:
    """A value for each sample, repeated."""
    layout = call.layout
    value = expand(with_ones(call.values[0], layout.ndim), call.size, *layout.shape)
    return TO(value, statics=(of_all(layout, call.size, layout.extent),))


def replace(call: Call) -> Any:
    """``_replace`` and ``_add_at``: into a contiguous copy of the first operand."""
    layout = call.layout
    value = call.aligned(1, layout.ndim)
    return call(call.all(0), value, statics=(of_all(layout, call.size, call.layouts[0].numel),))


# -- searching -------------------------------------------------------------------------------------------------------------


def searchsorted(call: Call) -> Any:
    if len(call.values) == 3 and (call.held[2] or call.held[0]):
        return None
    if not call.held[0] and call.ndim(0) == 1:
        return call(*call.values, statics=call.statics)
    if call.ndim(0) != 1:
        return leading(call)
    wanted = call.all(1)
    rows = reshape(wanted, call.size, call.operands[1].layout.numel)
    return reshape(call(call.all(0), rows, *call.values[2:], statics=call.statics), *wanted.layout.shape)


def isin(call: Call) -> Any:
    return None if call.held[1] else call(*call.values, statics=call.statics)


# -- the table -------------------------------------------------------------------------------------------------------------

BROADCAST = (
    "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "_add_scaled", "angle", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "clamp", "clamp_max", "clamp_min",
    "clone", "complex", "_conj", "copysign", "cos", "cosh", "digamma", "div", "elu", "eq", "erf", "erfc", "erfinv", "exp", "exp2",
    "expm1", "_fixed_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "frexp", "gcd", "ge", "gelu", "gt", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "heaviside", "hypot", "i0", "i0e", "i1", "i1e", "igamma", "igammac", "isfinite", "isinf",
    "isnan", "lcm", "le", "leaky_relu", "lerp", "lgamma", "log", "log10", "log1p", "log2", "log_sigmoid", "logaddexp", "logit", "logical_and",
    "logical_not", "logical_or", "logical_xor", "lt", "maximum", "minimum", "mish", "mul", "ndtr", "ne", "neg", "nextafter", "polygamma", "pow",
    "reciprocal", "relu", "remainder", "round", "rsqrt", "sgn", "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "softplus",
    "softshrink", "special_airy_ai", "special_bessel_j0", "special_bessel_j1", "special_bessel_y0", "special_bessel_y1", "special_entr", "special_erfcx",
    "special_log_ndtr", "special_modified_bessel_i0", "special_modified_bessel_i1", "special_modified_bessel_k0",
    "special_modified_bessel_k1", "special_ndtri", "special_scaled_modified_bessel_k0", "special_scaled_modified_bessel_k1",
    "special_spherical_bessel_j0", "special_xlog1py", "sqrt", "square", "sub", "_sub_scaled", "tan", "tanh", "threshold", "trunc", "trunc_divide",
    "xlogy", "zeta",
)  # fmt: skip

LEADING = (
    "avg_pool", "_avg_pool_backward", "binary_cross_entropy", "cholesky_inverse", "cholesky_solve", "_dirichlet_grad", "geqrf",
    "linalg_cholesky_ex", "_linalg_cofactors", "_linalg_conditioned", "linalg_det", "linalg_eig", "linalg_eigh", "linalg_eigvals", "linalg_eigvalsh",
    "_linalg_full_rank_lstsq", "linalg_inv_ex", "linalg_ldl_factor_ex", "linalg_ldl_solve", "linalg_lu_factor_ex", "linalg_matrix_exp", "_linalg_matrix_exp", "linalg_pinv", "linalg_qr", "linalg_slogdet", "_linalg_smallest_solution", "linalg_solve_ex",
    "linalg_solve_triangular", "_linalg_spectrum", "linalg_svd", "linalg_svdvals", "max_pool", "_max_pool_backward", "_max_pool_positions", "_one_hot", "_pivots_to_permutation",
    "_relu_backward", "_tapped_max_pool", "_sample_dirichlet", "_standard_gamma", "_standard_gamma_grad", "tril", "triu",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys((*BROADCAST, *[f"special_{name}" for name in polynomials.NAMES]), broadcast),
    **dict.fromkeys(LEADING, leading),
    **dict.fromkeys(("copy", "drawn", "dropout"), like_first),
    **dict.fromkeys(("amax", "amin", "any", "all", "linalg_vector_norm", "_linalg_norm_two", "_linalg_norm_zero", "mean", "prod", "sum", "var"), along_all("axes")),
    "flip": along_all("dims"),
    **dict.fromkeys(("_fft_c2c", "_fft_c2r", "_fft_r2c"), transform),
    **dict.fromkeys(
        (
            "_median_of_all", "argmax", "argmin", "cat", "cummax", "cummin", "cumprod", "cumsum", "glu", "kthvalue", "logcumsumexp", "log_softmax", "max", "median", "min", "mode", "softmax", "sort",
            "topk", "_log_softmax_backward", "_softmax_backward",
        ),
        along("dim"),
    ),
    "constant_pad_nd": pad, "fill": fill, "full": full, "isin": isin, "masked_fill": masked_fill, "searchsorted": searchsorted, "where": choice, "_add_at": replace,
    "_pad_border": pad_border, "_pad_border_backward": pad_border, "_pick": pick, "_replace": replace, "_resample": resample, "_resample_together": pick,
    "_to_copy": to_layout,
    "_fold_windows": first_leading, "_unfold_windows": first_leading, "adaptive_max_pool": first_leading, "roll": roll,
    **products.RULES,
    **places.RULES,
}  # fmt: skip
