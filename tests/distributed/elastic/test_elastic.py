"""Timers that kill, numbers and events of a job."""

from __future__ import annotations

import multiprocessing
import signal
import time

import pytest

from flambeau.distributed.elastic import events, metrics, timer


def _timed(queue, after, seconds):
    timer.configure(timer.LocalTimerClient(queue))
    with timer.expires(after=30.0):
        pass
    with timer.expires(after=after, scope="sleeping"):
        time.sleep(seconds)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_block_that_takes_too_long():
    context = multiprocessing.get_context("fork")
    queue, told = context.Queue(), []
    server = timer.LocalTimerServer(queue, max_interval=0.05, log=told.append)
    server.start()
    processes = [context.Process(target=_timed, args=(queue, *times)) for times in ((30.0, 0.0), (0.1, 60.0))]
    for each in processes:
        each.start()
    for each in processes:
        each.join(30)
    server.stop()
    assert [each.exitcode for each in processes] == [0, -signal.SIGKILL]
    assert told == [f"process {processes[1].pid} was killed: sleeping took too long"]
    with pytest.raises(RuntimeError, match="Configure timer client"), timer.expires(after=1):
        pass


def test_metrics():
    class Kept(metrics.MetricHandler):
        def emit(self, metric_data):
            found.append((metric_data.group_name, metric_data.name))

    found = []
    metrics.configure(Kept(), "own")
    metrics.put_metric("loss", 0.5, "own")
    metrics.put_metric("loss", 0.5, "others")  # go nowhere

    @metrics.prof(group="own")
    def work(fails):
        if fails:
            raise ValueError("here")
        return 3

    assert work(False) == 3
    with pytest.raises(ValueError, match="here"):
        work(True)
    name = "<locals>.work"
    kinds = ["success", "duration.ms", "failure", "duration.ms"]
    assert found == [("own", "loss"), *[("own", f"{name}.{kind}") for kind in kinds]]


def test_events():
    event = events.Event("begun", events.EventSource.WORKER, 5, {"rank": 1})
    assert events.Event.deserialize(event.serialize()) == event and str(event) == event.serialize()
    events.record(event)
    with pytest.raises(ValueError, match="there is no destination 'nowhere' for events: there are console, null"):
        events.record(event, "nowhere")
