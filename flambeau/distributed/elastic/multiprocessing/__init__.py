"""The processes of a job, and their errors."""

from __future__ import annotations
