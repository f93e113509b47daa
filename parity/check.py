"""What the checks of operators and of modules share."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from parity.calls import Call
from parity.compare import Comparison, MismatchError, read
from parity.translate import MissingError, Translator

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.int64, torch.bool)


@dataclass
class Report:
    """What came of one operator or module: nothing in `gaps` means that all of it passed; a `note` says what it was compared with, if not PyTorch."""

    name: str
    gaps: dict[str, str] = field(default_factory=dict)
    samples: int = 0
    seconds: float = 0.0
    missing: str | None = None
    note: str | None = None

    @property
    def passed(self) -> bool:
        return not self.gaps and self.missing is None


class Check:
    """One entry of PyTorch's test data, checked dtype by dtype; the first gap of each dtype is kept."""

    def __init__(self, entry: Any, target: Any, translator: Translator, limit: int | None) -> None:
        self.entry = entry
        self.target = target
        self.translator = translator
        self.comparison = Comparison(translator)
        self.limit = limit
        self.report = Report(entry.formatted_name)

    def run(self, dtypes: tuple[torch.dtype, ...] = DTYPES) -> Report:
        """Check the entry in those of the dtypes that PyTorch supports, then the calls that must fail."""
        try:
            ours = self.translator.function(self.target)
        except MissingError as error:
            self.report.missing = str(error)
            return self.report
        for dtype in dtypes:
            if dtype in self.entry.supported_dtypes("cpu"):
                self._guard(str(dtype)[6:], lambda dtype=dtype: self.samples(ours, dtype))
        self._guard("errors", lambda: self.error_inputs(ours))
        return self.report

    def _guard(self, what: str, check: Callable[[], None]) -> None:
        seed()
        try:
            check()
        except (MismatchError, MissingError) as error:
            self.report.gaps[what] = str(error)

    def samples(self, ours: Any, dtype: torch.dtype) -> None:
        """Compare all samples of one dtype; raises at the first difference."""
        raise NotImplementedError

    def error_inputs(self, ours: Any) -> None:
        """Compare the errors that bad input raises; raises at the first difference."""
        raise NotImplementedError


class Once:
    """A function of no arguments that is called at most once."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __call__(self) -> Any:
        if self.function is not None:
            self.value, self.function = self.function(), None
        return self.value


def seed() -> None:
    """The test data is drawn at random; draw the same each time."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def same_error(mine: Call, theirs: Call, comparison: Comparison) -> None:
    """Both sides fail with the same class of error, or neither does."""
    if mine.error is None:
        try:
            read(comparison, mine.result)
        except Exception as error:
            mine.error = error
    if theirs.error is None:
        if mine.error is not None:
            raise MismatchError(f"{type(mine.error).__name__}: {first_line(mine.error)}")
        return
    expected = next(kind for kind in type(theirs.error).__mro__ if kind.__module__ == "builtins")
    named = type(theirs.error).__name__
    if mine.error is None:
        raise MismatchError(f"no error, in PyTorch {named}: {first_line(theirs.error)}")
    if not isinstance(mine.error, expected) or (expected is not type(theirs.error) and named not in mro_names(mine.error)):
        raise MismatchError(f"{type(mine.error).__name__} ({first_line(mine.error)}), in PyTorch {named}: {first_line(theirs.error)}")


def mro_names(error: Exception) -> list[str]:
    """The names of an error's classes; PyTorch's own classes are matched by name."""
    return [kind.__name__.lstrip("_") for kind in type(error).__mro__] + [kind.__name__ for kind in type(error).__mro__]


def first_line(error: Exception) -> str:
    """The start of an error's message."""
    text = str(error).strip().partition("\n")[0]
    return text if len(text) <= 200 else text[:197] + "..."
