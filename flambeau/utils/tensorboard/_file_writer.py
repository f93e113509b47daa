"""``FileWriter``: an event file for those who make their messages themselves."""

from __future__ import annotations

import os
import time

from flambeau.utils.tensorboard import _convert
from flambeau.utils.tensorboard._event_file import EventFile
from flambeau.utils.tensorboard._messages import Event, Summary, graph_payload, run_metadata_payload


class FileWriter:
    """Writes encoded messages to an event file: those of this package or protobuf's, whatever has ``SerializeToString``.

    The parameters are those of ``SummaryWriter``.
    """

    def __init__(
        self, log_dir, max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "", *, purge_step: int | None = None
    ) -> None:
        self._arguments = (os.fspath(log_dir), max_queue, flush_secs, filename_suffix)
        self._closed = False
        self.event_writer = EventFile(*self._arguments, purge_step)

    def get_logdir(self) -> str:
        """The directory of the event file."""
        return self._arguments[0]

    def add_event(self, event, step: int | None = None, walltime: float | None = None) -> None:
        """Write an ``Event``, with this step unless it is None, and this time, or now. Raises OSError after ``close``."""
        if self._closed:
            raise OSError(f"the writer of {self.get_logdir()!r} is closed; reopen() it first")
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = _convert.step(step)
        self.event_writer.put(event.SerializeToString(), None, None)

    def add_summary(self, summary, global_step: int | None = None, walltime: float | None = None) -> None:
        """Write an event around a ``Summary``."""
        self.add_event(Event(Summary(summary.SerializeToString()).payload), global_step, walltime)

    def add_graph(self, graph_profile, walltime: float | None = None) -> None:
        """Write a graph and its run metadata: the pair ``(GraphDef, RunMetadata)``."""
        graph, run_metadata = graph_profile
        self.add_event(Event(graph_payload(graph.SerializeToString())), None, walltime)
        self.add_event(Event(run_metadata_payload("step1", run_metadata.SerializeToString())), None, walltime)

    def add_onnx_graph(self, graph, walltime: float | None = None) -> None:
        """Write a graph, a ``GraphDef``."""
        self.add_event(Event(graph_payload(graph.SerializeToString())), None, walltime)

    def flush(self) -> None:
        """Write everything added so far."""
        self.event_writer.flush()

    def close(self) -> None:
        """Write everything added so far and close the file."""
        self._closed = True
        self.event_writer.close()

    def reopen(self) -> None:
        """After ``close``: go on in a new file of the same directory. Otherwise does nothing."""
        if self._closed:
            self.event_writer = EventFile(*self._arguments)
            self._closed = False
