"""Batch normalisation layers."""

from __future__ import annotations

import sys
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.lazy import LazyModuleMixin
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.sync_batchnorm import synchronized_batch_norm
from flambeau.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "SyncBatchNorm"]


class _NormBase(Module):
    """Parameters and running statistics of batch and instance normalisation."""

    _version = 2  # since version 2 the state has num_batches_tracked

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(flambeau.empty(num_features, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, parameter)
        track = track_running_stats
        self.register_buffer("running_mean", flambeau.zeros(num_features, device=device, dtype=dtype) if track else None)
        self.register_buffer("running_var", flambeau.ones(num_features, device=device, dtype=dtype) if track else None)
        count = flambeau.tensor(0, dtype=flambeau.int64, device=device) if track else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1, and the count of batches to 0."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Resets the running statistics, the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *rest: Any) -> None:
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats:
            state_dict.setdefault(prefix + "num_batches_tracked", self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    """Batch normalisation of inputs with any of ``allowed_dims`` dimensions."""

    allowed_dims: tuple[int, ...] = ()

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self.allowed_dims:
            raise ValueError(f"expected {_dims_text(self.allowed_dims)} input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        mean, var = self.running_mean, self.running_var
        momentum = 0.0 if self.momentum is None else self.momentum
        if not self.training:
            use_batch = mean is None and var is None
        else:
            use_batch = True
            if self.track_running_stats:
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
                    if self.momentum is None:  # the cumulative mean over all batches
                        momentum = 1.0 / float(self.num_batches_tracked)
            else:
                mean = var = None
        return self._normalize(input, mean, var, use_batch, momentum)

    def _normalize(self, input: Tensor, mean: Tensor | None, var: Tensor | None, use_batch: bool, momentum: float) -> Tensor:
        return F.batch_norm(input, mean, var, self.weight, self.bias, use_batch, momentum, self.eps)


def _dims_text(dims: tuple[int, ...]) -> str:
    return " or ".join(f"{n}D" for n in dims)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); see :class:`BatchNorm2d`."""

    allowed_dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises each channel over the batch: (x - mean) / √(var + eps) · weight + bias (Ioffe and Szegedy 2015, arXiv:1502.03167).

    In training mean and (biased) variance are the batch's, and the running statistics move towards them, the variance being
    the unbiased one there. In evaluation they are the running statistics.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far the running statistics move; ``None`` for the mean over all batches.
        affine: whether there are weight and bias.
        track_running_stats: whether running statistics are kept; otherwise the batch's are always used.
        device: where parameters and buffers lie.
        dtype: their dtype.
        bias: whether there is a bias.

    Shape:
        (N, C, H, W) to the same.

    Raises:
        ValueError: the input has another number of dimensions, or one value per channel in training.
    """

    allowed_dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); see :class:`BatchNorm2d`."""

    allowed_dims = (5,)


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes that train together; in a single process, of its own batch.

    Args:
        process_group: the processes; all, without it
        the others: see :class:`BatchNorm2d`
    """

    allowed_dims = tuple(range(2, 65))

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        process_group: Any = None, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _normalize(self, input: Tensor, mean: Tensor | None, var: Tensor | None, use_batch: bool, momentum: float) -> Tensor:
        group = _several_processes(self.process_group) if self.training else None
        if group is None:
            return super()._normalize(input, mean, var, use_batch, momentum)
        return synchronized_batch_norm(input, mean, var, self.weight, self.bias, momentum, self.eps, group)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with every batch normalisation in it replaced by a synchronised one that has its parameters and statistics."""
        converted = module
        if isinstance(module, _BatchNorm):
            converted = cls(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group)
            converted.__dict__["training"] = module.training
            for name, parameter in module._parameters.items():
                converted._parameters[name] = parameter
            for name, buffer in module._buffers.items():
                converted._buffers[name] = buffer
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


def _several_processes(group: Any) -> Any:
    """The group of processes that normalise together; ``None`` if this one is alone."""
    distributed = sys.modules.get("flambeau.distributed")
    if distributed is None or not distributed.is_initialized():
        return None
    members = distributed.group.WORLD if group is None else group
    return members if distributed.get_world_size(members) > 1 else None


class _LazyNormBase(LazyModuleMixin, _NormBase):
    """Takes ``num_features`` from the first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = flambeau.tensor(0, dtype=flambeau.int64, device=device)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if not self.has_uninitialized_params():
            return
        self.num_features = input.shape[1]
        for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
            if tensor is not None:
                tensor.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """A :class:`BatchNorm1d` whose ``num_features`` is that of its first input."""

    allowed_dims = (2, 3)
    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """A :class:`BatchNorm2d` whose ``num_features`` is that of its first input."""

    allowed_dims = (4,)
    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """A :class:`BatchNorm3d` whose ``num_features`` is that of its first input."""

    allowed_dims = (5,)
    cls_to_become = BatchNorm3d
