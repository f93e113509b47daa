"""Steps of optimizers as functions of lists: parameters, gradients and states that somebody else keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._settings import number
from flambeau.optim._stepwise import Numbers, StepwiseOptimizer

_PAIRS = {"betas": ("beta1", "beta2"), "etas": ("etaminus", "etaplus"), "step_sizes": ("step_size_min", "step_size_max")}
"""What an optimizer keeps as a pair, and what functions call the two."""


def functional(
    kind: type[StepwiseOptimizer],
    lists: dict[str, str],
    flags: str,
    settings: str,
    gradients: str = "grads",
    fixed: dict[str, Any] | None = None,
) -> Callable[..., None]:
    """The step of an optimizer as a function ``f(params, grads, *lists, *flags, *, settings)`` that changes parameters and states in place.

    Args:
        kind: the optimizer.
        lists: the arguments that hold states, and what the optimizer calls these. A list may be empty where the settings do without it.
        flags: further arguments, which have defaults. ``maximize`` and ``differentiable`` count, and those of ``fixed``; gradients are divided by
            ``grad_scale``, and nothing is done if ``found_inf`` is not 0. The others choose between implementations, of which there is one.
        settings: those that have none, as keywords.
        gradients: what the list of gradients is called.
        fixed: settings that the function does not have.
    """
    names = ["params", gradients, *lists]
    defaults = {flag: None if flag in ("foreach", "fused", "grad_scale", "found_inf") else False for flag in flags.split()}
    signature = Signature(
        [
            *[Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names],
            *[Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default) for name, default in defaults.items()],
            *[Parameter(name, Parameter.KEYWORD_ONLY) for name in settings.split()],
        ]
    )

    def step(*args: Any, **kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        given = defaults | bound.arguments | (fixed or {})
        if given.get("found_inf") is not None and bool(given["found_inf"]):
            return
        states = {state: given.pop(name) for name, state in lists.items()}
        for pair, ends in _PAIRS.items():
            if ends[0] in given:
                given[pair] = tuple(number(given[end]) for end in ends)
        scale = given.get("grad_scale")
        scaled = given[gradients] if scale is None else [gradient / scale for gradient in given[gradients]]
        _step(kind, given["params"], scaled, states, given)

    step.__name__ = step.__qualname__ = kind.__name__.lower()
    step.__module__ = kind.__module__
    step.__signature__ = signature
    step.__doc__ = f"One step of :class:`{kind.__name__}` for lists of parameters, their gradients and their states, which change in place."
    return step


def _step(
    kind: type[StepwiseOptimizer], parameters: Sequence[Tensor], gradients: Sequence[Any], lists: dict[str, list], group: dict[str, Any]
) -> None:
    """Update parameters by their gradients; what an optimizer would put into its state goes into the tensors of the lists."""
    for name, values in lists.items():
        if values and len(values) != len(parameters):
            raise ValueError(f"{kind.__name__.lower()}(): there are {len(parameters)} parameters, and {name} has {len(values)} elements")
    optimizer = kind.__new__(kind)  # its rule alone: it has no parameters of its own
    optimizer._numbers = Numbers()
    optimizer._numbers.begin()
    states = [{name: values[i] for name, values in lists.items() if values} for i in range(len(parameters))]
    optimizer._update_all(
        list(zip(parameters, gradients, states, strict=True)), group, number(group.get("lr", 0.0)), group.get("maximize", False)
    )
    with flambeau.no_grad():
        for i, state in enumerate(states):
            for name, values in lists.items():
                if not values or values[i] is state[name]:
                    continue
                if values[i] is None:
                    values[i] = state[name]
                else:
                    values[i].copy_(state[name])
