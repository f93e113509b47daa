"""Tensors that are made of numbers and sizes, in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.onnx._graph import Builder, Number, Value
from flambeau.onnx._registry import HANDLERS, handler


def filled(g: Builder, like: Any, sizes: Any, value: Any) -> Value:
    """A tensor of one number: a constant, where all sizes are known; broadcast, if they are not."""
    known = all(isinstance(size, int) for size in like.shape)
    if isinstance(value, Value):
        return g.expand(g.value(value, like.dtype), like)
    if known:
        made = g.constant(flambeau.full(tuple(like.shape), value, dtype=like.dtype))
    else:
        shape = sizes if isinstance(sizes, Value) else g.vector(*sizes)
        element = g.onnx.helper.make_tensor("value", g.element_type(like.dtype), [1], [value])
        made = g("ConstantOfShape", shape, shape=tuple(like.shape), dtype=like.dtype, value=element)
    made.fill = value
    return made


@handler("zeros", "new_zeros", "empty", "new_empty")
def _zeros(g: Builder, like: Any, *size: Any, **options: Any) -> Value:
    return filled(g, like, _sizes(size), 0)


@handler("ones", "new_ones")
def _ones(g: Builder, like: Any, *size: Any, **options: Any) -> Value:
    return filled(g, like, _sizes(size), 1)


def _sizes(given: tuple) -> Any:
    """The sizes among a call's arguments, of a function or of a method."""
    given = tuple([each for each in given if isinstance(each, (int, Number, list, tuple)) and not isinstance(each, bool)])
    return given[0] if given and isinstance(given[0], (list, tuple)) else list(given)


@handler("full")
def _full(g: Builder, like: Any, size: Any, fill_value: Any, **options: Any) -> Value:
    return filled(g, like, size, fill_value)


@handler("new_full")
def _new_full(g: Builder, like: Any, input: Value, size: Any, fill_value: Any, **options: Any) -> Value:
    return filled(g, like, size, fill_value)


@handler("zeros_like", "empty_like", "zero")
def _zeros_like(g: Builder, like: Any, input: Value, *others: Any, **options: Any) -> Value:
    return _like(g, like, input, 0)


@handler("ones_like")
def _ones_like(g: Builder, like: Any, input: Value, *others: Any, **options: Any) -> Value:
    return _like(g, like, input, 1)


@handler("full_like", "fill")
def _full_like(g: Builder, like: Any, input: Value, fill_value: Any, *others: Any, **options: Any) -> Value:
    return _like(g, like, input, fill_value)


def _like(g: Builder, like: Any, input: Value, value: Any) -> Value:
    return filled(g, like, g.sizes(input), value)


@handler("scalar_tensor")
def _scalar_tensor(g: Builder, like: Any, value: Any, **options: Any) -> Value:
    return g.value(value, like.dtype)


@handler("arange")
def _arange(g: Builder, like: Any, *bounds: Any, **options: Any) -> Value:
    start, end, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    if not any(isinstance(each, Value) for each in (start, end, step)):
        return g.constant(flambeau.arange(start, end, step, dtype=like.dtype))
    return g("Range", *[g.value(each, like.dtype) for each in (start, end, step)], like=like)


def _computed(function: Callable) -> Callable:
    def make(g: Builder, like: Any, *args: Any, **options: Any) -> Value:
        if any(isinstance(each, Value) for each in args):
            raise NotImplementedError("it depends on sizes that are not known")
        return g.constant(function(*args, **options))

    return make


for _name in (
    "bartlett_window", "blackman_window", "eye", "hamming_window", "hann_window", "kaiser_window", "linspace", "logspace", "range", "tril_indices", "triu_indices",
    "fft_fftfreq", "fft_rfftfreq",
):  # fmt: skip
    _function: Any = flambeau.fft if _name.startswith("fft_") else flambeau
    HANDLERS[_name] = _computed(getattr(_function, _name.removeprefix("fft_")))


# -- random numbers ------------------------------------------------------------------------------------------------------


def _random(op: str, **attributes: Any) -> Callable:
    def make(g: Builder, like: Any, *args: Any, **options: Any) -> Value:
        if all(isinstance(size, int) for size in like.shape):
            return g(op, like=like, dtype_=g.element_type(like.dtype), shape_=list(like.shape), **attributes)
        return g(f"{op}Like", filled(g, like, _sizes(args), 0), like=like, dtype_=g.element_type(like.dtype), **attributes)

    return make


def _random_like(op: str, **attributes: Any) -> Callable:
    return lambda g, like, input, *others, **options: g(f"{op}Like", input, like=like, dtype_=g.element_type(like.dtype), **attributes)


HANDLERS |= {
    "rand": _random("RandomUniform"),
    "rand_like": _random_like("RandomUniform"),
    "randn": _random("RandomNormal"),
    "randn_like": _random_like("RandomNormal"),
}


@handler("uniform")
def _uniform(g: Builder, like: Any, input: Value, low: float = 0.0, high: float = 1.0, **options: Any) -> Value:
    return g("RandomUniformLike", input, low=float(low), high=float(high))


@handler("normal")
def _normal(g: Builder, like: Any, input: Value, mean: float = 0.0, std: float = 1.0, **options: Any) -> Value:
    return g("RandomNormalLike", input, mean=float(mean), scale=float(std))


@handler("exponential")
def _exponential(g: Builder, like: Any, input: Value, lambd: float = 1.0, **options: Any) -> Value:
    drawn = g("Neg", g("Log", g("RandomUniformLike", input)))
    return drawn if lambd == 1 else g("Div", drawn, g.number(lambd, input.dtype))


@handler("bernoulli")
def _bernoulli(g: Builder, like: Any, input: Value, p: Any = None, **options: Any) -> Value:
    return g("Bernoulli", input if p is None else _like(g, like, input, p), like=like)
