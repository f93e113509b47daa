"""Where the processes of a job write what they print."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import Any

__all__ = ["DefaultLogsSpecs", "LogsDest", "LogsSpecs", "Std", "Tail", "to_map"]


class Std(IntFlag):
    """Streams of a process."""

    NONE = 0
    OUT = 1
    ERR = 2
    ALL = OUT | ERR

    @classmethod
    def from_str(cls, vm: str) -> Std | dict[int, Std]:
        """Streams of all processes, as ``3``, or of some, as ``0:1,1:3``.

        Raises:
            ValueError: it is neither
        """
        if re.fullmatch(r"[0-3]", vm):
            return cls(int(vm))
        if re.fullmatch(r"\d+:[0-3](,\d+:[0-3])*", vm):
            return {int(rank): cls(int(each)) for rank, each in (part.split(":") for part in vm.split(","))}
        raise ValueError(f"{vm!r} is neither a number from 0 to 3 (nothing, stdout, stderr, both) nor a list such as 0:1,1:3")


def to_map(val_or_map: Std | Mapping[int, Std], local_world_size: int) -> dict[int, Std]:
    """The streams of each process."""
    if isinstance(val_or_map, Std):
        return dict.fromkeys(range(local_world_size), val_or_map)
    return {rank: val_or_map.get(rank, Std.NONE) for rank in range(local_world_size)}


@dataclass
class LogsDest:
    """Files, by the number of the process on its machine.

    Attributes:
        stdouts, stderrs: what a process prints; nothing, if it goes to the console
        tee_stdouts, tee_stderrs: those of the files that are shown on the console, too
        error_files: where ``record`` writes an exception
    """

    stdouts: dict[int, str] = field(default_factory=dict)
    stderrs: dict[int, str] = field(default_factory=dict)
    tee_stdouts: dict[int, str] = field(default_factory=dict)
    tee_stderrs: dict[int, str] = field(default_factory=dict)
    error_files: dict[int, str] = field(default_factory=dict)


class LogsSpecs(ABC):
    """Says which files there are.

    Args:
        log_dir: the folder
        redirects: what goes to files
        tee: what goes to files and to the console
        local_ranks_filter: the processes whose streams go to the console; all, by default
    """

    def __init__(
        self,
        log_dir: str | None = None,
        redirects: Std | dict[int, Std] = Std.NONE,
        tee: Std | dict[int, Std] = Std.NONE,
        local_ranks_filter: set[int] | None = None,
    ) -> None:
        self._root_log_dir, self._redirects, self._tee, self._local_ranks_filter = log_dir, redirects, tee, local_ranks_filter

    @abstractmethod
    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """The files of some processes, which have these environment variables."""

    @property
    @abstractmethod
    def root_log_dir(self) -> str:
        """The folder."""


class DefaultLogsSpecs(LogsSpecs):
    """Files ``<log_dir>/<job>_<random>/attempt_<number>/<process>/stdout.log`` and so on; without a folder, in one that goes with this object."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run_dir: str | None = None

    @property
    def root_log_dir(self) -> str:
        return str(self._root_log_dir)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        variables = next(iter(envs.values()), {})
        if self._run_dir is None:
            if self._root_log_dir:
                os.makedirs(self._root_log_dir, exist_ok=True)
                name = f"{variables.get('TORCHELASTIC_RUN_ID') or 'job'}_".replace(os.sep, "_")
                self._run_dir = tempfile.mkdtemp(prefix=name, dir=self._root_log_dir)
            else:
                self._run_dir = tempfile.mkdtemp(prefix="flambeau-job-")
                weakref.finalize(self, shutil.rmtree, self._run_dir, ignore_errors=True)
        attempt = variables.get("FLAMBEAU_DISTRIBUTED_ROUND", variables.get("TORCHELASTIC_RESTART_COUNT", "0"))
        redirects, tee = to_map(self._redirects, len(envs)), to_map(self._tee, len(envs))
        found = LogsDest()
        for local in sorted(envs):
            folder = Path(self._run_dir) / f"attempt_{attempt}" / str(local)
            folder.mkdir(parents=True, exist_ok=True)
            hidden = self._local_ranks_filter is not None and local not in self._local_ranks_filter
            for stream, files, shown in ((Std.OUT, found.stdouts, found.tee_stdouts), (Std.ERR, found.stderrs, found.tee_stderrs)):
                teed = bool(tee[local] & stream)
                if teed or hidden or redirects[local] & stream:
                    files[local] = str(folder / f"{'stdout' if stream is Std.OUT else 'stderr'}.log")
                if teed and not hidden:
                    shown[local] = files[local]
            found.error_files[local] = str(folder / "error.json")
        return found


class Tail:
    """Shows what is written to a file, line by line, while it is written.

    Args:
        path: the file, which is there
        write: takes lines
        prefix: what each begins with
    """

    def __init__(self, path: str, write: Callable[[str], Any], prefix: str) -> None:
        self.file = open(path, errors="replace")  # noqa: SIM115  (closed in close)
        self.write, self.prefix = write, prefix
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, name="flambeau-tail", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        begun = ""
        while True:
            last = self.done.is_set()  # before it is read, so that what was written until then is
            while line := self.file.readline():
                begun += line
                if begun.endswith("\n"):
                    self.write(self.prefix + begun)
                    begun = ""
            if last:
                break
            self.done.wait(0.05)
        if begun:
            self.write(f"{self.prefix}{begun}\n")
        self.file.close()

    def close(self) -> None:
        """Show the rest, and end."""
        self.done.set()
        self.thread.join()
