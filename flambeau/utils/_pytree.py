"""Trees: nested containers as a list of leaves and a description of what held them.

Packages import this module although its name begins with an underscore, hence PyTorch's names and meanings.
"""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "Context", "GetAttrKey", "LeafSpec", "MappingKey", "PyTree", "SequenceKey", "TreeSpec", "is_namedtuple", "is_namedtuple_class", "is_namedtuple_instance", "key_get", "keystr", "register_dataclass", "register_pytree_node", "tree_all", "tree_all_only", "tree_any",
    "tree_any_only", "tree_flatten", "tree_flatten_with_path", "tree_is_leaf", "tree_iter", "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_", "tree_map_only",
    "tree_map_only_", "tree_map_with_path", "tree_structure", "tree_unflatten", "treespec_dumps", "treespec_loads", "treespec_pprint",
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
    """How nodes of one type come apart (`flatten_fn`: children and context) and together again (`unflatten_fn`).

    In a text they have a `name`, and their contexts are what `dump` makes of them, and `load` takes back.
    """

    type: Any
    flatten_fn: Callable[[Any], tuple[list[Any], Context]]
    unflatten_fn: Callable[[Iterable[Any], Context], Any]
    keys: Callable[[Any], list[Any]] | None = None
    name: str | None = None
    dump: Callable[[Context], Any] = json.dumps
    load: Callable[[Any], Context] = json.loads


def _indices(node: Any) -> list[Any]:
    return [SequenceKey(index) for index in range(len(node))]


def _mapping_keys(node: Any) -> list[Any]:
    return [MappingKey(key) for key in node]


def _mapping(node: Any) -> tuple[list[Any], Context]:
    return list(node.values()), list(node)


_FACTORIES = {each.__name__: each for each in (bool, complex, dict, float, frozenset, int, list, set, str, tuple)}


def _dump_default(context: Context) -> Any:
    factory, keys = context
    if factory is not None and _FACTORIES.get(factory.__name__) is not factory:
        raise NotImplementedError(f"a defaultdict of {factory!r} is not written: its factory is none of {', '.join(_FACTORIES)}")
    return {"default_factory_module": "builtins", "default_factory_name": getattr(factory, "__name__", "NoneType"), "dict_context": keys}


def _load_default(written: Any) -> Context:
    module, name = written["default_factory_module"], written["default_factory_name"]
    if module != "builtins" or name not in (*_FACTORIES, "NoneType"):  # a text runs nothing that it names
        raise NotImplementedError(f"a defaultdict whose factory is {module}.{name} is not read: it is none of {', '.join(_FACTORIES)}")
    return [_FACTORIES.get(name), written["dict_context"]]


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
        NodeDef(tuple, lambda node: (list(node), None), lambda children, context: tuple(children), _indices, "builtins.tuple"),
        NodeDef(
            namedtuple,
            lambda node: (list(node), type(node)),
            lambda children, context: context(*children),
            lambda node: [GetAttrKey(name) for name in node._fields],
            "collections.namedtuple",
            lambda cls: _NAMED_TUPLES.name(cls),
            lambda name: _NAMED_TUPLES.find(name),
        ),
        NodeDef(list, lambda node: (node, None), lambda children, context: list(children), _indices, "builtins.list"),
        NodeDef(dict, _mapping, _dict_unflatten, _mapping_keys, "builtins.dict"),
        NodeDef(
            OrderedDict, _mapping, lambda children, context: OrderedDict(zip(context, children)), _mapping_keys, "collections.OrderedDict"
        ),
        NodeDef(
            defaultdict,
            lambda node: (list(node.values()), [node.default_factory, list(node)]),
            lambda children, context: defaultdict(context[0], zip(context[1], children)),
            _mapping_keys,
            "collections.defaultdict",
            _dump_default,
            _load_default,
        ),
        NodeDef(
            deque,
            lambda node: (list(node), node.maxlen),
            lambda children, context: deque(children, maxlen=context),
            _indices,
            "collections.deque",
        ),
    )
}
"""What is a node, by its exact type (named tuples by `namedtuple`); everything else is a leaf."""


def register_pytree_node(
    cls: type, flatten_fn: Callable[[Any], tuple[list[Any], Context]], unflatten_fn: Callable[[Iterable[Any], Context], Any], *,
    serialized_type_name: str | None = None, to_dumpable_context: Callable | None = None, from_dumpable_context: Callable | None = None,
    flatten_with_keys_fn: Callable[[Any], tuple[list[Any], Context]] | None = None,
) -> None:  # fmt: skip
    """Let objects of a class be nodes.

    Args:
        serialized_type_name: what `treespec_dumps` calls the class
        to_dumpable_context, from_dumpable_context: make of a context what JSON can hold, and back; both, or none for the context's own JSON, as text

    Raises:
        ValueError: the class is a kind of node already, or one of the two functions is missing
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    if (to_dumpable_context is None) != (from_dumpable_context is None):
        raise ValueError(f"Both to_dumpable_context and from_dumpable_context for {cls} must be None or registered.")
    keys = None if flatten_with_keys_fn is None else lambda node: [key for key, _ in flatten_with_keys_fn(node)[0]]
    node = NodeDef(cls, flatten_fn, unflatten_fn, keys, serialized_type_name)
    if to_dumpable_context is not None and from_dumpable_context is not None:
        node = node._replace(dump=to_dumpable_context, load=from_dumpable_context)
    SUPPORTED_NODES[cls] = node


_register_pytree_node = register_pytree_node


def register_dataclass(
    cls: type, *, field_names: Sequence[str] | None = None, drop_field_names: Sequence[str] | None = None, serialized_type_name: str | None = None
) -> None:  # fmt: skip
    """Let instances of a dataclass be nodes, whose children are its fields; fields that are ``None`` have no child.

    Args:
        field_names: the fields; all that the constructor takes, by default
        drop_field_names: of these, fields that are left out, and get their default values

    Raises:
        ValueError: the class has fields that are in neither list, or the other way round; or it is a kind of node already
    """
    if not dataclasses.is_dataclass(cls) and field_names is None:
        raise ValueError(f"{cls} is no dataclass: say by field_names=… which attributes its instances have")
    taken = [each.name for each in dataclasses.fields(cls) if each.init] if dataclasses.is_dataclass(cls) else list(field_names or ())
    dropped = list(drop_field_names or ())
    names = [name for name in (taken if field_names is None else field_names) if name not in dropped]
    unknown, forgotten = {*names, *dropped} - {*taken}, {*taken} - {*names, *dropped}
    if unknown or forgotten:
        raise ValueError(
            f"{cls.__name__} has {sorted(forgotten) or 'no'} fields that were not named, and lacks {sorted(unknown) or 'none'} that were"
        )

    def apart(instance: Any) -> tuple[list[Any], Context]:
        present = [name for name in names if getattr(instance, name) is not None]
        return [getattr(instance, name) for name in present], [present, [name for name in names if name not in present]]

    def together(children: Iterable[Any], context: Context) -> Any:
        present, absent = context
        return cls(**dict(zip(present, children)), **dict.fromkeys(absent))

    def with_keys(instance: Any) -> tuple[list[tuple[Any, Any]], Context]:
        children, context = apart(instance)
        return [(GetAttrKey(name), child) for name, child in zip(context[0], children)], context

    register_pytree_node(cls, apart, together, serialized_type_name=serialized_type_name, flatten_with_keys_fn=with_keys)


class _NamedTuples:
    """Classes of named tuples by the names that they have in texts."""

    def __init__(self) -> None:
        self.classes: dict[str, type] = {}

    def name(self, cls: type) -> str:
        for name, known in self.classes.items():
            if known is cls:
                return name
        raise NotImplementedError(f"{cls.__name__} has no name in texts: _register_namedtuple(cls, serialized_type_name=…) gives it one")

    def find(self, name: str) -> type:
        if name not in self.classes:
            raise NotImplementedError(
                f"there is no class of named tuples {name!r}: _register_namedtuple(cls, serialized_type_name=…) makes it known"
            )
        return self.classes[name]


_NAMED_TUPLES = _NamedTuples()


def _register_namedtuple(cls: type, *, serialized_type_name: str) -> None:
    """Give a class of named tuples a name in texts."""
    _NAMED_TUPLES.classes[serialized_type_name] = cls


def _get_node_type(tree: PyTree) -> Any:
    """What a tree would be found under in `SUPPORTED_NODES`."""
    return namedtuple if isinstance(tree, tuple) and hasattr(tree, "_fields") and type(tree) not in SUPPORTED_NODES else type(tree)


def _kind(tree: PyTree, is_leaf: IsLeaf) -> NodeDef | None:
    """How a tree comes apart; nothing for a leaf."""
    return None if is_leaf is not None and is_leaf(tree) else SUPPORTED_NODES.get(_get_node_type(tree))


# -- specifications ----------------------------------------------------------------------------------------------------


@dataclass(repr=False)
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

    def __repr__(self, indent: int = 2) -> str:
        children = f",\n{' ' * indent}".join(["*" if spec.is_leaf() else spec.__repr__(indent + 2) for spec in self.children_specs])
        return f"TreeSpec({self.type.__name__}, {self.context}, [{children}])"

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

    def __repr__(self, indent: int = 2) -> str:
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


def tree_is_leaf(tree: PyTree, is_leaf: IsLeaf = None) -> bool:
    """Whether a tree is one leaf."""
    return _kind(tree, is_leaf) is None


def key_get(obj: Any, kp: Sequence[Any]) -> Any:
    """What keys lead to in a tree."""
    for key in kp:
        obj = key.get(obj)
    return obj


def is_namedtuple_instance(obj: object) -> bool:
    """Whether an object is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple_class(cls: type) -> bool:
    """Whether a class is one of named tuples."""
    return isinstance(cls, type) and issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


def is_namedtuple(obj: object) -> bool:
    """Whether an object is a named tuple, or a class of them."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


# -- as texts ----------------------------------------------------------------------------------------------------------

_PROTOCOL = 1


def treespec_dumps(treespec: TreeSpec, protocol: int | None = None) -> str:
    """A form as text (JSON), which PyTorch reads, too.

    Raises:
        TypeError: it is no form, or a context is nothing that JSON holds
        ValueError: the protocol is not 1
        NotImplementedError: a class has no name in texts

    Example:
        >>> treespec_dumps(tree_structure({"a": [1, 2]}))
        '[1, {"type": "builtins.dict", "context": "[\"a\"]", "children_spec": [{"type": "builtins.list", "context": "null", "children_spec": [{"type": null, "context": null, "children_spec": []}, {"type": null, "context": null, "children_spec": []}]}]}]'
    """
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            f"treespec_dumps(treespec, protocol): Expected `treespec` to be instance of TreeSpec but got item of type {type(treespec)}."
        )
    if protocol not in (None, _PROTOCOL):
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{_PROTOCOL}]")
    return json.dumps([_PROTOCOL, _written(treespec)])


def _written(spec: TreeSpec) -> dict[str, Any]:
    if spec.is_leaf():
        return {"type": None, "context": None, "children_spec": []}
    kind = SUPPORTED_NODES[spec.type]
    if kind.name is None:
        raise NotImplementedError(
            f"No registered serialization name for {spec.type} found. Please update your _register_pytree_node call with a `serialized_type_name` kwarg."
        )
    try:
        context = kind.dump(spec.context)
    except TypeError as error:
        raise TypeError(
            f"Unable to serialize context. Please make the context json dump-able, or register a custom serializer using _register_pytree_node: {error}"
        ) from error
    return {"type": kind.name, "context": context, "children_spec": [_written(child) for child in spec.children_specs]}


class _Star:
    def __repr__(self) -> str:
        return "*"


def treespec_pprint(treespec: TreeSpec) -> str:
    """A form as its tree would be shown, with stars for leaves.

    Example:
        >>> treespec_pprint(tree_structure({"a": [1, (2, 3)]}))
        "{'a': [*, (*, *)]}"
    """
    return repr(tree_unflatten([_Star()] * treespec.num_leaves, treespec))


def treespec_loads(serialized: str) -> TreeSpec:
    """The form that a text says; nothing that it names is run.

    Raises:
        ValueError: it is in another version, or no such text
        NotImplementedError: it names a class that is not known here
    """
    version, written = json.loads(serialized)
    if version != _PROTOCOL:
        raise ValueError(f"Unknown protocol {version}. Available protocols: [{_PROTOCOL}]")
    return _read(written)


def _read(written: dict[str, Any]) -> TreeSpec:
    name = written["type"]
    if name is None:
        return _LEAF
    for kind in SUPPORTED_NODES.values():
        if kind.name == name:
            return TreeSpec(kind.type, kind.load(written["context"]), [_read(child) for child in written["children_spec"]])
    raise NotImplementedError(f"Deserializing `{name}` in pytree is not registered.")


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
