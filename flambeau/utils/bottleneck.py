"""Where the time of a script goes: the machine, Python's functions, and kernels, one report behind the other.

usage: python -m flambeau.utils.bottleneck SCRIPT [argument …]

The script is run twice, with Python's profiler (`cProfile`) and with Flambeau's (`flambeau.profiler`); it has to end by itself. `import torch`
means Flambeau in it, as with `python -m flambeau SCRIPT`.
"""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import flambeau
from flambeau._alias import install_as_torch
from flambeau.profiler import profile
from flambeau.utils.collect_env import get_pretty_env_info

__all__ = ["main"]

ROWS = 15


@contextmanager
def _as_main(path: str, arguments: Sequence[str]) -> Iterator[Callable[[], None]]:
    """What runs a script as `python` would, with everything put back at the end."""
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    before = sys.argv[:], sys.path[:], sys.modules["__main__"]

    def run() -> None:
        module = ModuleType("__main__")
        module.__dict__.update(__builtins__=__builtins__, __file__=path, __annotations__={})
        sys.modules["__main__"] = module
        try:
            exec(code, module.__dict__)
        except SystemExit as exit:
            if exit.code not in (None, 0):
                print(f"the script exits with {exit.code!r}", file=sys.stderr)
        flambeau.flush()

    sys.argv[:] = [path, *arguments]
    sys.path[:1] = [os.path.dirname(os.path.realpath(path))]
    try:
        yield run
    finally:
        sys.argv[:], sys.path[:], sys.modules["__main__"] = before


def _python_profile(run: Callable[[], None]) -> str:
    """The functions of Python that took longest."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(ROWS)
    return text.getvalue().strip()


def _kernel_profile(run: Callable[[], None]) -> str:
    """The kernels that took longest, and the ranges that the script names."""
    with profile() as taken:
        run()
    return taken.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS)


def _titled(title: str, text: str) -> str:
    rule = "-" * 80
    return f"{rule}\n  {title}\n{rule}\n{text}\n"


def main(arguments: Sequence[str]) -> int:
    """Print the reports of the script that the command line names; returns the exit status: 2 if it names none."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    path, *rest = arguments
    if not os.path.isfile(path):
        print(f"there is no script {path!r}", file=sys.stderr)
        return 2
    install_as_torch()
    with _as_main(os.path.abspath(path), rest) as run:
        print("Running your script with cProfile", flush=True)
        python = _python_profile(run)
        print("Running your script with flambeau.profiler", flush=True)
        kernels = _kernel_profile(run)
    print(_titled("Environment", get_pretty_env_info()))
    print(_titled(f"Python: the {ROWS} functions that took longest themselves", python))
    print(_titled(f"Kernels and ranges: the {ROWS} that took longest", kernels))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
