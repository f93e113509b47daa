"""``fully_shard``: a module whose parameters are distributed tensors, cut along their first dimension, that are whole while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.fsdp.state import NO_COPY, Entry, State, own_parameters
from flambeau.distributed.fsdp.unit import Unit
from flambeau.distributed.tensor.dtensor import DTensor, local_of, wrap
from flambeau.distributed.tensor.placement_types import Replicate, Shard
from flambeau.distributed.tensor.spec import DTensorSpec
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = [
    "CPUOffloadPolicy", "FSDPModule", "MixedPrecisionPolicy", "OffloadPolicy", "UnshardHandle", "fully_shard", "register_fsdp_forward_method",
]  # fmt: skip


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """In which dtypes a sharded module computes.

    Attributes:
        param_dtype: of the parameters while they are whole; their own, by default. The pieces keep theirs.
        reduce_dtype: of the gradients while they are reduced; ``param_dtype``, by default
        output_dtype: of what forward returns
        cast_forward_inputs: whether floating-point inputs of forward become ``param_dtype``
    """

    param_dtype: Any = None
    reduce_dtype: Any = None
    output_dtype: Any = None
    cast_forward_inputs: bool = True


@dataclass
class OffloadPolicy:
    """Where parameters and gradients are kept: where they are."""


@dataclass
class CPUOffloadPolicy(OffloadPolicy):
    """Keep pieces in the CPU's memory, where everything is."""

    pin_memory: bool = True


class UnshardHandle:
    """What ``FSDPModule.unshard(async_op=True)`` returns; the parameters are there already."""

    def wait(self) -> None:
        """Return at once."""


class FSDPModule:
    """What ``fully_shard`` makes of a module: its class is one of this and of what it was."""

    _fsdp_state: State

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is FSDPModule:
            raise TypeError("FSDPModule is what fully_shard(module) makes of a module; it cannot be made by itself")
        original = next(each for each in cls.__mro__ if not issubclass(each, FSDPModule))
        return original(*args, **kwargs)  # a sharded list of layers, sliced, is a list

    def __deepcopy__(self, memo: dict) -> Any:
        raise AssertionError(NO_COPY)

    def _states(self, recurse: bool) -> Iterator[State]:
        for module in self.modules() if recurse else [self]:
            if isinstance(module, FSDPModule):
                yield module._fsdp_state

    def unshard(self, async_op: bool = False) -> UnshardHandle | None:
        """Gather the parameters of this module (not of those within that are sharded themselves) until ``reshard()``."""
        state = self._fsdp_state
        state.unshard()
        state.explicit = True
        return UnshardHandle() if async_op else None

    def reshard(self) -> None:
        """Give up the whole parameters of this module."""
        state = self._fsdp_state
        state.explicit = False
        if state.gathered is not None:
            flambeau.flush()
            state.register_pieces()

    def set_requires_gradient_sync(self, requires_gradient_sync: bool, *, recurse: bool = True) -> None:
        """Whether backward passes reduce gradients, or add them up, whole in each process, until one does."""
        for state in self._states(recurse):
            state.unit.syncs = requires_gradient_sync

    def set_requires_all_reduce(self, requires_all_reduce: bool, *, recurse: bool = True) -> None:
        """For a mesh of replicas and shards the same as ``set_requires_gradient_sync``: gradients are added up until both reductions come."""
        for state in self._states(recurse):
            state.unit.reduces_replicas = requires_all_reduce

    def set_reshard_after_forward(self, reshard_after_forward: bool, recurse: bool = True) -> None:
        """Whether memory is given up between forward and backward."""
        for state in self._states(recurse):
            state.reshard = reshard_after_forward

    def set_reshard_after_backward(self, reshard_after_backward: bool, *, recurse: bool = True) -> None:
        """Whether memory is given up as soon as gradients are there, or with the graph."""
        for state in self._states(recurse):
            state.unit.releases_after_backward = reshard_after_backward

    def set_gradient_divide_factor(self, factor: float) -> None:
        """Divide summed gradients by this, instead of by the number of processes."""
        self._fsdp_state.unit.divide_by = factor

    set_reduce_scatter_divide_factor = set_gradient_divide_factor

    def set_is_last_backward(self, is_last_backward: bool) -> None:
        """For PyTorch's sake: nothing is left over from one pass to the next."""

    def set_modules_to_forward_prefetch(self, modules: list) -> None:
        """For PyTorch's sake: parameters are gathered when they are needed."""

    def set_modules_to_backward_prefetch(self, modules: list) -> None:
        """For PyTorch's sake: parameters are gathered when they are needed."""

    def set_unshard_in_backward(self, unshard_in_backward: bool) -> None:
        """For PyTorch's sake: parameters are gathered when they are needed."""

    def set_post_optim_event(self, event: Any) -> None:
        """For PyTorch's sake: there are no streams."""


def fully_shard(
    module: Any, *, mesh: DeviceMesh | None = None, reshard_after_forward: bool | int | None = None,
    shard_placement_fn: Callable[[Parameter], Shard | None] | None = None, mp_policy: MixedPrecisionPolicy | None = None,
    offload_policy: OffloadPolicy | None = None, ignored_params: set[Parameter] | None = None,
) -> Any:  # fmt: skip
    """Share out the parameters of a module among processes (Zhao et al. 2023, arXiv:2304.11277), in place.

    They become distributed tensors that are cut along the first dimension. While the module's forward, or its part of the backward pass, runs they
    are whole; their gradients are averaged over the processes, of which each keeps its piece. Modules within that are sharded
    already keep their own: shard the layers first, and then the model.

    Args:
        module: a module, or a list of modules that are gathered together
        mesh: the processes: in a row, or in two dimensions (replicas, shards); all, by default. Parameters may be distributed tensors already,
            on another dimension of the same mesh (tensor parallelism): ``fully_shard(model, mesh=mesh["dp"])``
        reshard_after_forward: whether memory is given up between forward and backward; yes for all but the outermost module, by default
        shard_placement_fn: must give ``Shard(0)`` or ``None``
        mp_policy: in which dtypes it computes
        offload_policy: for PyTorch's sake; everything is in the CPU's memory
        ignored_params: parameters that stay as they are

    Returns:
        The module, which is an ``FSDPModule`` now.

    Raises:
        ValueError: the mesh has more than two dimensions, or a module is sharded already
        NotImplementedError: a parameter is to be cut along another dimension, or has none
    """
    modules = list(module) if isinstance(module, (list, tuple)) else [module]
    mesh = distributed.init_device_mesh("cpu", (distributed.get_world_size(),)) if mesh is None else mesh
    if mesh.ndim > 2:
        raise ValueError(f"fully_shard expects a 1D or 2D DeviceMesh but got {mesh}")
    for each in modules:
        if isinstance(each, FSDPModule):
            raise ValueError(f"fully_shard was called with this {type(each).__name__} already")
        if isinstance(each, (flambeau.nn.ModuleList, flambeau.nn.ModuleDict)) and type(each).forward is Module.forward:
            raise ValueError(f"fully_shard does not support containers that do not implement forward: {type(each).__name__}")
    entries = _shared_out(modules, mesh, set(map(id, ignored_params or ())), shard_placement_fn)
    policy = mp_policy or MixedPrecisionPolicy()
    shards = mesh.ndim - 1
    unit = Unit(
        lambda: [local_of(entry.parameter) for entry in entries], [entry.shape for entry in entries], mesh.get_group(shards),
        mesh.get_group(0) if shards else None,
    )  # fmt: skip
    unit.param_dtype, unit.reduce_dtype = policy.param_dtype, policy.reduce_dtype
    state = State(entries, unit, reshard_after_forward, lambda whole: [entry.view(each) for entry, each in zip(entries, whole)])
    state.input_dtype, state.output_dtype = policy.param_dtype if policy.cast_forward_inputs else None, policy.output_dtype
    state.nested = lambda: list(modules[0]._states(recurse=True))
    for each in modules:
        cls = type(each)
        each.__class__ = type(f"FSDP{cls.__name__}", (FSDPModule, cls), {"__module__": cls.__module__})
        each._fsdp_state = state
    modules[0].register_forward_pre_hook(lambda part, args, kwargs: state.before(args, kwargs), prepend=True, with_kwargs=True)
    modules[-1].register_forward_hook(lambda part, args, output: state.after(output))
    return module


def _shared_out(modules: list[Module], mesh: DeviceMesh, ignored: set[int], placement: Callable | None) -> list[_Entry]:
    """Make the parameters distributed that no module within has as its own."""
    entries = []
    for places, parameter in own_parameters(modules, lambda part: isinstance(part, FSDPModule), ignored):
        if parameter.dim() == 0:
            raise NotImplementedError(f"fully_shard: parameter {places[0][1]!r} has no dimensions: name it in ignored_params")
        wanted = placement(parameter) if placement is not None else None
        if wanted not in (None, Shard(0)):
            raise NotImplementedError(f"fully_shard: parameter {places[0][1]!r} is to be {wanted!r}; parameters are cut along dimension 0")
        sharded = sharded_parameter(parameter, mesh)
        for part, name in places:
            part._parameters[name] = sharded
        entries.append(_Entry(places, parameter))
    return entries


class _Entry(Entry):
    """A parameter, which may have been distributed before, for tensor parallelism; then what is gathered is a piece of that."""

    def __init__(self, places: list[tuple[Module, str]], parameter: Parameter) -> None:
        self.spec = parameter._spec if isinstance(parameter, DTensor) else None
        super().__init__(places, local_of(parameter) if isinstance(parameter, DTensor) else parameter)

    def view(self, tensor: Tensor) -> Tensor:
        """What was gathered, as the parameter was before."""
        return tensor if self.spec is None else wrap(tensor, self.spec)


def _both(mesh: DeviceMesh, other: DeviceMesh) -> DeviceMesh:
    """The mesh of which two are parts; what is cut along the second one is cut again along the first.

    Raises:
        ValueError: they are not two dimensions of one mesh
    """
    parent = mesh._parent
    if parent is None or parent != other._parent or mesh.ndim != 1 or other.ndim != 1:
        raise ValueError(
            f"a parameter that lies on {other} is shared out over {mesh}: both have to be parts of one mesh with named dimensions, such as "
            'mesh["dp"] and mesh["tp"]'
        )
    names = (*(other.mesh_dim_names or ()), *(mesh.mesh_dim_names or ()))
    return parent[names]


def sharded_parameter(parameter: Parameter, mesh: DeviceMesh) -> Parameter:
    """A parameter as a distributed tensor, of which this process keeps some rows of its own."""
    if isinstance(parameter, DTensor):
        local, spec = local_of(parameter).detach(), parameter._spec
        start, end = Shard(0).bounds(local.shape[0], mesh.size())[mesh.get_local_rank()]
        whole = DTensorSpec(_both(mesh, spec.mesh), (*spec.placements, Shard(0)), spec.shape)
        return Parameter(wrap(local[start:end].clone(), whole), parameter.requires_grad)
    shards = mesh.ndim - 1
    start, end = Shard(0).bounds(parameter.shape[0], mesh.size(shards))[mesh.get_local_rank(shards)]
    piece = parameter.detach()[start:end].clone(memory_format=flambeau.contiguous_format)
    flambeau.flush()
    placements = (*[Replicate()] * shards, Shard(0))
    made = Parameter(wrap(piece, DTensorSpec(mesh, placements, parameter.shape)), parameter.requires_grad)
    made.__dict__.update({name: value for name, value in parameter.__dict__.items() if not name.startswith("_")})
    return made


def register_fsdp_forward_method(module: Module, method_name: str) -> None:
    """Let a method of a sharded module have whole parameters as ``forward`` has; others than sharded modules stay as they are.

    Raises:
        ValueError: there is no such method
    """
    if not hasattr(module, method_name):
        raise ValueError(f"{type(module)} does not have a method {method_name}")
    if not isinstance(module, FSDPModule):
        return
    method, state = getattr(module, method_name), module._fsdp_state

    def with_whole_parameters(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = state.before(args, kwargs)
        return state.after(method(*args, **kwargs))

    setattr(module, method_name, with_whole_parameters)
