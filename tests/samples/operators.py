"""Samples of the public operators: for each name calls on small inputs, which every dtype, layout and thread count must agree on.

A row is ``(f, x) -> result`` with the package ``f`` and the maker of inputs ``x`` (``tests/samples/inputs.py``). ``KINDS`` says which
dtypes a name takes: ``f`` floating point, ``F`` floating point but for the half ones, ``c`` complex, ``i`` integers, ``b`` bool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[Any, Any], Any]

SAMPLES: dict[str, list[Call]] = {}
KINDS: dict[str, str] = {}
REFERENCES: dict[str, Callable] = {}
"""NumPy's function of the same arrays, for names that have one."""
ROUGH: set[str] = set()
"""Names without a gradient, or whose gradient is zero or undefined where differences are not."""


def rows(kinds: str, rough: bool = False, **calls: Call | list[Call]) -> None:
    for name, given in calls.items():
        KINDS[name] = kinds
        SAMPLES.setdefault(name, []).extend(given if isinstance(given, list) else [given])
        if rough:
            ROUGH.add(name)


def unary(kinds: str, names: str, domain: str = "", rough: bool = False) -> None:
    """Functions of one element; ``domain`` is the maker's method."""
    for name in names.split():

        def call(f: Any, x: Any, name: str = name, domain: str = domain) -> Any:
            make = getattr(x, domain) if domain else x
            return tuple(getattr(f, name)(make(*shape)) for shape in [(), (37,), (3, 5), (2, 0, 3)])

        rows(kinds, rough, **{name: call})


def binary(kinds: str, names: str, left: str = "", right: str = "", rough: bool = False) -> None:
    """Functions of two elements, broadcast."""
    for name in names.split():

        def call(f: Any, x: Any, name: str = name) -> Any:
            first = getattr(x, left) if left else x
            second = getattr(x, right) if right else x
            shapes = [((3, 5), (3, 5)), ((3, 1), (5,)), ((), (7,)), ((2, 1, 4), (3, 1)), ((0, 2), (2,))]
            return tuple(getattr(f, name)(first(*a), second(*b)) for a, b in shapes)

        rows(kinds, rough, **{name: call})


unary("fci", "abs absolute neg negative square sgn angle")
unary("fc", "exp sin cos sinh tanh reciprocal sigmoid sinc exp2 expm1 asinh arcsinh")
unary("f", "erf erfc deg2rad rad2deg frac i0")
unary("fc", "log log2 log10 log1p sqrt rsqrt", "positive")
unary("fc", "tan asin acos atan atanh arcsin arccos arctan arctanh", "unit")
unary("fc", "cosh", "positive")
unary("f", "lgamma digamma", "positive")
unary("f", "erfinv", "unit")
unary("f", "logit", "probability")
unary("f", "acosh arccosh", "above_one")
unary("fi", "floor ceil trunc round fix sign", rough=True)
unary("fci", "isnan isinf isfinite logical_not isreal", rough=True)
unary("fi", "signbit isposinf isneginf", rough=True)
unary("ib", "bitwise_not", rough=True)
unary("fci", "positive conj conj_physical resolve_conj resolve_neg")
unary("f", "relu selu celu")

binary("fcib", "add multiply mul")
binary("fci", "sub subtract")
binary("fc", "div divide true_divide")
binary("f", "atan2 hypot logaddexp logaddexp2")
binary("f", "nextafter", rough=True)
binary("f", "copysign")
binary("fi", "maximum minimum fmax fmin")
binary("fib", "eq ne ge gt le lt not_equal greater greater_equal less less_equal", rough=True)
binary("fcib", "logical_and logical_or logical_xor", rough=True)
binary("ib", "bitwise_and bitwise_or bitwise_xor", rough=True)
binary("i", "bitwise_left_shift bitwise_right_shift", right="positive", rough=True)
binary("i", "gcd lcm", rough=True)
binary("fi", "floor_divide fmod remainder", right="positive", rough=True)
binary("f", "heaviside", rough=True)
binary("fc", "pow", left="positive")
binary("f", "xlogy", right="positive")
binary("f", "float_power", left="positive")
binary("fc", "rsub")
binary("f", "ldexp")

rows(
    "fci",
    addcmul=lambda f, x: f.addcmul(x(3, 4), x(4), x(3, 1), value=2),
    where=lambda f, x: (f.where(x.mask(3, 4), x(3, 4), x(4)), f.where(x.mask(4), x(3, 4), 2)),
    clone=lambda f, x: (f.clone(x(3, 4)), f.clone(x(2, 3, 4, 5), memory_format=f.channels_last)),
    sum=lambda f, x: (
        x(3, 4).sum(),
        x(3, 4, 5).sum((0, 2)),
        x(3, 4).sum(-1, keepdim=True),
        x(0, 3).sum(0),
        x(7, 130).sum(0),
        x(2, 5000).sum(1),
    ),
    cat=lambda f, x: (f.cat([x(2, 3), x(1, 3), x(0, 3)]), f.cat([x(2, 3), x(2, 2)], -1)),
    stack=lambda f, x: f.stack([x(2, 3), x(2, 3)], 1),
    flip=lambda f, x: f.flip(x(3, 4), (0, 1)),
    roll=lambda f, x: (f.roll(x(3, 4), 2), f.roll(x(3, 4), (1, -1), (0, 1))),
    tile=lambda f, x: f.tile(x(2, 3), (2, 2)),
    split=lambda f, x: f.split(x(7, 2), 3),
    chunk=lambda f, x: f.chunk(x(7, 2), 3),
    unbind=lambda f, x: f.unbind(x(3, 2)),
    tensor_split=lambda f, x: f.tensor_split(x(7, 2), 3),
    unsafe_chunk=lambda f, x: f.unsafe_chunk(x(7, 2), 3),
    unsafe_split=lambda f, x: f.unsafe_split(x(7, 2), 3),
    split_with_sizes=lambda f, x: f.split_with_sizes(x(7, 2), [3, 4]),
    dsplit=lambda f, x: f.dsplit(x(2, 3, 4), 2),
    hsplit=lambda f, x: f.hsplit(x(2, 4), 2),
    vsplit=lambda f, x: f.vsplit(x(4, 3), 2),
    constant_pad_nd=lambda f, x: (f.constant_pad_nd(x(3, 4), (1, 2, 0, 1), 3), f.constant_pad_nd(x(3, 4), (-1, 2))),
    gather=lambda f, x: (f.gather(x(4, 5), 0, x.index(4, 3, 5)), f.gather(x(4, 5), 1, x.index(5, 4, 2))),
    index_select=lambda f, x: f.index_select(x(4, 5), 1, x.index(5, 7)),
    take=lambda f, x: f.take(x(3, 4), x.index(12, 5)),
    take_along_dim=lambda f, x: f.take_along_dim(x(3, 4), x.index(4, 3, 2), 1),
    scatter=lambda f, x: (f.scatter(x(4, 5), 0, f.tensor([[0, 2, 1, 3, 0]]), x(1, 5)), f.scatter(x(3, 4), 1, f.tensor([[1], [0], [3]]), 2)),
    scatter_add=lambda f, x: f.scatter_add(x(4, 5), 0, x.index(4, 3, 5), x(3, 5)),
    index_add=lambda f, x: f.index_add(x(4, 5), 0, x.index(4, 6), x(6, 5), alpha=2),
    index_copy=lambda f, x: f.index_copy(x(4, 5), 0, f.tensor([2, 0]), x(2, 5)),
    index_fill=lambda f, x: f.index_fill(x(4, 5), 1, f.tensor([2, 0]), 3),
    index_put=lambda f, x: (f.index_put(x(4, 5), (x.index(4, 3),), x(5), accumulate=True), f.index_put(x(4), (f.tensor([2, 0]),), x(2))),
    masked_fill=lambda f, x: f.masked_fill(x(3, 4), x.mask(3, 4), 2),
    masked_scatter=lambda f, x: f.masked_scatter(x(3, 4), x.mask(3, 4), x(12)),
    masked_select=lambda f, x: f.masked_select(x(3, 4), x.mask(3, 4)),
    put=lambda f, x: (f.put(x(3, 4), f.tensor([1, 5]), x(2)), f.put(x(3, 4), x.index(12, 5), x(5), accumulate=True)),
    as_strided_scatter=lambda f, x: f.as_strided_scatter(x(3, 4), x(2, 2), (2, 2), (4, 1), 1),
    diagonal_scatter=lambda f, x: f.diagonal_scatter(x(3, 4), x(3)),
    select_scatter=lambda f, x: f.select_scatter(x(3, 4), x(4), 0, 1),
    slice_scatter=lambda f, x: f.slice_scatter(x(5, 4), x(2, 4), 0, 1, 5, 2),
    block_diag=lambda f, x: f.block_diag(x(2, 3), x(1, 2)),
    cartesian_prod=lambda f, x: f.cartesian_prod(x(3), x(2)),
    combinations=lambda f, x: f.combinations(x(4), 2),
    diag=lambda f, x: (f.diag(x(3)), f.diag(x(3, 4), 1)),
    diagflat=lambda f, x: f.diagflat(x(2, 2)),
    diag_embed=lambda f, x: f.diag_embed(x(2, 3), 1),
    diagonal=lambda f, x: f.diagonal(x(3, 4), -1),
    diagonal_copy=lambda f, x: f.diagonal_copy(x(3, 4), 1),
    rot90=lambda f, x: f.rot90(x(3, 4), 1),
    fliplr=lambda f, x: f.fliplr(x(3, 4)),
    flipud=lambda f, x: f.flipud(x(3, 4)),
    tril=lambda f, x: f.tril(x(2, 4, 4), -1),
    triu=lambda f, x: f.triu(x(4, 5), 1),
    trace=lambda f, x: f.trace(x(3, 4)),
    repeat_interleave=lambda f, x: (f.repeat_interleave(x(2, 3), 2, 1), f.repeat_interleave(x(2, 3), f.tensor([1, 3]), 0)),
    broadcast_to=lambda f, x: f.broadcast_to(x(3, 1), (2, 3, 4)),
    broadcast_tensors=lambda f, x: f.broadcast_tensors(x(3, 1), x(4)),
    cumsum=lambda f, x: (f.cumsum(x(3, 40), 1), f.cumsum(x(5, 3), 0)),
    cumprod=lambda f, x: (f.cumprod(x(3, 4), 1), f.cumprod(x(5, 3), 0)),
    prod=lambda f, x: (x(3, 4).prod(), x(3, 4).prod(1)),
    diff=lambda f, x: (f.diff(x(3, 7)), f.diff(x(3, 7), 2, 0)),
    mm=lambda f, x: f.mm(x(3, 4), x(4, 5)),
    bmm=lambda f, x: f.bmm(x(2, 3, 4), x(2, 4, 5)),
    mv=lambda f, x: f.mv(x(3, 4), x(4)),
    dot=lambda f, x: f.dot(x(7), x(7)),
    vdot=lambda f, x: f.vdot(x(7), x(7)),
    inner=lambda f, x: f.inner(x(2, 4), x(3, 4)),
    outer=lambda f, x: f.outer(x(3), x(4)),
    ger=lambda f, x: f.ger(x(3), x(4)),
    kron=lambda f, x: f.kron(x(2, 3), x(2, 2)),
    matmul=lambda f, x: (x(4) @ x(4), x(3, 4) @ x(4), x(2, 1, 3, 4) @ x(5, 4, 2), x(0, 4) @ x(4, 2), x(33, 70) @ x(70, 17)),
    einsum=lambda f, x: (f.einsum("bij,bjk->bik", x(2, 3, 4), x(2, 4, 5)), f.einsum("ii->i", x(3, 3)), f.einsum("i,j,k", x(2), x(3), x(2))),
    tensordot=lambda f, x: f.tensordot(x(2, 3, 4), x(3, 4, 5), 2),
    addmm=lambda f, x: f.addmm(x(5), x(3, 4), x(4, 5), beta=2, alpha=3),
    addmv=lambda f, x: f.addmv(x(3), x(3, 4), x(4)),
    addr=lambda f, x: f.addr(x(3, 4), x(3), x(4)),
    addbmm=lambda f, x: f.addbmm(x(3, 5), x(2, 3, 4), x(2, 4, 5)),
    baddbmm=lambda f, x: f.baddbmm(x(2, 3, 5), x(2, 3, 4), x(2, 4, 5)),
    cross=lambda f, x: f.cross(x(4, 3), x(4, 3), dim=1),
    meshgrid=lambda f, x: f.meshgrid(x(3), x(4), indexing="ij"),
    reshape=lambda f, x: (f.reshape(x(3, 4), (2, 6)), x(3, 4).t().reshape(12)),
    permute=lambda f, x: f.permute(x(2, 3, 4), (2, 0, 1)) * 1,
    as_strided=lambda f, x: f.as_strided(x(3, 4).contiguous(), (2, 3), (1, 4), 1),
)
views = {
    "transpose": lambda f, y: f.transpose(y, 0, 2), "unsqueeze": lambda f, y: f.unsqueeze(y, 1), "squeeze": lambda f, y: f.squeeze(y[:, :1]),
    "select": lambda f, y: f.select(y, 1, 2), "narrow": lambda f, y: f.narrow(y, 1, 1, 2), "t": lambda f, y: f.t(y[0]), "ravel": lambda f, y: f.ravel(y),
    "flatten": lambda f, y: f.flatten(y, 1), "unflatten": lambda f, y: f.unflatten(y, 2, (2, 2)), "movedim": lambda f, y: f.movedim(y, 0, 2),
    "moveaxis": lambda f, y: f.moveaxis(y, 0, 1), "swapaxes": lambda f, y: f.swapaxes(y, 0, 1), "swapdims": lambda f, y: f.swapdims(y, 1, 2),
    "alias_copy": lambda f, y: f.alias_copy(y), "expand_copy": lambda f, y: f.expand_copy(y, (2, 2, 3, 4)), "narrow_copy": lambda f, y: f.narrow_copy(y, 1, 0, 2),
    "permute_copy": lambda f, y: f.permute_copy(y, (1, 2, 0)), "select_copy": lambda f, y: f.select_copy(y, 0, 1), "split_copy": lambda f, y: f.split_copy(y, 2, 1),
    "split_with_sizes_copy": lambda f, y: f.split_with_sizes_copy(y, [1, 2], 1), "squeeze_copy": lambda f, y: f.squeeze_copy(y[:1]),
    "t_copy": lambda f, y: f.t_copy(y[0]), "transpose_copy": lambda f, y: f.transpose_copy(y, 0, 1), "unbind_copy": lambda f, y: f.unbind_copy(y),
    "unfold_copy": lambda f, y: f.unfold_copy(y, 2, 2, 1), "unsqueeze_copy": lambda f, y: f.unsqueeze_copy(y, 0),
    "as_strided_copy": lambda f, y: f.as_strided_copy(y.contiguous(), (2, 3), (1, 4)), "atleast_1d": lambda f, y: f.atleast_1d(y[0, 0, 0]),
    "atleast_2d": lambda f, y: f.atleast_2d(y[0, 0]), "atleast_3d": lambda f, y: f.atleast_3d(y[0]), "hstack": lambda f, y: f.hstack([y, y]),
    "vstack": lambda f, y: f.vstack([y, y]), "dstack": lambda f, y: f.dstack([y, y]), "column_stack": lambda f, y: f.column_stack([y, y]),
    "row_stack": lambda f, y: f.row_stack([y, y]), "clamp": None,
}  # fmt: skip
for _name, _view in views.items():
    if _view is not None:
        rows("fcib", **{_name: lambda f, x, view=_view: view(f, x(2, 3, 4))})
rows("fi", view_copy=lambda f, x: f.view_copy(x(3, 4).contiguous(), (2, 6)))
rows("fi", resize_as_=lambda f, x: f.resize_as_(x(3, 4).detach().clone(), x(2, 6)), rough=True)

rows(
    "fc",
    addcdiv=lambda f, x: f.addcdiv(x(3, 4), x(4), x.positive(3, 1), value=0.5),
    lerp=lambda f, x: (f.lerp(x(3, 4), x(4), 0.3), f.lerp(x(3, 4), x(3, 4), x.probability(3, 4))),
    mean=lambda f, x: (x(3, 4).mean(), x(3, 4, 5).mean((0, 2)), x(9, 33).mean(0)),
    norm=lambda f, x: (f.norm(x(3, 4)), f.norm(x(3, 4), 1, dim=1), f.norm(x(3, 4), float("inf"), dim=0)),
    var=lambda f, x: (f.var(x(3, 40)), f.var(x(3, 5), 1, unbiased=False), f.var(x(30, 4), dim=0, correction=2)),
    std=lambda f, x: (f.std(x(3, 40)), f.std(x(3, 5), 1)),
    var_mean=lambda f, x: f.var_mean(x(3, 5), 1),
    std_mean=lambda f, x: f.std_mean(x(3, 5), 0),
    dist=lambda f, x: f.dist(x(3, 4), x(3, 4)),
    cumulative_trapezoid=lambda f, x: f.cumulative_trapezoid(x(3, 5)),
    trapezoid=lambda f, x: (f.trapezoid(x(3, 5)), f.trapezoid(x(3, 5), dx=0.5)),
    trapz=lambda f, x: f.trapz(x(3, 5), x(3, 5)),
    allclose=lambda f, x: f.tensor(f.allclose(x(3), x(3))),
    logcumsumexp=lambda f, x: f.logcumsumexp(x(3, 5), 1),
)
rows(
    "f",
    amax=lambda f, x: (f.amax(x(3, 4), 1), f.amax(x(3, 4, 5), (0, 2)), x(37, 3).amax(0)),
    amin=lambda f, x: (f.amin(x(3, 4), 1), f.amin(x(3, 4, 5), (0, 2))),
    aminmax=lambda f, x: f.aminmax(x(3, 4), dim=1),
    max=lambda f, x: (f.max(x(3, 4)), f.max(x(3, 4), 1).values, f.max(x(3, 4), x(4))),
    min=lambda f, x: (f.min(x(3, 4)), f.min(x(3, 4), 0).values, f.min(x(3, 4), x(4))),
    median=lambda f, x: (f.median(x(3, 4)), f.median(x(3, 5), 1).values),
    nanmedian=lambda f, x: f.nanmedian(x(3, 5)),
    logsumexp=lambda f, x: (f.logsumexp(x(3, 4), 1), f.logsumexp(x(3, 4), (0, 1))),
    nansum=lambda f, x: f.nansum(x(3, 4), 1),
    nanmean=lambda f, x: f.nanmean(x(3, 4), 1),
    clamp=lambda f, x: (f.clamp(x(3, 4), -1, 0.7), f.clamp(x(3, 4), min=x.unit(4)), x(5).clamp(max=0.3)),
    clip=lambda f, x: f.clip(x(3, 4), -1, 0.7),
    clamp_max=lambda f, x: f.clamp_max(x(3, 4), 0.7),
    clamp_min=lambda f, x: f.clamp_min(x(3, 4), 0.7),
    nan_to_num=lambda f, x: f.nan_to_num(f.where(x.mask(3, 4), x(3, 4), float("inf")), posinf=3.0, neginf=-3.0),
    sort=lambda f, x: (f.sort(x(3, 9)).values, f.sort(x(9, 3), 0, descending=True).values),
    msort=lambda f, x: f.msort(x(7, 2)),
    topk=lambda f, x: f.topk(x(3, 9), 4).values,
    kthvalue=lambda f, x: f.kthvalue(x(3, 9), 4).values,
    cummax=lambda f, x: f.cummax(x(3, 9), 1).values,
    cummin=lambda f, x: f.cummin(x(3, 9), 1).values,
    scatter_reduce=[
        lambda f, x, kind=kind, own=own: f.scatter_reduce(x(4, 5), 0, x.index(4, 3, 5), x(3, 5), kind, include_self=own)
        for kind in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    ],
    index_reduce=lambda f, x: f.index_reduce(x(4, 5), 0, x.index(4, 6), x(6, 5), "mean"),
    mvlgamma=lambda f, x: f.mvlgamma(x.positive(3, 4) + 2, 3),
    polygamma=lambda f, x: f.polygamma(1, x.positive(3, 4)),
    softmax=lambda f, x: (f.softmax(x(3, 40), 1), f.softmax(x(5, 3), 0), f.softmax(x(3), -1)),
    log_softmax=lambda f, x: (f.log_softmax(x(3, 40), 1), f.log_softmax(x(5, 3), 0)),
    batch_norm=lambda f, x: f.batch_norm(x(4, 3, 5), x(3), x(3), None, None, True, 0.1, 1e-5, False),
    group_norm=lambda f, x: (f.group_norm(x(2, 6, 3, 3), 3, x(6), x(6)), f.group_norm(x(3, 4), 2)),
    layer_norm=lambda f, x: f.layer_norm(x(3, 4, 5), (4, 5), x(4, 5), x(4, 5)),
    rms_norm=lambda f, x: f.rms_norm(x(3, 4, 5), (5,), x(5)),
    instance_norm=lambda f, x: f.instance_norm(x(2, 3, 7), x(3), x(3), None, None, True, 0.1, 1e-5),
    native_batch_norm=lambda f, x: f.native_batch_norm(x(4, 3, 5), x(3), x(3), None, None, True, 0.1, 1e-5)[0],
    native_group_norm=lambda f, x: f.native_group_norm(x(2, 6, 4), x(6), x(6), 2, 6, 4, 3, 1e-5),
    native_layer_norm=lambda f, x: f.native_layer_norm(x(3, 4, 5), (5,), x(5), x(5), 1e-5)[0],
    hardshrink=lambda f, x: f.hardshrink(x(3, 4), 0.6),
    prelu=lambda f, x: f.prelu(x(2, 3, 4), x.positive(3)),
    threshold=lambda f, x: f.threshold(x(3, 4), 0.3, 1.0),
    embedding=lambda f, x: f.embedding(x(5, 3), x.index(5, 2, 4)),
    convolution=lambda f, x: f.convolution(x(2, 4, 6), x(6, 2, 3), x(6), (2,), (1,), (1,), False, (0,), 2),
)
rows(
    "fi",
    rough=True,
    argmax=lambda f, x: (f.argmax(x(3, 9)), f.argmax(x(3, 9), 1), f.argmax(x(9, 3), 0, keepdim=True)),
    argmin=lambda f, x: (f.argmin(x(3, 9)), f.argmin(x(3, 9), 1)),
    argsort=lambda f, x: f.argsort(x(3, 9), stable=True),
    mode=lambda f, x: f.mode(x(3, 9)).values,
    all=lambda f, x: (f.all(x(3, 4)), f.all(x(3, 4), 1), f.all(x(0, 4), 0)),
    any=lambda f, x: (f.any(x(3, 4)), f.any(x(3, 4), 1), f.any(x(0, 4), 0)),
    count_nonzero=lambda f, x: f.count_nonzero(x(3, 4), 1),
    nonzero=lambda f, x: f.nonzero(x(3, 4)),
    argwhere=lambda f, x: f.argwhere(x(3, 4)),
    equal=lambda f, x: f.tensor(f.equal(x(3), x(3))),
    isclose=lambda f, x: f.isclose(x(3, 4), x(4)),
    isin=lambda f, x: f.isin(x(3, 4), x(5)),
    bucketize=lambda f, x: f.bucketize(x(3, 4), f.tensor([-1, 0, 1], dtype=x.dtype)),
    searchsorted=lambda f, x: f.searchsorted(f.tensor([-1, 0, 1, 2]).to(x.dtype), x(3, 4)),
    unique=lambda f, x: f.unique(x(9), return_counts=True),
    unique_consecutive=lambda f, x: f.unique_consecutive(x(9)),
    full_like=lambda f, x: f.full_like(x(3, 4), 2),
    zeros_like=lambda f, x: f.zeros_like(x(3, 4)),
    ones_like=lambda f, x: f.ones_like(x(3, 4)),
)
rows("F", quantile=lambda f, x: (f.quantile(x(3, 5), 0.3, dim=1), f.quantile(x(7), f.tensor([0.1, 0.6], dtype=x.dtype))))
rows("F", nanquantile=lambda f, x: f.nanquantile(x(7), 0.4))
rows("f", rough=True, histc=lambda f, x: f.histc(x(30), 7), histogram=lambda f, x: f.histogram(x(30), 7))
rows("i", rough=True, bincount=lambda f, x: f.bincount(x.count(9)), unravel_index=lambda f, x: f.unravel_index(x.index(12, 5), (3, 4)))
rows("c", real=lambda f, x: f.real(x(3, 4)), imag=lambda f, x: f.imag(x(3, 4)), view_as_real=lambda f, x: f.view_as_real(x(3, 4)))
rows("F", view_as_complex=lambda f, x: f.view_as_complex(x(3, 2).contiguous()), complex=lambda f, x: f.complex(x(3, 4), x(3, 4)))

rows(
    "F",
    rough=True,
    fake_quantize_per_tensor_affine=[
        lambda f, x: f.fake_quantize_per_tensor_affine(x(3, 37), 0.1, 3, 0, 15),
        lambda f, x: f.fake_quantize_per_tensor_affine(x(3, 5), f.tensor(0.3), f.tensor(1, dtype=f.int32), -8, 7),
    ],
    fake_quantize_per_channel_affine=[
        lambda f, x: f.fake_quantize_per_channel_affine(x(3, 37), f.tensor([0.1, 0.2, 0.3]), f.tensor([0, 1, 2], dtype=f.int32), 0, -8, 7),
        lambda f, x: f.fake_quantize_per_channel_affine(x(4, 2), f.tensor([0.1, 0.2]), f.tensor([0.5, 1.25]), 1, 0, 15),
    ],
)


def functional(**calls: Call | list[Call]) -> None:
    """Rows for ``nn.functional``."""
    rows("f", **{f"nn.functional.{name}": call for name, call in calls.items()})


for _name in [
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu6",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
]:
    functional(**{_name: lambda f, x, name=_name: getattr(f.nn.functional, name)(x(3, 37) * 2)})
for _name in ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]:
    functional(
        **{
            _name: lambda f, x, name=_name: (
                getattr(f.nn.functional, name)(x(3, 4), x(3, 4)),
                getattr(f.nn.functional, name)(x(5), x(5), reduction="sum"),
            )
        }
    )
for _name, _dims in {"1d": 1, "2d": 2, "3d": 3}.items():
    _space = (6, 5, 4)[:_dims]
    functional(
        **{
            f"conv{_name}": [
                lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"conv{n}")(
                    x(2, 4, *s), x(6, 2, *[3] * len(s)), x(6), stride=2, padding=1, groups=2
                ),
                lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"conv{n}")(x(3, *s), x(5, 3, *[2] * len(s)), dilation=2),
            ],
            f"conv_transpose{_name}": [
                lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"conv_transpose{n}")(
                    x(2, 4, *s), x(4, 3, *[3] * len(s)), x(6), stride=2, padding=1, output_padding=1, groups=2
                ),
            ],
            f"avg_pool{_name}": lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"avg_pool{n}")(x(2, 3, *s), 3, 2, 1),
            f"max_pool{_name}": lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"max_pool{n}")(x(2, 3, *s), 3, 2, 1),
            f"lp_pool{_name}": lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"lp_pool{n}")(x.positive(2, 3, *s), 2.0, 2),
            f"adaptive_avg_pool{_name}": lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"adaptive_avg_pool{n}")(x(2, 3, *s), 3),
            f"adaptive_max_pool{_name}": lambda f, x, n=_name, s=_space: getattr(f.nn.functional, f"adaptive_max_pool{n}")(x(2, 3, *s), 3),
        }
    )
functional(
    affine_grid=lambda f, x: f.nn.functional.affine_grid(x(2, 2, 3), [2, 3, 4, 5], align_corners=False),
    bilinear=lambda f, x: f.nn.functional.bilinear(x(3, 4), x(3, 5), x(2, 4, 5), x(2)),
    binary_cross_entropy=lambda f, x: f.nn.functional.binary_cross_entropy(x.probability(3, 4), x.probability(3, 4)),
    binary_cross_entropy_with_logits=lambda f, x: f.nn.functional.binary_cross_entropy_with_logits(
        x(3, 4), x.probability(3, 4), pos_weight=x.positive(4)
    ),
    channel_shuffle=lambda f, x: f.nn.functional.channel_shuffle(x(2, 6, 3), 3),
    cosine_embedding_loss=lambda f, x: f.nn.functional.cosine_embedding_loss(x(3, 4), x(3, 4), f.tensor([1, -1, 1])),
    cosine_similarity=lambda f, x: f.nn.functional.cosine_similarity(x(3, 4), x(3, 4)),
    cross_entropy=[
        lambda f, x: f.nn.functional.cross_entropy(x(5, 7), x.index(7, 5), label_smoothing=0.1),
        lambda f, x: f.nn.functional.cross_entropy(x(2, 3, 4), x.index(3, 2, 4), weight=x.constant(3), ignore_index=1),
        lambda f, x: f.nn.functional.cross_entropy(x(5, 7), x.probability(5, 7)),
    ],
    embedding_bag=lambda f, x: f.nn.functional.embedding_bag(x.index(5, 6), x(5, 3), f.tensor([0, 2, 5]), mode="mean"),
    fold=lambda f, x: f.nn.functional.fold(x(2, 12, 12), (4, 5), (2, 2)),
    unfold=lambda f, x: f.nn.functional.unfold(x(2, 3, 4, 5), (2, 2), padding=1, stride=2),
    gaussian_nll_loss=lambda f, x: f.nn.functional.gaussian_nll_loss(x(3, 4), x(3, 4), x.positive(3, 4)),
    glu=lambda f, x: f.nn.functional.glu(x(3, 8)),
    grid_sample=lambda f, x: f.nn.functional.grid_sample(x(2, 3, 4, 5), x.unit(2, 3, 3, 2), align_corners=False),
    hinge_embedding_loss=lambda f, x: f.nn.functional.hinge_embedding_loss(x(3, 4), f.tensor([1, -1, 1, -1]).to(x.dtype)),
    instance_norm=lambda f, x: f.nn.functional.instance_norm(x(2, 3, 7)),
    interpolate=[
        lambda f, x, mode=mode, corners=corners: f.nn.functional.interpolate(x(2, 3, 4, 5), size=(7, 6), mode=mode, align_corners=corners)
        for mode, corners in (("nearest", None), ("bilinear", False), ("bilinear", True), ("bicubic", False), ("area", None))
    ],
    kl_div=lambda f, x: f.nn.functional.kl_div(x(3, 4), x.probability(3, 4), reduction="batchmean"),
    linear=lambda f, x: f.nn.functional.linear(x(2, 3, 4), x(5, 4), x(5)),
    local_response_norm=lambda f, x: f.nn.functional.local_response_norm(x(2, 5, 3), 3),
    margin_ranking_loss=lambda f, x: f.nn.functional.margin_ranking_loss(x(5), x(5), f.tensor([1, -1, 1, 1, -1])),
    multi_margin_loss=lambda f, x: f.nn.functional.multi_margin_loss(x(3, 4), x.index(4, 3)),
    multilabel_margin_loss=lambda f, x: f.nn.functional.multilabel_margin_loss(x(2, 4), f.tensor([[3, 0, -1, 1], [1, -1, 0, 0]])),
    multilabel_soft_margin_loss=lambda f, x: f.nn.functional.multilabel_soft_margin_loss(x(3, 4), x.constant(3, 4)),
    nll_loss=lambda f, x: f.nn.functional.nll_loss(x(5, 7), x.index(7, 5)),
    normalize=lambda f, x: f.nn.functional.normalize(x(3, 4)),
    pad=[
        lambda f, x, mode=mode: f.nn.functional.pad(x(2, 3, 4, 5), (1, 2, 2, 0), mode=mode)
        for mode in ("constant", "reflect", "replicate", "circular")
    ],
    pairwise_distance=lambda f, x: f.nn.functional.pairwise_distance(x(3, 4), x(3, 4)),
    pdist=lambda f, x: f.nn.functional.pdist(x(4, 3)),
    pixel_shuffle=lambda f, x: f.nn.functional.pixel_shuffle(x(2, 8, 3, 2), 2),
    pixel_unshuffle=lambda f, x: f.nn.functional.pixel_unshuffle(x(2, 2, 4, 6), 2),
    poisson_nll_loss=lambda f, x: f.nn.functional.poisson_nll_loss(x(3, 4), x.positive(3, 4)),
    scaled_dot_product_attention=[
        lambda f, x: f.nn.functional.scaled_dot_product_attention(x(2, 3, 5, 4), x(2, 3, 6, 4), x(2, 3, 6, 7)),
        lambda f, x: f.nn.functional.scaled_dot_product_attention(x(2, 5, 4), x(2, 5, 4), x(2, 5, 4), is_causal=True),
        lambda f, x: f.nn.functional.scaled_dot_product_attention(
            x(2, 4, 5, 3), x(2, 2, 6, 3), x(2, 2, 6, 3), x.mask(5, 6), scale=0.7, enable_gqa=True
        ),
        lambda f, x: f.nn.functional.scaled_dot_product_attention(x(2, 5, 4), x(2, 6, 4), x(1, 6, 4), x.constant(1, 6)),
        lambda f, x: f.nn.functional.scaled_dot_product_attention(x(2, 5, 4), x(2, 6, 4), x(2, 6, 4), x(5, 6)),
    ],
    soft_margin_loss=lambda f, x: f.nn.functional.soft_margin_loss(x(3, 4), f.tensor([1, -1, 1, -1]).to(x.dtype)),
    softmin=lambda f, x: f.nn.functional.softmin(x(3, 4), 1),
    triplet_margin_loss=lambda f, x: f.nn.functional.triplet_margin_loss(x(3, 4), x(3, 4), x(3, 4)),
)

REFERENCES.update(
    {
        name: getattr(np, name)
        for name in [
            "exp",
            "sin",
            "cos",
            "sinh",
            "tanh",
            "reciprocal",
            "sinc",
            "exp2",
            "expm1",
            "arcsinh",
            "deg2rad",
            "rad2deg",
            "log",
            "log2",
            "log10",
            "log1p",
            "sqrt",
            "tan",
            "arcsin",
            "arccos",
            "arctan",
            "arctanh",
            "cosh",
            "arccosh",
            "floor",
            "ceil",
            "trunc",
            "round",
            "sign",
            "square",
            "abs",
            "absolute",
            "negative",
            "isnan",
            "isinf",
            "isfinite",
            "signbit",
            "add",
            "multiply",
            "subtract",
            "divide",
            "true_divide",
            "hypot",
            "logaddexp",
            "logaddexp2",
            "nextafter",
            "copysign",
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "not_equal",
            "greater",
            "greater_equal",
            "less",
            "less_equal",
            "logical_and",
            "logical_or",
            "logical_xor",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "gcd",
            "lcm",
            "floor_divide",
            "fmod",
            "remainder",
            "heaviside",
        ]
    }
)

MADE_FROM_NOTHING = """
    empty empty_strided empty_like zeros ones full arange tensor from_numpy as_tensor eye linspace scalar_tensor tril_indices triu_indices
    Generator bernoulli default_generator dropout dropout_ get_rng_state initial_seed manual_seed multinomial normal rand rand_like randint
    randint_like randn randn_like randperm seed set_rng_state _sample_dirichlet _standard_gamma binomial poisson
"""
SAID_OF_A_TENSOR = """
    is_complex is_conj is_floating_point is_inference is_neg is_nonzero is_same_size is_signed is_storage is_tensor numel result_type typename
    broadcast_shapes
"""
OTHERWISE_TESTED = frozenset((MADE_FROM_NOTHING + SAID_OF_A_TENSOR).split()) | {
    "_log_softmax_backward_data",
    "_softmax_backward_data",
    "hash_tensor",
    "segment_reduce",
}
