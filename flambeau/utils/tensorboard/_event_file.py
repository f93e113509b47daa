"""An event file and the queue in front of it.

Producers append to ``queue`` and go on; whoever drains it encodes and writes. An entry is a tuple ``(tag, value, step,
wall_time)``. With a tag it is a scalar, whose value is a float or the snapshot of a tensor. With the tag None it is anything
else: an event's payload, or a ``Later`` that makes one.

Draining is a transaction. Entries move from the queue to ``_batch`` and count as done only when their bytes are in the file
up to ``_offset``; whatever happens in between (Ctrl-C, a full disk), the next drain writes at the same place. So nothing
but the death of the process leaves half a record behind.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from flambeau.utils.tensorboard import _background, _convert
from flambeau.utils.tensorboard import _messages as messages
from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard._records import event, frame, scalar_records
from flambeau.utils.tensorboard._storage import LocalFile, RemoteFile, new_event_file

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


class Later(NamedTuple):
    """An event with data of its own, to be encoded later."""

    name: str
    """What to call it in a warning."""
    encode: Callable[[], bytes | None]
    """Makes the payload, or returns None when writing other files was all there was to do."""
    snapshots: Sequence
    """What it is made of."""


class EventFile:
    """Writes events to one file in ``directory``, and to a new one when it is used after ``close`` or in a forked child.

    ``max_queue`` bounds how many events with data of their own (images, histograms, ...) wait to be encoded; numbers and
    other small events wait by the thousand. ``flush_secs`` bounds how long a remote file lags behind; a local one is
    written to every quarter of a second.
    """

    def __init__(self, directory: str, max_queue: int, flush_secs: float, suffix: str, purge_step: int | None = None) -> None:
        self.directory = directory
        self.queue: deque[tuple] = deque()
        self._max_later = max_queue if max_queue > 0 else float("inf")
        self._flush_secs = flush_secs
        self._suffix = suffix
        self.forget_parent()
        self._open()
        if purge_step is not None:
            now = time.time()
            self.queue.append((None, _VERSION, purge_step, now))
            self.queue.append((None, _SESSION_START, purge_step, now))
            self.drain()
        self._sync()
        _background.register(self)

    def forget_parent(self) -> None:
        """Start anew with an empty queue: in a forked child, what the parent has queued is written by the parent."""
        self.queue.clear()
        self.idle = True  # the queue may be filled without anybody knowing
        self._batch: list = []
        self._done = 0  # entries of _batch that are in the file
        self._later: deque[None] = deque()  # one for each Later that waits
        self._lock = threading.RLock()  # held while draining
        self._draining = False
        self._file: LocalFile | RemoteFile | None = None
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

    def put_later(self, later: Later, step: int | None, wall_time: float) -> None:
        """Queue an event that is encoded later; if ``max_queue`` such events wait already, help to write them first."""
        self._later.append(None)
        self.queue.append((None, later, step, wall_time))
        if self.idle:
            self.wake()
        while len(self._later) > self._max_later and self._drain_some():
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
        """Write what is ready, and sync if it is time; False if there is something left."""
        self.idle = True  # before draining: entries that come later announce themselves
        self.drain(only_ready=True)
        if time.monotonic() >= self._sync_at:
            self._sync()
        synced = self._file is None or not self._file.unsynced
        return synced and not self.queue and self._done == len(self._batch)

    def finish(self) -> None:
        self.drain()
        self._sync()

    def warn(self) -> None:
        """Give the warnings that have gathered."""
        while self._notices:
            warnings.warn(self._notices.pop(), RuntimeWarning, stacklevel=4)

    # Draining

    def drain(self, only_ready: bool = False) -> None:
        """Write everything that was queued before this call; ``only_ready``: up to the first tensor that is not ready."""
        # The queue is measured first: an entry that moves to _batch meanwhile counts twice, not never.
        pending = len(self.queue) + len(self._batch) - self._done
        while (written := self._drain_some(only_ready)) and (pending := pending - written) > 0:
            pass

    def _drain_some(self, only_ready: bool = False) -> int:
        """Encode and write some entries, and return how many; 0 if there is nothing to do."""
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
                data, after = self._encode(only_ready)
                if after == self._done:
                    return 0
                offset = self._write(data)
                first, count = self._batch[self._done][1], after - self._done
                self._offset, self._done = offset, after
                if isinstance(first, Later):
                    self._batch[after - 1] = None  # its memory is what max_queue bounds
                    self._later.popleft()
                return count
            finally:
                self._draining = False

    def _encode(self, only_ready: bool) -> tuple[bytes, int]:
        """The records of the next entries, and the index after them; a ``Later`` comes alone."""
        start = position = self._done
        end = len(self._batch)
        pieces = []
        while position < end:
            tag, value, step, wall_time = self._batch[position]
            if tag is not None:
                stop = self._end_of_scalars(position, only_ready)
                if stop == position:
                    break
                pieces.append(self._encode_scalars(self._batch[position:stop]))
                position = stop
            elif not isinstance(value, Later):
                pieces.append(frame(value if wall_time is None else event(value, wall_time, step)))
                position += 1
            elif position > start or (only_ready and not all(map(_convert.is_ready, value.snapshots))):
                break
            else:
                return self._encode_later(value, step, wall_time), position + 1
        return b"".join(pieces), position

    def _end_of_scalars(self, position: int, only_ready: bool) -> int:
        """The index after the scalars that begin at ``position`` (and are ready)."""
        for index in range(position, len(self._batch)):
            tag, value, _, _ = self._batch[index]
            if tag is None or (only_ready and type(value) is not float and not _convert.is_ready(value)):
                return index
        return len(self._batch)

    def _encode_later(self, later: Later, step: int | None, wall_time: float) -> bytes:
        try:
            payload = later.encode()
        except Exception as error:
            self._not_logged(later.name, step, error)
            return b""
        return b"" if payload is None else frame(event(payload, wall_time, step))

    def _not_logged(self, name: str, step: int | None, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self._notices.append(f"{name!r} of step {step or 0} was not logged to {self.directory!r}: {reason}")

    def _encode_scalars(self, entries: list[tuple]) -> bytes:
        tags, values, steps, wall_times = zip(*entries, strict=True)
        if set(map(type, values)) != {float}:
            known = []
            for tag, value, step, wall_time in entries:
                try:
                    known.append((tag, _convert.number(value), step, wall_time))
                except Exception as error:
                    self._not_logged(tag.decode(), step, error)
            if not known:
                return b""
            tags, values, steps, wall_times = zip(*known, strict=True)
        return scalar_records(tags, values, steps, wall_times)

    # The file

    def _open(self) -> LocalFile | RemoteFile:
        file = new_event_file(self.directory, self._suffix)
        header = frame(event(_HEADER, time.time(), None))
        file.write(header, 0)
        self._file, self._offset = file, len(header)
        return file

    def _write(self, data: bytes) -> int:
        """Write at ``_offset`` and return the offset after it: the same as before, with a warning, if that fails."""
        try:
            file = self._file or self._open()
            file.write(data, self._offset)
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
