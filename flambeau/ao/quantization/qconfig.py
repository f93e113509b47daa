"""``QConfig``: which observer a layer's results get, and which its weight."""

from __future__ import annotations

from collections import namedtuple
from functools import partial
from typing import Any

import flambeau
from flambeau import nn
from flambeau.ao.quantization import fake_quantize as fake
from flambeau.ao.quantization import presets
from flambeau.ao.quantization.histogram import HistogramObserver
from flambeau.ao.quantization.observer_classes import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    NoopObserver,
    PlaceholderObserver,
    ReuseInputObserver,
    _PartialWrapper,
)

__all__ = [
    "QConfig", "QConfigDynamic", "default_activation_only_qconfig", "default_debug_qconfig", "default_dynamic_qat_qconfig", "default_dynamic_qconfig",
    "default_embedding_qat_qconfig", "default_per_channel_qconfig", "default_per_channel_symmetric_qnnpack_qat_qconfig", "default_per_channel_symmetric_qnnpack_qconfig",
    "default_qat_qconfig", "default_qat_qconfig_v2", "default_qconfig", "default_quint8_weight_qconfig", "default_reuse_input_qconfig",
    "default_symmetric_qnnpack_qat_qconfig", "default_symmetric_qnnpack_qconfig", "default_weight_only_qconfig", "float16_dynamic_qconfig", "float16_static_qconfig",
    "float_qparams_weight_only_qconfig", "get_default_qat_qconfig", "get_default_qconfig", "per_channel_dynamic_qconfig", "qconfig_equals",
]  # fmt: skip

BACKENDS = ("fbgemm", "x86", "qnnpack", "onednn")


class QConfig(namedtuple("QConfig", ["activation", "weight"])):
    """Which observer a layer's results get, and which its weight: classes, or what makes instances (``Observer.with_args(…)``).

    Raises:
        ValueError: one of them is an instance.
    """

    __slots__ = ()

    def __new__(cls, activation: Any, weight: Any) -> QConfig:
        if isinstance(activation, nn.Module) or isinstance(weight, nn.Module):
            raise ValueError(
                "QConfig holds classes of observers, not observers: every layer makes one of its own; Observer.with_args(x=1) is a class with arguments given"
            )
        return super().__new__(cls, activation, weight)


class QConfigDynamic(namedtuple("QConfigDynamic", ["activation", "weight"])):
    """``QConfig`` by its old name for dynamic quantization."""

    __slots__ = ()

    def __new__(cls, activation: Any = nn.Identity, weight: Any = nn.Identity) -> QConfigDynamic:
        if isinstance(weight, nn.Module):
            raise ValueError(
                "QConfigDynamic holds classes of observers, not observers: every layer makes one of its own; Observer.with_args(x=1) is a class with arguments given"
            )
        return super().__new__(cls, activation, weight)


default_qconfig = QConfig(activation=presets.default_observer, weight=presets.default_weight_observer)
default_debug_qconfig = QConfig(activation=presets.default_debug_observer, weight=presets.default_weight_observer)
default_per_channel_qconfig = QConfig(activation=presets.default_observer, weight=presets.default_per_channel_weight_observer)
default_dynamic_qconfig = QConfig(activation=presets.default_dynamic_quant_observer, weight=presets.default_weight_observer)
float16_dynamic_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=flambeau.float16, is_dynamic=True),
    weight=PlaceholderObserver.with_args(dtype=flambeau.float16),
)
float16_static_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=flambeau.float16), weight=PlaceholderObserver.with_args(dtype=flambeau.float16)
)
per_channel_dynamic_qconfig = QConfig(activation=presets.default_dynamic_quant_observer, weight=presets.default_per_channel_weight_observer)
float_qparams_weight_only_qconfig = QConfig(activation=presets.default_placeholder_observer, weight=presets.default_float_qparams_observer)
default_quint8_weight_qconfig = QConfig(activation=HistogramObserver, weight=MinMaxObserver)
default_qat_qconfig = QConfig(activation=fake.default_fake_quant, weight=fake.default_weight_fake_quant)
default_dynamic_qat_qconfig = QConfig(activation=fake.default_dynamic_fake_quant, weight=fake.default_weight_fake_quant)
default_weight_only_qconfig = QConfig(activation=nn.Identity, weight=fake.default_weight_fake_quant)
default_activation_only_qconfig = QConfig(activation=fake.default_fake_quant, weight=nn.Identity)
default_qat_qconfig_v2 = QConfig(activation=fake.default_fused_act_fake_quant, weight=fake.default_fused_wt_fake_quant)
default_reuse_input_qconfig = QConfig(activation=ReuseInputObserver, weight=NoopObserver)
default_embedding_qat_qconfig = QConfig(activation=NoopObserver.with_args(dtype=flambeau.float32), weight=fake.default_embedding_fake_quant)
_qnnpack_activation = HistogramObserver.with_args(dtype=flambeau.qint8, reduce_range=False, eps=2**-12)
default_symmetric_qnnpack_qconfig = QConfig(activation=_qnnpack_activation, weight=presets.weight_observer_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    activation=_qnnpack_activation, weight=presets.per_channel_weight_observer_range_neg_127_to_127
)
_qnnpack_rounded = fake.FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=flambeau.qint8, reduce_range=False, eps=2**-12
)  # fmt: skip
default_symmetric_qnnpack_qat_qconfig = QConfig(activation=_qnnpack_rounded, weight=fake.fused_wt_fake_quant_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_qnnpack_rounded, weight=fake.fused_per_channel_wt_fake_quant_range_neg_127_to_127
)


def _check_backend(backend: str, version: int, versions: tuple[int, ...], name: str) -> None:
    if backend not in BACKENDS:
        raise AssertionError(f"backend: {backend} not supported, expected one of {', '.join(BACKENDS)}")
    if version not in versions:
        raise AssertionError(f"version (={version}) of {name} must be one of {', '.join(map(str, versions))}")


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The observers for a network that is quantized after training.

    Args:
        backend: ``"x86"``, ``"fbgemm"``, ``"onednn"`` (weights per channel) or ``"qnnpack"`` (weights as a whole); the first two use half of
            the range for activations
        version: 0

    Raises:
        AssertionError: there is no such backend or version.
    """
    _check_backend(backend, version, (0,), "get_default_qconfig")
    weight = presets.default_weight_observer if backend == "qnnpack" else presets.default_per_channel_weight_observer
    return QConfig(activation=HistogramObserver.with_args(reduce_range=backend in ("x86", "fbgemm")), weight=weight)


def get_default_qat_qconfig(backend: str = "x86", version: int | None = 1) -> QConfig:
    """What rounds in a network that is trained with rounding; backends as in ``get_default_qconfig``.

    Args:
        version: 1, where observing and rounding are one operator, or 0

    Raises:
        AssertionError: there is no such backend or version.
    """
    version = 0 if version is None else version
    _check_backend(backend, version, (0, 1), "get_default_qat_qconfig")
    cls = fake.FusedMovingAvgObsFakeQuantize if version else fake.FakeQuantize
    options = {} if backend == "onednn" else {"reduce_range": backend in ("x86", "fbgemm")}
    activation = cls.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, **options)
    if backend == "qnnpack":
        weight = fake.default_fused_wt_fake_quant if version else fake.default_weight_fake_quant
    else:
        weight = fake.default_fused_per_channel_wt_fake_quant if version else fake.default_per_channel_weight_fake_quant
    return QConfig(activation=activation, weight=weight)


def qconfig_equals(q1: Any, q2: Any) -> bool:
    """Whether two configurations (or ``None``) make the same observers with the same arguments."""
    if q1 is None or q2 is None:
        return q1 is q2
    return _same(q1.activation, q2.activation) and _same(q1.weight, q2.weight)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, _PartialWrapper) and isinstance(other, _PartialWrapper):
        return _same(one.p, other.p)
    if isinstance(one, partial) and isinstance(other, partial):
        return one.func == other.func and one.args == other.args and one.keywords.keys() == other.keywords.keys() and all(
            _same(value, other.keywords[name]) for name, value in one.keywords.items()
        )  # fmt: skip
    return bool(one == other)
