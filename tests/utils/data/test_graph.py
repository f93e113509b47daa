from __future__ import annotations

import pytest

import flambeau
from flambeau.utils.data import DataLoader, IterDataPipe, MapDataPipe, get_worker_info
from flambeau.utils.data.datapipes.iter import IterableWrapper
from flambeau.utils.data.datapipes.iter.sharding import SHARDING_PRIORITIES as PRIORITIES
from flambeau.utils.data.datapipes.map import SequenceWrapper
from flambeau.utils.data.graph import traverse_dps
from flambeau.utils.data.graph_settings import apply_random_seed, apply_sharding, apply_shuffle_settings, get_all_graph_pipes


def numbers(count=10):
    return IterableWrapper(range(count))


def seeded(seed):
    generator = flambeau.Generator()
    generator.manual_seed(seed)
    return generator


def names(graph):
    return {str(pipe): names(sources) for pipe, sources in graph.values()}


class TestTraverse:
    def test_pipes_and_what_they_read(self):
        pipe = numbers().map(str).zip(SequenceWrapper(range(10)).shuffle())
        assert names(traverse_dps(pipe)) == {
            "ZipperIterDataPipe": {
                "MapperIterDataPipe": {"IterableWrapperIterDataPipe": {}},
                "ShufflerIterDataPipe": {"SequenceWrapperMapDataPipe": {}},
            }
        }
        assert list(traverse_dps(pipe)) == [id(pipe)]
        with pytest.raises(RuntimeError, match="Expected `IterDataPipe` or `MapDataPipe`"):
            traverse_dps([1])

    def test_pipes_in_containers(self):
        inner = numbers()
        assert names(traverse_dps(IterableWrapper([{"a": (inner,)}]))) == {
            "IterableWrapperIterDataPipe": {"IterableWrapperIterDataPipe": {}}
        }

    def test_a_shared_pipe_is_listed_once(self):
        first, second = numbers().fork(2)
        pipe = first.zip(second.map(str))
        found = [str(each) for each in get_all_graph_pipes(traverse_dps(pipe))]
        assert sorted(found) == sorted([
            "ZipperIterDataPipe", "_ChildDataPipe", "_ForkerIterDataPipe", "IterableWrapperIterDataPipe", "MapperIterDataPipe", "_ChildDataPipe"
        ])  # fmt: skip


class TestSharding:
    def test_shares(self):
        for number, share in enumerate([[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]):
            pipe = apply_sharding(numbers().sharding_filter(), 3, number)
            assert list(pipe) == share and len(pipe) == len(share)

    def test_processes_before_workers(self):
        pipe = numbers(24).sharding_filter()
        apply_sharding(pipe, 2, 1, PRIORITIES.DISTRIBUTED)
        apply_sharding(pipe, 3, 2, PRIORITIES.MULTIPROCESSING)
        assert list(pipe) == [5, 11, 17, 23] and (pipe.num_of_instances, pipe.instance_id) == (6, 5)

    def test_one_group_only(self):
        pipe = numbers(4).sharding_filter(PRIORITIES.MULTIPROCESSING)
        apply_sharding(pipe, 2, 0, PRIORITIES.DISTRIBUTED)
        assert list(pipe) == [0, 1, 2, 3]
        apply_sharding(pipe, 2, 0, PRIORITIES.MULTIPROCESSING)
        assert list(pipe) == [0, 2]

    def test_errors(self):
        with pytest.raises(ValueError, match=r"instance_id\(3\) should be smaller"):
            apply_sharding(numbers().sharding_filter(), 3, 3)
        with pytest.raises(RuntimeError, match="Sharding twice"):
            apply_sharding(numbers().sharding_filter().map(str).sharding_filter(), 2, 0)
        pipe = apply_sharding(numbers().sharding_filter(), 2, 0)
        with pytest.raises(RuntimeError, match="cannot mix DEFAULT"):
            apply_sharding(pipe, 2, 0, PRIORITIES.DISTRIBUTED)

    def test_pipes_with_sharding_of_their_own(self):
        class Halves(MapDataPipe):
            def apply_sharding(self, num_of_instances, instance_id):
                self.share = (num_of_instances, instance_id)

        assert apply_sharding(Halves(), 4, 1).share == (4, 1)


def test_random_seeds():
    pipe = numbers().shuffle().map(str).shuffle()
    apply_random_seed(pipe, seeded(3))
    assert list(pipe) == ["5", "4", "8", "0", "3", "7", "1", "6", "2", "9"]
    assert list(apply_random_seed(SequenceWrapper(range(6)).shuffle(), seeded(3))) == [0, 2, 4, 3, 5, 1]


def test_shuffle_settings():
    assert list(apply_shuffle_settings(numbers(5).shuffle(), False)) == [0, 1, 2, 3, 4]
    plain = numbers()
    assert apply_shuffle_settings(plain, None) is plain is apply_shuffle_settings(plain, False)
    with pytest.warns(UserWarning, match="does not contain a `Shuffler`. Adding one"):
        assert str(apply_shuffle_settings(plain, True)) == "ShufflerIterDataPipe"


def passes(pipe, count=2, **options):
    """The batches of so many passes, and what is drawn afterwards."""
    flambeau.manual_seed(0)
    loader = DataLoader(pipe, **options)
    return [[batch.tolist() for batch in loader] for _ in range(count)], flambeau.rand(1).item()


class TestLoader:
    """The numbers are PyTorch's with the same seeds."""

    def test_in_this_process(self):
        first, second = [[9, 0, 5, 7], [4, 1, 3, 8], [6, 2]], [[6, 8, 1, 3], [4, 0, 2, 5], [7, 9]]
        for shuffle in (None, True):
            (once, again), drawn = passes(numbers().shuffle(), batch_size=4, shuffle=shuffle)
            assert once == first and again == second and drawn == pytest.approx(0.455627977848053)
        (once, _), drawn = passes(numbers().shuffle(), batch_size=4, shuffle=False)
        assert once == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and drawn == pytest.approx(0.455627977848053)

    def test_with_a_generator(self):
        (once, again), drawn = passes(numbers().shuffle(), batch_size=5, generator=seeded(5))
        assert once == [[1, 5, 2, 6, 4], [9, 0, 7, 8, 3]] and again == [[6, 4, 0, 7, 3], [8, 5, 2, 1, 9]]
        assert drawn == pytest.approx(0.49625658988952637)

    def test_with_workers(self):
        (once, again), drawn = passes(numbers().shuffle().sharding_filter(), batch_size=2, num_workers=2)
        assert once == [[9, 5], [0, 7], [4, 3], [1, 8], [6], [2]] and again == [[0, 8], [3, 2], [9, 5], [6, 1], [7], [4]]
        assert drawn == pytest.approx(0.022325754165649414)

    def test_with_workers_that_stay(self):
        (once, again, last), _ = passes(numbers().shuffle().sharding_filter(), 3, batch_size=2, num_workers=2, persistent_workers=True)
        assert once == [[9, 5], [0, 7], [4, 3], [1, 8], [6], [2]] and again == [[0, 8], [3, 2], [9, 5], [6, 1], [7], [4]]
        assert last == [[1, 6], [9, 8], [0, 5], [2, 7], [3], [4]]

    def test_without_a_filter_every_worker_yields_all(self):
        (once, _), _ = passes(numbers(4).shuffle(), batch_size=2, num_workers=2, shuffle=True)
        assert once == [[0, 3], [0, 3], [2, 1], [2, 1]]

    def test_the_share_is_known_when_a_worker_begins(self):
        def begin(worker_id):
            pipe = get_worker_info().dataset
            assert (pipe.num_of_instances, pipe.instance_id) == (2, worker_id)

        assert len(list(DataLoader(numbers(4).sharding_filter(), num_workers=2, worker_init_fn=begin))) == 4

    def test_shuffling_a_pipe_that_cannot(self):
        with pytest.warns(UserWarning, match="samples come in the order of the pipe"):
            (once, _), _ = passes(numbers(4), batch_size=4, shuffle=True)
        assert once == [[0, 1, 2, 3]]

    def test_other_orders_are_refused(self):
        with pytest.raises(ValueError, match="unspecified sampler"):
            DataLoader(numbers(), sampler=[1])

    def test_lengths(self):
        assert len(DataLoader(numbers().sharding_filter(), batch_size=3)) == 4
        with pytest.raises(TypeError):
            len(DataLoader(numbers().filter(bool)))

    def test_a_pass_ends_the_one_before(self):
        loader = DataLoader(numbers().shuffle(), batch_size=2)
        first = iter(loader)
        next(first)
        next(iter(loader))
        with pytest.raises(RuntimeError, match="invalidated"):
            next(first)


def test_a_pipe_is_an_iterable_dataset():
    assert isinstance(numbers(), flambeau.utils.data.IterableDataset) and issubclass(IterDataPipe, flambeau.utils.data.Dataset)
