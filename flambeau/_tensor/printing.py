"""The text of a tensor, as ``print`` shows it: exactly PyTorch's.

A tensor with more elements than ``threshold`` is summarised: of each dimension longer than twice ``edgeitems`` only the
edges are shown, and only what is shown is looked at, so that huge tensors print at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._alias import is_ours
from flambeau._types import dtype as dt
from flambeau._types.device import CPU
from flambeau._types.dtype import dtype as DType
from flambeau._types.encoding import numbers_in
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = _Options()
_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed. What is left out keeps its value, except ``sci_mode``.

    Args:
        precision: digits after the decimal point (at first 4)
        threshold: how many elements a tensor may have to be shown whole (at first 1000)
        edgeitems: how many entries a summary shows at each end of a dimension (at first 3)
        linewidth: characters per line (at first 80)
        profile: ``"default"``, ``"short"`` or ``"full"``: values for those above, which they override
        sci_mode: whether to use scientific notation; ``None``, also if left out, decides tensor by tensor

    Example:
        >>> flambeau.set_printoptions(precision=2)
        >>> flambeau.tensor([1.12345])
        tensor([1.12])
        >>> flambeau.set_printoptions(profile="default")
    """
    if profile is not None:
        for name, value in _PROFILES.get(profile, {}).items():
            setattr(OPTIONS, name, value)
    chosen = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in chosen.items():
        if value is not None:
            setattr(OPTIONS, name, value)
    OPTIONS.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The present options, by the names that ``set_printoptions`` takes them under.

    Example:
        >>> flambeau.get_printoptions()["edgeitems"]
        3
    """
    return asdict(OPTIONS)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """A context in which other options hold; it takes what ``set_printoptions`` takes.

    Example:
        >>> from flambeau._tensor.printing import printoptions
        >>> with printoptions(precision=1):
        ...     print(flambeau.tensor([0.25, 1.5]))
        tensor([0.2, 1.5])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def _of_a_class(tensor: Tensor) -> str:
    """A tensor without elements of its own."""
    parts = ["...", *([] if tensor.is_cpu else [f"device='{tensor.device}'"]), f"size={tuple(tensor.layout.shape)}"]
    if tensor.dtype not in (get_default_dtype(), dt.int64, dt.bool):
        parts.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        parts.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        parts.append("requires_grad=True")
    text = f"{type(tensor).__name__}({', '.join(parts)})"
    return f"Parameter({text})" if tensor.__dict__.get("_is_param") else text


def tensor_repr(tensor: Tensor, contents: str | None = None) -> str:
    """The text of a tensor; ``contents`` takes the place of its elements.

    A subclass that a user defined shows its own name.
    """
    if tensor.memory.tape is not None and tensor.memory.tape.batched:
        return tensor.memory.tape.described(tensor)
    if tensor.memory.wrapped:
        return _of_a_class(tensor)
    grad_fn = tensor.grad_fn
    return format_tensor(
        tensor._array() if tensor.memory.device is CPU else None,
        tensor.dtype,
        requires_grad=tensor.requires_grad,
        grad_fn=None if grad_fn is None else grad_fn.name(),
        device=str(tensor.device),
        name="tensor" if is_ours(type(tensor)) else type(tensor).__name__,
        contents=contents,
        shape=tensor.layout.shape,
        names=tensor._names,
    )


def format_tensor(
    array: np.ndarray | None,
    dtype: DType,
    *,
    requires_grad: bool = False,
    grad_fn: str | None = None,
    device: str = "cpu",
    name: str = "tensor",
    contents: str | None = None,
    shape: tuple[int, ...] = (),
    names: tuple[str | None, ...] | None = None,
) -> str:
    """The text of a tensor whose elements are ``array``: ``name(elements, what is not taken for granted)``.

    Args:
        array: of the tensor's shape; what NumPy lacks as its bits or widened; ``None`` if it has no elements, on the meta device
        dtype: the tensor's
        grad_fn: the name of the gradient node that made it
        contents: the text of the elements, if it is not to be made here
        shape: where there is no array
        names: those of the dimensions, if any has one
    """
    indent = len(name) + 1
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    default = get_default_dtype()
    if array is None:
        suffixes.append(f"size={tuple(shape)}")
        if dtype is not default:
            suffixes.append(f"dtype={dtype!r}")
        text = "..."
    elif array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={array.shape}")
        if dtype is not default:  # nothing else tells
            suffixes.append(f"dtype={dtype!r}")
        text = "[]"
    else:
        if OPTIONS.edgeitems == 0:
            suffixes.append(f"size={array.shape}")
        if dtype not in (default, dt.complex128 if default is dt.float64 else dt.complex64, dt.int64, dt.bool):
            suffixes.append(f"dtype={dtype!r}")
        text = elements_text(array, dtype, indent) if contents is None else contents
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if names is not None:
        suffixes.append(f"names={names}")
    return with_suffixes(f"{name}({text if contents is None else contents}", suffixes, indent)


def with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    line = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if line + len(suffix) + 2 > OPTIONS.linewidth:
            text += f",\n{' ' * indent}{suffix}"
            line = indent + len(suffix)
        else:
            text += f", {suffix}"
            line += len(suffix) + 2
    return text + ")"


def elements_text(array: np.ndarray, dtype: DType, indent: int) -> str:
    """Nested brackets around the elements that are shown."""
    shape = array.shape
    summarized = array.size > OPTIONS.threshold
    shown = _edges(array) if summarized else array
    if shown.dtype == dtype.numpy:
        shown = numbers_in(shown, dtype)
    shown = shown.reshape(-1)
    if dtype.is_complex:
        real, real_width = _texts(shown.real)
        imaginary, imaginary_width = _texts(shown.imag)
        texts = [_complex_text(*parts) for parts in zip(real, imaginary, strict=True)]
        width = real_width + imaginary_width + 1
    else:
        texts, width = _texts(shown)
    if not shape:
        return texts[0]
    per_line = max(1, (OPTIONS.linewidth - indent - (len(shape) - 1)) // (width + 2))
    return _nested(iter(texts), shape, indent, per_line, summarized)


def _edges(array: np.ndarray) -> np.ndarray:
    """What a summary shows of an array: of each long dimension the entries at both ends."""
    edge = OPTIONS.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * edge:
            first, last = ((*(slice(None),) * axis, part) for part in (slice(edge), slice(size - edge, None)))
            array = np.concatenate([array[first], array[last]], axis)
    return array


def _nested(texts: Iterator[str], shape: tuple[int, ...], indent: int, per_line: int, summarized: bool) -> str:
    size, *inner = shape
    edge = OPTIONS.edgeitems
    cut = summarized and size > 2 * edge
    count = 2 * edge if cut else size
    if inner:
        entries = [_nested(texts, tuple(inner), indent + 1, per_line, summarized) for _ in range(count)]
        if cut:
            entries.insert(edge, "...")
        separator = "," + "\n" * len(inner) + " " * (indent + 1)
        return f"[{separator.join(entries)}]"
    entries = [next(texts) for _ in range(count)]
    if cut:
        entries.insert(edge, " ..." if edge else "...")
    lines = [", ".join(entries[start : start + per_line]) for start in range(0, len(entries), per_line)]
    separator = ",\n" + " " * (indent + 1)
    return f"[{separator.join(lines)}]"


def _complex_text(real: str, imaginary: str) -> str:
    imaginary = imaginary.lstrip()
    return f"{real}{imaginary}j" if imaginary[0] in "+-" else f"{real}+{imaginary}j"


def _texts(values: np.ndarray) -> tuple[list[str], int]:
    """The texts of the elements, padded to one width, and that width (which infinities and NaN may exceed).

    Numbers that are all integers show no digits after the point, and scientific notation is for those of very different or
    extreme size. Zeros, infinities and NaN count for neither, nor for the width.
    """
    if values.dtype.kind != "f":
        texts = [str(value) for value in values.tolist()]
        width = max(map(len, texts), default=1)
    else:
        wide = values.astype(np.float64)
        counted = np.isfinite(wide) & (wide != 0)
        significant = wide[counted]
        integral = bool((significant == np.ceil(significant)).all())
        scientific = significant.size > 0 and (_is_extreme(np.abs(significant)) if OPTIONS.sci_mode is None else OPTIONS.sci_mode)
        if scientific:
            style = f".{OPTIONS.precision}e"
        else:
            style = ".0f" if integral else f".{OPTIONS.precision}f"
        texts = [format(value, style) for value in wide.tolist()]
        if integral and not scientific:
            texts = [text if text[-1] in "fn" else text + "." for text in texts]  # but inf and nan
        width = max([1, *(len(text) for text, counts in zip(texts, counted.tolist(), strict=True) if counts)])
    return [text.rjust(width) for text in texts], width


def _is_extreme(magnitudes: np.ndarray) -> bool:
    smallest, largest = float(magnitudes.min()), float(magnitudes.max())
    return largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4
