"""Which modules a program is in at the moment, in the forward pass and in the backward pass."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from flambeau import Tensor
from flambeau.autograd.engine import PASS
from flambeau.autograd.graph import register_multi_grad_hook
from flambeau.nn import Module
from flambeau.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from flambeau.utils._pytree import tree_leaves
from flambeau.utils.weak import WeakIdKeyDictionary

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """Keeps the set of the modules that are running, within a context.

    A module is named by its path below the outermost module that was called, which is named by its class. In the backward pass a module
    begins when the gradients of its outputs are known, and ends with those of its inputs (of its parameters, if no input needs one).

    Attributes:
        parents: the names, and `Global`

    Example:
        >>> import flambeau
        >>> from flambeau.utils.module_tracker import ModuleTracker
        >>> network = flambeau.nn.Sequential(flambeau.nn.Linear(2, 2))
        >>> handle = network[0].register_forward_hook(lambda *call: print(sorted(tracker.parents)))
        >>> with ModuleTracker() as tracker:
        ...     y = network(flambeau.ones(2))
        ['Global', 'Sequential']
    """

    def __init__(self) -> None:
        self._running: list[str] = []
        self._backward: set[str] = set()
        self._pass: Any = ()
        self._names: Any = WeakIdKeyDictionary()
        self._hooks = ExitStack()

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass is going on in this thread."""
        return bool(PASS.nodes)

    @property
    def parents(self) -> set[str]:
        if PASS.nodes is not self._pass:  # what an earlier pass has begun ended with it
            self._backward, self._pass = set(), PASS.nodes
        return {"Global", *self._running, *self._backward}

    def __enter__(self) -> ModuleTracker:
        for handle in (register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._end, always_call=True)):
            self._hooks.enter_context(handle)
        return self

    def __exit__(self, *exc: object) -> None:
        self._hooks.close()
        self._running.clear()

    def _name(self, module: Module) -> str:
        if module not in self._names:
            outermost = type(module).__name__
            for path, each in module.named_modules():
                if each not in self._names:
                    self._names[each] = f"{outermost}.{path}" if path else outermost
        return self._names[module]

    def _begin(self, module: Module, args: Any) -> None:
        name = self._name(module)
        self._running.append(name)
        ends = _tracked(args) or [each for each in module.parameters() if each.requires_grad]
        self._on_gradients(ends, lambda: self._backward.discard(name))

    def _end(self, module: Module, args: Any, output: Any) -> None:
        name = self._name(module)
        if self._running and self._running[-1] == name:
            self._running.pop()
        self._on_gradients(_tracked(output), lambda: self._backward.add(name))

    def _on_gradients(self, tensors: list[Tensor], step: Any) -> None:
        """Take a step in each backward pass that reaches these tensors."""

        def hook(grads: Any) -> None:
            self.parents  # noqa: B018 - forgets what belongs to an earlier pass
            step()

        if tensors:
            register_multi_grad_hook(tensors, hook)


def _tracked(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.requires_grad]
