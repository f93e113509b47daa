"""The names that parameters have without what wraps the model."""

from __future__ import annotations

from flambeau.nn.modules.module import Module

__all__ = ["clean_name", "parameter_names"]

WRAPPED = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod")


def clean_name(model: Module, name: str) -> str:
    """A name of a model's state without the wrappers' parts."""
    from flambeau.nn.parallel import DistributedDataParallel

    parts = name.split(".")
    kept, module = [], model
    for number, part in enumerate(parts):
        wraps = part in WRAPPED or (part == "module" and isinstance(module, DistributedDataParallel))
        if not wraps:
            kept.append(part)
        following = getattr(module, "_modules", {}).get(part)
        if following is None:
            kept += [each for each in parts[number + 1 :] if each not in WRAPPED]
            break
        module = following
    return ".".join(kept)


def parameter_names(model: Module) -> dict[int, str]:
    """The name of each parameter, by its id."""
    return {id(each): clean_name(model, name) for name, each in model.named_parameters()}
