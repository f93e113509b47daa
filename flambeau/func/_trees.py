"""Trees of tensors: what functions are given and return, as leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flambeau import Tensor
from flambeau.autograd import engine
from flambeau.utils._pytree import tree_flatten


def flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves of nested containers, and what builds the same tree of others."""
    leaves, form = tree_flatten(tree)
    return leaves, form.unflatten


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
        variables.append(leaf.view_as(leaf) if leaf.requires_grad else leaf.detach().requires_grad_())
    return variables, build(variables)


def has_other_history(tree: Any, variables: Iterable[Tensor]) -> bool:
    """Whether tensors of a tree depend on anything that requires grad besides these variables: somebody else differentiates, too."""
    roots = [leaf.node for leaf in flatten(tree)[0] if isinstance(leaf, Tensor) and leaf.node is not None]
    own = {id(variable.node) for variable in variables if variable.is_leaf}
    return any(not node.inputs and id(node) not in own for node in engine.order(roots))


def detached(tree: Any, keep: bool) -> Any:
    """A tree whose tensors have no history, unless it is to be kept."""
    if keep:
        return tree
    leaves, build = flatten(tree)
    return build([leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves])
