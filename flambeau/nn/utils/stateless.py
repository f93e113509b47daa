"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau._tensor.tensor import Tensor
from flambeau.nn.modules.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls ``module`` with the tensors given in the place of its parameters and buffers.

    Args:
        module: the module; it keeps its own tensors.
        parameters_and_buffers: tensors by their paths. A buffer that the call replaces is replaced here.
        args: the positional arguments, a tuple, or one argument.
        kwargs: the keyword arguments.
        tie_weights: whether a tensor given for one of several paths to the same parameter is used for all of them.
        strict: whether every parameter and buffer must be given, and nothing else.

    Raises:
        RuntimeError: the paths do not fit, and ``strict``.
        ValueError: different tensors are given for tied parameters.

    Example:
        >>> layer = flambeau.nn.Linear(2, 1, bias=False)
        >>> functional_call(layer, {"weight": flambeau.ones(1, 2)}, flambeau.tensor([1.0, 2.0]))
        tensor([3.])
    """
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with swapped(module, parameters_and_buffers, tie_weights=tie_weights, strict=strict):
        return module(*args, **(kwargs or {}))


@contextmanager
def swapped(module: Module, tensors: dict[str, Tensor], *, tie_weights: bool = False, strict: bool = False) -> Iterator[None]:
    """Within this context ``tensors`` are in the place of the module's parameters and buffers."""
    places = _places(module)
    if strict:
        _check_keys(module, places, tensors)
    given = _with_tied(places, tensors) if tie_weights else dict(tensors)
    own: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, tensor in given.items():
            members, name = _place(module, places, path)
            own.append((members, name, members[name]))
            members[name] = tensor
        yield
    finally:
        for (members, name, _), path in zip(own, given):
            if path in tensors:
                tensors[path] = members[name]
        for members, name, tensor in reversed(own):
            members[name] = tensor


def _reparametrize_module(
    module: Module, parameters_and_buffers: dict[str, Tensor], tie_weights: bool = False, strict: bool = False, stack_weights: bool = False
) -> Any:
    """`swapped`, under the name that others import it by."""
    return swapped(module, parameters_and_buffers, tie_weights=tie_weights, strict=strict)


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """For each path of a tensor, the dictionary that holds it and its name there."""
    places = {}
    for prefix, child in module.named_modules(remove_duplicate=False):
        for members in (child._parameters, child._buffers):
            for name, tensor in members.items():
                if tensor is not None:
                    places[f"{prefix}.{name}" if prefix else name] = (members, name)
    return places


def _place(module: Module, places: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    if path in places:
        return places[path]
    prefix, _, name = path.rpartition(".")
    owner = module.get_submodule(prefix)
    for members in (owner._parameters, owner._buffers):
        if name in members:  # registered as None
            return members, name
    raise AttributeError(f"{owner._get_name()} has no parameter or buffer `{name}` (given as {path!r})")


def _check_keys(module: Module, places: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    unexpected = [repr(path) for path in tensors if path not in places]
    missing = [repr(path) for path in places if path not in tensors]
    errors = [f"Unexpected key(s): {', '.join(unexpected)}."] if unexpected else []
    if missing:
        errors.append(f"Missing key(s): {', '.join(missing)}.")
    if errors:
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(errors))


def _with_tied(places: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """``tensors``, each also for all other paths that lead to the same tensor of the module."""
    paths: dict[int, list[str]] = {}
    for path, (members, name) in places.items():
        paths.setdefault(id(members[name]), []).append(path)
    result = dict(tensors)
    for tied in paths.values():
        given = [path for path in tied if path in tensors]
        if len({id(tensors[path]) for path in given}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(tied)}, which are tied. Consider using tie_weights=False"
            )
        if given:
            result.update(dict.fromkeys(tied, tensors[given[0]]))
    return result
