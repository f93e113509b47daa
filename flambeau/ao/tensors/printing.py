"""The text of a quantized tensor, as PyTorch writes it."""

from __future__ import annotations

from flambeau._tensor.printing import get_printoptions
from flambeau.ao.tensors.tensor import QuantizedTensor


def text(tensor: QuantizedTensor) -> str:
    """``tensor([…], size=…, dtype=…, quantization_scheme=…, scale=…, zero_point=…)``."""
    shown = repr(tensor.dequantize())
    shown = shown.rpartition(", dtype=")[0] + ")" if "dtype=" in shown else shown
    shown = shown.rpartition(", size=")[0] + ")" if tensor.numel() == 0 and "size=" in shown else shown
    suffixes = [f"size={tuple(tensor.shape)}", f"dtype={tensor.dtype!r}", f"quantization_scheme={tensor.qscheme()!r}"]
    if tensor._grid.axis is None:
        suffixes += [f"scale={tensor.q_scale()}", f"zero_point={tensor.q_zero_point()}"]
    else:
        scales, zero_points = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        suffixes += [f"scale={scales!r}", f"zero_point={zero_points!r}", f"axis={tensor.q_per_channel_axis()}"]
    return _joined(shown[:-1], suffixes)


def _joined(shown: str, suffixes: list[str]) -> str:
    width = get_printoptions()["linewidth"]
    line = len(shown) - shown.rfind("\n") + 1
    for suffix in suffixes:
        if line + len(suffix) + 2 > width:
            shown += f",\n       {suffix}"
            line = 7 + len(suffix)
        else:
            shown += f", {suffix}"
            line += len(suffix) + 2
    return shown + ")"
