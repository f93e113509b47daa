"""Events, handlers, and statistics by windows of time."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from flambeau import monitor
from flambeau.monitor import Aggregation, Event, Stat, TensorboardEventHandler

MINUTE = timedelta(minutes=1)
EVERY = [monitor.SUM, monitor.COUNT, monitor.MEAN, monitor.MAX, monitor.MIN, monitor.VALUE]


@pytest.fixture
def logged():
    events = []
    handle = monitor.register_event_handler(events.append)
    yield events
    monitor.unregister_event_handler(handle)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns on."""
    now = [1000.0]
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    return now


def test_events_reach_handlers_in_order():
    seen = []
    handles = [monitor.register_event_handler(lambda event, number=number: seen.append((number, event.name))) for number in range(2)]
    event = Event("epoch", datetime(2026, 1, 2), {"loss": 0.5, "step": 3, "phase": "train", "last": True})
    monitor.log_event(event)
    monitor.unregister_event_handler(handles[0])
    monitor.unregister_event_handler(handles[0])
    monitor.log_event(event)
    monitor.unregister_event_handler(handles[1])
    monitor.log_event(event)
    assert seen == [(0, "epoch"), (1, "epoch"), (1, "epoch")]
    event.name, event.data = "other", {"x": 1}
    assert event.name == "other" and event.data == {"x": 1} and event.timestamp.year == 2026


def test_a_handlers_error_is_raised_where_the_event_is_logged():
    handle = monitor.register_event_handler(lambda event: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError):
            monitor.log_event(Event("e", datetime.now(), {}))
    finally:
        monitor.unregister_event_handler(handle)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Event(1, datetime.now(), {}), "name"),
        (lambda: Event("e", 1.0, {}), "timestamp"),
        (lambda: Event("e", datetime.now(), {"x": None}), r"data\['x'\]"),
        (lambda: Event("e", datetime.now(), {1: 1}), "a name in data"),
        (lambda: monitor.log_event("e"), "an Event"),
        (lambda: monitor.register_event_handler(3), "function"),
        (lambda: monitor.unregister_event_handler(3), "register_event_handler"),
        (lambda: Stat("s", [4], MINUTE), "monitor.SUM"),
        (lambda: Stat("s", [monitor.SUM], 1.0), "timedelta"),
        (lambda: Stat("s", [monitor.SUM], MINUTE).add("x"), "'x'"),
    ],
)
def test_wrong_types(call, match):
    with pytest.raises(TypeError, match=match):
        call()


def test_a_window_cannot_be_empty():
    with pytest.raises(ValueError, match="millisecond"):
        Stat("s", [monitor.SUM], timedelta(0))


def test_one_event_for_each_window(logged, clock):
    stat = Stat("s", EVERY, MINUTE)
    for value in (2, 1, 6.0):
        stat.add(value)
    assert stat.count == 3 and not logged and set(stat.get().values()) == {0.0}
    clock[0] += 61
    stat.add(7)
    (event,) = logged
    assert event.name == monitor.STAT_EVENT and stat.count == 1
    assert event.data == {"s.sum": 9.0, "s.count": 3.0, "s.mean": 3.0, "s.max": 6.0, "s.min": 1.0, "s.value": 6.0}
    assert stat.get() == dict(zip(EVERY, [9.0, 3.0, 3.0, 6.0, 1.0, 6.0]))
    del stat
    assert [event.data["s.sum"] for event in logged] == [9.0, 7.0]


def test_samples_beyond_the_limit_are_dropped(logged, clock):
    stat = Stat("s", [monitor.SUM], MINUTE, max_samples=2)
    for value in (1, 2, 4, 8):
        stat.add(value)
    assert [event.data for event in logged] == [{"s.sum": 3.0}] and stat.get() == {monitor.SUM: 3.0} and stat.count == 0
    clock[0] += 61
    stat.add(16)
    assert stat.get() == {monitor.SUM: 0.0}  # nothing was left of that window
    stat.add(32)
    assert [event.data for event in logged] == [{"s.sum": 3.0}, {"s.sum": 48.0}]


def test_nothing_is_logged_of_nothing(logged):
    stat = Stat("s", EVERY, MINUTE)
    del stat
    assert not logged


def test_threads_lose_no_number(logged):
    stat = Stat("s", [monitor.COUNT], timedelta(days=99999))
    threads = [threading.Thread(target=lambda: [stat.add(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stat.count == 2000


def test_aggregations_are_numbered_as_pytorchs():
    assert {each.name: int(each) for each in Aggregation} == {"VALUE": 0, "MEAN": 2, "COUNT": 3, "SUM": 4, "MAX": 5, "MIN": 6}
    assert str(monitor.SUM) == "Aggregation.SUM" and Aggregation(4) is monitor.SUM


def test_tensorboard(tmp_path):
    from flambeau.utils.tensorboard import SummaryWriter
    from flambeau.utils.tensorboard.reader import SummaryReader

    with SummaryWriter(tmp_path) as writer:
        handler = TensorboardEventHandler(writer)
        handler(Event(monitor.STAT_EVENT, datetime(2026, 1, 2), {"s.sum": 2.5}))
        handler(Event("other", datetime(2026, 1, 2), {"t": 1.0}))
    reader = SummaryReader(writer.get_logdir())
    _, times, values = reader.scalars("s.sum")
    assert reader.tags() == ["s.sum"] and list(values) == [2.5] and list(times) == [datetime(2026, 1, 2).timestamp()]
