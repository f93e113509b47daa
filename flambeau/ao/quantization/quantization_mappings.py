"""Which layer becomes which."""

from __future__ import annotations

import copy
from typing import Any

from flambeau import nn
from flambeau.ao.nn import intrinsic as nni
from flambeau.ao.nn import qat as nnqat
from flambeau.ao.nn import quantized as nnq
from flambeau.ao.nn.intrinsic import qat as nniqat
from flambeau.ao.nn.intrinsic import quantized as nniq
from flambeau.ao.nn.intrinsic.quantized import dynamic as nniqd
from flambeau.ao.nn.qat import dynamic as nnqatd
from flambeau.ao.nn.quantized import dynamic as nnqd
from flambeau.ao.quantization.fake_quantize import (
    default_fixed_qparams_range_0to1_fake_quant,
    default_fixed_qparams_range_neg1to1_fake_quant,
)
from flambeau.ao.quantization.stubs import DeQuantStub, QuantStub

__all__ = [
    "get_default_dynamic_quant_module_mappings", "get_default_qat_module_mappings", "get_default_qconfig_propagation_list",
    "get_default_static_quant_module_mappings", "get_dynamic_quant_module_class", "get_embedding_qat_module_mappings", "get_embedding_static_quant_module_mappings",
    "get_static_quant_module_class", "no_observer_set",
]  # fmt: skip

_NonDynamic = nn.modules.linear.NonDynamicallyQuantizableLinear

STATIC: dict[Any, Any] = {
    QuantStub: nnq.Quantize, DeQuantStub: nnq.DeQuantize,
    **{getattr(nn, name): getattr(nnq, name) for name in (
        "BatchNorm2d", "BatchNorm3d", "Dropout", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "ELU", "Embedding", "EmbeddingBag",
        "GroupNorm", "Hardswish", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm", "LeakyReLU", "Linear", "ReLU6", "PReLU",
    )},
    _NonDynamic: nnq.Linear, nnq.FloatFunctional: nnq.QFunctional,
    **{getattr(nni, name): getattr(nniq, name) for name in nniq.__all__},
    **{getattr(nniqat, f"ConvBn{rank}d"): getattr(nnq, f"Conv{rank}d") for rank in (1, 2, 3)},
    **{getattr(nniqat, f"ConvBnReLU{rank}d"): getattr(nniq, f"ConvReLU{rank}d") for rank in (1, 2, 3)},
    **{getattr(nniqat, f"ConvReLU{rank}d"): getattr(nniq, f"ConvReLU{rank}d") for rank in (1, 2, 3)},
    nniqat.LinearReLU: nniq.LinearReLU, nniqat.LinearBn1d: nnq.Linear, nnqat.Linear: nnq.Linear, nnqat.Conv1d: nnq.Conv1d, nnqat.Conv2d: nnq.Conv2d, nnqat.Conv3d: nnq.Conv3d,
}  # fmt: skip
"""Float layers and layers that were trained with rounding, and the quantized ones."""

EMBEDDINGS: dict[Any, Any] = {nnqat.Embedding: nnq.Embedding, nnqat.EmbeddingBag: nnq.EmbeddingBag}

QAT: dict[Any, Any] = {
    nn.Conv2d: nnqat.Conv2d, nn.Conv3d: nnqat.Conv3d, nn.Linear: nnqat.Linear, _NonDynamic: nnqat.Linear, nni.LinearReLU: nniqat.LinearReLU, nni.LinearBn1d: nniqat.LinearBn1d,
    **{getattr(nni, name): getattr(nniqat, name) for name in ("ConvBn1d", "ConvBn2d", "ConvBn3d", "ConvBnReLU1d", "ConvBnReLU2d", "ConvBnReLU3d", "ConvReLU2d", "ConvReLU3d")},
}  # fmt: skip
"""Float layers, and those that are trained with rounding."""

DYNAMIC: dict[Any, Any] = {
    nn.Linear: nnqd.Linear, _NonDynamic: nnqd.Linear, nnqatd.Linear: nnqd.Linear, nn.LSTM: nnqd.LSTM, nn.GRU: nnqd.GRU, nn.LSTMCell: nnqd.LSTMCell, nn.GRUCell: nnqd.GRUCell,
    nn.RNNCell: nnqd.RNNCell, nni.LinearReLU: nniqd.LinearReLU, nn.EmbeddingBag: nnq.EmbeddingBag, nn.Embedding: nnq.Embedding,
}  # fmt: skip
"""Float layers, and those with quantized weights whose inputs are quantized when they come."""

FIXED: dict[Any, Any] = {
    nn.Hardsigmoid: default_fixed_qparams_range_0to1_fake_quant,
    nn.Sigmoid: default_fixed_qparams_range_0to1_fake_quant,
    nn.Softmax: default_fixed_qparams_range_0to1_fake_quant,
    nn.Tanh: default_fixed_qparams_range_neg1to1_fake_quant,
}
"""Layers whose range is known, and what rounds their results in training."""


def no_observer_set() -> set[Any]:
    """Layers that are never observed: none here."""
    return set()


def get_default_static_quant_module_mappings() -> dict[Any, Any]:
    """What ``convert`` makes of which layer."""
    return copy.copy(STATIC)


def get_default_dynamic_quant_module_mappings() -> dict[Any, Any]:
    """What ``quantize_dynamic`` makes of which layer."""
    return copy.copy(DYNAMIC)


def get_default_qat_module_mappings() -> dict[Any, Any]:
    """What ``prepare_qat`` makes of which layer."""
    return copy.copy(QAT)


def get_embedding_static_quant_module_mappings() -> dict[Any, Any]:
    """``get_default_static_quant_module_mappings`` with tables that were trained with rounding."""
    return {**STATIC, **EMBEDDINGS}


def get_embedding_qat_module_mappings() -> dict[Any, Any]:
    """``get_default_qat_module_mappings`` with tables."""
    return {**QAT, nn.EmbeddingBag: nnqat.EmbeddingBag, nn.Embedding: nnqat.Embedding}


def get_default_qconfig_propagation_list() -> set[Any]:
    """The layers that are observed."""
    return STATIC.keys() | DYNAMIC.keys() | QAT.keys() | set(QAT.values()) | {nn.Sequential}


def _found(mapping: dict[Any, Any], more: dict[Any, Any] | None, cls: Any, kind: str) -> Any:
    found = {**mapping, **(more or {})}.get(cls)
    if found is None:
        raise AssertionError(f"{cls} has no quantized form ({kind})")
    return copy.deepcopy(found)


def get_static_quant_module_class(
    float_module_class: Any, additional_static_quant_mapping: dict[Any, Any] | None = None, is_reference: bool = False
) -> Any:
    """The quantized layer of a float one.

    Raises:
        AssertionError: there is none.
    """
    if is_reference:
        raise NotImplementedError("reference quantized modules are not implemented")
    return _found(STATIC, additional_static_quant_mapping, float_module_class, "static")


def get_dynamic_quant_module_class(float_module_class: Any, additional_dynamic_quant_mapping: dict[Any, Any] | None = None) -> Any:
    """The dynamically quantized layer of a float one.

    Raises:
        AssertionError: there is none.
    """
    return _found(DYNAMIC, additional_dynamic_quant_mapping, float_module_class, "dynamic")
