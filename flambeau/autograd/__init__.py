"""Automatic differentiation: ``backward``, ``grad``, gradient modes and custom functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from flambeau._ops.registry import FUNCTIONS
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau._types import layout as lay
from flambeau._types.layout import Layout
from flambeau.autograd import engine, replay
from flambeau.autograd.anomaly import detect_anomaly, set_detect_anomaly
from flambeau.autograd.function import Function
from flambeau.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled, set_multithreading_enabled
from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.autograd.variable import Variable

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

__all__ = [
    "Function", "Variable", "backward", "detect_anomaly", "enable_grad", "forward_ad", "functional", "grad", "gradcheck", "gradgradcheck", "graph", "inference_mode", "no_grad", "set_detect_anomaly", "set_grad_enabled", "set_multithreading_enabled",
]  # fmt: skip


def _tuple(value: Any) -> tuple:
    if value is None:
        return ()
    return (value,) if isinstance(value, TensorBase) or hasattr(value, "output_nr") else tuple(value)  # a tensor, or an edge of the graph


def _first_gradients(outputs: tuple, grads: Any) -> list[Any]:
    """The gradients to start from: ones for scalars that have none.

    Raises:
        RuntimeError: an output is no scalar and has no gradient, does not require grad, or the shapes differ.
    """
    given = (None,) * len(outputs) if grads is None else _tuple(grads)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    result = []
    for output, grad in zip(outputs, given, strict=True):
        layout = output.layout
        if output.node is None:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        if grad is None:
            if layout.numel != 1:
                raise RuntimeError(
                    f"grad can be implicitly created only for scalar outputs, but this output has shape {list(layout.shape)}"
                )
            if layout.dtype.is_complex:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {layout.dtype!r}")
            grad = _ones(output)
        elif grad.layout.shape != layout.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output has a shape of {list(grad.layout.shape)} and output has a shape of {list(layout.shape)}."
            )
        if layout.__class__ is not Layout:
            grad = output.gradient_of_values(grad)
        elif grad.layout.__class__ is not Layout:
            grad = grad.to_dense()
        elif hasattr(output, "first_gradient"):  # a distributed tensor
            grad = output.first_gradient(grad)
        result.append(grad)
    return result


def _roots(outputs: Sequence[Tensor]) -> list[tuple[Any, int]]:
    return [(output.node, output.output_nr) for output in outputs]


def _ones(output: Tensor) -> Tensor:
    from flambeau._ops.copying import preserve_format
    from flambeau._ops.creation import constant, ones_like

    if LOCAL.tape.dispatches:
        return ones_like(output, memory_format=preserve_format)
    return constant(lay.like(output.layout, output.layout.dtype), 1, output.device)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradients of the sum of ``tensors`` to the ``grad`` of the leaves (or of ``inputs`` alone).

    Args:
        grad_tensors: the gradient to start from for each tensor; scalars need none
        retain_graph: keep the graph for another pass; ``create_graph`` by default
        create_graph: make the gradients differentiable themselves

    Raises:
        RuntimeError: a tensor does not require grad, or the graph was freed, or what it saved was changed.
    """
    if LOCAL.tape.batched and not LOCAL.tape.dispatches:
        raise RuntimeError(
            "backward() in a function that vmap maps would add a gradient of every sample to the same .grad: use func.grad or func.vjp in there, "
            "or call backward() on what vmap returns"
        )
    if OBSERVERS and not hasattr(_passes, "running"):
        _observed(lambda: backward(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs))
        return
    outputs = _tuple(tensors)
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        given = (None,) * len(outputs) if grad_tensors is None else _tuple(grad_tensors)

        def run() -> list:
            return engine.run(_roots(outputs), _first_gradients(outputs, given), retain=retain, create=create_graph)

        if create_graph or len(given) != len(outputs):
            run()
        else:
            replay.replayed(outputs, given, retain, run)
        return
    targets = _tuple(inputs)
    if not targets:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    for target, found in zip(targets, _gradients(outputs, grad_tensors, targets, retain, create_graph), strict=True):
        if found is not None:
            if hasattr(target, "gradient_of_piece"):  # a distributed tensor
                found = target.gradient_of_piece(found)
            target.grad = found if target.grad is None else target.grad + found


FUNCTIONS.backward = backward

OBSERVERS: list[Callable[[Container[Tensor] | None], Callable[[], None]]] = []
"""Called before a pass that adds to the ``grad`` of leaves, with the leaves, or ``None`` if that may be any; what they return is called after
it. A pass within another one is part of that."""

_passes = threading.local()


def _observed(run: Callable[[], None]) -> None:
    _passes.running = True
    try:
        after = [observer(None) for observer in OBSERVERS]
        run()
    finally:
        del _passes.running
    for each in after:
        each()


def _gradients(outputs: tuple, grads: Any, targets: tuple, retain: bool, create: bool) -> list:
    """The gradients of ``targets``, ``None`` for those that have no part in the outputs."""
    wanted: dict[tuple[Any, int], int] = {}
    for target in targets:
        if getattr(target, "node", None) is None:
            if not hasattr(target, "node"):
                raise RuntimeError(f"grad(): all inputs have to be Tensors or GradientEdges, but got {type(target).__name__}")
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        wanted.setdefault((target.node, target.output_nr), len(wanted))
    given = (None,) * len(outputs) if grads is None else _tuple(grads)

    def run() -> list:
        return engine.run(_roots(outputs), _first_gradients(outputs, given), retain=retain, create=create, wanted=wanted)

    found = run() if create or len(given) != len(outputs) or LOCAL.tape.batched else replay.replayed(outputs, given, retain, run, wanted)
    return [found[wanted[target.node, target.output_nr]] for target in targets]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of ``outputs`` with respect to ``inputs``, without touching any ``grad``.

    Raises:
        RuntimeError: an input was not used and neither ``allow_unused`` nor ``materialize_grads`` is set.

    Example::

        >>> x = flambeau.tensor(3.0, requires_grad=True)
        >>> flambeau.autograd.grad(x * x, x)
        (tensor(6.),)
    """
    targets = _tuple(inputs)
    results = _tuple(outputs)
    if not targets:
        raise RuntimeError("grad(): inputs cannot be empty: say with respect to what")
    if is_grads_batched:
        return _batched(
            lambda grads: grad(results, targets, grads, retain_graph, create_graph, only_inputs, allow_unused, False, materialize_grads),
            _tuple(grad_outputs),
            create_graph,
        )
    retain = create_graph if retain_graph is None else retain_graph
    found = _gradients(results, grad_outputs, targets, retain, create_graph)
    for position, (target, gradient) in enumerate(zip(targets, found, strict=True)):
        if gradient is None:
            if materialize_grads:
                found[position] = FUNCTIONS.zeros(target.layout)
            elif not allow_unused:
                raise RuntimeError(
                    "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior."
                )
        elif target.layout.__class__ is not Layout and gradient.layout.__class__ is Layout:
            found[position] = target._with(gradient)  # a sparse tensor: the gradient is that of its values
        elif hasattr(target, "gradient_of_piece"):  # a distributed tensor
            found[position] = target.gradient_of_piece(gradient)
    return tuple(found)


FUNCTIONS.gradients = grad


def _batched(function: Callable[[tuple], tuple], grads: tuple, create: bool) -> tuple:
    """What a backward pass gives for each of many gradients to start from, which lie along their first dimension: one pass, mapped."""
    from flambeau._ops.batching import mapped  # which most programs never need

    tape = LOCAL.tape
    mode = tape.grad
    tape.grad = create
    try:
        return mapped(lambda *rows: function(_filled(grads, rows)), *[each for each in grads if each is not None])
    finally:
        tape.grad = mode


def _filled(grads: tuple, rows: tuple) -> tuple:
    """The gradients, with rows in the places of those that are given."""
    left = iter(rows)
    return tuple(None if each is None else next(left) for each in grads)


from flambeau.autograd import functional as functional  # noqa: E402  (it is made of ``grad``)


def __getattr__(name: str) -> Any:
    if name in ("forward_ad", "graph", "profiler"):
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
