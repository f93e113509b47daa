"""Views of a tensor, as expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.samples.random_programs.writer import Writer


def _index(w: Writer, name: str) -> str:
    parts = []
    for size in tuple(w.look(name).shape)[: w.random.randint(0, 3)]:
        begin, end = (w.random.randint(-size - 1, size + 1) for _ in range(2))
        choices = [":", f"{begin}:{end}", f"{begin}:", f"::{w.random.randint(1, 3)}", "None", f"{begin}::2"]
        parts.append(w.random.choice([*choices, str(w.random.randrange(size))] if size else choices))
    return f"{name}[{', '.join(parts) or '...'}]"


def _permuted(w: Writer, name: str) -> str:
    dims = list(range(w.look(name).dim()))
    w.random.shuffle(dims)
    return f"{name}.permute({tuple(dims)})"


def _expanded(w: Writer, name: str) -> str:
    shape = tuple(w.look(name).shape)
    sizes = [w.random.choice([0, 2, 3, 5]) if size == 1 else w.random.choice([size, -1]) for size in shape]
    return f"{name}.expand({tuple([w.random.choice([1, 2, 3])] * w.random.randint(0, 1) + sizes)})"


def _strided(w: Writer, name: str) -> str:
    tensor = w.look(name)
    room = tensor.numel()
    sizes = tuple(w.random.choice([1, 2, 3, 4]) for _ in range(w.random.randint(0, 3)))
    strides = tuple(w.random.choice([0, 1, 1, 2, 3]) for _ in sizes)
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides))
    return f"{name}.as_strided({sizes}, {strides})" if tensor.is_contiguous() and last < room else f"{name}.detach()"


def _reshaped(w: Writer, name: str) -> str:
    tensor = w.look(name)
    sizes, rest = [], tensor.numel()
    while rest > 1 and len(sizes) < 3:
        size = w.random.choice([each for each in range(1, min(rest, 64) + 1) if rest % each == 0])
        sizes.append(size)
        rest //= size
    shape = (*sizes, w.random.choice([rest, -1]))
    return f"{name}.{w.random.choice(['reshape', 'reshape', 'view'])}({shape})"


def _unfolded(w: Writer, name: str) -> str:
    size = max([*tuple(w.look(name).shape)[-1:], 1])
    return f"{name}.unfold(-1, {w.random.randint(1, size)}, {w.random.randint(1, 2)})"


def _complex_part(w: Writer, name: str) -> str:
    if w.look(name).is_complex():
        return w.random.choice([f"{name}.real", f"{name}.imag", f"torch.view_as_real({name})", f"{name}.conj()", f"{name}.mH"])
    return f"{name}.mT"


VIEWS: list[Callable[[Writer, str], str]] = [
    _index,
    _index,
    _index,
    _permuted,
    _expanded,
    _expanded,
    _strided,
    _reshaped,
    _unfolded,
    _complex_part,
    lambda w, name: f"{name}.transpose({w.dim(name)}, {w.dim(name)})",
    lambda w, name: f"{name}.unsqueeze({w.dim(name)})",
    lambda w, name: f"{name}.squeeze()",
    lambda w, name: f"{name}.diagonal({w.random.randint(-2, 2)}, -2, -1)",
    lambda w, name: f"{name}.narrow({w.dim(name)}, {w.random.randint(0, 2)}, {w.random.randint(0, 2)})",
    lambda w, name: f"{name}.chunk({w.random.randint(1, 3)}, {w.dim(name)})[-1]",
    lambda w, name: f"{name}.flatten({w.random.choice(['', '1', '0, 1'])})",
    lambda w, name: f"{name}.detach()",
]
