"""What passes are made of."""

from __future__ import annotations
