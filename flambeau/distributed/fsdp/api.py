"""Settings of ``FullyShardedDataParallel``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from flambeau.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "BackwardPrefetch", "CPUOffload", "FullOptimStateDictConfig", "FullStateDictConfig", "LocalOptimStateDictConfig", "LocalStateDictConfig", "MixedPrecision",
    "OptimStateDictConfig", "ShardedOptimStateDictConfig", "ShardedStateDictConfig", "ShardingStrategy", "StateDictConfig", "StateDictSettings", "StateDictType",
]  # fmt: skip


class ShardingStrategy(Enum):
    """What is shared out.

    ``FULL_SHARD``: parameters, gradients and the optimizer's state. ``SHARD_GRAD_OP``: parameters stay whole between forward and backward.
    ``NO_SHARD``: nothing, gradients are averaged. ``HYBRID_SHARD`` and ``_HYBRID_SHARD_ZERO2``: the first two within groups of processes, between
    which gradients are averaged.
    """

    FULL_SHARD = auto()
    SHARD_GRAD_OP = auto()
    NO_SHARD = auto()
    HYBRID_SHARD = auto()
    _HYBRID_SHARD_ZERO2 = auto()


class BackwardPrefetch(Enum):
    """When parameters are gathered in a backward pass; here when they are needed."""

    BACKWARD_PRE = auto()
    BACKWARD_POST = auto()


@dataclass
class MixedPrecision:
    """In which dtypes a sharded module computes.

    Attributes:
        param_dtype: of the parameters while they are whole
        reduce_dtype: of the gradients while they are reduced; ``param_dtype``, by default
        buffer_dtype: of the buffers
        keep_low_precision_grads: must be off
        cast_forward_inputs, cast_root_forward_inputs: whether floating-point inputs of every sharded module, or of the outermost, become ``param_dtype``
    """

    param_dtype: Any = None
    reduce_dtype: Any = None
    buffer_dtype: Any = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True
    _module_classes_to_ignore: Sequence[type] = (_BatchNorm,)


@dataclass
class CPUOffload:
    """Whether pieces are kept in the CPU's memory, where everything is."""

    offload_params: bool = False


class StateDictType(Enum):
    """What a state is made of: whole tensors, this process's flat piece, or distributed tensors."""

    FULL_STATE_DICT = auto()
    LOCAL_STATE_DICT = auto()
    SHARDED_STATE_DICT = auto()


@dataclass
class StateDictConfig:
    """Settings of states; everything is in the CPU's memory."""

    offload_to_cpu: bool = False


@dataclass
class FullStateDictConfig(StateDictConfig):
    """Settings of states of whole tensors: ``rank0_only``, whether the others get an empty one."""

    rank0_only: bool = False


@dataclass
class LocalStateDictConfig(StateDictConfig):
    """Settings of states of flat pieces."""


@dataclass
class ShardedStateDictConfig(StateDictConfig):
    """Settings of states of distributed tensors."""

    _use_dtensor: bool = False


@dataclass
class OptimStateDictConfig:
    """Settings of optimizers' states; everything is in the CPU's memory."""

    offload_to_cpu: bool = True


@dataclass
class FullOptimStateDictConfig(OptimStateDictConfig):
    """Settings of optimizers' states of whole tensors: ``rank0_only``, whether the others get an empty one."""

    rank0_only: bool = False


@dataclass
class LocalOptimStateDictConfig(OptimStateDictConfig):
    """Settings of optimizers' states of flat pieces."""

    offload_to_cpu: bool = False


@dataclass
class ShardedOptimStateDictConfig(OptimStateDictConfig):
    """Settings of optimizers' states of distributed tensors."""

    _use_dtensor: bool = False


@dataclass
class StateDictSettings:
    """What states are made of, and their settings."""

    state_dict_type: StateDictType = StateDictType.FULL_STATE_DICT
    state_dict_config: StateDictConfig = field(default_factory=FullStateDictConfig)
    optim_state_dict_config: OptimStateDictConfig = field(default_factory=FullOptimStateDictConfig)
