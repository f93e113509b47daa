"""``GradScaler``: multiply the loss so that gradients in float16 do not underflow, and skip steps in which they overflow.

See Micikevicius et al., "Mixed precision training", 2018 (arXiv:1710.03740).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import flambeau
from flambeau import Tensor

__all__ = ["GradScaler"]


class GradScaler:
    """Scales losses, divides gradients by the scale before a step, and adapts the scale.

    ```
    scaler.scale(loss).backward()
    scaler.step(optimizer)   # unscales the gradients, and skips the step if one is not finite
    scaler.update()
    ```

    Args:
        device: ``"cpu"``; for a device that is not there the scaler is disabled, with a warning
        init_scale: the scale to begin with
        growth_factor: what the scale is multiplied by after ``growth_interval`` steps without overflow
        backoff_factor: what it is multiplied by after an overflow
        enabled: False makes ``scale`` and ``update`` do nothing and ``step`` a plain step
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device != "cpu":
            warnings.warn(f"torch.amp.GradScaler is enabled, but {device} is not available. Disabling.", stacklevel=2)
            enabled = False
        if enabled and growth_factor <= 1.0:
            raise ValueError(f"The growth factor must be > 1.0, but it is {growth_factor}")
        if enabled and backoff_factor >= 1.0:
            raise ValueError(f"The backoff factor must be < 1.0, but it is {backoff_factor}")
        self._device = device
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._overflows: dict[int, bool] = {}
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or all tensors of a sequence, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, Iterable):
            scaled = [self.scale(each) for each in outputs]
            return scaled if isinstance(outputs, list) else tuple(scaled)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, to clip them before the step, say.

        Raises:
            RuntimeError: that was done already since the last ``update``.
        """
        if not self._enabled:
            return
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        if id(optimizer) in self._overflows:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        grads = [each.grad for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
        with flambeau.no_grad():
            for grad in grads:
                grad.mul_(1.0 / self._scale)
            finite = [grad.isfinite().all() for grad in grads]
        self._overflows[id(optimizer)] = bool(finite) and not bool(flambeau.stack(finite).all())

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()``, unless a gradient is infinite or NaN.

        Raises:
            RuntimeError: it is the second step since the last ``update``, or a closure is given.
            AssertionError: none of its parameters has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._overflows:
            self.unscale_(optimizer)
        if not any(parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"]):
            raise AssertionError("No inf checks were recorded for this optimizer: none of its parameters has a gradient.")
        self._stepped.add(id(optimizer))
        return None if self._overflows[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what happened since the last call, or set it."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._overflows:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._overflows.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale *= self._growth_factor
                self._growth_tracker = 0
        self._overflows.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The scale; 1 if disabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after many good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after many good steps."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after an overflow."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps make the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many good steps make the scale grow."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale and its settings; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            RuntimeError: it is empty, as that of a disabled scaler is.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler.")
        self._scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
