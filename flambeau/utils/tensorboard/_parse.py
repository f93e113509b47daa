"""From the bytes of an event file to arrays of scalars, a million a second.

Records are found one after another, by a dictionary from headers to lengths. All else is done for many at once: records of
one length are laid side by side, their checksums are computed together, and those with the structure of an example, which
is parsed field by field, yield their numbers as columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from flambeau.utils.tensorboard import _messages as messages
from flambeau.utils.tensorboard import _records
from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard._crc import crc32c, crc32c_columns, mask
from flambeau.utils.tensorboard._records import FRAME_SIZE, HEADER_SIZE

_LONG = 256  # bytes; longer records are few, and checked one by one
_LONGEST = 1 << 31  # bytes that no message has (protobuf's limit); a header that says more is damage, whatever its checksum
_EXAMPLES = 64  # structures that are tried on records of one length; what is left is parsed one by one


@dataclass
class Group:
    """Valid records of one length: where their data begins, and their bytes as ``[byte, record]`` (none, if they are long)."""

    size: int
    begins: np.ndarray
    columns: np.ndarray


def split(buffer: bytes) -> tuple[list[Group], int, int]:
    """The valid records, the position up to which the buffer is done with, and how many bytes before it are lost.

    Lost are records with a wrong checksum, and whatever precedes the next valid record. What no valid record follows may
    still be in the making, and is left for later.
    """
    spans: dict[bytes, int] = {}  # from the header to the size of the whole record
    runs: list[tuple[list[int], int]] = []  # records without a gap: where each begins, and where the last one ends
    begins: list[int] = []
    position = lost = 0
    while True:
        try:
            while True:  # the only thing that is done for each record
                span = spans[buffer[position : position + HEADER_SIZE]]
                begins.append(position)
                position += span
        except KeyError:
            if position > len(buffer):
                position = begins.pop()
                break
        header = buffer[position : position + HEADER_SIZE]
        if len(header) < HEADER_SIZE:
            break
        size = int.from_bytes(header[:8], "little")
        if size < _LONGEST and int.from_bytes(header[8:], "little") == mask(crc32c(header[:8])):
            spans[header] = size + FRAME_SIZE
            continue
        if begins and not _is_valid(buffer, begins[-1], position - begins[-1]):  # then its length is not to be trusted either
            position = begins.pop()
        found = _find_record(buffer, position + 1)
        if found is None:
            break
        runs.append((begins, position))
        begins = []
        lost += found - position
        position = found
    runs.append((begins, position))

    starts = np.concatenate([np.array(begins, np.int64) for begins, _ in runs])
    sizes = np.concatenate([np.diff(np.array([*begins, end], np.int64)) for begins, end in runs])
    groups = []
    for members in _equal(sizes):
        span = int(sizes[members[0]])
        group = _checked(buffer, span, starts[members])
        lost += (len(members) - len(group.begins)) * span
        groups.append(group)
    return groups, position, lost


def _equal(keys: np.ndarray) -> Iterator[np.ndarray]:
    """The indices of equal keys, in order, for each key."""
    if len(keys):
        order = np.argsort(keys, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)


def _checked(buffer: bytes, span: int, starts: np.ndarray) -> Group:
    """Those of the records, ``span`` bytes each, whose checksum is right."""
    size = span - FRAME_SIZE
    if size > _LONG:
        starts = starts[[_is_valid(buffer, start, span) for start in starts.tolist()]]
        return Group(size, starts + HEADER_SIZE, np.empty((0, len(starts)), np.uint8))
    begins = starts + HEADER_SIZE
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(buffer, np.uint8), size + 4)
    columns = np.ascontiguousarray(windows[begins].T)
    stored = np.ascontiguousarray(columns[size:].T).view("<u4")[:, 0]
    valid = mask(crc32c_columns(columns[:size])) == stored
    return Group(size, begins, columns[:size]) if valid.all() else Group(size, begins[valid], columns[:size, valid])


def _is_valid(buffer: bytes, start: int, span: int) -> bool:
    data = memoryview(buffer)[start + HEADER_SIZE : start + span - 4]
    return mask(crc32c(data)) == int.from_bytes(buffer[start + span - 4 : start + span], "little")


def _find_record(buffer: bytes, start: int) -> int | None:
    """Where the first valid record from ``start`` on begins."""
    data = np.frombuffer(buffer, np.uint8)[start:]
    if len(data) < FRAME_SIZE:
        return None
    zero = data == 0
    count = len(data) - FRAME_SIZE + 1
    candidates = np.flatnonzero(zero[4:][:count] & zero[5:][:count] & zero[6:][:count] & zero[7:][:count])  # below 4 GiB
    headers = np.lib.stride_tricks.sliding_window_view(data, HEADER_SIZE)
    for part in np.split(candidates, range(1 << 16, len(candidates), 1 << 16)):
        columns = np.ascontiguousarray(headers[part].T)
        stored = np.ascontiguousarray(columns[8:].T).view("<u4")[:, 0]
        for position in (start + part[mask(crc32c_columns(columns[:8])) == stored]).tolist():
            span = int.from_bytes(buffer[position : position + 8], "little") + FRAME_SIZE
            if position + span <= len(buffer) and _is_valid(buffer, position, span):
                return position
    return None


@dataclass
class Piece:
    """Some scalars of one tag; ``places`` are positions in the file, to be sorted by."""

    tag: bytes
    places: np.ndarray
    steps: np.ndarray
    wall_times: np.ndarray
    values: np.ndarray


@dataclass
class _Event:
    """Where an event has what: spans of its fields, None where it has none."""

    wall_time: tuple[int, int] | None = None
    step: tuple[int, int] | None = None
    starts_session: bool = False
    scalars: list[tuple[int, int, int, int]] = field(default_factory=list)  # tag's begin and end, number's begin and end


def scalars(buffer: bytes, groups: list[Group]) -> tuple[list[Piece], list[tuple[int, int]]]:
    """The scalars of all events, and ``(place, step)`` of each start of a session, which purges what has such a step or more."""
    pieces: list[Piece] = []
    purges: list[tuple[int, int]] = []
    for group in groups:
        rest = np.arange(len(group.begins))
        for _ in range(_EXAMPLES if len(group.columns) else 0):
            if len(rest) == 0:
                break
            begin = int(group.begins[rest[0]])
            event = _parse(buffer, begin, begin + group.size)
            if len(event.scalars) == 1:
                same = _like(event, buffer, begin, group.columns, rest)
                pieces += _columns_of(event, begin, group, rest[same])
                rest = rest[~same]
            else:
                _one(buffer, begin, event, pieces, purges)
                rest = rest[1:]
        for begin in group.begins[rest].tolist():
            _one(buffer, begin, _parse(buffer, begin, begin + group.size), pieces, purges)
    return pieces, purges


def _parse(buffer: bytes, begin: int, end: int) -> _Event:
    event = _Event()
    try:
        for number, kind, start, stop in wire.spans(buffer, begin, end):
            if number == _records.EVENT_WALL_TIME and kind == wire.FIXED64:
                event.wall_time = start, stop
            elif number == _records.EVENT_STEP and kind == wire.VARINT:
                event.step = start, stop
            elif number == messages.EVENT_SESSION_LOG:
                status = [(first, last) for key, _, first, last in wire.spans(buffer, start, stop) if key == 1]
                event.starts_session = bool(status) and wire.read_varint(buffer, status[-1][0])[0] == messages.SESSION_START
            elif number == _records.EVENT_SUMMARY:
                for key, _, first, last in wire.spans(buffer, start, stop):
                    scalar = _parse_value(buffer, first, last) if key == _records.SUMMARY_VALUE else None
                    if scalar is not None:
                        event.scalars.append(scalar)
    except ValueError:
        return _Event()  # its checksum is right, so somebody wrote something else than an event
    return event


def _parse_value(buffer: bytes, begin: int, end: int) -> tuple[int, int, int, int] | None:
    """The spans of a scalar's tag and number, or None for another kind of value."""
    fields = _fields(buffer, begin, end)
    tag = fields.get((_records.VALUE_TAG, wire.BYTES), (begin, begin))
    simple = fields.get((_records.VALUE_SIMPLE, wire.FIXED32))
    if simple is not None:
        return *tag, *simple
    tensor, metadata = fields.get((messages.VALUE_TENSOR, wire.BYTES)), fields.get((messages.VALUE_METADATA, wire.BYTES))
    if tensor is None or metadata is None:
        return None
    plugin = _fields(buffer, *metadata).get((1, wire.BYTES), (0, 0))
    name = _fields(buffer, *plugin).get((1, wire.BYTES), (0, 0))
    elements = _fields(buffer, *tensor)
    for number, alone, size in ((messages.FLOAT_VALUES, wire.FIXED32, 4), (messages.DOUBLE_VALUES, wire.FIXED64, 8)):
        start, stop = elements.get((number, wire.BYTES)) or elements.get((number, alone)) or (0, 0)  # a packed list, or not packed
        if buffer[slice(*name)] == b"scalars" and stop - start == size:
            return *tag, start, stop
    return None


def _fields(buffer: bytes, begin: int, end: int) -> dict[tuple[int, int], tuple[int, int]]:
    """The spans of a message's fields, by number and wire type."""
    return {(number, kind): (start, stop) for number, kind, start, stop in wire.spans(buffer, begin, end)}


def _one(buffer: bytes, begin: int, event: _Event, pieces: list[Piece], purges: list[tuple[int, int]]) -> None:
    """The scalars of one event, however many."""
    step = int(np.uint64(wire.read_varint(buffer, event.step[0])[0]).astype(np.int64)) if event.step else 0
    wall_time = np.frombuffer(buffer, "<f8", 1, event.wall_time[0])[0] if event.wall_time else 0.0
    if event.starts_session:
        purges.append((begin, step))
    for tag_begin, tag_end, start, stop in event.scalars:
        value = np.frombuffer(buffer, f"<f{stop - start}", 1, start)
        pieces.append(Piece(buffer[tag_begin:tag_end], np.array([begin]), np.array([step]), np.array([wall_time]), value))


def _like(event: _Event, buffer: bytes, begin: int, columns: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Which of the records have the same bytes as the example, but for its tag, numbers, time, and digits of its step."""
    tag_begin, tag_end, start, stop = event.scalars[0]
    ignored = np.zeros(len(columns), np.uint8)
    for first, last in [(tag_begin, tag_end), (start, stop), event.wall_time or (begin, begin)]:
        ignored[first - begin : last - begin] = 255
    if event.step:
        ignored[event.step[0] - begin : event.step[1] - begin] = 127
    example = np.frombuffer(buffer, np.uint8, len(columns), begin)
    same = np.ones(len(records), bool)
    for position in np.flatnonzero(ignored != 255).tolist():
        differing = columns[position].take(records) ^ example[position]
        same &= differing & ~ignored[position] == 0
    return same


def _columns_of(event: _Event, begin: int, group: Group, records: np.ndarray) -> list[Piece]:
    """The scalars of records that are like ``event``, by tag."""
    everything = len(records) == group.columns.shape[1]

    def part(span: tuple[int, int]) -> np.ndarray:
        columns = group.columns[span[0] - begin : span[1] - begin]
        return columns if everything else columns[:, records]

    def numbers(span: tuple[int, int]) -> np.ndarray:
        return np.ascontiguousarray(part(span).T).view(f"<f{span[1] - span[0]}")[:, 0]

    tag_begin, tag_end, start, stop = event.scalars[0]
    places, values = group.begins[records], numbers((start, stop))
    wall_times = numbers(event.wall_time) if event.wall_time else np.zeros(len(records))
    steps = np.zeros(len(records), np.uint64)
    for index, digits in enumerate(part(event.step) if event.step else ()):
        steps |= (digits & 127).astype(np.uint64) << np.uint64(7 * index)
    steps = steps.view(np.int64)

    tags = part((tag_begin, tag_end))
    if (tags == tags[:, :1]).all():
        return [Piece(tags[:, 0].tobytes(), places, steps, wall_times, values)]
    hashes = crc32c_columns(tags)
    pieces = []
    for members in _equal(hashes):
        tag = tags[:, members[:1]]
        if (tags[:, members] == tag).all():
            pieces.append(Piece(tag.tobytes(), places[members], steps[members], wall_times[members], values[members]))
        else:  # two tags with one checksum
            ones = [np.array([index]) for index in members.tolist()]
            pieces += [Piece(tags[:, one].tobytes(), places[one], steps[one], wall_times[one], values[one]) for one in ones]
    return pieces


def join(pieces: list[Piece]) -> Piece:
    """All pieces as one, in the order of their places."""
    if len(pieces) == 1:
        return pieces[0]
    columns = [(piece.places, piece.steps, piece.wall_times, piece.values) for piece in pieces]
    places, steps, wall_times, values = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.argsort(places, kind="stable")
    return Piece(pieces[0].tag, places[order], steps[order], wall_times[order], values[order])
