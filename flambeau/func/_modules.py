"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn.utils.stateless import functional_call as _functional_call

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


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
        if not isinstance(given, (list, tuple)) or not all(isinstance(each, dict) for each in given):
            raise ValueError(
                f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given).__name__}"
                + (f" of {', '.join(dict.fromkeys(type(each).__name__ for each in given))}" if isinstance(given, (list, tuple)) else "")
            )
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


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Let the batch norms in a module (and the module, if it is one) keep no running statistics, which no sample has for itself; returns it."""
    from flambeau.nn.modules.batchnorm import _BatchNorm

    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return root
