"""Policies: which parts of a module ``FullyShardedDataParallel`` gathers by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import nn
from flambeau.nn.modules.module import Module

__all__ = [
    "CustomPolicy", "ModuleWrapPolicy", "always_wrap_policy", "enable_wrap", "lambda_auto_wrap_policy", "size_based_auto_wrap_policy",
    "transformer_auto_wrap_policy", "wrap",
]  # fmt: skip


def always_wrap_policy(*args: Any, **kwargs: Any) -> bool:
    """Every part."""
    return True


class ModuleWrapPolicy:
    """Parts of some classes.

    Args:
        module_classes: the classes
    """

    def __init__(self, module_classes: Iterable[type[Module]]) -> None:
        self._module_classes = set(module_classes)

    def __call__(self, module: Module, recurse: bool, *args: Any, **kwargs: Any) -> bool:
        """Whether a part is one, or (``recurse``) whether to look within it."""
        return recurse or isinstance(module, tuple(self._module_classes))

    def __repr__(self) -> str:
        return f"ModuleWrapPolicy({self._module_classes})"


class CustomPolicy:
    """Parts of which a function says so.

    Args:
        lambda_fn: gives for a part ``True``, ``False``, or a dictionary of settings for it
    """

    def __init__(self, lambda_fn: Callable[[Module], bool | dict[str, Any]]) -> None:
        self._lambda_fn = lambda_fn

    def settings(self, module: Module) -> bool | dict[str, Any]:
        """What the function says."""
        return self._lambda_fn(module)


def lambda_auto_wrap_policy(module: Module, recurse: bool, nonwrapped_numel: int, lambda_fn: Callable) -> bool:
    """Parts of which ``lambda_fn`` says so."""
    return recurse or lambda_fn(module)


def transformer_auto_wrap_policy(module: Module, recurse: bool, nonwrapped_numel: int, transformer_layer_cls: set[type[Module]]) -> bool:
    """Parts of some classes."""
    return recurse or isinstance(module, tuple(transformer_layer_cls))


def size_based_auto_wrap_policy(
    module: Module, recurse: bool, nonwrapped_numel: int, min_num_params: int = int(1e8), force_leaf_modules: set[type[Module]] | None = None,
    exclude_wrap_modules: set[type[Module]] | None = None,
) -> bool:  # fmt: skip
    """Parts that have so many elements in parameters of their own, and of parts that are not taken by themselves."""
    leaves = size_based_auto_wrap_policy.FORCE_LEAF_MODULES if force_leaf_modules is None else force_leaf_modules
    excluded = size_based_auto_wrap_policy.EXCLUDE_WRAP_MODULES if exclude_wrap_modules is None else exclude_wrap_modules
    is_large = nonwrapped_numel >= min_num_params
    return is_large and not isinstance(module, tuple(leaves if recurse else excluded))


size_based_auto_wrap_policy.EXCLUDE_WRAP_MODULES = {nn.ModuleList, nn.ModuleDict}
size_based_auto_wrap_policy.FORCE_LEAF_MODULES = {nn.MultiheadAttention}


def wrap_parts(module: Module, policy: Any, make: Callable[..., Module], skipped: Callable[[Module], bool]) -> int:
    """Wrap the parts of a module that a policy wants, innermost first, in place; how many elements of parameters are in wrapped ones.

    Args:
        make: ``make(part, **settings)``
        skipped: which parts stay as they are, with all within
    """
    wrapped = 0
    for name, child in list(module.named_children()):
        if skipped(child):
            continue
        numel = sum(each.numel() for each in child.parameters())
        within = 0
        if isinstance(policy, CustomPolicy) or policy(module=child, recurse=True, nonwrapped_numel=numel):
            within = wrap_parts(child, policy, make, skipped)
        settings = (
            policy.settings(child)
            if isinstance(policy, CustomPolicy)
            else policy(module=child, recurse=False, nonwrapped_numel=numel - within)
        )
        if settings:
            module._modules[name] = make(child, **(settings if isinstance(settings, dict) else {}))
            within = numel
        wrapped += within
    return wrapped


_CONTEXT: list[tuple[Callable[..., Module], dict[str, Any]]] = []


@contextmanager
def enable_wrap(*, wrapper_cls: Any, **wrapper_kwargs: Any) -> Iterator[None]:
    """A context in which ``wrap(module)`` wraps, with these settings."""
    _CONTEXT.append((wrapper_cls, wrapper_kwargs))
    try:
        yield
    finally:
        _CONTEXT.pop()


def wrap(module: Module, **wrap_overrides: Any) -> Module:
    """The module wrapped as the innermost ``enable_wrap`` says; itself, outside of one."""
    if not _CONTEXT:
        return module
    wrapper, settings = _CONTEXT[-1]
    return wrapper(module, **{**settings, **wrap_overrides})
