from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from flambeau.utils.data import (
    IterDataPipe,
    MapDataPipe,
    argument_validation,
    functional_datapipe,
    guaranteed_datapipes_determinism,
    non_deterministic,
    runtime_validation,
    runtime_validation_disabled,
)
from flambeau.utils.data.datapipes.iter import IterableWrapper
from flambeau.utils.data.datapipes.map import SequenceWrapper


@pytest.fixture(autouse=True)
def names_are_given_back():
    before = dict(IterDataPipe.functions)
    yield
    IterDataPipe.functions.clear()
    IterDataPipe.functions.update(before)


def test_functional_names():
    @functional_datapipe("twice")
    class Twice(IterDataPipe):
        """Each sample two times."""

        def __init__(self, source):
            self.source = source

        def __iter__(self):
            for sample in self.source:
                yield sample
                yield sample

    pipe = IterableWrapper("ab")
    assert list(pipe.twice()) == ["a", "a", "b", "b"] and "twice" in dir(pipe) and pipe.twice.__doc__ == Twice.__doc__
    assert not hasattr(SequenceWrapper("ab"), "twice")
    with pytest.raises(Exception, match="twice as it is already taken"):
        functional_datapipe("twice")(Twice)
    IterDataPipe.register_function("first", lambda pipe, count: [x for x, _ in zip(pipe, range(count), strict=False)])
    assert pipe.first(1) == ["a"]


def test_other_names():
    with pytest.raises(AttributeError, match="'IterableWrapperIterDataPipe' object has no attribute 'nothing'"):
        IterableWrapper([]).nothing  # noqa: B018
    assert repr(IterableWrapper([]).batch(2)) == "BatcherIterDataPipe"


@pytest.mark.parametrize("kind", [IterDataPipe, MapDataPipe])
def test_hooks_of_pickling(kind):
    pipe = IterableWrapper([1, 2]) if kind is IterDataPipe else SequenceWrapper([1, 2])
    kind.set_getstate_hook(lambda state: {**state, "seen": True})
    try:
        with pytest.raises(RuntimeError, match="override existing getstate_hook"):
            kind.set_getstate_hook(dict)
        assert pickle.loads(pickle.dumps(pipe)).seen
    finally:
        kind.set_getstate_hook(None)
    kind.set_reduce_ex_hook(lambda pipe: (list, ((3, 4),)))
    try:
        assert pickle.loads(pickle.dumps(pipe)) == [3, 4]
    finally:
        kind.set_reduce_ex_hook(None)
    assert list(pickle.loads(pickle.dumps(pipe))) == [1, 2]


def test_non_deterministic():
    @non_deterministic
    class Noise(IterDataPipe):
        pass

    @non_deterministic(lambda self_seeded=False: not self_seeded)
    class Seeded(IterDataPipe):
        def __init__(self, self_seeded=False):
            pass

    Noise()
    with guaranteed_datapipes_determinism():
        Seeded(True)
        for make in (Noise, Seeded):
            with pytest.raises(TypeError, match="is non-deterministic"):
                make()
    Noise()
    with pytest.raises(TypeError, match="Only `IterDataPipe` can be decorated"):
        non_deterministic(int)
    with pytest.raises(TypeError, match="can not be decorated"):
        non_deterministic(3)


class Checked(IterDataPipe[int]):
    @argument_validation
    def __init__(self, source: IterDataPipe[int], factor: int = 1):
        self.source = source

    @runtime_validation
    def __iter__(self) -> Iterator[int | tuple[str, list[int]]]:
        yield from self.source


def test_argument_validation():
    assert list(Checked(IterableWrapper([1]), factor="x")) == [1]
    with pytest.raises(TypeError, match="Expected argument 'source' as a IterDataPipe, but found <class 'list'>"):
        Checked([1])


def test_runtime_validation():
    assert list(Checked(IterableWrapper([1, ("a", [2])]))) == [1, ("a", [2])]
    for wrong in (1.5, ("a", [2.5]), ("a",), None):
        with pytest.raises(RuntimeError, match="Expected an instance as subtype of"):
            list(Checked(IterableWrapper([1, wrong])))
    with runtime_validation_disabled():
        assert list(Checked(IterableWrapper([1.5]))) == [1.5]
    with pytest.raises(TypeError, match="Can not decorate function map"):

        @runtime_validation
        def map(self):
            pass
