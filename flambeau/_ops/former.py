"""Calls as they were written before PyTorch 1.5, which many optimizers still contain: with the number before the tensors."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau._ops.arguments import number as plain
from flambeau._tape.storage import TensorBase


def number_first(name: str, keyword: str, number: Any, *tensors: Any) -> tuple[Any, ...]:
    """The tensors, and the number behind them, of ``add(alpha, other)`` or ``addcmul(value, tensor1, tensor2)``.

    Raises:
        TypeError: the first is no number, or the others are no tensors, as many as there should be
    """
    wanted = 1 if keyword == "alpha" else 2
    value = plain(number)
    fitting = (TensorBase, int, float, complex) if wanted == 1 else TensorBase
    if isinstance(value, TensorBase) or len(tensors) != wanted or not all(isinstance(each, fitting) for each in tensors):
        given = ", ".join(type(each).__name__ for each in (number, *tensors))
        raise TypeError(f"{name}() received an invalid combination of arguments - got ({given}); {keyword} is given by its name")
    names = "other" if wanted == 1 else "tensor1, tensor2"
    warnings.warn(
        f"This overload of {name} is deprecated: {name}({keyword}, {names}). Write {name}({names}, {keyword}=…) instead.",
        UserWarning,
        stacklevel=3,
    )
    return *tensors, value
