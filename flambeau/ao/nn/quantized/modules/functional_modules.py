"""Arithmetic as modules, so that its results are observed, and quantized, as those of layers are."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.ao.nn.quantized.modules.utils import parameters_of
from flambeau.ao.tensors import arithmetic

__all__ = ["FXFloatFunctional", "FloatFunctional", "QFunctional"]

OPERATIONS = ("add", "add_relu", "add_scalar", "cat", "matmul", "mul", "mul_scalar")
"""What these modules can do."""


def _refuse(self: nn.Module, x: Any) -> Any:
    raise RuntimeError(f"{type(self).__name__} is not called: use one of its methods, {', '.join(OPERATIONS)}")


class FloatFunctional(nn.Module):
    """``f.add(x, y)`` in the place of ``x + y``, so that the sum is observed; ``convert`` makes a ``QFunctional`` of it.

    Example::

        >>> from flambeau.ao.nn.quantized import FloatFunctional
        >>> FloatFunctional().add(flambeau.tensor(3.0), flambeau.tensor(4.0))
        tensor(7.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process = nn.Identity()

    forward = _refuse

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + y``."""
        return self.activation_post_process(flambeau.add(x, y))

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x + y`` with a number; its result has the range of x, and is not observed."""
        return flambeau.add(x, y)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x * y``."""
        return self.activation_post_process(flambeau.mul(x, y))

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x * y`` with a number; its result has the range of x, and is not observed."""
        return flambeau.mul(x, y)

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """The tensors one after the other."""
        return self.activation_post_process(flambeau.cat(x, dim=dim))

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """``relu(x + y)``."""
        return self.activation_post_process(nn.functional.relu(flambeau.add(x, y)))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x @ y``."""
        return self.activation_post_process(flambeau.matmul(x, y))


class FXFloatFunctional(nn.Module):
    """``FloatFunctional`` without an observer of its own, for graphs in which it is put apart."""

    forward = _refuse

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + y``."""
        return flambeau.add(x, y)

    add_scalar = add

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x * y``."""
        return flambeau.mul(x, y)

    mul_scalar = mul

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """The tensors one after the other."""
        return flambeau.cat(x, dim=dim)

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """``relu(x + y)``."""
        return nn.functional.relu(flambeau.add(x, y))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x @ y``."""
        return flambeau.matmul(x, y)


class QFunctional(nn.Module):
    """Arithmetic of quantized tensors, on the grid of ``scale`` and ``zero_point``.

    Attributes:
        scale, zero_point: of the results, but for those of ``add_scalar`` and ``mul_scalar``, which follow from the input's
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0
        self.zero_point = 0
        self.activation_post_process = nn.Identity()

    forward = _refuse

    def _get_name(self) -> str:
        return "QFunctional"

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}"

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "scale"] = flambeau.tensor(self.scale)
        destination[prefix + "zero_point"] = flambeau.tensor(self.zero_point)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *rest: Any) -> None:
        self.scale = float(state_dict.pop(prefix + "scale"))
        self.zero_point = int(state_dict.pop(prefix + "zero_point"))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *rest)

    def add(self, x: Any, y: Any) -> Any:
        """``x + y``."""
        return self.activation_post_process(arithmetic.add(x, y, self.scale, self.zero_point))

    def add_scalar(self, x: Any, y: float) -> Any:
        """``x + y`` with a number: the same integers with another zero point, as far as that has room."""
        return arithmetic.add_scalar(x, y)

    def mul(self, x: Any, y: Any) -> Any:
        """``x * y``."""
        return self.activation_post_process(arithmetic.mul(x, y, self.scale, self.zero_point))

    def mul_scalar(self, x: Any, y: float) -> Any:
        """``x * y`` with a number: the same integers with another scale."""
        return arithmetic.mul_scalar(x, y)

    def cat(self, x: list[Any], dim: int = 0) -> Any:
        """The tensors one after the other."""
        return self.activation_post_process(arithmetic.cat(x, self.scale, self.zero_point, dim))

    def add_relu(self, x: Any, y: Any) -> Any:
        """``relu(x + y)``."""
        return self.activation_post_process(arithmetic.add(x, y, self.scale, self.zero_point, True))

    def matmul(self, x: Any, y: Any) -> Any:
        """``x @ y``, of the numbers that both stand for."""
        return self.activation_post_process(arithmetic.matmul(x, y, self.scale, self.zero_point))

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> QFunctional:
        """Of a ``FloatFunctional`` that was observed."""
        if type(mod) is not FloatFunctional:
            raise AssertionError(f"QFunctional.from_float is for FloatFunctional, got {type(mod).__name__}")
        made = QFunctional()
        made.scale, made.zero_point = parameters_of(mod)
        return made
