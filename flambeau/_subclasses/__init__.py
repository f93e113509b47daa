"""Tensors without elements that a program can be run on to see what it does."""

from __future__ import annotations

from flambeau._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode

__all__ = ["DataDependentOutputException", "FakeTensor", "FakeTensorMode"]
