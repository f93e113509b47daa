"""Discrete Fourier transforms: ``torch.fft``'s names. How they are computed stands in ``_ops/fourier.py``."""

from __future__ import annotations

from flambeau._ops import fourier
from flambeau._ops.autocast import in_float32
from flambeau._ops.refusals import guard

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn",
    "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

for _name in __all__:
    _function = getattr(fourier, _name)
    globals()[_name] = _function if "shift" in _name or "freq" in _name else in_float32(_function)

guard(*[globals()[_name] for _name in __all__])
