"""The queue and the file: nothing is lost, nothing is torn, nothing hangs."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import warnings

import pytest

from flambeau.utils.tensorboard import SummaryReader, SummaryWriter, _background
from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard._event_file import EventFile, Later, tag_bytes

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")


@pytest.fixture
def no_background(monkeypatch):
    """A background thread that never comes."""
    monkeypatch.setattr(_background, "schedule", lambda file: None)


def text_event(text: str) -> bytes:
    return wire.data(5, wire.data(1, wire.text(1, text) + wire.float32(2, 1.0)))


class Pending:
    """A tensor of one element on some tape: its number exists when somebody asks, or when its thread has flushed."""

    class Storage:
        buffer = error = None
        tape = "another thread's"

    def __init__(self, number: float) -> None:
        self.number, self.memory = number, Pending.Storage()
        self.shape, self.dtype, self.asked = (), "float32", False

    def detach(self) -> Pending:
        return self

    clone = detach

    def numel(self) -> int:
        return 1

    def compute(self) -> None:
        self.memory.tape, self.memory.buffer = None, b""

    def item(self) -> float:
        self.asked = True
        return self.number


def test_background_thread_writes_without_flush(log_dir):
    writer = SummaryWriter(log_dir)
    writer.add_scalar("loss", 1.0, 1)
    reader = SummaryReader(log_dir)
    deadline = time.monotonic() + 30
    while "loss" not in reader.tags():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    writer.close()


def test_order_is_kept_among_kinds(log_dir, read_events):
    with SummaryWriter(log_dir) as writer:
        for step in range(1, 6):
            writer.add_scalar("a", step, step)
            writer.add_text("b", "x", step)
            writer.add_histogram("c", [1.0] and step * 1.0, step)
    tags = [(event.step, event.summary.value[0].tag) for event in read_events(log_dir)[1:]]
    assert tags == [(step, tag) for step in range(1, 6) for tag in ("a", "b/text_summary", "c")]


def test_max_queue_bounds_what_waits(log_dir, no_background):
    file = EventFile(log_dir, max_queue=3, flush_secs=120, suffix="")
    waiting = []
    for index in range(10):
        waiting.append(index)
        file.put_later(Later("x", lambda: waiting.remove(waiting[0]), ()), None, 1.0)
        assert len(waiting) <= 3
    file.close()
    assert not waiting


def test_numbers_that_nobody_writes_are_written_by_the_caller(log_dir, no_background):
    with SummaryWriter(log_dir) as writer:
        queue = writer.file_writer.event_writer.queue
        for step in range(200_000):
            writer.add_scalar("loss", 1.0, step)
            assert len(queue) <= 1 << 16
    assert len(SummaryReader(log_dir).scalars("loss").steps) == 200_000


def test_pending_tensor_is_left_to_its_thread(log_dir, no_background):
    file = EventFile(log_dir, max_queue=10, flush_secs=120, suffix="")
    pending = Pending(2.5)
    for value in (1.5, pending, 3.5):
        file.put_scalar(tag_bytes["loss"], value, 0, 1.0)
    assert not file.tend()
    assert not pending.asked
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [1.5]
    pending.compute()
    assert file.tend()
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [1.5, 2.5, 3.5]
    file.close()


def test_pending_tensor_is_computed_by_flush(log_dir):
    writer = SummaryWriter(log_dir)
    pending = Pending(2.5)
    writer.add_scalar("loss", pending)
    assert not pending.asked
    writer.flush()
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [2.5]
    writer.close()


def test_tensor_that_cannot_be_computed_is_dropped_with_a_warning(log_dir):
    class Broken(Pending):
        def item(self):
            raise RuntimeError("index 7 is out of bounds")

    writer = SummaryWriter(log_dir)
    for value in (1.0, Broken(0), 2.0):
        writer.add_scalar("loss", value, 3)
    with pytest.warns(RuntimeWarning, match=r"'loss' of step 3 was not logged.*index 7 is out of bounds"):
        writer.close()
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [1.0, 2.0]


def test_late_entry_of_a_closed_file_goes_to_a_new_one(log_dir):
    """As when a thread logs while another closes."""
    file = EventFile(log_dir, max_queue=10, flush_secs=120, suffix="")
    file.close()
    file.put_scalar(tag_bytes["loss"], 1.0, 1, 1.0)
    file.close()
    assert SummaryReader(log_dir).scalars("loss").steps.tolist() == [1]
    assert len(os.listdir(log_dir)) == 2


class FailingFile:
    """Stands before a file; fails after so many bytes, half of a write being done."""

    unsynced = False

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, contents: bytes, offset: int) -> None:
        if len(contents) > self.room:
            self.file.write(contents[: self.room], offset)
            raise OSError(28, "No space left on device")
        self.file.write(contents, offset)

    def truncate(self, size: int) -> None:
        self.file.truncate(size)

    def sync(self) -> None:
        self.file.sync()

    def close(self) -> None:
        self.file.close()


def test_full_disk_is_warned_of_once_and_leaves_no_half_record(log_dir, no_background):
    file = EventFile(log_dir, max_queue=10, flush_secs=120, suffix="")
    file.put_scalar(tag_bytes["loss"], 1.0, 1, 1.0)
    file.flush()
    file._file = full = FailingFile(file._file, room=20)
    file.put_scalar(tag_bytes["loss"], 2.0, 2, 1.0)
    with pytest.warns(RuntimeWarning, match="cannot write events to .*No space left on device"):
        file.flush()
    size = os.path.getsize(os.path.join(log_dir, os.listdir(log_dir)[0]))
    assert size == file._offset
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file.put_scalar(tag_bytes["loss"], 3.0, 3, 1.0)
        file.flush()
        full.room = 1 << 20
        file.put_scalar(tag_bytes["loss"], 4.0, 4, 1.0)
        file.flush()
    full.room = 0
    file.put_scalar(tag_bytes["loss"], 5.0, 5, 1.0)
    with pytest.warns(RuntimeWarning, match="No space left"):  # it had worked again
        file.close()
    reader = SummaryReader(log_dir)
    assert reader.scalars("loss").steps.tolist() == [1, 4]
    assert reader.bytes_lost == 0


def test_interrupted_drain_is_repeated(log_dir, no_background):
    file = EventFile(log_dir, max_queue=10, flush_secs=120, suffix="")

    class Interrupted(FailingFile):
        def write(self, contents, offset):
            self.file.write(contents[: self.room], offset)
            raise KeyboardInterrupt

    real = file._file
    file._file = Interrupted(real, room=30)
    for step in (1, 2, 3):
        file.put_scalar(tag_bytes["loss"], 1.0, step, 1.0)
    with pytest.raises(KeyboardInterrupt):
        file.flush()
    file._file = real
    file.put_scalar(tag_bytes["loss"], 1.0, 4, 1.0)
    file.close()
    reader = SummaryReader(log_dir)
    assert reader.scalars("loss").steps.tolist() == [1, 2, 3, 4]
    assert reader.bytes_lost == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals")
def test_signal_handler_that_flushes_and_closes_does_not_hang(log_dir):
    writer = SummaryWriter(log_dir)
    calls, numbers = [], itertools.count()

    def handler(*_):  # may itself be interrupted by the next signal
        writer.add_scalar("signal", 1.0, next(numbers))
        writer.flush()
        if len(calls) % 10 == 9:
            writer.close()
        calls.append(None)

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        step = 0
        deadline = time.monotonic() + 30
        while len(calls) < 200 and time.monotonic() < deadline:
            writer.add_scalar("loss", 1.0, step)
            step += 1
            if step % 50 == 0:
                writer.flush()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    writer.close()
    _background.finish_all()  # an entry that was on its way when the handler closed the file comes later
    reader = SummaryReader(log_dir)
    assert len(calls) >= 200
    assert sorted(reader.scalars("loss").steps.tolist()) == list(range(step))
    assert sorted(reader.scalars("signal").steps.tolist()) == list(range(len(calls)))
    assert reader.bytes_lost == 0


def test_threads_lose_nothing(log_dir):
    with SummaryWriter(log_dir) as writer:

        def work(name: str) -> None:
            for step in range(3000):
                writer.add_scalar(name, step, step)
                if step % 500 == 0:
                    writer.flush()

        threads = [threading.Thread(target=work, args=(f"thread{index}",)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader = SummaryReader(log_dir)
    for index in range(6):
        assert reader.scalars(f"thread{index}").steps.tolist() == list(range(3000))


def test_many_writers_in_one_directory(log_dir):
    writers = [SummaryWriter(log_dir) for _ in range(20)]
    for index, writer in enumerate(writers):
        writer.add_scalar(f"writer{index}", index, index)
    for writer in writers:
        writer.close()
    reader = SummaryReader(log_dir)
    assert [reader.scalars(f"writer{index}").steps.tolist() for index in range(20)] == [[index] for index in range(20)]


def test_writer_that_is_dropped_is_written(log_dir):
    SummaryWriter(log_dir).add_scalar("loss", 1.0, 1)
    _background.finish_all()
    reader = SummaryReader(log_dir)
    deadline = time.monotonic() + 30
    while "loss" not in reader.tags():
        assert time.monotonic() < deadline
        time.sleep(0.05)


WITHOUT_CLOSE = """
    import sys
    from flambeau.utils.tensorboard import SummaryWriter
    writer = SummaryWriter(sys.argv[1])
    for step in range(100):
        for tag in ("Loss/train", "Loss/test", "Accuracy/train", "Accuracy/test"):
            writer.add_scalar(tag, 0.5, step)
    writer.add_image("image", __import__("numpy").zeros((3, 8, 8)), 1)
"""


@pytest.mark.parametrize(("end", "status"), [("", 0), ("raise ValueError('bug')", 1), ("sys.exit(3)", 3)], ids=["end", "exception", "exit"])
def test_program_that_ends_without_close_loses_nothing(end, status, log_dir, run_script, read_events):
    run_script(WITHOUT_CLOSE + f"\n    {end}", log_dir, status=status)
    reader = SummaryReader(log_dir)
    assert sum(len(reader.scalars(tag).steps) for tag in reader.tags()) == 400
    assert read_events(log_dir)[-1].summary.value[0].HasField("image")


def test_killed_program_loses_only_what_was_not_flushed(log_dir, run_script):
    result = run_script(
        """
        import os, signal, sys
        from flambeau.utils.tensorboard import SummaryWriter
        writer = SummaryWriter(sys.argv[1])
        for step in range(10_000):
            writer.add_scalar("loss", step, step)
            if step == 5000:
                writer.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        log_dir,
        status=None,
    )
    assert result.returncode == -signal.SIGKILL
    reader = SummaryReader(log_dir)
    steps = reader.scalars("loss").steps
    assert len(steps) > 5000
    assert steps.tolist() == list(range(len(steps)))
    assert reader.bytes_lost == 0


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="RLIMIT_FSIZE")
def test_file_size_limit(log_dir, run_script):
    """A disk that fills up: the program goes on, is told once, and what fitted is readable."""
    result = run_script(
        """
        import resource, sys
        from flambeau.utils.tensorboard import SummaryWriter
        writer = SummaryWriter(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        for step in range(3000):
            writer.add_scalar("loss", step, step)
            if step % 100 == 0:
                writer.flush()
        writer.close()
        print("done")
        """,
        log_dir,
    )
    assert result.stdout == "done\n"
    assert result.stderr.count("cannot write events") == 1
    reader = SummaryReader(log_dir)
    steps = reader.scalars("loss").steps
    assert len(steps) > 200
    assert steps.tolist() == list(range(len(steps)))
    assert reader.bytes_lost == 0


@pytest.mark.parametrize("where", ["a file/run", "a file"])
def test_directory_that_cannot_be_made(where, tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.raises(OSError, match="a file"):
        SummaryWriter(str(tmp_path / where))


@needs_fork
def test_fork_in_the_middle(log_dir, run_script):
    """The child neither hangs nor repeats what the parent had queued, and has a file of its own."""
    run_script(
        """
        import os, sys, threading
        from flambeau.utils.tensorboard import SummaryWriter
        writer = SummaryWriter(sys.argv[1])
        stop = threading.Event()
        def log():
            step = 0
            while not stop.is_set():
                writer.add_scalar("thread", step, step)
                step += 1
        thread = threading.Thread(target=log)
        thread.start()
        for fork in range(8):
            for step in range(100):
                writer.add_scalar("parent", step, fork * 100 + step)
            child = os.fork()
            if child == 0:
                for step in range(50):
                    writer.add_scalar("child", step, fork * 50 + step)
                writer.add_hparams({"fork": fork}, {"m": fork}, run_name=f"fork{fork}")
                if fork % 2:
                    writer.close()
                else:
                    writer.flush()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        thread.join()
        """,
        log_dir,
    )
    reader = SummaryReader(log_dir)
    assert reader.scalars("parent").steps.tolist() == list(range(800))
    assert sorted(reader.scalars("child").steps.tolist()) == list(range(400))
    thread = reader.scalars("thread").steps
    assert thread.tolist() == list(range(len(thread)))
    assert len([name for name in os.listdir(log_dir) if "tfevents" in name]) == 9
    assert reader.bytes_lost == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_end_without_close(method, log_dir, tmp_path, run_script):
    """multiprocessing ends its children without atexit; pickled and inherited writers lose nothing all the same."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("fork")
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing, sys
from flambeau.utils.tensorboard import SummaryWriter

def work(writer, index):
    for step in range(100):
        writer.add_scalar(f"process{index}", step, step)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    writer = SummaryWriter(sys.argv[1])
    writer.add_scalar("parent", 1, 1)
    processes = [context.Process(target=work, args=(writer, index)) for index in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
"""
    )
    run_script(f"import runpy, sys; sys.path.insert(0, ''); runpy.run_path({str(script)!r}, run_name='__main__')", log_dir, method)
    reader = SummaryReader(log_dir)
    assert reader.tags() == ["parent", "process0", "process1", "process2"]
    for index in range(3):
        assert reader.scalars(f"process{index}").steps.tolist() == list(range(100))
