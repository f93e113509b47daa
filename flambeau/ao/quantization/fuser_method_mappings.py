"""Which layers, one after the other, become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import nn
from flambeau.ao.nn import intrinsic as nni

__all__ = ["fuse_conv_bn", "fuse_conv_bn_relu", "fuse_convtranspose_bn", "fuse_linear_bn", "get_fuser_method"]


def _check_modes(*layers: nn.Module) -> None:
    if any(each.training is not layers[0].training for each in layers):
        modes = ", ".join(f"{type(each).__name__}.training={each.training}" for each in layers)
        raise AssertionError(f"layers that become one are all in training or all in evaluation mode, got {modes}")


def _check_eval(is_qat: bool, *layers: nn.Module) -> None:
    _check_modes(*layers)
    if not is_qat and layers[0].training:
        raise AssertionError(
            "layers are fused in evaluation mode: call model.eval() first; for training with rounding there is fuse_modules_qat"
        )


def _rank(conv: Any) -> int:
    return next(rank for rank, cls in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), 1) if isinstance(conv, cls))


def fuse_conv_bn(is_qat: bool, conv: Any, bn: Any) -> Any:
    """The convolution with the normalization in its weight; for training both, one after the other.

    Raises:
        AssertionError: the modes differ, or do not fit.
    """
    _check_eval(is_qat, conv, bn)
    if not is_qat:
        return nn.utils.fuse_conv_bn_eval(conv, bn)
    if bn.num_features != conv.out_channels:
        raise AssertionError(f"BatchNorm has {bn.num_features} features, and the convolution before it {conv.out_channels} channels")
    return getattr(nni, f"ConvBn{_rank(conv)}d")(conv, bn)


def fuse_conv_bn_relu(is_qat: bool, conv: Any, bn: Any, relu: Any) -> Any:
    """The convolution with the normalization in its weight, and relu; for training all three, one after the other."""
    _check_eval(is_qat, conv, bn, relu)
    if is_qat:
        return getattr(nni, f"ConvBnReLU{_rank(conv)}d")(conv, bn, relu)
    return getattr(nni, f"ConvReLU{_rank(conv)}d")(nn.utils.fuse_conv_bn_eval(conv, bn), relu)


def fuse_linear_bn(is_qat: bool, linear: Any, bn: Any) -> Any:
    """The linear layer with the normalization in its weight; for training both, one after the other."""
    _check_eval(is_qat, linear, bn)
    return nni.LinearBn1d(linear, bn) if is_qat else nn.utils.fuse_linear_bn_eval(linear, bn)


def fuse_convtranspose_bn(is_qat: bool, convt: Any, bn: Any) -> Any:
    """The transposed convolution with the normalization in its weight."""
    _check_eval(is_qat, convt, bn)
    if is_qat:
        raise AssertionError(
            "a transposed convolution and batch normalization are not one layer in training with rounding; leave them apart"
        )
    return nn.utils.fuse_conv_bn_eval(convt, bn, transpose=True)


def _in_sequence(cls: Any) -> Callable:
    return lambda is_qat, *layers: cls(*layers)


METHODS: dict[tuple[Any, ...], Callable] = {
    **dict.fromkeys(zip((nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)), fuse_conv_bn),
    **{
        (conv, bn, nn.ReLU): fuse_conv_bn_relu
        for conv, bn in zip((nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))
    },
    **{(getattr(nn, f"Conv{rank}d"), nn.ReLU): _in_sequence(getattr(nni, f"ConvReLU{rank}d")) for rank in (1, 2, 3)},
    **{(getattr(nn, f"ConvTranspose{rank}d"), getattr(nn, f"BatchNorm{rank}d")): fuse_convtranspose_bn for rank in (1, 2, 3)},
    (nn.Linear, nn.BatchNorm1d): fuse_linear_bn,
    (nn.Linear, nn.ReLU): _in_sequence(nni.LinearReLU),
    (nn.BatchNorm2d, nn.ReLU): _in_sequence(nni.BNReLU2d),
    (nn.BatchNorm3d, nn.ReLU): _in_sequence(nni.BNReLU3d),
}
"""How layers of these classes, one after the other, become one."""


def get_fuser_method(op_list: Any, additional_fuser_method_mapping: dict[Any, Any] | None = None) -> Callable:
    """How layers of these classes become one: a function of ``is_qat`` and the layers.

    Raises:
        AssertionError: there is no way.
    """
    found = {**METHODS, **(additional_fuser_method_mapping or {})}.get(tuple(op_list))
    if found is None:
        names = ", ".join(each.__name__ for each in op_list)
        raise AssertionError(f"({names}) cannot become one layer; layers are given in the order in which they run")
    return found
