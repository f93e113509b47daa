"""Hooks: functions that a module, or every module, calls around its forward and backward passes."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nn.hooks import BackwardHook, RemovableHandle


class GlobalHooks:
    """The hooks that hold for every module."""

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, Callable] = OrderedDict()
        self.forward: OrderedDict[int, Callable] = OrderedDict()
        self.forward_with_kwargs: OrderedDict[int, bool] = OrderedDict()
        self.forward_always_called: OrderedDict[int, bool] = OrderedDict()
        self.backward_pre: OrderedDict[int, Callable] = OrderedDict()
        self.backward: OrderedDict[int, Callable] = OrderedDict()
        self.buffer_registration: OrderedDict[int, Callable] = OrderedDict()
        self.module_registration: OrderedDict[int, Callable] = OrderedDict()
        self.parameter_registration: OrderedDict[int, Callable] = OrderedDict()


GLOBAL = GlobalHooks()


def add_hook(hooks: OrderedDict, hook: Callable, flags: tuple = (), extras: tuple = (), prepend: bool = False) -> RemovableHandle:
    """Adds ``hook`` to ``hooks`` and its id to each of ``flags``; the handle removes it from ``extras`` too."""
    handle = RemovableHandle(hooks, extra_dict=extras or None)
    hooks[handle.id] = hook
    for flag in flags:
        flag[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class WrappedHook:
    """A hook that is given its module as first argument, and holds it weakly."""

    def __init__(self, hook: Callable, module: Any = None) -> None:
        self.hook = hook
        functools.update_wrapper(self, hook)
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.module is None:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {"hook": self.hook, "module": None if self.module is None else self.module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.hook = state["hook"]
        self.module = None if state["module"] is None else weakref.ref(state["module"])


class Hooks:
    """The part of :class:`Module` that keeps hooks and calls them.

    ``_hooked`` is the one thing that a call without hooks looks at. It is set on the instance when a hook is registered on
    it, and on this class while there are global hooks; a call that finds no hooks left takes it back.
    """

    _hooked = False
    _is_full_backward_hook: bool | None = None
    forward: Callable

    def _hook(self, hooks: OrderedDict, hook: Callable, **options: Any) -> RemovableHandle:
        self.__dict__["_hooked"] = True
        return add_hook(hooks, hook, **options)

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Calls ``hook(module, args)`` before each ``forward``; what it returns replaces the arguments.

        Args:
            hook: returns ``None``, the new arguments as a tuple, or one new argument. With ``with_kwargs`` it is called as
                ``hook(module, args, kwargs)`` and returns ``None`` or ``(args, kwargs)``.
            prepend: whether it comes before the hooks that are there already.
            with_kwargs: whether it wants the keyword arguments.
        """
        flags = (self._forward_pre_hooks_with_kwargs,)
        return self._hook(self._forward_pre_hooks, hook, flags=flags if with_kwargs else (), extras=flags, prepend=prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after each ``forward``; what it returns, unless ``None``, replaces the output.

        Args:
            hook: with ``with_kwargs`` it is called as ``hook(module, args, kwargs, output)``.
            prepend: whether it comes before the hooks that are there already.
            with_kwargs: whether it wants the keyword arguments.
            always_call: whether it is called even if ``forward`` raised; ``output`` is then ``None``.
        """
        kwargs, always = self._forward_hooks_with_kwargs, self._forward_hooks_always_called
        flags = ((kwargs,) if with_kwargs else ()) + ((always,) if always_call else ())
        return self._hook(self._forward_hooks, hook, flags=flags, extras=(kwargs, always), prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` once the gradients of the outputs are known; it may return others."""
        return self._hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The forerunner of :meth:`register_full_backward_hook`: ``hook(module, grad_input, grad_output)`` at the last operator alone.

        ``grad_output`` and ``grad_input`` are the gradients of that operator's results and operands (parameters are among them, in the
        operator's own order), whatever else the module has computed before it.
        """
        self._use_full_backward_hooks(False)
        return self._hook(self._backward_hooks, hook)

    def _use_full_backward_hooks(self, full: bool) -> None:
        if self._is_full_backward_hook is not None and self._is_full_backward_hook is not full:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only one of them."
            )
        self._is_full_backward_hook = full

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` once the gradients of the inputs are known; it may return others.

        ``grad_input`` has an entry per positional argument, ``None`` for those that are not tensors.
        """
        self._use_full_backward_hooks(True)
        return self._hook(self._backward_hooks, hook, prepend=prepend)

    def _call_with_hooks(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        if not (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or GLOBAL.forward
            or GLOBAL.forward_pre
            or GLOBAL.backward
            or GLOBAL.backward_pre
        ):
            self.__dict__.pop("_hooked", None)
            Hooks._hooked = False
            return self.forward(*args, **kwargs)
        call = _HookedCall(self, args, kwargs)
        try:
            return call.run()
        except Exception:
            call.run_always_called()
            raise


HOOK_DICTS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class _HookedCall:
    """One call of a module that has hooks."""

    def __init__(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.called: set[int] = set()

    def run(self) -> Any:
        module = self.module
        own = list(module._backward_hooks.values())
        at_last_node = own if module._is_full_backward_hook is False else []
        backward_hooks = [*GLOBAL.backward.values(), *([] if at_last_node else own)]
        backward_pre_hooks = [*GLOBAL.backward_pre.values(), *module._backward_pre_hooks.values()]
        self._before()
        taps = BackwardHook(module, backward_hooks, backward_pre_hooks) if backward_hooks or backward_pre_hooks else None
        if taps is not None:
            self.args = taps.setup_input_hook(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        self._after()
        if taps is not None:
            if not isinstance(self.result, (Tensor, tuple)):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                    f"{type(self.result)}",
                    stacklevel=4,
                )
            self.result = taps.setup_output_hook(self.result)
        if at_last_node:
            self._listen_at_last_node(at_last_node)
        return self.result

    def _listen_at_last_node(self, hooks: list[Callable]) -> None:
        """Let regular backward hooks hear of the gradients at the operator that made the (first) result."""
        first = self.result
        while not isinstance(first, Tensor):
            if not first or not isinstance(first, (dict, list, tuple)):
                return
            first = next(iter(first.values())) if isinstance(first, dict) else first[0]
        if first.grad_fn is not None:
            for hook in hooks:
                first.grad_fn.register_hook(WrappedHook(hook, self.module))

    def _before(self) -> None:
        module = self.module
        for key, hook in (*GLOBAL.forward_pre.items(), *module._forward_pre_hooks.items()):
            if key in module._forward_pre_hooks_with_kwargs:
                answer = hook(module, self.args, self.kwargs)
                if answer is not None:
                    if not (isinstance(answer, tuple) and len(answer) == 2):
                        raise RuntimeError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {answer}.")
                    self.args, self.kwargs = answer
            else:
                answer = hook(module, self.args)
                if answer is not None:
                    self.args = answer if isinstance(answer, tuple) else (answer,)

    def _after(self) -> None:
        for key, hook in (*GLOBAL.forward.items(), *self.module._forward_hooks.items()):
            self.called.add(key)
            self._call_forward_hook(key, hook)

    def _call_forward_hook(self, key: int, hook: Callable) -> None:
        module = self.module
        if key in module._forward_hooks_with_kwargs or key in GLOBAL.forward_with_kwargs:
            answer = hook(module, self.args, self.kwargs, self.result)
        else:
            answer = hook(module, self.args, self.result)
        if answer is not None:
            self.result = answer

    def run_always_called(self) -> None:
        """After an error: the hooks that are always called and have not been; an error of theirs is reported as a warning."""
        module = self.module
        for key, hook in (*GLOBAL.forward.items(), *module._forward_hooks.items()):
            always = key in GLOBAL.forward_always_called or key in module._forward_hooks_always_called
            if always and key not in self.called:
                try:
                    self._call_forward_hook(key, hook)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced as another error "
                        f"was raised in forward: {error}",
                        stacklevel=4,
                    )
