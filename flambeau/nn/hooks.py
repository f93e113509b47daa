"""Handles that take a hook out again, and the pair of taps behind full backward hooks."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau._ops.origin import warn
from flambeau._ops.registry import FUNCTIONS
from flambeau._tensor.tensor import Tensor


class RemovableHandle:
    """What every ``register_*_hook`` returns; :meth:`remove` takes the hook out again.

    A handle is also a context manager that removes its hook at the end of the ``with`` block. It holds the dictionaries of
    hooks weakly, so that it never keeps a module alive.

    Example:
        >>> layer = flambeau.nn.Identity()
        >>> handle = layer.register_forward_hook(lambda module, args, output: output + 1)
        >>> layer(1)
        2
        >>> handle.remove()
        >>> layer(1)
        1
    """

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any], *, extra_dict: Any = None) -> None:
        self.id = next(RemovableHandle._ids)
        extras = () if extra_dict is None else extra_dict if isinstance(extra_dict, (list, tuple)) else (extra_dict,)
        self._dicts = tuple(weakref.ref(d) for d in (hooks, *extras))

    def remove(self) -> None:
        """Removes the hook; doing it twice is harmless."""
        for reference in self._dicts:
            hooks = reference()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple:
        return tuple(reference() for reference in self._dicts), self.id

    def __setstate__(self, state: tuple) -> None:
        dicts, self.id = state
        self._dicts = tuple(weakref.ref(d) for d in dicts if d is not None)
        # A revived id must not be handed out a second time.
        RemovableHandle._ids = itertools.count(max(self.id + 1, next(RemovableHandle._ids)))

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class BackwardHook:
    """Runs a module's full backward hooks: one tap on its inputs and one on its outputs.

    Both taps are identity functions of autograd. Gradients pass the output tap first (``grad_output`` is then known, the
    pre-hooks run) and the input tap last (``grad_input`` is known, the hooks run). Where no input needs a gradient there is
    no input tap, and the hooks run at the output tap with ``None`` for every input.
    """

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple | None = None
        self.input_count = 0
        self.input_positions: list[int] | None = None
        self.output_count = 0
        self.output_positions: list[int] = []

    def setup_input_hook(self, args: tuple) -> tuple:
        """Returns ``args`` with the tensors among them passed through the input tap."""
        args, self.input_positions = _tap(args, self._on_grad_inputs)
        self.input_count = len(args)
        return args

    def setup_output_hook(self, result: Any) -> Any:
        """Returns ``result`` (a tensor or a tuple) with its tensors passed through the output tap."""
        single = not isinstance(result, tuple)
        outputs, positions = _tap((result,) if single else result, self._on_grad_outputs)
        self.output_count, self.output_positions = len(outputs), positions or []
        return outputs[0] if single else outputs

    def _on_grad_outputs(self, grads: tuple) -> tuple:
        full = _spread(grads, self.output_positions, self.output_count)
        for hook in self.pre_hooks:
            answer = hook(self.module, full)
            if answer is not None:
                full = _checked(answer, self.output_count, "grad_output", "Backward pre hook")
        self.grad_outputs = full
        if self.input_positions is None:
            if self.hooks:
                warn(
                    "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require gradients. "
                    "Tensor.register_hook on an output says the same of it."
                )
            inputs = (None,) * self.input_count
            for hook in self.hooks:
                answer = hook(self.module, inputs, full)
                if answer is not None and not (isinstance(answer, tuple) and all(g is None for g in answer)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None for all gradients."
                    )
            self.grad_outputs = None
        return tuple(full[i] for i in self.output_positions)

    def _on_grad_inputs(self, grads: tuple) -> tuple:
        if self.grad_outputs is None:
            raise RuntimeError(
                f"Module backward hook for grad_input of {type(self.module).__name__} is called before the grad_output one: "
                "the gradient reached the module's inputs without passing its outputs. Return the outputs of forward() as a tensor "
                "or a tuple of tensors."
            )
        full = _spread(grads, self.input_positions or [], self.input_count)
        for hook in self.hooks:
            answer = hook(self.module, full, self.grad_outputs)
            if answer is not None:
                full = _checked(answer, self.input_count, "grad_input", "Backward hook")
        self.grad_outputs = None
        return tuple(full[i] for i in self.input_positions or [])


def _tap(values: tuple, callback: Callable[[tuple], tuple]) -> tuple[tuple, list[int] | None]:
    """Passes the tensors of ``values`` through an identity that reports their gradients; ``None`` if none needs one."""
    positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not flambeau.is_grad_enabled() or not any(values[i].requires_grad for i in positions):
        return values, None
    tapped = _tap_function().apply(callback, *(values[i] for i in positions))
    result = list(values)
    for i, tensor in zip(positions, tapped):
        result[i] = tensor
    return tuple(result) if type(values) is tuple else type(values)(*result), positions


def _spread(grads: tuple, positions: list[int], count: int) -> tuple:
    full: list[Any] = [None] * count
    for i, grad in zip(positions, grads):
        full[i] = grad
    return tuple(full)


def _checked(answer: Any, count: int, what: str, who: str) -> tuple:
    answer = answer if isinstance(answer, tuple) else (answer,)
    if len(answer) != count:
        raise RuntimeError(f"{who} returned an invalid number of {what}, got {len(answer)}, but expected {count}")
    return answer


_TAP: Any = None


def _tap_function() -> Any:
    """The identity that reports gradients; made on first use, since autograd is loaded after the layers."""
    global _TAP
    if _TAP is None:

        class Tap(flambeau.autograd.Function):
            @staticmethod
            def forward(ctx: Any, callback: Callable, *tensors: Tensor) -> tuple:
                ctx.set_materialize_grads(False)
                ctx.callback = callback
                ctx.mark_non_differentiable(*(t for t in tensors if not t.requires_grad))
                return tuple(t.view_as(t) for t in tensors)

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> tuple:
                found = ctx.callback(grads)
                if all(grad is None for grad in found):  # what comes further on is asked for zeros, as behind any Function
                    found = [None if layout is None else FUNCTIONS.zeros(layout) for layout in ctx.layouts]
                return (None, *found)

        _TAP = Tap
    return _TAP
