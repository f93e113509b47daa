"""``FullyShardedDataParallel``: a wrapper around a module whose parameters are shared out as pieces of one vector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.checkpoint.names import WRAPPED
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.fsdp import optimizer_state
from flambeau.distributed.fsdp.api import BackwardPrefetch as BackwardPrefetch
from flambeau.distributed.fsdp.api import CPUOffload as CPUOffload
from flambeau.distributed.fsdp.api import FullOptimStateDictConfig as FullOptimStateDictConfig
from flambeau.distributed.fsdp.api import FullStateDictConfig as FullStateDictConfig
from flambeau.distributed.fsdp.api import LocalOptimStateDictConfig as LocalOptimStateDictConfig
from flambeau.distributed.fsdp.api import LocalStateDictConfig as LocalStateDictConfig
from flambeau.distributed.fsdp.api import MixedPrecision as MixedPrecision
from flambeau.distributed.fsdp.api import OptimStateDictConfig as OptimStateDictConfig
from flambeau.distributed.fsdp.api import ShardedOptimStateDictConfig as ShardedOptimStateDictConfig
from flambeau.distributed.fsdp.api import ShardedStateDictConfig as ShardedStateDictConfig
from flambeau.distributed.fsdp.api import ShardingStrategy as ShardingStrategy
from flambeau.distributed.fsdp.api import StateDictConfig as StateDictConfig
from flambeau.distributed.fsdp.api import StateDictSettings as StateDictSettings
from flambeau.distributed.fsdp.api import StateDictType as StateDictType
from flambeau.distributed.fsdp.flat import FlatParameter, FlatParameters
from flambeau.distributed.fsdp.state import NO_COPY, Entry, State, own_parameters
from flambeau.distributed.fsdp.state_dicts import begin_load, default_config, end_load, load_state, whole_state
from flambeau.distributed.fsdp.unit import Unit
from flambeau.distributed.fsdp.wrap import wrap_parts
from flambeau.distributed.reduction import ReduceOp
from flambeau.distributed.world import member
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["FlatParameter", "FullyShardedDataParallel", "StateDictType"]

_FLAT = "_flat_param"
_HYBRID = (ShardingStrategy.HYBRID_SHARD, ShardingStrategy._HYBRID_SHARD_ZERO2)


class FullyShardedDataParallel(Module):
    """A module whose parameters, gradients and optimizer's state are shared out among processes (Zhao et al. 2023, arXiv:2304.11277).

    The parameters of a unit (the module, without the parts that are wrapped themselves) lie one after another in a vector, of which each process
    has an equal piece. They are whole while forward and the unit's part of the backward pass run. Make the optimizer after wrapping, unless
    ``use_orig_params`` is set.

    Args:
        module: what is trained
        process_group: the processes; all, by default. For the hybrid strategies a pair: those that share, and those that have the same piece.
        sharding_strategy: what is shared out; everything, by default
        cpu_offload: for PyTorch's sake; everything is in the CPU's memory
        auto_wrap_policy: which parts are units of their own (``fsdp.wrap``)
        backward_prefetch, device_id, forward_prefetch, limit_all_gathers: for PyTorch's sake
        mixed_precision: in which dtypes it computes
        ignored_modules, ignored_states: modules, or parameters and modules, that stay as they are
        param_init_fn: must be ``None``: there are no parameters without memory
        sync_module_states: whether all begin with the parameters and buffers of the first process
        use_orig_params: whether the parameters stay, each as its own piece; else there is one ``FlatParameter`` for a unit
        device_mesh: the processes: in a row, or for the hybrid strategies in two dimensions (replicas, shards)

    Raises:
        ValueError: parameters of a unit differ in dtype, or in ``requires_grad`` without ``use_orig_params``; or the groups do not fit the strategy
        NotImplementedError: ``param_init_fn``, or ``keep_low_precision_grads``
    """

    def __init__(
        self,
        module: Module,
        process_group: Any = None,
        sharding_strategy: ShardingStrategy | None = None,
        cpu_offload: CPUOffload | None = None,
        auto_wrap_policy: Any = None,
        backward_prefetch: BackwardPrefetch | None = BackwardPrefetch.BACKWARD_PRE,
        mixed_precision: MixedPrecision | None = None,
        ignored_modules: Iterable[Module] | None = None,
        param_init_fn: Callable | None = None,
        device_id: Any = None,
        sync_module_states: bool = False,
        forward_prefetch: bool = False,
        limit_all_gathers: bool = True,
        use_orig_params: bool = False,
        ignored_states: Iterable[Any] | None = None,
        device_mesh: DeviceMesh | None = None,
    ) -> None:
        if param_init_fn is not None:
            raise NotImplementedError("param_init_fn is not supported: there are no parameters without memory, so make the module as usual")
        if mixed_precision is not None and mixed_precision.keep_low_precision_grads:
            raise NotImplementedError(
                "MixedPrecision(keep_low_precision_grads=True) is not supported: gradients have the dtype of the pieces"
            )
        super().__init__()
        self.sharding_strategy = sharding_strategy or ShardingStrategy.FULL_SHARD
        self.mixed_precision = mixed_precision or MixedPrecision()
        group, replicas = _groups(process_group, device_mesh, self.sharding_strategy)
        self.process_group, self._replicas, self._use_orig_params = group, replicas, use_orig_params
        ignored = _ignored(ignored_modules, ignored_states)
        if auto_wrap_policy is not None:
            settings: dict[str, Any] = {
                "process_group": process_group, "sharding_strategy": sharding_strategy, "mixed_precision": mixed_precision,
                "sync_module_states": sync_module_states, "use_orig_params": use_orig_params, "device_mesh": device_mesh,
                "ignored_states": ignored_states, "ignored_modules": ignored_modules,
            }  # fmt: skip
            same = {"process_group": (group, replicas), "device_mesh": None} if self.sharding_strategy in _HYBRID else {}

            def make(part: Module, **own: Any) -> Module:
                """Wrap a part; with the same strategy it needs no groups of its own."""
                return FullyShardedDataParallel(part, **{**settings, **({} if "sharding_strategy" in own else same), **own})

            wrap_parts(module, auto_wrap_policy, make, lambda part: id(part) in ignored or isinstance(part, FullyShardedDataParallel))
        self._fsdp_wrapped_module = module
        self._settings = StateDictSettings()
        self.register_load_state_dict_post_hook(end_load)
        self._share_out(module, ignored, sync_module_states)

    def _share_out(self, module: Module, ignored: set[int], sync: bool) -> None:
        entries, parameters = _own_entries(module, ignored)
        if sync:
            self._synchronize([*parameters, *[each for each in module.buffers() if id(each) not in ignored]])
        alone = self.sharding_strategy is ShardingStrategy.NO_SHARD
        self._flat = FlatParameters(entries, parameters, self.process_group, self._use_orig_params) if entries else None
        flat = self._flat
        unit = Unit(flat.pieces if flat else list, [(flat.length,)] if flat else [], self.process_group, self._replicas)
        unit.param_dtype, unit.reduce_dtype = self.mixed_precision.param_dtype, self.mixed_precision.reduce_dtype
        reshard = self.sharding_strategy in (ShardingStrategy.FULL_SHARD, ShardingStrategy.HYBRID_SHARD)
        self._state = State(entries, unit, reshard if not alone else False, flat.views if flat else list)
        self._state.nested = lambda: [each._state for each in self.fsdp_modules(self)]
        self._register_leaves()
        if self.mixed_precision.buffer_dtype is not None:
            for part in module.modules():
                for name, buffer in part._buffers.items():
                    if buffer is not None and buffer.is_floating_point() and id(buffer) not in ignored:
                        part._buffers[name] = buffer.to(self.mixed_precision.buffer_dtype)

    def _register_leaves(self) -> None:
        """Let the module have what an optimizer sees."""
        if self._flat is not None and not self._use_orig_params:
            for entry in self._flat.entries:
                for part, name in entry.places:
                    part._parameters.pop(name, None)
            self._fsdp_wrapped_module._parameters[_FLAT] = self._flat.leaves[0]

    def _synchronize(self, tensors: Sequence[Tensor]) -> None:
        groups = [self.process_group] if self._replicas is None else [self._replicas, self.process_group]
        with flambeau.no_grad():
            for tensor in tensors:
                for group in groups:
                    distributed.broadcast(tensor.detach(), group=group, group_src=0)

    # -- forward ----------------------------------------------------------------------------------------------------------

    @property
    def module(self) -> Module:
        """What is wrapped."""
        return self._fsdp_wrapped_module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_fsdp_wrapped_module"), name)

    def __deepcopy__(self, memo: dict) -> Any:
        raise AssertionError(NO_COPY)

    def __getitem__(self, key: Any) -> Any:
        return self.module[key]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        state, precision = self._state, self.mixed_precision
        if state.is_root is None:
            for each in state.nested():
                each.is_root = each is state
        casts = precision.cast_forward_inputs or (state.is_root and precision.cast_root_forward_inputs)
        state.input_dtype = precision.param_dtype if casts else None
        args, kwargs = state.before(args, kwargs)
        return state.after(self._fsdp_wrapped_module(*args, **kwargs))

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Lets gradients add up, whole in each process, until a pass outside of the context reduces them."""
        units = [each._state.unit for each in self.fsdp_modules(self)]
        before = [unit.syncs for unit in units]
        for unit in units:
            unit.syncs = False
        try:
            yield
        finally:
            for unit, syncs in zip(units, before):
                unit.syncs = syncs

    @staticmethod
    def fsdp_modules(module: Module, root_only: bool = False) -> list[FullyShardedDataParallel]:
        """The wrapped parts of a module; of those within each other the outermost, if ``root_only``."""
        found = [each for each in module.modules() if isinstance(each, FullyShardedDataParallel)]
        if root_only:
            inner = {id(part) for each in found for part in each.modules() if part is not each}
            found = [each for each in found if id(each) not in inner]
        return found

    def check_is_root(self) -> bool:
        """Whether no wrapped module is around this one, as its first forward finds out."""
        return self._state.is_root is not False

    # -- gradients ---------------------------------------------------------------------------------------------------------

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Scale all gradients so that their norm, over all processes, is at most ``max_norm``; call it on the outermost module.

        Returns:
            The norm before.
        """
        shared: dict[int, Tensor] = {}
        for each in self.fsdp_modules(self):
            if each.sharding_strategy is not ShardingStrategy.NO_SHARD and each._flat is not None:
                shared.update({id(leaf): leaf.grad for leaf in each._flat.leaves if leaf.grad is not None})
        leaves = {id(each): each.grad for each in self.parameters() if each.grad is not None}
        order = float(norm_type)
        own = _power_sum([each for key, each in leaves.items() if key in shared], order)
        distributed.all_reduce(own, ReduceOp.MAX if order == float("inf") else ReduceOp.SUM, self.process_group)
        other = _power_sum([each for key, each in leaves.items() if key not in shared], order)
        norm = flambeau.maximum(own, other) if order == float("inf") else (own + other) ** (1 / order)
        with flambeau.no_grad():
            factor = (float(max_norm) / (norm + 1e-6)).clamp(max=1.0)
            for gradient in leaves.values():
                gradient.mul_(factor.to(gradient.dtype))
        return norm

    # -- whole parameters ----------------------------------------------------------------------------------------------------

    @staticmethod
    @contextmanager
    def summon_full_params(
        module: Module,
        recurse: bool = True,
        writeback: bool = True,
        rank0_only: bool = False,
        offload_to_cpu: bool = False,
        with_grads: bool = False,
    ) -> Iterator[None]:
        """A context in which the parameters are whole. Those that are already stay so until the outer context ends, which says whether changes are kept.

        Args:
            recurse: whether also those of wrapped parts within
            writeback: whether changes are kept
            rank0_only: whether process 0 only has them, in which case changes cannot be kept
            offload_to_cpu: for PyTorch's sake
            with_grads: must be off

        Raises:
            NotImplementedError: ``with_grads``, or ``rank0_only`` with ``writeback``
        """
        if with_grads:
            raise NotImplementedError("summon_full_params(with_grads=True) is not supported")
        if rank0_only and writeback:
            raise NotImplementedError("rank0_only=True and writeback=True together are not supported: changes of one process would be lost")
        every = FullyShardedDataParallel.fsdp_modules(module)
        chosen = [each for each in every if (recurse or each is module) and not each.__dict__.get("_summoned", False)]
        whole = [each._summon() for each in chosen]
        try:
            yield
        finally:
            for each, parameters in zip(chosen, whole):
                each._dismiss(parameters, writeback)

    def _summon(self) -> list[Parameter]:
        flat = self._flat
        if flat is None:
            return []
        self._state.register_pieces()
        tensors = flat.gather(flat.leaves)
        needs = (
            [leaf.requires_grad for leaf in flat.leaves] if self._use_orig_params else [flat.leaves[0].requires_grad] * len(flat.entries)
        )
        whole = [Parameter(tensor, each) for tensor, each in zip(tensors, needs)]
        self._fsdp_wrapped_module._parameters.pop(_FLAT, None)
        for entry, parameter in zip(flat.entries, whole):
            entry.register(parameter)
        self.__dict__["_summoned"] = True
        return whole

    def _dismiss(self, whole: list[Parameter], writeback: bool) -> None:
        flat = self._flat
        if flat is None:
            return
        if writeback:
            current = [entry.places[0][0]._parameters[entry.places[0][1]] for entry in flat.entries]
            with flambeau.no_grad():
                for leaf, piece in zip(flat.leaves, flat.scatter(current)):
                    leaf.detach().copy_(piece)
                flambeau.flush()
        for entry in flat.entries:
            entry.restore()
        self._register_leaves()
        self.__dict__["_summoned"] = False

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, Parameter]]:
        """As ``Module.named_parameters``; while parameters are whole without the names of wrappers."""
        summoned = self.__dict__.get("_summoned", False)
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield (".".join(part for part in name.split(".") if part not in WRAPPED) if summoned else name), parameter

    def apply(self, fn: Callable[[Module], None]) -> FullyShardedDataParallel:
        """As ``Module.apply``, with whole parameters."""
        with FullyShardedDataParallel.summon_full_params(self):
            return super().apply(fn)

    # -- states ------------------------------------------------------------------------------------------------------------------

    @staticmethod
    def set_state_dict_type(
        module: Module, state_dict_type: StateDictType, state_dict_config: StateDictConfig | None = None,
        optim_state_dict_config: OptimStateDictConfig | None = None,
    ) -> StateDictSettings:  # fmt: skip
        """Say what the states of all wrapped parts are made of; what was set before."""
        found = FullyShardedDataParallel.fsdp_modules(module)
        before = FullyShardedDataParallel.get_state_dict_type(module)
        first, second = default_config(state_dict_type)
        for each in found:
            each._settings = StateDictSettings(state_dict_type, state_dict_config or first, optim_state_dict_config or second)
        return before

    @staticmethod
    def get_state_dict_type(module: Module) -> StateDictSettings:
        """What the states of the wrapped parts are made of."""
        found = FullyShardedDataParallel.fsdp_modules(module)
        return found[0]._settings if found else StateDictSettings()

    @staticmethod
    @contextmanager
    def state_dict_type(
        module: Module, state_dict_type: StateDictType, state_dict_config: StateDictConfig | None = None,
        optim_state_dict_config: OptimStateDictConfig | None = None,
    ) -> Iterator[None]:  # fmt: skip
        """A context in which the states of all wrapped parts are made of whole tensors, of flat pieces, or of distributed tensors."""
        found = FullyShardedDataParallel.fsdp_modules(module)
        before = [each._settings for each in found]
        FullyShardedDataParallel.set_state_dict_type(module, state_dict_type, state_dict_config, optim_state_dict_config)
        try:
            yield
        finally:
            for each, settings in zip(found, before):
                each._settings = settings

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """The state, as ``state_dict_type`` says. All processes call it."""
        return whole_state(self, destination, prefix)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take a state as ``state_dict`` gives. All processes call it."""
        return load_state(self, state_dict, strict)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        begin_load(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    optim_state_dict = staticmethod(optimizer_state.optim_state_dict)
    optim_state_dict_to_load = staticmethod(optimizer_state.optim_state_dict_to_load)
    full_optim_state_dict = staticmethod(optimizer_state.full_optim_state_dict)
    shard_full_optim_state_dict = staticmethod(optimizer_state.shard_full_optim_state_dict)


def _power_sum(gradients: list[Tensor], order: float) -> Tensor:
    if order == float("inf"):
        largest = [each.detach().abs().amax().float() for each in gradients if each.numel()]
        return flambeau.stack(largest).amax() if largest else flambeau.tensor(0.0)
    sums = [(each.detach().float().abs() ** order).sum() for each in gradients if each.numel()]
    return flambeau.stack(sums).sum() if sums else flambeau.tensor(0.0)


def _groups(process_group: Any, mesh: DeviceMesh | None, strategy: ShardingStrategy) -> tuple[Any, Any]:
    """Those that share out, and those that have the same piece."""
    if strategy in _HYBRID:
        if mesh is not None and mesh.ndim == 2:
            return mesh.get_group(1), mesh.get_group(0)
        if isinstance(process_group, (tuple, list)) and len(process_group) == 2:
            return member(process_group[0]), member(process_group[1])
        if mesh is None and process_group is None:
            size = distributed.get_world_size()
            local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
            made = DeviceMesh("cpu", numpy.arange(size).reshape(-1, local))
            return made.get_group(1), made.get_group(0)
        raise ValueError(
            f"{strategy.name} takes a device_mesh of two dimensions, or two process groups: those that share, and the replicas"
        )
    if mesh is not None and mesh.ndim != 1:
        raise ValueError(f"{strategy.name} takes a device_mesh of one dimension, not {mesh}")
    group = member(mesh.get_group() if mesh is not None else process_group)
    if strategy is ShardingStrategy.NO_SHARD:
        return distributed.new_group([distributed.get_rank()], use_local_synchronization=True), group
    return group, None


def _ignored(modules: Iterable[Module] | None, states: Iterable[Any] | None) -> set[int]:
    """The ids of what stays as it is: parameters, buffers, and modules with all within."""
    found: set[int] = set()
    for each in [*(modules or ()), *(states or ())]:
        if isinstance(each, Module):
            found.update(id(part) for part in each.modules())
            found.update(map(id, [*each.parameters(), *each.buffers()]))
        else:
            found.add(id(each))
    return found


def _own_entries(module: Module, ignored: set[int]) -> tuple[list[Entry], list[Parameter]]:
    """The parameters that no wrapped part has."""
    if isinstance(module, FullyShardedDataParallel):
        return [], []
    found = own_parameters([module], lambda part: isinstance(part, FullyShardedDataParallel), ignored)
    return [Entry(places, parameter) for places, parameter in found], [parameter for _, parameter in found]
