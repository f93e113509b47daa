"""Gradients checked against finite differences (in float64)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau._tape.storage import TensorBase
from flambeau.autograd.grad_mode import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """A gradient that differs from the finite difference."""


def _outputs(function: Callable, inputs: Sequence[Any]) -> tuple:
    result = function(*inputs)
    results = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(each for each in results if isinstance(each, TensorBase) and (each.is_floating_point() or each.is_complex()))


def _reals(array: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs of reals."""
    return np.ascontiguousarray(array).view(np.float64 if array.dtype == np.complex128 else array.dtype).reshape(-1)


def _numerical(function: Callable, inputs: Sequence[Any], which: int, eps: float) -> list[np.ndarray]:
    """For each output the derivative of its parts with respect to each part of one input."""
    from flambeau import from_numpy

    given = inputs[which]
    array = np.array(given.detach().numpy(), order="C")  # its parts are changed through a flat view
    parts = array.reshape(-1).view(np.float64 if array.dtype == np.complex128 else array.dtype)
    columns: list[list[np.ndarray]] = []
    for position in range(parts.size):
        sides = []
        for step in (eps, -eps):
            kept = parts[position]
            parts[position] = kept + step
            moved = list(inputs)
            moved[which] = from_numpy(array.copy()).as_strided(given.shape, array_strides(array))
            with no_grad():
                sides.append([_reals(np.array(output.detach().numpy())) for output in _outputs(function, moved)])
            parts[position] = kept
        columns.append([(high - low) / (2 * eps) for high, low in zip(*sides, strict=True)])
    return [
        np.stack([column[number] for column in columns]) if columns else np.empty((0, 0))
        for number in range(len(columns[0]) if columns else 0)
    ]


def array_strides(array: np.ndarray) -> tuple[int, ...]:
    """The strides of a NumPy array in elements."""
    return tuple(step // array.itemsize for step in array.strides)


def _analytical(outputs: tuple, given: Any, number: int) -> np.ndarray:
    """The same derivatives from backward passes, one for each part of an output."""
    from flambeau import from_numpy
    from flambeau.autograd import grad

    output = outputs[number]
    parts = _reals(np.zeros(tuple(output.shape), np.complex128 if output.is_complex() else np.float64))
    rows = []
    for position in range(parts.size):
        seed = np.zeros(tuple(output.shape), np.complex128 if output.is_complex() else np.float64)
        seed.reshape(-1).view(np.float64)[position] = 1.0
        found = grad(output, given, from_numpy(seed), retain_graph=True, allow_unused=True)[0]
        size = given.numel() * (2 if given.is_complex() else 1)
        rows.append(np.zeros(size) if found is None else _reals(np.array(found.detach().numpy())))
    return np.stack(rows, axis=1) if rows else np.empty((0, 0))


def gradcheck(
    func: Callable, inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True, **ignored: Any
) -> bool:
    """Compare the gradients of ``func`` with finite differences at ``inputs`` (float64 or complex128 tensors that require grad).

    Raises:
        GradcheckError: they differ by more than ``atol + rtol * |difference|``.
        ValueError: no input requires grad.
    """
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [position for position, each in enumerate(given) if isinstance(each, TensorBase) and each.requires_grad]
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True.")
    with enable_grad():
        outputs = _outputs(func, given)
    for position in checked:
        if not given[position].numel():
            continue  # there is nothing to move
        numerical = _numerical(func, given, position, eps)
        for number, output in enumerate(outputs):
            if output.requires_grad:
                analytical = _analytical(outputs, given[position], number)
            else:
                analytical = np.zeros_like(numerical[number])
            if not np.allclose(analytical, numerical[number], rtol=rtol, atol=atol, equal_nan=True):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {position},\nnumerical:\n{numerical[number]}\nanalytical:\n{analytical}"
                )
    return True


def gradgradcheck(func: Callable, inputs: Any, grad_outputs: Any = None, **options: Any) -> bool:
    """``gradcheck`` of the gradients of ``func`` themselves, for random gradients of its outputs."""
    from flambeau import randn_like
    from flambeau.autograd import grad

    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    options.pop("gen_non_contig_grad_outputs", None)
    outputs = [output for output in _outputs(func, given) if output.requires_grad]
    if grad_outputs is None:
        seeds = tuple(randn_like(output.detach()).requires_grad_() for output in outputs)
    else:
        seeds = (grad_outputs,) if isinstance(grad_outputs, TensorBase) else tuple(grad_outputs)
    count = len(given)

    def gradients(*everything: Any) -> tuple:
        inner = everything[:count]
        wanted = [each for each in inner if isinstance(each, TensorBase) and each.requires_grad]
        if len(wanted) < sum(isinstance(each, TensorBase) and each.requires_grad for each in given):
            inner = tuple(
                each.detach().requires_grad_() if isinstance(old, TensorBase) and old.requires_grad else each
                for each, old in zip(inner, given, strict=True)
            )
            wanted = [each for each in inner if isinstance(each, TensorBase) and each.requires_grad]
        with enable_grad():
            results = [output for output in _outputs(func, inner) if output.requires_grad]
            found = grad(results, wanted, everything[count:], create_graph=True, allow_unused=True)
        return tuple(each for each in found if each is not None)

    return gradcheck(gradients, (*given, *seeds), **options)
