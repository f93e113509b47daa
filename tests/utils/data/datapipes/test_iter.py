from __future__ import annotations

import io
import pickle

import pytest

import flambeau
from flambeau.utils.data import DataChunk, IterDataPipe, RandomSampler
from flambeau.utils.data.datapipes.iter import Concater, FileLister, IterableWrapper, Sampler, Zipper
from flambeau.utils.data.datapipes.utils.common import StreamWrapper, get_file_pathnames_from_root, validate_input_col

pytestmark = pytest.mark.filterwarnings("ignore:Local function is not supported by pickle")


def numbers(count=10):
    return IterableWrapper(range(count))


def triple(x):
    return 3 * x


def is_odd(x):
    return x % 2 == 1


def rest_of_three(x):
    return x % 3


def fail(x):
    raise ValueError("not this one")


class TestOnePass:
    def test_a_second_iterator_ends_the_first(self):
        pipe = numbers()
        first = iter(pipe)
        assert next(first) == 0
        assert next(iter(pipe)) == 0
        with pytest.raises(
            RuntimeError, match=r"another iterator has been created from the same IterDataPipe: IterableWrapperIterDataPipe\(deep"
        ):
            next(first)

    def test_and_so_does_one_of_a_pipe_that_reads_it(self):
        pipe = numbers()
        first = iter(pipe)
        next(first)
        assert list(pipe.map(triple))[:2] == [0, 3]
        with pytest.raises(RuntimeError, match="invalidated"):
            next(first)

    def test_an_iterator_that_was_not_used_ends_none(self):
        pipe = numbers()
        first = iter(pipe)
        next(first)
        iter(pipe)
        assert next(first) == 1

    def test_reset_is_called_when_a_pass_begins(self):
        events = []

        class Countdown(IterDataPipe):
            def __iter__(self):
                events.append("iterates")
                yield from (2, 1)

            def reset(self):
                events.append("reset")

        pipe = Countdown()
        iterator = iter(pipe)
        assert events == []
        assert next(iterator) == 2 and events == ["reset", "iterates"]
        assert list(pipe) == [2, 1] and events == ["reset", "iterates"] * 2

    def test_a_pipe_that_is_its_own_iterator(self):
        class Countdown(IterDataPipe):
            def reset(self):
                self.left = 3

            def __next__(self):
                self.left -= 1
                if self.left < 0:
                    raise StopIteration
                return self.left

        pipe = Countdown()
        assert list(pipe) == [2, 1, 0] and list(pipe) == [2, 1, 0]

    def test_an_exception_says_once_where_it_comes_from(self):
        with pytest.raises(ValueError, match="not this one") as caught:
            list(numbers().map(fail).filter(bool).batch(2))
        assert str(caught.value).count("This exception is thrown by __iter__ of") == 1
        assert "MapperIterDataPipe(datapipe=IterableWrapperIterDataPipe, fn=fail, input_col=None, output_col=None)" in str(caught.value)


class TestSamples:
    def test_map(self):
        assert list(numbers(3).map(triple)) == [0, 3, 6] and len(numbers(3).map(triple)) == 3
        rows = IterableWrapper([(0, 1, 2)])
        assert list(rows.map(triple, input_col=1)) == [(0, 3, 2)]
        assert list(rows.map(lambda x, y: x + y, input_col=[0, 2])) == [(2, 1)]
        assert list(rows.map(lambda x, y: x + y, input_col=[0, 2], output_col=1)) == [(0, 2, 2)]
        assert list(rows.map(triple, input_col=2, output_col=-1)) == [(0, 1, 2, 6)]
        assert list(IterableWrapper([{"a": 1}]).map(triple, input_col="a", output_col=["b"])) == [{"a": 1, "b": 3}]

    def test_map_leaves_its_source_as_it_is(self):
        rows = [[1, 2]]
        assert list(IterableWrapper(rows, deepcopy=False).map(triple, input_col=0)) == [[3, 2]] and rows == [[1, 2]]

    def test_map_checks_columns_when_it_is_made(self):
        with pytest.raises(ValueError, match="`output_col` must be None when"):
            numbers().map(triple, output_col=1)
        with pytest.raises(ValueError, match="single-element"):
            numbers().map(triple, input_col=0, output_col=[0, 1])
        with pytest.raises(ValueError, match="takes 1 parameters, but 2 are required"):
            numbers().map(triple, input_col=[0, 1])
        with pytest.raises(ValueError, match="takes 2 positional parameters, but 1"):
            numbers().map(lambda x, y: x)
        with pytest.raises(ValueError, match="non-default keyword-only"):
            validate_input_col(lambda x, *, key: x, 0)
        with pytest.raises(TypeError, match="callable function is expected"):
            numbers().map(3)

    def test_functions_that_pickle_cannot_find(self):
        with pytest.warns(UserWarning, match="Local function is not supported by pickle"):
            numbers().filter(lambda x: True)

    def test_filter(self):
        assert list(numbers().filter(is_odd)) == [1, 3, 5, 7, 9]
        assert list(IterableWrapper([(1, 2), (3, 4)]).filter(is_odd, input_col=0)) == [(1, 2), (3, 4)]
        assert list(IterableWrapper([(1, 2), (3, 4)]).filter(lambda x, y: x + y > 3, input_col=[0, 1])) == [(3, 4)]
        with pytest.raises(ValueError, match=r"Boolean output is required .* got <class 'int'>"):
            list(numbers().filter(rest_of_three))
        with pytest.raises(TypeError, match="no len"):
            len(numbers().filter(is_odd))

    def test_batch(self):
        pipe = numbers(7).batch(3)
        assert list(pipe) == [[0, 1, 2], [3, 4, 5], [6]] and len(pipe) == 3
        assert list(numbers(7).batch(3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]] and len(numbers(7).batch(3, drop_last=True)) == 2
        assert list(numbers(4).batch(2, wrapper_class=tuple)) == [(0, 1), (2, 3)]
        with pytest.raises(AssertionError, match="larger than 0"):
            numbers().batch(0)

    def test_chunks(self):
        chunk = next(iter(numbers(4).batch(3)))
        assert type(chunk) is DataChunk and chunk.items == [0, 1, 2] and list(chunk.raw_iterator()) == [0, 1, 2]
        assert chunk.as_str("  ") == "  [0, 1, 2]"
        assert pickle.loads(pickle.dumps(chunk)).items == [0, 1, 2]

    def test_unbatch(self):
        nested = [[[0], [1]], [[2], [3, [4]]]]
        assert list(IterableWrapper(nested).unbatch()) == [[0], [1], [2], [3, [4]]]
        assert list(IterableWrapper(nested).unbatch(2)) == [0, 1, 2, 3, [4]]
        assert list(IterableWrapper(nested).unbatch(-1)) == [0, 1, 2, 3, 4]
        with pytest.raises(IndexError, match="unbatch_level 2 exceeds the depth"):
            list(IterableWrapper([[0, [1]]]).unbatch(2))
        with pytest.raises(ValueError, match="must be -1 or >= 0"):
            list(IterableWrapper(nested).unbatch(-2))

    def test_collate(self):
        ((first, second),) = IterableWrapper([(1, 2), (3, 4)]).batch(2).collate()
        assert first.tolist() == [1, 3] and second.tolist() == [2, 4]
        assert list(numbers(4).batch(2).collate(sum)) == [1, 5] == list(numbers(4).batch(2).collate(collate_fn=sum))

    def test_concat_zip_mux(self):
        assert list(numbers(2).concat(numbers(1), numbers(2))) == [0, 1, 0, 0, 1] and len(numbers(2).concat(numbers(1))) == 3
        assert list(numbers(2).zip(numbers(3))) == [(0, 0), (1, 1)] and len(numbers(2).zip(numbers(3))) == 2
        assert list(IterableWrapper([1, 2, 3]).mux(IterableWrapper([4]), IterableWrapper([5, 6]))) == [1, 4, 5]
        assert len(IterableWrapper([1, 2, 3]).mux(IterableWrapper([4]), IterableWrapper([5, 6]))) == 3
        with pytest.raises(ValueError, match="at least one"):
            Concater()
        with pytest.raises(TypeError, match="IterDataPipe"):
            Zipper([1, 2])

    def test_sampler(self):
        assert list(Sampler(numbers(4))) == [0, 1, 2, 3]
        flambeau.manual_seed(0)
        drawn = Sampler(numbers(6), sampler=RandomSampler, sampler_kwargs={"replacement": True})
        assert list(drawn) == [0, 2, 2, 3, 3, 5] and len(drawn) == 6

    def test_iterables(self):
        generator = (x for x in range(3))
        with pytest.warns(UserWarning, match="can not be deepcopied"):
            assert list(IterableWrapper(generator)) == [0, 1, 2]
        with pytest.raises(TypeError, match="doesn't have valid length"):
            len(IterableWrapper(generator).batch(2))
        rows = [[1]]
        assert next(iter(IterableWrapper(rows))) is not rows[0] and next(iter(IterableWrapper(rows, deepcopy=False))) is rows[0]


class TestGroups:
    def test_groups(self):
        assert list(numbers().groupby(rest_of_three)) == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
        assert list(numbers().groupby(rest_of_three, group_size=2)) == [[0, 3], [1, 4], [2, 5], [6, 9], [7], [8]]
        assert list(numbers(4).groupby(rest_of_three, keep_key=True)) == [(0, [0, 3]), (1, [1]), (2, [2])]

    def test_a_full_buffer_yields_the_largest_group(self):
        assert list(IterableWrapper([0, 1, 1]).groupby(int, buffer_size=3)) == [[1, 1], [0]]
        assert list(numbers().groupby(rest_of_three, buffer_size=4)) == [[0, 3], [1, 4], [2, 5], [6, 9], [7], [8]]
        groups = numbers().groupby(rest_of_three, buffer_size=5, group_size=3, guaranteed_group_size=2)
        assert list(groups) == [[0, 3], [1, 4], [2, 5, 8], [6, 9], [7]]

    def test_a_group_that_is_smaller_than_guaranteed(self):
        with pytest.raises(RuntimeError, match="Failed to group items"):
            list(numbers().groupby(rest_of_three, buffer_size=2, group_size=2))
        assert list(numbers(3).groupby(rest_of_three, buffer_size=2, group_size=2, drop_remaining=True)) == [[2]]

    def test_sizes(self):
        with pytest.raises(AssertionError, match="group_size"):
            numbers().groupby(rest_of_three, buffer_size=2, group_size=3)
        with pytest.raises(AssertionError, match="guaranteed_group_size"):
            numbers().groupby(rest_of_three, guaranteed_group_size=2)


class TestShuffle:
    def test_the_order_is_that_of_pytorch(self):
        pipe = numbers().shuffle()
        flambeau.manual_seed(0)
        assert list(pipe) == [3, 5, 0, 1, 9, 6, 2, 7, 4, 8]
        assert list(pipe) == [3, 4, 9, 2, 6, 5, 8, 0, 7, 1]
        flambeau.manual_seed(0)
        assert list(numbers().shuffle(buffer_size=3)) == [0, 1, 3, 5, 2, 4, 6, 8, 9, 7]

    def test_the_seed_is_drawn_when_the_pass_begins(self):
        iterator = iter(numbers(6).shuffle())
        flambeau.manual_seed(0)
        assert list(iterator) == [1, 3, 0, 2, 5, 4]

    def test_set_seed_is_for_one_pass(self):
        pipe = numbers().shuffle().set_seed(7)
        flambeau.manual_seed(1)
        assert list(pipe) == [5, 2, 8, 7, 0, 1, 3, 6, 4, 9]
        assert list(pipe) == [7, 9, 5, 8, 6, 4, 0, 1, 3, 2]

    def test_set_shuffle(self):
        state = flambeau.get_rng_state()
        assert list(numbers().shuffle().set_shuffle(False)) == list(range(10))
        assert flambeau.equal(flambeau.get_rng_state(), state)

    def test_unbatch_level(self):
        flambeau.manual_seed(0)
        assert list(numbers().batch(3).shuffle(unbatch_level=1)) == [3, 5, 0, 1, 9, 6, 2, 7, 4, 8]

    def test_lengths(self):
        assert len(numbers().shuffle()) == 10
        with pytest.raises(TypeError, match="ShufflerIterDataPipe instance"):
            len(numbers().filter(is_odd).shuffle())
        with pytest.raises(AssertionError, match="buffer_size"):
            numbers().shuffle(buffer_size=0)


class TestSplits:
    def test_fork(self):
        first, second = numbers(5).fork(2)
        iterator = iter(first)
        assert [next(iterator), next(iterator)] == [0, 1]
        assert list(second) == [0, 1, 2, 3, 4] and list(iterator) == [2, 3, 4]
        assert len(first) == 5 and list(second) == list(first) == [0, 1, 2, 3, 4]
        pipe = numbers()
        assert pipe.fork(1) is pipe

    def test_starting_again_starts_all_again(self):
        first, second = numbers(5).fork(2)
        one, other = iter(first), iter(second)
        assert (next(one), next(other)) == (0, 0)
        with pytest.warns(UserWarning, match="Some child DataPipes are not exhausted"):
            again = iter(first)
        assert next(again) == 0
        with pytest.raises(RuntimeError, match=r"one of the ChildDataPipes of _ForkerIterDataPipe\("):
            next(other)
        assert list(second) == [0, 1, 2, 3, 4] and list(again) == [1, 2, 3, 4]

    def test_how_far_ahead_a_fork_may_be(self):
        first, second = numbers(5).fork(2, buffer_size=2)
        assert list(first.zip(second)) == [(x, x) for x in range(5)]
        fast, _ = numbers(5).fork(2, buffer_size=2)
        iterator = iter(fast)
        assert [next(iterator), next(iterator)] == [0, 1]
        with pytest.raises(BufferError, match="buffer size 2 is insufficient"):
            next(iterator)
        with pytest.warns(UserWarning, match="Unlimited buffer size"):
            first, _ = numbers(5000).fork(2, buffer_size=-1)
        assert len(list(first)) == 5000

    def test_copies_of_samples(self):
        assert [x is y for x, y in zip(*IterableWrapper([[1], [2]]).fork(2), strict=True)] == [True, True]
        assert [x is y for x, y in zip(*IterableWrapper([[1], [2]]).fork(2, copy="deep"), strict=True)] == [False, False]
        with pytest.raises(ValueError, match="Unknown copy method `thin`"):
            numbers().fork(2, copy="thin")
        with pytest.raises(ValueError, match="larger than 0"):
            numbers().fork(0)

    def test_demux(self):
        pipes = numbers(7).demux(3, rest_of_three)
        assert [list(pipe) for pipe in pipes] == [[0, 3, 6], [1, 4], [2, 5]] == [list(pipe) for pipe in pipes]
        with pytest.raises(ValueError, match="between 0 and 1. 2 is returned"):
            list(numbers().demux(2, rest_of_three)[0])
        halves = numbers(7).demux(2, lambda x: None if x % 3 == 2 else x % 3, drop_none=True)
        assert [list(pipe) for pipe in halves] == [[0, 3, 6], [1, 4]]
        with pytest.raises(TypeError, match="valid length"):
            len(pipes[0])

    def test_how_many_samples_of_a_demux_may_wait(self):
        source = IterableWrapper([0, 0, 0, 0, 1])
        assert list(source.demux(2, int, buffer_size=4)[1]) == [1]
        with pytest.raises(BufferError, match="buffer size 3"):
            list(source.demux(2, int, buffer_size=3)[1])

    def test_pickling_in_the_middle_starts_again(self):
        first, second = numbers(5).fork(2)
        iterator = iter(first)
        next(iterator)
        copy = pickle.loads(pickle.dumps(second))
        assert list(copy) == [0, 1, 2, 3, 4] and next(iterator) == 1


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "sub").mkdir()
        for name in ("b.txt", "a.txt", "c.json", "sub/d.txt"):
            (tmp_path / name).write_text(f"in {name}")
        return tmp_path

    def names(self, folder, *args, **options):
        return [path.removeprefix(f"{folder}/") for path in FileLister(str(folder), *args, **options)]

    def test_list(self, folder):
        assert self.names(folder) == ["a.txt", "b.txt", "c.json"]
        assert self.names(folder, "*.txt", recursive=True) == ["a.txt", "b.txt", "sub/d.txt"]
        assert self.names(folder, ["*.json", "b*"]) == ["b.txt", "c.json"]
        assert sorted(self.names(folder, non_deterministic=True)) == ["a.txt", "b.txt", "c.json"]
        assert list(IterableWrapper([f"{folder}/sub"]).list_files()) == [f"{folder}/sub/d.txt"]
        assert list(get_file_pathnames_from_root(f"{folder}/a.txt", "")) == [f"{folder}/a.txt"]
        assert len(FileLister(str(folder), length=3)) == 3
        with pytest.raises(TypeError, match="valid length"):
            len(FileLister(str(folder)))
        with pytest.raises(FileNotFoundError):
            self.names(folder / "none")

    def test_open_and_read(self, folder):
        files = FileLister(str(folder), "a*")
        assert list(files.open_files("b").read_from_stream(4)) == [(f"{folder}/a.txt", b"in a"), (f"{folder}/a.txt", b".txt")]
        ((path, stream),) = files.open_files()
        assert stream.read() == "in a.txt" and not stream.closed
        stream.close()
        assert stream.closed and repr(stream) == f"StreamWrapper<{path}>"
        with pytest.raises(ValueError, match="Invalid mode w"):
            files.open_files("w")
        with pytest.raises(ValueError, match="encoding"):
            files.open_files("rb", encoding="utf-8")
        with pytest.raises(TypeError, match="Expected string type for pathname"):
            list(IterableWrapper([3]).open_files())

    def test_streams_are_closed_when_they_are_left(self):
        file = io.StringIO("one\ntwo")
        stream = StreamWrapper(file)
        assert list(stream) == ["one\n", "two"]
        del stream
        assert file.closed
        other = StreamWrapper(io.StringIO())
        StreamWrapper.close_streams([{"a": (other,)}])
        assert other.closed


def test_pickling():
    pipe = pickle.loads(pickle.dumps(numbers().map(triple).shuffle().batch(5)))
    flambeau.manual_seed(0)
    assert list(pipe) == [[9, 15, 0, 3, 27], [18, 6, 21, 12, 24]]
