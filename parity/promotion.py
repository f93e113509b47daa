"""`python -m parity.promotion [--ops REGEX]`: the dtype of a result, or the class of the error, for operands of all dtypes and kinds.

Operands are tensors of every dtype, with and without dimensions, and Python's numbers. Every pair is given to every operator of two operands as a function; of those in place
and with ``out=`` some are drawn at random, as are the operands of operators of three. What differs is told once for each operator, form and pair of outcomes, with an example. What
PyTorch refuses and is computed here (half-precision complex numbers, functions of bools) counts only with `--errors`.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch

import flambeau
from parity.check import first_line, mro_names

DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
NUMBERS = (True, 2, 1.5, 1 + 2j)

Function = Callable[..., Any]
Operand = tuple[str, tuple[int, ...]] | bool | int | float | complex
"""The dtype and the shape of a tensor of ones, or a number."""

ELEMENTWISE = (
    "add", "sub", "mul", "div", "true_divide", "floor_divide", "remainder", "fmod", "pow", "float_power", "atan2", "hypot", "maximum", "minimum", "fmax", "fmin", "copysign",
    "nextafter", "logaddexp", "logaddexp2", "heaviside", "xlogy", "gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift",
    "bitwise_right_shift", "logical_and", "logical_or", "logical_xor", "eq", "ne", "lt", "le", "gt", "ge", "ldexp", "rsub", "igamma", "igammac", "isclose", "polar", "complex",
    "special.xlog1py", "special.zeta", "special.chebyshev_polynomial_t", "clamp_min", "clamp_max", "result_type", "float_power", "dist", "equal", "allclose", "isin",
)  # fmt: skip
"""Functions of two operands that are called as they are."""

MORE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "+": lambda p, a, b: a + b,
    "-": lambda p, a, b: a - b,
    "*": lambda p, a, b: a * b,
    "/": lambda p, a, b: a / b,
    "//": lambda p, a, b: a // b,
    "%": lambda p, a, b: a % b,
    "**": lambda p, a, b: a**b,
    "&": lambda p, a, b: a & b,
    "<<": lambda p, a, b: a << b,
    "<": lambda p, a, b: a < b,
    "==": lambda p, a, b: a == b,
    "div trunc": lambda p, a, b: p.div(a, b, rounding_mode="trunc"),
    "add alpha": lambda p, a, b: p.add(a, b, alpha=2),
    "add alpha 0.5": lambda p, a, b: p.add(a, b, alpha=0.5),
    "sub alpha True": lambda p, a, b: p.sub(a, b, alpha=True),
    "where": lambda p, a, b: p.where(p.ones(2, dtype=p.bool), a, b),
    "masked_fill": lambda p, a, b: a.masked_fill(p.ones(2, dtype=p.bool), b),
    "index_fill": lambda p, a, b: p.index_fill(a, 0, p.zeros(1, dtype=p.int64), b),
    "cat": lambda p, a, b: p.cat((a, b)),
    "stack": lambda p, a, b: p.stack((a, b)),
    "hstack": lambda p, a, b: p.hstack((a, b)),
    "dot": lambda p, a, b: p.dot(a, b),
    "vdot": lambda p, a, b: p.vdot(a, b),
    "outer": lambda p, a, b: p.outer(a, b),
    "inner": lambda p, a, b: p.inner(a, b),
    "kron": lambda p, a, b: p.kron(a, b),
    "matmul": lambda p, a, b: p.matmul(a, b),
    "mm": lambda p, a, b: p.mm(a.reshape(1, -1), b.reshape(-1, 1)),
    "mv": lambda p, a, b: p.mv(a.reshape(1, -1), b.reshape(-1)),
    "bmm": lambda p, a, b: p.bmm(a.reshape(1, 1, -1), b.reshape(1, -1, 1)),
    "tensordot": lambda p, a, b: p.tensordot(a.reshape(-1), b.reshape(-1), 1),
    "einsum i,i->i": lambda p, a, b: p.einsum("i,i->i", a, b),
    "einsum i,i->": lambda p, a, b: p.einsum("i,i->", a, b),
    "einsum i,j->ij": lambda p, a, b: p.einsum("i,j->ij", a, b),
    "einsum ij,jk->ik": lambda p, a, b: p.einsum("ij,jk->ik", a.expand(2, 2), b.expand(2, 2)),
    "linear": lambda p, a, b: p.nn.functional.linear(a, b.expand(3, 2)),
    "cdist": lambda p, a, b: p.cdist(a.reshape(1, -1), b.reshape(1, -1)),
    "cross": lambda p, a, b: p.linalg.cross(a.expand(1, 2).reshape(-1)[:1].expand(3), b.expand(1, 2).reshape(-1)[:1].expand(3)),
    "mse_loss": lambda p, a, b: p.nn.functional.mse_loss(a, b),
    "l1_loss": lambda p, a, b: p.nn.functional.l1_loss(a, b),
    "smooth_l1_loss": lambda p, a, b: p.nn.functional.smooth_l1_loss(a, b),
    "huber_loss": lambda p, a, b: p.nn.functional.huber_loss(a, b),
    "kl_div": lambda p, a, b: p.nn.functional.kl_div(a, b),
    "binary_cross_entropy": lambda p, a, b: p.nn.functional.binary_cross_entropy(a, b),
    "binary_cross_entropy_with_logits": lambda p, a, b: p.nn.functional.binary_cross_entropy_with_logits(a, b),
    "prelu": lambda p, a, b: p.nn.functional.prelu(a, b),
    "cosine_similarity": lambda p, a, b: p.nn.functional.cosine_similarity(a, b, 0),
    "pairwise_distance": lambda p, a, b: p.nn.functional.pairwise_distance(a, b),
    "searchsorted": lambda p, a, b: p.searchsorted(a, b),
    "bucketize": lambda p, a, b: p.bucketize(a, b),
    "index_add": lambda p, a, b: p.index_add(a, 0, p.zeros(2, dtype=p.int64), b),
    "index_copy": lambda p, a, b: p.index_copy(a, 0, p.tensor([1, 0]), b),
    "scatter": lambda p, a, b: p.scatter(a, 0, p.zeros(1, dtype=p.int64), b),
    "scatter_add": lambda p, a, b: p.scatter_add(a, 0, p.zeros(1, dtype=p.int64), b),
    "scatter_reduce": lambda p, a, b: p.scatter_reduce(a, 0, p.zeros(1, dtype=p.int64), b, "amax"),
    "index_put": lambda p, a, b: p.index_put(a, (p.zeros(1, dtype=p.int64),), b),
    "index_put accumulate": lambda p, a, b: p.index_put(a, (p.zeros(1, dtype=p.int64),), b, accumulate=True),
    "masked_scatter": lambda p, a, b: p.masked_scatter(a, p.ones(2, dtype=p.bool), b),
    "take": lambda p, a, b: p.take(a, b),
    "gather": lambda p, a, b: p.gather(a, 0, b),
    "index_select": lambda p, a, b: p.index_select(a, 0, b),
    "[]": lambda p, a, b: a[b],
    "[] =": lambda p, a, b: a.__setitem__(0, b),
    "[:] =": lambda p, a, b: a.__setitem__(slice(None), b),
    "copy_": lambda p, a, b: a.copy_(b),
    "fill_": lambda p, a, b: a.fill_(b),
    "type_as": lambda p, a, b: a.type_as(b),
    "quantile": lambda p, a, b: p.quantile(a, b),
    "repeat_interleave": lambda p, a, b: p.repeat_interleave(a, b),
    "histc": lambda p, a, b: p.histogram(a, b),
    "trapezoid": lambda p, a, b: p.trapezoid(a, b),
    "bincount": lambda p, a, b: p.bincount(a, b),
    "cov": lambda p, a, b: p.cov(a, fweights=b),
    "conv1d": lambda p, a, b: p.nn.functional.conv1d(a.reshape(1, 1, -1), b.reshape(1, 1, -1)),
    "full_like": lambda p, a, b: p.full_like(a, b),
    "new_full": lambda p, a, b: a.new_full((2,), b),
    "linspace": lambda p, a, b: p.linspace(a, b, 3),
    "arange": lambda p, a, b: p.arange(a, b),
    "full": lambda p, a, b: p.full((2,), b),
    "tensor": lambda p, a, b: p.tensor([a, b]),
    "as_tensor dtype": lambda p, a, b: p.as_tensor(b, dtype=a.dtype),
}
THREE: dict[str, Callable[..., Any]] = {
    "lerp": lambda p, a, b, c: p.lerp(a, b, c),
    "addcmul": lambda p, a, b, c: p.addcmul(a, b, c),
    "addcmul value 2": lambda p, a, b, c: p.addcmul(a, b, c, value=2),
    "addcmul value 0.5": lambda p, a, b, c: p.addcmul(a, b, c, value=0.5),
    "addcdiv": lambda p, a, b, c: p.addcdiv(a, b, c),
    "clamp": lambda p, a, b, c: p.clamp(a, b, c),
    "where": lambda p, a, b, c: p.where(a, b, c),
    "addmm": lambda p, a, b, c: p.addmm(a, b.reshape(1, -1), c.reshape(-1, 1)),
    "addmv": lambda p, a, b, c: p.addmv(a, b.reshape(1, -1), c.reshape(-1)),
    "addr": lambda p, a, b, c: p.addr(a, b, c),
    "baddbmm": lambda p, a, b, c: p.baddbmm(a, b.reshape(1, 1, -1), c.reshape(1, -1, 1)),
    "linear": lambda p, a, b, c: p.nn.functional.linear(a, b.expand(3, 2), c),
    "lerp_": lambda p, a, b, c: a.lerp_(b, c),
    "addcmul_": lambda p, a, b, c: a.addcmul_(b, c),
    "addcdiv_": lambda p, a, b, c: a.addcdiv_(b, c),
    "clamp_": lambda p, a, b, c: a.clamp_(b, c),
    "masked_fill_": lambda p, a, b, c: a.masked_fill_(b, c),
    "layer_norm": lambda p, a, b, c: p.nn.functional.layer_norm(a, (2,), b, c),
    "batch_norm": lambda p, a, b, c: p.nn.functional.batch_norm(a.reshape(1, -1), None, None, b, c, training=False),
    "scaled_dot_product_attention": lambda p, a, b, c: p.nn.functional.scaled_dot_product_attention(*(each.reshape(1, 1, -1) for each in (a, b, c))),
    "add out": lambda p, a, b, c: p.add(a, b, out=c),
    "mul out": lambda p, a, b, c: p.mul(a, b, out=c),
    "div out": lambda p, a, b, c: p.div(a, b, out=c),
    "eq out": lambda p, a, b, c: p.eq(a, b, out=c),
    "pow out": lambda p, a, b, c: p.pow(a, b, out=c),
    "atan2 out": lambda p, a, b, c: p.atan2(a, b, out=c),
    "maximum out": lambda p, a, b, c: p.maximum(a, b, out=c),
    "bitwise_and out": lambda p, a, b, c: p.bitwise_and(a, b, out=c),
    "matmul out": lambda p, a, b, c: p.matmul(a, b, out=c),
    "cat out": lambda p, a, b, c: p.cat((a, b), out=c),
    "where out": lambda p, a, b, c: p.where(p.ones(2, dtype=p.bool), a, b, out=c),
}  # fmt: skip


def call(package: Any, function: Callable[..., Any], operands: tuple[Operand, ...]) -> Any:
    """The dtypes of a call's results, or its error."""
    tensors = [package.ones(each[1], dtype=getattr(package, each[0])) if isinstance(each, tuple) else each for each in operands]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _dtypes(function(package, *tensors))
            if package is flambeau:
                flambeau.flush()  # what depends on data is found out about now
            return found
    except Exception as error:
        return error.with_traceback(None)


def _dtypes(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return tuple(map(_dtypes, result))
    if hasattr(result, "dtype"):
        return str(result.dtype).rpartition(".")[2], tuple(result.shape)
    return str(result).replace("flambeau", "torch")


def difference(mine: Any, theirs: Any) -> tuple[str, str] | None:
    """What differs, in few words, and the same in many; PyTorch's own classes of errors are matched by name."""
    if isinstance(theirs, Exception):
        expected = next(kind for kind in type(theirs).__mro__ if kind.__module__ == "builtins")
        if not isinstance(mine, Exception):
            return f"{_brief(mine)} instead of {type(theirs).__name__}", first_line(theirs)
        if not isinstance(mine, expected) or (expected is not type(theirs) and type(theirs).__name__ not in mro_names(mine)):
            return f"{type(mine).__name__} instead of {type(theirs).__name__}", f"{first_line(mine)} / {first_line(theirs)}"
    elif isinstance(mine, Exception):
        return f"{type(mine).__name__} instead of {_brief(theirs)}", first_line(mine)
    elif mine != theirs:
        return f"{_brief(mine)} instead of {_brief(theirs)}", f"{mine} / {theirs}"
    return None


def _brief(found: Any) -> str:
    return found[0] if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], str) else "a result"


def describe(operands: tuple[Operand, ...]) -> str:
    return ", ".join(f"{each[0]}{list(each[1])}" if isinstance(each, tuple) else repr(each) for each in operands)


# -- what is called --------------------------------------------------------------------------------------------------


def _named(name: str) -> Callable[..., Any]:
    def function(package: Any, *operands: Any) -> Any:
        found = package
        for part in name.split("."):
            found = getattr(found, part)
        return found(*operands)

    return function


def _in_place(name: str) -> Callable[..., Any]:
    return lambda package, first, *others: getattr(first, f"{name}_")(*others)


def _into(name: str, dtype: str) -> Callable[..., Any]:
    return lambda package, *operands: getattr(package, name)(*operands, out=package.empty(2, dtype=getattr(package, dtype)))


def cases(draw: random.Random, some: int) -> Iterator[tuple[str, Callable[..., Any], tuple[Operand, ...]]]:
    """The name of a form, its function, and operands."""
    tensors: list[Operand] = [(dtype, shape) for dtype in DTYPES for shape in ((2,), ())]
    everything: list[Operand] = [*tensors, *NUMBERS]
    functions = {**{name: _named(name) for name in ELEMENTWISE}, **MORE}
    for name, function in functions.items():
        for pair in product(everything, everything):
            if any(isinstance(each, tuple) for each in pair):
                yield name, function, pair
    for name in (name for name in ELEMENTWISE if "." not in name):
        for _ in range(some):
            pair = (draw.choice(tensors), draw.choice(everything))
            if hasattr(torch.Tensor, f"{name}_"):
                yield f"{name}_", _in_place(name), pair
            yield f"{name} out", _into(name, draw.choice(DTYPES)), pair
    for name, function in THREE.items():
        for _ in range(4 * some):
            yield name, function, (draw.choice(tensors), draw.choice(everything), draw.choice(everything))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m parity.promotion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", metavar="REGEX", default=".*", help="only operators whose name matches (all of it)")
    parser.add_argument("--some", type=int, default=100, metavar="N", help="pairs that are drawn for each form (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--errors", action="store_true", help="compare what PyTorch refuses, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count, found = 0, dict[tuple[str, str], list[str]]()
    for name, function, operands in cases(random.Random(options.seed), options.some):
        if not re.fullmatch(options.ops, name):
            continue
        count += 1
        mine, theirs = call(flambeau, function, operands), call(torch, function, operands)
        if isinstance(theirs, Exception) and not options.errors:
            continue
        differs = difference(mine, theirs)
        if differs is not None:
            found.setdefault((name, differs[0]), []).append(f"({describe(operands)}): {differs[1]}")
    for (name, what), examples in found.items():
        print(f"{name}: {what}, {len(examples)} times, e.g. {examples[0]}")
    print(f"{count} calls; {sum(map(len, found.values()))} differ, in {len(found)} ways")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
