"""Sums of products over axes by name or number, as views and matrix products: einsum, tensordot, inner.

What becomes of an equation follows from it and from the operands' shapes, and is remembered: to find it takes longer than a small product (``einsum`` of
8 x 8 by 8 x 8: 57 and 6 us).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau._ops.arguments import int_tuple, into
from flambeau._ops.autocast import outside
from flambeau._ops.matrix import matmul
from flambeau._tape.storage import TensorBase

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

Shape = tuple[int, ...]


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Einstein's summation: ``einsum("bij,bjk->bik", a, b)``; operands are contracted in pairs from left to right.

    Raises:
        TypeError: an operand is no tensor.
        RuntimeError: the equation does not fit the operands, or products of different dtypes are to be summed.
        ValueError: there are none.
    """
    if not isinstance(equation, str):  # the form with lists of axis numbers: einsum(a, [0, 1], b, [1, 2], [0, 2])
        given = [equation, *operands]
        result = given.pop() if len(given) % 2 else None
        letters = lambda axes: "".join(
            "..." if axis is Ellipsis else chr(ord("A") + axis if axis < 26 else ord("a") + axis - 26) for axis in axes
        )
        equation = ",".join(letters(axes) for axes in given[1::2]) + ("" if result is None else "->" + letters(result))
        operands = tuple(given[::2])
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum(): must provide at least one operand")
    for position, operand in enumerate(operands):
        if not isinstance(operand, TensorBase):
            raise TypeError(f"einsum(): expected Tensor as element {position} of the operands, but got {operand.__class__.__name__}")
    plan = _planned(equation, tuple([operand.layout.shape for operand in operands]))
    tensors = [_diagonals(tensor, axes) for tensor, axes in zip(operands, plan.diagonals, strict=True)]
    current = tensors[0]
    for tensor, step in zip(tensors[1:], plan.steps, strict=True):
        current = _product(current, tensor, step)
    return _prepared(current, plan.last)


einsum.spreads = True  # see overriding.spread


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last ``dims`` dimensions of ``a`` and the first of ``b``, or over the pairs given."""
    if isinstance(dims, int):
        if dims > min(a.layout.ndim, b.layout.ndim):
            raise RuntimeError(
                f"tensordot expects tensors of at least dims (={dims}) dimensions, but got {list(a.layout.shape)} and {list(b.layout.shape)}"
            )
        left, right = tuple(range(a.layout.ndim - dims, a.layout.ndim)), tuple(range(dims))
    else:
        left, right = (int_tuple(each, "dims") for each in dims)
    left = tuple([axis % a.layout.ndim for axis in left])
    right = tuple([axis % b.layout.ndim for axis in right])
    for one, two in zip(left, right, strict=True):
        if a.layout.shape[one] == 1 and b.layout.shape[two] != 1:
            b = b.sum(two, keepdim=True)
        elif b.layout.shape[two] == 1 and a.layout.shape[one] != 1:
            a = a.sum(one, keepdim=True)
        if a.layout.shape[one] != b.layout.shape[two]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.layout.shape[one]} in dim {one} and second has size {b.layout.shape[two]} in dim {two}"
            )
    plan = _over_axes(a.layout.shape, b.layout.shape, left, right)
    result = outside(_product, a, b, plan) if _is_number(a, left) and _is_number(b, right) else _product(a, b, plan)
    return into(out, result)


def _is_number(tensor: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether nothing is left beside the axes: a number is computed as ``dot`` does, for which there are no automatic casts."""
    return tensor.layout.numel == prod([tensor.layout.shape[axis] for axis in axes])


def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sums of products over the last dimensions."""
    if input.layout.ndim == 0 or other.layout.ndim == 0:
        return into(out, input * other)
    return tensordot(input, other, ((-1,), (-1,)), out)


# -- what is remembered ----------------------------------------------------------------------------------------------


class _Views(NamedTuple):
    """What is done to a tensor, each if it is to be done at all: axes that are summed, sizes to broadcast to, an order of the axes, a shape."""

    sums: Shape = ()
    sizes: Shape | None = None
    order: Shape | None = None
    shape: Shape | None = None


class _Step(NamedTuple):
    """A product of two operands: a matrix product that ``sums``, or one of elements; and the shape of its result, if that is another one then."""

    left: _Views
    right: _Views
    sums: bool
    shape: Shape | None


class _Plan(NamedTuple):
    """For each operand the pairs of axes whose diagonal is taken; the products from left to right; and what is done last."""

    diagonals: list[list[tuple[int, int]]]
    steps: list[_Step]
    last: _Views


@lru_cache(maxsize=512)
def _planned(equation: str, shapes: tuple[Shape, ...]) -> _Plan:
    inputs, output = _parse(equation.replace(" ", ""), shapes)
    diagonals, operands = [], []
    for shape, labels in zip(shapes, inputs, strict=True):
        axes, operand = _without_repetitions(shape, labels)
        diagonals.append(axes)
        operands.append(operand)
    steps = []
    current = operands[0]
    for position, operand in enumerate(operands[1:], 1):
        later = {label for rest in operands[position + 1 :] for label in rest} | set(output)
        step, current = _pair(current, operand, later)
        steps.append(step)
    labels = list(current)
    sums = tuple([axis for axis, label in enumerate(labels) if label not in output])
    labels = [label for label in labels if label in output]
    return _Plan(diagonals, steps, _Views(sums, order=_order(labels, output)))


@lru_cache(maxsize=512)
def _over_axes(a: Shape, b: Shape, left: Shape, right: Shape) -> _Step:
    """The product of two operands of these shapes that is summed over pairs of their axes; over none it is a matrix product, too."""
    for axes in (left, right):
        if len(set(axes)) < len(axes):
            raise RuntimeError(f"tensordot(): a dim appears multiple times in the list of dims {list(axes)}")
    if not left:
        return _Step(_Views(shape=(prod(a), 1)), _Views(shape=(1, prod(b))), True, a + b)
    pairs = dict(zip(right, left, strict=True))
    rows = {f"left {axis}": size for axis, size in enumerate(a)}
    columns = {f"left {pairs[axis]}" if axis in pairs else f"right {axis}": size for axis, size in enumerate(b)}
    step, _ = _pair(rows, columns, rows.keys() ^ columns.keys())
    return step


def _product(a: Tensor, b: Tensor, step: _Step) -> Tensor:
    a, b = _prepared(a, step.left), _prepared(b, step.right)
    result = matmul(a, b) if step.sums else a * b
    return result if step.shape is None else result.reshape(step.shape)


def _prepared(tensor: Tensor, views: _Views) -> Tensor:
    if views.sums:
        tensor = tensor.sum(views.sums)
    if views.sizes is not None:
        tensor = tensor.expand(views.sizes)
    if views.order is not None:
        tensor = tensor.permute(views.order)
    return tensor if views.shape is None else tensor.reshape(views.shape)


def _diagonals(tensor: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    for first, second in pairs:
        tensor = tensor.diagonal(0, first, second)
    return tensor


def _order(labels: list[str], wanted: list[str]) -> Shape | None:
    """The permutation from one order of labels to another, if they differ."""
    return None if labels == wanted else tuple([labels.index(label) for label in wanted])


def _parse(equation: str, shapes: tuple[Shape, ...]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand and of the result; an ellipsis becomes labels of its own."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise RuntimeError(
            f"einsum(): fewer or more operands were provided than specified in the equation: {len(shapes)} operands for {equation!r}"
        )
    inputs = []
    hidden: list[str] = []
    for term, shape in zip(terms, shapes, strict=True):
        before, dots, after = term.partition("...")
        named = len(before) + len(after)
        if any(not letter.isalpha() for letter in before + after):
            raise RuntimeError(f"einsum(): invalid subscript given in {term!r}, subscripts must be in [a-zA-Z]")
        rest = len(shape) - named
        if rest < 0 or (rest and not dots):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions ({len(shape)}) for operand {len(inputs)}"
            )
        covered = [f"...{number}" for number in range(rest, 0, -1)]
        if len(covered) > len(hidden):
            hidden = covered
        inputs.append([*before, *covered, *after])
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *(hidden if dots else []), *after]
    else:
        letters = sorted({label for labels in inputs for label in labels if len(label) == 1})
        output = [*hidden, *[letter for letter in letters if sum(labels.count(letter) for labels in inputs) == 1]]
    known = {label for labels in inputs for label in labels}
    for label in output:
        if label not in known:
            raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
        if output.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
    sizes: dict[str, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            if sizes.setdefault(label, size) != size:
                if size != 1 and sizes[label] != 1:
                    raise RuntimeError(
                        f"einsum(): subscript {label} has size {size} for operand which does not broadcast with previously seen size {sizes[label]}"
                    )
                sizes[label] = sizes[label] if size == 1 else size
    return inputs, output


def _without_repetitions(shape: Shape, labels: list[str]) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """Repeated labels of one operand are its diagonal: the pairs of axes, and the size of each label that is left."""
    pairs, sizes = [], list(shape)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            pairs.append((first, second))
            size = min(sizes[first], sizes[second])
            labels, sizes = (
                [each for axis, each in enumerate(known) if axis not in (first, second)] + [last]
                for known, last in ((labels, label), (sizes, size))
            )
    return pairs, dict(zip(labels, sizes, strict=True))


def _pair(left: dict[str, int], right: dict[str, int], later: AbstractSet[str]) -> tuple[_Step, dict[str, int]]:
    """The product of two operands, summed over what nobody needs later: one batched matrix product, or if nothing is summed a product of elements,
    which promotes their dtypes. An operand is the sizes of its labels; returns those of the result, too."""
    sums = [
        tuple([axis for axis, label in enumerate(own) if label not in other and label not in later])
        for own, other in ((left, right), (right, left))
    ]
    a, b = ({label: own[label] for label in own if label in other or label in later} for own, other in ((left, right), (right, left)))
    shared = [label for label in a if label in b]
    sizes = {**a, **b} | {label: a[label] if a[label] != 1 else b[label] for label in shared}
    groups = {
        "batch": [label for label in shared if label in later],
        "inner": [label for label in shared if label not in later],
        "rows": [label for label in a if label not in b],
        "columns": [label for label in b if label not in a],
    }
    batch, inner, rows, columns = groups.values()
    spread_a, spread_b = (tuple([sizes[label] for label in own]) for own in (a, b))
    order_a = [*batch, *rows, *inner]
    order_b = [*batch, *inner, *columns]
    result = {label: sizes[label] for label in (*batch, *rows, *columns)}
    count = {name: prod([sizes[label] for label in group]) for name, group in groups.items()}
    if inner:
        lead = [count["batch"]] if batch else []
        flat_a = [*lead, *[count["rows"]] * bool(rows or batch), count["inner"]]
        flat_b = [*lead, count["inner"], *[count["columns"]] * bool(columns or batch)]
        flat = [*lead, *[count["rows"]] * bool(rows or batch), *[count["columns"]] * bool(columns or batch)]
    else:
        flat_a = [*[sizes[label] for label in order_a], *[1] * len(columns)]
        flat_b = [*[sizes[label] for label in batch], *[1] * len(rows), *[sizes[label] for label in columns]]
        flat = list(result.values())
    views = []
    for own, axes, spread, order, shape in ((a, sums[0], spread_a, order_a, flat_a), (b, sums[1], spread_b, order_b, flat_b)):
        is_flat = [sizes[label] for label in order] == shape
        views.append(
            _Views(axes, None if spread == tuple(own.values()) else spread, _order(list(own), order), None if is_flat else tuple(shape))
        )
    return _Step(*views, bool(inner), None if flat == list(result.values()) else tuple(result.values())), result


PUBLIC = ("einsum", "inner", "tensordot")
METHODS = ("inner",)
