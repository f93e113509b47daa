"""Trees there and back."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple

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
