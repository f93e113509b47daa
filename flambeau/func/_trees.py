"""Trees of tensors: what functions are given and return, as leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

from flambeau import Tensor
from flambeau._ops.registry import new_tensor
from flambeau.autograd import engine
from flambeau.utils._pytree import tree_flatten


def flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves of nested containers, and what builds the same tree of others."""
    leaves, form = tree_flatten(tree)
    return leaves, form.unflatten


def without_history(tensor: Tensor) -> Tensor:
    """The tensor without the history that it has here; to those who differentiate outside of ``vmap`` it stays what it is, unlike ``detach()``."""
    return new_tensor(tensor.memory, tensor.layout)


def tracked(tree: Any) -> tuple[list[Tensor], Any]:
    """Variables for the tensors of a tree, and the tree of them.

    Raises:
        ValueError: something else is in it.
    """
    leaves, build = flatten(tree)
    variables = []
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise ValueError(f"expected tensors to differentiate by, but got a {type(leaf).__name__}")
        variables.append(leaf.view_as(leaf) if leaf.requires_grad else without_history(leaf).requires_grad_())
    return variables, build(variables)


def has_other_history(tree: Any, variables: Iterable[Tensor]) -> bool:
    """Whether tensors of a tree depend on anything that requires grad besides these variables: somebody else differentiates, too."""
    roots = [leaf.node for leaf in flatten(tree)[0] if isinstance(leaf, Tensor) and leaf.node is not None]
    own = {id(variable.node) for variable in variables if variable.is_leaf}
    return any(not node.inputs and id(node) not in own and node not in _FINISHED for node in engine.order(roots))


_FINISHED: WeakSet = WeakSet()
"""The nodes of variables of derivatives that are computed: what they are in the history of depends on nothing through them."""


def finish(variables: Iterable[Tensor]) -> None:
    """Nobody asks for derivatives by these variables any more."""
    _FINISHED.update(variable.node for variable in variables if variable.is_leaf)


def detached(tree: Any, keep: bool) -> Any:
    """A tree whose tensors have no history, unless it is to be kept."""
    if keep:
        return tree
    leaves, build = flatten(tree)
    return build([without_history(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves])
