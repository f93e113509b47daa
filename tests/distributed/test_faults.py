"""What happens when a process dies, is late, does something else, or is not one of ours."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from datetime import timedelta

import pytest

import flambeau as torch
from flambeau import distributed
from flambeau.distributed.connect import _WISH, _call, _listen, _Reception
from flambeau.distributed.store import HashStore
from flambeau.multiprocessing import ProcessExitedException, ProcessRaisedException
from tests.distributed.jobs import run


@pytest.fixture(params=[True, False], ids=["shared", "sockets"])
def shared(request):
    return request.param


def _dies(rank):
    x = torch.ones(1_000_000)
    distributed.all_reduce(x)
    if rank == 1:
        os._exit(0)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 1 is gone: its process has ended or has left the group"):
        for _ in range(3):
            distributed.all_reduce(x)
    assert time.monotonic() - start < 20
    with pytest.raises(RuntimeError, match="this group does not work any more, since .* rank 1"):
        distributed.barrier()
    with pytest.raises(RuntimeError, match="rank 1 is gone"):
        distributed.recv(x, 1)


def test_a_dead_process_is_noticed(shared):
    run(_dies, shared=shared)


def _third(rank):
    """Process 0 waits for process 1, which waits for process 2, which is killed: all are told of it."""
    if rank == 2:
        os._exit(0)
    with pytest.raises(RuntimeError, match="rank 2 is gone"):
        distributed.all_reduce(torch.ones(10))
    if rank == 0:
        time.sleep(0.2)


def test_the_reason_travels():
    run(_third, 3)


def _disagree(rank):
    calls = [
        lambda: distributed.all_reduce(torch.ones(2 + rank)),
        lambda: distributed.all_reduce(torch.ones(2, dtype=(torch.float32, torch.float64)[rank])),
        lambda: distributed.all_reduce(torch.ones(2)) if rank else distributed.broadcast(torch.ones(2), 0),
        lambda: distributed.all_to_all_single(torch.ones(4), torch.ones(4), None, [1, 3] if rank else [2, 2]),
    ]
    messages = [
        r"processes disagree: rank \d called all_reduce\(float32\[(2|3)\], SUM\), this one all_reduce\(float32\[(2|3)\], SUM\)",
        r"all_reduce\(float(32|64)\[2\], SUM\), this one all_reduce\(float(32|64)\[2\], SUM\)",
        r"called (all_reduce|broadcast)\(float32\[2\], (SUM|from 0)\), this one (all_reduce|broadcast)",
        r"rank 1 sends (4|itself 12) bytes where (8|4) are expected",
    ]
    for call, message in zip(calls, messages, strict=True):
        group = distributed.new_group(timeout=timedelta(seconds=20))
        default, distributed.GroupMember.WORLD = distributed.GroupMember.WORLD, group
        try:
            with pytest.raises(RuntimeError, match=message):
                call()
                distributed.barrier()  # one of two may see its own call succeed
        finally:
            distributed.GroupMember.WORLD = default
        distributed.barrier()


def test_different_calls_are_named():
    run(_disagree)


def _silent(rank):
    if rank:
        time.sleep(1.0)
        return
    with pytest.raises(RuntimeError, match=r"all_reduce\(float32\[1\], SUM\): timed out after 0.3 seconds without a word from rank\(s\) 1"):
        distributed.all_reduce(torch.ones(1))


def test_a_silent_process_is_given_up():
    run(_silent, timeout=0.3)


def _raises(rank):
    if rank == 1:
        raise KeyError("here")
    distributed.barrier()


def test_errors_of_processes_are_told():
    with pytest.raises(
        ProcessRaisedException, match=r"(?s)-- Process \d terminated with the following error:.*(KeyError: 'here'|rank 1 is gone)"
    ):
        run(_raises)


def _killed(rank):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


def test_a_killed_process_ends_the_others():
    start = time.monotonic()
    with pytest.raises(ProcessExitedException, match="process 1 terminated with signal SIGKILL"):
        run(_killed)
    assert time.monotonic() - start < 25


def _interrupted(rank):
    distributed.barrier()
    if rank:
        time.sleep(0.5)
        with pytest.raises(RuntimeError, match="rank 0 was interrupted|rank 0 is gone"):
            for _ in range(2):  # its part of the first was sent before
                distributed.all_reduce(torch.ones(1))
        return
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        distributed.all_reduce(torch.ones(1))


def test_interrupts_end_the_wait():
    run(_interrupted)


def test_somebody_does_not_come(tmp_path):
    with pytest.raises(RuntimeError, match=r"rank\(s\) 1 did not come within 0:00:00.1"):
        distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=2, timeout=timedelta(milliseconds=100)
        )
    assert not distributed.is_initialized()


def test_strangers_do_not_come_in():
    """Whoever does not know the token is not taken for a process of the group, and a silent one keeps nobody waiting."""
    store = HashStore()
    listening = _listen(False, store)
    port = listening.getsockname()[1]
    reception = _Reception(listening, b"token", {(1, 0)})
    silent = socket.create_connection((listening.getsockname()[0], port))
    with socket.create_connection((listening.getsockname()[0], port)) as noisy:
        noisy.sendall(b"\x80\x04cos\nsystem\n" * 100)
    with pytest.raises(OSError, match="knows another secret"):
        _call(listening.getsockname(), b"guess", _WISH.pack(1, 0), 5)
    assert not reception.found
    ours = _call(listening.getsockname(), b"token", _WISH.pack(1, 0), 5)
    assert list(reception.wait(time.monotonic() + 5)) == [(1, 0)]
    reception.close()
    for each in (silent, ours, *reception.found.values()):
        each.close()


def _forks(rank):
    """A forked child holds copies of the connections: they must not hide the death of its parent."""
    if rank == 1:
        child = os.fork()
        if child == 0:
            try:
                distributed.barrier()
            except RuntimeError:
                time.sleep(3)
            os._exit(0)
        os._exit(0)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 1 is gone"):
        distributed.barrier()
    assert time.monotonic() - start < 2.5


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_is_no_member():
    run(_forks)
