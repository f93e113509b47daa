"""Operators, a file for each family. See ``README.md`` for how to add one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau._ops import (
    activation,
    attention,
    calculus,
    choice,
    closeness,
    composing,
    contracting,
    convolution,
    copying,
    counting,
    creation,
    dropout,
    elementwise,
    embedding,
    functions,
    gathering,
    generators,
    hashing,
    indexing,
    inspecting,
    joining,
    linalg,
    loss,
    matrix,
    normalization,
    norms,
    padding,
    pairs,
    pooling,
    products,
    quantization,
    ranges,
    recurrent,
    reduction,
    rejection,
    running,
    sampling,
    scattering,
    scipy_special,
    segments,
    shaping,
    slice_writing,
    softmax,
    sorting,
    special,
    spectrogram,
    statistics,
    views,
    windows,
)  # fmt: skip
from flambeau._ops import locking as locking
from flambeau._ops import nn as nn
from flambeau._ops.refusals import guard
from flambeau._types.promotion import can_cast, promote_types

FAMILIES = (
    activation, attention, calculus, choice, closeness, composing, contracting, convolution, copying, counting, creation, dropout, elementwise, embedding, functions, gathering, generators, hashing, indexing, inspecting, joining, linalg, loss, matrix,
    normalization, norms, padding, pairs, pooling, products, quantization, ranges, recurrent, reduction, rejection, running, sampling, scattering, scipy_special, segments, shaping, slice_writing, softmax, sorting, special, spectrogram, statistics, views, windows,
)  # fmt: skip
"""The families; each lists in ``PUBLIC`` its functions that are names of the package, and in ``METHODS`` the tensor's methods."""


def __getattr__(name: str) -> Any:
    """The classes of ``torch.ops``' operators, which PyTorch has here."""
    if name in ("OpOverload", "OpOverloadPacket"):
        return getattr(import_module(f"{__name__.partition('.')[0]}.ops"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


for _family in FAMILIES:
    for _name in _family.PUBLIC:
        globals()[_name] = getattr(_family, _name)
    guard(*[getattr(_family, _name) for _name in (*_family.PUBLIC, *_family.METHODS)])
guard(can_cast, promote_types)
