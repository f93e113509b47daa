"""The states of ``FullyShardedDataParallel`` modules: of whole tensors, of flat pieces, or of distributed tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.checkpoint.names import WRAPPED
from flambeau.distributed.fsdp import api
from flambeau.distributed.fsdp.api import StateDictType
from flambeau.distributed.tensor.api import distribute_tensor
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.placement_types import Shard
from flambeau.nn.modules.module import Module

if TYPE_CHECKING:
    from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel

_CONFIGS = {
    StateDictType.FULL_STATE_DICT: (api.FullStateDictConfig, api.FullOptimStateDictConfig),
    StateDictType.LOCAL_STATE_DICT: (api.LocalStateDictConfig, api.LocalOptimStateDictConfig),
    StateDictType.SHARDED_STATE_DICT: (api.ShardedStateDictConfig, api.ShardedOptimStateDictConfig),
}


def default_config(kind: StateDictType) -> tuple[Any, Any]:
    """The settings of a kind of state, for modules and for optimizers."""
    first, second = _CONFIGS[kind]
    return first(), second()


def without_wrappers(name: str) -> str:
    """A name without the parts that wrappers add."""
    return ".".join(part for part in name.split(".") if part not in WRAPPED)


def row_of(group: Any) -> Any:
    """A group as a mesh."""
    return distributed.DeviceMesh.from_group(group, "cpu")


def shared_out(tensor: Tensor, mesh: Any) -> Tensor:
    """A whole tensor as a distributed one, cut along its first dimension."""
    if tensor.dim() == 0:
        return tensor
    return distribute_tensor(tensor.detach(), mesh, [Shard(0)], src_data_rank=None)


def whole_state(module: FullyShardedDataParallel, destination: Any, prefix: str) -> Any:
    """The state of a module, within that of another if there is a ``destination``."""
    kind = module._settings.state_dict_type
    found = OrderedDict() if destination is None else destination
    if kind is StateDictType.LOCAL_STATE_DICT:
        for name, value in Module.state_dict(module).items():
            found[prefix + without_wrappers(name)] = value
        return found
    with module.summon_full_params(module, writeback=False):
        state = _plain_state(module._fsdp_wrapped_module)
        only_first = getattr(module._settings.state_dict_config, "rank0_only", False) and distributed.get_rank() != 0
        trained = {id(each.memory) for each in module._fsdp_wrapped_module.parameters()}
        mesh = row_of(module.process_group) if kind is StateDictType.SHARDED_STATE_DICT else None
        for name, value in state.items() if not only_first else ():
            if isinstance(value, Tensor) and not isinstance(value, DTensor) and id(value.memory) in trained:
                value = shared_out(value, mesh) if mesh is not None else value.detach().clone()
            found[prefix + without_wrappers(name)] = value
        flambeau.flush()
    return found


def _plain_state(module: Module) -> dict[str, Any]:
    """The state of a module whose wrapped parts have whole parameters."""
    state: dict[str, Any] = {}
    module._save_to_state_dict(state, "", False)
    for name, child in module.named_children():
        inner = getattr(child, "_fsdp_wrapped_module", None)
        part = _plain_state(child if inner is None else inner) if _is_plain(child) else child.state_dict()
        state.update({f"{name}.{key}": value for key, value in part.items()})
    return state


def _is_plain(module: Module) -> bool:
    from flambeau.distributed.fsdp.fully_sharded_data_parallel import FullyShardedDataParallel

    return type(module).state_dict in (Module.state_dict, FullyShardedDataParallel.state_dict)


def load_state(module: FullyShardedDataParallel, state: Mapping[str, Any], strict: bool) -> Any:
    """Give a module a state of whole tensors, of distributed ones, or of flat pieces."""
    if module._settings.state_dict_type is StateDictType.LOCAL_STATE_DICT:
        raw = {without_wrappers(name): name for name in Module.state_dict(module)}
        return Module.load_state_dict(module, {raw.get(name, name): value for name, value in state.items()}, strict)
    whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in state.items()}
    with module.summon_full_params(module):
        raw = {without_wrappers(name): name for name in _names(module)}
        return Module.load_state_dict(module, {raw.get(name, name): value for name, value in whole.items()}, strict)


def begin_load(module: FullyShardedDataParallel, state: dict[str, Any], prefix: str) -> None:
    """Prepare a wrapped part for the state of a module around it: names get those of the wrappers, and parameters are whole until ``end_load``."""
    whole = module._settings.state_dict_type is not StateDictType.LOCAL_STATE_DICT
    if whole and not module.__dict__.get("_summoned", False):
        context = module.summon_full_params(module)
        context.__enter__()
        module.__dict__["_loading"] = context
    raw = {without_wrappers(name): name for name in (_names(module) if whole else Module.state_dict(module))}
    for key in [key for key in state if key.startswith(prefix)]:
        value, name = state.pop(key), key[len(prefix) :]
        state[prefix + raw.get(name, name)] = value.full_tensor() if whole and isinstance(value, DTensor) else value


def end_load(module: FullyShardedDataParallel, keys: Any) -> None:
    """Keep this process's piece of what was loaded; a hook."""
    context = module.__dict__.pop("_loading", None)
    if context is not None:
        context.__exit__(None, None, None)


def _names(module: Module) -> list[str]:
    names: list[str] = []
    for prefix, part in module.named_modules():
        own: dict[str, Any] = {}
        part._save_to_state_dict(own, f"{prefix}." if prefix else "", True)
        names += own
    return names
