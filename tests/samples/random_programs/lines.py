"""Lines that compute something new."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.samples.random_programs.inputs import DTYPES, INTEGERS
from tests.samples.random_programs.writing import WRITES

if TYPE_CHECKING:
    from tests.samples.random_programs.writer import Writer

UNARY = [
    "abs", "neg", "exp", "log", "sin", "cos", "tanh", "sqrt", "floor", "ceil", "round", "trunc", "frac", "sigmoid", "relu", "reciprocal", "sign",
    "square", "isnan", "isfinite", "logical_not", "rsqrt", "erf", "expm1", "log1p", "asin", "atan", "sinh", "exp2", "log2", "positive", "signbit",
    "angle", "sgn", "conj_physical", "nan_to_num", "lgamma", "digamma", "bitwise_not", "deg2rad", "isinf", "sinc", "i0", "logit", "tan", "acosh", "atanh",
]  # fmt: skip
BINARY = [
    "add", "sub", "mul", "div", "mul", "add", "maximum", "minimum", "fmod", "remainder", "floor_divide", "atan2", "eq", "ne", "lt", "ge", "logical_and",
    "logical_xor", "bitwise_and", "bitwise_or", "copysign", "hypot", "fmax", "fmin", "true_divide", "logaddexp", "heaviside", "nextafter", "xlogy",
    "bitwise_xor", "gcd", "gt",
]  # fmt: skip
ACTIVATIONS = [
    "gelu", "softplus", "silu", "leaky_relu", "elu", "hardtanh", "hardswish", "logsigmoid", "mish", "relu6", "softsign", "celu", "selu", "hardsigmoid",
    "tanhshrink", "softshrink",
]  # fmt: skip
REDUCTIONS = [
    "sum", "mean", "prod", "amax", "amin", "any", "all", "var", "std", "logsumexp", "argmax", "argmin", "nansum", "count_nonzero", "nanmean",
]  # fmt: skip
ALONG = ["cumsum", "cumprod", "softmax", "log_softmax", "logcumsumexp"]


def _unary(w: Writer) -> str:
    return f"{w.new()} = torch.{w.random.choice(UNARY)}({w.pick()})"


def _activation(w: Writer) -> str:
    return f"{w.new()} = F.{w.random.choice(ACTIVATIONS)}({w.pick(lambda each: each.is_floating_point())})"


def _binary(w: Writer) -> str:
    x = w.pick()
    y = w.partner(x)
    return f"{w.new()} = torch.{w.random.choice(BINARY)}({x}, {y})"


def _arithmetic(w: Writer) -> str:
    x = w.pick()
    y = w.partner(x)
    first, second = (x, y) if w.random.random() < 0.7 else (y, x)
    if y == "True":  # PyTorch's power of bools by bools depends on which they are
        return f"{w.new()} = {first} * {second}"
    return f"{w.new()} = {first} {w.random.choice(['+', '-', '*', '/', '//', '%', '<', '==', '&', '**'])} {second}"


def _ternary(w: Writer) -> str:
    x = w.pick()
    y, z = w.partner(x), w.partner(x)
    shape = tuple(w.look(x).shape)
    text = w.random.choice(
        [
            f"torch.where({w.fresh(shape, 'bool')}, {x}, {y})",
            f"torch.where({x} > 0, {y}, {z})",
            f"torch.lerp({x}, {y}, {z})",
            f"torch.addcmul({x}, {y}, {z}, value=2)",
            f"torch.addcdiv({x}, {y}, {z}, value=0.5)",
            f"torch.clamp({x}, {y}, {z})",
            f"torch.add({x}, {y}, alpha=2)",
            f"torch.div({x}, {y}, rounding_mode={w.random.choice(['floor', 'trunc'])!r})",
            f"{x}.masked_fill({w.fresh(shape, 'bool')}, {z})",
        ]
    )
    return f"{w.new()} = {text}"


def _view(w: Writer) -> str:
    return f"{w.new()} = {w.view(w.pick())}"


def _reduction(w: Writer) -> str:
    x = w.pick()
    name = w.random.choice(REDUCTIONS)
    where = w.random.choice(["", str(w.dim(x)), f"{w.dim(x)}, keepdim=True", f"({w.dim(x)}, {w.dim(x)})"])
    return f"{w.new()} = torch.{name}({x}{', ' * bool(where)}{where if name != 'count_nonzero' else where.partition(', k')[0]})"


def _along(w: Writer) -> str:
    x = w.pick()
    return f"{w.new()} = torch.{w.random.choice(ALONG)}({x}, {w.dim(x)})"


def _ordering(w: Writer) -> str:
    x = w.pick()
    dim = w.dim(x)
    call = w.random.choice(
        ["max({}, {})", "min({}, {})", "sort({}, dim={}, stable=True)", "cummax({}, {})", "cummin({}, {})", "median({}, {})"]
    )
    return f"{w.new()} = torch.{call.format(x, dim)}[{w.random.choice([0, 0, 1]) if call.startswith('sort') else 0}]"


def _moving(w: Writer) -> str:
    x = w.pick()
    seed, dim = w.random.randrange(1000), w.dim(x)
    shape = tuple(w.look(x).shape)
    text = w.random.choice(
        [
            f"torch.flip({x}, ({dim},))",
            f"torch.flip({x}, ({dim},))",
            f"torch.roll({x}, {w.random.randint(-3, 3)}, {dim})",
            f"torch.cat(({x}, {w.pick(lambda each: tuple(each.shape) == shape)}), {dim})",
            f"torch.stack(({x}, {w.pick(lambda each: tuple(each.shape) == shape)}), {dim})",
            f"torch.tril({x}, {w.random.randint(-1, 1)})",
            f"F.pad({x}, ({w.random.randint(-1, 2)}, {w.random.randint(-1, 2)}), value=1)",
            f"{x}.repeat(({w.random.randint(1, 2)},) * {max(len(shape), 1)})",
            f"{x}.repeat_interleave({w.random.randint(0, 2)}, {dim})",
            f"torch.diff({x})",
            f"torch.rot90({x})",
            f"{x}.clone()",
            f"{x}.contiguous()",
            f"torch.zeros_like({x})",
            f"torch.tensor_split({x}, {w.random.randint(1, 3)}, {dim})[0]",
            f"torch.take({x}, places({seed}, (3,), {math.prod(shape)}))",
            f"torch.masked_select({x}, {w.fresh(shape, 'bool')})",
        ]
    )
    return f"{w.new()} = {text}"


def _gathering(w: Writer) -> str:
    x = w.pick(lambda each: each.dim() > 0 and each.numel() > 0)
    tensor = w.look(x)
    seed, dim = w.random.randrange(1000), w.random.randrange(max(tensor.dim(), 1))
    shape = tuple(tensor.shape) or (1,)
    bound = shape[dim] + (w.random.random() < 0.03)
    count = w.random.randint(0, 5)
    along = tuple(count if axis == dim else size for axis, size in enumerate(shape))
    text = w.random.choice(
        [
            f"torch.index_select({x}, {dim}, places({seed}, ({count},), {bound}))",
            f"torch.gather({x}, {dim}, places({seed}, {along}, {bound}))",
            f"{x}[places({seed}, ({count},), {shape[0]}, -{shape[0]})]",
            f"{x}[..., places({seed}, (2, {count}), {shape[-1]})]",
            f"{x}[{w.fresh(shape[:1], 'bool')}]",
            f"torch.take_along_dim({x}, places({seed}, {along}, {bound}), {dim})",
            f"torch.index_add({x}, {dim}, places({seed}, ({count},), {bound}), {w.fresh(along, str(tensor.dtype)[6:])})",
            f"torch.scatter_add({x}, {dim}, places({seed}, {along}, {bound}), {w.fresh(along, str(tensor.dtype)[6:])})",
            f"torch.index_copy({x}, {dim}, order({seed}, {min(count, shape[dim])}, {shape[dim]}), {w.fresh(tuple(min(count, shape[dim]) if axis == dim else size for axis, size in enumerate(shape)), str(tensor.dtype)[6:])})",
            f"torch.index_fill({x}, {dim}, places({seed}, ({count},), {bound}), 1)",
            f"torch.scatter({x}, {dim}, places({seed}, {along}, {bound}), 2)",
        ]
    )
    return f"{w.new()} = {text}"


def _product(w: Writer) -> str:
    x = w.pick(lambda each: each.dim() > 0 and "bool" not in str(each.dtype))
    tensor = w.look(x)
    shape, dtype = tuple(tensor.shape) or (1,), str(tensor.dtype)[6:]
    wide = w.random.choice([0, 1, 3, 8, 19])
    text = w.random.choice(
        [
            f"{x} @ {w.fresh((shape[-1], wide), dtype)}",
            f"torch.matmul({w.fresh((wide, shape[-1]), dtype)}, {x}.mT)" if len(shape) > 1 else f"torch.outer({x}, {x})",
            f"F.linear({x}, {w.fresh((wide, shape[-1]), dtype)}, {w.fresh((wide,), dtype)})",
            f"torch.einsum('...i,...i->...', {x}, {w.fresh(shape, dtype)})",
            f"{x} @ {w.pick()}",
        ]
    )
    return f"{w.new()} = {text}"


def _cast(w: Writer) -> str:
    x = w.pick()
    dtype = w.random.choice(DTYPES)
    if dtype in INTEGERS:  # what is out of range has no meaning
        bounded = f"torch.nan_to_num({x}).clamp(0, 100)"
        return f"{w.new()} = {bounded}.to(torch.{dtype})"
    return f"{w.new()} = {x}.to(torch.{dtype})"


def _huge(w: Writer) -> str:
    """What no memory holds."""
    x = w.pick()
    return w.random.choice(
        [
            f"{w.new()} = torch.empty(1 << 60)",
            f"{w.new()} = {x}.reshape(-1)[:1].expand(1 << 50) + 1",
            f"{w.new()} = torch.zeros(1 << 40, 1 << 40)",
            f"{w.new()} = {x}.repeat(1 << 62)",
            f"{w.new()} = torch.arange(1 << 55)",
            f"{w.new()} = torch.eye(1 << 31)",
        ]
    )


LINES: dict[Callable[[Writer], str], int] = {
    _unary: 12,
    _activation: 4,
    _binary: 12,
    _arithmetic: 10,
    _ternary: 6,
    _view: 14,
    _reduction: 9,
    _along: 3,
    _ordering: 3,
    _moving: 8,
    _gathering: 6,
    _product: 4,
    _cast: 4,
    **WRITES,
    _huge: 1,
}
"""What a program's lines are, and how often."""
