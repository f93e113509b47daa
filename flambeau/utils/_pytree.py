"""Trees: nested containers as a list of leaves and a description of what held them.

Packages import this module although its name begins with an underscore, hence PyTorch's names and meanings.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "Context", "GetAttrKey", "LeafSpec", "MappingKey", "PyTree", "SequenceKey", "TreeSpec", "keystr", "register_pytree_node", "tree_all", "tree_all_only", "tree_any",
    "tree_any_only", "tree_flatten", "tree_flatten_with_path", "tree_iter", "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_", "tree_map_only",
    "tree_map_only_", "tree_map_with_path", "tree_structure", "tree_unflatten",
]  # fmt: skip

PyTree = Any
Context = Any
IsLeaf = Callable[[PyTree], bool] | None

# -- kinds of nodes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceKey:
    """The way from a list, tuple or deque to one of its elements."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        return sequence[self.idx]


@dataclass(frozen=True)
class MappingKey:
    """The way from a dictionary to one of its values."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        return mapping[self.key]


@dataclass(frozen=True)
class GetAttrKey:
    """The way from a named tuple to one of its fields."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, owner: Any) -> Any:
        return getattr(owner, self.name)


class NodeDef(NamedTuple):
    """How nodes of one type come apart (`flatten_fn`: children and context) and together again (`unflatten_fn`)."""

    type: Any
    flatten_fn: Callable[[Any], tuple[list[Any], Context]]
    unflatten_fn: Callable[[Iterable[Any], Context], Any]
    keys: Callable[[Any], list[Any]] | None = None


def _indices(node: Any) -> list[Any]:
    return [SequenceKey(index) for index in range(len(node))]


def _mapping_keys(node: Any) -> list[Any]:
    return [MappingKey(key) for key in node]


def _mapping(node: Any) -> tuple[list[Any], Context]:
    return list(node.values()), list(node)


# Under these names dictionaries of other classes are registered, which come apart as `dict` does.


def _dict_flatten(d: dict) -> tuple[list[Any], Context]:
    return _mapping(d)


def _dict_flatten_with_keys(d: dict) -> tuple[list[tuple[Any, Any]], Context]:
    children, context = _mapping(d)
    return list(zip(_mapping_keys(d), children)), context


def _dict_unflatten(values: Iterable[Any], context: Context) -> dict:
    return dict(zip(context, values))


SUPPORTED_NODES: dict[Any, NodeDef] = {
    node.type: node
    for node in (
        NodeDef(tuple, lambda node: (list(node), None), lambda children, context: tuple(children), _indices),
        NodeDef(
            namedtuple,
            lambda node: (list(node), type(node)),
            lambda children, context: context(*children),
            lambda node: [GetAttrKey(name) for name in node._fields],
        ),
        NodeDef(list, lambda node: (node, None), lambda children, context: list(children), _indices),
        NodeDef(dict, _mapping, _dict_unflatten, _mapping_keys),
        NodeDef(OrderedDict, _mapping, lambda children, context: OrderedDict(zip(context, children)), _mapping_keys),
        NodeDef(
            defaultdict,
            lambda node: (list(node.values()), [node.default_factory, list(node)]),
            lambda children, context: defaultdict(context[0], zip(context[1], children)),
            _mapping_keys,
        ),
        NodeDef(deque, lambda node: (list(node), node.maxlen), lambda children, context: deque(children, maxlen=context), _indices),
    )
}
"""What is a node, by its exact type (named tuples by `namedtuple`); everything else is a leaf."""


def register_pytree_node(
    cls: type, flatten_fn: Callable[[Any], tuple[list[Any], Context]], unflatten_fn: Callable[[Iterable[Any], Context], Any], *,
    serialized_type_name: str | None = None, to_dumpable_context: Callable | None = None, from_dumpable_context: Callable | None = None,
    flatten_with_keys_fn: Callable[[Any], tuple[list[Any], Context]] | None = None,
) -> None:  # fmt: skip
    """Let objects of a class be nodes. The names for serialized trees are taken and not used: trees are not serialized here.

    Raises:
        ValueError: the class is a kind of node already
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    keys = None if flatten_with_keys_fn is None else lambda node: [key for key, _ in flatten_with_keys_fn(node)[0]]
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, keys)


_register_pytree_node = register_pytree_node


def _get_node_type(tree: PyTree) -> Any:
    """What a tree would be found under in `SUPPORTED_NODES`."""
    return namedtuple if isinstance(tree, tuple) and hasattr(tree, "_fields") and type(tree) not in SUPPORTED_NODES else type(tree)


def _kind(tree: PyTree, is_leaf: IsLeaf) -> NodeDef | None:
    """How a tree comes apart; nothing for a leaf."""
    return None if is_leaf is not None and is_leaf(tree) else SUPPORTED_NODES.get(_get_node_type(tree))


# -- specifications ----------------------------------------------------------------------------------------------------


@dataclass
class TreeSpec:
    """What a tree is without its leaves: the type of its root, what that needs besides children, and the children's specifications."""

    type: Any
    context: Context
    children_specs: list[TreeSpec]
    num_nodes: int = field(init=False, compare=False, repr=False)
    num_leaves: int = field(init=False, compare=False, repr=False)
    num_children: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        leaf = self.type is None
        self.num_children = len(self.children_specs)
        self.num_nodes = 1 + sum(spec.num_nodes for spec in self.children_specs)
        self.num_leaves = 1 if leaf else sum(spec.num_leaves for spec in self.children_specs)

    def __hash__(self) -> int:
        return hash((self.type, repr(self.context), tuple(self.children_specs)))

    def is_leaf(self) -> bool:
        return self.type is None

    def children(self) -> list[TreeSpec]:
        return list(self.children_specs)

    def child(self, index: int) -> TreeSpec:
        return self.children_specs[index]

    def unflatten(self, leaves: Iterable[Any]) -> PyTree:
        """The tree of this form with other leaves.

        Raises:
            ValueError: there are more or fewer leaves than the tree has
        """
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(f"the tree has {self.num_leaves} leaves, but {len(leaves)} were given: {self}")
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> PyTree:
        if self.type is None:
            return next(leaves)
        return SUPPORTED_NODES[self.type].unflatten_fn([spec._build(leaves) for spec in self.children_specs], self.context)

    def flatten_up_to(self, tree: PyTree) -> list[PyTree]:
        """The subtrees of a tree where this form has its leaves.

        Raises:
            ValueError: the tree has not got this form
        """
        if self.type is None:
            return [tree]
        kind = _kind(tree, None)
        if kind is None or kind.type is not self.type:
            raise ValueError(f"expected a node of {self.type.__name__}, but got {type(tree).__name__}")
        children, context = kind.flatten_fn(tree)
        if len(children) != self.num_children or context != self.context:
            raise ValueError(
                f"expected a {self.type.__name__} of {self.num_children} children with {self.context}, got {len(children)} with {context}"
            )
        return [leaf for spec, child in zip(self.children_specs, children) for leaf in spec.flatten_up_to(child)]


class LeafSpec(TreeSpec):
    """A tree that is one leaf."""

    def __init__(self) -> None:
        super().__init__(None, None, [])

    __hash__ = TreeSpec.__hash__

    def __repr__(self) -> str:
        return "*"


_LEAF = LeafSpec()

# -- there and back ----------------------------------------------------------------------------------------------------


def tree_flatten(tree: PyTree, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree from left to right, and its form."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, is_leaf, leaves)


def _flatten(tree: PyTree, is_leaf: IsLeaf, leaves: list[Any]) -> TreeSpec:
    kind = _kind(tree, is_leaf)
    if kind is None:
        leaves.append(tree)
        return _LEAF
    children, context = kind.flatten_fn(tree)
    return TreeSpec(kind.type, context, [_flatten(child, is_leaf, leaves) for child in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The tree of a form with the leaves that are given.

    Raises:
        TypeError: the form is no `TreeSpec`
        ValueError: there are more or fewer leaves than the form has
    """
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"expected a TreeSpec after the leaves, but got a {type(treespec).__name__}")
    return treespec.unflatten(leaves)


def tree_iter(tree: PyTree, is_leaf: IsLeaf = None) -> Iterator[Any]:
    """The leaves, one after the other."""
    kind = _kind(tree, is_leaf)
    if kind is None:
        yield tree
        return
    for child in kind.flatten_fn(tree)[0]:
        yield from tree_iter(child, is_leaf)


def tree_leaves(tree: PyTree, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves."""
    return list(tree_iter(tree, is_leaf))


def tree_structure(tree: PyTree, is_leaf: IsLeaf = None) -> TreeSpec:
    """The form."""
    return tree_flatten(tree, is_leaf)[1]


def tree_flatten_with_path(tree: PyTree, is_leaf: IsLeaf = None) -> tuple[list[tuple[tuple, Any]], TreeSpec]:
    """The leaves, each after the keys that lead to it, and the form."""
    leaves, spec = tree_flatten(tree, is_leaf)
    return list(zip(_paths(tree, is_leaf, ()), leaves)), spec


def _paths(tree: PyTree, is_leaf: IsLeaf, path: tuple) -> Iterator[tuple]:
    kind = _kind(tree, is_leaf)
    if kind is None:
        yield path
        return
    children = kind.flatten_fn(tree)[0]
    keys = kind.keys(tree) if kind.keys is not None else [SequenceKey(index) for index in range(len(children))]
    for key, child in zip(keys, children):
        yield from _paths(child, is_leaf, (*path, key))


def tree_leaves_with_path(tree: PyTree, is_leaf: IsLeaf = None) -> list[tuple[tuple, Any]]:
    """The leaves, each after the keys that lead to it."""
    return tree_flatten_with_path(tree, is_leaf)[0]


def keystr(kp: Sequence[Any]) -> str:
    """The keys as one would write them behind the tree's name."""
    return "".join(map(str, kp))


# -- functions of leaves -----------------------------------------------------------------------------------------------


def tree_map(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """The tree of what a function gives for each leaf, together with what lies in its place in the other trees."""
    leaves, spec = tree_flatten(tree, is_leaf)
    return spec.unflatten(map(func, leaves, *[spec.flatten_up_to(rest) for rest in rests]))


def tree_map_with_path(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """As `tree_map`, of a function that is given the keys to each leaf first."""
    leaves, spec = tree_flatten(tree, is_leaf)
    return spec.unflatten(map(func, _paths(tree, is_leaf, ()), leaves, *[spec.flatten_up_to(rest) for rest in rests]))


def tree_map_(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """Call a function on each leaf for what it does, and return the tree itself."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for each in zip(leaves, *[spec.flatten_up_to(rest) for rest in rests]):
        func(*each)
    return tree


def _matching(kind: Any) -> Callable[[Any], bool]:
    """A test of leaves: by a type, a tuple of types, or a function that says so itself."""
    return (lambda leaf: isinstance(leaf, kind)) if isinstance(kind, (type, tuple)) or not callable(kind) else kind


def tree_map_only(type_or_types_or_pred: Any, /, func: Callable, tree: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """As `tree_map`, for leaves of the types alone; others stay."""
    matches = _matching(type_or_types_or_pred)
    return tree_map(lambda leaf: func(leaf) if matches(leaf) else leaf, tree, is_leaf=is_leaf)


def tree_map_only_(type_or_types_or_pred: Any, /, func: Callable, tree: PyTree, is_leaf: IsLeaf = None) -> PyTree:
    """As `tree_map_`, for leaves of the types alone."""
    matches = _matching(type_or_types_or_pred)
    return tree_map_(lambda leaf: func(leaf) if matches(leaf) else None, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether something holds for every leaf."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether something holds for some leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(type_or_types: Any, /, pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether something holds for every leaf of the types."""
    return all(pred(leaf) for leaf in tree_iter(tree, is_leaf) if isinstance(leaf, type_or_types))


def tree_any_only(type_or_types: Any, /, pred: Callable[[Any], bool], tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether something holds for some leaf of the types."""
    return any(pred(leaf) for leaf in tree_iter(tree, is_leaf) if isinstance(leaf, type_or_types))
