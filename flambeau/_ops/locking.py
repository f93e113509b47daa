"""What a call is once a second thread records: what it is in Python, under the lock of the tapes."""

from __future__ import annotations

import sys
import time
from threading import get_ident
from typing import TYPE_CHECKING, Any

from flambeau._ops.operator import NATIVE, PYTHON_CALL, PYTHON_INPLACE, Operator
from flambeau._tape.tape import recording_lock, set_share

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


def _record_under_lock() -> None:
    """Let all calls hold the lock of the tapes from now on, and wait until the calls that other threads began without it have ended.

    A call in place holds it from its reading to its writing, so that it takes nothing back that another thread wrote meanwhile.
    """

    def call(self: Operator, *operands: Any, statics: tuple = ()) -> Any:
        with recording_lock():
            return PYTHON_CALL(self, *operands, statics=statics)

    def inplace(self: Operator, target: Tensor, *operands: Any, statics: tuple = ()) -> Tensor:
        with recording_lock():
            return PYTHON_INPLACE(self, target, *operands, statics=statics)

    call.__doc__, inplace.__doc__ = PYTHON_CALL.__doc__, PYTHON_INPLACE.__doc__
    Operator.__call__, Operator.inplace = call, inplace
    if NATIVE.state is not None:
        NATIVE.state.hold("generic", call)
        NATIVE.state.hold("generic_inplace", inplace)
    own = get_ident()
    while any(_calls_without_lock(frame) for thread, frame in sys._current_frames().items() if thread != own):
        time.sleep(1e-4)


def _calls_without_lock(frame: Any) -> bool:
    """Whether a call of an operator is among the callers of a frame, and is not one that holds the lock."""
    while frame is not None:
        if frame.f_code is PYTHON_CALL.__code__ and (frame.f_back is None or frame.f_back.f_code is not Operator.__call__.__code__):
            return True
        frame = frame.f_back
    return False


set_share(_record_under_lock)
