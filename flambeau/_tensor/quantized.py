"""What ordinary tensors have to do with quantized ones: they say that they are none."""

from __future__ import annotations

from typing import Any

from flambeau._tape.storage import TensorBase


class QuantizedMethods(TensorBase):
    """The methods of ``flambeau.Tensor`` that concern quantized tensors (``flambeau/ao/tensors/``)."""

    __slots__ = ()

    def dequantize(self) -> Any:
        """The tensor as float32."""
        return self.float()


def _refusing(name: str, text: str) -> Any:
    def refuse(self: TensorBase) -> Any:
        raise NotImplementedError(f"{name}() is of quantized tensors, and this one is {self.layout.dtype!r}; see torch.quantize_per_tensor")

    refuse.__name__, refuse.__qualname__, refuse.__doc__ = name, f"Tensor.{name}", text
    return refuse


for _name, _text in {
    "int_repr": "The integers of a quantized tensor.",
    "q_per_channel_axis": "The dimension of the channels of a tensor that is quantized per channel.",
    "q_per_channel_scales": "The scale of each channel of a tensor that is quantized per channel.",
    "q_per_channel_zero_points": "The zero point of each channel of a tensor that is quantized per channel.",
    "q_scale": "The scale of a tensor that is quantized as a whole.",
    "q_zero_point": "The zero point of a tensor that is quantized as a whole.",
    "qscheme": "The quantization scheme of a quantized tensor.",
}.items():
    setattr(QuantizedMethods, _name, _refusing(_name, _text))
