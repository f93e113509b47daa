"""`torch.autograd.profiler.profile`: a profile that can be turned off, and shows itself as a table."""

from __future__ import annotations

from typing import Any

from flambeau.profiler.profile import profile as _profile

__all__ = ["profile"]


class profile(_profile):
    """As `flambeau.profiler.profile`, without schedules.

    Args:
        enabled: whether anything is recorded
        use_cpu, use_device, use_kineto, record_shapes, with_stack, with_modules, others: for PyTorch's sake
        profile_memory, with_flops: see there
    """

    def __init__(
        self, enabled: bool = True, *, use_cuda: bool = False, use_device: str | None = None, record_shapes: bool = False, with_flops: bool = False,
        profile_memory: bool = False, with_stack: bool = False, with_modules: bool = False, use_kineto: bool = True, use_cpu: bool = True, **others: Any,
    ) -> None:  # fmt: skip
        super().__init__(profile_memory=profile_memory, with_flops=with_flops)
        self.enabled = enabled

    def __enter__(self) -> profile:
        if self.enabled:
            self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.enabled:
            self.stop()

    def __str__(self) -> str:
        return self.table() if self.enabled else "None"
