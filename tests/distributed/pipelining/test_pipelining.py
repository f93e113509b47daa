"""Pipelines give the losses, results and gradients of the module that they are made of."""

from __future__ import annotations

import os
import time

import pytest

import flambeau as torch
from flambeau import distributed, nn
from flambeau.distributed.pipelining import (
    Pipe,
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleLoopedBFS,
    SplitPoint,
    pipe_split,
    pipeline,
)
from flambeau.distributed.pipelining.microbatch import TensorChunkSpec, merge_chunks, split_args_kwargs_into_chunks, sum_reducer
from flambeau.distributed.pipelining.pipe import annotate_split_points
from tests.distributed.jobs import TIMEOUT, run

# -- microbatches ----------------------------------------------------------------------------------------------------------


def test_chunks():
    x, y = torch.arange(10.0).reshape(5, 2), torch.arange(3)
    args, kwargs = split_args_kwargs_into_chunks((x, "text", [y]), {"scale": x, "more": 2}, 4)
    assert len(args) == len(kwargs) == 3  # y has no more
    assert [each[0].shape[0] for each in args] == [2, 2, 1] and [each[2][0].item() for each in args] == [0, 1, 2]
    assert {each[1] for each in args} == {"text"} and {each["more"] for each in kwargs} == {2}
    assert torch.equal(torch.cat([each["scale"] for each in kwargs]), x)
    args, _ = split_args_kwargs_into_chunks((x, x), None, 2, (TensorChunkSpec(1), TensorChunkSpec(0)))
    assert [tuple(each.shape) for each in args[1]] == [(5, 1), (2, 2)]
    assert torch.equal(merge_chunks([each[0] for each in args], TensorChunkSpec(1)), x)
    parts = [{"out": x[:3], "loss": torch.tensor(1.0), "name": "a"}, {"out": x[3:], "loss": torch.tensor(2.0), "name": "a"}]
    merged = merge_chunks(parts, {"out": TensorChunkSpec(0), "loss": sum_reducer, "name": None})
    assert torch.equal(merged["out"], x) and merged["loss"].item() == 3.0 and merged["name"] == "a"
    with pytest.raises(ValueError, match="another structure"):
        split_args_kwargs_into_chunks((x,), None, 2, (TensorChunkSpec(0), TensorChunkSpec(0)))
    with pytest.raises(ValueError, match="different structures"):
        merge_chunks([(x,), (x, x)], None)


# -- schedules -------------------------------------------------------------------------------------------------------------


def _simulate(kind, size, stages, microbatches):
    """How many microbatches a process keeps at most; every action must find what it needs, whatever the others' speed."""
    lists = [kind.actions(rank, size, stages, microbatches) for rank in range(size)]
    done, most = set(), 0
    kept = [0] * size
    while any(lists):
        waiting = True
        for rank, actions in enumerate(lists):
            if not actions:
                continue
            backward, stage, each = actions[0]
            needed = [(False, stage - 1, each)] if not backward and stage else []
            if backward:
                needed = [(False, stage, each), *([(True, stage + 1, each)] if stage < stages - 1 else [])]
            assert stage % size == rank
            if all(action in done for action in needed):
                done.add(tuple(actions.pop(0)))
                kept[rank] += -1 if backward else 1
                most, waiting = max(most, kept[rank]), False
        assert not waiting, f"{kind.__name__} of {size} processes, {stages} stages and {microbatches} microbatches waits for ever"
    assert len(done) == 2 * stages * microbatches
    return most


def test_schedules_are_complete_and_never_wait_in_a_circle():
    for size in (1, 2, 3, 4):
        for microbatches in (1, 2, 3, 4, 7, 8):
            assert _simulate(ScheduleGPipe, size, size, microbatches) == microbatches
            assert _simulate(Schedule1F1B, size, size, microbatches) == min(size, microbatches)
            for local in (1, 2, 3):
                assert _simulate(ScheduleLoopedBFS, size, size * local, microbatches) == microbatches * local
                if microbatches % max(1, microbatches // size) == 0:
                    _simulate(ScheduleInterleaved1F1B, size, size * local, microbatches)


class Layer(nn.Module):
    """A stage that gives several tensors on, of which one has no gradient."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x, count=None, scale=1.0):
        y = torch.tanh(self.linear(x)) * scale
        count = torch.zeros(len(x), dtype=torch.int64) if count is None else count
        return y + x, count + 1


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x, count=None):
        return self.linear(x) * (1 if count is None else count.unsqueeze(1))


def _layers(count):
    torch.manual_seed(0)
    return nn.ModuleList([*[Layer() for _ in range(count - 1)], Last()])


def _whole(layers, x):
    values = (x,)
    for each in layers[:-1]:
        values = each(*values)
    return layers[-1](*values)


def _same(parameters, others):
    for ours, theirs in zip(parameters, others, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def _runs(rank, size):
    generator = torch.Generator().manual_seed(1)
    for kind, count, microbatches in (
        (ScheduleGPipe, size, 3), (Schedule1F1B, size, 5), (ScheduleInterleaved1F1B, 2 * size, 4), (ScheduleLoopedBFS, 2 * size, 4),
    ):  # fmt: skip
        layers, reference = _layers(count), _layers(count)
        stages = [PipelineStage(layers[number], number, count, "cpu") for number in range(rank, count, size)]
        single = count == size
        schedule = kind(stages[0] if single else stages, microbatches, loss_fn=nn.functional.mse_loss)
        for _ in range(2):
            layers.zero_grad()
            reference.zero_grad()
            x, target = torch.randn(2 * microbatches, 6, generator=generator), torch.randn(2 * microbatches, 2, generator=generator)
            losses = ["old"]
            found = schedule.step(*((x,) if rank == 0 else ()), target=target if stages[-1].is_last else None, losses=losses)
            wanted = _whole(reference, x)
            loss = nn.functional.mse_loss(wanted, target)
            loss.backward()
            assert (found is not None) == (len(losses) == microbatches) == stages[-1].is_last
            if stages[-1].is_last:
                torch.testing.assert_close(found, wanted)
                torch.testing.assert_close(torch.stack(losses).mean(), loss)
        for number in range(rank, count, size):
            _same(layers[number].parameters(), reference[number].parameters())
        result = schedule.eval(*((x,) if rank == 0 else ()))
        if stages[-1].is_last:
            torch.testing.assert_close(result, wanted)
            assert not result.requires_grad
        _same(layers[rank].parameters(), reference[rank].parameters())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_losses_and_gradients_are_those_of_the_whole(size):
    run(_runs, size, size)


def _fails(rank):
    layers = _layers(2)
    stage = PipelineStage(layers[rank], rank, 2, "cpu", output_args=torch.ones(2, 5) if rank == 0 else None)
    schedule = ScheduleGPipe(stage, 2, loss_fn=nn.functional.mse_loss)
    with pytest.raises(ValueError, match="stage 1 of 2 belongs to process 1|stage 0 of 2 belongs to process 0"):
        PipelineStage(layers[0], 1 - rank, 2, "cpu")
    with pytest.raises(ValueError, match=r"Stage index 2 is out of range of 2"):
        PipelineStage(layers[0], 2, 2, "cpu")
    with pytest.raises(ValueError, match="cannot be larger than number of stages 1"):
        PipelineStage(layers[0], 0, 1, "cpu")
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"eval\(\) does without"):
        schedule.step(torch.ones(4, 6))
    if rank == 0:
        with pytest.raises(ValueError, match="a batch of 1 cannot be cut into 2 microbatches"):
            schedule.step(torch.ones(1, 6))
        with pytest.raises(RuntimeError, match="stage 0 expects results .* but has"):
            schedule.step(torch.ones(4, 6))
        with pytest.raises(RuntimeError, match="stage 0 of 2 failed in microbatch 0 with arguments"):
            schedule.step(torch.ones(4, 7))
        distributed.barrier()
        os._exit(0)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="rank 0 has given up: RuntimeError: stage 0 expects results"):
        schedule.step(target=torch.ones(4, 2))
    with pytest.raises(RuntimeError, match="this process has given up|rank 0 has given up"):
        schedule.step(target=torch.ones(4, 2))
    assert time.monotonic() - start < TIMEOUT / 2
    distributed.barrier()
    os._exit(0)


def test_an_error_of_a_stage_is_one_of_all():
    run(_fails)


def _dies(rank):
    stage = PipelineStage(_layers(2)[rank], rank, 2, "cpu")
    if rank == 0:
        os._exit(0)
    with pytest.raises(RuntimeError, match="rank 0 is gone"):
        ScheduleGPipe(stage, 2, loss_fn=nn.functional.mse_loss).step(target=torch.ones(4, 2))
    os._exit(0)


def test_a_dead_stage_is_noticed():
    run(_dies)


# -- cutting a module ------------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, split=False, tied=False):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(4)])
        self.scale = nn.Parameter(torch.full((4,), 0.5))
        self.register_buffer("shift", torch.ones(4))
        self.out = nn.Linear(4, 2)
        self.split = split
        if tied:
            self.layers[3].weight = self.layers[0].weight

    def forward(self, x, factor=None, *, bias=1.0):
        y = x * self.scale
        for number, layer in enumerate(self.layers):
            y = torch.relu(layer(y)) + self.shift
            if self.split and number == 1:
                pipe_split()
        y = self.out(y + x) * bias
        return y if factor is None else y * factor


_SPEC = {"layers.1": SplitPoint.BEGINNING, "layers.3": SplitPoint.END}


def test_pipe():
    torch.manual_seed(0)
    net, x = Net(), torch.randn(3, 4)
    pipe = pipeline(net, (x,), split_spec={**_SPEC})
    names = [list(pipe.get_stage_module(number).state_dict()) for number in range(pipe.num_stages)]
    assert pipe.num_stages == 3 and names[0] == ["scale", "shift", "layers.0.weight", "layers.0.bias"]
    assert {name for stage in names for name in stage} == set(net.state_dict())
    assert torch.equal(pipe(x), net(x))
    pipe(x).sum().backward()
    found = {name: each.grad for number in range(3) for name, each in pipe.get_stage_module(number).named_parameters()}
    net2 = Net()
    net2.load_state_dict(net.state_dict())
    net2(x).sum().backward()
    assert all(torch.equal(found[name], each.grad) for name, each in net2.named_parameters())
    assert torch.equal(pipeline(net, (x, 2.0), split_spec=_SPEC)(x, 2.0), net(x, 2.0))
    assert pipeline(Net(split=True), (x,)).num_stages == 2
    annotate_split_points(net, {"out": SplitPoint.BEGINNING})
    assert pipeline(net, (x,)).num_stages == 2
    pipe_split()  # outside of tracing it is nothing


def test_pipe_errors():
    x = torch.ones(3, 4)
    with pytest.raises(AttributeError, match="nonexistent submodule"):
        pipeline(Net(), (x,), split_spec={"nothing": SplitPoint.END})
    with pytest.raises(TypeError, match="must be SplitPoint.BEGINNING or SplitPoint.END, but is 1"):
        pipeline(Net(), (x,), split_spec={"out": 1})
    with pytest.raises(ValueError, match=r"layers.3.weight is used in stage 1 and \(as layers.0.weight\) in stage 0"):
        pipeline(Net(tied=True), (x,), split_spec=_SPEC)
    with pytest.raises(ValueError, match="Please use only one"):
        pipeline(Net(), (x,), split_spec=_SPEC, split_policy=lambda traced: traced)
    with pytest.raises(ValueError, match="Invalid stage index 3"):
        pipeline(Net(), (x,), split_spec=_SPEC).get_stage_module(3)


def _piped(rank):
    torch.manual_seed(0)
    net, x, target = Net(), torch.randn(6, 4), torch.randn(6, 2)
    pipe = pipeline(net, (x[:2],), split_spec={"layers.2": SplitPoint.BEGINNING})
    assert isinstance(pipe, Pipe)
    schedule = Schedule1F1B(pipe.build_stage(rank, "cpu"), 3, loss_fn=nn.functional.mse_loss)
    module = pipe.get_stage_module(rank)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    torch.manual_seed(0)
    reference = Net()
    other = torch.optim.Adam(reference.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        schedule.step(*((x,) if rank == 0 else ()), target=target if rank else None)
        optimizer.step()
        other.zero_grad()
        nn.functional.mse_loss(reference(x), target).backward()
        other.step()
    wanted = reference.state_dict()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-4, atol=1e-5)
    distributed.barrier()


def test_training_with_a_pipe():
    run(_piped)
