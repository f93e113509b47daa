"""Names in files that become names in generated code."""

from __future__ import annotations

import keyword
from typing import Any

__all__ = ["checked_name", "is_name"]


def is_name(text: Any) -> bool:
    """Whether a text can be a name in generated code, and nothing but a name."""
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text) and text != "__debug__"


def checked_name(text: Any) -> str:
    """A text that is a name.

    Raises:
        RuntimeError: it is none
    """
    if not is_name(text):
        raise RuntimeError(f"the program in this file uses {text!r} as a name, which is none: the file is damaged or hostile")
    return text
