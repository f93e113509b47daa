"""``HistogramObserver``: chooses the range that loses least of what passed, by the histogram of it."""

from __future__ import annotations

import warnings
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._types.dtype import dtype as DType
from flambeau._types.quantized import qscheme
from flambeau.ao.quantization.observer_classes import EPS, UniformQuantizationObserverBase
from flambeau.ao.tensors.tensor import rounded

__all__ = ["HistogramObserver"]

_FINER = 16
"""A histogram is spread over a new range with this many pieces of each bin."""
_STEP = 1e-5
"""By which share of all elements the search cuts off more at an end."""


class HistogramObserver(UniformQuantizationObserverBase):
    """From a histogram of all that passed it chooses the range whose rounding and clipping have the least squared error.

    Args:
        bins: of the histogram

    Attributes:
        histogram: (bins), how many elements were in each
        min_val, max_val: its ends

    Source: https://docs.pytorch.org/docs/2.13/generated/torch.ao.quantization.observer.HistogramObserver.html
    """

    histogram: Tensor
    min_val: Tensor
    max_val: Tensor

    def __init__(
        self,
        bins: int = 2048,
        dtype: DType = flambeau.quint8,
        qscheme: qscheme = flambeau.per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: Any = None,
        eps: float = EPS,
        is_dynamic: bool = False,
        **kwargs: Any,
    ) -> None:
        if qscheme not in (flambeau.per_tensor_affine, flambeau.per_tensor_symmetric):
            raise NotImplementedError(
                f"HistogramObserver: qscheme must be torch.per_tensor_affine or torch.per_tensor_symmetric, got {qscheme!r}"
            )
        if is_dynamic:
            raise NotImplementedError("HistogramObserver doesn't support dynamic quantization")
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, **kwargs)
        self.bins = bins
        self.register_buffer("histogram", flambeau.zeros(bins))
        self.register_buffer("min_val", flambeau.tensor(float("inf")))
        self.register_buffer("max_val", flambeau.tensor(float("-inf")))
        self.dst_nbins = 2 ** (8 * dtype.itemsize)
        self.upsample_rate = _FINER

    def forward(self, x_orig: Tensor) -> Tensor:
        x = x_orig.detach()
        if x.numel() and bool(x.isinf().any()):
            warnings.warn("torch.inf detected in input tensor, ignoring input", stacklevel=2)
            x = x[~x.isinf()]
        if not x.numel():
            return x_orig
        least, most = flambeau.aminmax(x.to(self.min_val.dtype))
        before, after = self.min_val.item(), self.max_val.item()
        if before == float("inf") or after == float("-inf"):
            low, high = least.item(), most.item()
            self._set(flambeau.histc(x, self.bins, min=low, max=high), low, high)
            return x_orig
        low, high = min(before, least.item()), max(after, most.item())
        found = flambeau.histc(x, self.bins, min=low, max=high)
        self._set(found + (self.histogram if (low, high) == (before, after) else self._spread(before, after, low, high)), low, high)
        return x_orig

    def _set(self, histogram: Tensor, low: float, high: float) -> None:
        self.histogram.copy_(histogram)
        self.min_val.fill_(low)
        self.max_val.fill_(high)

    def _spread(self, before: float, after: float, low: float, high: float) -> Tensor:
        """The histogram over a wider range: each piece of a bin goes where its middle is."""
        if before == after:
            return flambeau.histc(self.min_val, self.bins, min=low, max=high) * self.histogram.sum()
        pieces = self.histogram.repeat_interleave(_FINER) / _FINER
        width = (self.max_val - self.min_val) / (self.bins * _FINER)
        middles = flambeau.linspace(before, after, self.bins * _FINER + 1)[:-1] + 0.5 * width
        place = flambeau.bucketize(middles, flambeau.linspace(low, high, self.bins + 1), right=True) - 1
        return flambeau.bincount(place.clamp(0, self.bins - 1), weights=pieces, minlength=self.bins)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, (1) each, for the range with the least error."""
        if self.min_val.item() == float("inf") and self.max_val.item() == float("-inf"):
            warnings.warn(
                "nothing was observed, so that scale 1 and zero point 0 are returned: run the observer on some inputs first", stacklevel=2
            )
            return flambeau.tensor([1.0]), flambeau.tensor([0])
        if len(self.histogram) != self.bins:
            raise AssertionError(f"the histogram has {len(self.histogram)} bins, and must have {self.bins}")
        return self._calculate_qparams(*self._best_range())

    def _best_range(self) -> tuple[Tensor, Tensor]:
        """The range from which no cut at an end, of as few elements as the search goes on by, takes error away."""
        counts = self.histogram.cumsum(0).tolist()
        total = self.histogram.sum().item()
        start, end = 0, self.bins - 1
        cut_below, cut_above = 0.0, 1.0
        least = float("inf")
        while cut_below < cut_above:
            more_below, more_above = cut_below + _STEP, cut_above - _STEP
            left, right = start, end
            below, above = rounded(more_below * total), rounded(more_above * total)  # float32, as the counts are
            while left < end and counts[left] < below:
                left += 1
            while right > start and counts[right] > above:
                right -= 1
            if left - start > end - right:
                candidate = left, end
                cut_below = more_below
            else:
                candidate = start, right
                cut_above = more_above
            if candidate == (start, end):
                continue
            error = self._error(*candidate)
            if error > least:
                break
            least = error
            start, end = candidate
        width = (self.max_val - self.min_val) / self.bins
        return self.min_val + width * start, self.min_val + width * (end + 1)

    def _error(self, start: int, end: int) -> float:
        """The squared error if the bins from ``start`` to ``end`` are the range.

        The elements of a bin count as evenly spread over it. A bin reaches over at most a few of the numbers that the range has, and from each
        of these the error is the integral of the squared distance.
        """
        width = (self.max_val.item() - self.min_val.item()) / self.bins
        step = width * (end - start + 1) / self.dst_nbins
        if step == 0.0:
            return 0.0
        begins = (flambeau.arange(self.bins) - start) * width
        ends = begins + width
        first, last = (flambeau.div(each, step, rounding_mode="floor").clamp(0, self.dst_nbins - 1) for each in (begins, ends))
        density = self.histogram / width
        half = step / 2
        cube = flambeau.tensor(half) ** 3
        squares = density * (cube - (begins - (first + 0.5) * step) ** 3) / 3
        squares = squares + (last - first - 1) * (density * (cube + cube) / 3)
        squares = squares + density * ((ends - (last * step + half)) ** 3 + cube) / 3
        return squares.sum().item()

    def reset_histogram(self, x: Tensor, min_val: Tensor, max_val: Tensor) -> None:
        """Begin with the histogram of a tensor."""
        low, high = float(min_val), float(max_val)
        self._set(flambeau.histc(x, self.bins, min=low, max=high), low, high)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"
