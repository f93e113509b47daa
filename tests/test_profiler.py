"""Profiles: kernels, ranges, schedules, tables and traces."""

from __future__ import annotations

import gzip
import json
import threading

import pytest

import flambeau as torch
from flambeau.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler


def work():
    with record_function("forward"):
        y = (torch.ones(64, 64) * 2 + 1).exp()
    with record_function("sum"):
        return y.sum()


def test_kernels_lie_in_the_ranges_that_recorded_them():
    work()
    with profile(activities=[ProfilerActivity.CPU]) as taken:
        result = work()
    events = taken.events()
    ranges = {event.key: event for event in events if event.kind == "range"}
    kernels = [event for event in events if event.kind == "kernel"]
    assert set(ranges) == {"forward", "sum"} and kernels and result.item() > 0
    for kernel in kernels:
        around = ranges["sum" if kernel.key == "sum" else "forward"]
        assert around.start <= kernel.start and kernel.end <= around.end + 1
    assert all(event.self_cpu_time_total <= event.cpu_time_total for event in events)


def test_table_and_sums():
    with profile() as taken:
        for _ in range(3):
            work()
    sums = taken.key_averages()
    by_name = {each.key: each for each in sums}
    assert by_name["forward"].count == 3 and by_name["forward"].cpu_time * 3 == pytest.approx(by_name["forward"].cpu_time_total)
    table = sums.table(sort_by="cpu_time_total", row_limit=2, header="mine")
    assert table.startswith("mine\n") and "Self CPU %" in table and len(table.splitlines()) == 8
    assert "forward" in sums.table(sort_by="cuda_time_total")  # there is no such time, and scripts ask for it all the same
    with pytest.raises(ValueError, match="sorted by"):
        sums.table(sort_by="colour")
    with pytest.raises(ValueError, match="hours"):
        sums.table(time_unit="hours")
    assert sums.total_average().count == sum(each.count for each in sums)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_trace(tmp_path, name):
    with profile() as taken:
        work()
    taken.export_chrome_trace(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    trace = json.loads(gzip.decompress(data) if name.endswith("gz") else data)
    assert {event["name"] for event in trace["traceEvents"]} >= {"forward", "sum"} and all(
        event["ph"] == "X" for event in trace["traceEvents"]
    )


def test_schedule(tmp_path):
    action = schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=2)
    names = [action(step).name for step in range(11)]
    assert names == ["NONE", "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE", "NONE"]
    assert schedule(wait=0, warmup=0, active=1)(5) is ProfilerAction.RECORD_AND_SAVE
    with pytest.raises(ValueError, match="active"):
        schedule(wait=1, warmup=1, active=0)
    seen = []

    def ready(taken):
        seen.append([event.key for event in taken.events() if event.kind == "step"])
        tensorboard_trace_handler(tmp_path)(taken)

    with profile(schedule=action, on_trace_ready=ready) as taken:
        for _ in range(11):
            work()
            taken.step()
    assert seen == [["ProfilerStep#3", "ProfilerStep#4"], ["ProfilerStep#7", "ProfilerStep#8"]]
    assert len(list(tmp_path.glob("*.pt.trace.json"))) == 2


def test_outside_of_a_profile_a_range_does_nothing():
    @record_function("decorated")
    def function(x):
        return x + 1

    with record_function("nothing"):
        assert function(torch.ones(1)).item() == 2
    with profile() as taken:
        function(torch.ones(1))
        function(torch.ones(1))
    assert [event.key for event in taken.events() if event.kind == "range"] == ["decorated", "decorated"]


def test_one_at_a_time_and_errors_end_it():
    with profile(), pytest.raises(RuntimeError, match="another profile"):
        profile().start()
    with pytest.raises(ZeroDivisionError), profile():
        raise ZeroDivisionError
    with profile() as taken:
        work()
    assert taken.events()


def test_another_threads_work_is_computed_too():
    results = []
    with profile():
        thread = threading.Thread(target=lambda: results.append(work().item()))
        thread.start()
        thread.join(60)
    assert results and results[0] > 0


def test_inputs_of_a_range_are_right_afterwards():
    with profile():
        x = torch.ones(4, requires_grad=True)
        with record_function("loss"):
            loss = (x * 3).sum()
        with record_function("backward"):
            loss.backward()
    assert x.grad.tolist() == [3.0] * 4


def test_memory_and_operations():
    kept = []
    with profile(profile_memory=True, with_flops=True) as taken:
        with record_function("outer"):
            with record_function("inner"):
                kept.append(torch.ones(1000, 1000) @ torch.ones(1000, 1000))
            kept.append(torch.ones(500, 500))
        taken.step()
        with record_function("freed"):
            kept.clear()
    by_name = {each.key: each for each in taken.key_averages()}
    million = 4_000_000
    assert million <= by_name["inner"].cpu_memory_usage < 1.2 * million and by_name["outer"].cpu_memory_usage >= 1.25 * million
    assert by_name["outer"].self_cpu_memory_usage == by_name["outer"].cpu_memory_usage - by_name["inner"].cpu_memory_usage
    assert (
        by_name["freed"].cpu_memory_usage <= -1.25 * million
        and by_name["ProfilerStep#0"].cpu_memory_usage == by_name["outer"].cpu_memory_usage
    )
    product = next(each for each in taken.key_averages() if each.kind == "kernel" and "contract" in each.key)
    assert product.flops >= 2 * 10**9
    table = taken.key_averages().table(sort_by="self_cpu_memory_usage")
    assert "Self CPU Mem" in table and " MB" in table and "Total KFLOPs" in table and "--" in table
    assert by_name["inner"].cpu_time_total_str.endswith("s") and by_name["inner"].device_time_total == 0


def test_metadata(tmp_path):
    with profile() as taken:
        work()
    taken.add_metadata("who", "me")
    taken.add_metadata_json("sizes", "[1, 2]")
    with pytest.raises(ValueError):
        taken.add_metadata_json("bad", "{")
    taken.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert trace["who"] == "me" and trace["sizes"] == [1, 2]


def test_the_old_name():
    with torch.autograd.profiler.profile(use_cuda=False, record_shapes=True) as taken:
        work()
    assert "forward" in str(taken) and taken.self_cpu_time_total > 0 and taken.total_average().count == len(taken.function_events)
    with torch.autograd.profiler.profile(False) as taken:
        work()
    assert not taken.function_events and str(taken) == "None"


def test_what_is_dropped_is_counted_as_well():
    x = torch.ones(8)
    with profile() as taken:
        for _ in range(3):
            x.exp()
            taken.step()
        x.exp()
    assert sum(event.key == "exp" for event in taken.events()) == 4
    with profile() as taken:
        torch.utils.benchmark.Timer("x.exp()", globals={"x": x}).timeit(5)
    assert sum(event.key == "exp" for event in taken.events()) >= 5


def test_synchronize_computes_what_nobody_has_kept():
    x = torch.ones(8)
    with profile() as taken:
        x.exp()
        torch.cpu.synchronize()
        assert sum(event.key == "exp" for event in taken.events()) == 1
