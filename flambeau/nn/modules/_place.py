"""Where in a network an error was raised: it is worked out when there is an error, from the calls that are under way, and costs nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import flambeau
from flambeau._tape.tape import Tape

PACKAGE = str(Path(flambeau.__file__).parent)

_PLAIN = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)


def add_place(error: Exception, module: Any, call: CodeType) -> None:
    """Says on ``error`` in which module of which network it was raised.

    An error of the package's own gets ``encoder.2.conv: Conv2d(8, 16, …): `` in front of its message. Another one gets a note, which Python
    3.11 and later show. What a flush reports stays as it is: the calls under way need not be those that recorded the operator.

    Args:
        error: what is being raised; only the innermost module that it leaves is named.
        module: that module.
        call: the code of ``Module.__call__``, by which calls under way are known.
    """
    if hasattr(error, "_flambeau_place"):
        return
    error._flambeau_place = module
    frames = [frame.f_code for frame in _raising(error)]
    if Tape.flush.__code__ in frames:
        return
    path, root = _path(module, call)
    if type(error) in _PLAIN and len(error.args) == 1 and isinstance(error.args[0], str) and frames[-1].co_filename.startswith(PACKAGE):
        error.args = (f"{path + ': ' if path else ''}{_brief(module)}: {error.args[0]}",)
    elif path:
        note = f"Raised in the module {path!r} ({type(module).__name__}) of {type(root).__name__}."
        error.__dict__.setdefault("__notes__", []).append(note)


def _raising(error: Exception) -> Iterator[FrameType]:
    """The frames from the module's call to where the error was raised."""
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


def _path(module: Any, call: CodeType) -> tuple[str, Any]:
    """The path of a module in the outermost network that has it and is being called, and that network."""
    running = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is call:
            running.append(frame.f_locals["self"])
        frame = frame.f_back
    for root in reversed(running):
        for path, child in root.named_modules():
            if child is module and path:
                return path, root
    return "", module


def _brief(module: Any) -> str:
    """A layer of the package with its settings; of anything else the class (a user's ``extra_repr`` might raise)."""
    kind = type(module)
    settings = module.extra_repr() if kind.__module__.startswith("flambeau.nn.") else ""
    return f"{kind.__name__}({settings})" if settings and "\n" not in settings else kind.__name__
