"""Each job checks many things, since a job costs more than what it does."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import numpy
import pytest

import flambeau as torch
from flambeau import distributed, multiprocessing
from flambeau.distributed import ReduceOp
from tests.distributed.jobs import TIMEOUT, run


@pytest.fixture(params=[True, False], ids=["shared", "sockets"])
def shared(request):
    return request.param


def _numbers(rank, count, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rank)
    if not dtype.is_floating_point:
        return torch.randint(0, 100, (count,), generator=generator).to(dtype)
    return torch.randn(count, generator=generator).to(dtype)


REDUCTIONS = {
    ReduceOp.SUM: numpy.add, ReduceOp.PRODUCT: numpy.multiply, ReduceOp.MIN: numpy.minimum, ReduceOp.MAX: numpy.maximum,
    ReduceOp.BAND: numpy.bitwise_and, ReduceOp.BOR: numpy.bitwise_or, ReduceOp.BXOR: numpy.bitwise_xor,
}  # fmt: skip


def _reduce(rank, size):
    for count in (0, 1, 7, 20_001, 1_500_000):
        dtypes = (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool) if count < 1_000_000 else (torch.float32,)
        for dtype in dtypes:
            for op, function in REDUCTIONS.items():
                if dtype.is_floating_point and op.name.startswith("B"):
                    continue
                expected = _numbers(0, count, dtype).numpy()
                for other in range(1, size):  # in the order of the ranks
                    expected = function(expected, _numbers(other, count, dtype).numpy())
                x = _numbers(rank, count, dtype)
                assert distributed.all_reduce(x, op) is None
                assert numpy.array_equal(x.numpy(), expected), (count, dtype, op)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_reduce_is_in_the_order_of_the_ranks(size, shared):
    run(_reduce, size, size, shared=shared)


def _halves(rank):
    for dtype in (torch.float16, torch.bfloat16):
        every = torch.stack([_numbers(each, 1000, dtype).float() for each in range(3)])
        x = _numbers(rank, 1000, dtype)
        distributed.all_reduce(x)
        assert torch.equal(x, (every[0] + every[1] + every[2]).to(dtype))
        x = _numbers(rank, 1000, dtype)
        distributed.all_reduce(x, ReduceOp.AVG)
        assert torch.equal(x, ((every[0] + every[1] + every[2]) / 3).to(dtype))
    x = torch.full((3,), float("nan"), dtype=torch.bfloat16)
    distributed.all_reduce(x)
    assert x.isnan().all()
    x = torch.full((2,), complex(1, rank))
    distributed.all_reduce(x)
    assert x.tolist() == [3 + 3j, 3 + 3j]


def test_halves_are_rounded_once():
    run(_halves, 3)


def _wrong_operations(rank):
    x = torch.ones(2)
    for op in (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR):
        with pytest.raises(RuntimeError, match="non-integral dtype"):
            distributed.all_reduce(x, op)
    with pytest.raises(RuntimeError, match="ReduceOp.AVG of torch.int64"):
        distributed.all_reduce(torch.ones(2, dtype=torch.int64), ReduceOp.AVG)
    with pytest.raises(ValueError, match="does not support RedOpType.MAX on complex tensors"):
        distributed.all_reduce(torch.ones(2, dtype=torch.complex64), ReduceOp.MAX)
    with pytest.raises(TypeError, match="`tensor` of type torch.Tensor but got <class 'list'>"):
        distributed.all_reduce([1])
    with pytest.raises(RuntimeError, match="invalid rank: 5; the group has ranks 0 to 1"):
        distributed.broadcast(x, 5)
    with pytest.raises(ValueError, match="Must specify"):
        distributed.broadcast(x)
    with pytest.raises(RuntimeError, match=r"invalid tensor size at index 0 \(expected \[2\], got \[3\]\)"):
        distributed.all_gather([torch.ones(3), torch.ones(3)], x)
    with pytest.raises(ValueError, match="must be specified on destination rank" if rank == 0 else "must NOT be specified"):
        distributed.gather(x, None if rank == 0 else [x, x])
    with pytest.raises(ValueError, match=r"output tensor size \(3\) must be equal to world_size \(2\) times"):
        distributed.all_gather_into_tensor(torch.ones(3), x)
    with pytest.raises(ValueError, match="default process group twice"):
        distributed.init_process_group("gloo")
    distributed.all_reduce(x)  # the group still works
    assert x.tolist() == [2, 2]


def test_errors_of_one_process_leave_the_group_whole():
    run(_wrong_operations)


def _move(rank, size):
    for count in (3, 600_000):
        mine = torch.arange(count) * 10 + rank
        every = [torch.arange(count) * 10 + each for each in range(size)]
        for root in range(size):
            x = mine.clone()
            distributed.broadcast(x, root)
            assert torch.equal(x, every[root])
            x = mine.clone()
            distributed.reduce(x, root)
            assert torch.equal(x, sum(every) if rank == root else mine)
            outputs = [torch.zeros_like(mine) for _ in every] if rank == root else None
            distributed.gather(mine, outputs, root)
            assert outputs is None or all(map(torch.equal, outputs, every))
            x = torch.zeros_like(mine)
            distributed.scatter(x, every if rank == root else None, root)
            assert torch.equal(x, mine)
        outputs = [torch.zeros_like(mine) for _ in every]
        distributed.all_gather(outputs, mine)
        assert all(map(torch.equal, outputs, every))
        whole = torch.zeros(size * count, dtype=torch.int64)
        distributed.all_gather_into_tensor(whole, mine)
        assert torch.equal(whole, torch.cat(every))
        x = torch.zeros_like(mine)
        distributed.reduce_scatter(x, [each + rank for each in every])
        assert torch.equal(x, mine * size + sum(range(size)))
        distributed.reduce_scatter_tensor(x, torch.cat(every), ReduceOp.MAX)
        assert torch.equal(x, mine)
        outputs = [torch.zeros_like(mine) for _ in every]
        distributed.all_to_all(outputs, [each + 100 * rank for each in every])
        assert all(torch.equal(output, mine + 100 * each) for each, output in enumerate(outputs))
    sizes = [each + 1 for each in range(size)]
    output = torch.zeros(size * (rank + 1), 2)
    distributed.all_to_all_single(output, torch.full((sum(sizes), 2), float(rank)), [rank + 1] * size, sizes)
    assert output[:, 0].tolist() == [each for each in range(size) for _ in range(rank + 1)]
    distributed.barrier()
    distributed.monitored_barrier()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_collective(size, shared):
    run(_move, size, size, shared=shared)


def _layouts(rank):
    x = torch.full((2, 3), rank + 1.0)
    before = x * 2  # recorded, and not computed before x is overwritten
    distributed.all_reduce(x)
    assert x.tolist() == [[3.0] * 3] * 2 and before.tolist() == [[2.0 * (rank + 1)] * 3] * 2
    transposed = torch.arange(6.0).reshape(2, 3).t()
    distributed.all_reduce(transposed)
    assert transposed.tolist() == (torch.arange(6.0).reshape(2, 3).t() * 2).tolist()
    part = torch.zeros(4, 4)
    distributed.all_reduce(part[1:3, 1:3].fill_(rank + 1))
    assert part.sum() == 12 and part[1, 1] == 3
    array = numpy.full(3, rank, numpy.float32)
    distributed.broadcast(torch.from_numpy(array), 1)
    assert array.tolist() == [1, 1, 1]
    leaf = torch.ones(2, requires_grad=True)
    loss = (leaf * leaf).sum()
    distributed.all_reduce(leaf.data)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_of_any_layout_are_overwritten_in_place():
    run(_layouts)


def _asynchronous(rank):
    tensors = [torch.full((50_000,), float(number)) for number in range(10)]
    works = [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]
    last = torch.ones(1)
    distributed.all_reduce(last)  # comes after them
    assert all(work.is_completed() for work in works)
    for number, work in enumerate(works):
        assert work.wait() and work.is_success() and work.exception() is None
        assert tensors[number][0] == 2 * number and work.result()[0] is tensors[number]
    work = distributed.all_gather([torch.zeros(1), torch.zeros(1)], last, async_op=True)
    assert [each.tolist() for each in work.get_future().wait()] == [[2.0], [2.0]]
    assert distributed.barrier(async_op=True).wait()


def test_collectives_in_the_background():
    run(_asynchronous)


def _groups(rank):
    assert (distributed.get_rank(), distributed.get_world_size(), distributed.get_backend()) == (rank, 3, "gloo")
    pair = distributed.new_group([2, 0])
    alone = distributed.new_group([1])
    x = torch.ones(1) * rank
    if rank == 1:
        assert pair == distributed.GroupMember.NON_GROUP_MEMBER and distributed.get_rank(pair) == -1
        with pytest.warns(UserWarning, match="Running all_reduce on global rank 1 which does not belong to the given group"):
            distributed.all_reduce(x, group=pair)
        distributed.all_reduce(x, group=alone)
        assert x.item() == 1
    else:
        assert distributed.get_process_group_ranks(pair) == [0, 2]
        assert distributed.get_group_rank(pair, 2) == 1 and distributed.get_global_rank(pair, 1) == 2
        distributed.broadcast(x, 2, group=pair)
        assert x.item() == 2
        with pytest.raises(ValueError, match="Global rank 1 is not part of group"):
            distributed.broadcast(x, 1, group=pair)
        distributed.destroy_process_group(pair)
        with pytest.raises(ValueError, match="Invalid process group"):
            distributed.all_reduce(x, group=pair)
    mine, every = distributed.new_subgroups(1)
    assert distributed.get_world_size(mine) == 1 and len(every) == 3
    with pytest.raises(ValueError, match="Rank 7 is out of range. Valid ranks are 0 to 2"):
        distributed.new_group([7])
    if rank != 1:
        for _ in range(2):  # the second meets anew
            local = distributed.new_group([0, 2], use_local_synchronization=True)
            distributed.all_reduce(torch.ones(1), group=local)
            distributed.destroy_process_group(local)
    distributed.all_reduce(x)


def test_groups_within_the_group():
    run(_groups, 3)


def _again(rank, port):
    for number in range(3):
        store = distributed.TCPStore("127.0.0.1", port)
        distributed.init_process_group(store=store, rank=rank, world_size=2, timeout=timedelta(seconds=TIMEOUT))
        distributed.barrier()
        distributed.destroy_process_group()
        if rank == number % 2:  # the other finds what this one said of itself before
            time.sleep(0.2)


def test_the_group_is_made_anew_at_a_store_that_stays():
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True)
    multiprocessing.start_processes(_again, (store.port,), 2, start_method="fork")


def _objects(rank):
    found = [None] * 3
    distributed.all_gather_object(found, {"rank": rank, "tensor": torch.ones(rank)})
    assert [(each["rank"], each["tensor"].numel()) for each in found] == [(0, 0), (1, 1), (2, 2)]
    large = [b"x" * 5_000_000] if rank == 1 else [None]
    distributed.broadcast_object_list(large, 1)
    assert len(large[0]) == 5_000_000
    found = [None] * 3 if rank == 2 else None
    distributed.gather_object(rank, found, 2)
    assert found == ([0, 1, 2] if rank == 2 else None)
    own = [None]
    distributed.scatter_object_list(own, ["a", "b", "c"] if rank == 0 else None)
    assert own == ["abc"[rank]]
    if rank == 0:
        distributed.send_object_list(["to", 1], 1)
    elif rank == 1:
        received = [None, None]
        assert distributed.recv_object_list(received) == 0 and received == ["to", 1]


def test_objects(shared):
    run(_objects, 3, shared=shared)


def _messages(rank):
    other = 1 - rank
    if rank == 0:
        for tag in (5, 4):
            distributed.send(torch.full((3,), float(tag)), 1, tag=tag)
        distributed.send(torch.arange(4), 1)
    else:
        x, y = torch.zeros(3), torch.zeros(4, dtype=torch.int64)
        assert distributed.recv(x, 0, tag=4) == 0 and x[0] == 4
        assert distributed.recv(y) == 0 and y.tolist() == [0, 1, 2, 3]
        assert distributed.recv(x, 0, tag=5) == 0 and x[0] == 5
    large = torch.full((500_000,), float(rank))  # more than what the system buffers
    work = distributed.isend(large, other)
    received = torch.zeros(500_000)
    distributed.all_reduce(torch.ones(1))
    distributed.recv(received, other)
    work.wait()
    assert (received == other).all()
    operations = [distributed.P2POp(distributed.isend, large, other), distributed.P2POp(distributed.irecv, received, other)]
    for work in distributed.batch_isend_irecv(operations):
        work.wait()
    assert (received == other).all()
    if rank == 0:
        distributed.send(torch.ones(3), 1)
        distributed.send(torch.ones(3), 1)
    else:
        for wrong in (torch.ones(4), torch.ones(3, dtype=torch.int32)):
            with pytest.raises(RuntimeError, match=r"rank 0 sends float32\[3\], but is received into (float32\[4\]|int32\[3\])"):
                distributed.recv(wrong, 0)
    for call in (
        lambda: distributed.send(torch.ones(1), rank),
        lambda: distributed.recv(torch.ones(1), rank),
        lambda: distributed.send_object_list([1], rank),
        lambda: distributed.recv_object_list([1], rank),
    ):
        with pytest.raises(ValueError, match="should not be the same as the rank of the current process"):
            call()
    with pytest.raises(RuntimeError, match="Tag must be nonnegative, but got -2"):
        distributed.send(torch.ones(1), other, tag=-2)
    work = distributed.irecv(received, other, tag=99)
    with pytest.raises(RuntimeError, match="recv: timed out after 0.05 seconds"):
        work.wait(timedelta(milliseconds=50))
    distributed.barrier()


def test_messages(shared):
    run(_messages, shared=shared)


def _late(rank):
    if rank:
        time.sleep(0.6)
    start = time.monotonic()
    distributed.barrier()
    assert rank or time.monotonic() - start > 0.3
    if rank == 2:
        return
    with pytest.raises(
        RuntimeError, match=r"Rank\(s\) 2 failed to pass monitoredBarrier in 300 ms" if rank == 0 else "successfully reached"
    ):
        distributed.monitored_barrier(timeout=timedelta(milliseconds=300), wait_all_ranks=True)


def test_barriers_wait():
    run(_late, 3)


def _nothing_is_left(rank):
    distributed.all_reduce(torch.ones(300_000))
    with open("/proc/self/maps") as maps:
        assert sum("/memfd:flambeau (deleted)" in line for line in maps) == 2


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="asks Linux")
def test_shared_memory_has_no_name():
    before = set(os.listdir("/dev/shm"))
    run(_nothing_is_left)
    assert not [name for name in set(os.listdir("/dev/shm")) - before if "flambeau" in name]


def _a_weight_in_use(rank):
    torch.manual_seed(rank)
    layer, x = torch.nn.Linear(200, 180), torch.ones(9, 200)
    with torch.no_grad():
        for _ in range(4):
            before = layer(x).tolist()
        distributed.broadcast(layer.weight, 1)
        after = [layer(x).tolist() for _ in range(4)]
    plain = torch.nn.functional.linear(x, layer.weight.clone(), layer.bias.clone()).tolist()
    assert (before != plain) == (rank == 0)
    assert after == [plain] * 4


def test_what_was_kept_of_a_weight_goes_when_another_process_sends_one():
    run(_a_weight_in_use, 2)
