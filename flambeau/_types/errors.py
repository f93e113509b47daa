"""Exception classes of our own."""

from __future__ import annotations


class IndexOutOfBoundsError(RuntimeError, IndexError):
    """An index in a tensor is out of range: a ``RuntimeError``, as PyTorch raises, and the ``IndexError`` that it is."""


class ZeroGroupsError(ValueError, ZeroDivisionError):
    """Channels are to be split into no groups: a ``ValueError``, and the ``ZeroDivisionError`` that PyTorch raises."""


class OutOfMemoryError(RuntimeError, MemoryError):
    """The system has no memory left: a ``RuntimeError``, as PyTorch raises, and the ``MemoryError`` that it is."""


class NumberTooLargeError(OverflowError, RuntimeError):
    """A number does not fit: the ``OverflowError`` of PyTorch's bindings, and the ``RuntimeError`` of where it is converted later."""


class LinAlgError(RuntimeError):
    """A matrix has not the property that an algorithm of linear algebra needs: it is singular, or not positive definite."""


class DeviceNotAvailableError(RuntimeError, AssertionError):
    """There is no such device here: an ``AssertionError`` in a PyTorch without CUDA, a ``RuntimeError`` for its other devices."""


class ArgumentError(TypeError, AttributeError):
    """An argument is not what the function takes: the ``TypeError`` of PyTorch's bindings, and the ``AttributeError`` of its functions in Python."""


class TensorAsNumberError(ArgumentError):
    """A tensor stands where calls are compiled for a number; it is no more than an argument's kind that is wrong."""


for _error in (ArgumentError, TensorAsNumberError):
    _error.__name__ = _error.__qualname__ = "TypeError"  # what its reader knows
    _error.__module__ = "builtins"
