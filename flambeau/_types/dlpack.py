"""The devices of DLPack, the protocol by which libraries hand arrays to one another."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["DLDeviceType"]


class DLDeviceType(IntEnum):
    """Kinds of devices, by the numbers that DLPack gives them: the first of what ``__dlpack_device__`` returns."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17
