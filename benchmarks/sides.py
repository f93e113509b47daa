"""The sides of a comparison: a process each that has imported its package, and forks a fresh one for every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("torch", "torch-compile", "one-thread", "none")
"""What Flambeau is compared with: `one-thread` is Flambeau itself without the other threads, whose results have to be the same bits."""

SUPPLIED = 1536 << 20  # bytes of memory that the host has given this machine before the first call
TOUCH = """
import ctypes, mmap, sys
pages = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pages.madvise(mmap.MADV_HUGEPAGE)
ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(pages)), 1, len(pages))
"""


def supply_memory() -> None:
    """Have `SUPPLIED` bytes of free memory that the machine really holds.

    A virtual machine gives memory that lies free back to its host and gets it again page by page, at a second for a gigabyte:
    a first call would be charged for how long the machine had been idle. A child touches the memory, so that this process
    does not count it as its own.
    """
    subprocess.run([sys.executable, "-S", "-E", "-c", TOUCH, str(SUPPLIED)], check=True)


def compile_bytecode(folder: Path) -> None:
    """Compile Flambeau's modules, as an installation would: what a first call takes is not the time to compile Python."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-j", "0", "flambeau"], cwd=ROOT, env=environment, check=True)


class Side:
    """A side of the comparison: `flambeau`, `torch` or `torch-compile`, with its number of threads.

    Attributes:
        started: what the import took: `import_seconds` and `import_megabytes`
    """

    def __init__(self, name: str, threads: int, bytecode: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if name == "flambeau":  # which is not installed, with its bytecode, as the peer is
            environment |= {"PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.runner", name, str(threads)]
        self._log = (bytecode / f"{name}-{threads}.log").open("w+b")
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.started = self._answer()
        if "error" in self.started:
            raise RuntimeError(f"{name} does not start: {self.started['error']}")

    def run(self, **request: Any) -> dict[str, Any]:
        """Run a workload in a process of its own (`key`, `seconds`, `file`, `cache`): its figures, or an `error` that says why there are none."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # a side may print something of its own
                return json.loads(line)
        self._log.seek(0)
        return {"error": self._log.read().decode(errors="replace").strip().rpartition("\n")[2] or f"exit status {self._process.wait()}"}

    def close(self) -> None:
        self._process.communicate()
        self._log.close()


@contextmanager
def opened(peer: str, threads: int, bytecode: Path) -> Iterator[tuple[Side, Side | None]]:
    """Flambeau and its peer, if there is one."""
    with ExitStack() as stack:

        def start(name: str, count: int) -> Side:
            side = Side(name, count, bytecode)
            stack.callback(side.close)
            return side

        ours = start("flambeau", threads)
        yield ours, None if peer == "none" else start("flambeau", 1) if peer == "one-thread" else start(peer, threads)
