"""One machine's part of a job: it meets the others, runs its processes, and begins again with the others when something fails."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from string import Template
from typing import Any, NamedTuple

from flambeau.distributed.elastic.multiprocessing.api import PContext, SignalException, start_processes
from flambeau.distributed.elastic.multiprocessing.errors import ChildFailedError
from flambeau.distributed.elastic.multiprocessing.logs import DefaultLogsSpecs, LogsSpecs
from flambeau.distributed.elastic.rounds import JobFailedError, Round, Rounds, Settings
from flambeau.distributed.errors import DistNetworkError
from flambeau.distributed.handshake import SECRET_VARIABLE
from flambeau.distributed.store import PrefixStore
from flambeau.distributed.tcp_store import TCPStore

__all__ = ["LaunchConfig", "elastic_launch", "launch_agent"]

_POLL = 0.1
_PORT = 29400
"""Where machines meet if that is not said."""
_PATIENCE = 30.0
"""Seconds that processes have to end when they are asked to."""
_PATIENCE_VARIABLE = "TORCH_ELASTIC_WORKER_SIGTERM_TIMEOUT"
_PARTING = 10.0
"""Seconds that other machines have to see how the job ended."""


@dataclass
class LaunchConfig:
    """A job, as one machine sees it.

    Args:
        min_nodes, max_nodes: with how many machines it may run
        nproc_per_node: how many processes this one runs
        logs_specs: where they print
        run_id: the job's name, if several meet at one place
        role: a name for the processes
        rdzv_endpoint: ``host:port`` where the machines meet; port 0 if there is only this one
        rdzv_backend: ``"c10d"``, or ``"static"`` with ``rdzv_configs={"rank": …}`` for this machine's number
        rdzv_configs: ``join_timeout``, ``last_call_timeout`` and ``keep_alive_timeout``: seconds to wait for machines, for more of
            them, and for a sign of life
        rdzv_timeout: the same as ``join_timeout``
        max_restarts: how often to begin again after a failure
        monitor_interval: seconds between looks at the processes
        start_method: how functions are started: ``"spawn"``, ``"fork"`` or ``"forkserver"``
        log_line_prefix_template: what lines on the console begin with, with ``${role_name}``, ``${rank}`` and ``${local_rank}``
        shutdown_timeout: seconds that processes have to end when they are asked to (30)
        others: for PyTorch's sake
    """

    min_nodes: int
    max_nodes: int
    nproc_per_node: int
    logs_specs: LogsSpecs | None = None
    run_id: str = ""
    role: str = "default_role"
    rdzv_endpoint: str = ""
    rdzv_backend: str = "c10d"
    rdzv_configs: dict[str, Any] = field(default_factory=dict)
    rdzv_timeout: int = -1
    max_restarts: int = 3
    monitor_interval: float = _POLL
    start_method: str = "spawn"
    log_line_prefix_template: str | None = None
    metrics_cfg: dict[str, str] = field(default_factory=dict)
    local_addr: str | None = None
    event_log_handler: str = "null"
    shutdown_timeout: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.min_nodes <= self.max_nodes:
            raise ValueError(f"min_nodes ({self.min_nodes}) must be positive, and not more than max_nodes ({self.max_nodes})")
        if self.nproc_per_node < 1:
            raise ValueError(f"nproc_per_node must be positive, but is {self.nproc_per_node}")
        if self.rdzv_backend not in ("c10d", "static"):
            raise ValueError(f"rdzv_backend={self.rdzv_backend!r} is not there: machines meet by 'c10d' or 'static'")
        if self.rdzv_backend == "static" and self.min_nodes != self.max_nodes:
            raise ValueError(
                f"{self.min_nodes} to {self.max_nodes} machines: with rdzv_backend='static' the number is fixed; 'c10d' lets them come and go"
            )
        if self.logs_specs is None:
            self.logs_specs = DefaultLogsSpecs()

    def settings(self) -> Settings:
        """How the machines meet."""
        told, defaults = self.rdzv_configs, Settings()
        join = self.rdzv_timeout if self.rdzv_timeout > 0 else told.get("join_timeout", told.get("timeout", defaults.join))
        return Settings(
            self.min_nodes,
            self.max_nodes,
            place=int(told.get("rank", 0)) if self.rdzv_backend == "static" else None,
            join=float(join),
            last_call=float(told.get("last_call_timeout", defaults.last_call)),
            alive=float(told.get("keep_alive_timeout", defaults.alive)),
            restarts=self.max_restarts,
        )


class elastic_launch:
    """Runs a function, or a program, in all processes of a job.

    Args:
        config: the job
        entrypoint: the function, or the program

    Calling this with the function's arguments returns what it returned in the processes of this machine, by their ranks.

    Raises:
        ChildFailedError: a process of this machine failed, as often as it was started
        RuntimeError: one of another machine did, or too few machines came

    Example::

        elastic_launch(LaunchConfig(1, 1, nproc_per_node=2, rdzv_endpoint="localhost:0"), train)(0.1)
    """

    def __init__(self, config: LaunchConfig, entrypoint: Callable | str | None) -> None:
        self._config, self._entrypoint = config, entrypoint

    def __call__(self, *args: Any) -> dict[int, Any]:
        return launch_agent(self._config, self._entrypoint, list(args))


def launch_agent(config: LaunchConfig, entrypoint: Callable | str | None, args: Sequence[Any]) -> dict[int, Any]:
    """``elastic_launch(config, entrypoint)(*args)``."""
    known = os.environ.get(SECRET_VARIABLE)
    try:
        return _run_rounds(_Job(config, sys.executable if entrypoint is None else entrypoint, tuple(args)), _meet(config))
    finally:
        if known is None:
            os.environ.pop(SECRET_VARIABLE, None)


class _Job(NamedTuple):
    """What is run."""

    config: LaunchConfig
    entrypoint: Callable | str
    args: tuple

    @property
    def name(self) -> str:
        """What failed, if it does."""
        if not isinstance(self.entrypoint, str):
            return self.entrypoint.__qualname__
        script = next((each for each in self.args if not str(each).startswith("-")), self.entrypoint)
        return str(script) if self.entrypoint == sys.executable else self.entrypoint


class _Node(NamedTuple):
    """Where this machine meets the others: a store, its address, whether this one holds it, and how they meet."""

    store: TCPStore
    address: str
    holds: bool
    settings: Settings


def _meet(config: LaunchConfig) -> _Node:
    """Find the other machines, at a store that one of them holds."""
    settings = config.settings()
    timeout = timedelta(seconds=settings.join)
    host, port = _endpoint(config.rdzv_endpoint)
    if not host or port == 0:
        os.environ.setdefault(SECRET_VARIABLE, secrets.token_hex(32))  # nobody else has to know it; `launch_agent` removes it
        alone = settings._replace(least=1, most=1, place=None)
        return _Node(TCPStore("127.0.0.1", 0, is_master=True, timeout=timeout), "127.0.0.1", True, alone)
    if settings.place is not None:
        holds = settings.place == 0
        return _Node(TCPStore(host, port, is_master=holds, timeout=timeout), host, holds, settings)
    store = _store_of_whoever_comes_first(host, port, timeout)
    return _Node(store, host, store._server is not None, settings)


def _endpoint(text: str) -> tuple[str, int]:
    """The host and the port of ``host``, ``host:port`` or ``[address]:port``.

    Raises:
        ValueError: it is none of these
    """
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(\d{1,5}))?", text)
    if found is None or int(found[3] or 0) > 65535:
        raise ValueError(f"the place to meet is host:port (with [...] around an IPv6 address), not {text!r}")
    return found[1] or found[2] or "", int(found[3] or _PORT)


def _store_of_whoever_comes_first(host: str, port: int, timeout: timedelta) -> TCPStore:
    """The machine that the address belongs to holds the store; of several launchers on it the first does."""
    with suppress(OSError):
        addresses = {entry[4][0] for name in {socket.gethostname(), "localhost"} for entry in socket.getaddrinfo(name, None)}
        if socket.gethostbyname(host) in addresses or host.startswith("127."):
            with suppress(DistNetworkError):
                return TCPStore(host, port, is_master=True, timeout=timeout)
    return TCPStore(host, port, timeout=timeout)


# -- rounds ----------------------------------------------------------------------------------------------------------------


def _run_rounds(job: _Job, node: _Node) -> dict[int, Any]:
    store = PrefixStore(f"launcher/{job.config.run_id}", node.store)
    rounds = Rounds(store, node.settings, job.config.nproc_per_node)
    while True:
        round = rounds.join()
        try:
            found = _run_round(job, node, round)
        except BaseException:
            with suppress(Exception):  # the store may be what has failed
                round.leave()
            raise
        round.leave()
        if not isinstance(found, str):
            _part(round, node)
            return found
        left = node.settings.restarts - store.add("restarts", 0) + 1
        print(f"{found}; starting all again, {left} attempt(s) left", file=sys.stderr, flush=True)


def _run_round(job: _Job, node: _Node, round: Round) -> dict[int, Any] | str:
    """Run the processes of this machine in a round: what they returned, or why there has to be another round."""
    told = job.config.shutdown_timeout
    patience = float(os.environ.get(_PATIENCE_VARIABLE, _PATIENCE) if told is None else told)
    workers = _start(job, node, round)
    try:
        found = _watch(job, workers, round)
    except SignalException as stopped:
        workers.close(stopped.sigval, patience)
        raise
    except KeyboardInterrupt:  # which the processes get, too
        workers.close(signal.SIGINT, patience)
        raise
    except ChildFailedError as error:
        again = round.fail(str(error))
        workers.close(timeout=patience)
        if not again:
            _part(round, node)
            raise
        return str(error)
    except BaseException:
        workers.close(timeout=patience)
        raise
    workers.close(timeout=patience)
    if not isinstance(found, str):
        round.job.set("over", "it has ended well")
    elif round.job.check(["over"]):
        _part(round, node)
        raise JobFailedError(f"{job.name} FAILED on another machine: {found}")
    return found


def _start(job: _Job, node: _Node, round: Round) -> PContext:
    config, first, total = job.config, sum(round.members[: round.rank]), sum(round.members)
    envs = {}
    for local in range(config.nproc_per_node):
        variables = {
            "LOCAL_RANK": local, "RANK": first + local, "GROUP_RANK": round.rank, "ROLE_RANK": first + local, "ROLE_NAME": config.role,
            "LOCAL_WORLD_SIZE": config.nproc_per_node, "WORLD_SIZE": total, "GROUP_WORLD_SIZE": len(round.members), "ROLE_WORLD_SIZE": total,
            "MASTER_ADDR": node.address, "MASTER_PORT": node.store.port, "TORCHELASTIC_RESTART_COUNT": round.restarts,
            "TORCHELASTIC_MAX_RESTARTS": config.max_restarts, "TORCHELASTIC_RUN_ID": config.run_id, "TORCHELASTIC_USE_AGENT_STORE": True,
            "FLAMBEAU_DISTRIBUTED_ROUND": round.number,
        }  # fmt: skip
        if config.nproc_per_node > 1 and "OMP_NUM_THREADS" not in os.environ:
            variables["OMP_NUM_THREADS"] = 1  # as PyTorch's: the processes share the cores
        envs[local] = {name: str(value) for name, value in variables.items()}
    template = Template(config.log_line_prefix_template or "[${role_name}${rank}]:")
    prefixes = {local: template.safe_substitute(role_name=config.role, rank=first + local, local_rank=local) for local in envs}
    args = dict.fromkeys(envs, job.args)
    return start_processes(config.role, job.entrypoint, args, envs, config.logs_specs or DefaultLogsSpecs(), prefixes, config.start_method)


def _watch(job: _Job, workers: PContext, round: Round) -> dict[int, Any] | str:
    """Wait until the processes of all machines have ended well: what those here returned; or why they are to be started again.

    Raises:
        ChildFailedError: one of this machine has failed
    """
    first = sum(round.members[: round.rank])
    result = None
    while True:
        if result is None and (result := workers.wait(0)) is not None:
            if result.is_failed():
                raise ChildFailedError(job.name, {first + local: failure for local, failure in result.failures.items()})
            round.finish()
        if result is not None and round.finished():
            return {first + local: value for local, value in result.return_values.items()}
        if (reason := round.news()) is not None:
            return reason
        time.sleep(job.config.monitor_interval)


def _part(round: Round, node: _Node) -> None:
    """Who holds the store leaves last: the others look there for what happened."""
    round.store.add("gone", 1)
    deadline = time.monotonic() + _PARTING
    while node.holds and round.store.add("gone", 0) < len(round.members) and time.monotonic() < deadline:
        time.sleep(_POLL)
