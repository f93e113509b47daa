"""Connectionist temporal classification (Graves et al. 2006): one operator for the recursion over time, and one for its gradient.

Written with elementwise operators the recursion is some ten records a step, which compile for seconds where there are many steps. Here
all samples of a step are a dozen calls of NumPy.
Logarithms of probabilities are float64 whatever the dtype is, as sums of many small terms need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau._ops.linalg.host import on_host
from flambeau._ops.operator import Operator
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.layout import Layout

if TYPE_CHECKING:
    from flambeau._tensor.tensor import Tensor

IMPOSSIBLE = -1e30
"""Stands for log 0: a difference of two infinities would not be a number."""

SMALLEST = -700.0
"""The logarithm of what is nothing beside 1: smaller ones are 50 times as slow to take the exponential of, for it is no normal number."""


class _Lattice:
    """What both directions need: the labels with blanks around each, how likely each is at each step, and which may follow the last but one."""

    def __init__(self, log_probs: np.ndarray, targets: np.ndarray, lengths: np.ndarray, blank: int) -> None:
        batch, longest = targets.shape
        labels = np.full((batch, 2 * longest + 1), blank, np.int64)
        labels[:, 1::2] = np.where(np.arange(longest) < lengths[:, None], targets, blank)
        index = np.broadcast_to(labels, (len(log_probs), *labels.shape))
        self.labels = labels
        self.emitted = np.maximum(np.take_along_axis(log_probs, index, 2).astype(np.float64), IMPOSSIBLE)
        jumps = (labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank)
        self.forbidden = np.where(jumps, 0.0, IMPOSSIBLE)
        """To be added to a way that skips a blank."""


def _log_of_sum(ways: np.ndarray) -> np.ndarray:
    """log of the sum of three likelihoods (``np.logaddexp`` takes four times as long, for it goes through elements one by one)."""
    largest = ways.max(0)
    terms = ways - largest
    np.maximum(terms, SMALLEST, out=terms)
    np.exp(terms, out=terms)
    total = terms[0]
    total += terms[1]
    total += terms[2]
    np.log(total, out=total)
    total += largest
    return total


def _forward(
    log_probs: np.ndarray, targets: np.ndarray, inputs: np.ndarray, lengths: np.ndarray, blank: int
) -> tuple[np.ndarray, np.ndarray]:
    """-log of the likelihood of each target, and alpha: log of that of its first labels at the first steps."""
    lattice = _Lattice(log_probs, targets, lengths, blank)
    alpha = np.full_like(lattice.emitted, IMPOSSIBLE)
    alpha[0, :, :2] = lattice.emitted[0, :, :2]
    ways = np.full((3, *alpha.shape[1:]), IMPOSSIBLE)
    for step in range(1, len(alpha)):
        before, now = alpha[step - 1], alpha[step]
        ways[0] = before
        ways[1, :, 1:] = before[:, :-1]
        np.add(before[:, :-2], lattice.forbidden, out=ways[2, :, 2:])
        np.add(_log_of_sum(ways), lattice.emitted[step], out=now)
    rows = np.arange(len(lengths))
    last = alpha[inputs - 1, rows]
    ends = last[rows, 2 * lengths], np.where(lengths > 0, last[rows, np.maximum(2 * lengths - 1, 0)], IMPOSSIBLE)
    return -np.logaddexp(*ends).astype(log_probs.dtype), alpha


def _backward(
    grad: np.ndarray, log_probs: np.ndarray, targets: np.ndarray, inputs: np.ndarray, lengths: np.ndarray, loss: np.ndarray, alpha: np.ndarray,
    blank: int,
) -> np.ndarray:  # fmt: skip
    """-grad times the probability of each class at each step, given the target."""
    lattice = _Lattice(log_probs, targets, lengths, blank)
    beta = np.full_like(alpha, IMPOSSIBLE)  # log of the likelihood of what comes after a step
    after = np.full_like(alpha[0], IMPOSSIBLE)
    ways = np.full((3, *alpha.shape[1:]), IMPOSSIBLE)
    ends: dict[int, list[int]] = {}
    for sample, step in enumerate((inputs - 1).tolist()):
        ends.setdefault(step, []).append(sample)
    for step in range(len(alpha) - 1, -1, -1):
        ways[0] = after
        ways[1, :, :-1] = after[:, 1:]
        np.add(after[:, 2:], lattice.forbidden, out=ways[2, :, :-2])
        beta[step] = _log_of_sum(ways)
        now = beta[step]
        for sample in ends.get(step, ()):
            now[sample] = IMPOSSIBLE
            now[sample, max(2 * lengths[sample] - 1, 0) : 2 * lengths[sample] + 1] = 0.0
        after = now + lattice.emitted[step]
    share = np.exp(np.clip(alpha + beta + loss.astype(np.float64)[:, None], SMALLEST, 0.0)) * -grad.astype(np.float64)[:, None]
    steps, batch, classes = log_probs.shape
    share[np.arange(steps)[:, None] >= inputs] = 0.0
    cells = (np.arange(steps * batch).reshape(steps, batch, 1) * classes + lattice.labels).reshape(-1)
    return np.bincount(cells, share.reshape(-1), steps * batch * classes).reshape(log_probs.shape).astype(log_probs.dtype)


def _infer(operands: tuple, statics: tuple) -> tuple[Layout, Layout]:
    log_probs, targets = operands[:2]
    steps, batch, _ = log_probs.shape
    return lay.contiguous((batch,), log_probs.dtype), lay.contiguous((steps, batch, 2 * targets.shape[1] + 1), dt.float64)


def _infer_backward(operands: tuple, statics: tuple) -> Layout:
    return lay.contiguous(operands[1].shape, operands[1].dtype)


_NAMES = ("log_probs", "targets", "inputs", "lengths")
CTC = Operator("_ctc_loss", _NAMES, ("blank",), infer=_infer, lower=on_host(_forward), grad_name="CtcLossBackward0")
"""-log of the likelihoods of ``targets`` (N, S), each of its length, given ``log_probs`` (T, N, C), each of its length, in int64."""
CTC_BACKWARD = Operator(
    "_ctc_loss_backward", ("cotangent", *_NAMES, "loss", "alpha"), ("blank",), infer=_infer_backward, lower=on_host(_backward)
)


def _gradient(
    grad0: Tensor, log_probs: Tensor, targets: Tensor, inputs: Tensor, lengths: Tensor, result0: Tensor, result1: Tensor, blank: int
) -> Tensor:
    return CTC_BACKWARD(grad0, log_probs, targets, inputs, lengths, result0, result1, statics=(blank,))


CTC.gradient(log_probs=_gradient)
