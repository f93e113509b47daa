"""A softmax over many classes, of which most are rare."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn.modules.container import ModuleList, Sequential
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """The log-probability of the target's class, with frequent classes in a short list and rare ones in clusters.

    The head knows the frequent classes and one class for each cluster; a cluster's classes are computed for those samples alone
    whose target lies in it, from fewer and fewer features (Grave et al. 2016, arXiv:1609.04309).

    Args:
        in_features: the size of the inputs.
        n_classes: how many classes there are, sorted by falling frequency.
        cutoffs: where the short list and the clusters but the last end.
        div_value: by what the features of each cluster shrink.
        head_bias: whether the head has a bias.
        device: where the parameters lie.
        dtype: their dtype.

    Shape:
        input (N, in_features) or (in_features) and target (N) or () to ``output``, the log-probabilities (N) or (), and
        ``loss``, the mean of their negatives.

    Raises:
        ValueError: the cutoffs are not rising integers from 1 to ``n_classes - 1``.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        rising = cutoffs == sorted(set(cutoffs)) and all(int(cutoff) == cutoff for cutoff in cutoffs)
        if not rising or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is between 1 "
                f"and n_classes-1 (={n_classes - 1}), got {cutoffs}"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i, (first, end) in enumerate(pairwise(self.cutoffs)):
            size = int(in_features // div_value ** (i + 1))
            narrow = Linear(in_features, size, bias=False, **options)
            self.tail.append(Sequential(narrow, Linear(size, end - first, bias=False, **options)))

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        if target_.dim() not in (0, 1) or input_.dim() != target_.dim() + 1:
            raise RuntimeError(
                f"{target_.dim()}D target tensor expects {target_.dim() + 1}D input tensors, but found inputs with size {input_.size()}: "
                "give (N, in_features) with target (N), or (in_features) with target ()"
            )
        batched = target_.dim() == 1
        input = input_ if batched else input_.unsqueeze(0)
        target = target_ if batched else target_.unsqueeze(0)
        if input.size(0) != target.size(0):
            raise RuntimeError(
                f"Input and target should have the same size in the batch dimension, got {input.size(0)} and {target.size(0)}."
            )
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= self.n_classes:
            raise RuntimeError(f"Target values should be in [0, {self.n_classes - 1}], but values in range [{low}, {high}] were found. ")
        # For targets in a cluster the head's class is the cluster's.
        head_class = target
        output = input.new_zeros(target.size(0))
        for i, (first, end) in enumerate(pairwise(self.cutoffs)):
            inside = (target >= first) & (target < end)
            rows = inside.nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            head_class = head_class.masked_fill(inside, self.shortlist_size + i)
            log_probs = flambeau.log_softmax(self.tail[i](input.index_select(0, rows)), 1)
            within = (target.index_select(0, rows) - first).unsqueeze(1)
            output = output.index_copy(0, rows, log_probs.gather(1, within).squeeze(1))
        head = flambeau.log_softmax(self.head(input), 1)
        output = output + head.gather(1, head_class.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities (N, n_classes) of all classes."""
        head = flambeau.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            parts.append(flambeau.log_softmax(cluster(input), 1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return flambeau.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most likely class of each sample, (N). Clusters are looked at for those samples alone that need it."""
        output = self.head(input).argmax(1)
        rare = (output >= self.shortlist_size).nonzero().squeeze(1)
        if rare.numel():
            output = output.index_copy(0, rare, self.log_prob(input.index_select(0, rare)).argmax(1))
        return output
