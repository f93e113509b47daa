"""The path of every call and of every small flush, as native code.

``record`` does what ``Operator.__call__`` does where a call was recorded before at the same place, and ``flush`` what ``Tape.flush`` does where
a program is known and the flush is nobody else's business. Whatever is out of the ordinary (something new, an error, a number that is
too large, a storage that others see, a second thread) is left to these, before anything has changed: they are the
definition, this is the short way. Nothing interrupts native code, so that Ctrl-C comes before it or after it.

Microseconds of a Zen 4, in Python and native: an addition is recorded in 1.2 and 0.24, one with autograd in 2.0 and 0.31; a flush of it
takes 4.4 and 1.0.

The code comes from the disk cache, and is loaded when a process has flushed ``WARM`` times, or made many times as many tensors: a short script never pays for it.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from flambeau._runtime import callables, launch, words
from flambeau._tape.native import arrays, common, flush, record, tensors

WARM = 100
"""Flushes before the native code is loaded (3 ms; the first process on a machine compiles it, 190 ms of processor time)."""

_SOURCE = common.SOURCE + record.SOURCE + flush.SOURCE + tensors.SOURCE + arrays.SOURCE


class _State:
    """What native code refers to: addresses of Python objects, which are kept alive, and numbers, each a word with a name.

    Attributes:
        methods: ``(class, name, function)`` for those that take the places of Python's
        flush, item, fresh, layout_of, make_view, largest, numpy, run_random: functions
        binary: makes the method of tensors that calls an operator: ``binary(operator, name)``
    """

    def __init__(self, objects: dict[str, Any], numbers: dict[str, int]) -> None:
        self.objects = objects
        self.places = {name: 8 * index for index, name in enumerate((*objects, *numbers))}
        self.words = (ctypes.c_int64 * len(self.places))(*map(id, objects.values()), *numbers.values())
        self.address = ctypes.addressof(self.words)
        self.tape_word = list(self.places).index("tape")
        self.kept: Any = None
        self.methods: list[tuple[type, str, Any]] = []
        self.flush: Any = None
        self.item: Any = None
        self.fresh: Any = None
        self.layout_of: Any = None
        self.make_view: Any = None
        self.largest: Any = None
        self.numpy: Any = None
        self.run_random: Any = None
        self.binary: Any = None

    def hold(self, name: str, value: Any) -> None:
        """Refer to another object."""
        self.objects[name] = value
        self.words[self.places[name] // 8] = id(value)

    def set(self, name: str, number: int) -> None:
        self.words[self.places[name] // 8] = number


_FIELDS = {
    "Tape": ("cursor", "entered", "flushed", "flushing", "fresh", "grad", "inputs", "limit", "numbers", "replaced", "values"),
    "Record": (
        "differentiable", "latest", "launches", "layouts", "nbytes", "op", "operands", "origin", "parent", "saves", "single", "sizes", "statics",
        "used", "wanted",
    ),
    "Trie": ("generation", "root", "size", "turn"),
    "Storage": ("buffer", "error", "exported", "nbytes", "slot", "tape", "version"),
    "Tensor": ("base", "layout", "memory", "node", "output_nr"),
    "Layout": ("contiguous", "dense", "dtype", "memo", "numel", "offset", "shape", "strides"),
    "Operator": ("keeps_origin", "native"),
    "DType": ("category", "itemsize", "numpy"),
    "ViewRecord": ("layouts", "operands", "statics"),
    "Native": ("address",),
    "GradNode": ("inputs", "op", "record", "saved"),
    "Anomaly": ("enabled",),
    "Launch": ("classes", "inputs", "kinds", "sizes", "slots", "sources", "words"),
    "Buffer": ("_class", "address", "nbytes", "packed"),
    "SizeClass": ("counters", "free", "memory_at", "nbytes", "pop"),
    "Counters": ("address",),
}  # fmt: skip
"""The fields that native code reads or writes."""

SCRATCH_SLOTS = 4096
"""A flush of more values than this is so long that the way to it does not matter."""

SHORT_NANOSECONDS = 10_000
"""A program that takes less is run with Python's lock held: to give it up and take it again, and to keep other threads from the tapes meanwhile,
takes a fifth of the time of the smallest flush."""


_OF_STATE = {
    "flush": callables.ONE_ARGUMENT, "item": callables.ONE_ARGUMENT, "fresh": callables.ONE_ARGUMENT, "largest": callables.ONE_ARGUMENT,
    "make_view": callables.FAST, "numpy": callables.ONE_ARGUMENT, "run_random": callables.FAST,
    "layout_of": callables.FAST,
}  # fmt: skip
"""Functions that are given the state first, and how they are given the rest."""


def load(classes: dict[str, type], objects: dict[str, Any], places: dict[str, int]) -> _State | None:
    """Make the native functions and let them stand in for Python's; ``None`` where that is not possible.

    Args:
        classes: those of ``_FIELDS``
        objects: what ``_SOURCE`` refers to as the state's
        places: addresses of plain words: the pool's
    """
    if not words.supported():
        return None
    structures = {name: words.Structure.of_class(classes[name], fields) for name, fields in _FIELDS.items()}
    for name in ("Storage", "Tensor", "GradNode", "ViewRecord", "Buffer"):  # an object just made has nothing to let go of
        structures[f"New{name}"] = words.Structure(structures[name].fields, owned=False)
    scratch, cells, block = (ctypes.c_int64 * (2 * SCRATCH_SLOTS))(), (ctypes.c_int64 * 4)(), (ctypes.c_int64 * 6)()
    new_array, set_base = callables.array_functions()
    numbers = {
        "thread": 0, "tape": 0, "inference": 0, "scratch": ctypes.addressof(scratch), "scratch_slots": SCRATCH_SLOTS, "cells": ctypes.addressof(cells),
        "clock": 6 if sys.platform == "darwin" else 1, "short_time": SHORT_NANOSECONDS, "tuple_items": tuple.__basicsize__,
        "block": ctypes.addressof(block), "new_array": new_array, "set_base": set_base,
    }  # fmt: skip
    state = _State(objects, numbers | places)
    state.kept = scratch, cells, block, callables.DEFINITIONS
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(state))  # for ever: the last objects are freed when modules are gone
    structures["State"] = words.Structure(state.places, owned=False)
    structures["Pool"] = words.Structure({"run": 0}, owned=False)
    structures["Words"] = words.Structure({name: 8 * place for place, name in enumerate(launch.WORDS)}, owned=False)
    try:
        found = words.build(_SOURCE, structures, (*_OF_STATE, "record", "inplace", "overwrite", "binary", "materialize", "release"))
    except (RuntimeError, OSError):  # Python's C functions are not to be found, or the system wants no code made
        return None
    for name, given in _OF_STATE.items():
        setattr(state, name, callables.function(name, found[name], given, state.address))
    operator, storage, buffer = classes["Operator"], classes["Storage"], classes["Buffer"]
    materialize = callables.function("materialize", found["materialize"], callables.ONE_ARGUMENT, state.address)
    state.methods = [
        (operator, "__call__", callables.method(operator, "__call__", found["record"], callables.FAST_WITH_KEYWORDS)),
        (operator, "inplace", callables.method(operator, "inplace", found["inplace"], callables.FAST_WITH_KEYWORDS)),
        (operator, "_overwrite", callables.method(operator, "_overwrite", found["overwrite"], callables.FAST)),
        (buffer, "__del__", callables.method(buffer, "__del__", found["release"], callables.NO_ARGUMENTS)),
        (storage, "materialize", callables.bound(materialize)),
    ]
    state.binary = lambda operator, name: callables.bound(callables.function(name, found["binary"], callables.FAST, operator))
    return state
