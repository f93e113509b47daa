"""Saving a module's state to a dictionary and loading it back."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.hooks import RemovableHandle
from flambeau.nn.modules import _conversion
from flambeau.nn.modules._hooks import WrappedHook, add_hook
from flambeau.nn.parameter import Parameter, is_lazy

EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(NamedTuple("IncompatibleKeys", [("missing_keys", list), ("unexpected_keys", list)])):
    """What ``load_state_dict`` returns: the keys that the module wanted and did not find, and the other way round."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class StateDict:
    """The part of :class:`Module` that saves and loads."""

    _version: int = 1

    def get_extra_state(self) -> Any:
        """Returns what else belongs into the state dictionary; override it together with :meth:`set_extra_state`."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: get_extra_state() is called only where it is overridden")

    def set_extra_state(self, state: Any) -> None:
        """Takes back what :meth:`get_extra_state` returned; called by ``load_state_dict``."""
        raise RuntimeError(f"{type(self).__name__} has no extra state: set_extra_state() is called only where it is overridden")

    def _overrides(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(StateDict, name)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was previously registered via "
                "register_state_dict_post_hook"
            )
        return add_hook(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(module, state_dict, prefix, local_metadata)`` after ``state_dict()``; it may change the dictionary."""
        hook._from_public_api = True
        return add_hook(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(module, prefix, keep_vars)`` before ``state_dict()``."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return add_hook(self._load_state_dict_pre_hooks, WrappedHook(hook, self if with_module else None))

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook`` before the module loads its own entries.

        Its arguments are ``(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)``;
        it may change ``state_dict`` and the lists.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Calls ``hook(module, incompatible_keys)`` after the module has been loaded; it may change the two lists in place."""
        return add_hook(self._load_state_dict_post_hooks, hook)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Adds the module's own entries (not its children's) to ``destination``."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if self._overrides("get_extra_state"):
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """Returns a dictionary from paths to the module's parameters and persistent buffers.

        The tensors share memory with the module's. The dictionary's attribute ``_metadata`` holds each module's version.

        Args:
            destination: the dictionary to add to, instead of a new one.
            prefix: what every key starts with.
            keep_vars: whether parameters are returned as they are instead of detached.

        Example:
            >>> list(flambeau.nn.Linear(2, 3).state_dict())
            ['weight', 'bias']
        """
        if args:  # deprecated, but subclasses and old code still pass them by position
            warnings.warn("Positional args are being deprecated, use kwargs instead.", FutureWarning, stacklevel=2)
            positional = dict(zip(("destination", "prefix", "keep_vars"), args))
            return self.state_dict(**{"destination": destination, "prefix": prefix, "keep_vars": keep_vars, **positional})
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            answer = hook(self, destination, prefix, metadata)
            if answer is not None:
                if getattr(hook, "_from_public_api", False):
                    raise RuntimeError("state_dict post-hook must return None")
                destination = answer
        return destination

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> _IncompatibleKeys:
        """Copies the tensors of ``state_dict`` into the module's parameters and buffers.

        Args:
            state_dict: what ``state_dict()`` of such a module returned.
            strict: whether the keys must be exactly the module's.
            assign: whether the module takes the tensors themselves instead of copying their values, with their dtypes; the
                module's optimizer must then be made afterwards.

        Returns:
            A named tuple ``(missing_keys, unexpected_keys)``.

        Raises:
            RuntimeError: shapes differ, or, if ``strict``, keys do; every problem is listed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        loading = _Loading(state_dict, assign)
        loading.load(self, loading.state_dict, "")
        return loading.finish(self, strict)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads the module's own entries (not its children's); override it to read what an older version wrote.

        Problems go into the three lists. ``local_metadata.get("version")`` is the version of the module that was saved.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = {name: parameter for name, parameter in self._parameters.items() if parameter is not None}
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                own[name] = buffer
        for name, target in own.items():
            key = prefix + name
            if key in state_dict:
                problem = self._load_tensor(name, key, target, state_dict[key], assign)
                if problem is not None:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        extra_key = prefix + EXTRA_STATE
        if self._overrides("set_extra_state"):
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else own):
                        unexpected_keys.append(key)

    def _load_tensor(self, name: str, key: str, target: Tensor, source: Any, assign: bool) -> str | None:
        """Loads one tensor; returns what went wrong, if anything did."""
        if not isinstance(source, Tensor):
            return (
                f'While copying the parameter named "{key}", expected flambeau.Tensor or Tensor-like object from checkpoint but '
                f"received {type(source)}"
            )
        if not is_lazy(target):
            if target.dim() == 0 and source.dim() == 1 and source.shape[0] == 1:
                source = source[0]
            if source.shape != target.shape:
                return (
                    f"size mismatch for {key}: copying a param with shape {source.shape} from checkpoint, the shape in current "
                    f"model is {target.shape}."
                )
        if target.is_meta and not source.is_meta and not assign:
            warnings.warn(
                f"{key} is on the meta device, where nothing can be copied to, so that it is not loaded: pass assign=True, or give the module "
                "memory with to_empty(device='cpu') first",
                stacklevel=2,
            )
        try:
            with flambeau.no_grad():
                if _conversion.SWAPS and not is_lazy(target):
                    made = target.module_load(source, assign=assign)
                    if isinstance(target, Parameter) and not isinstance(made, Parameter):
                        made = Parameter(made, target.requires_grad)
                    flambeau.utils.swap_tensors(target, made.requires_grad_(target.requires_grad))
                elif not assign:
                    target.copy_(source)
                elif not isinstance(target, Parameter):
                    setattr(self, name, source)
                elif isinstance(source, Parameter):
                    setattr(self, name, source.requires_grad_(target.requires_grad))
                else:
                    setattr(self, name, Parameter(source, requires_grad=target.requires_grad))
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {target.size()} and whose '
                f"dimensions in the checkpoint are {source.size()}, an exception occurred : {error.args}."
            )
        return None


class _Loading:
    """One call of ``load_state_dict``: what is loaded and what went wrong."""

    def __init__(self, state_dict: Mapping[str, Any], assign: bool) -> None:
        self.metadata = getattr(state_dict, "_metadata", None)
        self.state_dict: Any = OrderedDict(state_dict)
        if self.metadata is not None:
            self.state_dict._metadata = self.metadata
        self.assign = assign
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []

    def load(self, module: Any, state_dict: dict[str, Any], prefix: str) -> None:
        metadata = {} if self.metadata is None else self.metadata.get(prefix[:-1], {})
        if self.assign:
            metadata["assign_to_params_buffers"] = True
        module._load_from_state_dict(state_dict, prefix, metadata, True, self.missing, self.unexpected, self.errors)
        for name, child in module._modules.items():
            if child is not None:
                child_prefix = f"{prefix}{name}."
                below = {key: value for key, value in state_dict.items() if key.startswith(child_prefix)}
                self.load(child, below, child_prefix)
        keys = _IncompatibleKeys(self.missing, self.unexpected)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values: "
                    "change incompatible_keys in place."
                )

    def finish(self, module: Any, strict: bool) -> _IncompatibleKeys:
        errors = list(self.errors)
        if strict:
            if self.unexpected:
                errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(self.unexpected)}. ")
            if self.missing:
                errors.insert(0, f"Missing key(s) in state_dict: {_quoted(self.missing)}. ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors))
        return _IncompatibleKeys(self.missing, self.unexpected)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
