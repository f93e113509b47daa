"""Errors of the processes of a job."""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

from flambeau.distributed.run import ChildFailedError as ChildFailedError

__all__ = ["ChildFailedError", "record"]


def record(fn: Callable, error_handler: Any = None) -> Callable:
    """A main function whose exception is written to the file that the environment variable ``TORCHELASTIC_ERROR_FILE`` names, if it is set."""

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            path = os.environ.get("TORCHELASTIC_ERROR_FILE")
            if path:
                told = {"py_callstack": traceback.format_exc(), "timestamp": str(int(time.time()))}
                with open(path, "w", encoding="utf-8") as file:
                    json.dump({"message": {"message": f"{type(error).__name__}: {error}", "extraInfo": told}}, file)
            raise

    return wrapped
