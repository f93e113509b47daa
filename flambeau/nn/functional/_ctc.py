"""Connectionist temporal classification: the likelihood of a label sequence under every alignment with the inputs."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._ops.ctc import CTC, IMPOSSIBLE
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import reduction_code, shape_text


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Computes the connectionist temporal classification loss (Graves et al. 2006).

    Args:
        log_probs: (T, N, C) or (T, C).
        targets: (N, S), or all targets one after the other.
        input_lengths: (N), how many of the T steps count.
        target_lengths: (N), how long each target is.
        blank: the class that stands for no label.
        reduction: ``"none"``, ``"mean"`` (each loss divided by its target's length first) or ``"sum"``.
        zero_infinity: whether infinite losses and their gradients count as zero.

    Raises:
        RuntimeError: the shapes or lengths do not fit.
    """
    reduction_code(reduction)
    batched = log_probs.dim() == 3
    if not batched:
        if log_probs.dim() != 2:
            raise RuntimeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), got shape {shape_text(log_probs)}")
        log_probs = log_probs.unsqueeze(1)
    inputs, lengths = _lengths(input_lengths), _lengths(target_lengths)
    steps, batch, classes = log_probs.shape
    _check(steps, batch, classes, inputs, lengths, blank)
    rows = _rows(targets, lengths, blank, batch).to(flambeau.int64)
    loss = CTC(log_probs, rows, flambeau.tensor(inputs), flambeau.tensor(lengths), statics=(blank,))[0]
    # PyTorch's gradient is that of the logits: it has exp(log_probs) in it, which a log_softmax before would take out again.
    inside = flambeau.arange(steps).unsqueeze(1) < flambeau.tensor(inputs)
    total = log_probs.exp().sum(2).masked_fill(~inside, 0.0).sum(0)
    loss = loss + (total - total.detach())
    loss = loss.masked_fill(loss.detach() > -IMPOSSIBLE / 2, 0.0 if zero_infinity else float("inf"))
    if reduction == "mean":
        return (loss / flambeau.tensor([max(length, 1) for length in lengths], dtype=loss.dtype)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if batched else loss.squeeze(0)


def _lengths(values: Any) -> list[int]:
    """Lengths, which decide what is computed, as numbers."""
    values = values.tolist() if isinstance(values, Tensor) else values
    return [int(value) for value in (values if isinstance(values, (list, tuple)) else (values,))]


def _check(steps: int, batch: int, classes: int, inputs: list[int], lengths: list[int], blank: int) -> None:
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range: 0 <= blank (={blank}) < {classes}")
    for name, values in (("input_lengths", inputs), ("target_lengths", lengths)):
        if len(values) != batch:
            raise RuntimeError(f"{name} must be of size batch_size: got {len(values)} for {batch} samples")
        if any(value < 0 for value in values):
            raise RuntimeError(f"Expected {name} to be non-negative, got {values}")
    if max(inputs) > steps:
        raise RuntimeError(f"Expected input_lengths to have value at most {steps}, but got value {max(inputs)}")


def _rows(targets: Tensor, lengths: list[int], blank: int, batch: int) -> Tensor:
    """The targets as (N, S)."""
    longest = max(lengths)
    if targets.dim() == 1 and batch == 1 and targets.size(0) == longest:
        return targets.unsqueeze(0)
    if targets.dim() == 1:
        if sum(lengths) != targets.size(0):
            raise RuntimeError(f"Expected target_lengths to sum to {targets.size(0)} (the size of targets), got {sum(lengths)}")
        parts = targets.split(lengths)
        return flambeau.stack([flambeau.constant_pad_nd(part, (0, longest - length), blank) for part, length in zip(parts, lengths)])
    if targets.size(1) < longest:
        raise RuntimeError(f"Expected tensor targets to have size at least {longest} at dimension 1, but got shape {shape_text(targets)}")
    return targets
