"""``Module``, the base of every layer and network."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nn.hooks import RemovableHandle
from flambeau.nn.modules._conversion import Conversion
from flambeau.nn.modules._hooks import GLOBAL, HOOK_DICTS, Hooks, add_hook
from flambeau.nn.modules._members import KINDS, Members
from flambeau.nn.modules._place import add_place
from flambeau.nn.modules._state_dict import StateDict
from flambeau.nn.modules._state_dict import _IncompatibleKeys as _IncompatibleKeys
from flambeau.nn.modules._traversal import Traversal
from flambeau.nn.parameter import Buffer, Parameter

__all__ = [
    "Module",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


class Module(Hooks, StateDict, Conversion, Traversal):
    """A layer or a network: it owns parameters, buffers and child modules, and computes :meth:`forward`.

    Parameters, buffers and modules that are assigned as attributes are registered under their names; registered things take
    part in ``parameters()``, ``state_dict()``, ``to()`` and the like. A subclass calls ``super().__init__()`` first.

    Attributes:
        training: whether the module is in training mode; see :meth:`train`.

    Example:
        >>> class Net(flambeau.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = flambeau.nn.Linear(4, 8)
        ...         self.out = flambeau.nn.Linear(8, 2)
        ...     def forward(self, x):
        ...         return self.out(flambeau.relu(self.hidden(x)))
        >>> Net()(flambeau.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    dump_patches: bool = False
    call_super_init: bool = False
    training: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            name = type(self).__name__
            if kwargs:
                raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        attributes = self.__dict__
        attributes["training"] = True
        attributes["_non_persistent_buffers_set"] = set()
        for kind in KINDS:
            attributes[kind] = Members(self)
        for hooks in HOOK_DICTS:
            attributes[hooks] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it. Call the module, not this, so that hooks run."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooked:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            add_place(error, self, Module.__call__.__code__)
            raise

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: Flambeau compiles every module. It accepts what PyTorch's method accepts."""

    # Registration

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is part of the module's state but is not trained.

        Args:
            name: the attribute under which it is found.
            tensor: the buffer; ``None`` reserves the name.
            persistent: whether ``state_dict()`` holds it.

        Raises:
            KeyError: the name is taken, empty, or has a dot.
            TypeError: the name is not a string, or ``tensor`` not a tensor.
        """
        self._check_name("buffer", name, self.__dict__.get("_buffers"))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)")
        self._buffers[name] = _registered(GLOBAL.buffer_registration, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under ``name``; ``None`` reserves the name.

        Raises:
            KeyError: the name is taken, empty, or has a dot.
            TypeError: the name is not a string, or ``param`` not a parameter.
            ValueError: ``param`` is not a leaf of the graph.
        """
        self._check_name("parameter", name, self.__dict__.get("_parameters"))
        if param is None:
            self._parameters[name] = None
            return
        if not isinstance(param, Parameter):
            raise TypeError(f"cannot assign '{typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None required)")
        if param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. To express "
                f"'{name}' as a function of another Tensor, compute the value in the forward() method."
            )
        self._parameters[name] = _registered(GLOBAL.parameter_registration, self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child module under ``name``; ``None`` reserves the name.

        Raises:
            KeyError: the name is taken, empty, or has a dot.
            TypeError: the name is not a string, or ``module`` not a module.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, self.__dict__.get("_modules"))
        self._modules[name] = _registered(GLOBAL.module_registration, self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as :meth:`add_module`."""
        self.add_module(name, module)

    def _check_name(self, what: str, name: str, members: dict[str, Any] | None) -> None:
        if members is None:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if name in members:
            return
        if "." in name:
            raise KeyError(f'{what} name can\'t contain ".", got: {name}')
        if not name:
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    # Attributes

    def __getattr__(self, name: str) -> Any:
        # Members are found as plain attributes; this is reached where a subclass keeps them in dictionaries of its own.
        attributes = self.__dict__
        for kind in KINDS:
            members = attributes.get(kind)
            if members is not None and name in members:
                return members[name]
        if "_scripted" in attributes and name in ("save", "original_name", "code", "graph", "inlined_graph"):
            from flambeau.jit._script import attribute

            return attribute(self, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        parameters = attributes.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, keep=parameters)
            self.register_parameter(name, value)
            return
        if parameters is None:
            if isinstance(value, Module):
                raise AttributeError("cannot assign module before Module.__init__() call")
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
        elif name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)")
            parameters[name] = None
            return
        elif isinstance(value, Module):
            self._forget(name, keep=self._modules)
            self._modules[name] = _registered(GLOBAL.module_registration, self, name, value)
            return
        elif name in self._modules:
            if value is not None:
                raise TypeError(f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)")
            self._modules[name] = _registered(GLOBAL.module_registration, self, name, None)
            return
        elif name in self._buffers or isinstance(value, Buffer):
            self._set_buffer(name, value)
            return
        elif name in KINDS:
            value = self._replaced_members(name, value)
        object.__setattr__(self, name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"cannot assign '{typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None expected)")
        persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
        if name not in self._buffers:
            self.__dict__.pop(name, None)
        plain = type(self).register_buffer is Module.register_buffer
        if plain or "persistent" in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            raise RuntimeError(
                "Registering a non-persistent buffer on a Module subclass that implements register_buffer() without the persistent "
                "argument is not allowed."
            )

    def _forget(self, name: str, keep: dict[str, Any]) -> None:
        """Removes ``name`` from wherever it is registered, except from ``keep``."""
        if name in keep:
            return
        self.__dict__.pop(name, None)
        for kind in KINDS:
            self.__dict__[kind].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _replaced_members(self, kind: str, members: Any) -> Members:
        """The dictionary ``members`` made a reflecting one, in the place of the present one (whose reflections go)."""
        for name in self.__dict__.get(kind, ()):
            self.__dict__.pop(name, None)
        return Members(self, members)

    def __delattr__(self, name: str) -> None:
        for kind in KINDS:
            if name in self.__dict__.get(kind, ()):
                del self.__dict__[kind][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[0].isdigit())

    # Copies and pickles

    def __getstate__(self) -> dict[str, Any]:
        reflected = {name for kind in KINDS for name in self.__dict__.get(kind, ())}
        return {name: value for name, value in self.__dict__.items() if name not in reflected}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As PyTorch's pickles hold modules: members are in plain dictionaries, and not attributes besides."""
        reduced = super().__reduce_ex__(protocol)
        state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
        if not isinstance(state, dict):
            return reduced
        members = {kind: dict(state[kind]) for kind in KINDS if isinstance(state.get(kind), Members)}
        shown = {name: value for each in members.values() for name, value in each.items()}
        state = {name: value for name, value in state.items() if name not in shown or shown[name] is not value} | members
        return *reduced[:2], state, *reduced[3:]

    def __setstate__(self, state: dict[str, Any]) -> None:
        attributes = self.__dict__
        attributes.update(state)
        attributes.setdefault("_non_persistent_buffers_set", set())
        for hooks in HOOK_DICTS:
            attributes.setdefault(hooks, OrderedDict())
        for kind in KINDS:
            members = attributes.get(kind)
            if members is not None and not (isinstance(members, Members) and members.belongs_to(self)):
                attributes[kind] = Members(self, members)

    # Printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What ``repr`` says about the module beside its children; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indent(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        if not lines and not children:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"


def indent(text: str) -> str:
    """``text`` with two spaces before every line but the first; blank lines lose theirs."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"  {line}" if line.strip() else "" for line in rest)])


def typename(value: Any) -> str:
    """The name of a value's type as error messages give it: with its module, unless that is ``builtins``; of a tensor ``torch.FloatTensor``."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _registered(hooks: dict[int, Callable], module: Module, name: str, value: Any) -> Any:
    for hook in hooks.values():
        answer = hook(module, name, value)
        if answer is not None:
            value = answer
    return value


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` for every buffer that any module registers; it may return another."""
    return add_hook(GLOBAL.buffer_registration, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, name, submodule)`` for every child that any module registers; it may return another."""
    return add_hook(GLOBAL.module_registration, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, name, parameter)`` for every parameter that any module registers; it may return another."""
    return add_hook(GLOBAL.parameter_registration, hook)


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, args)`` before the ``forward`` of every module."""
    Hooks._hooked = True
    return add_hook(GLOBAL.forward_pre, hook)


def register_module_forward_hook(hook: Callable, *, with_kwargs: bool = False, always_call: bool = False) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after the ``forward`` of every module."""
    Hooks._hooked = True
    kwargs, always = GLOBAL.forward_with_kwargs, GLOBAL.forward_always_called
    flags = ((kwargs,) if with_kwargs else ()) + ((always,) if always_call else ())
    return add_hook(GLOBAL.forward, hook, flags=flags, extras=(kwargs, always))


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` in the backward pass of every module."""
    Hooks._hooked = True
    return add_hook(GLOBAL.backward_pre, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` in the backward pass of every module."""
    Hooks._hooked = True
    return add_hook(GLOBAL.backward, hook)
