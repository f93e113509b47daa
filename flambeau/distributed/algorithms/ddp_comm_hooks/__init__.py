"""How gradients may be exchanged in other ways than by the average (``DistributedDataParallel.register_comm_hook``)."""

from __future__ import annotations

from enum import Enum
from typing import Any

from flambeau.distributed.algorithms.ddp_comm_hooks import debugging_hooks as debugging_hooks
from flambeau.distributed.algorithms.ddp_comm_hooks import default_hooks as default_hooks
from flambeau.distributed.algorithms.ddp_comm_hooks import post_localSGD_hook as post_localSGD_hook
from flambeau.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as powerSGD_hook
from flambeau.distributed.algorithms.ddp_comm_hooks import quantization_hooks as quantization_hooks

__all__ = ["DDPCommHookType", "register_ddp_comm_hook"]


class DDPCommHookType(Enum):
    """The hooks by name, each with the rank of its matrices, if it has some."""

    ALLREDUCE = default_hooks.allreduce_hook, None
    FP16_COMPRESS = default_hooks.fp16_compress_hook, None
    BF16_COMPRESS = default_hooks.bf16_compress_hook, None
    QUANTIZE_PER_TENSOR = quantization_hooks.quantization_pertensor_hook, None
    QUANTIZE_PER_CHANNEL = quantization_hooks.quantization_perchannel_hook, None
    POWER_SGD = powerSGD_hook.powerSGD_hook, 1
    POWER_SGD_RANK2 = powerSGD_hook.powerSGD_hook, 2
    BATCHED_POWER_SGD = powerSGD_hook.batched_powerSGD_hook, 1
    BATCHED_POWER_SGD_RANK2 = powerSGD_hook.batched_powerSGD_hook, 2
    NOOP = debugging_hooks.noop_hook, None


def register_ddp_comm_hook(comm_hook_type: DDPCommHookType, model: Any, state: Any = None) -> None:
    """Have a hook exchange a model's gradients.

    Args:
        comm_hook_type: which
        model: a ``DistributedDataParallel``
        state: the processes; all, by default
    """
    hook, rank = comm_hook_type.value
    model.register_comm_hook(state if rank is None else powerSGD_hook.PowerSGDState(state, rank), hook)
