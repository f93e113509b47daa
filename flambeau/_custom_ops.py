"""Former names of what is in `flambeau.library`."""

from __future__ import annotations

from typing import NoReturn

from flambeau.library import impl_abstract as impl_abstract

__all__ = ["get_ctx", "impl_abstract"]


def get_ctx() -> NoReturn:
    """Raises ``RuntimeError``: what says how results look is called for sizes that are known."""
    raise RuntimeError("get_ctx() gives sizes that depend on data, which there are only while a program is traced without numbers")
