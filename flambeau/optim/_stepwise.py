"""``StepwiseOptimizer``, the base of optimizers that treat each parameter on its own: all of a group in one record, where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_double, c_float
from typing import Any

import numpy

import flambeau
from flambeau._tape.tape import LOCAL
from flambeau._tensor.tensor import Tensor
from flambeau._types.device import CPU
from flambeau._types.dtype import COMPLEX
from flambeau._types.layout import Layout
from flambeau.optim._settings import number
from flambeau.optim.optimizer import Optimizer


class Numbers:
    """State that is a number to the optimizer and a tensor to everybody else, such as the count of steps.

    Such a number enters the formulas as a Python number, but PyTorch keeps it in the state as a tensor; and to read a tensor
    means to compute everything that is recorded. So the optimizer remembers the number that belongs to each tensor that it
    made in the last step, and parameters with equal numbers share one tensor. A tensor that comes from a checkpoint, or
    was changed in place, is read.
    """

    def __init__(self) -> None:
        self._last: dict[int, _Made] = {}  # of the last step and this one, by the identity of the tensor
        self._made: dict[float, _Made] = {}  # of this step
        self._dtype: Any = None
        self._cell: Any = None
        self.round: Callable = float

    def begin(self) -> None:
        """Begins a step: tensors that were not made in the last one are forgotten."""
        self._last = {id(made.tensor): made for made in self._made.values()}
        self._made = {}
        if flambeau.get_default_dtype() is flambeau.float64:
            self._dtype, self._cell, self.round = flambeau.float64, c_double, numpy.float64
        else:
            self._dtype, self._cell, self.round = flambeau.float32, c_float, numpy.float32

    def read(self, tensor: Any) -> float:
        """The number that ``tensor`` holds."""
        known = self._last.get(id(tensor))
        if known is not None and known.version == tensor.memory.version:
            return known.value
        return float(tensor)

    def make(self, value: float, holders: int = 1) -> Tensor:
        """The tensor that holds ``value``, rounded to its dtype, for so many parameters more."""
        value = float(self.round(value))
        made = self._made.get(value)
        if made is None:
            tensor = flambeau.tensor(value, dtype=self._dtype, device=CPU)
            made = self._made[value] = self._last[id(tensor)] = _Made(tensor, tensor.memory.version, value)
        made.holders += holders
        return made.tensor

    def count(self, tensor: Tensor, value: float, holders: int) -> Tensor:
        """The tensor that holds ``value`` from now on for as many parameters that share ``tensor``.

        It is the same one, changed in place as PyTorch's are, if it was made here, nobody else has it, and nothing that is recorded has
        yet to read it: to make a new one would be a fifth of what a small step costs.
        """
        value, known, storage = float(self.round(value)), self._last.get(id(tensor)), tensor.memory
        mine = known is not None and known.version == storage.version and known.holders == holders
        if not mine or value in self._made or storage.tape is not None or storage.exported or tensor.layout.dtype is not self._dtype:
            return self.make(value, holders)
        self._cell.from_address(storage.buffer.address).value = value
        storage.version += 1
        if self._made.get(known.value) is known:  # made in this very step, for a group whose state is new
            del self._made[known.value]
        known.version, known.value = storage.version, value
        self._made[value] = known
        return tensor


class _Made:
    """A tensor that ``Numbers`` has made: the number in it, the version that has it, and how many parameters were given the tensor."""

    __slots__ = ("holders", "tensor", "value", "version")

    def __init__(self, tensor: Tensor, version: int, value: float) -> None:
        self.tensor, self.version, self.value, self.holders = tensor, version, value, 0


class StepwiseOptimizer(Optimizer):
    """An optimizer whose update of a parameter needs that parameter alone.

    A subclass gives :meth:`_new_state` and :meth:`_update`. Settings that change from step to step (the learning rate, the
    count of steps) reach operators as Python numbers, which are run-time operands: no step is compiled twice.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._numbers = Numbers()
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._numbers = Numbers()

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        return {}

    def _update(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        """Changes ``parameter`` and ``state`` in place."""
        raise NotImplementedError

    def _update_sparse(self, parameter: Tensor, gradient: Any, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        """Changes ``parameter`` and ``state`` in place, where a sparse gradient has values.

        Raises:
            RuntimeError: the optimizer needs dense gradients.
        """
        raise RuntimeError(f"{type(self).__name__} does not support sparse gradients, please consider SGD, Adagrad or SparseAdam instead")

    def _count_step(self, state: dict[str, Any]) -> float:
        """Counts one more step in ``state`` and returns how many there are now."""
        step = self._numbers.read(state["step"]) + 1.0
        state["step"] = self._numbers.make(step)
        return step

    def _state_names(self, group: dict[str, Any]) -> tuple[str, ...] | None:
        """The tensors of a parameter's state that :meth:`_update_rows` changes; ``None`` if there is no such method."""
        return None

    def _update_rows(self, rows: list[tuple[Tensor, ...]], group: dict[str, Any], lr: float, step: float) -> bool:
        """Changes in one record what stands in some rows ``(gradient, parameter, *state)``; ``step`` is the count for all of them.

        It does to many parameters what :meth:`_update` does to one in many records, which autograd can follow.

        Returns:
            Whether it did: tensors that share memory have to be changed one after another.
        """
        raise NotImplementedError

    def step(self, closure: Callable | None = None) -> Any:
        """Updates every parameter that has a gradient.

        Args:
            closure: computes the loss anew, with its gradients, and returns it.

        Returns:
            What ``closure`` returned, or ``None``.
        """
        loss = None
        if closure is not None:
            with flambeau.enable_grad():
                loss = closure()
        self._numbers.begin()
        with flambeau.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            for group in self.param_groups:
                self._update_group(group, number(group["lr"]), group.get("maximize", False))
        return loss

    def _update_group(self, group: dict[str, Any], lr: float, maximize: bool) -> None:
        found = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state.get(parameter)
            if not state:
                state = self._new_state(parameter, group)
                if state:
                    self.state[parameter] = state
            found.append((parameter, gradient, state))
        self._update_all(found, group, lr, maximize)

    def _update_all(self, found: list[tuple[Tensor, Any, dict[str, Any]]], group: dict[str, Any], lr: float, maximize: bool) -> None:
        """Changes parameters and their states, given as ``(parameter, gradient, state)``, in place."""
        names = None if group.get("differentiable") else self._state_names(group)
        batches: dict[int, tuple[Any, list, list]] = {}  # by the tensor that counts the steps, which most parameters share
        alone = []
        for parameter, gradient, state in found:
            if gradient.layout.__class__ is not Layout:
                self._update_sparse(parameter, -gradient if maximize else gradient, state, group, lr)
                continue
            if names is None or (names and state[names[0]] is None):  # which the first step makes
                alone.append((parameter, gradient, state))
                continue
            row = (gradient, parameter, *[state[name] for name in names])
            if parameter.layout.dtype.category == COMPLEX:
                row = tuple([flambeau.view_as_real(tensor) for tensor in row])
            count = state.get("step")
            batch = batches.get(id(count))
            if batch is None:
                batch = batches[id(count)] = count, [], []
            batch[1].append(row)
            batch[2].append((parameter, gradient, state))
        for count, rows, batch in batches.values():
            step = 0.0 if count is None else self._numbers.read(count) + 1.0
            if not self._update_rows(rows, group, lr, step):
                alone += batch
            elif count is not None:
                after = self._numbers.count(count, step, len(batch))
                for _, _, state in batch:
                    state["step"] = after
        for parameter, gradient, state in alone:
            if maximize:
                gradient = -gradient
            if parameter.is_complex():
                self._update_complex(parameter, gradient, state, group, lr)
            else:
                self._update(parameter, gradient, state, group, lr)

    def _update_complex(self, parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any], lr: float) -> None:
        """Updates real and imaginary parts as if they were two parameters."""
        as_real, as_complex = flambeau.view_as_real, flambeau.view_as_complex
        complex_names = {name for name, value in state.items() if isinstance(value, Tensor) and value.is_complex()}
        complex_names |= {name for name, value in state.items() if value is None}
        views = {name: as_real(value) if name in complex_names and value is not None else value for name, value in state.items()}
        self._update(as_real(parameter), as_real(gradient), views, group, lr)
        for name, value in views.items():
            if name not in complex_names:
                state[name] = value
            elif state[name] is None and value is not None:
                state[name] = as_complex(value)


def zeros_like(parameter: Tensor, negative: bool = False) -> Tensor:
    """State that begins with zeros (-0.0 if ``negative``, for real dtypes), laid out in memory as its parameter is.

    It is memory from the start: recorded zeros would make the first step another program than the second, with kernels that no later step calls
    (a ResNet-50 had 31, a quarter of what its first two steps compiled).
    """
    if LOCAL.tape.dispatches:
        return flambeau.full_like(parameter, -0.0) if negative else flambeau.zeros_like(parameter, memory_format=flambeau.preserve_format)
    state = flambeau.empty_like(parameter, memory_format=flambeau.preserve_format)
    if state.memory.device is not CPU:
        return state
    buffer = state.memory.materialize()
    if negative:
        size = state.layout.dtype.itemsize
        buffer.view(f"u{size}").fill(1 << (8 * size - 1))
    else:
        buffer.view().fill(0)
    return state


def saved(state: Tensor, group: dict[str, Any]) -> Tensor:
    """``state`` as an operand whose value a later backward pass may need: a copy, if the step is differentiable."""
    return state.clone() if group["differentiable"] else state
