"""A sequence or a mapping, as a pipe."""

from __future__ import annotations

import copy
import warnings
from typing import Any

from flambeau.utils.data.datapipes.datapipe import MapDataPipe

__all__ = ["SequenceWrapperMapDataPipe"]


class SequenceWrapperMapDataPipe(MapDataPipe):
    """The elements of a sequence, or the values of a mapping.

    Args:
        sequence: what is indexed
        deepcopy: keep a deep copy of it, where one can be made, so that pipes which change samples leave it as it is

    Example:
        >>> SequenceWrapperMapDataPipe({"a": 1})["a"]
        1
    """

    def __init__(self, sequence: Any, deepcopy: bool = True) -> None:
        self.sequence = sequence
        if deepcopy:
            try:
                self.sequence = copy.deepcopy(sequence)
            except TypeError:
                warnings.warn(
                    "The input sequence can not be deepcopied, please be aware of in-place modification would affect source data.",
                    stacklevel=2,
                )

    def __getitem__(self, index: Any) -> Any:
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)
