"""The error that says which processes could not save or load."""

from __future__ import annotations

__all__ = ["CheckpointException"]


class CheckpointException(BaseException):
    """Some processes failed.

    Attributes:
        failures: the errors, by the ranks of the processes
    """

    def __init__(self, message: str, failures: dict[int, BaseException]) -> None:
        super().__init__(message, failures)
        self._failures = failures

    @property
    def failures(self) -> dict[int, BaseException]:
        """The errors, by the ranks of the processes."""
        return self._failures

    def __str__(self) -> str:
        ranks = ", ".join(map(str, self._failures))
        return f"{self.args[0]} failed on rank {ranks}: " + "; ".join(f"{type(each).__name__}: {each}" for each in self._failures.values())
