"""Which operators a program in a file may call: a stranger may have written it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

from flambeau import ops, overrides
from flambeau._aten import OPERATORS

__all__ = ["REFUSED", "operator_named"]

REFUSED = frozenset({
    "apply_", "data_ptr", "from_dlpack", "from_file", "from_numpy", "frombuffer", "load", "map_", "numpy", "register_hook", "register_post_accumulate_grad_hook",
    "save", "share_memory_", "storage", "tolist", "untyped_storage",
})  # fmt: skip
"""Functions and methods of tensors that reach files, memory of other processes, or Python."""


_HOMES = frozenset(
    f"flambeau.{name}" for name in ("_foreach", "_ops.rejection", "_ops.softmax", "_top_level", "ao.tensors.creation", "ao.tensors.fake")
)
"""Modules all of whose public functions are operators, besides those that ask classes about calls (``overrides``)."""


@cache
def operator_named(name: str) -> Callable | None:
    """What computes the operator ``aten::name``: a public function on tensors or a tensor's method. Nothing, if it may not be called."""
    if name in OPERATORS:
        return OPERATORS[name]
    if name in REFUSED or name.startswith("__"):
        return None
    function = ops._function(name)
    return function if function is not None and _is_operator(function) else None


def _is_operator(function: Any) -> bool:
    if isinstance(function, FunctionType) and function.__module__ in _HOMES:
        return True
    return any(each is function for _, _, each in overrides._functions()) or any(each is function for _, each in overrides._methods())
