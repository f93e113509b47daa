"""The process's one thread that writes events, and what must happen when the process forks or ends.

A file announces that it has something to write; the thread gives it a moment to gather more, then *tends* to it. Who cannot
wait (``flush``, a full queue, the end of the process) drains the file himself, so nothing ever waits for this thread, and
nothing is lost if it never runs.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref

LINGER_SECONDS = 0.25
POLL_SECONDS = 1.0

_files: set[weakref.ref] = set()
_waiting: dict = {}  # files that are not clean; they live until they are
_thread: threading.Thread | None = None
_starting = threading.Lock()
_something = threading.Event()
_hurry = threading.Event()


def register(file) -> None:
    """Finish ``file`` when the process ends, and tell it of forks."""
    _files.add(weakref.ref(file, _files.discard))


def schedule(file) -> None:
    """Tend to ``file`` soon."""
    _waiting[file] = None
    if _thread is None:
        _start()
    _something.set()


def hurry() -> None:
    """Do not linger: a queue is filling up."""
    if not _hurry.is_set():
        _hurry.set()


def _start() -> None:
    global _thread
    with _starting:
        if _thread is not None:
            return
        thread = threading.Thread(target=_work, name="flambeau-tensorboard", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down, and will call finish_all
            return
        _thread = thread
    if "multiprocessing.process" in sys.modules and sys.modules["multiprocessing.process"].parent_process() is not None:
        # A child of multiprocessing may leave by os._exit, which skips atexit but not these.
        from multiprocessing.util import Finalize

        Finalize(None, finish_all, exitpriority=0)


def _work() -> None:
    while True:
        _something.wait(POLL_SECONDS if _waiting else None)
        _hurry.wait(LINGER_SECONDS)
        _something.clear()
        _hurry.clear()
        for file in list(_waiting):
            del _waiting[file]  # before, not after: what is announced meanwhile must not be forgotten
            if not file.tend():
                _waiting[file] = None
        file = None  # nobody else may hold it


def finish_all() -> None:
    """Write everything that is pending in this process, then say what could not be written."""
    files = [file for file in (reference() for reference in list(_files)) if file is not None]
    for file in files:
        file.finish()
    for file in files:
        file.warn()


def _after_fork_in_child() -> None:
    global _thread, _starting, _something, _hurry
    _thread = None
    _starting, _something, _hurry = threading.Lock(), threading.Event(), threading.Event()
    _waiting.clear()
    for reference in list(_files):
        file = reference()
        if file is not None:
            file.forget_parent()


atexit.register(finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
