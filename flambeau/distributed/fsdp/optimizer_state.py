"""The state of an optimizer of ``FullyShardedDataParallel`` modules, by the names of the parameters, whole or as distributed tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.checkpoint.names import clean_name
from flambeau.distributed.fsdp.api import StateDictType
from flambeau.distributed.fsdp.flat import FlatParameters
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.nn.modules.module import Module
from flambeau.optim.optimizer import Optimizer

__all__ = [
    "full_optim_state_dict",
    "named_state",
    "numbered_state",
    "optim_state_dict",
    "optim_state_dict_to_load",
    "shard_full_optim_state_dict",
    "shards",
]


def _wrapped(model: Module) -> list[Any]:
    from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel

    return FullyShardedDataParallel.fsdp_modules(model)


def shards(model: Module) -> bool:
    """Whether a model has parts that ``FullyShardedDataParallel`` has wrapped."""
    return bool(_wrapped(model))


def _prefixes(model: Module) -> dict[int, str]:
    return {id(part): name for name, part in model.named_modules()}


def _entry_names(model: Module, flat: FlatParameters) -> list[str]:
    """The names of a unit's parameters."""
    prefixes = _prefixes(model)
    found = []
    for entry in flat.entries:
        part, name = entry.places[0]
        prefix = prefixes[id(part)]
        found.append(clean_name(model, f"{prefix}.{name}" if prefix else name))
    return found


def _owned(model: Module) -> tuple[list[tuple[Any, FlatParameters, list[str]]], dict[int, list[str]]]:
    """The wrapped parts with their parameters' names, and for each leaf the names of what it holds."""
    units, leaves = [], {}
    for part in _wrapped(model):
        if part._flat is not None:
            names = _entry_names(model, part._flat)
            units.append((part, part._flat, names))
            if part._use_orig_params:
                leaves.update({id(leaf): [name] for leaf, name in zip(part._flat.leaves, names)})
            else:
                leaves[id(part._flat.leaves[0])] = names
    for name, each in model.named_parameters():
        leaves.setdefault(id(each), [clean_name(model, name)])
    return units, leaves


def named_state(model: Module, optimizer: Optimizer, shared: bool = True) -> dict[str, Any]:
    """The state by names: of distributed tensors, or of whole ones. All processes call it."""
    from flambeau.distributed.fsdp.state_dicts import row_of, shared_out

    units, leaves = _owned(model)
    state: dict[str, Any] = {}
    seen: set[int] = set()
    for part, flat, names in units:
        seen.update(id(leaf) for leaf in flat.leaves)
        states = [optimizer.state.get(leaf, {}) for leaf in flat.leaves]
        first = next((each for each in states if each), {})
        for key, value in first.items():
            if isinstance(value, Tensor) and value.dim() == 1:
                pieces = [each.get(key, flambeau.zeros_like(leaf)) for each, leaf in zip(states, flat.leaves)]
                whole: list[Any] = [each.clone() for each in flat.gather(pieces)]
                if shared:
                    mesh = row_of(part.process_group)
                    whole = [shared_out(each, mesh) for each in whole]
            else:
                whole = [
                    value.clone() if isinstance(value, Tensor) else value for _ in names
                ]  # a count of steps, which the next step changes
            for name, each in zip(names, whole):
                state.setdefault(name, {})[key] = each
    for leaf, value in optimizer.state.items():
        if id(leaf) not in seen:
            state[leaves[id(leaf)][0] if id(leaf) in leaves else leaf] = value
    groups = [
        {
            **{key: value for key, value in group.items() if key != "params"},
            "params": [name for each in group["params"] for name in leaves[id(each)]],
        }
        for group in optimizer.param_groups
    ]
    return {"state": state, "param_groups": groups}


def numbered_state(model: Module, optimizer: Optimizer, named: Mapping[str, Any]) -> dict[str, Any]:
    """What ``optimizer.load_state_dict`` takes, of a state by names. All processes call it."""
    units, leaves = _owned(model)
    given = named["state"]
    by_leaf: dict[int, dict[str, Any]] = {}
    for _, flat, names in units:
        keys = [key for name in names for key in given.get(name, {})]
        for key in dict.fromkeys(keys):
            values = [given.get(name, {}).get(key) for name in names]
            tensors = [_whole(value) for value in values]
            if any(isinstance(each, Tensor) and each.dim() for each in tensors):
                like = next(each for each in tensors if isinstance(each, Tensor))
                filled = [like.new_zeros(entry.shape) if each is None else each for each, entry in zip(tensors, flat.entries)]
                pieces: list[Any] = flat.scatter(filled)
            else:
                found = tensors if flat.originals else [next((each for each in tensors if each is not None), None)]
                pieces = [each.clone() if isinstance(each, Tensor) else each for each in found]
            for leaf, piece in zip(flat.leaves, pieces):
                if piece is not None:
                    by_leaf.setdefault(id(leaf), {})[key] = piece
    settings = {name: group for group in named["param_groups"] for name in group["params"]}
    state, groups, number = {}, [], 0
    for group in optimizer.param_groups:
        numbers = []
        for leaf in group["params"]:
            found = by_leaf.get(id(leaf), given.get(leaves[id(leaf)][0]) if id(leaf) not in by_leaf else None)
            if found:
                state[number] = dict(found)
            numbers.append(number)
            number += 1
        first = leaves[id(group["params"][0])][0] if group["params"] else ""
        groups.append({**{key: value for key, value in settings.get(first, {}).items() if key != "params"}, "params": numbers})
    return {"state": state, "param_groups": groups}


def _whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def optim_state_dict(model: Module, optim: Optimizer, optim_state_dict: dict[str, Any] | None = None, group: Any = None) -> dict[str, Any]:
    """The state of an optimizer by the names of the model's parameters, as ``state_dict_type`` says: whole, or of distributed tensors.

    All processes call it.

    Raises:
        NotImplementedError: ``optim_state_dict`` is given, or the state is to be of flat pieces
    """
    if optim_state_dict is not None:
        raise NotImplementedError("optim_state_dict(optim_state_dict=…) is not supported: it is that of the optimizer")
    settings = _settings(model)
    if settings.state_dict_type is StateDictType.LOCAL_STATE_DICT:
        raise NotImplementedError("the state of flat pieces is optimizer.state_dict()")
    found = named_state(model, optim, shared=settings.state_dict_type is StateDictType.SHARDED_STATE_DICT)
    only_first = getattr(settings.optim_state_dict_config, "rank0_only", False)
    return {} if only_first and distributed.get_rank(group) != 0 else found


def _settings(model: Module) -> Any:
    from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel

    return FullyShardedDataParallel.get_state_dict_type(model)


def optim_state_dict_to_load(
    model: Module,
    optim: Optimizer,
    optim_state_dict: dict[str, Any],
    is_named_optimizer: bool = False,
    load_directly: bool = False,
    group: Any = None,
) -> dict[str, Any]:
    """What ``optim.load_state_dict`` takes, of a state that ``optim_state_dict`` has given. All processes call it.

    Args:
        is_named_optimizer: must be off
        load_directly: load it as well
    """
    if is_named_optimizer:
        raise NotImplementedError("optim_state_dict_to_load(is_named_optimizer=True) is not supported")
    found = numbered_state(model, optim, optim_state_dict)
    if load_directly:
        optim.load_state_dict(found)
    return found


def full_optim_state_dict(
    model: Module, optim: Optimizer, optim_input: Any = None, rank0_only: bool = True, group: Any = None
) -> dict[str, Any]:
    """The older way to the state of whole tensors."""
    found = named_state(model, optim, shared=False)
    return {} if rank0_only and distributed.get_rank(group) != 0 else found


def shard_full_optim_state_dict(
    full_optim_state_dict: dict[str, Any], model: Module, optim_input: Any = None, optim: Optimizer | None = None
) -> dict[str, Any]:
    """The older way to what ``optim.load_state_dict`` takes.

    Raises:
        ValueError: ``optim`` is not given
    """
    if optim is None:
        raise ValueError("shard_full_optim_state_dict needs the optimizer: optim=…")
    return numbered_state(model, optim, full_optim_state_dict)
