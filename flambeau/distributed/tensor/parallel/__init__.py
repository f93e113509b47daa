"""Tensor parallelism: layers whose weights are shared out among processes, that compute together."""

from __future__ import annotations

from flambeau.distributed.tensor.parallel.api import parallelize_module as parallelize_module
from flambeau.distributed.tensor.parallel.loss import loss_parallel as loss_parallel
from flambeau.distributed.tensor.parallel.style import ColwiseParallel as ColwiseParallel
from flambeau.distributed.tensor.parallel.style import ParallelStyle as ParallelStyle
from flambeau.distributed.tensor.parallel.style import PrepareModuleInput as PrepareModuleInput
from flambeau.distributed.tensor.parallel.style import PrepareModuleInputOutput as PrepareModuleInputOutput
from flambeau.distributed.tensor.parallel.style import PrepareModuleOutput as PrepareModuleOutput
from flambeau.distributed.tensor.parallel.style import RowwiseParallel as RowwiseParallel
from flambeau.distributed.tensor.parallel.style import SequenceParallel as SequenceParallel

__all__ = [
    "ColwiseParallel", "ParallelStyle", "PrepareModuleInput", "PrepareModuleInputOutput", "PrepareModuleOutput", "RowwiseParallel", "SequenceParallel",
    "loss_parallel", "parallelize_module",
]  # fmt: skip
