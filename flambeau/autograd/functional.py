"""Jacobians, Hessians and their products with vectors, of functions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau._ops.creation import ones_like, zeros_like
from flambeau._ops.joining import cat, stack
from flambeau._ops.ranges import eye
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL
from flambeau.autograd import grad
from flambeau.autograd.grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tensors(value: Any, what: str, name: str) -> tuple[bool, tuple]:
    """Whether there were several, and all of them as a tuple.

    Raises:
        TypeError: something else is among them.
    """
    several = isinstance(value, (tuple, list))
    found = tuple(value) if several else (value,)
    for position, each in enumerate(found):
        if not isinstance(each, TensorBase):
            raise TypeError(
                f"The {what} of {name} must be a Tensor or a tuple of Tensors, but number {position} is a {each.__class__.__name__}"
            )
    return several, found


def _variables(inputs: tuple, create_graph: bool) -> tuple:
    """The inputs as variables to differentiate by: views of them if the result is to be differentiated again."""
    return tuple(each.view_as(each) if create_graph and each.requires_grad else each.detach().clone().requires_grad_() for each in inputs)


def _finish(value: Any, create_graph: bool) -> Any:
    if create_graph:
        return value
    if isinstance(value, tuple):
        return tuple(_finish(each, create_graph) for each in value)
    return value.detach()


@contextmanager
def tracked_outside(outputs: tuple) -> Iterator[None]:
    """A context for passes from these outputs: if they are a mapped function's own, what the passes compute is part of what is differentiated
    outside of ``vmap``, whether or not they build a graph for somebody inside."""
    tape = LOCAL.tape
    own = tape.batched and any(tape.holds(output) for output in outputs)
    if own:
        tape.passes += 1
    try:
        yield
    finally:
        if own:
            tape.passes -= 1


def gradients(outputs: tuple, variables: tuple, cotangents: tuple, create_graph: bool, strict: bool = False) -> tuple:
    """The gradients; zeros where an output does not depend on a variable, which is an error if ``strict``."""
    pairs = [(output, cotangent) for output, cotangent in zip(outputs, cotangents, strict=True) if output.requires_grad]
    if not pairs:
        if strict:
            raise RuntimeError("The output of the user-provided function is independent of the inputs. This is not allowed in strict mode.")
        return tuple(zeros_like(each) for each in variables)
    with tracked_outside(outputs):
        found = grad(
            [pair[0] for pair in pairs],
            variables,
            [pair[1] for pair in pairs],
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
    if strict and any(each is None for each in found):
        raise RuntimeError("The user-provided function is independent of one of the inputs. This is not allowed in strict mode.")
    return tuple(zeros_like(variable) if each is None else each for each, variable in zip(found, variables, strict=True))


def _vector(v: Any, shapes: tuple, what: str) -> tuple:
    """The vector that multiplies; none at all is 1, where that is the only shape it can have.

    Raises:
        RuntimeError: it does not have the shapes of what it multiplies.
    """
    if v is None:
        if len(shapes) != 1 or shapes[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if the user-provided function has a single {what} with one element.")
        return (ones_like(shapes[0]),)
    _, given = _tensors(v, "vector v", "the product")
    if len(given) != len(shapes) or any(one.shape != other.shape for one, other in zip(given, shapes, strict=True)):
        raise RuntimeError(
            f"v should have the shapes of the {what}s, {[list(each.shape) for each in shapes]}, but it has {[list(each.shape) for each in given]}"
        )
    return given


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """``(func(*inputs), v^T J)``, with the Jacobian J of the function at the inputs.

    Example::

        >>> flambeau.autograd.functional.vjp(lambda x: x * x, flambeau.tensor([1., 2.]), flambeau.tensor([1., 1.]))[1]
        tensor([2., 4.])
    """
    with enable_grad():
        several, given = _tensors(inputs, "inputs", "vjp")
        variables = _variables(given, create_graph)
        many, outputs = _tensors(func(*variables), "outputs", "vjp")
        product = gradients(outputs, variables, _vector(v, outputs, "output"), create_graph, strict)
    return (
        _finish(outputs if many else outputs[0], create_graph),
        _finish(product if several else product[0], create_graph),
    )


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """``(func(*inputs), J v)``: the derivative in the direction v.

    It is the gradient of ``u^T J v``, which is linear in u: two backward passes.
    """
    with enable_grad():
        _, given = _tensors(inputs, "inputs", "jvp")
        variables = _variables(given, create_graph)
        direction = _vector(v, given, "input")
        many, outputs = _tensors(func(*variables), "outputs", "jvp")
        probes = tuple(zeros_like(each).requires_grad_() for each in outputs)
        products = gradients(outputs, variables, probes, True, strict)
        found = gradients(products, probes, direction, create_graph)
    return _finish(outputs if many else outputs[0], create_graph), _finish(found if many else found[0], create_graph)


def jacobian(
    func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False, strategy: str = "reverse-mode"
) -> Any:
    """The derivative of each element of the outputs by each element of the inputs: one backward pass, mapped over the elements of the outputs.

    Shapes: for an output of shape S and an input of shape T, ``(*S, *T)``; a tuple of outputs, inputs or both gives tuples of these.

    Args:
        vectorize: insist on one pass. Otherwise there is a pass for each element where a backward of the user's own looks at elements.
        strategy: "forward-mode" (with ``vectorize``) goes column by column where the inputs have fewer elements

    Raises:
        RuntimeError: ``strict`` with ``vectorize``, or an output does not depend on an input in strict mode.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(f"strategy must be 'reverse-mode' or 'forward-mode', not {strategy!r}")
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError("strategy='forward-mode' is for vectorize=True; say so, or leave it at 'reverse-mode'")
    if strict and vectorize:
        raise RuntimeError("strict=True and vectorize=True do not go together: one pass cannot tell which elements depend on what")
    with enable_grad():
        several, given = _tensors(inputs, "inputs", "jacobian")
        variables = _variables(given, create_graph)
        many, outputs = _tensors(func(*variables), "outputs", "jacobian")
        if strategy == "forward-mode":
            rows = tuple(jacobian_by_columns(output, variables, create_graph) for output in outputs)
        else:
            compute = jacobian_by_rows if vectorize else _rows_anyhow
            rows = tuple(compute(output, variables, create_graph, strict) for output in outputs)
    found = tuple(row if several else row[0] for row in rows)
    return _finish(found if many else found[0], create_graph)


def jacobian_by_rows(output: Any, variables: tuple, create_graph: bool, strict: bool, chunk_size: int | None = None) -> tuple:
    """The Jacobian of one output by each variable: a backward pass for each element of the output, all of them (or a chunk) at once."""
    count = output.numel()
    if not count:
        return tuple(variable.new_zeros((*output.shape, *variable.shape)) for variable in variables)
    if count == 1:
        found = gradients((output,), variables, (ones_like(output),), create_graph, strict)
    else:
        found = _mapped_over_units(
            lambda unit: gradients((output,), variables, (unit,), create_graph, strict), output, output, chunk_size or count
        )
    return tuple(each.reshape((*output.shape, *variable.shape)).contiguous() for each, variable in zip(found, variables, strict=True))


def _rows_anyhow(output: Any, variables: tuple, create_graph: bool, strict: bool) -> tuple:
    """What ``jacobian_by_rows`` returns, also where a backward of the user's own looks at elements: then pass by pass."""
    from flambeau._ops.batching import NoSingleValue

    try:
        return jacobian_by_rows(output, variables, create_graph, strict)
    except NoSingleValue:
        pass
    units = eye(output.numel(), dtype=output.dtype).reshape((output.numel(), *output.shape))
    rows = [gradients((output,), variables, (unit,), create_graph, strict) for unit in units]
    found = [stack(each) for each in zip(*rows, strict=True)]
    return tuple(each.reshape((*output.shape, *variable.shape)) for each, variable in zip(found, variables, strict=True))


def jacobian_by_columns(output: Any, variables: tuple, create_graph: bool) -> tuple:
    """What ``jacobian_by_rows`` returns. Where the variables have fewer elements, their columns: a backward pass is linear in what it starts from, and its
    own gradient by that, with a unit vector for one of the variables, is a column."""
    if 2 * sum(variable.numel() for variable in variables) >= output.numel() or not output.requires_grad:
        return jacobian_by_rows(output, variables, create_graph, False)
    probe = zeros_like(output).requires_grad_()
    products = gradients((output,), variables, (probe,), True)
    found = []
    for variable, product in zip(variables, products, strict=True):

        def column(unit: Any, product: Any = product) -> tuple:
            return gradients((product,), (probe,), (unit,), create_graph)

        if not variable.numel():
            found.append(variable.new_zeros((*output.shape, *variable.shape)))
            continue
        (columns,) = _mapped_over_units(column, product, variable, variable.numel())
        found.append(columns.movedim(0, -1).reshape((*output.shape, *variable.shape)))
    return tuple(found)


def _mapped_over_units(function: Callable, of: Any, like: Any, chunk_size: int) -> tuple:
    """What backward passes from ``of`` give for each unit vector of the shape of ``like``, stacked."""
    from flambeau._ops.batching import mapped  # which nobody needs who computes no Jacobian

    count = like.numel()
    units = eye(count, dtype=like.dtype).reshape((count, *like.shape))
    with tracked_outside((of,)):
        parts = [mapped(function, units[start : start + chunk_size]) for start in range(0, count, chunk_size)]
    return tuple(cat(each) if len(each) > 1 else each[0] for each in zip(*parts, strict=True))


def _scalar(func: Callable, name: str) -> Callable:
    def checked(*inputs: Any) -> Any:
        many, outputs = _tensors(func(*inputs), "outputs", name)
        if many and len(outputs) != 1:
            raise RuntimeError(f"The function given to {name} should return a single value")
        if outputs[0].numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
        return outputs[0].reshape(())

    return checked


def hessian(
    func: Callable,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function of one value: the Jacobian of its gradient.

    Shapes: for an input of shape T, ``(*T, *T)``; for a tuple of inputs, a tuple of tuples.
    """
    scalar = _scalar(func, "hessian")
    several, _ = _tensors(inputs, "inputs", "hessian")

    def gradient(*variables: Any) -> Any:
        found = gradients((scalar(*variables),), variables, (None,), True, strict)
        return found if several else found[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """``(func(*inputs), v^T H)``, with the Hessian H of the function at the inputs."""
    scalar = _scalar(func, "vhp")
    with enable_grad():
        several, given = _tensors(inputs, "inputs", "vhp")
        vector = _vector(v, given, "input")
        variables = _variables(given, create_graph)
        output = scalar(*variables)
        first = gradients((output,), variables, (None,), True, strict)
        found = gradients(first, variables, vector, create_graph)
    return _finish(output, create_graph), _finish(found if several else found[0], create_graph)


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple[Any, Any]:
    """``(func(*inputs), H v)``: the same as ``vhp``, since a Hessian is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
