"""``Optimizer``, the base of all optimizers, and ``StepwiseOptimizer``, the base of those that treat each parameter on its own."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from ctypes import c_double, c_float
from itertools import chain
from typing import Any

import numpy

import flambeau
from flambeau import _tape
from flambeau._tensor.tensor import Tensor
from flambeau._types.device import CPU
from flambeau._types.dtype import COMPLEX
from flambeau._types.layout import Layout
from flambeau.nn.hooks import RemovableHandle
from flambeau.nn.modules.module import typename
from flambeau.optim._outside import ParamsT as ParamsT
from flambeau.optim._outside import _default_to_fused_or_foreach as _default_to_fused_or_foreach
from flambeau.optim._outside import _get_capturable_supported_devices as _get_capturable_supported_devices
from flambeau.optim._outside import _use_grad_for_differentiable as _use_grad_for_differentiable

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_GLOBAL_PRE_HOOKS: OrderedDict[int, Callable] = OrderedDict()
_GLOBAL_POST_HOOKS: OrderedDict[int, Callable] = OrderedDict()

_HOOK_DICTS = tuple(
    f"_optimizer_{name}_hooks"
    for name in ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")
)


def _add(hooks: OrderedDict, hook: Callable, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` before the step of every optimizer."""
    return _add(_GLOBAL_PRE_HOOKS, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` after the step of every optimizer."""
    return _add(_GLOBAL_POST_HOOKS, hook)


def _with_hooks(step: Callable) -> Callable:
    """``step`` with its hooks around it, and the tape's boundary behind it.

    The end of a step is where a training loop's iteration ends: what was recorded since the last one (forward, backward and
    the update) is computed as one program.
    """

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self.__dict__.get("_stepping", "_optimizer_step_pre_hooks" not in self.__dict__):
            # The step() of a base class, called by a subclass; or of a class that holds an optimizer and never became one itself.
            return step(self, *args, **kwargs)
        self._stepping = self._opt_called = True  # the latter is for learning-rate schedulers, which come after a step
        try:
            for hook in chain(_GLOBAL_PRE_HOOKS.values(), self._optimizer_step_pre_hooks.values()):
                answer = hook(self, (self, *args), kwargs)
                if answer is not None:
                    if not (isinstance(answer, tuple) and len(answer) == 2):
                        raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {answer}.")
                    (_, *args), kwargs = answer
            result = step(self, *args, **kwargs)
            for hook in chain(self._optimizer_step_post_hooks.values(), _GLOBAL_POST_HOOKS.values()):
                hook(self, (self, *args), kwargs)
        finally:
            self._stepping = False
        _tape.boundary()
        return result

    return wrapper


class Optimizer:
    """Holds parameters in groups, each group with its settings, and a state for each parameter.

    Args:
        params: parameters, ``(name, parameter)`` pairs, or dictionaries with ``"params"`` and the group's settings.
        defaults: the settings of groups that have none of their own.

    Attributes:
        param_groups: the groups, a list of dictionaries.
        state: a dictionary for each parameter.

    A subclass defines :meth:`step`.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for hooks in _HOOK_DICTS:
            setattr(self, hooks, OrderedDict())
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got " + typename(params))
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        _tape.boundary()  # what made the parameters is no part of the first step, which is the same program as those after it

    def step(self, closure: Callable | None = None) -> Any:
        """Updates the parameters.

        Args:
            closure: computes the loss anew, with its gradients, and returns it.

        Returns:
            What ``closure`` returned, or ``None``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes the gradients of all parameters, or fills them with zeros if ``set_to_none`` is off."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                if set_to_none:
                    parameter.grad = None
                else:
                    if gradient.grad_fn is not None:
                        gradient.detach_()
                    else:
                        gradient.requires_grad_(False)
                    gradient.zero_()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group: a dictionary with ``"params"`` and whatever settings differ from the defaults.

        Raises:
            TypeError: the group is not a dictionary, or its parameters are not tensors or in no order.
            ValueError: a parameter is not a leaf, or belongs to another group; or a setting is missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets will change "
                "between runs. Please use a list instead."
            )
        params = [params] if isinstance(params, Tensor) else list(params)
        names = [item[0] for item in params if isinstance(item, tuple)]
        if names:
            if len(names) != len(params):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = names
            params = [item[1] for item in params]
        param_group["params"] = params
        for parameter in params:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {typename(parameter)}")
            if not self.defaults.get("differentiable") and not (parameter.is_leaf or parameter.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        self._check_new(param_group)
        self.param_groups.append(param_group)

    def _check_new(self, param_group: dict[str, Any]) -> None:
        mine = set(param_group["params"])
        if len(mine) != len(param_group["params"]):
            warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=4)
        named = "param_names" in param_group
        for group in self.param_groups:
            if named != ("param_names" in group):
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{'with' if named else 'without'} names to the optimizer"
                )
            if not mine.isdisjoint(group["params"]):
                raise ValueError("some parameters appear in more than one parameter group")

    # Hooks

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step; it may return other arguments."""
        return _add(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step."""
        return _add(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before ``state_dict()``."""
        return _add(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after ``state_dict()``; it may return another dictionary."""
        return _add(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before ``load_state_dict()``; it may return another dictionary."""
        return _add(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after ``load_state_dict()``."""
        return _add(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # State

    def state_dict(self) -> dict[str, Any]:
        """Returns ``{"state": ..., "param_groups": ...}``, in which parameters are numbered in the order of the groups."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            packed = {name: value for name, value in group.items() if name != "params"}
            for i, parameter in enumerate(group["params"], start):
                numbers.setdefault(id(parameter), i)
            packed["params"] = [numbers[id(parameter)] for parameter in group["params"]]
            start += len(packed["params"])
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            answer = hook(self, result)
            if answer is not None:
                result = answer
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the state and the settings from ``state_dict``; state is cast to the parameters' dtypes.

        Raises:
            ValueError: the groups have other sizes.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            answer = hook(self, state_dict)
            if answer is not None:
                state_dict = answer
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has a different number of parameter groups: {len(saved)} instead of {len(self.param_groups)}"
            )
        parameters: dict[int, Tensor] = {}
        for i, (old, new) in enumerate(zip(self.param_groups, saved)):
            if len(old["params"]) != len(new["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: group "
                    f"{i} has {len(new['params'])} parameters instead of {len(old['params'])}"
                )
            parameters.update(zip(new["params"], old["params"]))
            new["params"] = old["params"]
            if "param_names" in old:
                new.setdefault("param_names", old["param_names"])
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in parameters:
                state[parameters[key]] = _cast(parameters[key], value)
            else:
                state[key] = value
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for hooks in _HOOK_DICTS:
            self.__dict__.setdefault(hooks, OrderedDict())
        # A checkpoint of another version may lack settings.
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"


def _cast(parameter: Tensor, value: Any, key: Any = None) -> Any:
    """State with its tensors in the parameter's dtype and on its device; step counts stay as they are."""
    if isinstance(value, Tensor):
        if key == "step":
            return value
        if parameter.is_floating_point():
            return value.to(dtype=parameter.dtype, device=parameter.device)
        return value.to(device=parameter.device)
    if isinstance(value, dict):
        return {name: _cast(parameter, item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(parameter, item) for item in value)
    return value


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
        if known is not None and known.version == tensor._version:
            return known.value
        return float(tensor)

    def make(self, value: float, holders: int = 1) -> Tensor:
        """The tensor that holds ``value``, rounded to its dtype, for so many parameters more."""
        value = float(self.round(value))
        made = self._made.get(value)
        if made is None:
            tensor = flambeau.tensor(value, dtype=self._dtype, device=CPU)
            made = self._made[value] = self._last[id(tensor)] = _Made(tensor, tensor._version, value)
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
        names = None if group.get("differentiable") else self._state_names(group)
        batches: dict[int, tuple[Any, list, list]] = {}  # by the tensor that counts the steps, which most parameters share
        alone = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state.get(parameter)
            if not state:
                state = self._new_state(parameter, group)
                if state:
                    self.state[parameter] = state
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


def check_settings(lr: Any, eps: float = 0.0, weight_decay: float = 0.0, betas: Iterable[float] = (), **others: float) -> None:
    """Checks what every optimizer asks of its settings.

    Raises:
        ValueError: a setting is out of its range.
    """
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if not eps >= 0.0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for name, value in others.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
    if not weight_decay >= 0.0:
        raise ValueError(f"Invalid weight_decay value: {weight_decay}")


def check_implementation(foreach: bool | None, fused: bool | None, differentiable: bool) -> None:
    """Checks the settings that choose between PyTorch's implementations. Flambeau has one, which fuses.

    Raises:
        RuntimeError: two of them exclude each other.
    """
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def number(value: Any) -> Any:
    """A setting that may be a tensor of one element, as a number."""
    return value.item() if isinstance(value, Tensor) else value


def zeros_like(parameter: Tensor, negative: bool = False) -> Tensor:
    """State that begins with zeros (-0.0 if ``negative``, for real dtypes), laid out in memory as its parameter is.

    It is memory from the start: recorded zeros would make the first step another program than the second, with kernels that no later step calls
    (a ResNet-50 had 31, a quarter of what its first two steps compiled).
    """
    state = flambeau.empty_like(parameter, memory_format=flambeau.preserve_format)
    if state.is_meta:
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
