"""`python -m flambeau.distributed.run script.py`: start the processes of a job, as PyTorch's `torchrun` does.

Each process finds its number and where to meet the others in its environment (`RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `MASTER_ADDR`,
`MASTER_PORT`, …), so that `init_process_group()` needs no arguments. If one fails the others are ended, and all are started again as often as
`--max-restarts` says.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import IO, Any, NamedTuple

from flambeau.distributed.errors import DistNetworkError
from flambeau.distributed.handshake import SECRET_VARIABLE
from flambeau.distributed.tcp_store import TCPStore

__all__ = ["ChildFailedError", "get_args_parser", "main", "parse_args", "run"]

_POLL = 0.1
_PATIENCE = 30.0
"""Seconds that processes have to end when they are asked to."""
_PATIENCE_VARIABLE = "TORCH_ELASTIC_WORKER_SIGTERM_TIMEOUT"


class ChildFailedError(Exception):
    """A process of the job failed.

    Attributes:
        exit_code: its exit code, negative for a signal
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def get_args_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="torchrun", description=__doc__.split("\n\n")[0])

    def add(name: str, default: Any = None, kind: Any = str, flag: bool = False, help: str = "") -> None:
        names = {f"--{name.replace('-', '_')}": None, f"--{name}": None}
        variable = f"PET_{name.replace('-', '_').upper()}"
        default = os.environ.get(variable, default)
        if flag:
            parser.add_argument(*names, action="store_true", default=default in (True, "1", "true"), help=help)
        else:
            parser.add_argument(*names, type=kind, default=default, help=help)

    add("nnodes", "1:1", help="the number of machines, or min:max")
    add("nproc-per-node", "1", help="the number of processes on each machine; cpu or auto: one for each core")
    add("rdzv-backend", "static", help="static or c10d")
    add("rdzv-endpoint", "", help="host:port where the machines meet")
    add("rdzv-id", "none", help="the job's name, if several jobs meet at one place")
    add("rdzv-conf", "", help="timeout=… (seconds)")
    add("standalone", flag=True, help="one machine, which needs no place to meet at")
    add("max-restarts", 0, int, help="how often to start again when a process has failed")
    add("monitor-interval", _POLL, float, help="seconds between looks at the processes")
    add("start-method", "spawn", help="for PyTorch's sake: processes are started as programs")
    add("role", "default", help="a name for the processes")
    add("module", flag=True, help="the script is a module, as after python -m")
    add("no-python", flag=True, help="the script is a program of its own")
    add("run-path", flag=True, help="for PyTorch's sake")
    add("log-dir", help="a folder for what the processes print")
    add("redirects", "0", help="what goes to files only: 0 nothing, 1 stdout, 2 stderr, 3 both")
    add("tee", "0", help="what goes to files, too")
    add("node-rank", 0, int, help="this machine's number, with the static rendezvous")
    add("master-addr", "127.0.0.1", help="the address of machine 0")
    add("master-port", None, int, help="a port there")
    add("local-addr", help="for PyTorch's sake")
    parser.add_argument("-m", dest="module", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("training_script", help="the program")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def parse_args(args: Sequence[str] | None = None) -> argparse.Namespace:
    """The settings of a command line."""
    return get_args_parser().parse_args(args)


def _processes(text: str) -> int:
    if text == "gpu":
        raise ValueError("--nproc-per-node=gpu: Flambeau knows no GPUs to count; say cpu, auto or a number")
    if text in ("auto", "cpu"):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        count = int(text)
    except ValueError:
        raise ValueError(f"Unsupported nproc_per_node value: {text}") from None
    if count < 1:
        raise ValueError(f"--nproc-per-node={text}: at least one process is needed")
    return count


class _Node(NamedTuple):
    """This machine in the job."""

    store: TCPStore
    address: str
    rank: int
    count: int
    processes: int


def _join(args: argparse.Namespace) -> _Node:
    """Meet the other machines, at a store that one of them holds."""
    processes = _processes(args.nproc_per_node)
    nodes = int(args.nnodes.split(":")[-1])
    settings = dict(part.split("=", 1) for part in args.rdzv_conf.split(",") if "=" in part)
    timeout = timedelta(seconds=float(settings.get("timeout", settings.get("join_timeout", 600))))
    if args.standalone or (nodes == 1 and not args.rdzv_endpoint and args.master_port is None):
        os.environ.setdefault(SECRET_VARIABLE, secrets.token_hex(32))  # nobody else has to know it; `run` removes it
        return _Node(TCPStore("127.0.0.1", 0, is_master=True, timeout=timeout), "127.0.0.1", 0, 1, processes)
    if args.rdzv_endpoint:
        host, _, port_text = args.rdzv_endpoint.partition(":")
        port = int(port_text or 29400)
    else:
        host, port = args.master_addr, 29500 if args.master_port is None else args.master_port
    if args.rdzv_backend == "static":
        return _Node(TCPStore(host, port, is_master=args.node_rank == 0, timeout=timeout), host, args.node_rank, nodes, processes)
    store = _store_of_whoever_comes_first(host, port, timeout)
    number = store.add(f"{args.rdzv_id}/machines", 1) - 1
    if number >= nodes:
        raise RuntimeError(f"{nodes} machines have joined the job {args.rdzv_id!r} at {host}:{port} already")
    return _Node(store, host, number, nodes, processes)


def _store_of_whoever_comes_first(host: str, port: int, timeout: timedelta) -> TCPStore:
    """The machine that the address belongs to holds the store; of several launchers on it the first does."""
    with suppress(OSError):
        addresses = {entry[4][0] for name in {socket.gethostname(), "localhost"} for entry in socket.getaddrinfo(name, None)}
        if socket.gethostbyname(host) in addresses or host.startswith("127."):
            with suppress(DistNetworkError):
                return TCPStore(host, port, is_master=True, timeout=timeout)
    return TCPStore(host, port, timeout=timeout)


class _Workers:
    """The processes of one attempt."""

    def __init__(self, args: argparse.Namespace, node: _Node, attempt: int) -> None:
        self.args, self.node, self.attempt = args, node, attempt
        counts = self._counts()
        self.first, self.total = sum(counts[: node.rank]), sum(counts)
        self.folder = self._log_folder()
        self.files: list[IO] = []
        self.processes: list[subprocess.Popen] = []
        self.threads: list[threading.Thread] = []
        try:
            for local in range(node.processes):
                self.processes.append(self._start(local))
        except BaseException:
            self.stop()
            raise

    def _counts(self) -> list[int]:
        """The number of processes of each machine."""
        keys = [f"{self.args.rdzv_id}/{self.attempt}/processes/{number}" for number in range(self.node.count)]
        self.node.store.set(keys[self.node.rank], str(self.node.processes))
        return [int(value) for value in self.node.store.multi_get(keys)]

    def _log_folder(self) -> Path | None:
        if not self.args.log_dir:
            return None
        folder = Path(self.args.log_dir) / f"{self.args.rdzv_id}_{datetime.now():%Y%m%d%H%M%S}" / f"attempt_{self.attempt}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _environment(self, local: int) -> dict[str, str]:
        node, args = self.node, self.args
        rank = self.first + local
        variables = {
            "LOCAL_RANK": local, "RANK": rank, "GROUP_RANK": node.rank, "ROLE_RANK": rank, "ROLE_NAME": args.role,
            "LOCAL_WORLD_SIZE": node.processes, "WORLD_SIZE": self.total, "GROUP_WORLD_SIZE": node.count, "ROLE_WORLD_SIZE": self.total,
            "MASTER_ADDR": node.address, "MASTER_PORT": node.store.port, "TORCHELASTIC_RESTART_COUNT": self.attempt,
            "TORCHELASTIC_MAX_RESTARTS": args.max_restarts, "TORCHELASTIC_RUN_ID": args.rdzv_id, "TORCHELASTIC_USE_AGENT_STORE": True,
        }  # fmt: skip
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        if node.processes > 1:
            environment.setdefault("OMP_NUM_THREADS", "1")  # as PyTorch's: the processes share the cores
        return environment

    def _start(self, local: int) -> subprocess.Popen:
        args = self.args
        command = [args.training_script, *args.training_script_args]
        if not args.no_python:
            command = [sys.executable, "-u", *(["-m"] if args.module else []), *command]
        files: dict[str, IO[bytes]] = {}
        streams: dict[str, Any] = {}
        for bit, name in ((1, "stdout"), (2, "stderr")):
            if self.folder is not None and (_streams(args.redirects, local) | _streams(args.tee, local)) & bit:
                folder = self.folder / str(local)
                folder.mkdir(exist_ok=True)
                files[name] = open(folder / f"{name}.log", "wb")  # noqa: SIM115  (closed in stop)
                self.files.append(files[name])
                streams[name] = subprocess.PIPE if _streams(args.tee, local) & bit else files[name]
        process = subprocess.Popen(command, env=self._environment(local), **streams)
        for name, file in files.items():
            source, target = getattr(process, name), getattr(sys, name)
            if source is not None:
                thread = threading.Thread(target=_copy, args=(source, file, target, f"[{args.role}{self.first + local}]:"), daemon=True)
                thread.start()
                self.threads.append(thread)
        return process

    def wait(self) -> tuple[int, subprocess.Popen] | None:
        """Wait until all have ended, or one has failed: which, and its process."""
        while True:
            codes = [process.poll() for process in self.processes]
            for local, code in enumerate(codes):
                if code:
                    return local, self.processes[local]
            if all(code == 0 for code in codes):
                return None
            time.sleep(self.args.monitor_interval)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End those that still run."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)
        deadline = time.monotonic() + float(os.environ.get(_PATIENCE_VARIABLE, _PATIENCE))
        for process in self.processes:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for thread in self.threads:
            thread.join(5)
        for process in self.processes:
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for file in self.files:
            file.close()


def _streams(text: str, local: int) -> int:
    """Which streams of a process are meant by ``3``, or by ``0:1,1:3``."""
    if ":" not in text:
        return int(text)
    return int(dict(part.split(":") for part in text.split(",")).get(str(local), 0))


def _copy(source: IO[bytes], file: IO[bytes], target: Any, prefix: str) -> None:
    for line in source:
        file.write(line)
        target.write(prefix + line.decode(errors="replace"))
        target.flush()


class _Stopped(BaseException):
    """The launcher was asked to end."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)


def run(args: argparse.Namespace) -> None:
    """Run a job.

    Raises:
        ChildFailedError: a process failed, as often as it was started
    """
    known = os.environ.get(SECRET_VARIABLE)
    try:
        _run_attempts(args, _join(args))
    finally:
        if known is None:
            os.environ.pop(SECRET_VARIABLE, None)


def _run_attempts(args: argparse.Namespace, node: _Node) -> None:
    for attempt in range(args.max_restarts + 1):
        workers = _Workers(args, node, attempt)
        try:
            failed = workers.wait()
        except _Stopped as stopped:
            workers.stop(stopped.args[0])
            raise
        except KeyboardInterrupt:  # which the processes get, too
            workers.stop(signal.SIGINT)
            raise
        except BaseException:
            workers.stop()
            raise
        workers.stop()
        if failed is None:
            return
        local, process = failed
        how = f"exit code {process.returncode}"
        if process.returncode < 0:
            with suppress(ValueError):
                how = f"signal {signal.Signals(-process.returncode).name}"
        message = f"{args.training_script} FAILED: rank {workers.first + local} (local rank {local}, pid {process.pid}) ended with {how}"
        if attempt < args.max_restarts:
            print(f"{message}; starting all again, {args.max_restarts - attempt} attempt(s) left", file=sys.stderr, flush=True)
    raise ChildFailedError(message, process.returncode)


def main(args: Sequence[str] | None = None) -> None:
    """What ``python -m flambeau.distributed.run`` does."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        run(parse_args(args))
    except ChildFailedError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code if error.exit_code > 0 else 1)
    except _Stopped as stopped:
        sys.exit(128 + stopped.args[0])
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main()
