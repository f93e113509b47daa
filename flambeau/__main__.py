"""`python -m flambeau script.py`: run a program that says `import torch` on Flambeau, unchanged."""

from __future__ import annotations

import io
import os
import runpy
import sys
import zipfile
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any

from flambeau._alias import install_as_torch

__all__ = ["main"]

HELP = """usage: python -m flambeau [-c CODE | -m MODULE | SCRIPT | -] [argument ...]

Runs a program that says `import torch` on Flambeau, unchanged.

The program sees what plain `python` would show it: its own `__main__`, `sys.argv`, `sys.path[0]`, exit status and
tracebacks. Only `torch` and `torchvision` name Flambeau's modules, there and in the processes that it starts.
"""


def main(arguments: list[str]) -> None:
    """Run the program that the command line names."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="", file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    if arguments[0] in ("-c", "-m") and len(arguments) == 1:
        print(f"Argument expected for the {arguments[0]} option", file=sys.stderr)
        sys.exit(2)
    run = _prepare(*arguments)
    install_as_torch()
    try:
        run()
    except SystemExit:
        raise
    except BaseException:
        _hide_our_frames()
        raise


def _prepare(what: str, *rest: str) -> Callable[[], Any]:
    """Set `sys.argv` and `sys.path[0]` as `python` does for this program, and return what runs it."""
    if what == "-c":
        sys.argv[:] = [what, *rest[1:]]
        return lambda: _run_as_main(rest[0], "<string>")
    if what == "-m":
        sys.argv[:] = rest
        return lambda: _run_module(rest[0])
    sys.argv[:] = [what, *rest]
    if what == "-":
        return lambda: _run_as_main(sys.stdin.read(), "<stdin>")
    if os.path.isdir(what) or zipfile.is_zipfile(what):
        del sys.path[:1]  # run_path puts the folder or archive there
        return lambda: runpy.run_path(what, run_name="__main__")
    path = os.path.abspath(what)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        sys.exit(2)
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    return lambda: _run_as_main(source, path)


def _run_module(name: str) -> None:
    """Run a module as `__main__`; one that is not there is one line, as it is to `python`, and no traceback."""
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        innermost = error.__traceback__
        while innermost is not None and innermost.tb_next is not None:
            innermost = innermost.tb_next
        if innermost is None or innermost.tb_frame.f_globals.get("__name__") != runpy.__name__:
            raise
        print(f"{sys.executable}: {error}", file=sys.stderr)
        sys.exit(1)


def _run_as_main(source: str | bytes, filename: str) -> None:
    """Run source text as a fresh `__main__`, which stays in place afterwards for threads and exit handlers."""
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=__builtins__, __annotations__={})
    if not filename.startswith("<"):
        module.__dict__.update(__file__=filename, __cached__=None, __loader__=SourceFileLoader("__main__", filename))
    sys.modules["__main__"] = module
    exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)


def _hide_our_frames() -> None:
    """Have the traceback that ends the program begin with the program's own first line."""
    show = sys.excepthook

    def show_from_program(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        while traceback is not None and traceback.tb_frame.f_code.co_filename != __file__:
            traceback = traceback.tb_next
        while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
            traceback = traceback.tb_next
        show(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = show_from_program


if __name__ == "__main__":
    main(sys.argv[1:])
