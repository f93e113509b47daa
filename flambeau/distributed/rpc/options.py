"""How the processes of an RPC group find each other, and how long they wait."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from flambeau import device as Device
from flambeau.distributed.rpc import constants

__all__ = ["BackendType", "RpcBackendOptions", "TensorPipeRpcBackendOptions"]


class BackendType(Enum):
    """The ways in which processes call each other; there is Flambeau's own, which answers to PyTorch's name."""

    TENSORPIPE = "TENSORPIPE"


class RpcBackendOptions:
    """Settings of ``init_rpc``.

    Args:
        rpc_timeout: seconds that a call may take if it does not say; 0 for any time
        init_method: where to meet, as in ``init_process_group``
    """

    def __init__(self, rpc_timeout: float = constants.DEFAULT_RPC_TIMEOUT_SEC, init_method: str = constants.DEFAULT_INIT_METHOD) -> None:
        if rpc_timeout < 0:
            raise ValueError(f"rpc_timeout must not be negative, but is {rpc_timeout}")
        self.rpc_timeout, self.init_method = float(rpc_timeout), init_method


class TensorPipeRpcBackendOptions(RpcBackendOptions):
    """Settings of ``init_rpc``.

    Args:
        num_worker_threads: how many functions may run at a time for other processes; one that waits for a call of its own does not count
        rpc_timeout: seconds that a call may take if it does not say; 0 for any time
        init_method: where to meet, as in ``init_process_group``
        device_maps, devices: for PyTorch's sake; there is the CPU

    Raises:
        ValueError: there is no thread, a timeout is negative, or a device is none of ours
    """

    def __init__(
        self,
        *,
        num_worker_threads: int = constants.DEFAULT_NUM_WORKER_THREADS,
        rpc_timeout: float = constants.DEFAULT_RPC_TIMEOUT_SEC,
        init_method: str = constants.DEFAULT_INIT_METHOD,
        device_maps: dict[str, dict] | None = None,
        devices: Sequence[Any] | None = None,
        _transports: Any = None,
        _channels: Any = None,
    ) -> None:
        super().__init__(rpc_timeout, init_method)
        if num_worker_threads < 1:
            raise ValueError(f"num_worker_threads must be positive, but is {num_worker_threads}")
        self.num_worker_threads = num_worker_threads
        self.device_maps: dict[str, dict] = {}
        for name, mapping in (device_maps or {}).items():
            self.set_device_map(name, mapping)
        self.set_devices(devices or [])

    def set_device_map(self, to: str, device_map: dict) -> None:
        """Say on which device of another process tensors arrive: on its CPU."""
        self.device_maps[to] = {_cpu(source): _cpu(target) for source, target in device_map.items()}

    def set_devices(self, devices: Sequence[Any]) -> None:
        """Say which devices are used: the CPU."""
        self.devices = [_cpu(each) for each in devices]


def _cpu(given: Any) -> Device:
    found = Device(given)
    if found.type != "cpu":
        raise ValueError(f"tensors are sent from CPU to CPU, and {given!r} is something else: leave it out")
    return found
