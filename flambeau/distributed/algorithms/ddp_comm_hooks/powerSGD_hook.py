"""PowerSGD: gradients that are sent as products of two thin matrices (Vogels, Karimireddy and Jaggi 2019, arXiv:1905.13727).

A gradient $M$ is read as a matrix. With a thin $Q$ from the step before, the processes average $P = MQ$, make its columns orthonormal, average
$Q = M^TP$, and take $PQ^T$ for the average of $M$. What is missing from it is added to the next step's gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

import flambeau
from flambeau import Tensor, distributed
from flambeau.distributed.algorithms.ddp_comm_hooks.default_hooks import average
from flambeau.distributed.world import member
from flambeau.futures import Future

__all__ = ["PowerSGDState", "batched_powerSGD_hook", "powerSGD_hook"]


class PowerSGDState:
    """Settings of PowerSGD, and what it remembers from step to step.

    Args:
        process_group: the processes; all, if ``None``
        matrix_approximation_rank: the number of columns of the thin matrices
        start_powerSGD_iter: how many steps send whole gradients before
        min_compression_rate: how many times smaller the thin matrices have to be, or else a gradient is sent as a whole
        use_error_feedback: whether what is missing from a gradient is added to the next
        warm_start: whether a step begins with the matrices of the step before, or with random ones
        orthogonalization_epsilon: is added to norms, if columns may be zero
        random_seed: for the random matrices, the same in all processes
        compression_stats_logging_frequency: for PyTorch's sake
        batch_tensors_with_same_shape: for PyTorch's sake; the results are the same

    Raises:
        ValueError: ``start_powerSGD_iter`` is below 2, though something is remembered
    """

    def __init__(
        self,
        process_group: Any,
        matrix_approximation_rank: int = 1,
        start_powerSGD_iter: int = 1000,
        min_compression_rate: float = 2,
        use_error_feedback: bool = True,
        warm_start: bool = True,
        orthogonalization_epsilon: float = 0,
        random_seed: int = 0,
        compression_stats_logging_frequency: int = 10_000,
        batch_tensors_with_same_shape: bool = False,
    ) -> None:
        if (use_error_feedback or warm_start) and start_powerSGD_iter <= 1:
            raise ValueError(
                f"Expect `start_powerSGD_iter` > 1 if `use_error_feedback` or `warm_start` is enabled, but it is {start_powerSGD_iter}"
            )
        self.process_group = process_group
        self.matrix_approximation_rank, self.min_compression_rate = matrix_approximation_rank, min_compression_rate
        self.start_powerSGD_iter = start_powerSGD_iter
        self.use_error_feedback, self.warm_start = use_error_feedback, warm_start
        self.orthogonalization_epsilon = orthogonalization_epsilon
        self.rng = numpy.random.RandomState(random_seed)
        self.error_dict: dict[int, Tensor] = {}
        self.q_memory_dict: dict[int, list[Tensor]] = {}
        self.iter = 0
        self.total_numel_before_compression = self.total_numel_after_compression = 0

    def maybe_increase_iter(self, bucket: Any) -> None:
        """Count the step, of which a bucket is the last."""
        if bucket.is_last():
            self.iter += 1

    def compression_stats(self) -> tuple[float, int, int]:
        """How many times fewer numbers were sent, how many there were, and how many were sent."""
        before, after = self.total_numel_before_compression, self.total_numel_after_compression
        return before / after if after else 0, before, after

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "process_group"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.process_group = None  # it is not saved: all processes


def powerSGD_hook(state: PowerSGDState, bucket: Any) -> Future[Tensor]:
    """The average of gradients: matrices by PowerSGD, and those that would not get smaller as a whole.

    Args:
        state: the settings
        bucket: the gradients
    """
    if state.iter < state.start_powerSGD_iter:
        state.maybe_increase_iter(bucket)
        return average(state.process_group, bucket.buffer())
    flat = _with_error(state, bucket, bucket.buffer())
    sizes = [each.shape for each in bucket.gradients()]
    parts = [part.view(size) for part, size in zip(flat.split([size.numel() for size in sizes]), sizes, strict=True)]
    small = [number for number, part in enumerate(parts) if not _shrinks(part, state)]
    found: dict[int, Tensor] = dict(zip(small, _mean_of_all(state, [parts[number] for number in small]), strict=True))
    chosen = [number for number in range(len(parts)) if number not in found]
    matrices = [parts[number].reshape(len(parts[number]), -1) for number in chosen]
    found.update(zip(chosen, _approximate(state, bucket.index(), matrices), strict=True))
    return _remember(state, bucket, flat, flambeau.cat([found[number].reshape(-1) for number in range(len(parts))]))


def batched_powerSGD_hook(state: PowerSGDState, bucket: Any) -> Future[Tensor]:
    """The average of gradients by PowerSGD, of one square matrix that holds all of them: faster than ``powerSGD_hook``, and less exact.

    Args:
        state: the settings
        bucket: the gradients
    """
    if state.iter < state.start_powerSGD_iter:
        state.maybe_increase_iter(bucket)
        return average(state.process_group, bucket.buffer())
    count = bucket.buffer().numel()
    side = int(numpy.ceil(numpy.sqrt(count)))
    flat = _with_error(state, bucket, flambeau.nn.functional.pad(bucket.buffer(), (0, side * side - count)))
    (found,) = _approximate(state, bucket.index(), [flat.view(side, side)])
    return _remember(state, bucket, flat, found.reshape(-1), count)


def _with_error(state: PowerSGDState, bucket: Any, flat: Tensor) -> Tensor:
    error = state.error_dict.get(bucket.index()) if state.use_error_feedback else None
    return flat if error is None else flat + error


def _remember(state: PowerSGDState, bucket: Any, flat: Tensor, found: Tensor, count: int | None = None) -> Future[Tensor]:
    if state.use_error_feedback:
        state.error_dict[bucket.index()] = flat - found
    state.maybe_increase_iter(bucket)
    future: Future[Tensor] = Future()
    future.set_result(found[:count])
    return future


def _shrinks(tensor: Tensor, state: PowerSGDState) -> bool:
    compressed = tensor.numel()
    if tensor.dim() >= 2:
        rows, columns = len(tensor), tensor.numel() // len(tensor)
        compressed = (rows + columns) * min(rows, columns, state.matrix_approximation_rank)
    shrinks = compressed * state.min_compression_rate < tensor.numel()
    state.total_numel_before_compression += tensor.numel()
    state.total_numel_after_compression += compressed if shrinks else tensor.numel()
    return shrinks


def _approximate(state: PowerSGDState, index: int, matrices: Sequence[Tensor]) -> list[Tensor]:
    """Products of thin matrices for the averages of matrices."""
    if not matrices:
        return []
    seconds = state.q_memory_dict.get(index) if state.warm_start else None
    if seconds is None:
        seconds = _random(state, matrices)
    seconds = [_orthonormal(each, state.orthogonalization_epsilon) for each in seconds]
    firsts = _mean_of_all(state, [matrix @ second for matrix, second in zip(matrices, seconds, strict=True)])
    firsts = [_orthonormal(each, state.orthogonalization_epsilon) for each in firsts]
    seconds = _mean_of_all(state, [matrix.t() @ first for matrix, first in zip(matrices, firsts, strict=True)])
    state.q_memory_dict[index] = seconds
    return [first @ second.t() for first, second in zip(firsts, seconds, strict=True)]


def _random(state: PowerSGDState, matrices: Sequence[Tensor]) -> list[Tensor]:
    """A thin random matrix for each matrix, the same in all processes."""
    generator = flambeau.Generator().manual_seed(int(state.rng.randint(1_000_000_000)))
    ranks = [min(*each.shape, state.matrix_approximation_rank) for each in matrices]
    return [flambeau.randn(each.size(1), rank, generator=generator, dtype=each.dtype) for each, rank in zip(matrices, ranks, strict=True)]


def _orthonormal(matrix: Tensor, epsilon: float) -> Tensor:
    """A matrix with orthonormal columns that span what those of another one do."""
    if not epsilon:
        return flambeau.linalg.qr(matrix)[0]
    columns: list[Tensor] = []
    for number in range(matrix.size(1)):
        column = matrix[:, number]
        for other in columns:
            column = column - (other @ column) * other
        columns.append(column / (column.norm() + epsilon))
    return flambeau.stack(columns, 1)


def _mean_of_all(state: PowerSGDState, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The averages of tensors over the processes, in one exchange."""
    if not tensors:
        return []
    group = member(state.process_group)
    flat = flambeau.cat([each.reshape(-1) for each in tensors]) / group.size()
    distributed.all_reduce(flat, group=group)
    return [part.view(each.shape) for part, each in zip(flat.split([each.numel() for each in tensors]), tensors, strict=True)]
