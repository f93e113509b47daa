"""Parts: functions that kernels share, compiled once, whichever kernels hold them.

Before: two modules of IR text that each define, besides their kernel::

    define internal void @micro14(ptr %a, ...) noinline { ... }

After: two modules that declare ``@part_f3c1...``, and a third that defines it. Micro-kernels, ways to pack and endings are the same text in
many contractions, and half of the IR of a ResNet-50's training step. A part is named by what it says, as kernels are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

_PREFIX = "part_"
_WORTHWHILE = 1500
"""Characters of a function that deserves a module of its own, which costs LLVM 1.5 ms: some 40 lines."""

_HEAD, _END = "\ndefine internal ", "\n}\n"
_LABEL = re.compile(r"@[\w.]+")


def is_part(name: str) -> bool:
    return name.startswith(_PREFIX)


def split(text: str) -> tuple[str, dict[str, str]]:
    """A module without the functions that can be compiled apart, and by name a module for each of these.

    A function goes if it is internal, is not to be inlined, is long, and refers to nothing but constants and functions that the
    module's first lines define or declare.
    """
    parts: dict[str, str] = {}
    names: dict[str, str] = {}
    rest: list[str] = []
    done, header = 0, None
    for start, end in _candidates(text):
        header = header or _header(text)
        head, _, body = text[start:end].partition("\n")
        content = _content(head, body, header)
        if content is None:
            continue
        name = _PREFIX + sha256(content.encode()).hexdigest()[:24]
        names[_label(head)] = f"@{name}"
        rest += (text[done:start], "" if name in parts else f"declare {_signature(head)}\n")
        parts[name] = content.replace("@PART(", f"@{name}(", 1)
        done = end
    kept = "".join((*rest, text[done:]))
    if names:
        kept = _LABEL.sub(lambda match: names.get(match.group(), match.group()), kept)
    return kept, parts


def _candidates(text: str) -> Iterator[tuple[int, int]]:
    """Where the functions that could be parts begin and end."""
    at = text.find(_HEAD)
    while at >= 0:
        end = text.index(_END, at) + len(_END)
        if end - at > _WORTHWHILE and text.endswith(" noinline {", at, text.index("\n", at + 1)):
            yield at + 1, end
        at = text.find(_HEAD, end - 1)


def _header(text: str) -> dict[str, str]:
    """The constants and declarations that a module starts with, by label."""
    lines = text[: text.find("\ndefine ")].split("\n")
    return {_LABEL.search(line).group(): line for line in lines if line.startswith(("@", "declare "))}


def _content(head: str, body: str, header: dict[str, str]) -> str | None:
    """A module that defines a function as ``@PART`` with all that it refers to, the same in whatever module the function stood."""
    labels = list(dict.fromkeys(_LABEL.findall(body)))
    if "!" in body or not all(label in header for label in labels):
        return None
    new = {label: f"@constant.{number}" if header[label][0] == "@" else label for number, label in enumerate(labels)}
    lines = [header[label].replace(label, new[label], 1) for label in labels]
    body = _LABEL.sub(lambda match: new[match.group()], body)
    return "\n".join((*lines, f"define {_signature(head).replace(_label(head), '@PART', 1)} {{", body))


def _label(head: str) -> str:
    return _LABEL.search(head).group()


def _signature(head: str) -> str:
    """``void @f(i64 %x)`` of ``define internal void @f(i64 %x) noinline {``."""
    return head.removeprefix(_HEAD[1:]).removesuffix(" noinline {")
