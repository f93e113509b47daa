"""Programs drawn at random: lines of Python on tensors of awkward shapes, strides, dtypes and values, which run on any package with PyTorch's names.

A program is a list of lines such as ``v3 = torch.add(v0, given(7, (2, 1), 'float16'))``, so that what goes wrong can be read, cut down and run by itself. While it is
written, its lines run on the package that writes it, which tells the shapes; a line that raises an error stays in the program, marked as one that fails.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

FLOATS = ["float32", "float64", "float16", "bfloat16"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8"]
DTYPES = [*FLOATS, *COMPLEX, *INTEGERS, "bool"]
LARGEST = 1 << 16
"""Elements of a tensor, for a program should take a moment."""


def given(package: Any, seed: int, shape: tuple[int, ...], dtype: str, special: bool = False) -> Any:
    """A tensor of numbers drawn from a seed: normal ones, small integers, or (``special``) also zeros of both signs, NaN, infinities and extreme numbers."""
    draw = np.random.default_rng(seed)
    if dtype == "bool":
        return package.tensor(draw.random(shape) < 0.5)
    if dtype in INTEGERS:
        values = draw.integers(0 if dtype == "uint8" else -9, 10, shape)
        if special:
            info = np.iinfo(dtype)
            values = np.where(draw.random(shape) < 0.2, draw.choice([info.max, info.max - 1, 0, 1], shape), values)
        return package.tensor(np.asarray(values, dtype))
    values = draw.standard_normal(shape)
    if dtype in COMPLEX:
        return package.tensor(np.asarray(values + 1j * draw.standard_normal(shape), dtype))
    if special:
        values = np.where(
            draw.random(shape) < 0.3, draw.choice([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-42, 6e4, -3.0, 0.5], shape), values
        )
    return package.tensor(np.asarray(values)).to(getattr(package, dtype))


def places(package: Any, seed: int, shape: tuple[int, ...], bound: int, low: int = 0) -> Any:
    """Indices below a bound."""
    return package.tensor(np.asarray(np.random.default_rng(seed).integers(low, max(bound, low + 1), shape)))


def order(package: Any, seed: int, count: int, bound: int) -> Any:
    """Indices below a bound, none of them twice."""
    return package.tensor(np.random.default_rng(seed).permutation(bound)[:count])


class Run:
    """What a program's lines have made so far, on one package."""

    def __init__(self, package: Any) -> None:
        self.package = package
        helpers = {function.__name__: partial(function, package) for function in (given, places, order)}
        self.space: dict[str, Any] = {"torch": package, "F": package.nn.functional, **helpers}

    def line(self, text: str) -> Exception | None:
        """Run a line; returns the error that it raises, if one is known at once."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(text, self.space)
        except Exception as error:
            return error.with_traceback(None)
        return None

    def tensors(self) -> dict[str, Any]:
        """The program's tensors by name."""
        return {name: each for name, each in self.space.items() if name[0] == "v" and isinstance(each, self.package.Tensor)}


class Writer:
    """Writes a program line by line; ``run`` has what its lines have made."""

    def __init__(self, package: Any, seed: int) -> None:
        self.random = random.Random(seed)
        self.run = Run(package)
        self.lines: list[str] = []
        self.failing: set[int] = set()
        self.special = self.random.random() < 0.3
        self.large = self.random.random() < 0.25
        self.dtypes = self.random.choices(DTYPES, [8, 4, 3, 3, 2, 1, 3, 1, 1, 1, 1, 2], k=3)
        self.count = 0
        self.used = 0

    def write(self, count: int) -> list[str]:
        """Write so many lines after some inputs."""
        for _ in range(self.random.randint(1, 3)):
            self.add(f"{self.new()} = {self.fresh()}")
        while len(self.lines) < count:
            self.add(self.random.choice(RULES)(self))
        return self.lines

    def add(self, text: str) -> None:
        before = dict(self.run.space)
        failed = self.run.line(text) is not None
        tensors = self.run.tensors()
        if any(each.numel() > LARGEST for each in tensors.values()):
            self.run.space = before  # as if it had not been written; nothing is written in place into what grows
            return
        if failed:
            if self.random.random() < 0.7:
                return
            self.failing.add(len(self.lines))
        self.lines.append(text)

    def new(self) -> str:
        """The name of a result: sometimes one that had another value, which nobody can reach from then on."""
        if self.count > 2 and self.random.random() < 0.2:
            return f"v{self.random.randrange(self.count)}"
        self.count += 1
        return f"v{self.count - 1}"

    def fresh(self, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> str:
        """An expression for an input."""
        shape = self.shape() if shape is None else shape
        dtype = dtype or self.random.choice(self.dtypes)
        self.used += 1
        special = ", True" if self.special and self.random.random() < 0.5 else ""
        return f"given({self.random.randrange(1000)}, {shape}, {dtype!r}{special})"

    def shape(self) -> tuple[int, ...]:
        sizes = [1, 7, 33, 100, 257] if self.large else [0, 1, 1, 2, 3, 4, 5, 9, 17]
        return tuple(self.random.choices(sizes, k=self.random.choice([0, 1, 2, 2, 3] if self.large else [0, 1, 2, 2, 3, 3, 4])))

    def pick(self, fits: Callable[[Any], bool] = lambda _: True) -> str:
        """A tensor's name, the younger the likelier; an expression for another one where none fits."""
        names = [name for name, each in self.run.tensors().items() if fits(each)]
        if not names:
            return self.fresh()
        return names[-1] if self.random.random() < 0.4 else self.random.choice(names)

    def look(self, name: str) -> Any:
        """The tensor that an expression stands for."""
        return self.run.space[name] if name in self.run.space else eval(name, self.run.space)

    def partner(self, name: str) -> str:
        """What a tensor may be broadcast with: another one, a number, or an input of a shape that suits."""
        shape = tuple(self.look(name).shape)
        chance = self.random.random()
        if chance < 0.2:
            return self.random.choice(["2", "-3", "0.5", "1.5", "0", "True"])
        if chance < 0.6:
            return self.pick(lambda other: _broadcasts(tuple(other.shape), shape))
        if chance < 0.65:
            return self.pick()
        kept = shape[self.random.randint(0, len(shape)) :]
        return self.fresh(tuple(1 if self.random.random() < 0.3 else size for size in kept))

    def dim(self, name: str) -> int:
        """A dimension of a tensor, seldom one that it lacks."""
        ndim = self.look(name).dim()
        return (
            self.random.randint(-ndim - 1, ndim + 1) if self.random.random() < 0.03 else self.random.randrange(-max(ndim, 1), max(ndim, 1))
        )

    def view(self, name: str) -> str:
        """An expression for a view of a tensor."""
        return self.random.choice(VIEWS)(self, name)


def _broadcasts(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(first[::-1], second[::-1]))


# -- views: expressions ------------------------------------------------------------------------------------------------


def _index(w: Writer, name: str) -> str:
    parts = []
    for size in tuple(w.look(name).shape)[: w.random.randint(0, 3)]:
        begin, end = (w.random.randint(-size - 1, size + 1) for _ in range(2))
        choices = [":", f"{begin}:{end}", f"{begin}:", f"::{w.random.randint(1, 3)}", "None", f"{begin}::2"]
        parts.append(w.random.choice([*choices, str(w.random.randrange(size))] if size else choices))
    return f"{name}[{', '.join(parts) or '...'}]"


def _permuted(w: Writer, name: str) -> str:
    dims = list(range(w.look(name).dim()))
    w.random.shuffle(dims)
    return f"{name}.permute({tuple(dims)})"


def _expanded(w: Writer, name: str) -> str:
    shape = tuple(w.look(name).shape)
    sizes = [w.random.choice([0, 2, 3, 5]) if size == 1 else w.random.choice([size, -1]) for size in shape]
    return f"{name}.expand({tuple([w.random.choice([1, 2, 3])] * w.random.randint(0, 1) + sizes)})"


def _strided(w: Writer, name: str) -> str:
    tensor = w.look(name)
    room = tensor.numel()
    sizes = tuple(w.random.choice([1, 2, 3, 4]) for _ in range(w.random.randint(0, 3)))
    strides = tuple(w.random.choice([0, 1, 1, 2, 3]) for _ in sizes)
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides))
    return f"{name}.as_strided({sizes}, {strides})" if tensor.is_contiguous() and last < room else f"{name}.detach()"


def _reshaped(w: Writer, name: str) -> str:
    tensor = w.look(name)
    sizes, rest = [], tensor.numel()
    while rest > 1 and len(sizes) < 3:
        size = w.random.choice([each for each in range(1, min(rest, 64) + 1) if rest % each == 0])
        sizes.append(size)
        rest //= size
    shape = (*sizes, w.random.choice([rest, -1]))
    return f"{name}.{w.random.choice(['reshape', 'reshape', 'view'])}({shape})"


def _unfolded(w: Writer, name: str) -> str:
    size = max([*tuple(w.look(name).shape)[-1:], 1])
    return f"{name}.unfold(-1, {w.random.randint(1, size)}, {w.random.randint(1, 2)})"


def _complex_part(w: Writer, name: str) -> str:
    if w.look(name).is_complex():
        return w.random.choice([f"{name}.real", f"{name}.imag", f"torch.view_as_real({name})", f"{name}.conj()", f"{name}.mH"])
    return f"{name}.mT"


VIEWS: list[Callable[[Writer, str], str]] = [
    _index,
    _index,
    _index,
    _permuted,
    _expanded,
    _expanded,
    _strided,
    _reshaped,
    _unfolded,
    _complex_part,
    lambda w, name: f"{name}.transpose({w.dim(name)}, {w.dim(name)})",
    lambda w, name: f"{name}.unsqueeze({w.dim(name)})",
    lambda w, name: f"{name}.squeeze()",
    lambda w, name: f"{name}.diagonal({w.random.randint(-2, 2)}, -2, -1)",
    lambda w, name: f"{name}.narrow({w.dim(name)}, {w.random.randint(0, 2)}, {w.random.randint(0, 2)})",
    lambda w, name: f"{name}.chunk({w.random.randint(1, 3)}, {w.dim(name)})[-1]",
    lambda w, name: f"{name}.flatten({w.random.choice(['', '1', '0, 1'])})",
    lambda w, name: f"{name}.detach()",
]

# -- lines -------------------------------------------------------------------------------------------------------------

UNARY = [
    "abs",
    "neg",
    "exp",
    "log",
    "sin",
    "cos",
    "tanh",
    "sqrt",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
    "sigmoid",
    "relu",
    "reciprocal",
    "sign",
    "square",
    "isnan",
    "isfinite",
    "logical_not",
    "rsqrt",
    "erf",
    "expm1",
    "log1p",
    "asin",
    "atan",
    "sinh",
    "exp2",
    "log2",
    "positive",
    "signbit",
    "angle",
    "sgn",
    "conj_physical",
    "nan_to_num",
    "lgamma",
    "digamma",
    "bitwise_not",
    "deg2rad",
    "isinf",
    "sinc",
    "i0",
    "logit",
    "tan",
    "acosh",
    "atanh",
]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "mul",
    "add",
    "maximum",
    "minimum",
    "fmod",
    "remainder",
    "floor_divide",
    "atan2",
    "eq",
    "ne",
    "lt",
    "ge",
    "logical_and",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "copysign",
    "hypot",
    "fmax",
    "fmin",
    "true_divide",
    "logaddexp",
    "heaviside",
    "nextafter",
    "xlogy",
    "bitwise_xor",
    "gcd",
    "gt",
]
ACTIVATIONS = [
    "gelu",
    "softplus",
    "silu",
    "leaky_relu",
    "elu",
    "hardtanh",
    "hardswish",
    "logsigmoid",
    "mish",
    "relu6",
    "softsign",
    "celu",
    "selu",
    "hardsigmoid",
    "tanhshrink",
    "softshrink",
]
REDUCTIONS = [
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "any",
    "all",
    "var",
    "std",
    "logsumexp",
    "argmax",
    "argmin",
    "nansum",
    "count_nonzero",
    "nanmean",
]
ALONG = ["cumsum", "cumprod", "softmax", "log_softmax", "logcumsumexp"]
IN_PLACE = "add_ mul_ sub_ div_ copy_ copy_ fmod_ maximum remainder_ eq_ ge_ atan2_ bitwise_and_".replace("maximum ", "").split()
UNARY_IN_PLACE = [
    "exp_",
    "neg_",
    "abs_",
    "zero_",
    "relu_",
    "sigmoid_",
    "floor_",
    "square_",
    "tanh_",
    "clamp_(-1,1)",
    "fill_(2)",
    "nan_to_num_",
    "sign_",
    "logical_not_",
]


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


def _is_safe_target(each: Any) -> bool:
    return each.is_floating_point() or each.is_complex()


def _written(w: Writer) -> str:
    """A write in place, mostly through a view."""
    x = w.pick(_is_safe_target)
    target = w.view(x) if w.random.random() < 0.7 else x
    if w.random.random() < 0.4:
        method = w.random.choice(UNARY_IN_PLACE)
        return f"{target}.{method}{'' if method.endswith(')') else '()'}"
    try:
        shape = tuple(w.look(target).shape)
    except Exception:
        return f"{target}.zero_()"
    value = w.random.choice(
        [w.fresh(shape, str(w.look(x).dtype)[6:]), w.fresh(shape[1:]), w.pick(lambda each: _broadcasts(tuple(each.shape), shape)), "2"]
    )
    if w.random.random() < 0.3:
        return f"{target if target.endswith(']') else target + '[...]'} = {value}"
    return f"{target}.{w.random.choice(IN_PLACE)}({value})" if value != "2" else f"{target}.mul_({value})"


def _placed(w: Writer) -> str:
    """A write at indices or under a mask."""
    x = w.pick(lambda each: each.dim() > 0 and _is_safe_target(each))
    tensor = w.look(x)
    shape, dtype = tuple(tensor.shape) or (1,), str(tensor.dtype)[6:]
    seed, dim, count = w.random.randrange(1000), w.random.randrange(len(shape)), w.random.randint(0, 4)
    along = tuple(count if axis == dim else size for axis, size in enumerate(shape))
    return w.random.choice(
        [
            f"{x}[{w.fresh(shape, 'bool')}] = {w.random.choice(['3', w.fresh((), dtype)])}",
            f"{x}[order({seed}, {min(count, shape[0])}, {shape[0]})] = {w.fresh(shape[1:], dtype)}",
            f"{x}.masked_fill_({w.fresh(shape, 'bool')}, 0.5)",
            f"{x}.index_add_({dim}, places({seed}, ({count},), {shape[dim]}), {w.fresh(along, dtype)})",
            f"{x}.scatter_add_({dim}, places({seed}, {along}, {shape[dim]}), {w.fresh(along, dtype)})",
            f"{x}.index_fill_({dim}, places({seed}, ({count},), {shape[dim]}), -1)",
            f"{x}.index_put_((places({seed}, ({count},), {shape[0]}),), {w.fresh(shape[1:], dtype)}, accumulate=True)",
            f"{x}.masked_scatter_({w.fresh(shape, 'bool')}, {w.fresh((math.prod(shape),), dtype)})",
            f"{x}.diagonal(0, 0, -1).add_(1)",
        ]
    )


def _into_out(w: Writer) -> str:
    """A result that is written into a tensor, which may lie in the operands' memory, have another shape, or a dtype that cannot hold it."""
    x = w.pick()
    empty = f"torch.empty(0, dtype={x}.dtype)"
    out = w.random.choice(
        [w.pick(), w.view(w.pick(_is_safe_target)), w.pick(lambda each: tuple(each.shape) == tuple(w.look(x).shape)), empty]
    )
    calls = [f"add({x}, {w.partner(x)}", f"mul({x}, {w.partner(x)}", f"exp({x}", f"neg({x}"]
    if out is empty:  # others do not look whether they write over what they read
        calls += [f"sum({x}, {w.dim(x)}", f"cumsum({x}, {w.dim(x)}"]
    call = w.random.choice(calls)
    return f"{w.new()} = torch.{call}, out={out})"


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


WEIGHTS: dict[Callable[[Writer], str], int] = {
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
    _written: 12,
    _placed: 5,
    _into_out: 3,
    _huge: 1,
}
RULES = [rule for rule, weight in WEIGHTS.items() for _ in range(weight)]
