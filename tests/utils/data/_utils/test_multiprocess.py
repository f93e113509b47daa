from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import flambeau
from flambeau.utils.data import DataLoader, IterableDataset, get_worker_info

# Two workers are as many as any machine can run without a warning that fails the test.
pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="these tests define datasets locally"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


@pytest.fixture(autouse=True)
def no_worker_is_left_behind():
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert multiprocessing.active_children() == []


def values(loader):
    return [batch.tolist() for batch in loader]


class Function:
    """A dataset whose samples a function makes."""

    def __init__(self, function, size=8):
        self.function = function
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.function(index)


class Shares(IterableDataset):
    """A stream of which worker ``i`` yields ``shares[i]``."""

    def __init__(self, *shares):
        self.shares = shares

    def __iter__(self):
        return iter(self.shares[get_worker_info().id])


@pytest.mark.parametrize("prefetch", [None, 1, 7])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_same_batches_as_without_workers(workers, prefetch):
    loader = DataLoader(range(23), batch_size=3, num_workers=workers, prefetch_factor=prefetch)
    assert values(loader) == values(DataLoader(range(23), batch_size=3))
    assert len(iter(loader)) == 8


def test_shuffles_are_the_same_too():
    orders = []
    for workers in (0, 2):
        flambeau.manual_seed(0)
        orders.append(values(DataLoader(range(10), batch_size=10, shuffle=True, num_workers=workers)))
    assert orders == [[[6, 7, 1, 4, 2, 0, 9, 8, 3, 5]]] * 2


def test_large_batches_arrive_whole():
    dataset = Function(lambda i: (flambeau.full((3, 64, 64), float(i)), {"name": f"image {i}", "mask": np.full(9999, i)}), size=40)
    kept = list(DataLoader(dataset, batch_size=4, num_workers=2))
    assert [image[:, 0, 0, 0].tolist() for image, _ in kept] == [[4 * b + i for i in range(4)] for b in range(10)]
    assert [image[:, 2, 63, 63].tolist() for image, _ in kept] == [[4 * b + i for i in range(4)] for b in range(10)]
    assert all((target["mask"][i] == 4 * b + i).all() for b, (_, target) in enumerate(kept) for i in range(4))
    assert kept[9][1]["name"] == ["image 36", "image 37", "image 38", "image 39"]


def test_tasks_and_batches_larger_than_the_pipe():
    """Both directions full at once must not wait for each other."""
    indices = [list(range(100_000))] * 6
    loader = DataLoader(
        range(100_000), batch_sampler=indices, num_workers=1, collate_fn=lambda samples: [str(i) for i in samples], timeout=60
    )
    assert [len(batch) for batch in loader] == [100_000] * 6


def test_workers_and_their_seeds_are_pytorchs():
    def describe(index):
        info = get_worker_info()
        threads = flambeau.get_num_threads()
        return repr(
            (info.id, info.num_workers, info.seed, len(info.dataset), threads, random.random(), np.random.rand(), flambeau.rand(1).item())
        )

    flambeau.manual_seed(0)
    described = [eval(batch[0], {"np": np}) for batch in DataLoader(Function(describe, size=3), num_workers=2)]
    seed = 900450186894289455
    assert described == [
        (0, 2, seed, 3, 1, 0.21315340548154382, 0.8371640508861415, 0.7821398973464966),
        (1, 2, seed + 1, 3, 1, 0.7733861492043289, 0.6702704958690073, 0.6938178539276123),
        (0, 2, seed, 3, 1, 0.2764485855185723, 0.38757835109739946, 0.053598999977111816),
    ]
    assert get_worker_info() is None


def test_worker_init_fn():
    def initialise(worker):
        get_worker_info().dataset.function = lambda index: (worker + 1) * 100 + index

    assert values(DataLoader(Function(None, size=4), num_workers=2, worker_init_fn=initialise)) == [[100], [201], [102], [203]]


def test_an_iterable_dataset_is_copied_to_every_worker():
    loader = DataLoader(Shares([0, 1, 2], [0, 1, 2]), num_workers=2, batch_size=2)
    assert values(loader) == [[0, 1], [0, 1], [2], [2]]


def test_shares_of_unequal_length_are_interleaved_the_same_way_each_time():
    loader = DataLoader(Shares([0], [10, 11, 12, 13, 14], [20, 21]), num_workers=3, batch_size=None)
    expected = [0, 10, 20, 11, 21, 12, 13, 14]
    assert [list(loader) for _ in range(5)] == [expected] * 5


def test_an_iterable_dataset_longer_than_it_said():
    class Liar(Shares):
        def __len__(self):
            return 3

    loader = DataLoader(Liar([0, 1], [2, 3]), num_workers=2)
    assert len(loader) == 3
    with pytest.warns(UserWarning, match=r"4 batches have been fetched. With worker processes"):
        assert len(list(loader)) == 4


def test_out_of_order_a_slow_worker_holds_nobody_up(tmp_path):
    gate = tmp_path / "gate"

    def wait(index):
        while index == 0 and not gate.exists():
            time.sleep(0.005)
        return index

    iterator = iter(DataLoader(Function(wait), num_workers=2, in_order=False, timeout=60))
    first = [next(iterator).item() for _ in range(5)]
    assert 0 not in first
    gate.touch()
    assert sorted(first + [batch.item() for batch in iterator]) == list(range(8))


def test_persistent_workers_stay():
    loader = DataLoader(Function(lambda index: os.getpid(), size=4), num_workers=2, persistent_workers=True)
    first, second = values(loader), values(loader)
    assert first == second
    assert len({pid for (pid,) in first}) == 2
    loader._iterator.stop()


def test_workers_that_need_not_stay_do_not():
    loader = DataLoader(Function(lambda index: os.getpid(), size=4), num_workers=2)
    assert not {pid for (pid,) in values(loader)} & {pid for (pid,) in values(loader)}


def test_a_persistent_pass_that_was_left_early_leaves_nothing_over():
    loader = DataLoader(range(100), num_workers=2, persistent_workers=True, prefetch_factor=4)
    for count in (1, 3, 0, 5):
        iterator = iter(loader)
        assert [next(iterator).item() for _ in range(count)] == list(range(count))
    assert values(loader) == [[i] for i in range(100)]
    loader._iterator.stop()


def test_persistent_workers_iterate_a_stream_anew():
    loader = DataLoader(Shares([0, 1], [2]), num_workers=2, batch_size=None, persistent_workers=True)
    assert list(loader) == list(loader) == [0, 2, 1]
    loader._iterator.stop()


def test_persistent_workers_draw_one_base_seed():
    flambeau.manual_seed(0)
    loader = DataLoader(range(4), num_workers=1, persistent_workers=True)
    for _ in range(2):
        list(loader)
    assert flambeau.randint(2**31, (1,)).item() == 1478610112
    loader._iterator.stop()


def fail_at(bad, error):
    def sample(index):
        if index == bad:
            raise error
        return index

    return Function(sample, size=4)


class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("no such thing"), ValueError), (KeyError("missing"), KeyError), (Awkward(1, 2), RuntimeError)]
)
def test_an_error_arrives_with_its_class_and_traceback(error, kind):
    with pytest.raises(kind) as caught:
        list(DataLoader(fail_at(2, error), num_workers=2))
    text = str(caught.value)
    assert text.startswith(f"Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal Traceback")
    assert "in sample\n" in text
    assert "raise error" in text


def test_an_error_of_a_class_that_cannot_be_pickled():
    class Local(Exception):
        pass

    with pytest.raises(RuntimeError, match="Caught Local in DataLoader worker process 0"):
        list(DataLoader(fail_at(0, Local("x")), num_workers=1))


def test_an_error_in_one_batch_does_not_end_the_pass():
    iterator = iter(DataLoader(fail_at(1, ValueError("x")), num_workers=2))
    assert next(iterator).item() == 0
    with pytest.raises(ValueError, match="x"):
        next(iterator)
    assert values(iterator) == [[2], [3]]


def test_an_error_in_the_start_of_a_worker():
    def initialise(worker):
        raise ValueError(f"worker {worker} does not want to")

    with pytest.raises(ValueError, match="worker 0 does not want to"):
        list(DataLoader(range(4), num_workers=2, worker_init_fn=initialise))


def test_an_error_in_the_start_of_a_stream():
    with pytest.raises(IndexError, match="Caught IndexError in DataLoader worker process 1"):
        list(DataLoader(Shares([1]), num_workers=2))


def test_a_batch_that_cannot_be_pickled():
    with pytest.raises(Exception, match=r"(?s)in DataLoader worker process 0.*pickle"):
        list(DataLoader(Function(lambda index: lambda: index), num_workers=1, collate_fn=list, timeout=60))


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os._exit(3), "exit status 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
        (lambda: sys.exit(4), "exit status 4"),
    ],
)
def test_a_worker_that_dies_is_noticed(end, how):
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly \({how}"):
        list(DataLoader(Function(lambda index: end()), num_workers=2))


def test_a_pass_that_was_given_up_stays_ended():
    iterator = iter(DataLoader(Function(lambda index: os._exit(3)), num_workers=1))
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        next(iterator)
    assert list(iterator) == []


def test_persistent_workers_are_replaced_after_a_death(tmp_path):
    def sample(index):
        if index == 2 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os._exit(1)
        return index

    loader = DataLoader(Function(sample, size=4), num_workers=1, persistent_workers=True)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(loader)
    assert values(loader) == [[0], [1], [2], [3]]
    loader._iterator.stop()


def test_timeout():
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.2 seconds"):
        list(DataLoader(Function(lambda index: time.sleep(600)), num_workers=1, timeout=0.2))


def test_leaving_a_pass_ends_its_workers():
    iterator = iter(DataLoader(range(1000), num_workers=2))
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    del iterator
    gc.collect()
    assert multiprocessing.active_children() == []


def test_two_loaders_at_once():
    left, right = (iter(DataLoader(range(start, start + 6), num_workers=2)) for start in (0, 100))
    pairs = [(a.item(), b.item()) for a, b in zip(left, right)]
    assert pairs == [(i, 100 + i) for i in range(6)]
    assert list(right) == []


def test_a_process_that_was_forked_meanwhile_does_not_keep_workers_alive():
    iterator = iter(DataLoader(range(6), num_workers=1))
    process = iterator._workers[0].process
    child = os.fork()
    if child == 0:
        time.sleep(600)
    try:
        assert len(list(iterator)) == 6
        assert process.exitcode == 0, "it ended by itself: nobody had to terminate it"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_fork_of_the_main_process_leaves_the_workers_alone():
    iterator = iter(DataLoader(range(6), num_workers=1))
    next(iterator)
    child = os.fork()
    if child == 0:
        del iterator
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert values(iterator) == [[1], [2], [3], [4], [5]]


class Squares:
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return flambeau.tensor(index * index)


def test_spawned_workers():
    assert values(DataLoader(Squares(), batch_size=2, num_workers=1, multiprocessing_context="spawn")) == [[0, 1], [4, 9], [16]]


def run(script):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_an_interrupt_of_the_whole_group_leaves_the_loader_usable():
    process = run(
        """
        import os, time
        from flambeau.utils.data import DataLoader

        class Slow:
            def __len__(self):
                return 6
            def __getitem__(self, index):
                if index == 2:
                    print("waiting", flush=True)
                    time.sleep(0.5)
                return index

        iterator = iter(DataLoader(Slow(), num_workers=1))
        got = []
        while len(got) < 6:
            try:
                got.append(next(iterator).item())
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        print(got, list(iterator))
        """
    )
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.2)  # until the main process has taken what was ready, and waits, too
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("interrupted\n[0, 1, 2, 3, 4, 5] []\n", "", 0)


def test_workers_do_not_outlive_a_killed_main_process():
    process = run(
        """
        import os, time
        from flambeau.utils.data import DataLoader

        class Pid:
            def __len__(self):
                return 100
            def __getitem__(self, index):
                return os.getpid()

        iterators = [iter(DataLoader(Pid(), num_workers=2)) for _ in range(2)]
        print(*{next(iterator).item() for iterator in iterators for _ in range(2)}, flush=True)
        time.sleep(600)
        """
    )
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 4
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pid for pid in workers if is_running(pid)] == []


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_script_that_ends_in_the_middle_of_a_pass_ends():
    process = run(
        """
        from flambeau.utils.data import DataLoader
        iterator = iter(DataLoader(range(100), num_workers=2, persistent_workers=True))
        print(next(iterator).item())
        """
    )
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("0\n", "", 0)
