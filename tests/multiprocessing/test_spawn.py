from __future__ import annotations

import os
import pickle
import tempfile
import time

import pytest

from flambeau import multiprocessing
from flambeau.multiprocessing import ProcessContext, ProcessExitedException, ProcessRaisedException


def _writes(number, folder):
    with open(f"{folder}/{number}", "w") as file:
        file.write(str(os.getpid()))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_process_gets_its_number(tmp_path, method):
    assert multiprocessing.start_processes(_writes, (str(tmp_path),), 2, start_method=method) is None
    assert len({(tmp_path / str(number)).read_text() for number in range(2)}) == 2


def _waits(number):
    time.sleep(30)


def test_what_was_started_is_ended_if_the_rest_cannot_be(monkeypatch):
    folder = tempfile.mkdtemp()
    monkeypatch.setattr(tempfile, "tempdir", folder)
    start, started = ProcessContext._start, []

    def second_fails(self, context, function, number, arguments, daemon):
        if number == 1:
            raise OSError("no more processes")
        start(self, context, function, number, arguments, daemon)
        started.extend(self.processes)

    monkeypatch.setattr(ProcessContext, "_start", second_fails)
    with pytest.raises(OSError, match="no more processes"):
        multiprocessing.start_processes(_waits, (), 2, start_method="fork")
    assert not started[0].is_alive() and os.listdir(folder) == []
    os.rmdir(folder)


def test_without_join(tmp_path):
    context = multiprocessing.start_processes(_writes, (str(tmp_path),), 2, join=False, start_method="fork")
    assert len(context.pids()) == 2
    while not context.join(timeout=1):
        pass
    assert context.join()


def _fails(number, how):
    if number == 1:
        if how == "raise":
            raise ValueError("the reason")
        os._exit(how)
    time.sleep(30)


def test_exceptions_come_with_their_traceback():
    with pytest.raises(
        ProcessRaisedException, match=r"(?s)-- Process 1 terminated with the following error:.*ValueError: the reason"
    ) as info:
        multiprocessing.start_processes(_fails, ("raise",), 2, start_method="fork")
    assert info.value.error_index == 1
    again = pickle.loads(pickle.dumps(info.value))
    assert (str(again), again.error_index, again.error_pid) == (str(info.value), 1, info.value.error_pid)


def test_exit_codes():
    with pytest.raises(ProcessExitedException, match="process 1 terminated with exit code 7") as info:
        multiprocessing.start_processes(_fails, (7,), 2, start_method="fork")
    assert info.value.exit_code == 7 and pickle.loads(pickle.dumps(info.value)).exit_code == 7


def test_pythons_names_are_there():
    assert multiprocessing.get_context("spawn").get_start_method() == "spawn"
    assert multiprocessing.Queue is not None and multiprocessing.get_sharing_strategy() == "file_descriptor"
