"""Functions of functions: derivatives as functions, and a function of one sample applied to many.

``jacfwd`` gives what ``jacrev`` does and by the same way, backward passes. ``vmap`` calls the function once for each sample: what it
records becomes one program all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.autograd.functional import _gradients, _rows
from flambeau.nn.utils.stateless import functional_call as _functional_call
from flambeau.utils._pytree import tree_flatten

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
    "vmap",
]

# -- trees of tensors ------------------------------------------------------------------------------------------------


def _flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves of nested containers, and what builds the same tree of others."""
    leaves, form = tree_flatten(tree)
    return leaves, form.unflatten


def _tracked(tree: Any) -> tuple[list[Tensor], Any, bool]:
    """Variables for the tensors of a tree, the tree of them, and whether an outer derivative is being taken."""
    leaves, build = _flatten(tree)
    variables = []
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise ValueError(f"expected tensors to differentiate by, but got a {type(leaf).__name__}")
        variables.append(leaf.view_as(leaf) if leaf.requires_grad else leaf.detach().requires_grad_())
    return variables, build(variables), any(leaf.requires_grad for leaf in leaves)


def _detached(tree: Any, keep: bool) -> Any:
    if keep:
        return tree
    leaves, build = _flatten(tree)
    return build([leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves])


def _outer(args: Any) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in _flatten(args)[0])


# -- derivatives -----------------------------------------------------------------------------------------------------


def _positions(argnums: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    found = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for each in found:
        if not -count <= each < count:
            raise RuntimeError(f"Got argnum={each}, but only {count} positional inputs")
    return tuple(each % count for each in found)


def _replaced(args: tuple, positions: tuple[int, ...], values: Any) -> tuple:
    changed = list(args)
    for position, value in zip(positions, values, strict=True):
        changed[position] = value
    return tuple(changed)


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func`` by the arguments ``argnums``, and its value.

    Args:
        func: returns a tensor of one element (and something else, with ``has_aux``)
    """

    @wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        positions = _positions(argnums, len(args))
        chosen = tuple(args[position] for position in positions)
        keep = _outer((args, kwargs))
        with flambeau.enable_grad():
            variables, tree, _ = _tracked(chosen)
            output = func(*_replaced(args, positions, tree), **kwargs)
            auxiliary = None
            if has_aux:
                output, auxiliary = output
            if not isinstance(output, Tensor):
                raise RuntimeError(f"Expected f(*args) to return a Tensor, but it returned a {type(output).__name__}")
            if output.ndim:
                raise RuntimeError(f"Expected f(*args) to return a scalar tensor, got tensor with {output.ndim} dims")
            found = _flatten(chosen)[1](_gradients((output,), tuple(variables), (None,), True))
        found = _detached(found[0] if isinstance(argnums, int) else found, keep)
        value = _detached(output, keep)
        return (found, (value, _detached(auxiliary, keep))) if has_aux else (found, value)

    return gradient


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
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


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """``(func(*primals), f)``, where ``f(cotangents)`` is the product of the cotangents and the Jacobian, one for each primal."""
    keep = _outer(primals)
    with flambeau.enable_grad():
        variables, tree, _ = _tracked(primals)
        output = func(*tree)
        auxiliary = None
        if has_aux:
            output, auxiliary = output
    outputs, build = _flatten(output)

    def product(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple:
        given = _flatten(cotangents)[0]
        if len(given) != len(outputs):
            raise RuntimeError(f"Expected one cotangent for each of the {len(outputs)} outputs, but got {len(given)}")
        nested = keep or _outer(given)
        with flambeau.enable_grad():
            found = _gradients(tuple(outputs), tuple(variables), tuple(given), nested)
        return _detached(_flatten(primals)[1](found), nested)

    value = _detached(output, keep)
    return (value, product, _detached(auxiliary, keep)) if has_aux else (value, product)


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """``(func(*primals), J tangents)``: the derivative in a direction, by two backward passes."""
    keep = _outer((primals, tangents))
    with flambeau.enable_grad():
        variables, tree, _ = _tracked(primals)
        output = func(*tree)
        auxiliary = None
        if has_aux:
            output, auxiliary = output
        outputs, build = _flatten(output)
        probes = tuple(flambeau.zeros_like(each).requires_grad_() for each in outputs)
        products = _gradients(tuple(outputs), tuple(variables), probes, True, strict)
        found = build(_gradients(products, probes, tuple(_flatten(tangents)[0]), True))
    result = (_detached(output, keep), _detached(found, keep))
    return (*result, _detached(auxiliary, keep)) if has_aux else result


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """``(func(*primals), f)``, where ``f(*tangents)`` is the derivative in a direction; ``func`` is not called again."""
    with flambeau.enable_grad():
        variables, tree, keep = _tracked(primals)
        output = func(*tree)
        outputs, build = _flatten(output)
        probes = tuple(flambeau.zeros_like(each).requires_grad_() for each in outputs)
        products = _gradients(tuple(outputs), tuple(variables), probes, True)

    def derivative(*tangents: Any) -> Any:
        with flambeau.enable_grad():
            found = _gradients(products, probes, tuple(_flatten(tangents)[0]), True)
        return _detached(build(found), keep or _outer(tangents))

    return _detached(output, keep), derivative


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """The function itself: what it records has no writes in place left when it is compiled."""
    return func


def jacrev(func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, **options: Any) -> Callable:
    """A function that returns the Jacobian of ``func``: for an output of shape S and an argument of shape T, ``(*S, *T)``."""

    @wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        positions = _positions(argnums, len(args))
        chosen = tuple(args[position] for position in positions)
        keep = _outer((args, kwargs))
        with flambeau.enable_grad():
            variables, tree, _ = _tracked(chosen)
            output = func(*_replaced(args, positions, tree), **kwargs)
            auxiliary = None
            if has_aux:
                output, auxiliary = output
            outputs, build = _flatten(output)
            rebuild = _flatten(chosen)[1]
            rows = [rebuild(_rows(each, tuple(variables), True, False)) for each in outputs]
        found = build([row[0] if isinstance(argnums, int) else row for row in rows])
        found = _detached(found, keep)
        return (found, _detached(auxiliary, keep)) if has_aux else found

    return jacobian


jacfwd = jacrev


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """A function that returns the second derivatives of ``func``: the Jacobian of its Jacobian."""
    return jacrev(jacrev(func, argnums), argnums)


# -- many samples ----------------------------------------------------------------------------------------------------


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None) -> Callable:
    """A function that applies ``func`` to each slice of its arguments along ``in_dims`` and stacks the results along ``out_dims``.

    Args:
        in_dims: a dimension for all arguments, or a tuple with one for each (nested as the arguments are); ``None`` where an argument
            is the same for all slices
        out_dims: where the new dimension stands in each result
        randomness: "same" lets all slices draw the same random numbers

    Raises:
        ValueError: no argument has a dimension to map over, or their sizes differ.

    Example::

        >>> flambeau.func.vmap(flambeau.dot)(flambeau.ones(2, 3), flambeau.ones(2, 3))
        tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")

    @wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, build = _flatten(args)
        dims = _spread(in_dims, args)
        named, rebuild = _flatten(kwargs)
        leaves, dims = leaves + named, dims + [0 if isinstance(each, Tensor) and each.ndim else None for each in named]
        sizes = {leaf.shape[dim] for leaf, dim in zip(leaves, dims, strict=True) if dim is not None}
        if len(sizes) != 1:
            raise ValueError(
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)}"
                if sizes
                else "vmap: at least one input has to have a dimension to map over"
            )
        state = flambeau.get_rng_state() if randomness == "same" else None
        results = []
        for position in range(sizes.pop()):
            if state is not None:
                flambeau.set_rng_state(state)
            slices = [leaf if dim is None else leaf.select(dim, position) for leaf, dim in zip(leaves, dims, strict=True)]
            results.append(func(*build(slices[: len(slices) - len(named)]), **rebuild(slices[len(slices) - len(named) :])))
        if not results:
            raise ValueError("vmap: the mapped dimension has size 0")
        parts = [_flatten(result)[0] for result in results]
        _, join = _flatten(results[0])
        places = _spread(out_dims, results[0])
        return join([flambeau.stack(each, place) for each, place in zip(zip(*parts, strict=True), places, strict=True)])

    return mapped


def _spread(dims: Any, tree: Any) -> list[int | None]:
    """The dimension of each leaf of a tree; a dimension given for a part of the tree holds for all of it."""
    if dims is None or isinstance(dims, int):
        return [dims if isinstance(leaf, Tensor) else None for leaf in _flatten(tree)[0]]
    if isinstance(tree, dict):
        return [dim for key in tree for dim in _spread(dims[key], tree[key])]
    if not isinstance(tree, (tuple, list)) or len(dims) != len(tree):
        raise ValueError(f"vmap: the structure of the dimensions {dims} does not fit the arguments")
    return [dim for part, each in zip(dims, tree, strict=True) for dim in _spread(part, each)]


# -- modules as functions --------------------------------------------------------------------------------------------


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with these tensors in the place of its parameters and buffers (a dictionary, or several)."""
    given = parameter_and_buffer_dicts
    if not isinstance(given, dict):
        merged: dict[str, Tensor] = {}
        for each in given:
            repeated = merged.keys() & each.keys()
            if repeated:
                raise ValueError(f"{sorted(repeated)[0]} appears in multiple dictionaries; behavior of functional call is ambiguous")
            merged.update(each)
        given = merged
    return _functional_call(module, given, () if args is None else args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one kind, stacked by name: what ``vmap`` over ``functional_call`` takes.

    Raises:
        RuntimeError: there are no models, or they differ in class or mode.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1 or len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class and to have the same training/eval mode.")

    def stacked(named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: flambeau.stack([each[name] for each in named]).detach() for name in named[0]}

    parameters = stacked([dict(model.named_parameters()) for model in models])
    for name, parameter in parameters.items():
        parameter.requires_grad_(dict(models[0].named_parameters())[name].requires_grad)
    return parameters, stacked([dict(model.named_buffers()) for model in models])
