"""Pooling layers ask subclasses of ``Tensor``, as their functions do."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

import flambeau as torch


class Watched(torch.Tensor):
    """A tensor that notes which functions it is given to."""

    calls: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.calls.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layers_are_calls_of_functions(rank: int) -> None:
    x = torch.arange(4.0**rank).reshape(1, 1, *(4,) * rank)
    maxima, places = getattr(torch.nn, f"MaxPool{rank}d")(2, return_indices=True)(x)
    for name, arguments, inputs in (
        ("MaxPool", (2,), (x,)), ("AvgPool", (2,), (x,)), ("AdaptiveAvgPool", (2,), (x,)), ("AdaptiveMaxPool", (2,), (x,)), ("LPPool", (2, 2), (x,)),
        ("MaxUnpool", (2,), (maxima, places)),
    ):  # fmt: skip
        layer = getattr(torch.nn, f"{name}{rank}d")(*arguments)
        Watched.calls.clear()
        result = layer(inputs[0].as_subclass(Watched), *inputs[1:])
        assert "".join(Watched.calls[:1]).replace("_", "") == f"{name.lower()}{rank}d"
        assert torch.equal(torch.Tensor(result), layer(*inputs))
