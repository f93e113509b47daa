"""``SummaryReader``: the scalars of a run as NumPy arrays."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np

from flambeau.utils.tensorboard import _parse
from flambeau.utils.tensorboard import _storage as storage

_READ_AT_ONCE = 1 << 24


class Scalars(NamedTuple):
    """A series in the order in which it was written."""

    steps: np.ndarray
    wall_times: np.ndarray
    values: np.ndarray


class _File:
    """An event file, as far as it has been read."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = 0
        self.bytes_lost = 0
        self.pieces: dict[str, list[_parse.Piece]] = {}
        self.purges: list[tuple[int, int]] = []

    def read_on(self) -> set[str]:
        """Take in what was added since the last time; returns the tags that have more."""
        tags = set()
        size = _READ_AT_ONCE
        while True:
            buffer = storage.read(self._path, self._position, size)
            groups, end, lost = _parse.split(buffer)
            pieces, purges = _parse.scalars(buffer, groups)
            for piece in pieces:
                tag = piece.tag.decode(errors="replace")
                piece.places += self._position
                self.pieces.setdefault(tag, []).append(piece)
                tags.add(tag)
            for place, step in purges:
                self.purges.append((self._position + place, step))
            self._position += end
            self.bytes_lost += lost
            if len(buffer) < size:
                return tags
            if end == 0:  # a record, or a damaged part, that is longer than what was read
                size *= 2


class SummaryReader:
    """Reads the scalars that were logged to a directory, and follows it while more are.

    Every call takes in what has been written since the last one. Damaged records are skipped.

    Args:
        log_dir: A directory with event files, or an fsspec URL of one. Subdirectories are runs of their own: see ``runs``.

    Example:
        >>> import tempfile
        >>> from flambeau.utils.tensorboard import SummaryWriter
        >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
        ...     writer.add_scalar("loss", 0.5, 1)
        >>> reader = SummaryReader(writer.get_logdir())
        >>> reader.tags()
        ['loss']
        >>> steps, wall_times, values = reader.scalars("loss")
        >>> steps, values
        (array([1]), array([0.5]))
    """

    def __init__(self, log_dir) -> None:
        self._directory = os.fspath(log_dir)
        self._files: dict[str, _File] = {}
        self._merged: dict[str, Scalars] = {}
        self._read_on()

    def tags(self) -> list[str]:
        """The names of all series, sorted."""
        self._read_on()
        return sorted({tag for file in self._files.values() for tag in file.pieces})

    def scalars(self, tag: str) -> Scalars:
        """The series of a tag: ``(steps, wall_times, values)``, int64, float64 and float64, as written.

        Without what a writer purged when it resumed (see ``purge_step``). Raises KeyError if there is no such series.
        """
        self._read_on()
        if tag not in self._merged:
            self._merged[tag] = self._merge(tag)
        return self._merged[tag]

    @property
    def bytes_lost(self) -> int:
        """How many bytes of damaged records have been skipped so far."""
        self._read_on()
        return sum(file.bytes_lost for file in self._files.values())

    def _read_on(self) -> None:
        for path in storage.event_files(self._directory):
            file = self._files.setdefault(path, _File(path))
            purged = len(file.purges)
            changed = file.read_on()
            if len(file.purges) > purged:
                self._merged.clear()
            for tag in changed:
                self._merged.pop(tag, None)

    def _merge(self, tag: str) -> Scalars:
        series = []
        purges: list[tuple[float, int]] = []  # (place, step): of all that precedes the place, drop what has this step or more
        for _, file in sorted(self._files.items(), reverse=True):
            purges = [*file.purges, *((math.inf, step) for _, step in purges)]
            if tag in file.pieces:
                piece = _parse.join(file.pieces[tag])
                file.pieces[tag] = [piece]
                keep = np.ones(len(piece.steps), bool)
                for place, step in purges:
                    keep &= (piece.places > place) | (piece.steps < step)
                series.append(Scalars(piece.steps[keep], piece.wall_times[keep], piece.values[keep].astype(np.float64)))
        if not series:
            raise KeyError(f"{self._directory} has no scalars with the tag {tag!r}")
        return Scalars(*(np.concatenate(columns) for columns in zip(*reversed(series), strict=True)))
