"""Connectionist temporal classification: the likelihood of a label sequence under every alignment with the inputs."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.functional._common import reduction_code, shape_text

# Stands for log 0: with -∞ the gradient of a sum of nothing would not be a number.
_IMPOSSIBLE = -1e30


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
    labels = _labels(targets, lengths, blank, batch)
    loss = _negative_log_likelihood(log_probs, labels, inputs, lengths, blank)
    # PyTorch's gradient is that of the logits: it has exp(log_probs) in it, which a log_softmax before would take out again.
    inside = flambeau.tensor([[t < length for length in inputs] for t in range(steps)])
    total = log_probs.exp().sum(2).masked_fill(~inside, 0.0).sum(0)
    loss = loss + (total - total.detach())
    loss = loss.masked_fill(loss.detach() > -_IMPOSSIBLE / 2, 0.0 if zero_infinity else float("inf"))
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


def _labels(targets: Tensor, lengths: list[int], blank: int, batch: int) -> Tensor:
    """The targets with blanks around every label: (N, 2 S + 1), filled up with blanks."""
    longest = max(lengths)
    if targets.dim() == 1 and batch == 1 and targets.size(0) == longest:
        rows = targets.unsqueeze(0)
    elif targets.dim() == 1:
        if sum(lengths) != targets.size(0):
            raise RuntimeError(f"Expected target_lengths to sum to {targets.size(0)} (the size of targets), got {sum(lengths)}")
        parts = targets.split(lengths)
        rows = flambeau.stack([flambeau.constant_pad_nd(part, (0, longest - length), blank) for part, length in zip(parts, lengths)])
    else:
        if targets.size(1) < longest:
            raise RuntimeError(
                f"Expected tensor targets to have size at least {longest} at dimension 1, but got shape {shape_text(targets)}"
            )
        rows = targets[:, :longest]
    blanks = flambeau.full_like(rows, blank)
    pairs = flambeau.stack((blanks, rows), -1).reshape(rows.size(0), -1)
    return flambeau.constant_pad_nd(pairs, (0, 1), blank)


def _negative_log_likelihood(log_probs: Tensor, labels: Tensor, inputs: list[int], lengths: list[int], blank: int) -> Tensor:
    """-log of the sum over all alignments, by the forward recursion over time."""
    steps = log_probs.size(0)
    width = labels.size(1)
    # (T, N, 2 S + 1): how likely each label is at each step.
    emitted = log_probs.clamp_min(_IMPOSSIBLE).gather(2, labels.unsqueeze(0).expand(steps, -1, -1).to(flambeau.int64))
    # A label may follow the last but one directly, without a blank between, if the two differ.
    differs = flambeau.constant_pad_nd((labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank), (2, 0), False)
    alpha = flambeau.constant_pad_nd(emitted[0, :, : min(2, width)], (0, max(width - 2, 0)), _IMPOSSIBLE)
    for step, length in _after_first(emitted, inputs):
        one = flambeau.constant_pad_nd(alpha[:, :-1], (1, 0), _IMPOSSIBLE)
        two = flambeau.constant_pad_nd(alpha[:, :-2], (2, 0), _IMPOSSIBLE).masked_fill(~differs, _IMPOSSIBLE)
        new = flambeau.logsumexp(flambeau.stack((alpha, one, two)), 0) + step
        alpha = new if length is None else flambeau.where(length, new, alpha)
    last = flambeau.tensor([[2 * length, max(2 * length - 1, 0)] for length in lengths], dtype=flambeau.int64)
    ends = alpha.gather(1, last)
    only_blanks = flambeau.tensor([[False, length == 0] for length in lengths])
    return -flambeau.logsumexp(ends.masked_fill(only_blanks, _IMPOSSIBLE), 1)


def _after_first(emitted: Tensor, inputs: list[int]) -> Any:
    """The steps after the first, each with the samples that are that long (``None`` where all are)."""
    for t in range(1, max(inputs)):
        going = [t < length for length in inputs]
        yield emitted[t], None if all(going) else flambeau.tensor(going).unsqueeze(-1)
