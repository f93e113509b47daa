"""Calls between processes, what goes wrong with them, and references to values in others."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
import weakref

import pytest

import flambeau as torch
from flambeau import multiprocessing, nn
from flambeau.distributed import rpc
from flambeau.distributed.rpc.agent import current_agent
from flambeau.futures import Future
from tests.distributed.jobs import run_rpc

# -- calls -----------------------------------------------------------------------------------------------------------------


def _describe(x):
    return type(x).__name__, x.dtype, tuple(x.shape), x.stride(), x.requires_grad


def _same(x):
    return x


class OddError(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


class HiddenError(Exception):
    def __repr__(self):
        raise TypeError("no text")

    __str__ = __repr__


def _fails(kind):
    raise {"value": ValueError("bad value"), "odd": OddError(1, 2), "hidden": HiddenError()}[kind]


def _ask_back(to, depth):
    """Processes that call each other in turn."""
    return depth if not depth else rpc.rpc_sync(to, _ask_back, args=(rpc.get_worker_info().name, depth - 1))


@rpc.functions.async_execution
def _add_there(to, x, y, z):
    return rpc.rpc_async(to, torch.add, args=(x, y)).then(lambda future: future.wait() + z)


@rpc.functions.async_execution
def _no_future():
    return 1


def _calls(rank):
    if rank:
        return
    assert (rpc.get_worker_info(), rpc.get_worker_info("worker1").id) == (rpc.WorkerInfo("worker0", 0), 1)
    for to in ("worker1", 1, rpc.get_worker_info("worker1"), "worker0"):
        assert torch.equal(rpc.rpc_sync(to, torch.add, args=(torch.ones(2), 3)), torch.full((2,), 4.0))
    big = torch.arange(300_000.0).reshape(300, 1000)
    values = [big, big.t(), big[::2, ::3], torch.tensor(True), torch.zeros(0, 3), torch.ones(2, dtype=torch.bfloat16), torch.ones(2) * 1j]
    for value, back in zip(values, rpc.rpc_sync(1, _same, args=(values,)), strict=True):
        assert torch.equal(value, back) and value.dtype == back.dtype
        assert back.stride() == value.stride() or not value.layout.dense
    assert rpc.rpc_sync(1, _describe, args=(nn.Parameter(big.t()),)) == ("Parameter", torch.float32, (1000, 300), (1, 1000), True)
    assert rpc.rpc_sync(1, _describe, kwargs={"x": torch.ones(2, requires_grad=True)})[-1]
    module = rpc.rpc_sync(1, nn.Linear, args=(2, 3))
    assert isinstance(module, nn.Linear) and module.weight.requires_grad
    futures = [rpc.rpc_async(1, torch.mul, args=(torch.tensor(each), 2)) for each in range(50)]
    assert [each.wait().item() for each in futures] == list(range(0, 100, 2))
    assert rpc.rpc_async(1, _same, args=(1,)).then(lambda future: rpc.rpc_sync(1, _same, args=(future.wait() + 1,))).wait() == 2
    assert rpc.rpc_sync(1, _ask_back, args=("worker0", 9)) == 0
    assert rpc.rpc_sync(1, _add_there, args=("worker0", torch.ones(1), 2, 3)).item() == 6


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "sockets"])
def test_calls(shared):
    """With one thread each: a function that waits for a call of its own keeps nobody from running."""
    run_rpc(_calls, shared=shared, threads=1)


def _errors(rank):
    if rank:
        return
    with pytest.raises(ValueError, match=r"(?s)worker1 \(rank 1\) raised ValueError\('bad value'\).*in _fails"):
        rpc.rpc_sync(1, _fails, args=("value",))
    with pytest.raises(RuntimeError, match=r"raised OddError\(1, 2\)"):
        rpc.rpc_sync(1, _fails, args=("odd",))
    with pytest.raises(HiddenError):
        rpc.rpc_sync(1, _fails, args=("hidden",), timeout=30)
    with pytest.raises(RuntimeError, match="_no_future is decorated with async_execution and has to return a Future, but returned int"):
        rpc.rpc_sync(1, _no_future)
    with pytest.raises(TypeError, match="cannot pickle"):
        rpc.rpc_sync(1, open, args=(os.devnull,))
    with pytest.raises((AttributeError, TypeError), match=r"Can't (pickle|get) local object"):
        rpc.rpc_sync(1, lambda: 1)
    with pytest.raises(RuntimeError, match=r"RPC ran for more than set timeout \(50 ms\): sleep on worker1"):
        rpc.rpc_sync(1, time.sleep, args=(0.5,), timeout=0.05)
    with pytest.raises(RuntimeError, match="Unknown destination worker 'nobody': there are worker0, worker1"):
        rpc.rpc_sync("nobody", _same, args=(1,))
    with pytest.raises(TypeError, match="function should be callable, but is 3"):
        rpc.rpc_async(1, 3)
    with pytest.raises(RuntimeError, match="RPC is already initialized: this process is worker0"):
        rpc.init_rpc("again", rank=0, world_size=1)


def test_errors_come_back():
    run_rpc(_errors)


def test_without_a_group(tmp_path):
    for call in (rpc.shutdown, rpc.get_worker_info, lambda: rpc.rpc_sync(0, _same, args=(1,)), lambda: rpc.RRef(1)):
        with pytest.raises(RuntimeError, match="RPC has not been initialized"):
            call()
    with pytest.raises(ValueError, match="'a b' must be 1 to 128 letters"):
        rpc.init_rpc("a b", rank=0, world_size=1)
    with pytest.raises(ValueError, match="num_worker_threads must be positive"):
        rpc.TensorPipeRpcBackendOptions(num_worker_threads=0)
    with pytest.raises(ValueError, match="from CPU to CPU"):
        rpc.TensorPipeRpcBackendOptions(devices=["cuda:0"])
    for turn in range(2):  # a group after another, at one place
        rpc.init_rpc("alone", rank=0, world_size=1, rpc_backend_options=rpc.TensorPipeRpcBackendOptions(init_method=f"file://{tmp_path}/s"))
        assert rpc.rpc_sync("alone", _same, args=(turn,)) == turn and rpc.remote(0, _same, args=(turn,)).to_here() == turn
        rpc.shutdown()


def test_names_are_different(tmp_path):
    def join(rank):
        try:
            rpc._workers(rpc.PrefixStore("x", store), "twin", rank, 2)
        except RuntimeError as error:
            found.append(str(error))

    from flambeau.distributed import HashStore

    store, found = HashStore(), []
    threads = [threading.Thread(target=join, args=(rank,)) for rank in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == ["RPC worker name twin is not unique: ranks 0 and 1 have it"] * 2


# -- processes that die ----------------------------------------------------------------------------------------------------


def _dies(rank):
    if rank == 1:
        time.sleep(30)  # until somebody has it end
    if rank:
        return
    reference = rpc.remote(1, dict)
    reference.to_here()
    start = time.monotonic()
    waiting = rpc.rpc_async(1, time.sleep, args=(20,), timeout=0)
    last = rpc.rpc_async(1, os._exit, args=(0,))
    for future in (last, waiting):
        with pytest.raises(RuntimeError, match=r"(sleep|_exit): worker1 \(rank 1\) is gone: its process has ended"):
            future.wait()
    for call in (lambda: rpc.rpc_sync(1, _same, args=(1,)), reference.to_here, lambda: rpc.remote(1, dict)):
        with pytest.raises(RuntimeError, match=r"worker1 \(rank 1\) is gone"):
            call()
    assert rpc.rpc_sync(2, _same, args=(3,)) == 3
    with pytest.raises(RuntimeError, match=r"worker1 \(rank 1\) is gone"):
        rpc.shutdown()
    assert time.monotonic() - start < 15


def _dies_and_others_leave(rank):
    if rank == 2:
        with pytest.raises(RuntimeError, match="is gone|has left"):
            rpc.shutdown()
    else:
        _dies(rank)


def test_a_dead_process_is_noticed():
    run_rpc(_dies_and_others_leave, 3)


def _leaves(rank):
    if rank:
        rpc.shutdown(graceful=False)
        return
    with pytest.raises(RuntimeError, match=r"worker1 \(rank 1\) has left: it called shutdown\(\)"):
        for _ in range(1000):
            rpc.rpc_sync(1, time.sleep, args=(0.01,))
    rpc.shutdown(graceful=False)


def test_leaving_at_once():
    run_rpc(_leaves)


_served = []


def _note(value):
    time.sleep(0.05)
    _served.append(value)
    if value:
        rpc.rpc_async(1 - rpc.get_worker_info().id, _note, args=(value - 1,))


def _late(rank):
    """``shutdown`` says in time that another one has not called it; and what shares the place to meet goes on."""
    from flambeau import distributed

    distributed.init_process_group("gloo", rank=rank, world_size=2)
    if rank == 0:
        with pytest.raises(RuntimeError, match="shutdown: timed out while other processes have not called it"):
            rpc.shutdown(timeout=0.2)
    distributed.barrier()
    if rank:
        rpc.shutdown(graceful=False)
    distributed.destroy_process_group()


def _with_a_group(rank, port):
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port))
    rpc.init_rpc(f"worker{rank}", rank=rank, world_size=2)
    _late(rank)


def test_a_group_meets_at_the_same_place():
    with socket.create_server(("localhost", 0)) as listening:
        port = listening.getsockname()[1]
    multiprocessing.start_processes(_with_a_group, (port,), 2, start_method="fork")


def _shutdown_waits(rank):
    if not rank:
        rpc.rpc_async(1, _note, args=(3,))
    rpc.shutdown()
    assert _served == ([2, 0] if not rank else [3, 1])


def test_shutdown_waits_for_what_is_to_be_done():
    run_rpc(_shutdown_waits)


# -- references ------------------------------------------------------------------------------------------------------------


_counters = weakref.WeakSet()


class Counter:
    def __init__(self, start):
        self.value = start
        _counters.add(self)

    def add(self, number, twice=False):
        self.value += number * (1 + twice)
        return self.value

    def slow(self):
        time.sleep(0.5)

    @staticmethod
    @rpc.functions.async_execution
    def later(number):
        future = Future()
        threading.Timer(0.05, lambda: future.set_result(number)).start()
        return future


def _alive():
    gc.collect()
    return len(_counters)


def _owner_adds(reference, number):
    assert reference.is_owner() == (reference.owner().id == rpc.get_worker_info().id)
    return reference.rpc_sync().add(number)


_held = []


def _hold(reference):
    _held.append(reference)


def _drop():
    _held.clear()


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def _references(rank):
    if rank:
        return
    mine, theirs = rpc.RRef(Counter(1)), rpc.remote(1, Counter, args=(10,))
    assert mine.is_owner() and not theirs.is_owner() and theirs.owner_name() == "worker1" and mine.confirmed_by_owner()
    assert mine.local_value() is mine.to_here() and theirs.to_here().value == 10 and _until(theirs.confirmed_by_owner)
    assert theirs.rpc_sync().add(1) == 11 and theirs.rpc_async().add(1, twice=True).wait() == 13
    assert theirs.remote().add(1).to_here() == 14 and theirs.rpc_sync().later(5) == 5 and theirs._get_type() is Counter
    assert [rpc.rpc_sync(to, _owner_adds, args=(theirs, 1)) for to in range(3)] == [15, 16, 17]
    assert [rpc.rpc_sync(to, _owner_adds, args=(mine, 1)) for to in range(3)] == [2, 3, 4]
    assert rpc.rpc_sync(1, _same, args=(mine,)).local_value() is mine.local_value()
    local = rpc.remote(0, Counter, args=(7,))
    assert local.is_owner() and local.local_value().value == 7 and local.rpc_sync().add(1) == 8
    with pytest.raises(RuntimeError, match="the value lives on worker1; to_here"):
        theirs.local_value()
    with pytest.raises(AttributeError, match="'Counter' object has no attribute 'nothing'"):
        theirs.rpc_sync().nothing()
    with pytest.raises(RuntimeError, match=r"more than set timeout \(50 ms\): slow on worker1"):
        theirs.rpc_sync(timeout=0.05).slow()
    bad = rpc.remote(1, _fails, args=("value",))
    for _ in range(2):
        with pytest.raises(ValueError, match="bad value"):
            bad.to_here()
    with pytest.raises(ValueError, match="bad value"):
        bad.rpc_sync().anything()
    import pickle

    with pytest.raises(RuntimeError, match="Can not pickle rref"):
        pickle.dumps(mine)


def test_references():
    run_rpc(_references, 3)


def _counting(rank):
    if rank:
        return
    reference = rpc.remote(1, Counter, args=(1,))
    reference.to_here()
    rpc.rpc_sync(2, _hold, args=(reference,))
    rpc.rpc_sync(1, _hold, args=(reference,))
    del reference
    assert rpc.rpc_sync(1, _alive) == 1
    rpc.rpc_sync(1, _drop)
    assert rpc.rpc_sync(1, _alive) == 1  # rank 2 has a copy
    rpc.rpc_sync(2, _drop)
    assert _until(lambda: rpc.rpc_sync(1, _alive) == 0)
    own = rpc.RRef(Counter(2))
    rpc.rpc_sync(2, _hold, args=(own,))
    del own
    assert _alive() == 1
    rpc.rpc_async(2, os._exit, args=(0,))
    assert _until(lambda: _alive() == 0)  # the copies of a process die with it
    for _ in range(20):
        rpc.rpc_sync(1, _hold, args=(rpc.remote(1, Counter, args=(3,)),))
    assert rpc.rpc_sync(1, _alive) == 20
    rpc.rpc_sync(1, _drop)
    assert _until(lambda: rpc.rpc_sync(1, _alive) == 0)
    assert _until(lambda: not rpc.rpc_sync(1, _kept)) and not _kept()


def _kept():
    return len(current_agent().references.kept)


def _counting_two(rank):
    if rank == 2:
        time.sleep(30)
    _counting(rank)
    if rank < 2:
        with pytest.raises(RuntimeError, match="is gone|has left"):
            rpc.shutdown()


def test_values_go_when_nobody_needs_them():
    run_rpc(_counting_two, 3)
