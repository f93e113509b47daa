"""Running one call on one side and keeping all that can be compared of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch

from parity.compare import tensors_in


@dataclass
class Call:
    """A function with arguments on one side; `run` calls it and keeps the outcome."""

    package: ModuleType
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    error: Exception | None = None

    def run(self) -> Call:
        """Call the function; random streams start from the same seed on both sides."""
        self.package.manual_seed(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.result = self.function(*self.args, **self.kwargs)
        except Exception as error:
            self.error = error
        return self

    def tensors(self) -> list[Any]:
        return list(tensors_in([self.args, self.kwargs], self.package.Tensor))

    def gradients(self, outputs: list[Any], cotangents: list[Any]) -> list[Any]:
        """The gradients of every input that requires one; None where an input has no part in the outputs."""
        inputs = [tensor for tensor in self.tensors() if tensor.requires_grad]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(self.package.autograd.grad(outputs, inputs, cotangents, allow_unused=True))


def cotangents_for(outputs: list[torch.Tensor], seed: int = 1) -> list[torch.Tensor]:
    """Random vectors to pull back through the outputs, of the same shapes and dtypes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(output.shape, dtype=_drawn(output.dtype), generator=generator).to(output.dtype) for output in outputs]


def _drawn(dtype: torch.dtype) -> torch.dtype:
    """Cotangents are drawn in double precision, so that a wider repetition of the call gets the same ones."""
    return torch.complex128 if dtype.is_complex else torch.float64


def describe(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """A call in short: `add(float32[2, 3], 1)`."""
    parts = [_short(value) for value in args] + [f"{name}={_short(value)}" for name, value in kwargs.items()]
    text = f"{function}({', '.join(parts)})"
    return text if len(text) <= 160 else text[:157] + "..."


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        dense = value.layout is not torch.strided or value.is_contiguous()
        return f"{str(value.dtype)[6:]}{list(value.shape)}" + ("" if dense else f" strides {list(value.stride())}")
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_short, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return repr(value)
