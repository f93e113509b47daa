"""Derivatives as functions: ``grad``, products with vectors, Jacobians, Hessians.

All of them are backward passes. A Jacobian is one pass, mapped over the elements of the output (``vmap``); a derivative in a direction is the
gradient of a backward pass, which is linear in what it starts from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._tape.tape import LOCAL
from flambeau.autograd.functional import gradients, jacobian_by_columns, jacobian_by_rows
from flambeau.func._trees import detached, finish, flatten, has_other_history, tracked

__all__ = ["functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]

Positions = int | tuple[int, ...]


def _positions(argnums: Positions, count: int) -> tuple[int, ...]:
    found = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for each in found:
        if not -count <= each < count:
            raise RuntimeError(f"Got argnum={each}, but only {count} positional inputs")
    return tuple(each % count for each in found)


class _Evaluation:
    """A call of a function with variables in the place of some of its arguments.

    Attributes:
        output: what it returned, without the auxiliary part
        variables: by which it is differentiated
        nested: whether somebody else differentiates, too: then histories are kept
    """

    def __init__(self, func: Callable, args: tuple, kwargs: dict, positions: tuple[int, ...], has_aux: bool) -> None:
        chosen = tuple(args[position] for position in positions)
        self.variables, tree = tracked(chosen)
        self.rebuild = flatten(chosen)[1]
        given = list(args)
        for position, value in zip(positions, tree, strict=True):
            given[position] = value
        self.output, self.auxiliary = func(*given, **kwargs), None
        if has_aux:
            if not isinstance(self.output, tuple) or len(self.output) != 2:
                raise RuntimeError("with has_aux=True the function must return a tuple (output, aux)")
            self.output, self.auxiliary = self.output
        self.nested = has_other_history(self.output, self.variables)
        self._auxiliary_nested = has_aux and has_other_history(self.auxiliary, self.variables)
        finish(self.variables)  # what is asked from here on is asked by name

    def outputs(self, name: str) -> list[Tensor]:
        """The tensors of the output.

        Raises:
            RuntimeError: there is something else in it.
        """
        leaves = flatten(self.output)[0]
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise RuntimeError(f"{name}: expected the function to return tensors only, but it returned a {type(leaf).__name__}")
        return leaves

    def aux(self) -> Any:
        return detached(self.auxiliary, self._auxiliary_nested)


def grad_and_value(func: Callable, argnums: Positions = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func`` by the arguments ``argnums``, and its value.

    Args:
        func: returns a tensor of one element (and something else, with ``has_aux``)
    """

    @wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        with flambeau.enable_grad():
            call = _Evaluation(func, args, kwargs, _positions(argnums, len(args)), has_aux)
            output = call.output
            if not isinstance(output, Tensor):
                raise RuntimeError(f"Expected f(*args) to return a Tensor, but it returned a {type(output).__name__}")
            if output.ndim:
                raise RuntimeError(
                    f"Expected f(*args) to return a scalar tensor, got tensor with {output.ndim} dims: grad is for one number; jacrev and vjp are for more"
                )
            found = call.rebuild(gradients((output,), tuple(call.variables), (None,), call.nested))
        found = detached(found[0] if isinstance(argnums, int) else found, call.nested)
        value = detached(output, call.nested)
        return (found, (value, call.aux())) if has_aux else (found, value)

    return gradient


def grad(func: Callable, argnums: Positions = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func`` (which returns one number) by the arguments ``argnums``.

    Example::

        >>> flambeau.func.grad(lambda x: x**3)(flambeau.tensor(2.0))
        tensor(12.)
    """

    @wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def _evaluated(func: Callable, primals: tuple, has_aux: bool) -> _Evaluation:
    return _Evaluation(func, primals, {}, tuple(range(len(primals))), has_aux)


def _differentiated(*tensors: Any) -> bool:
    """Whether somebody differentiates by what these depend on, here or outside of ``vmap``."""
    tape = LOCAL.tape
    return any(isinstance(each, Tensor) and (each.requires_grad or (tape.batched and tape.is_tracked(each))) for each in tensors)


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """``(func(*primals), f)``, where ``f(cotangents)`` is the product of the cotangents and the Jacobian, one for each primal."""
    with flambeau.enable_grad():
        call = _evaluated(func, primals, has_aux)
        outputs = call.outputs("vjp")

    def product(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple:
        given = flatten(cotangents)[0]
        if len(given) != len(outputs):
            raise RuntimeError(f"Expected one cotangent for each of the {len(outputs)} outputs, but got {len(given)}")
        nested = call.nested or _differentiated(*given)
        with flambeau.enable_grad():
            found = gradients(tuple(outputs), tuple(call.variables), tuple(given), nested)
        return detached(call.rebuild(found), nested)

    value = detached(call.output, call.nested)
    return (value, product, call.aux()) if has_aux else (value, product)


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """``(func(*primals), J tangents)``: the derivative in a direction, by two backward passes."""
    with flambeau.enable_grad():
        call = _evaluated(func, tuple(primals), has_aux)
        derivative, nested = _linearized(call, "jvp", strict)
        found = derivative(*tangents)
    result = (detached(call.output, call.nested), detached(found, nested or _differentiated(*flatten(tangents)[0])))
    return (*result, call.aux()) if has_aux else result


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """``(func(*primals), f)``, where ``f(*tangents)`` is the derivative in a direction; ``func`` is not called again."""
    with flambeau.enable_grad():
        call = _evaluated(func, primals, False)
        derivative, nested = _linearized(call, "linearize", False)

    def directional(*tangents: Any) -> Any:
        with flambeau.enable_grad():
            found = derivative(*tangents)
        return detached(found, nested or _differentiated(*flatten(tangents)[0]))

    return detached(call.output, call.nested), directional


def _linearized(call: _Evaluation, name: str, strict: bool) -> tuple[Callable, bool]:
    """What multiplies the Jacobian and tangents, and whether somebody else differentiates it."""
    outputs = call.outputs(name)
    build = flatten(call.output)[1]
    probes = tuple(flambeau.zeros_like(each).requires_grad_() for each in outputs)
    products = gradients(tuple(outputs), tuple(call.variables), probes, True, strict)

    def derivative(*tangents: Any) -> Any:
        given = tuple(flatten(tangents)[0])
        if len(given) != len(call.variables):
            raise RuntimeError(f"{name}: expected one tangent for each of the {len(call.variables)} primals, but got {len(given)}")
        return build(gradients(products, probes, given, call.nested or _differentiated(*given)))

    return derivative, call.nested


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """The function itself: what it records has no writes in place left when it is compiled."""
    return func


# -- Jacobians -------------------------------------------------------------------------------------------------------


def _jacobian(func: Callable, argnums: Positions, has_aux: bool, part: Callable[[Tensor, tuple, bool], tuple]) -> Callable:
    """The function whose derivatives of each output by each variable are what ``part`` returns."""

    @wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        with flambeau.enable_grad():
            call = _Evaluation(func, args, kwargs, _positions(argnums, len(args)), has_aux)
            rows = [call.rebuild(part(each, tuple(call.variables), call.nested)) for each in call.outputs("jacobian")]
        found = flatten(call.output)[1]([row[0] if isinstance(argnums, int) else row for row in rows])
        found = detached(found, call.nested)
        return (found, call.aux()) if has_aux else found

    return jacobian


def jacrev(func: Callable, argnums: Positions = 0, *, has_aux: bool = False, chunk_size: int | None = None, **options: Any) -> Callable:
    """A function that returns the Jacobian of ``func``: for an output of shape S and an argument of shape T, ``(*S, *T)``.

    It is one backward pass, mapped over the elements of the output; ``chunk_size`` of them at once, if it is given, for less memory.

    Example::

        >>> flambeau.func.jacrev(flambeau.sin)(flambeau.zeros(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"jacrev: `chunk_size` should be greater than 0, got {chunk_size}")
    return _jacobian(
        func, argnums, has_aux, lambda output, variables, nested: jacobian_by_rows(output, variables, nested, False, chunk_size)
    )


def jacfwd(func: Callable, argnums: Positions = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """What ``jacrev`` gives, column by column where the arguments have fewer elements than the output."""
    return _jacobian(func, argnums, has_aux, jacobian_by_columns)


def hessian(func: Callable, argnums: Positions = 0) -> Callable:
    """A function that returns the second derivatives of ``func``: the Jacobian of its Jacobian.

    Example::

        >>> flambeau.func.hessian(lambda x: (x**3).sum())(flambeau.ones(2))
        tensor([[6., 0.],
                [0., 6.]])
    """
    return jacrev(jacrev(func, argnums), argnums)
