"""Flambeau beside PyTorch: the same calls on both, compared operator by operator and module by module.

`python -m parity` takes PyTorch's own test data (`torch.testing._internal`), runs every sample on both sides in one process,
and compares values, gradients, dtypes, shapes, strides, aliasing and error classes. See `python -m parity --help`.
"""

from __future__ import annotations
