"""`python -m flambeau.distributed.run script.py`: start the processes of a job, as PyTorch's `torchrun` does.

Each process finds its number and where to meet the others in its environment (`RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `MASTER_ADDR`,
`MASTER_PORT`, …), so that `init_process_group()` needs no arguments. If one fails the others are ended, on all machines, and all are started again
as often as `--max-restarts` says. With `--nnodes=1:4` the job begins with as many machines as come; it begins again when one more does.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from flambeau.distributed.elastic.multiprocessing.api import SignalException, raise_signal
from flambeau.distributed.elastic.multiprocessing.errors import ChildFailedError
from flambeau.distributed.elastic.multiprocessing.logs import DefaultLogsSpecs, Std
from flambeau.distributed.elastic.rounds import JobFailedError
from flambeau.distributed.launcher.api import LaunchConfig, launch_agent

__all__ = ["ChildFailedError", "config_from_args", "get_args_parser", "main", "parse_args", "run"]


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

    add("nnodes", "1:1", help="the number of machines, or the least and the most, as 1:4")
    add("nproc-per-node", "1", help="the number of processes on each machine; cpu or auto: one for each core")
    add("rdzv-backend", "static", help="static or c10d")
    add("rdzv-endpoint", "", help="host:port where the machines meet")
    add("rdzv-id", "none", help="the job's name, if several jobs meet at one place")
    add(
        "rdzv-conf",
        "",
        help="join_timeout, last_call_timeout, keep_alive_timeout: seconds to wait for machines, for more of them, for a sign of life",
    )
    add("standalone", flag=True, help="one machine, which needs no place to meet at")
    add("max-restarts", 0, int, help="how often to start again when a process has failed")
    add("monitor-interval", 0.1, float, help="seconds between looks at the processes")
    add("start-method", "spawn", help="for PyTorch's sake: processes are started as programs")
    add("role", "default", help="a name for the processes")
    add("module", flag=True, help="the script is a module, as after python -m")
    add("no-python", flag=True, help="the script is a program of its own")
    add("run-path", flag=True, help="for PyTorch's sake")
    add("log-dir", help="a folder for what the processes print")
    add("redirects", "0", help="what goes to files only: 0 nothing, 1 stdout, 2 stderr, 3 both")
    add("tee", "0", help="what goes to files, too")
    add("local-ranks-filter", help="whose output goes to the console: the processes' numbers on the machine, as 0,2")
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


def config_from_args(args: argparse.Namespace) -> tuple[LaunchConfig, str, list[str]]:
    """The job that a command line means, the program, and its arguments.

    Raises:
        ValueError: a setting makes no sense
    """
    least, most = _counts(args.nnodes)
    told = _settings(args.rdzv_conf)
    backend, endpoint = args.rdzv_backend, args.rdzv_endpoint
    if args.standalone:
        least, most, backend, endpoint = 1, 1, "c10d", "localhost:0"
    elif backend == "static":
        told["rank"] = args.node_rank
        if not endpoint and (most > 1 or args.master_port is not None):
            endpoint = f"{args.master_addr}:{29500 if args.master_port is None else args.master_port}"
    shown = None if args.local_ranks_filter is None else _ranks(args.local_ranks_filter)
    # Without a folder nothing is redirected, as before there were names for where things go.
    redirects, tee = (Std.from_str(text if args.log_dir else "0") for text in (args.redirects, args.tee))
    config = LaunchConfig(
        least, most, _processes(args.nproc_per_node), DefaultLogsSpecs(args.log_dir, redirects, tee, shown), args.rdzv_id, args.role, endpoint,
        backend, told, max_restarts=args.max_restarts, monitor_interval=args.monitor_interval, start_method=args.start_method,
    )  # fmt: skip
    if args.no_python:
        return config, args.training_script, args.training_script_args
    command = ["-u", *(["-m"] if args.module else []), args.training_script, *args.training_script_args]
    return config, sys.executable, command


def _settings(text: str) -> dict[str, Any]:
    """What ``--rdzv-conf`` says, by the names."""
    found: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"--rdzv-conf={text}: {part!r} has no value: say name=value,name=value")
        found[name.strip()] = value.strip()
    return found


def _ranks(text: str) -> set[int]:
    try:
        return {int(each) for each in text.split(",")}
    except ValueError:
        raise ValueError(f"--local-ranks-filter={text}: say the processes' numbers on the machine, as 0,2") from None


def _counts(text: str) -> tuple[int, int]:
    """The least and the most number of machines."""
    least, _, most = text.partition(":")
    try:
        counts = int(least), int(most or least)
    except ValueError:
        raise ValueError(f"--nnodes={text}: say a number, or the least and the most, as 1:4") from None
    if not 1 <= counts[0] <= counts[1]:
        raise ValueError(f"--nnodes={text}: the least must be positive, and not more than the most")
    return counts


def run(args: argparse.Namespace) -> None:
    """Run a job.

    Raises:
        ChildFailedError: a process of this machine failed, as often as it was started
        RuntimeError: one of another machine did, or a machine is gone
    """
    config, program, arguments = config_from_args(args)
    launch_agent(config, program, arguments)


def main(args: Sequence[str] | None = None) -> None:
    """What ``python -m flambeau.distributed.run`` does."""
    before = signal.signal(signal.SIGTERM, raise_signal)
    try:
        run(parse_args(args))
    except ChildFailedError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code if error.exit_code > 0 else 1)
    except JobFailedError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    main()
