"""An event file and the queue in front of it.

Producers append to ``queue`` and go on; whoever drains it encodes and writes. An entry is a tuple ``(tag, value, step,
wall_time)``. With a tag it is a scalar, whose value is a float or the snapshot of a tensor. With the tag None it is anything
else: an event's payload, or a function that returns one (or None, when writing other files was all it had to do).

Draining is a transaction. Entries move from the queue to ``_batch`` and count as done only when their bytes are in the file
up to ``_offset``; whatever happens in between (Ctrl-C, a full disk), the next drain writes at the same place. So nothing
but the death of the process leaves half a record behind.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from itertools import islice

from . import _background, _convert, _storage
from . import _messages as messages
from . import _wire as wire
from ._records import event, frame, scalar_records

SOFT_LIMIT = 1 << 13  # entries at which the background thread no longer lingers
_HARD_LIMIT = 1 << 16  # entries at which the caller drains the queue himself
_CHUNK = 1 << 14  # entries that leave the queue together

_VERSION = wire.text(messages.EVENT_FILE_VERSION, "brain.Event:2")
_HEADER = _VERSION + wire.data(messages.EVENT_SOURCE_METADATA, wire.text(1, "flambeau.utils.tensorboard"))
_SESSION_START = wire.data(messages.EVENT_SESSION_LOG, wire.integer(1, messages.SESSION_START))


class _TagBytes(dict):
    """Tags and their UTF-8, remembered."""

    def __missing__(self, tag: str) -> bytes:
        if not isinstance(tag, str):
            raise TypeError(f"a tag must be a string, got {type(tag).__name__}")
        if len(self) > 1 << 16:
            self.clear()
        self[tag] = encoded = tag.encode()
        return encoded


tag_bytes = _TagBytes()


class EventFile:
    """Writes events to one file in ``directory``, and to a new one when it is used after ``close`` or in a forked child.

    ``max_queue`` bounds how many events with data of their own (images, histograms, ...) wait to be encoded; numbers and
    other small events wait by the thousand. ``flush_secs`` bounds how long a remote file lags behind; a local one is
    written to every quarter of a second.
    """

    def __init__(self, directory: str, max_queue: int, flush_secs: float, suffix: str, purge_step: int | None = None) -> None:
        self.directory = directory
        self.queue: deque[tuple] = deque()
        self._max_heavy = max_queue if max_queue > 0 else float("inf")
        self._flush_secs = flush_secs
        self._suffix = suffix
        self.forget_parent()
        self._open()
        if purge_step is not None:
            now = time.time()
            self.queue.append((None, _VERSION, purge_step, now))
            self.queue.append((None, _SESSION_START, purge_step, now))
            self.drain()
        self._file.sync()
        _background.register(self)

    def forget_parent(self) -> None:
        """Start anew with an empty queue: in a forked child, what the parent has queued is written by the parent."""
        self.queue.clear()
        self.idle = True  # the queue may be filled without anybody knowing
        self._batch: list = []
        self._done = 0  # entries of _batch that are in the file
        self._heavy: deque[None] = deque()  # one for each heavy entry that waits
        self._lock = threading.RLock()  # held while draining
        self._draining = False
        self._file: _storage.LocalFile | _storage.RemoteFile | None = None
        self._offset = 0
        self._sync_at = time.monotonic() + self._flush_secs
        self._notices: list[str] = []  # warnings that the next call gives, in the user's thread
        self._failing = False

    # What producers call.

    def put_scalar(self, tag: bytes, value, step: int, wall_time: float) -> None:
        """Queue a float or the snapshot of a tensor. ``SummaryWriter.add_scalar`` does this without the call."""
        self.queue.append((tag, value, step, wall_time))
        if self.idle or len(self.queue) > SOFT_LIMIT:
            self.wake()

    def put(self, payload: bytes, step: int | None, wall_time: float | None) -> None:
        """Queue an event; without a ``wall_time``, ``payload`` is the whole event."""
        self.queue.append((None, payload, step, wall_time))
        if self.idle or len(self.queue) > SOFT_LIMIT:
            self.wake()

    def put_heavy(self, encode: Callable[[], bytes | None], step: int | None, wall_time: float) -> None:
        """Queue an event that is encoded later; if ``max_queue`` such events wait already, help to write them first."""
        self._heavy.append(None)
        self.queue.append((None, encode, step, wall_time))
        if self.idle:
            self.wake()
        while len(self._heavy) > self._max_heavy and self._drain_some():
            pass

    def wake(self) -> None:
        """See to it that the queue is drained soon; if it is too long, now."""
        if self.idle:
            self.idle = False
            _background.schedule(self)
        if len(self.queue) > _HARD_LIMIT:
            while len(self.queue) > SOFT_LIMIT and self._drain_some():
                pass
        elif len(self.queue) > SOFT_LIMIT:
            _background.hurry()
        if self._notices:
            self.warn()

    def flush(self) -> None:
        """Write everything that was queued before this call."""
        self.drain()
        self._sync()
        self.warn()

    def close(self) -> None:
        """Flush and close the file."""
        self.drain()
        with self._lock:
            if self._file is not None and not self._draining:
                try:
                    self._file.close()
                except Exception as error:
                    self._fail(error)
                self._file = None
        self.warn()

    # What the background thread calls.

    def tend(self) -> bool:
        """Drain, and sync if it is time; False if that has to be done later."""
        self.idle = True  # before draining: entries that come later announce themselves
        self.drain()
        if time.monotonic() >= self._sync_at:
            self._sync()
        return self._file is None or not self._file.unsynced

    def finish(self) -> None:
        self.drain()
        self._sync()

    def warn(self) -> None:
        """Give the warnings that have gathered."""
        while self._notices:
            warnings.warn(self._notices.pop(), RuntimeWarning, stacklevel=4)

    # Draining

    def drain(self) -> None:
        # The queue is measured first: an entry that moves to _batch meanwhile counts twice, not never.
        pending = len(self.queue) + len(self._batch) - self._done
        while (written := self._drain_some()) and (pending := pending - written) > 0:
            pass

    def _drain_some(self) -> int:
        """Encode and write some entries, and return how many; 0 if there are none."""
        with self._lock:
            if self._draining:  # a signal handler, in the middle of a drain of this very thread
                return 0
            self._draining = True
            try:
                if self._done == len(self._batch):
                    self._batch, self._done = [], 0
                    # All in C, so that no signal handler comes between taking an entry and keeping it.
                    self._batch.extend(islice(iter(self.queue.popleft, None), min(len(self.queue), _CHUNK)))
                    if not self._batch:
                        return 0
                heavy = _is_heavy(self._batch[self._done])
                data, count = self._encode()
                offset = self._write(data)
                self._offset, self._done = offset, self._done + count
                if heavy:
                    self._batch[self._done - 1] = None  # its memory is what max_queue bounds
                    self._heavy.popleft()
                return count
            finally:
                self._draining = False

    def _encode(self) -> tuple[bytes, int]:
        """The records of the next entries, up to the next heavy one or just that; and how many entries they are."""
        start = self._done
        if _is_heavy(self._batch[start]):
            _, encode, step, wall_time = self._batch[start]
            try:
                payload = encode()
            except Exception as error:
                self._notices.append(f"an event of step {step or 0} was not logged to {self.directory!r}: {error}")
                payload = None
            return b"" if payload is None else frame(event(payload, wall_time, step)), 1
        pieces = []
        position, end = start, len(self._batch)
        while position < end and not _is_heavy(entry := self._batch[position]):
            tag, payload, step, wall_time = entry
            if tag is None:
                pieces.append(frame(payload if wall_time is None else event(payload, wall_time, step)))
                position += 1
            else:
                after = next((index for index in range(position, end) if self._batch[index][0] is None), end)
                pieces.append(self._encode_scalars(self._batch[position:after]))
                position = after
        return b"".join(pieces), position - start

    def _encode_scalars(self, entries: list[tuple]) -> bytes:
        tags, values, steps, wall_times = zip(*entries, strict=True)
        if set(map(type, values)) != {float}:
            known = []
            for tag, value, step, wall_time in entries:
                try:
                    known.append((tag, _convert.number(value), step, wall_time))
                except Exception as error:
                    self._notices.append(f"{tag.decode()!r} of step {step} was not logged to {self.directory!r}: {error}")
            if not known:
                return b""
            tags, values, steps, wall_times = zip(*known, strict=True)
        return scalar_records(tags, values, steps, wall_times)

    # The file

    def _open(self) -> None:
        file = _storage.new_event_file(self.directory, self._suffix)
        header = frame(event(_HEADER, time.time(), None))
        file.write(header, 0)
        self._file, self._offset = file, len(header)

    def _write(self, data: bytes) -> int:
        """Write at ``_offset`` and return the offset after it: the same as before, with a warning, if that fails."""
        try:
            if self._file is None:
                self._open()
            self._file.write(data, self._offset)
        except Exception as error:  # besides OSError, what remote file systems raise
            self._fail(error)
            return self._offset
        self._failing = False
        return self._offset + len(data)

    def _fail(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            self._notices.append(
                f"cannot write events to {self.directory!r}: {error}. What is logged is dropped until writing works again."
            )
        if self._file is not None:
            try:
                self._file.truncate(self._offset)  # half a record may have been written
            except Exception:
                self._file = None  # go on in a new file

    def _sync(self) -> None:
        with self._lock:
            self._sync_at = time.monotonic() + self._flush_secs
            if self._file is not None and not self._draining:
                try:
                    self._file.sync()
                except Exception as error:
                    self._fail(error)


def _is_heavy(entry: tuple) -> bool:
    return entry[0] is None and callable(entry[1])
