"""Modules that live in other processes."""

from __future__ import annotations
