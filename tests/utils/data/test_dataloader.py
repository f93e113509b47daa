from __future__ import annotations

import multiprocessing
import pickle

import pytest

import flambeau
from flambeau.utils.data import DataLoader, IterableDataset, SequentialSampler, Subset, TensorDataset


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(10))


class SizedStream(Stream):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size


def values(loader):
    return [batch.tolist() for batch in loader]


def test_batches():
    assert values(DataLoader(range(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert values(DataLoader(range(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert values(DataLoader(range(2))) == [[0], [1]]
    assert values(DataLoader([])) == []


def test_without_batching_samples_are_only_converted():
    assert list(DataLoader(range(3), batch_size=None)) == [0, 1, 2]
    assert list(DataLoader("abc", batch_size=None, sampler=[2, 0])) == ["c", "a"]


def test_samplers():
    assert values(DataLoader(range(5), sampler=[4, 0, 4], batch_size=2)) == [[4, 0], [4]]
    assert values(DataLoader(range(5), batch_sampler=[[1, 2], [0]])) == [[1, 2], [0]]


def test_collate_fn():
    assert list(DataLoader(range(3), batch_size=2, collate_fn=sum)) == [1, 2]


def test_iterable():
    assert values(DataLoader(Stream(), batch_size=4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert values(DataLoader(Stream(), batch_size=4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert list(DataLoader(Stream(), batch_size=None)) == list(range(10))
    assert values(DataLoader(Stream(), batch_size=10, shuffle=False)) == [list(range(10))]


def test_lengths():
    assert len(DataLoader(range(5), batch_size=2)) == 3
    assert len(DataLoader(range(5), batch_size=2, drop_last=True)) == 2
    assert len(DataLoader(range(5), batch_size=None)) == 5
    assert len(iter(DataLoader(range(5), batch_size=2))) == 3
    assert len(DataLoader(SizedStream(10), batch_size=3)) == 4
    assert len(DataLoader(SizedStream(10), batch_size=3, drop_last=True)) == 3
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        len(DataLoader(Stream()))


def test_an_iterable_longer_than_it_said_is_noticed_only_if_asked():
    loader = DataLoader(SizedStream(9))
    assert len(list(loader)) == 10
    assert len(loader) == 9
    with pytest.warns(UserWarning, match=r"was reported to be 9.*but 10 batches have been fetched"):
        assert len(list(loader)) == 10


def test_shuffling_is_pytorchs():
    flambeau.manual_seed(0)
    loader = DataLoader(range(10), shuffle=True, batch_size=10)
    iterator = iter(loader)
    assert flambeau.randint(2**31, (1,)).item() == 1478610112, "the iterator draws its base seed, and the sampler nothing yet"
    flambeau.manual_seed(0)
    assert values(loader) == [[6, 7, 1, 4, 2, 0, 9, 8, 3, 5]]
    assert flambeau.randint(2**31, (1,)).item() == 1537364731
    del iterator


def test_shuffling_with_a_generator_is_pytorchs():
    loader = DataLoader(range(10), shuffle=True, batch_size=10, generator=flambeau.Generator().manual_seed(3))
    assert values(loader) == [[7, 4, 2, 9, 1, 5, 0, 8, 6, 3]]


def test_tensor_datasets_are_gathered_as_if_indexed_row_by_row():
    dataset = TensorDataset(flambeau.arange(12).reshape(6, 2), flambeau.arange(6))
    order = [3, -1, 0, 3]
    whole = next(iter(DataLoader(dataset, batch_size=4, sampler=order)))
    by_row = next(iter(DataLoader(Subset(dataset, range(6)), batch_size=4, sampler=order)))
    assert type(whole) is type(by_row) is list
    for left, right in zip(whole, by_row):
        assert flambeau.equal(left, right)
        assert left.stride() == right.stride()


def test_a_batch_sampler_of_tensors_works_on_a_tensor_dataset():
    dataset = TensorDataset(flambeau.arange(6) * 10)
    assert next(iter(DataLoader(dataset, batch_sampler=[flambeau.tensor([1, 5])])))[0].tolist() == [10, 50]


def test_a_dataset_may_fetch_a_whole_batch():
    class Whole(list):
        def __getitems__(self, indices):
            return [self[index] * 10 for index in indices]

    assert values(DataLoader(Whole([1, 2, 3]), batch_size=2)) == [[10, 20], [30]]


def test_an_error_in_one_batch_does_not_end_the_pass():
    class Faulty:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            if index == 1:
                raise KeyError("one")
            return index

    iterator = iter(DataLoader(Faulty()))
    assert next(iterator).item() == 0
    with pytest.raises(KeyError, match="one"):
        next(iterator)
    assert values(iterator) == [[2], [3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_workers": -1}, "num_workers should be non-negative, but got -1"),
        ({"timeout": -1}, "timeout should be non-negative"),
        ({"prefetch_factor": 2}, "needs worker processes"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor should be a positive number"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"shuffle": True, "sampler": [1]}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[1]], "shuffle": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[1]], "drop_last": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[1]], "sampler": [1]}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        ({"batch_size": 2.0}, "batch_size should be a positive integer value"),
        ({"drop_last": 1}, "drop_last should be a boolean value"),
        ({"multiprocessing_context": "fork"}, "can only be used with worker processes"),
        ({"num_workers": 1, "multiprocessing_context": "teleport"}, "should be a start method in .* but got 'teleport'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(range(3), **options)


@pytest.mark.parametrize(("name", "value"), [("shuffle", True), ("sampler", [1]), ("sampler", []), ("batch_sampler", [[1]])])
def test_an_iterable_dataset_chooses_its_order(name, value):
    with pytest.raises(ValueError, match=f"expected unspecified {name} option"):
        DataLoader(Stream(), **{name: value})


def test_a_context_has_to_be_one():
    with pytest.raises(TypeError, match="start method or a context"):
        DataLoader(range(3), num_workers=1, multiprocessing_context=3)
    loader = DataLoader(range(3), num_workers=1, multiprocessing_context="spawn")
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    context = multiprocessing.get_context("spawn")
    assert DataLoader(range(3), num_workers=1, multiprocessing_context=context).multiprocessing_context is context


@pytest.mark.parametrize("name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"])
def test_what_the_samplers_were_made_from_is_fixed(name):
    with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
        setattr(DataLoader(range(3)), name, 1)


def test_attributes():
    loader = DataLoader(range(3), batch_size=2, num_workers=1)
    assert (loader.batch_size, loader.drop_last, loader.num_workers, loader.prefetch_factor) == (2, False, 1, 2)
    assert isinstance(loader.sampler, SequentialSampler)
    assert loader.batch_sampler.batch_size == 2
    assert DataLoader(range(3)).prefetch_factor is None
    loader.collate_fn = list
    assert loader.collate_fn is list


def test_too_many_workers():
    with pytest.warns(UserWarning, match="will create 10000 worker processes"):
        DataLoader(range(3), num_workers=10000)


def test_a_loader_can_be_pickled_but_a_pass_cannot():
    loader = DataLoader(range(5), batch_size=2)
    assert values(pickle.loads(pickle.dumps(loader))) == values(loader)
    with pytest.raises(NotImplementedError, match="pickle the DataLoader"):
        pickle.dumps(iter(loader))


def test_pinning_changes_nothing_on_a_cpu():
    with pytest.warns(UserWarning, match="no accelerator is found"):
        loader = DataLoader(range(3), pin_memory=True)
    assert values(loader) == [[0], [1], [2]]
