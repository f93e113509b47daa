"""SummaryReader: other writers' files, damage, live runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.utils.tensorboard import SummaryReader, SummaryWriter, _parse, reader
from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard import summary as summaries
from flambeau.utils.tensorboard._records import event, frame, frame_header, scalar_records


def write(directory, contents: bytes, name: str = "events.out.tfevents.1") -> Path:
    path = Path(directory, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return path


def records(count: int, tags=(b"loss",), first: int = 0) -> bytes:
    steps = range(first, first + count)
    return scalar_records([tags[step % len(tags)] for step in steps], [step / 2 for step in steps], steps, [step + 0.5 for step in steps])


def test_columns(log_dir):
    write(log_dir, records(300, (b"a", b"b/c", b"d")))
    run = SummaryReader(log_dir)
    assert run.tags() == ["a", "b/c", "d"]
    steps, wall_times, values = run.scalars("b/c")
    assert (steps.dtype, wall_times.dtype, values.dtype) == (np.int64, np.float64, np.float64)
    np.testing.assert_array_equal(steps, np.arange(1, 300, 3))
    np.testing.assert_array_equal(wall_times, steps + 0.5)
    np.testing.assert_array_equal(values, steps / 2)


def test_unknown_tag(log_dir):
    write(log_dir, records(3))
    with pytest.raises(KeyError, match="no scalars with the tag 'accuracy'"):
        SummaryReader(log_dir).scalars("accuracy")


def test_missing_directory(log_dir):
    with pytest.raises(FileNotFoundError):
        SummaryReader(log_dir)


def test_empty_directory(tmp_path):
    assert SummaryReader(tmp_path).tags() == []


def test_other_kinds_of_events_are_no_scalars(log_dir):
    with SummaryWriter(log_dir) as writer:
        for step in range(100):
            writer.add_text("text", f"{step:05d}", step)
            writer.add_scalar("loss", step, step)
            writer.add_tensor("tensor", np.ones(1, np.float32), step)
            writer.add_histogram("histogram", np.ones(3), step)
    run = SummaryReader(log_dir)
    assert run.tags() == ["loss"]
    assert run.scalars("loss").steps.tolist() == list(range(100))


def test_new_style_scalars(log_dir):
    with SummaryWriter(log_dir) as writer:
        for step in range(100):
            writer.add_scalar("float", step + 0.1, step, new_style=True)
            writer.add_scalar("double", step + 0.1, step, new_style=True, double_precision=True)
    run = SummaryReader(log_dir)
    np.testing.assert_array_equal(run.scalars("double").values, np.arange(100) + 0.1)
    np.testing.assert_array_equal(run.scalars("float").values, (np.arange(100) + 0.1).astype(np.float32))


def test_several_values_in_one_event(log_dir):
    summary = summaries.scalar("a", 1.0).data + summaries.text("t", "x").data + summaries.scalar("b", 2.0).data
    write(log_dir, frame(event(wire.data(5, summary), 1.5, 7)) * 3)
    run = SummaryReader(log_dir)
    assert run.tags() == ["a", "b"]
    assert run.scalars("b").steps.tolist() == [7, 7, 7]
    assert run.scalars("b").values.tolist() == [2.0] * 3


def test_fields_in_another_order_or_missing(log_dir):
    value = wire.data(5, wire.data(1, wire.float32(2, 3.0) + wire.text(1, "a")))
    odd = [value + wire.integer(2, 5) + wire.float64(1, 2.0), value, wire.data(5, wire.data(1, wire.float32(2, 4.0)))]
    write(log_dir, b"".join(map(frame, odd)) * 2)
    run = SummaryReader(log_dir)
    assert run.scalars("a").steps.tolist() == [5, 0, 5, 0]
    assert run.scalars("a").wall_times.tolist() == [2.0, 0.0, 2.0, 0.0]
    assert run.scalars("").values.tolist() == [4.0, 4.0]


def test_records_that_are_no_events(log_dir):
    write(log_dir, frame(b"\x0a\xff") + records(2) + frame(b"") + frame(b"\xff" * 20))
    run = SummaryReader(log_dir)
    assert run.scalars("loss").steps.tolist() == [0, 1]
    assert run.bytes_lost == 0


def test_pytorchs_files(log_dir):
    theirs = pytest.importorskip("torch.utils.tensorboard")
    with theirs.SummaryWriter(log_dir) as writer:
        for step in range(500):
            writer.add_scalar("loss", step / 7, step * 100, walltime=step)
            writer.add_scalar("new", step / 7, -step, new_style=True)
    run = SummaryReader(log_dir)
    np.testing.assert_array_equal(run.scalars("loss").steps, np.arange(500) * 100)
    np.testing.assert_array_equal(run.scalars("loss").values, (np.arange(500) / 7).astype(np.float32))
    np.testing.assert_array_equal(run.scalars("new").steps, -np.arange(500))


def test_equals_tensorboards_reader(log_dir):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rng = np.random.default_rng(0)
    with SummaryWriter(log_dir) as writer:
        for _ in range(2000):
            tag = f"{'group/' * int(rng.integers(3))}tag{rng.integers(1200)}"
            writer.add_scalar(tag, rng.standard_normal(), int(rng.integers(-3, 1 << rng.integers(1, 40))))
    theirs = accumulators.EventAccumulator(log_dir, {"scalars": 0}, purge_orphaned_data=False).Reload()
    ours = SummaryReader(log_dir)
    assert ours.tags() == sorted(theirs.Tags()["scalars"])
    for tag in ours.tags():
        expected = theirs.Scalars(tag)
        columns = [[getattr(item, name) for item in expected] for name in ("step", "wall_time", "value")]
        assert [column.tolist() for column in ours.scalars(tag)] == columns


def test_tags_with_one_checksum(log_dir, monkeypatch):
    monkeypatch.setattr(_parse, "crc32c_columns", lambda columns: np.zeros(columns.shape[1], np.uint32))
    group = _parse.Group(0, np.array([], np.int64), None)
    assert group.size == 0
    data = records(40, (b"ab", b"cd", b"ef"))
    begins = np.arange(40) * (len(data) // 40) + 12
    size = len(data) // 40 - 16
    columns = np.stack([np.frombuffer(data, np.uint8, size, begin) for begin in begins.tolist()], axis=1)
    pieces, _ = _parse.scalars(data[: len(data)], [_parse.Group(size, begins, columns)])
    found = {tag: sorted(int(step) for piece in pieces if piece.tag == tag for step in piece.steps) for tag in (b"ab", b"cd", b"ef")}
    assert found == {tag: [step for step in range(40) if step % 3 == index] for index, tag in enumerate((b"ab", b"cd", b"ef"))}


# Following a run


def test_follows_a_run_byte_by_byte(log_dir):
    contents = records(12, (b"a", b"bb"))
    path = write(log_dir, b"")
    run = SummaryReader(log_dir)
    seen = 0
    with open(path, "ab", buffering=0) as file:
        for byte in contents:
            file.write(bytes([byte]))
            seen = sum(len(run.scalars(tag).steps) for tag in run.tags())
            assert seen == file.tell() // (len(contents) // 12) or seen <= 12
    assert seen == 12
    assert run.bytes_lost == 0
    assert run.scalars("bb").steps.tolist() == [1, 3, 5, 7, 9, 11]


def test_new_files_are_found(log_dir):
    write(log_dir, records(3), "events.out.tfevents.1")
    run = SummaryReader(log_dir)
    assert len(run.scalars("loss").steps) == 3
    write(log_dir, records(3, first=3), "events.out.tfevents.2")
    write(log_dir, records(9), "something.else")
    assert run.scalars("loss").steps.tolist() == list(range(6))


def test_result_does_not_depend_on_when_it_was_read(log_dir):
    """Purges too: what comes late to an earlier file was written before the restart."""
    first, second = Path(log_dir, "events.out.tfevents.1"), Path(log_dir, "events.out.tfevents.2")
    purge = frame(event(wire.data(7, wire.integer(1, 1)), 1.0, 2))
    write(log_dir, records(4), first.name)
    live = SummaryReader(log_dir)
    assert live.scalars("loss").steps.tolist() == [0, 1, 2, 3]
    write(log_dir, records(1, first=9) + purge + records(2, first=2), second.name)
    assert live.scalars("loss").steps.tolist() == [0, 1, 2, 3]
    with open(first, "ab") as file:
        file.write(records(3, first=0) + purge + records(1, first=1))
    assert live.scalars("loss").steps.tolist() == [0, 1, 0, 1, 1, 2, 3]
    assert SummaryReader(log_dir).scalars("loss").steps.tolist() == [0, 1, 0, 1, 1, 2, 3]


def test_files_longer_than_what_is_read_at_once(log_dir, monkeypatch):
    monkeypatch.setattr(reader, "_READ_AT_ONCE", 100)
    large = frame(event(summaries.text("t", "x" * 1000).payload, 1.0, 1))
    write(log_dir, records(50) + large + records(50, first=50))
    assert SummaryReader(log_dir).scalars("loss").steps.tolist() == list(range(100))


# Damage


def without(damaged: range) -> list[int]:
    return [step for step in range(100) if step not in damaged]


SIZE = len(records(1))


@pytest.mark.parametrize("at", ["length", "checksum of length", "data", "checksum of data"])
def test_one_wrong_byte_costs_one_record(at, log_dir):
    offset = 50 * SIZE + {"length": 0, "checksum of length": 9, "data": 30, "checksum of data": SIZE - 1}[at]
    contents = bytearray(records(100))
    contents[offset] ^= 0x10
    write(log_dir, bytes(contents))
    run = SummaryReader(log_dir)
    assert run.scalars("loss").steps.tolist() == without(range(50, 51))
    assert run.bytes_lost == SIZE


def test_missing_bytes(log_dir):
    contents = records(100)
    write(log_dir, contents[: 20 * SIZE + 7] + contents[60 * SIZE + 30 :])
    run = SummaryReader(log_dir)
    assert run.scalars("loss").steps.tolist() == without(range(20, 61))
    assert run.bytes_lost == 7 + SIZE - 30


def test_inserted_bytes(log_dir):
    contents = records(100)
    write(log_dir, contents[: 20 * SIZE] + b"noise" * 1000 + contents[20 * SIZE :])
    run = SummaryReader(log_dir)
    assert run.scalars("loss").steps.tolist() == list(range(100))
    assert run.bytes_lost == 5000


def test_record_that_was_cut_off_before_others(log_dir):
    """Its header is right, and leads into the records that follow."""
    contents = records(100)
    write(log_dir, contents[: 20 * SIZE + 25] + contents[21 * SIZE :])
    run = SummaryReader(log_dir)
    assert run.scalars("loss").steps.tolist() == without(range(20, 21))
    assert run.bytes_lost == 25


def test_end_that_is_cut_off_is_waited_for(log_dir):
    contents = records(10)
    path = write(log_dir, contents[:-5])
    run = SummaryReader(log_dir)
    assert len(run.scalars("loss").steps) == 9
    assert run.bytes_lost == 0
    with open(path, "ab") as file:
        file.write(contents[-5:])
    assert len(run.scalars("loss").steps) == 10


def test_damage_at_the_end_is_lost_when_something_follows(log_dir):
    contents = records(10)
    path = write(log_dir, contents[: 9 * SIZE] + bytes(SIZE))
    run = SummaryReader(log_dir)
    assert len(run.scalars("loss").steps) == 9
    assert run.bytes_lost == 0
    with open(path, "ab") as file:
        file.write(records(5, first=10))
    assert run.scalars("loss").steps.tolist() == [*range(9), *range(10, 15)]
    assert run.bytes_lost == SIZE


def test_zeros(log_dir):
    """What a file system leaves of a file after a power cut; zeros are a length whose checksum is wrong."""
    write(log_dir, records(5) + bytes(100_000))
    run = SummaryReader(log_dir)
    assert len(run.scalars("loss").steps) == 5


@pytest.mark.parametrize("size", [1 << 31, 1 << 40, 1 << 60, (1 << 64) - 1])
def test_absurd_length_with_a_right_checksum_is_damage(size, log_dir):
    """No message is as long as that, so nobody waits for the rest of it, nor makes room for it."""
    write(log_dir, records(5) + frame_header(size) + b"nothing of the kind" + records(5, first=5))
    run = SummaryReader(log_dir)
    assert run.scalars("loss").steps.tolist() == list(range(10))
    assert run.bytes_lost == 12 + 19


def test_long_record_that_is_being_written_is_waited_for(log_dir):
    path = write(log_dir, records(5) + frame_header(100_000) + bytes(50_000))
    run = SummaryReader(log_dir)
    assert len(run.scalars("loss").steps) == 5
    path.write_bytes(records(5) + frame(bytes(100_000)) + records(1, first=5))
    assert len(run.scalars("loss").steps) == 6
    assert run.bytes_lost == 0


@pytest.mark.parametrize(
    ("payload", "values"),
    [
        (wire.text(1, "a") + wire.float32(2, 0.5), [0.5]),
        (wire.text(1, "a") + wire.data(2, b"12345"), None),
        (wire.text(1, "a") + wire.data(2, b""), None),
        (wire.text(1, "a") + wire.integer(2, 1), None),
        (wire.text(1, "a") + wire.float64(2, 0.5), None),
        (wire.integer(1, 97) + wire.float32(2, 0.5), None),
    ],
    ids=["right", "bytes", "no bytes", "integer", "double", "tag"],
)
def test_fields_of_a_wrong_type_are_no_scalars(payload, values, log_dir):
    """Their checksums are right: somebody made them so."""
    data = event(wire.data(5, wire.data(1, payload)), 1.0, 3)
    odd = wire.integer(1, 7) + wire.data(2, b"step") + wire.data(5, wire.data(1, wire.text(1, "b") + wire.float32(2, 1.5)))
    write(log_dir, frame(data) * 3 + frame(odd) * 3)
    run = SummaryReader(log_dir)
    assert ("a" in run.tags()) == (values is not None)
    if values is not None:
        assert run.scalars("a").values.tolist() == values * 3
    series = run.scalars("b")
    assert (series.steps.tolist(), series.wall_times.tolist(), series.values.tolist()) == ([0] * 3, [0.0] * 3, [1.5] * 3)


def test_number_in_a_list_that_is_not_packed(log_dir):
    metadata = wire.data(9, wire.data(1, wire.text(1, "scalars")))
    for field, number in ((5, wire.float32(5, 0.5)), (6, wire.float64(6, 0.5))):
        value = wire.text(1, f"tag{field}") + metadata + wire.data(8, number)
        write(log_dir, frame(event(wire.data(5, wire.data(1, value)), 1.0, 3)), f"events.out.tfevents.{field}")
    run = SummaryReader(log_dir)
    assert [run.scalars(tag).values.tolist() for tag in ("tag5", "tag6")] == [[0.5], [0.5]]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3)), min_size=1, max_size=6
    )
)
def test_contents_that_somebody_made_up_are_no_error(tmp_path_factory, changes):
    """Records whose checksums are right and whose contents are not."""
    good = [
        event(summaries.scalar("loss", 1.0).payload, 1.0, 3),
        event(summaries.scalar("new", 1.0, new_style=True).payload, 1.0, 3),
        event(summaries.scalar("new", 1.0, new_style=True, double_precision=True).payload, 1.0, 300),
        event(wire.data(5, wire.repeated(1, [wire.text(1, "a") + wire.float32(2, 1.0)] * 2)), 1.0, 3),
    ]
    contents = b""
    for which, bytes_ in changes:
        data = bytearray(good[which])
        for place, byte in bytes_:
            data[place % len(data)] = byte
        contents += frame(bytes(data))
    directory = tmp_path_factory.mktemp("run")
    write(directory, contents)
    run = SummaryReader(directory)
    for tag in run.tags():
        run.scalars(tag)
    assert run.bytes_lost == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage(tmp_path_factory, data):
    """Whatever happens to some bytes, all records that they are not part of are read."""
    whole = records(40, (b"a", b"bb", b"ccc"))
    contents = bytearray(whole)
    starts = np.cumsum([0, *(len(records(1, (tag,))) for tag in [b"a", b"bb", b"ccc"] * 14)])[:41]
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(contents) - 1))
        noise = data.draw(st.binary(min_size=1, max_size=100))[: len(contents) - begin]
        contents[begin : begin + len(noise)] = noise
    differing = [offset for offset, (one, other) in enumerate(zip(whole, contents)) if one != other]  # damage may undo damage
    damaged = set((np.searchsorted(starts, differing, side="right") - 1).tolist())
    directory = tmp_path_factory.mktemp("run")
    write(directory, bytes(contents) + records(1, (b"end",)))
    run = SummaryReader(directory)
    steps = sorted(step for tag in run.tags() if tag != "end" for step in run.scalars(tag).steps.tolist())
    assert steps == [step for step in range(40) if step not in damaged]
    assert run.bytes_lost == sum(int(starts[index + 1] - starts[index]) for index in damaged)
    assert os.path.isdir(directory)
