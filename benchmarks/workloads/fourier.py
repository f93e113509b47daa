"""Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

# function, shape, dtype, how many numbers its transforms are of
TRANSFORMS: dict[str, tuple[str, tuple[int, ...], str, int]] = {
    "fft of 1024 rows of 1024": ("fft", (1024, 1024), "complex64", 1024),
    "rfft of 1024 rows of 1024": ("rfft", (1024, 1024), "float32", 1024),
    "irfft of 1024 rows of 1024": ("irfft", (1024, 513), "complex64", 1024),
    "fft of 1024 rows of 1024, complex128": ("fft", (1024, 1024), "complex128", 1024),
    "fft of 1000 rows of 1000": ("fft", (1000, 1000), "complex64", 1000),
    "fft of 1000 rows of 1009": ("fft", (1000, 1009), "complex64", 1009),
    "fft of 16384 rows of 64": ("fft", (16384, 64), "complex64", 64),
    "fft of 2²⁰": ("fft", (1 << 20,), "complex64", 1 << 20),
    "fft2 of 512²": ("fft2", (512, 512), "complex64", 512 * 512),
    "fft2 of 1024²": ("fft2", (1024, 1024), "complex64", 1024 * 1024),
    "fft2 of 3 real images of 224²": ("fft2", (3, 224, 224), "float32", 224 * 224),
    "rfft2 of 3 images of 224²": ("rfft2", (3, 224, 224), "float32", 224 * 224),
    "fft of 64": ("fft", (64,), "complex64", 64),
    "fft of 256": ("fft", (256,), "complex64", 256),
}


def workloads() -> Iterator[Workload]:
    for name, (function, shape, dtype, size) in TRANSFORMS.items():
        flops = 5.0 * math.prod(shape) * math.log2(size)
        yield Workload("fourier", name, partial(transform, function=function, shape=shape, dtype=dtype), flops=flops)
    yield Workload("fourier", "stft of 10 s of speech", spectrogram)
    yield Workload("fourier", "istft of 10 s of speech", signal)


def transform(torch: ModuleType, function: str, shape: tuple[int, ...], dtype: str) -> Callable[[], Any]:
    values = torch.randn(*shape, dtype=getattr(torch, dtype))
    return lambda: getattr(torch.fft, function)(values)


def spectrogram(torch: ModuleType) -> Callable[[], Any]:
    samples, window = torch.randn(160_000), torch.hann_window(400)
    return lambda: torch.stft(samples, 400, 160, window=window, return_complex=True)


def signal(torch: ModuleType) -> Callable[[], Any]:
    window = torch.hann_window(400)
    frames = torch.stft(torch.randn(160_000), 400, 160, window=window, return_complex=True)
    return lambda: torch.istft(frames, 400, 160, window=window)
