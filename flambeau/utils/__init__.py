"""Utilities: datasets and loaders (``data``), logging for TensorBoard (``tensorboard``), checkpoints. Each is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PARTS = (
    "_device", "_python_dispatch", "_pytree", "benchmark", "bottleneck", "checkpoint", "collect_env", "cpp_extension", "data", "deterministic", "dlpack", "flop_counter", "hooks",
    "mobile_optimizer", "model_zoo", "module_tracker", "serialization", "show_pickle", "tensorboard", "throughput_benchmark", "weak",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"{__name__}.{name}")
    if name == "swap_tensors":
        from flambeau.utils._swap import swap_tensors

        return swap_tensors
    if name == "ThroughputBenchmark":
        from flambeau.utils.throughput_benchmark import ThroughputBenchmark

        return ThroughputBenchmark
    if name == "set_module":
        from flambeau.utils._names import set_module

        return set_module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_PARTS, "ThroughputBenchmark", "set_module", "swap_tensors"])
