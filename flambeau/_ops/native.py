"""What native code stands in for, and what it refers to: the classes, objects and functions of the path from a call to its result."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau._ops import registry
from flambeau._ops.node import UNSEEN, GradNode, ViewRecord
from flambeau._ops.operator import NATIVE, PYTHON_CALL, PYTHON_INPLACE, Native, Operator, finish_write
from flambeau._ops.origin import CODE, user_line
from flambeau._ops.registry import ANOMALY, OPERATORS
from flambeau._runtime import random_kernels
from flambeau._runtime.allocator import Buffer, allocate, classes_by_size, counters, size_class
from flambeau._runtime.launch import Launch
from flambeau._runtime.pool import pool, runner_cell
from flambeau._tape import native, tape
from flambeau._tape.storage import WATCHED, Storage, TensorBase
from flambeau._tape.trie import TRIE, Trie, TrieNode
from flambeau._types import dtype as dt
from flambeau._types.layout import Layout, contiguous_layouts

ARITHMETIC = {"__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "div"}
"""Methods of tensors that do nothing but call an operator."""


def go_native() -> Any:
    """Let native code record calls that were recorded before, flush what was flushed before, and more; see ``_tape/native/``."""
    from flambeau._compiler.program import CompiledProgram
    from flambeau._ops import creation, encoding, views
    from flambeau._tensor import tensor as tensors

    tensor = registry.tensor_class()
    execute = CompiledProgram.execute
    if execute.__qualname__ != "CompiledProgram.execute":  # somebody watches programs just now
        return None
    classes = {
        "Tape": tape.Tape, "Record": TrieNode, "Trie": Trie, "Storage": Storage, "Tensor": TensorBase, "Operator": Operator, "Layout": Layout,
        "GradNode": GradNode, "Native": Native, "ViewRecord": ViewRecord, "DType": dt.dtype, "Anomaly": type(ANOMALY), "Launch": Launch,
        "Buffer": Buffer, "SizeClass": type(size_class(0)), "Counters": type(counters()),
    }  # fmt: skip
    objects = {
        "none": None, "false": False, "true": True, "float": float, "int": int, "bool": bool, "empty": (), "statics": "statics",
        "names": ("statics",), "write_part": OPERATORS["_write_part"],
        "tensor": tensor, "tensor_base": TensorBase, "storage": Storage, "grad_node": GradNode, "view_record": ViewRecord, "buffer": Buffer,
        "anomaly": ANOMALY, "layout": Layout, "contiguous": contiguous_layouts(), "tuple": tuple, "float32": dt.float32, "int64": dt.int64, "views": "_views", "unseen": UNSEEN, "user_code": CODE, "file_name": "co_filename",
        "program": CompiledProgram, "execute_name": "execute", "execute": execute, "array": np.ndarray, "no_numpy": dict.fromkeys(dt.NO_NUMPY), "buffer_name": "buffer",
        "random_kernels": random_kernels.ADDRESSES, "class_of": classes_by_size(), "counters": counters(),
        "trie": TRIE, "module": vars(tape), "max_slots": "MAX_SLOTS", "watched": WATCHED,
        "lock": None, "unlock": None, "pool_kept": pool(),
        # What is left to Python.
        "generic": PYTHON_CALL, "generic_inplace": PYTHON_INPLACE, "finish_write": finish_write, "adopt": tape.adopt, "user_line": user_line, "allocate": allocate,
        "materialize": Storage.materialize, "item": tensors.item_of, "numpy": tensors.array_of,
        "make_view": views.view_of, "fresh": creation.fresh, "largest": encoding.largest, "layout_of": creation.layout_in_python,
        "run_random": random_kernels.run_in_python,
        "arithmetic": {OPERATORS[name]: getattr(super(tensor, tensor), method) for method, name in ARITHMETIC.items()},
    }  # fmt: skip
    state = native.load(classes, objects, {"pool": runner_cell()})
    if state is not None:
        NATIVE.address, NATIVE.state = state.address, state
        for owner, name, function in state.methods:
            setattr(owner, name, function)
        if not _plain_methods:
            native_methods()
        for module, name, function in (
            (tensors, "item_of", state.item),
            (tensors, "array_of", state.numpy),
            (creation, "fresh", state.fresh),
            (creation, "layout_of", state.layout_of),
            (views, "view_of", state.make_view),
            (encoding, "largest", state.largest),
            (random_kernels, "run_at", state.run_random),
        ):
            setattr(module, name, function)
    return state


_plain_methods = False
_installed: dict[str, Any] = {}
"""The methods of tensors that are native now."""


def plain_methods() -> None:
    """Let all methods of tensors be functions of Python from now on: somebody is about to exchange their code."""
    global _plain_methods
    _plain_methods = True
    tensor = registry.tensor_class()
    for method, function in _installed.items():
        if vars(tensor).get(method) is function:  # not what somebody has set there since
            delattr(tensor, method)
    _installed.clear()


def native_methods() -> None:
    """Let native code be the methods of tensors that it can be, again: nobody exchanges their code."""
    global _plain_methods
    _plain_methods = False
    if NATIVE.state is not None:
        tensor = registry.tensor_class()
        for method, name in ARITHMETIC.items():
            if method not in vars(tensor):  # somebody has set what is there: it stays
                _installed[method] = NATIVE.state.binary(OPERATORS[name], method)
                setattr(tensor, method, _installed[method])


tape.set_native(go_native)
