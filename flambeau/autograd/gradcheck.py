"""Gradients checked against finite differences (in float64)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau._tape.storage import TensorBase
from flambeau._types import dtype as dt
from flambeau.autograd.function import Function
from flambeau.autograd.grad_mode import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """A gradient that differs from the finite difference."""


def gradcheck(
    func: Callable, inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True,
    nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False, fast_mode: bool = False,
) -> bool:  # fmt: skip
    """Compare the gradients of ``func`` with central differences at ``inputs`` (float64 or complex128 tensors that require grad).

    Every derivative of every part of an output by every part of an input is compared. With ``fast_mode`` only one random combination of
    them is, for each pair of an output and an input: two calls of ``func`` for an input, whatever its size.

    Each output is differentiated alone, with the gradients of the others undefined, and twice: the two results differ by at most ``nondet_tol``.
    With ``check_undefined_grad`` no output has a gradient, or all but one have zeros: then no input has one, or only zeros.
    ``check_grad_dtypes`` demands that a gradient has its input's dtype.

    Raises:
        GradcheckError: they differ by more than ``atol + rtol * |difference|`` (or ``False`` is returned, without ``raise_exception``).
        ValueError: no input requires grad.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html
    """
    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    checked = [position for position, each in enumerate(given) if isinstance(each, TensorBase) and each.requires_grad]
    if not checked:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True.")
    for position in checked:
        if given[position].dtype not in (dt.float64, dt.complex128):
            warnings.warn(
                f"Input #{position} requires gradient and is not a double precision floating point or complex. This check will likely fail if all the "
                "inputs are not of double precision floating point or complex.",
                stacklevel=2,
            )
    with enable_grad():
        outputs = _outputs(func, given)
    compare = _compare_combinations if fast_mode else _compare_jacobians
    try:
        for position in checked:
            if given[position].numel():  # else there is nothing to move
                _check_repeats(outputs, given[position], position, nondet_tol, check_grad_dtypes)
                compare(func, given, position, outputs, eps, atol, rtol)
        if check_undefined_grad:
            _check_undefined(outputs, [given[position] for position in checked])
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable, inputs: Any, grad_outputs: Any = None, **options: Any) -> bool:
    """``gradcheck`` of the gradients of ``func`` themselves, for ``grad_outputs`` or random gradients of its outputs."""
    from flambeau import randn_like
    from flambeau.autograd import grad

    given = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    options.pop("gen_non_contig_grad_outputs", None)  # ours are made of any layout that the outputs have
    outputs = [output for output in _outputs(func, given) if output.requires_grad]
    if grad_outputs is None:
        seeds = tuple(randn_like(output.detach()).requires_grad_() for output in outputs)
    else:
        seeds = (grad_outputs,) if isinstance(grad_outputs, TensorBase) else tuple(grad_outputs)
    count = len(given)

    def gradients(*everything: Any) -> tuple:
        inner = tuple(
            each.detach().requires_grad_() if _requires_grad(old) and not each.requires_grad else each
            for each, old in zip(everything[:count], given, strict=True)
        )
        with enable_grad():
            results = [output for output in _outputs(func, inner) if output.requires_grad]
            found = grad(
                results, [each for each in inner if _requires_grad(each)], everything[count:], create_graph=True, allow_unused=True
            )
        return tuple(each for each in found if each is not None)

    return gradcheck(gradients, (*given, *seeds), **options)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, TensorBase) and value.requires_grad


def _outputs(function: Callable, inputs: Sequence[Any]) -> tuple:
    """The results that may have gradients."""
    result = function(*inputs)
    results = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(each for each in results if isinstance(each, TensorBase) and (each.is_floating_point() or each.is_complex()))


def _reals(array: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs of reals."""
    return np.ascontiguousarray(array).view(np.float64 if array.dtype == np.complex128 else array.dtype).reshape(-1)


def _parts(tensor: Any) -> np.ndarray:
    return _reals(np.array(tensor.detach().numpy()))


def _like(parts: np.ndarray, tensor: Any) -> Any:
    """A tensor of these parts, in the shape of another."""
    from flambeau import from_numpy

    dtype = np.complex128 if tensor.is_complex() else parts.dtype
    return from_numpy(parts.view(dtype).reshape(tuple(tensor.shape)).copy())


def _difference(function: Callable, inputs: Sequence[Any], which: int, direction: np.ndarray, eps: float) -> list[np.ndarray]:
    """For each output the derivative of its parts as one input moves along a direction."""
    sides = []
    for step in (eps, -eps):
        moved = list(inputs)
        moved[which] = _like(_parts(inputs[which]) + step * direction, inputs[which])
        with no_grad():
            sides.append([_parts(output) for output in _outputs(function, moved)])
    return [(high - low) / (2 * eps) for high, low in zip(*sides, strict=True)]


def _gradient(output: Any, given: Any, seed: np.ndarray) -> np.ndarray:
    """The parts of the gradient of an input for a gradient of an output."""
    from flambeau.autograd import grad

    found = grad(output, given, _like(seed, output), retain_graph=True, allow_unused=True)[0] if output.requires_grad else None
    return np.zeros(_parts(given).size) if found is None else _parts(found)


def _compare_jacobians(func: Callable, given: tuple, position: int, outputs: tuple, eps: float, atol: float, rtol: float) -> None:
    basis = np.eye(_parts(given[position]).size)
    columns = [_difference(func, given, position, direction, eps) for direction in basis]
    for number, output in enumerate(outputs):
        size = _parts(output).size
        if size:
            numerical = np.stack([column[number] for column in columns])
            analytical = np.stack([_gradient(output, given[position], seed) for seed in np.eye(size)], axis=1)
            _demand_close(analytical, numerical, number, position, atol, rtol)


def _compare_combinations(func: Callable, given: tuple, position: int, outputs: tuple, eps: float, atol: float, rtol: float) -> None:
    random = np.random.default_rng(0)
    direction = random.standard_normal(_parts(given[position]).size)
    differences = _difference(func, given, position, direction / np.linalg.norm(direction), eps)
    for number, output in enumerate(outputs):
        seed = random.standard_normal(_parts(output).size)
        if seed.size:
            analytical = _gradient(output, given[position], seed) @ direction / np.linalg.norm(direction)
            _demand_close(analytical, differences[number] @ seed, number, position, atol, rtol)


def _check_repeats(outputs: tuple, given: Any, position: int, tolerance: float, same_dtype: bool) -> None:
    from flambeau.autograd import grad

    for number, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        seed = _like(np.ones(_parts(output).size), output)
        first, second = (grad(output, given, seed, retain_graph=True, allow_unused=True)[0] for _ in range(2))
        if first is None:
            continue
        if same_dtype and first.dtype is not given.dtype:
            raise GradcheckError(f"the gradient of input {position} has dtype {first.dtype}, but the input {given.dtype}")
        if not np.allclose(_parts(first), _parts(second), rtol=0, atol=tolerance, equal_nan=True):
            raise GradcheckError(
                f"Backward is not reentrant: output {number} gave two different gradients of input {position} for the same seed"
            )


class _Undefined(Function):
    """The identity, with a gradient that is undefined."""

    @staticmethod
    def forward(ctx: Any, output: Any) -> Any:
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> None:
        return None


def _check_undefined(outputs: tuple, inputs: list[Any]) -> None:
    """Demand that undefined gradients of outputs count as zeros."""
    from flambeau import zeros_like
    from flambeau.autograd import grad

    outputs = tuple(output for output in outputs if output.requires_grad)
    if not outputs:
        return
    sets = [range(len(outputs)), *([number] for number in range(len(outputs)) if len(outputs) > 1)]
    for undefined in sets:
        results = [_Undefined.apply(output) if number in undefined else output for number, output in enumerate(outputs)]
        which = "all outputs" if len(undefined) == len(outputs) else f"output {undefined[0]}"
        try:
            found = grad(results, inputs, [zeros_like(each) for each in results], retain_graph=True, allow_unused=True)
        except Exception as error:
            raise GradcheckError(
                f"the backward pass fails where the gradient of {which} is undefined, which should count as zeros: {error!r}. A Function is given None "
                "there after ctx.set_materialize_grads(False)"
            ) from error
        for position, gradient in enumerate(found):
            if gradient is not None and _parts(gradient).any():
                raise GradcheckError(
                    f"Expected all input grads to be undefined or zero when the gradient of {which} is undefined and others are zero, but that of "
                    f"input {position} is {gradient}"
                )


def _demand_close(analytical: Any, numerical: Any, output: int, position: int, atol: float, rtol: float) -> None:
    if not np.allclose(analytical, numerical, rtol=rtol, atol=atol, equal_nan=True):
        raise GradcheckError(
            f"Jacobian mismatch for output {output} with respect to input {position},\nnumerical:\n{numerical}\nanalytical:\n{analytical}"
        )
