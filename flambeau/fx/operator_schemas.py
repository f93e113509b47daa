"""What arguments operators take: calls are brought to one form, whatever was given by position and whatever by name."""

from __future__ import annotations

import inspect
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import flambeau
from flambeau.nn import Module

__all__ = ["ArgsKwargsPair", "create_type_hint", "get_signature_for_torch_op", "normalize_function", "normalize_module", "type_matches"]


class ArgsKwargsPair(NamedTuple):
    """Arguments by position and by name."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_OF_OPERATORS = {
    name: inspect.Signature([inspect.Parameter(each, _POSITIONAL) for each in parameters])
    for names, parameters in (
        (
            "add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift eq ne lt le gt ge iadd isub imul itruediv",
            ("input", "other"),
        ),
        ("neg pos invert not_", ("input",)),
        ("getitem", ("input", "index")),
    )
    for name in names.split()
}
"""Python's operators, whose own signatures name nothing."""
_ASIDE = frozenset(["axis", "former", "keepdims", "out"])
"""Parameters of public functions that are other names of some, older forms, or where a result is written."""


def get_signature_for_torch_op(op: Callable, return_schemas: bool = False) -> Any:
    """The signatures of a public function, or nothing if it is none of PyTorch's.

    Args:
        op: the function, or one of `torch.ops`' operators
        return_schemas: give schemas besides, of which there are none: the second result is `None`

    Returns:
        A list of `inspect.Signature`s: functions here have one each.

    Example:
        >>> import flambeau
        >>> from flambeau.fx.operator_schemas import get_signature_for_torch_op
        >>> [list(signature.parameters) for signature in get_signature_for_torch_op(flambeau.lerp)]
        [['input', 'end', 'weight']]
    """
    signatures = _signatures(op)
    return (signatures, None) if return_schemas else signatures


def _signatures(op: Callable) -> list[inspect.Signature] | None:
    function = getattr(op, "_function", op)
    name = getattr(function, "__name__", "")
    if getattr(operator, name, None) is function:
        return [_OF_OPERATORS[name]] if name in _OF_OPERATORS else None
    if not (getattr(function, "__module__", None) or "").startswith("flambeau"):
        return None
    try:
        signature = inspect.signature(inspect.unwrap(function))
    except (TypeError, ValueError):
        return None
    return [signature.replace(parameters=[each for each in signature.parameters.values() if each.name not in _ASIDE])]


def normalize_function(
    target: Callable, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, arg_types: tuple[Any, ...] | None = None,
    kwarg_types: dict[str, Any] | None = None, normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:  # fmt: skip
    """A call with the defaults of what was not given, by name.

    Args:
        target: the function: one of PyTorch's, an operator of Python's, or any other with a signature
        args, kwargs: what it is called with
        arg_types, kwarg_types: types, which decide between overloads in PyTorch; functions have one signature here
        normalize_to_only_use_kwargs: give all arguments by name

    Returns:
        The arguments; nothing where the function takes any number of them, or does not take these.

    Example:
        >>> import flambeau
        >>> from flambeau.fx.operator_schemas import normalize_function
        >>> normalize_function(flambeau.add, (1, 2), {}, normalize_to_only_use_kwargs=True)
        ArgsKwargsPair(args=(), kwargs={'input': 1, 'other': 2, 'alpha': 1})
    """
    signatures = _signatures(target)
    if signatures is None:
        try:
            signatures = [inspect.signature(inspect.unwrap(target))]
        except (TypeError, ValueError):
            return None
    return _normalized(signatures[0], tuple(args), dict(kwargs or {}), normalize_to_only_use_kwargs)


def normalize_module(
    root: Module, target: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, normalize_to_only_use_kwargs: bool = False
) -> ArgsKwargsPair | None:
    """The call of a submodule of `torch.nn` with the defaults of what was not given.

    Args:
        root: the module that it is a part of
        target: its path
        args, kwargs: what it is called with
        normalize_to_only_use_kwargs: give all arguments by name

    Returns:
        The arguments; nothing where the class is none of `torch.nn`'s.

    Raises:
        RuntimeError: there is no such submodule
    """
    try:
        submodule = root.get_submodule(target)
    except AttributeError:
        raise RuntimeError(f"Tried to normalize a call of the submodule {target!r}, but the root module has none of this name") from None
    cls = type(submodule)
    if getattr(flambeau.nn, cls.__name__, None) is not cls:
        return None
    return _normalized(inspect.signature(submodule.forward), tuple(args), dict(kwargs or {}), normalize_to_only_use_kwargs)


def _normalized(signature: inspect.Signature, args: tuple, kwargs: dict[str, Any], only_names: bool) -> ArgsKwargsPair | None:
    if any(each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) for each in signature.parameters.values()):
        return None
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    by_position = 0 if only_names else len(args)
    names = list(signature.parameters)
    return ArgsKwargsPair(
        tuple([bound.arguments[name] for name in names[:by_position]]), {name: bound.arguments[name] for name in names[by_position:]}
    )


# -- types -----------------------------------------------------------------------------------------------------------------


def create_type_hint(x: Any) -> Any:
    """A list or a tuple of types as the type of a container: `[int, int]` is `List[int]`. Other things are given back.

    Example:
        >>> from flambeau.fx.operator_schemas import create_type_hint
        >>> create_type_hint([int, int]), create_type_hint((int, bool)), create_type_hint(int)
        (list[int], tuple[int, ...], <class 'int'>)
    """
    if not isinstance(x, (list, tuple)):
        return x
    base = x[0] if x else Any
    for each in x[1:]:
        if not (isinstance(each, type) and isinstance(base, type)):
            base = base if each == base else Any
        elif issubclass(base, each):
            base = each
        elif not issubclass(each, base):
            base = Any
    return list[base] if isinstance(x, list) else tuple[base, ...]


def type_matches(signature_type: Any, argument_type: Any) -> bool:
    """Whether an argument of a type can be given where a signature has another one.

    Example:
        >>> from typing import List, Optional
        >>> from flambeau.fx.operator_schemas import type_matches
        >>> type_matches(Optional[int], int), type_matches(List[int], int), type_matches(float, int), type_matches(int, str)
        (True, True, True, False)
    """
    if signature_type == argument_type or signature_type is Any or argument_type is Any:
        return True
    origin, inside = typing.get_origin(signature_type), typing.get_args(signature_type)
    if origin in (typing.Union, types.UnionType):
        return any(type_matches(each, argument_type) for each in inside)
    if origin is list:
        own = typing.get_args(argument_type)
        if inside[0] is int and argument_type is int:  # a number for every dimension
            return True
        return typing.get_origin(argument_type) in (list, tuple) and all(type_matches(inside[0], each) for each in own if each is not ...)
    if signature_type in (float, complex) and argument_type is int:
        return True
    return isinstance(signature_type, type) and isinstance(argument_type, type) and issubclass(argument_type, signature_type)
