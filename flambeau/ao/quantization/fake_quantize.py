"""Modules that round to the numbers that integers will stand for later, so that training takes account of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.quantized import qscheme
from flambeau.ao.quantization.observer_classes import (
    SYMMETRIC,
    FixedQParamsObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    _PartialWrapper,
)
from flambeau.ao.quantization.presets import default_fixed_qparams_range_0to1_observer, default_fixed_qparams_range_neg1to1_observer

__all__ = [
    "FakeQuantize", "FakeQuantizeBase", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize", "default_affine_fixed_qparams_fake_quant",
    "default_dynamic_fake_quant", "default_embedding_fake_quant", "default_fake_quant", "default_fixed_qparams_range_0to1_fake_quant",
    "default_fixed_qparams_range_neg1to1_fake_quant", "default_fused_act_fake_quant", "default_fused_per_channel_wt_fake_quant", "default_fused_wt_fake_quant",
    "default_histogram_fake_quant", "default_per_channel_weight_fake_quant", "default_symmetric_fixed_qparams_fake_quant", "default_weight_fake_quant",
    "disable_fake_quant", "disable_observer", "enable_fake_quant", "enable_observer", "fused_per_channel_wt_fake_quant_range_neg_127_to_127",
    "fused_wt_fake_quant_range_neg_127_to_127",
]  # fmt: skip


def _is_per_channel(scheme: qscheme) -> bool:
    return scheme in (flambeau.per_channel_symmetric, flambeau.per_channel_affine, flambeau.per_channel_affine_float_qparams)


class FakeQuantizeBase(nn.Module):
    """What fake quantization modules have in common: two switches, which are buffers.

    Attributes:
        fake_quant_enabled: whether ``forward`` rounds, (1)
        observer_enabled: whether it observes, (1)
    """

    fake_quant_enabled: Tensor
    observer_enabled: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", flambeau.tensor([1], dtype=flambeau.uint8))
        self.register_buffer("observer_enabled", flambeau.tensor([1], dtype=flambeau.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """The input, rounded."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def calculate_qparams(self, **options: Any) -> Any:
        """Scale and zero point for what was observed."""
        raise NotImplementedError(f"{type(self).__name__} has no calculate_qparams")

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Round from here on, or do not."""
        self.fake_quant_enabled[0] = 1 if enabled else 0

    def disable_fake_quant(self) -> None:
        """Do not round from here on."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Observe from here on, or do not."""
        self.observer_enabled[0] = 1 if enabled else 0

    def disable_observer(self) -> None:
        """Do not observe from here on."""
        self.enable_observer(False)

    @classmethod
    def with_args(cls, **options: Any) -> _PartialWrapper:
        """The class with some arguments given: what a ``QConfig`` holds."""
        return _PartialWrapper(partial(cls, **options))


class FakeQuantize(FakeQuantizeBase):
    """Rounds to the numbers that an observer's scale and zero point have; the gradient passes where nothing was clamped.

    Args:
        observer: the class of the observer, or what makes one
        quant_min, quant_max: the range of the integers; that of the observer if left out
        observer_kwargs: its further arguments

    Attributes:
        scale, zero_point: (1) or (channels)
        activation_post_process: the observer
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        observer: Any = MovingAverageMinMaxObserver,
        quant_min: int | None = None,
        quant_max: int | None = None,
        is_dynamic: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__()
        if quant_min is not None and quant_max is not None:
            if quant_min > quant_max:
                raise AssertionError(f"quant_min (={quant_min}) must be less than or equal to quant_max (={quant_max})")
            observer_kwargs.update(quant_min=quant_min, quant_max=quant_max)
        observer_kwargs["is_dynamic"] = is_dynamic
        self.activation_post_process = observer(**observer_kwargs)
        self.quant_min = self.activation_post_process.quant_min
        self.quant_max = self.activation_post_process.quant_max
        self.is_dynamic = self.activation_post_process.is_dynamic
        self.qscheme = self.activation_post_process.qscheme
        zero_dtype = flambeau.float32 if self.qscheme is flambeau.per_channel_affine_float_qparams else flambeau.int32
        self.register_buffer("scale", flambeau.tensor([1.0], dtype=flambeau.float32))
        self.register_buffer("zero_point", flambeau.tensor([0], dtype=zero_dtype))
        self.dtype = self.activation_post_process.dtype
        self.ch_axis = getattr(self.activation_post_process, "ch_axis", -1)
        self.is_per_channel = _is_per_channel(self.qscheme)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point for what was observed."""
        return self.activation_post_process.calculate_qparams()

    def forward(self, X: Tensor) -> Tensor:
        if self.observer_enabled[0] == 1:
            self.activation_post_process(X.detach())
            for place, value in zip((self.scale, self.zero_point), self.calculate_qparams()):
                if place.shape != value.shape:
                    place.resize_(value.shape)
                place.copy_(value)
        if self.fake_quant_enabled[0] == 1:
            scale, zero_point = self.scale.clone(), self.zero_point.clone()  # for backward, whatever is observed meanwhile
            if self.is_per_channel:
                return flambeau.fake_quantize_per_channel_affine(X, scale, zero_point, self.ch_axis, self.quant_min, self.quant_max)
            return flambeau.fake_quantize_per_tensor_affine(X, scale, zero_point, self.quant_min, self.quant_max)
        return X

    def extra_repr(self) -> str:
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, quant_min={self.activation_post_process.quant_min}, "
            f"quant_max={self.activation_post_process.quant_max}, dtype={self.dtype}, qscheme={self.qscheme}, ch_axis={self.ch_axis}, "
            f"scale={self.scale}, zero_point={self.zero_point}"
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in ("scale", "zero_point"):  # the number of channels was not known before
            found = state_dict.get(prefix + name)
            if found is not None and found.shape != getattr(self, name).shape:
                getattr(self, name).resize_(found.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class FixedQParamsFakeQuantize(FakeQuantize):
    """``FakeQuantize`` with a scale and a zero point that are given."""

    def __init__(self, observer: Any) -> None:
        super().__init__(observer=observer)
        if type(self.activation_post_process) is not FixedQParamsObserver:
            raise AssertionError(
                f"FixedQParamsFakeQuantize needs a FixedQParamsObserver, got {type(self.activation_post_process).__name__}"
            )
        self._observer_ctr = observer
        self.scale = self.activation_post_process.scale
        self.zero_point = self.activation_post_process.zero_point
        if _is_per_channel(self.qscheme):
            raise AssertionError(f"expected a per tensor quantization scheme, got {self.qscheme!r}")

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The scale and the zero point that were given."""
        return self.scale, self.zero_point

    def extra_repr(self) -> str:
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, scale={self.scale}, zero_point={self.zero_point}, "
            f"dtype={self.dtype}, quant_min={self.activation_post_process.quant_min}, quant_max={self.activation_post_process.quant_max}, qscheme={self.qscheme}"
        )


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """``FakeQuantize`` with a moving average, all in one program: nothing is looked at meanwhile."""

    def __init__(
        self, observer: Any = MovingAverageMinMaxObserver, quant_min: int = 0, quant_max: int = 255, **observer_kwargs: Any
    ) -> None:
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        if not isinstance(self.activation_post_process, (MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver)):
            raise AssertionError(
                f"fused fake quantization needs a moving average, MovingAverageMinMaxObserver or MovingAveragePerChannelMinMaxObserver, got "
                f"{type(self.activation_post_process).__name__}"
            )
        self.register_buffer("fake_quant_enabled", flambeau.tensor([1], dtype=flambeau.long))
        self.register_buffer("observer_enabled", flambeau.tensor([1], dtype=flambeau.long))
        self.is_symmetric_quant = self.activation_post_process.qscheme in SYMMETRIC

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point for what was observed."""
        return self.activation_post_process.calculate_qparams()

    def extra_repr(self) -> str:
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, scale={self.scale}, zero_point={self.zero_point}, "
            f"dtype={self.dtype}, quant_min={self.activation_post_process.quant_min}, quant_max={self.activation_post_process.quant_max}, "
            f"qscheme={self.qscheme}, reduce_range={self.activation_post_process.reduce_range}"
        )

    def forward(self, X: Tensor) -> Tensor:
        observer = self.activation_post_process
        return flambeau.fused_moving_avg_obs_fake_quant(
            X,
            self.observer_enabled,
            self.fake_quant_enabled,
            observer.min_val,
            observer.max_val,
            self.scale,
            self.zero_point,
            observer.averaging_constant,
            observer.quant_min,
            observer.quant_max,
            self.ch_axis,
            self.is_per_channel,
            self.is_symmetric_quant,
        )


# -- with arguments ------------------------------------------------------------------------------------------------------

default_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=0,
    quant_max=255,
    dtype=flambeau.quint8,
    qscheme=flambeau.per_tensor_affine,
    reduce_range=True,
)
default_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=flambeau.qint8,
    qscheme=flambeau.per_tensor_symmetric,
    reduce_range=False,
)
default_dynamic_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, is_dynamic=True, dtype=flambeau.quint8, averaging_constant=1
)
default_fixed_qparams_range_neg1to1_fake_quant = FixedQParamsFakeQuantize.with_args(observer=default_fixed_qparams_range_neg1to1_observer)
default_fixed_qparams_range_0to1_fake_quant = FixedQParamsFakeQuantize.with_args(observer=default_fixed_qparams_range_0to1_observer)
default_symmetric_fixed_qparams_fake_quant = default_fixed_qparams_range_neg1to1_fake_quant
default_affine_fixed_qparams_fake_quant = default_fixed_qparams_range_0to1_fake_quant
default_per_channel_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=flambeau.qint8,
    qscheme=flambeau.per_channel_symmetric,
    reduce_range=False,
    ch_axis=0,
)
default_embedding_fake_quant = FakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver,
    qscheme=flambeau.per_channel_affine_float_qparams,
    dtype=flambeau.quint8,
    quant_min=0,
    quant_max=255,
    ch_axis=0,
    averaging_constant=1,
)
default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=flambeau.quint8
)
default_fused_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=flambeau.qint8, qscheme=flambeau.per_tensor_symmetric
)
default_fused_per_channel_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=flambeau.qint8,
    qscheme=flambeau.per_channel_symmetric,
)
fused_wt_fake_quant_range_neg_127_to_127 = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=-127,
    quant_max=127,
    dtype=flambeau.qint8,
    qscheme=flambeau.per_tensor_symmetric,
    eps=2**-12,
)
fused_per_channel_wt_fake_quant_range_neg_127_to_127 = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver,
    quant_min=-127,
    quant_max=127,
    dtype=flambeau.qint8,
    qscheme=flambeau.per_channel_symmetric,
    eps=2**-12,
)


def _histogram_fake_quant() -> _PartialWrapper:
    from flambeau.ao.quantization.histogram import HistogramObserver

    return FakeQuantize.with_args(
        observer=HistogramObserver, quant_min=0, quant_max=255, dtype=flambeau.quint8, qscheme=flambeau.per_tensor_affine, reduce_range=True
    )


default_histogram_fake_quant = _histogram_fake_quant()


# -- for ``module.apply`` ------------------------------------------------------------------------------------------------


def disable_fake_quant(mod: nn.Module) -> None:
    """``model.apply(disable_fake_quant)``: no module rounds from here on."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_fake_quant()


def enable_fake_quant(mod: nn.Module) -> None:
    """``model.apply(enable_fake_quant)``: modules round from here on."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_fake_quant()


def disable_observer(mod: nn.Module) -> None:
    """``model.apply(disable_observer)``: no module observes from here on."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_observer()


def enable_observer(mod: nn.Module) -> None:
    """``model.apply(enable_observer)``: modules observe from here on."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_observer()
