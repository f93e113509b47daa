"""The errors of PyTorch's tracing, for those who catch them."""

from __future__ import annotations

__all__ = ["TorchDynamoException", "Unsupported", "UserError"]


class TorchDynamoException(RuntimeError):
    """A program cannot be traced."""


class UserError(TorchDynamoException):
    """A program cannot be traced as it was asked: its arguments, or sizes that should be free and are not."""


class Unsupported(TorchDynamoException):
    """A program has something that cannot be traced."""
