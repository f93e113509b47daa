"""What PyTorch's `.pt2` files and ours have to agree on: the numbers of dtypes and formats, and the names of records.

A file is a zip archive: ``models/model.json`` is the graph, ``data/weights`` and ``data/constants`` hold the bytes of tensors, each with a
``…_config.json`` that says which tensor is where, and ``data/sample_inputs/model.pt`` is what the program was exported with.
https://docs.pytorch.org/docs/stable/export/pt2_archive.html
"""

from __future__ import annotations

from typing import Any

import flambeau

__all__ = [
    "ARITHMETIC", "CONSTANTS", "DTYPES", "FORMAT", "MEMORY_FORMATS", "MODEL", "SAMPLE_INPUTS", "STRIDED", "WEIGHTS", "Records",
]  # fmt: skip

FORMAT = "archive_format"
MODEL = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
STRIDED = 7
"""The number of the layout of dense tensors."""

DTYPES: dict[int, Any] = {
    1: flambeau.uint8, 2: flambeau.int8, 3: flambeau.int16, 4: flambeau.int32, 5: flambeau.int64, 6: flambeau.float16, 7: flambeau.float32,
    8: flambeau.float64, 9: flambeau.complex32, 10: flambeau.complex64, 11: flambeau.complex128, 12: flambeau.bool, 13: flambeau.bfloat16,
    28: flambeau.uint16, 29: flambeau.float8_e4m3fn, 30: flambeau.float8_e5m2, 34: flambeau.uint32, 35: flambeau.uint64,
}  # fmt: skip
"""Dtypes by their numbers."""

MEMORY_FORMATS: dict[int, Any] = {
    1: flambeau.contiguous_format, 2: flambeau.channels_last, 3: flambeau.channels_last_3d, 4: flambeau.preserve_format,
}  # fmt: skip
"""Memory formats by their numbers."""

ARITHMETIC = frozenset({
    "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lt", "mod", "mul", "ne", "neg", "not_", "or_", "pos", "pow", "sub", "truediv",
})  # fmt: skip
"""Functions of Python's `operator` that programs compute sizes with."""


class Records:
    """Where a group of tensors lies.

    Attributes:
        folder, prefix: each tensor's bytes are the record ``{folder}/{prefix}_{number}``
        config: the record that says which is which
    """

    def __init__(self, kind: str, prefix: str) -> None:
        self.folder = f"data/{kind}"
        self.prefix = prefix
        self.config = f"{self.folder}/model_{kind}_config.json"


WEIGHTS = Records("weights", "weight")
CONSTANTS = Records("constants", "tensor")
