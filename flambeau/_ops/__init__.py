"""Operators, a file for each family. See ``README.md`` for how to add one."""

from __future__ import annotations

from flambeau._ops import nn as nn  # noqa: F401
from flambeau._ops import activation, choice, convolution, copying, creation, elementwise, functions, gathering, indexing, joining, loss, matrix, normalization, optimize, pooling, products, reduction, sampling, shaping, softmax, statistics, views

FAMILIES = (activation, choice, convolution, copying, creation, elementwise, functions, gathering, indexing, joining, loss, matrix, normalization, optimize, pooling, products, reduction, sampling, shaping, softmax, statistics, views)
"""The families; each lists in ``PUBLIC`` its functions that are names of the package, and in ``METHODS`` the tensor's methods."""

for _family in FAMILIES:
    for _name in _family.PUBLIC:
        globals()[_name] = getattr(_family, _name)
