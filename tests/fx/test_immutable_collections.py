"""Lists and dictionaries that cannot be changed."""

from __future__ import annotations

import copy
import pickle

import pytest

from flambeau.fx.immutable_collections import immutable_dict, immutable_list


def test_nothing_changes_them():
    numbers, names = immutable_list([1, 2]), immutable_dict(a=1)
    for change in (lambda: numbers.append(1), lambda: numbers.__setitem__(0, 1), lambda: names.update(b=1), lambda: names.pop("a")):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert (
        numbers == [1, 2]
        and names == {"a": 1}
        and hash(numbers) == hash(immutable_list([1, 2]))
        and hash(names) == hash(immutable_dict(a=1))
    )
    assert pickle.loads(pickle.dumps([numbers, names])) == [numbers, names] and type(copy.copy(numbers)) is immutable_list
