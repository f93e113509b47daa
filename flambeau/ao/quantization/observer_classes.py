"""Observers: modules that return what they are given, and choose from what passed by a scale and a zero point."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau._types.dtype import dtype as DType
from flambeau._types.quantized import qscheme
from flambeau.ao.quantization.ranges import check_range, quantization_range

__all__ = [
    "FixedQParamsObserver", "MinMaxObserver", "MovingAverageMinMaxObserver", "MovingAveragePerChannelMinMaxObserver", "NoopObserver", "ObserverBase",
    "PerChannelMinMaxObserver", "PlaceholderObserver", "RecordingObserver", "ReuseInputObserver", "UniformQuantizationObserverBase", "get_observer_state_dict",
    "load_observer_state_dict",
]  # fmt: skip

EPS = 2.0**-23
"""The least scale, if nothing else is said: float32's epsilon."""
SYMMETRIC = (flambeau.per_tensor_symmetric, flambeau.per_channel_symmetric)


class _PartialWrapper:
    """A class with some of its arguments given, whose instances are made by calling it; others can be given with ``with_args``."""

    def __init__(self, function: partial) -> None:
        self.p = function
        self.callable_args: dict[str, Callable] = {}

    def __call__(self, *args: Any, **options: Any) -> Any:
        made = {name: make() for name, make in self.callable_args.items() if name not in options}
        return self.p(*args, **{**made, **options})

    def __repr__(self) -> str:
        return repr(self.p) + repr(self.callable_args)

    def with_args(self, **options: Any) -> _PartialWrapper:
        """The same with more arguments given."""
        result = _PartialWrapper(partial(self.p, **options))
        result.callable_args = dict(self.callable_args)
        return result

    def with_callable_args(self, **options: Callable) -> _PartialWrapper:
        """The same with more arguments, each computed by a function when an instance is made."""
        result = self.with_args()
        result.callable_args |= options
        return result


class ObserverBase(nn.Module):
    """What observers have in common: the dtype they choose parameters for, and ``with_args``.

    A subclass has ``forward``, which returns its input, and ``calculate_qparams``, which returns ``(scale, zero point)``.
    """

    def __init__(self, dtype: DType, is_dynamic: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        self.is_dynamic = is_dynamic

    def forward(self, x: Tensor) -> Tensor:
        """The input, which is observed."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def calculate_qparams(self, **options: Any) -> Any:
        """Scale and zero point for what was observed."""
        raise NotImplementedError(f"{type(self).__name__} has no calculate_qparams")

    @classmethod
    def with_args(cls, **options: Any) -> _PartialWrapper:
        """The class with some arguments given: what a ``QConfig`` holds.

        Example::

            >>> from flambeau.ao.quantization import MinMaxObserver
            >>> MinMaxObserver.with_args(dtype=flambeau.qint8)().dtype
            torch.qint8
        """
        return _PartialWrapper(partial(cls, **options))

    @classmethod
    def with_callable_args(cls, **options: Callable) -> _PartialWrapper:
        """The class with some arguments that functions compute when an instance is made."""
        return cls.with_args().with_callable_args(**options)


class UniformQuantizationObserverBase(ObserverBase):
    """An observer that chooses evenly spaced numbers.

    Args:
        dtype: of the quantized tensors: ``torch.quint8``, ``torch.qint8``, ``torch.qint32``, or int8, uint8, int16, int32
        qscheme: per tensor or per channel; symmetric ones have the zero point in the middle
        reduce_range: use half of the range, which leaves a bit for sums of products
        quant_min, quant_max: the range of the integers; that of the dtype if left out
        eps: the least scale
    """

    _version = 3

    def __init__(
        self,
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
        super().__init__(dtype=dtype, is_dynamic=is_dynamic, **kwargs)
        self.qscheme = qscheme
        self.reduce_range = reduce_range
        self.register_buffer("eps", flambeau.tensor([eps]))
        self.has_customized_qrange = quant_min is not None and quant_max is not None
        if quant_min is not None and quant_max is not None:
            check_range(quant_min, quant_max)
        self.quant_min, self.quant_max = quantization_range(quant_min, quant_max, dtype, reduce_range)

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point, (1) or (channels), for the range between two numbers, or for each channel's."""
        if not _observed(min_val, max_val):
            return flambeau.tensor([1.0]), flambeau.tensor([0])
        low, high = self.quant_min, self.quant_max
        least, most = min_val.clamp(max=0.0), max_val.clamp(min=0.0)
        if self.qscheme in SYMMETRIC:
            scale = flambeau.maximum(-least, most) / (float(high - low) / 2)
            middle = (low + high) // 2 if self.has_customized_qrange else 128
            zero_point = flambeau.full_like(scale, middle if self.dtype in (flambeau.quint8, flambeau.uint8) else 0, dtype=flambeau.int64)
            scale = flambeau.maximum(scale, self.eps)
        elif self.qscheme is flambeau.per_channel_affine_float_qparams:
            scale = (max_val - min_val) / float(high - low)
            scale = flambeau.where(scale > self.eps, scale, flambeau.ones_like(scale))
            zero_point = -1 * min_val / scale
        else:
            scale = flambeau.maximum((most - least) / float(high - low), self.eps)
            zero_point = (low - flambeau.round(least / scale).to(flambeau.int32)).clamp(low, high)
        zero_point = zero_point if zero_point.dtype.is_floating_point else zero_point.to(flambeau.int64)
        return scale.reshape(-1), zero_point.reshape(-1)

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        raise NotImplementedError(f"{type(self).__name__} cannot be reset")


def _observed(min_val: Tensor, max_val: Tensor) -> bool:
    """Whether anything was observed; a warning if not.

    Raises:
        AssertionError: a minimum is above its maximum.
    """
    if (
        not min_val.numel()
        or not max_val.numel()
        or (min_val.numel() == 1 and float(min_val) == float("inf") and float(max_val) == float("-inf"))
    ):
        warnings.warn(
            "nothing was observed, so that scale 1 and zero point 0 are returned: run the observer on some inputs first", stacklevel=3
        )
        return False
    if not bool((min_val <= max_val).all()):
        raise AssertionError(f"min {min_val.tolist()} should be less than max {max_val.tolist()}")
    return True


class MinMaxObserver(UniformQuantizationObserverBase):
    """From the least number that passed to the largest.

    Attributes:
        min_val, max_val: these numbers, infinite at first
    """

    min_val: Tensor
    max_val: Tensor

    def __init__(
        self,
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
                f"{type(self).__name__}: qscheme must be torch.per_tensor_affine or torch.per_tensor_symmetric, got {qscheme!r}"
            )
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, **kwargs)
        if qscheme is flambeau.per_tensor_symmetric and reduce_range and self.dtype is flambeau.quint8:
            raise NotImplementedError("reduce_range=True is not implemented for symmetric schemes of torch.quint8; use torch.qint8")
        self.register_buffer("min_val", flambeau.tensor(float("inf")))
        self.register_buffer("max_val", flambeau.tensor(float("-inf")))

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            least, most = flambeau.aminmax(x_orig.detach().to(self.min_val.dtype))
            self.min_val.copy_(flambeau.minimum(least, self.min_val))
            self.max_val.copy_(flambeau.maximum(most, self.max_val))
        return x_orig

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, (1) each."""
        return self._calculate_qparams(self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        self.min_val.fill_(float("inf"))
        self.max_val.fill_(float("-inf"))


def _averaged(before: Tensor, new: Tensor, share: float) -> Tensor:
    """The number moved towards a new one, or the new one if there was none."""
    return flambeau.where(flambeau.isinf(before), new, before + share * (new - before))


class MovingAverageMinMaxObserver(MinMaxObserver):
    """As ``MinMaxObserver``, but both numbers move towards those of each batch, by the share ``averaging_constant``."""

    def __init__(
        self,
        averaging_constant: float = 0.01,
        dtype: DType = flambeau.quint8,
        qscheme: qscheme = flambeau.per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
        **kwargs: Any,
    ) -> None:
        self.averaging_constant = averaging_constant
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, None, eps, is_dynamic, **kwargs)
        self.averaging_constant = averaging_constant

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            least, most = flambeau.aminmax(x_orig.detach().to(self.min_val.dtype))
            self.min_val.copy_(_averaged(self.min_val, least, self.averaging_constant))
            self.max_val.copy_(_averaged(self.max_val, most, self.averaging_constant))
        return x_orig


class PerChannelMinMaxObserver(UniformQuantizationObserverBase):
    """From the least number to the largest, for each index of the dimension ``ch_axis``."""

    min_val: Tensor
    max_val: Tensor

    def __init__(
        self,
        ch_axis: int = 0,
        dtype: DType = flambeau.quint8,
        qscheme: qscheme = flambeau.per_channel_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: Any = None,
        eps: float = EPS,
        is_dynamic: bool = False,
        **kwargs: Any,
    ) -> None:
        if is_dynamic:
            raise NotImplementedError("PerChannelMinMaxObserver doesn't support dynamic quantization")
        super().__init__(dtype, qscheme, reduce_range, quant_min, quant_max, factory_kwargs, eps, is_dynamic, **kwargs)
        self.ch_axis = ch_axis
        self.register_buffer("min_val", flambeau.tensor([]))
        self.register_buffer("max_val", flambeau.tensor([]))
        if qscheme is flambeau.per_channel_symmetric and reduce_range and self.dtype is flambeau.quint8:
            raise NotImplementedError("reduce_range=True is not implemented for symmetric schemes of torch.quint8; use torch.qint8")

    def _channels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest number of each channel."""
        rows = x.detach().to(self.min_val.dtype).transpose(0, self.ch_axis).flatten(1)
        least, most = flambeau.aminmax(rows, dim=1)
        return least, most

    def _take(self, least: Tensor, most: Tensor) -> None:
        for place, value in ((self.min_val, least), (self.max_val, most)):
            if place.shape != value.shape:
                place.resize_(value.shape)
            place.copy_(value)

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            least, most = self._channels(x_orig)
            if self.min_val.numel():
                least, most = flambeau.minimum(least, self.min_val), flambeau.maximum(most, self.max_val)
            self._take(least, most)
        return x_orig

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, (channels) each."""
        return self._calculate_qparams(self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in ("min_val", "max_val"):  # the number of channels was not known before
            found = state_dict.get(prefix + name)
            if found is not None and found.shape != getattr(self, name).shape:
                getattr(self, name).resize_(found.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def reset_min_max_vals(self) -> None:
        """Forget what was observed."""
        self.min_val, self.max_val = flambeau.rand(0), flambeau.rand(0)


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver):
    """As ``PerChannelMinMaxObserver``, but both numbers of each channel move towards those of each batch."""

    def __init__(
        self,
        averaging_constant: float = 0.01,
        ch_axis: int = 0,
        dtype: DType = flambeau.quint8,
        qscheme: qscheme = flambeau.per_channel_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = EPS,
        is_dynamic: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(ch_axis, dtype, qscheme, reduce_range, quant_min, quant_max, None, eps, is_dynamic, **kwargs)
        self.averaging_constant = averaging_constant

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            least, most = self._channels(x_orig)
            if self.min_val.numel():
                share = self.averaging_constant
                least, most = self.min_val + share * (least - self.min_val), self.max_val + share * (most - self.max_val)
            self._take(least, most)
        return x_orig


class FixedQParamsObserver(ObserverBase):
    """A scale and a zero point that are given, for functions whose range is known."""

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        scale: float,
        zero_point: int,
        dtype: DType = flambeau.quint8,
        qscheme: qscheme = flambeau.per_tensor_affine,
        quant_min: int = 0,
        quant_max: int = 255,
        is_dynamic: bool = False,
        **kwargs: Any,
    ) -> None:
        if is_dynamic:
            raise NotImplementedError("FixedQParamsObserver doesn't support dynamic quantization")
        super().__init__(dtype=dtype, is_dynamic=is_dynamic, **kwargs)
        self.quant_min, self.quant_max = quant_min, quant_max
        self.register_buffer("scale", flambeau.tensor([scale], dtype=flambeau.float32))
        self.register_buffer("zero_point", flambeau.tensor([zero_point], dtype=flambeau.int32))
        self.qscheme = qscheme

    def forward(self, X: Tensor) -> Tensor:
        return X

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The scale and the zero point that were given."""
        return self.scale, self.zero_point


class PlaceholderObserver(ObserverBase):
    """Observes nothing: it says that a dtype is wanted whose parameters are chosen later, or that needs none."""

    def __init__(
        self,
        dtype: DType = flambeau.float32,
        custom_op_name: str = "",
        compute_dtype: DType | None = None,
        quant_min: int | None = None,
        quant_max: int | None = None,
        qscheme: Any = None,
        eps: float | None = None,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype=dtype, is_dynamic=is_dynamic)
        self.qscheme = qscheme if qscheme is not None else flambeau.per_tensor_affine
        self.quant_min, self.quant_max = quant_min, quant_max
        self.eps = EPS if eps is None else eps
        self.custom_op = custom_op_name
        if compute_dtype:
            warnings.warn("compute_dtype is deprecated: use is_dynamic and dtype", stacklevel=2)
            is_dynamic = True
            self.is_dynamic = is_dynamic

    def forward(self, x: Tensor) -> Tensor:
        return x

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, is_dynamic={self.is_dynamic}"

    def calculate_qparams(self) -> Any:
        """Raises an exception: nothing was observed."""
        raise Exception("calculate_qparams should not be called for PlaceholderObserver")


class RecordingObserver(ObserverBase):
    """Keeps all that passes, for looking at it."""

    def __init__(self, dtype: DType = flambeau.quint8) -> None:
        super().__init__(dtype=dtype, is_dynamic=False)
        self.tensor_val: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tensor_val.append(x.clone())
        return x

    def calculate_qparams(self) -> Any:
        """Raises an exception: nothing is chosen."""
        raise Exception("calculate_qparams should not be called for RecordingObserver")

    def get_tensor_value(self) -> list[Tensor]:
        """What passed."""
        return self.tensor_val


class NoopObserver(ObserverBase):
    """Observes nothing: for dtypes that need no parameters, such as float16."""

    def __init__(self, dtype: DType = flambeau.float16, custom_op_name: str = "") -> None:
        super().__init__(dtype=dtype, is_dynamic=False)
        self.dtype = dtype
        self.custom_op = custom_op_name

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> Any:
        """Raises an exception: nothing was observed."""
        raise Exception("calculate_qparams should not be called for NoopObserver")


class ReuseInputObserver(ObserverBase):
    """Says that a result has the parameters of the input."""

    def __init__(self) -> None:
        super().__init__(flambeau.quint8, is_dynamic=False)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> Any:
        """Raises an exception: nothing was observed."""
        raise Exception("calculate_qparams should not be called for ReuseInputObserver")


def get_observer_state_dict(mod: nn.Module) -> dict[str, Any]:
    """The entries of a module's state that belong to observers."""
    return {name: value for name, value in mod.state_dict().items() if "activation_post_process" in name}


def load_observer_state_dict(mod: nn.Module, obs_dict: dict[str, Any]) -> None:
    """Load what ``get_observer_state_dict`` gave into a module that was prepared alike.

    Raises:
        RuntimeError: an observer of one is missing in the other.
    """
    result = mod.load_state_dict(obs_dict, strict=False)
    missing = [name for name in result.missing_keys if "activation_post_process" in name]
    if missing or result.unexpected_keys:
        raise RuntimeError(f"the observers do not fit the module: missing {missing}, unexpected {result.unexpected_keys}")
