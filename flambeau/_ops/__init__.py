"""Operators, a file for each family. See ``README.md`` for how to add one."""

from __future__ import annotations

from flambeau._ops import (
    activation,
    choice,
    composing,
    convolution,
    copying,
    counting,
    creation,
    elementwise,
    functions,
    gathering,
    indexing,
    inspecting,
    joining,
    loss,
    matrix,
    normalization,
    pooling,
    products,
    reduction,
    running,
    sampling,
    shaping,
    softmax,
    sorting,
    special,
    statistics,
    views,
)  # fmt: skip
from flambeau._ops import nn as nn

FAMILIES = (
    activation, choice, composing, convolution, copying, counting, creation, elementwise, functions, gathering, indexing, inspecting, joining, loss, matrix,
    normalization, pooling, products, reduction, running, sampling, shaping, softmax, sorting, special, statistics, views,
)  # fmt: skip
"""The families; each lists in ``PUBLIC`` its functions that are names of the package, and in ``METHODS`` the tensor's methods."""

for _family in FAMILIES:
    for _name in _family.PUBLIC:
        globals()[_name] = getattr(_family, _name)
