from __future__ import annotations

import io
import math

import numpy as np
import pytest

from flambeau.utils.tensorboard import RecordWriter
from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard._records import event, frame, scalar_records


def one_by_one(tags, values, steps, wall_times) -> bytes:
    """What ``scalar_records`` must be equal to, but for a step of 0, which it writes too."""
    records = []
    for tag, value, step, wall_time in zip(tags, values, steps, wall_times, strict=True):
        summary = wire.data(5, wire.data(1, wire.data(1, tag) + wire.float32(2, value)))
        records.append(frame(wire.float64(1, wall_time) + wire.integer(2, step) + summary))
    return b"".join(records)


@pytest.mark.parametrize(
    "tags", [[b"loss"], [b"", b"a", b"loss/train"], [b"x" * 100, b"y" * 200, b"z" * 300]], ids=["one", "short", "long"]
)
def test_scalar_records_are_events_in_order(tags):
    steps = [0, 1, 127, 128, 16383, 16384, 1 << 40, (1 << 63) - 1, -1, -(1 << 63), 5, 6]
    values = [0.0, 1.5, -0.1, math.inf, -math.inf, 1e300, 1e-50, 3.0, 4.0, 5.0, 6.0, 7.0]
    wall_times = [1.7e9 + index / 3 for index in range(len(steps))]
    chosen = [tags[index % len(tags)] for index in range(len(steps))]
    assert scalar_records(chosen, values, steps, wall_times) == one_by_one(chosen, values, steps, wall_times)


def test_not_a_number_is_written():
    record = scalar_records([b"loss"], [math.nan], [1], [2.0])
    assert math.isnan(np.frombuffer(record[-8:-4], "<f4")[0])


def test_record_writer_equals_tensorboards():
    theirs_module = pytest.importorskip("tensorboard.summary.writer.record_writer")
    ours, theirs = io.BytesIO(), io.BytesIO()
    for data in (b"", b"a", bytes(range(256)) * 5):
        RecordWriter(ours).write(data)
        theirs_module.RecordWriter(theirs).write(data)
    assert ours.getvalue() == theirs.getvalue()


def test_record_writer_closes_its_file():
    file = io.BytesIO()
    writer = RecordWriter(file)
    writer.write(event(b"", 1.0, 2))
    writer.flush()
    assert not writer.closed
    writer.close()
    assert writer.closed
    assert file.closed
