"""Trees there and back."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from flambeau.utils import _pytree as pytree

Point = namedtuple("Point", "x y")
TREES = [
    1,
    None,
    [],
    (1, [2, {"a": 3, "b": (4,)}]),
    OrderedDict(b=1, a=[2]),
    defaultdict(list, a=[1, 2]),
    deque([1, 2], maxlen=3),
    Point(1, [2, 3]),
    {"z": Point(1, 2), 3: ()},
]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_there_and_back(tree):
    leaves, form = pytree.tree_flatten(tree)
    again = pytree.tree_unflatten(leaves, form)
    assert again == tree and type(again) is type(tree) and form.num_leaves == len(leaves) == len(pytree.tree_leaves(tree))
    assert form == pytree.tree_structure(again) and hash(form) == hash(pytree.tree_structure(again))
    assert pytree.tree_map(lambda leaf: leaf, tree) == tree
    if isinstance(tree, deque):
        assert again.maxlen == 3
    if isinstance(tree, defaultdict):
        assert again.default_factory is list


def test_order_and_maps():
    tree = {"b": [1, 2], "a": (3,)}
    assert pytree.tree_leaves(tree) == [1, 2, 3]
    assert pytree.tree_map(lambda a, b: a + b, tree, {"b": [10, 20], "a": (30,)}) == {"b": [11, 22], "a": (33,)}
    assert pytree.tree_map_only(int, str, [1, "x", 2.0]) == ["1", "x", 2.0]
    assert pytree.tree_all(lambda leaf: leaf > 0, tree) and pytree.tree_any(lambda leaf: leaf == 3, tree)
    assert pytree.tree_all_only(int, lambda leaf: leaf > 0, [1, "x"]) and not pytree.tree_any_only(str, lambda leaf: leaf == "y", [1, "x"])
    seen = []
    assert pytree.tree_map_(seen.append, tree) is tree and seen == [1, 2, 3]
    assert pytree.tree_leaves([[1, 2], 3], is_leaf=lambda node: node == [1, 2]) == [[1, 2], 3]


def test_paths():
    leaves, _ = pytree.tree_flatten_with_path({"a": [1, Point(2, 3)]})
    assert [pytree.keystr(path) for path, _ in leaves] == ["['a'][0]", "['a'][1].x", "['a'][1].y"]
    assert pytree.tree_map_with_path(lambda path, leaf: (len(path), leaf), [1, [2]]) == [(1, 1), [(2, 2)]]


def test_registered_class():
    class Pair:
        def __init__(self, left, right):
            self.left, self.right = left, right

    pytree.register_pytree_node(Pair, lambda pair: ([pair.left, pair.right], None), lambda children, context: Pair(*children))
    try:
        assert pytree.tree_leaves([Pair(1, [2])]) == [1, 2] and pytree.tree_map(lambda leaf: -leaf, Pair(1, 2)).right == -2
        with pytest.raises(ValueError, match="already registered"):
            pytree.register_pytree_node(Pair, None, None)
    finally:
        del pytree.SUPPORTED_NODES[Pair]


def test_errors():
    form = pytree.tree_structure([1, 2])
    with pytest.raises(ValueError, match="2 leaves"):
        pytree.tree_unflatten([1], form)
    with pytest.raises(TypeError, match="TreeSpec"):
        pytree.tree_unflatten([1], [1])
    with pytest.raises(ValueError, match="children"):
        pytree.tree_map(lambda a, b: a, [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="expected a node of list"):
        pytree.tree_map(lambda a, b: a, [1, 2], (1, 2))


def test_dictionaries_of_another_class():
    class Options(dict):
        pass

    pytree.register_pytree_node(
        Options,
        pytree._dict_flatten,
        lambda values, context: Options(pytree._dict_unflatten(values, context)),
        flatten_with_keys_fn=pytree._dict_flatten_with_keys,
    )
    doubled = pytree.tree_map(lambda x: 2 * x, Options(b=1, a=[2]))
    assert doubled == {"b": 2, "a": [4]} and type(doubled) is Options
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(doubled)] == ["['b']", "['a'][0]"]


def test_leaves_and_dataclasses():
    assert pytree.tree_is_leaf(3) and not pytree.tree_is_leaf([]) and pytree.tree_is_leaf([1], is_leaf=lambda node: node == [1])

    @dataclass
    class Batch:
        x: int
        mask: Any = None
        note: str = "none"

    pytree.register_dataclass(Batch, field_names=["x", "mask"], drop_field_names=["note"], serialized_type_name="tests.Batch")
    try:
        leaves, form = pytree.tree_flatten([Batch(1), Batch(2, {"a": 3}, "lost")])
        assert leaves == [1, 2, 3] and pytree.tree_unflatten([4, 5, 6], form) == [Batch(4), Batch(5, {"a": 6})]
        assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(Batch(1, [2]))] == [".x", ".mask[0]"]
        assert pytree.treespec_loads(pytree.treespec_dumps(form)) == form
    finally:
        del pytree.SUPPORTED_NODES[Batch]
    for arguments, message in (({"field_names": ["x"]}, "mask"), ({"field_names": ["x", "mask", "note", "y"]}, "'y'")):
        with pytest.raises(ValueError, match=message):
            pytree.register_dataclass(Batch, **arguments)
    with pytest.raises(ValueError, match="is no dataclass"):
        pytree.register_dataclass(int)


@pytest.mark.parametrize(
    "tree", [tree for tree in TREES if not isinstance(tree, (Point, dict)) or isinstance(tree, (OrderedDict, defaultdict))], ids=repr
)
def test_forms_as_texts(tree):
    form = pytree.tree_structure(tree)
    text = pytree.treespec_dumps(form)
    assert pytree.treespec_loads(text) == form
    theirs = pytest.importorskip("torch.utils._pytree")
    assert theirs.treespec_dumps(theirs.tree_structure(tree)) == text and theirs.treespec_loads(text).num_leaves == form.num_leaves


def test_texts_name_what_is_known():
    form = pytree.tree_structure({"a": Point(1, 2)})
    with pytest.raises(NotImplementedError, match="Point has no name in texts"):
        pytree.treespec_dumps(form)
    pytree._register_namedtuple(Point, serialized_type_name="tests.Point")
    text = pytree.treespec_dumps(form)
    assert pytree.treespec_loads(text) == form
    for wrong, kind in (
        (text.replace("[1,", "[2,", 1), ValueError),
        (text.replace("tests.Point", "tests.Other"), NotImplementedError),
        (text.replace("builtins.dict", "os.system"), NotImplementedError),
        (pytree.treespec_dumps(pytree.tree_structure(defaultdict(list, a=1))).replace("list", "exec"), NotImplementedError),
    ):
        with pytest.raises(kind):
            pytree.treespec_loads(wrong)
    with pytest.raises(NotImplementedError, match="is not written"):
        pytree.treespec_dumps(pytree.tree_structure(defaultdict(lambda: 1, a=1)))
    with pytest.raises(ValueError, match="Unknown protocol 3"):
        pytree.treespec_dumps(form, 3)
    with pytest.raises(TypeError, match="Expected `treespec`"):
        pytree.treespec_dumps([1])
    with pytest.raises(TypeError, match="json dump-able"):
        pytree.treespec_dumps(pytree.tree_structure({(1, 2): 3, object(): 4}))


def test_what_trees_look_like():
    tree = {"a": [1, (2, Point(3, 4))], "b": OrderedDict(c=1), "d": deque([1]), "e": None, "f": defaultdict(list, a=1)}
    form = pytree.tree_structure(tree)
    assert pytree.treespec_pprint(form).startswith("{'a': [*, (*, Point(x=*, y=*))], 'b': OrderedDict(")
    theirs = pytest.importorskip("torch.utils._pytree")
    assert repr(form) == repr(theirs.tree_structure(tree)) and pytree.treespec_pprint(form) == theirs.treespec_pprint(
        theirs.tree_structure(tree)
    )
    assert pytree.key_get({"a": [5]}, (pytree.MappingKey("a"), pytree.SequenceKey(0))) == 5
    assert pytree.is_namedtuple(Point) and pytree.is_namedtuple(Point(1, 2)) and pytree.is_namedtuple_class(Point)
    assert not pytree.is_namedtuple((1,)) and not pytree.is_namedtuple_instance(Point) and pytree.is_namedtuple_instance(Point(1, 2))
