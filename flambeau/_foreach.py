"""Functions of lists of tensors, ``torch._foreach_add(xs, ys)``: what is recorded becomes one program in any case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor

_NAMES = (
    "abs", "acos", "add", "addcdiv", "addcmul", "asin", "atan", "ceil", "clamp_max", "clamp_min", "cos", "cosh", "div", "erf", "erfc", "exp", "expm1", "floor", "frac", "lerp",
    "lgamma", "log", "log10", "log1p", "log2", "maximum", "minimum", "mul", "neg", "pow", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "sub", "tan",
    "tanh", "trunc",
)  # fmt: skip
_METHODS = {"maximum": "clamp_min", "minimum": "clamp_max"}


def _each(value: Any, count: int) -> Sequence[Any]:
    """The operand of each tensor: of a list its own, else the same for all."""
    if isinstance(value, Tensor) and value.dim() == 1 and value.numel() == count and count > 1:
        return value.unbind()
    return value if isinstance(value, (list, tuple)) else [value] * count


def _apply(name: str) -> Callable:
    """``name`` of each tensor, a method that may be in place; operands are lists or shared."""
    stem = name.removesuffix("_")
    in_place = name != stem
    method = getattr(Tensor, _METHODS.get(stem, stem) + ("_" if in_place else ""))

    def function(self: Sequence[Tensor], *operands: Any, **options: Any) -> tuple[Tensor, ...] | None:
        lists = [_each(operand, len(self)) for operand in operands]
        lists += [_each(options.pop(key), len(self)) for key in ("scalar", "scalars") if key in options]
        if stem in ("addcdiv", "addcmul") and len(lists) == 3:
            found = [method(x, a, b, value=value) for x, a, b, value in zip(self, *lists, strict=True)]
        else:
            found = [method(x, *each, **options) for x, *each in zip(self, *lists, strict=True)]
        return None if in_place else tuple(found)

    function.__name__ = function.__qualname__ = f"_foreach_{name}"
    function.__doc__ = f"``{name}`` of each tensor of a list."
    return function


def _foreach_norm(self: Sequence[Tensor], ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The norm of each tensor of a list."""
    return tuple([flambeau.linalg.vector_norm(x, ord, dtype=dtype) for x in self])


def _foreach_zero_(self: Sequence[Tensor]) -> None:
    """Set each tensor of a list to 0."""
    for x in self:
        x.zero_()


for _name in (*_NAMES, *[f"{name}_" for name in _NAMES], "copy_"):
    globals()[f"_foreach_{_name}"] = _apply(_name)

FUNCTIONS = {name: value for name, value in globals().items() if name.startswith("_foreach_")}
"""All of them, by their names in the package."""
