"""What goes wrong between processes."""

from __future__ import annotations

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "QueueEmptyError"]


class DistError(RuntimeError):
    """The base of the errors below."""


class DistBackendError(DistError):
    """A collective or a message failed: a peer is gone, silent, or calls something else."""


class DistNetworkError(DistError):
    """An address cannot be listened at, or nobody answers there."""


class DistStoreError(DistError):
    """A key did not come in time."""


class QueueEmptyError(DistStoreError):
    """There is nothing in the queue of a store, and the caller does not want to wait."""
