from __future__ import annotations

import pytest

import flambeau
from flambeau.utils.data import DataLoader, IterDataPipe
from flambeau.utils.data.datapipes.map import Concater, Mapper, SequenceWrapper, Zipper


def numbers(count=10):
    return SequenceWrapper(range(count))


def test_sequences_and_mappings():
    assert numbers()[3] == 3 and len(numbers()) == 10 and SequenceWrapper({"a": 1})["a"] == 1
    rows = [[1]]
    assert SequenceWrapper(rows)[0] is not rows[0] and SequenceWrapper(rows, deepcopy=False)[0] is rows[0]


def test_map():
    assert numbers().map(str)[2] == "2" and len(numbers().map(str)) == 10 and Mapper(numbers())[1] == 1


def test_batch():
    pipe = numbers(5).batch(3)
    assert list(pipe) == [[0, 1, 2], [3, 4]] and len(pipe) == 2 and pipe[-1] == [3, 4]
    assert len(numbers(5).batch(3, drop_last=True)) == 1
    with pytest.raises(IndexError, match="Index 1 is out of bound"):
        numbers(5).batch(3, drop_last=True)[1]


def test_concat_and_zip():
    assert numbers(5).concat(numbers(3))[6] == 1 and len(numbers(5).concat(numbers(3))) == 8
    assert numbers(5).zip(numbers(3))[2] == (2, 2) and len(numbers(5).zip(numbers(3))) == 3
    with pytest.raises(IndexError, match="Index 9 is out of range"):
        numbers(5).concat(numbers(3))[9]
    with pytest.raises(IndexError, match="one of the input MapDataPipes SequenceWrapperMapDataPipe"):
        numbers(5).zip(numbers(3))[4]
    with pytest.raises(ValueError, match="at least one"):
        Concater()
    with pytest.raises(TypeError, match="MapDataPipe"):
        Zipper([1, 2])


def test_shuffle_has_the_order_of_pytorch():
    pipe = numbers().shuffle()
    assert isinstance(pipe, IterDataPipe) and len(pipe) == 10
    flambeau.manual_seed(0)
    assert list(pipe) == [8, 9, 1, 6, 2, 5, 7, 0, 4, 3]
    assert list(numbers().shuffle(indices=[3, 4, 5]).set_seed(3)) == [4, 5, 3]
    assert list(numbers(3).shuffle().set_shuffle(False)) == [0, 1, 2]


def test_loader():
    flambeau.manual_seed(0)
    loader = DataLoader(numbers(), batch_size=4, shuffle=True)
    assert [batch.tolist() for batch in loader] == [[6, 7, 1, 4], [2, 0, 9, 8], [3, 5]]
    assert [list(batch) for batch in DataLoader(numbers(3).map(str), batch_size=2)] == [["0", "1"], ["2"]]
