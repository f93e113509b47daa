"""Modules that PyTorch has under further paths: what is imported as `torch.profiler.profiler` is here `flambeau.profiler`."""

from __future__ import annotations

__all__ = ["PARENTS", "PATHS"]

_TO = {
    "accelerator": "accelerator.memory",
    "ao.nn.intrinsic.quantized": "ao.nn.intrinsic.quantized.dynamic.modules ao.nn.intrinsic.quantized.dynamic.modules.linear_relu",
    "ao.nn.qat.dynamic": "ao.nn.qat.dynamic.modules ao.nn.qat.dynamic.modules.linear",
    "autograd.anomaly": "autograd.anomaly_mode",
    "cpu.amp": "cpu.amp.autocast_mode cpu.amp.grad_scaler",
    "cuda": "cuda.memory cuda.random cuda.streams",
    "cuda.amp": "cuda.amp.autocast_mode cuda.amp.grad_scaler",
    "distributed.device_mesh": "distributed.tensor.device_mesh",
    "distributed.rpc": "distributed.rpc.api",
    "fx.traceback": "fx.annotate",
    "masked.maskedtensor": "masked.maskedtensor.core masked.maskedtensor.creation",
    "multiprocessing": "multiprocessing.pool multiprocessing.queue",
    "nn.intrinsic": "nn.intrinsic.modules nn.intrinsic.modules.fused",
    "nn.intrinsic.qat": "nn.intrinsic.qat.modules nn.intrinsic.qat.modules.conv_fused nn.intrinsic.qat.modules.linear_fused nn.intrinsic.qat.modules.linear_relu",
    "nn.intrinsic.quantized": "nn.intrinsic.quantized.modules nn.intrinsic.quantized.modules.bn_relu nn.intrinsic.quantized.modules.conv_relu "
    "nn.intrinsic.quantized.modules.linear_relu",
    "nn.qat": "nn.qat.modules nn.qat.modules.conv nn.qat.modules.embedding_ops nn.qat.modules.linear",
    "nn.quantized": "nn.quantized.modules nn.quantized.modules.conv nn.quantized.modules.embedding_ops nn.quantized.modules.functional_modules "
    "nn.quantized.modules.linear nn.quantized.modules.normalization",
    "nn.quantized.dynamic": "nn.quantized.dynamic.modules nn.quantized.dynamic.modules.linear nn.quantized.dynamic.modules.rnn",
    "profiler": "autograd.profiler_util profiler.profiler",
    "signal.windows": "signal.windows.windows",
    "utils.benchmark": "utils.benchmark.utils utils.benchmark.utils.common utils.benchmark.utils.compare utils.benchmark.utils.fuzzer "
    "utils.benchmark.utils.sparse_fuzzer",
}

PATHS: dict[str, str] = {path: target for target, paths in _TO.items() for path in paths.split()}
"""The module that each of these paths names."""
PARENTS = frozenset([path.rpartition(".")[0] for path in PATHS])
"""What has to be a package for that."""
