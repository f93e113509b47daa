"""The states of models and optimizers by the names of parameters, whatever wraps the model: as they are cut now, or whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.checkpoint.names import clean_name, parameter_names
from flambeau.distributed.tensor.api import distribute_tensor
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.nn.modules.module import Module
from flambeau.optim.optimizer import Optimizer
from flambeau.utils._pytree import tree_map

__all__ = [
    "StateDictOptions", "get_model_state_dict", "get_optimizer_state_dict", "get_state_dict", "set_model_state_dict", "set_optimizer_state_dict",
    "set_state_dict",
]  # fmt: skip


@dataclass
class StateDictOptions:
    """What a state is to look like, or looks like.

    Attributes:
        full_state_dict: whole tensors instead of distributed ones
        cpu_offload: with ``full_state_dict``, have the state in process 0 only
        ignore_frozen_params: leave out parameters that require no grad
        keep_submodule_prefixes: must be on
        strict: whether a model's state must have all names and no others
        broadcast_from_rank0: with ``full_state_dict``, the state that is set is that of process 0; the others may give an empty one
        flatten_optimizer_state_dict: one dictionary with names such as ``state.layer.weight.exp_avg``
        dsd_fqn_modifiers: for PyTorch's sake
    """

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False
    dsd_fqn_modifiers: str = "_fqn_modifiers"


def _checked(options: StateDictOptions | None, submodules: Any) -> StateDictOptions:
    options = options or StateDictOptions()
    if submodules is not None or not options.keep_submodule_prefixes:
        raise NotImplementedError(
            "submodules and keep_submodule_prefixes=False are not implemented: take the entries of the state whose names you want"
        )
    if options.broadcast_from_rank0 and not options.full_state_dict:
        raise ValueError("full_state_dict must be True when broadcast_from_rank0 is True.")
    return options


def _shown(tree: Any, options: StateDictOptions) -> Any:
    """A state as the options want it."""
    if not options.full_state_dict:
        return tree
    whole = tree_map(lambda each: each.full_tensor() if isinstance(each, DTensor) else each, tree)
    if options.cpu_offload and distributed.is_initialized() and distributed.get_rank() != 0:
        return {}
    return whole


def _from_first(tree: Any, options: StateDictOptions) -> Any:
    """The state of process 0, if that counts. Its tensors come one by one."""
    if not options.broadcast_from_rank0:
        return tree
    is_first = distributed.get_rank() == 0
    tensors: list[Tensor] = []

    def told(each: Any) -> Any:
        if isinstance(each, Tensor) and each.dim():
            tensors.append(each)
            return _Told(tuple(each.shape), each.dtype)
        return each

    shapes = [tree_map(told, tree) if is_first else None]
    distributed.broadcast_object_list(shapes, 0)
    given = iter(tensors)

    def received(each: Any) -> Any:
        if not isinstance(each, _Told):
            return each
        tensor = next(given).detach().clone().contiguous() if is_first else flambeau.empty(each.shape, dtype=each.dtype)
        distributed.broadcast(tensor, 0)
        return tensor

    return tree_map(received, shapes[0])


@dataclass
class _Told:
    """The place of a tensor in a state that is sent."""

    shape: tuple[int, ...]
    dtype: Any


def _like(value: Any, target: Any) -> Any:
    """A whole tensor, distributed as another one is."""
    if isinstance(target, DTensor) and isinstance(value, Tensor) and not isinstance(value, DTensor) and value.dim():
        return distribute_tensor(value.detach(), target.device_mesh, target.placements, src_data_rank=None)
    return value


# -- models -------------------------------------------------------------------------------------------------------------


def get_model_state_dict(model: Module, *, submodules: Any = None, options: StateDictOptions | None = None) -> dict[str, Any]:
    """The state of a model. All processes call it.

    Args:
        submodules: must be ``None``
        options: what it is to look like
    """
    options = _checked(options, submodules)
    frozen = (
        {clean_name(model, name) for name, each in model.named_parameters() if not each.requires_grad}
        if options.ignore_frozen_params
        else ()
    )
    with _sharded_types(model):
        state = {clean_name(model, name): value for name, value in model.state_dict().items()}
    return _shown({name: value for name, value in state.items() if name not in frozen}, options)


def set_model_state_dict(model: Module, model_state_dict: Mapping[str, Any], *, options: StateDictOptions | None = None) -> Any:
    """Give a model a state, of whole or of distributed tensors. All processes call it.

    Returns:
        The names that are missing, and those that the model does not have.
    """
    options = _checked(options, None)
    given = _from_first(dict(model_state_dict), options)
    with _sharded_types(model):
        own = model.state_dict()
        raw = {clean_name(model, name): name for name in own}
        state = {raw.get(clean_name(model, name), name): value for name, value in given.items()}
        state = {name: _like(value, own.get(name)) for name, value in state.items()}
        return model.load_state_dict(state, strict=options.strict)


def _sharded_types(model: Module) -> ExitStack:
    """A context in which ``FullyShardedDataParallel`` modules give and take distributed tensors."""
    from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel, StateDictType

    stack = ExitStack()
    if any(isinstance(each, FullyShardedDataParallel) for each in model.modules()):
        stack.enter_context(FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT))
    return stack


# -- optimizers ----------------------------------------------------------------------------------------------------------


def _several(optimizers: Optimizer | Iterable[Optimizer]) -> list[Optimizer]:
    return [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)


def _begin(optimizer: Optimizer) -> None:
    """Have an optimizer make its state, by a step that changes no parameter."""
    if optimizer.state:
        return
    parameters = [each for group in optimizer.param_groups for each in group["params"] if each.requires_grad]
    if any(each.grad is not None for each in parameters):
        raise RuntimeError(
            "the state of an optimizer that has taken no step is asked for, while there are gradients: call zero_grad() first"
        )
    rates = [group["lr"] for group in optimizer.param_groups]
    for each in parameters:
        each.grad = flambeau.zeros_like(each)
    for group in optimizer.param_groups:
        group["lr"] = flambeau.tensor(0.0) if isinstance(group["lr"], Tensor) else 0.0
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)


def _by_names(model: Module, optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer with names in the place of numbers."""
    from flambeau.distributed.fsdp.optimizer_state import named_state, shards

    if shards(model):
        return named_state(model, optimizer)
    names = parameter_names(model)
    plain = optimizer.state_dict()
    numbered = [names[id(each)] for group in optimizer.param_groups for each in group["params"]]
    state = {numbered[key] if isinstance(key, int) else key: value for key, value in plain["state"].items()}
    groups = [{**group, "params": [numbered[number] for number in group["params"]]} for group in plain["param_groups"]]
    return {"state": state, "param_groups": groups}


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    """One dictionary: ``state.<name>.<what>`` and ``param_groups.<name>.<setting>``."""
    flat = {f"state.{name}.{key}": value for name, values in state["state"].items() for key, value in values.items()}
    for group in state["param_groups"]:
        for name in group["params"]:
            flat.update({f"param_groups.{name}.{key}": value for key, value in group.items() if key != "params"})
    return flat


def _unflat(flat: Mapping[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    state = {
        name: {key: flat[f"state.{name}.{key}"] for key in values if f"state.{name}.{key}" in flat}
        for name, values in like["state"].items()
    }
    groups = []
    for group in like["param_groups"]:
        first = group["params"][0] if group["params"] else ""
        groups.append({key: value if key == "params" else flat.get(f"param_groups.{first}.{key}", value) for key, value in group.items()})
    return {"state": state, "param_groups": groups}


def get_optimizer_state_dict(
    model: Module, optimizers: Optimizer | Iterable[Optimizer], *, submodules: Any = None, options: StateDictOptions | None = None
) -> dict[str, Any]:
    """The state of optimizers, by the names of the model's parameters. All processes call it.

    An optimizer that has taken no step yet takes one that changes no parameter, so that there is a state to load into.

    Args:
        submodules: must be ``None``
        options: what it is to look like
    """
    options = _checked(options, submodules)
    found: dict[str, Any] = {"state": {}, "param_groups": []}
    for optimizer in _several(optimizers):
        _begin(optimizer)
        each = _by_names(model, optimizer)
        found["state"].update(each["state"])
        found["param_groups"] += each["param_groups"]
    return _shown(_flat(found) if options.flatten_optimizer_state_dict else found, options)


def set_optimizer_state_dict(
    model: Module,
    optimizers: Optimizer | Iterable[Optimizer],
    optim_state_dict: Mapping[str, Any],
    *,
    options: StateDictOptions | None = None,
) -> None:
    """Give optimizers a state by the names of the model's parameters, of whole or of distributed tensors. All processes call it."""
    from flambeau.distributed.fsdp.optimizer_state import numbered_state, shards

    options = _checked(options, None)
    given: Any = _from_first(dict(optim_state_dict), options)
    for optimizer in _several(optimizers):
        _begin(optimizer)
        like = _by_names(model, optimizer)
        own = _unflat(given, like) if "state" not in given else given
        names = {name for group in like["param_groups"] for name in group["params"]}
        groups = [group for group in own["param_groups"] if names.intersection(group["params"])]
        state = {
            name: {key: _like(value, like["state"].get(name, {}).get(key)) for key, value in values.items()}
            for name, values in own["state"].items()
            if name in names
        }
        if shards(model):
            optimizer.load_state_dict(numbered_state(model, optimizer, {"state": state, "param_groups": groups}))
        else:
            optimizer.load_state_dict(_numbered(model, optimizer, state, groups))


def _numbered(model: Module, optimizer: Optimizer, state: dict[str, Any], groups: list[dict]) -> dict[str, Any]:
    """The state with numbers in the place of names, and the groups in the optimizer's order."""
    names = parameter_names(model)
    by_name = {name: group for group in groups for name in group["params"]}
    numbers: dict[str, int] = {}
    arranged = []
    for group in optimizer.param_groups:
        own = [names[id(each)] for each in group["params"]]
        missing = [name for name in own if name not in by_name]
        if missing:
            raise RuntimeError(f"the state has no settings for the parameters {', '.join(missing)}")
        start = len(numbers)
        numbers.update({name: start + number for number, name in enumerate(own)})
        settings = by_name[own[0]] if own else {}
        arranged.append({**{key: value for key, value in settings.items() if key != "params"}, "params": [numbers[name] for name in own]})
    return {"state": {numbers[name]: dict(values) for name, values in state.items() if name in numbers}, "param_groups": arranged}


# -- both ----------------------------------------------------------------------------------------------------------------


def get_state_dict(
    model: Module, optimizers: Optimizer | Iterable[Optimizer], *, submodules: Any = None, options: StateDictOptions | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of a model and of its optimizers. All processes call it."""
    return (
        get_model_state_dict(model, submodules=submodules, options=options),
        get_optimizer_state_dict(model, optimizers, submodules=submodules, options=options) if _several(optimizers) else {},
    )


def set_state_dict(
    model: Module, optimizers: Optimizer | Iterable[Optimizer], *, model_state_dict: Mapping[str, Any], optim_state_dict: Mapping[str, Any],
    options: StateDictOptions | None = None,
) -> Any:  # fmt: skip
    """Give a model and its optimizers their states. All processes call it.

    Returns:
        The names that are missing in the model's state, and those that the model does not have.
    """
    if optim_state_dict:
        set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return set_model_state_dict(model, model_state_dict, options=options)
