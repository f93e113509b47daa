"""Operators of PyTorch's dispatcher that no public function is: of another name, or with arguments in another order.

Programs in files call operators by these names (`export/`, `jit/torchscript/`). All are made of public functions, so that they have gradients.
https://docs.pytorch.org/docs/stable/torch.compiler_ir.html lists what programs are decomposed to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._dispatch.operators import FUNCTIONS
from flambeau.nn import functional as F
from flambeau.nn.functional._loss_operators import LOSSES, REDUCTIONS
from flambeau.nn.functional._recurrent_operators import CELLS, LAYERS, PACKED
from flambeau.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

__all__ = ["OPERATORS"]

_BAG_MODES = ("sum", "mean", "max")
_PADDINGS = ("constant", "reflect", "replicate", "circular")
_FOURIER_NORMS = ("backward", "ortho", "forward")


# -- copies, views and numbers ---------------------------------------------------------------------------------------


def _slice(self: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return self[(slice(None),) * (dim % self.dim()) + (slice(start, end, step),)]


def _indices(indices: Sequence[Tensor | None]) -> tuple:
    return tuple([slice(None) if each is None else each for each in indices])


def _nothing(*args: Any, **kwargs: Any) -> None:
    """What a program asserts of itself: the operators behind it find out."""


# -- convolutions and normalisation ----------------------------------------------------------------------------------


def _convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any, groups: int, *how: bool
) -> Tensor:  # fmt: skip
    """A convolution; what comes behind ``groups`` is about cuDNN."""
    return flambeau.convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)


def _convolution_mode(input: Tensor, weight: Tensor, bias: Any, stride: Any, padding: str, dilation: Any, groups: int) -> Tensor:
    function = (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
    return function(input, weight, bias, stride, padding, dilation, groups)


def _batch_norm_legit(input: Tensor, weight: Any, bias: Any, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation with or without running statistics: (running_mean, running_var, training, momentum, eps) or the last three."""
    running = rest[:2] if len(rest) == 5 else (None, None)
    return flambeau.native_batch_norm(input, weight, bias, *running, *rest[-3:])


def _batch_norm_functional(input: Tensor, weight: Any, bias: Any, mean: Tensor, var: Tensor, *how: Any) -> tuple[Tensor, ...]:
    mean, var = mean.clone(), var.clone()
    return (*flambeau.native_batch_norm(input, weight, bias, mean, var, *how), mean, var)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / flambeau.norm_except_dim(v, 2, dim))


# -- activations and attention ---------------------------------------------------------------------------------------


def _safe_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Softmax, and zeros where all are minus infinity."""
    blocked = (input == -math.inf).all(dim, keepdim=True)
    return F.softmax(input, dim, dtype=dtype).masked_fill(blocked, 0.0)


def _flash_attention(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, is_causal: bool = False, *, attn_mask: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attention, (N, H, L, E), and the logarithms of the sums of its weights, (N, H, L), which only a gradient needs."""
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        later = flambeau.ones(scores.shape[-2:], dtype=flambeau.bool).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype is flambeau.bool else scores + attn_mask
    return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale=scale), scores.logsumexp(-1)


def _multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_head: int, qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor,
    mask: Tensor | None = None, need_weights: bool = True, average_attn_weights: bool = True, mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention between (N, L, E) and (N, S, E). ``mask_type``: 0 for a mask (L, S), 1 for padding (N, S), 2 for a mask (N, num_head, L, S)."""
    padding = mask if mask_type == 1 else None
    attended = None if mask_type == 1 or mask is None else mask.flatten(0, 1) if mask_type == 2 else mask
    turned = [each.transpose(0, 1) for each in (query, key, value)]
    result, weights = F.multi_head_attention_forward(
        *turned, embed_dim, num_head, qkv_weight, qkv_bias, None, None, False, 0.0, proj_weight, proj_bias, False, padding, need_weights, attended,
        average_attn_weights=average_attn_weights,
    )  # fmt: skip
    return result.transpose(0, 1), weights


def _transformer_encoder_layer(
    src: Tensor, embed_dim: int, num_heads: int, qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor, use_gelu: bool,
    norm_first: bool, eps: float, norm_weight_1: Tensor, norm_bias_1: Tensor, norm_weight_2: Tensor, norm_bias_2: Tensor, ffn_weight_1: Tensor,
    ffn_bias_1: Tensor, ffn_weight_2: Tensor, ffn_bias_2: Tensor, mask: Tensor | None = None, mask_type: int | None = None,
) -> Tensor:  # fmt: skip
    """A layer of `nn.TransformerEncoder` in evaluation mode: (N, L, E) to (N, L, E)."""

    def attended(x: Tensor) -> Tensor:
        parts = (qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False, True, mask_type)
        return _multi_head_attention(x, x, x, embed_dim, num_heads, *parts)[0]

    def fed_forward(x: Tensor) -> Tensor:
        hidden = F.linear(x, ffn_weight_1, ffn_bias_1)
        return F.linear(F.gelu(hidden) if use_gelu else F.relu(hidden), ffn_weight_2, ffn_bias_2)

    def first(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        src = src + attended(first(src))
        return src + fed_forward(second(src))
    src = first(src + attended(src))
    return second(src + fed_forward(src))


# -- images ----------------------------------------------------------------------------------------------------------


def _upsampling(mode: str, antialias: bool = False) -> Callable[..., Tensor]:
    """``upsample_bilinear2d`` and its kin, of both overloads: with a list of factors, or with a factor for each dimension.

    Where there are factors, the positions are computed with them, and not with the sizes, as in ``interpolate``.
    """
    aligns = mode in ("linear", "bilinear", "bicubic", "trilinear")

    def upsample(input: Tensor, output_size: Any, *rest: Any, **named: Any) -> Tensor:
        given = [*rest, *named.values()]
        align_corners = given.pop(0) if aligns else None
        given = list(given[0]) if given and isinstance(given[0], (list, tuple)) else [each for each in given if each is not None]
        sizes = [math.floor(size * factor) for size, factor in zip(input.shape[2:], given)] if given else None
        if given and (output_size is None or list(output_size) == sizes):
            return F.interpolate(input, None, tuple(given), mode, align_corners, antialias=antialias)
        return F.interpolate(input, tuple(output_size), None, mode, align_corners, antialias=antialias)

    return upsample


def _padding(mode: str) -> Callable[..., Tensor]:
    return lambda self, padding: F.pad(self, tuple(padding), mode)


def _pad_enum(self: Tensor, pad: Sequence[int], mode: int, value: float | None = None) -> Tensor:
    return F.pad(self, tuple(pad), _PADDINGS[mode], value)


def _with_indices(function: Callable) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda self, output_size: function(self, output_size, return_indices=True)


def _fractional_pool(function: Callable) -> Callable[..., Any]:
    return lambda self, kernel_size, output_size, random_samples: function(
        self, kernel_size, output_size, return_indices=True, _random_samples=random_samples
    )


# -- sequences and bags ----------------------------------------------------------------------------------------------


def _recurrent(mode: str) -> Callable[..., Any]:
    """A recurrent layer of both overloads: of a batch, or of a packed sequence (data, batch_sizes, hx, params, …)."""

    def layer(*args: Any) -> Any:
        is_packed = isinstance(args[1], Tensor) and not isinstance(args[3], bool)
        return (PACKED if is_packed else LAYERS)[mode](*args)

    return layer


def _pack_padded(input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    packed = pack_padded_sequence(input, lengths, batch_first)
    return packed.data, packed.batch_sizes


def _pad_packed(data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float, total_length: int) -> tuple[Tensor, Tensor]:
    total = total_length if total_length > 0 else None
    return pad_packed_sequence(PackedSequence(data, batch_sizes), batch_first, padding_value, total)


def _embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Sums, means or maxima of rows; only the first result is of use outside a gradient, and the others are empty."""
    padding = None if padding_idx is None or padding_idx < 0 else padding_idx
    bags = F.embedding_bag(
        indices, weight, offsets, None, 2.0, scale_grad_by_freq, _BAG_MODES[mode], sparse, per_sample_weights, include_last_offset, padding
    )
    empty = flambeau.empty(0, dtype=indices.dtype)
    return bags, empty, empty, empty


# -- losses ----------------------------------------------------------------------------------------------------------


def _nll(input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: int = 1, ignore_index: int = -100) -> Tensor:
    return F.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=REDUCTIONS[reduction])


def _nll_forward(input: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The loss, and the sum of the weights that count."""
    counted = target != ignore_index
    weights = counted if weight is None else weight[flambeau.where(counted, target, 0)] * counted
    return _nll(input, target, weight, reduction, ignore_index), weights.sum().to(input.dtype)


def _soft_margin(input: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return F.soft_margin_loss(input, target, reduction=REDUCTIONS[reduction])


def _multilabel_margin(input: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return F.multilabel_margin_loss(input, target, reduction=REDUCTIONS[reduction])


def _multi_margin(input: Tensor, target: Tensor, p: Any = 1, margin: Any = 1, weight: Tensor | None = None, reduction: int = 1) -> Tensor:
    return F.multi_margin_loss(input, target, p, margin, weight, reduction=REDUCTIONS[reduction])


# -- linear algebra and others -----------------------------------------------------------------------------------------


def _fourier(function: Callable, self: Tensor, dim: Sequence[int], normalization: int, *rest: Any) -> Tensor:
    """A transform over dimensions; ``normalization`` says by what it is divided: 0 nothing, 1 the root of the number of elements, 2 the number."""
    return function(self, *rest, dim=tuple(dim), norm=_FOURIER_NORMS[normalization])


def _fft_c2c(self: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    if forward:
        return _fourier(flambeau.fft.fftn, self, dim, normalization)
    return _fourier(flambeau.fft.ifftn, self, dim, 2 - normalization)


def _fft_r2c(self: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    return _fourier(flambeau.fft.rfftn if onesided else flambeau.fft.fftn, self, dim, normalization)


def _fft_c2r(self: Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    sizes = (*[self.shape[each] for each in dim[:-1]], last_dim_size)
    return _fourier(flambeau.fft.irfftn, self, dim, 2 - normalization, sizes)


def _unique2(self: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    values, inverse, counts = flambeau.unique(self, sorted, return_inverse=True, return_counts=True)
    return values, inverse, counts


def _unique_dim(
    self: Tensor, dim: int, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    return flambeau.unique(self, sorted, return_inverse=True, return_counts=True, dim=dim)


def _unique_consecutive(
    self: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    return flambeau.unique_consecutive(self, return_inverse=True, return_counts=True, dim=dim)


def _tensordot(self: Tensor, other: Tensor, dims_self: Sequence[int], dims_other: Sequence[int]) -> Tensor:
    return flambeau.tensordot(self, other, (list(dims_self), list(dims_other)))


def _stft(
    self: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None, *rest: Any, **named: Any
) -> Tensor:  # fmt: skip
    """A spectrogram without padding: (normalized, onesided, return_complex, align_to_window); or with: (center, pad_mode, normalized, …)."""
    if len(rest) > 1 and isinstance(rest[1], str):
        return flambeau.stft(self, n_fft, hop_length, win_length, window, *rest, **named)
    names = ("normalized", "onesided", "return_complex", "align_to_window")
    options = {"center": False, **dict(zip(names, rest, strict=False)), **named}
    return flambeau.stft(self, n_fft, hop_length, win_length, window, **options)


def _rsub(self: Tensor, other: Any, alpha: Any = 1) -> Tensor:
    return flambeau.rsub(self, other, alpha=alpha)


def _rrelu(self: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None) -> Tensor:
    return F.rrelu(self, lower, upper, training)


def _in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda self, *args, **kwargs: self.copy_(function(self, *args, **kwargs))


_CASTS = {
    "Byte": flambeau.uint8, "Char": flambeau.int8, "Double": flambeau.float64, "Float": flambeau.float32, "Half": flambeau.float16, "Int": flambeau.int32,
    "Long": flambeau.int64, "Short": flambeau.int16,
}  # fmt: skip


OPERATORS: dict[str, Callable] = {
    **FUNCTIONS,
    # copies, views and numbers
    "_to_copy": lambda self, **options: self.to(copy=True, **options),
    "_pin_memory": lambda self, device=None: self.pin_memory(device),
    "alias": lambda self: self.view_as(self),
    "_conj": flambeau.conj,
    "_conj_physical": flambeau.conj,
    "_index_put_impl_": lambda self, indices, values, accumulate=False, unsafe=False: FUNCTIONS["index_put_"](self, indices, values, accumulate),
    "_reshape_alias": lambda self, size, stride: flambeau.as_strided(self, size, stride),
    "_shape_as_tensor": lambda self: flambeau.tensor(list(self.shape)),
    "_stack": flambeau.stack,
    "_unsafe_index": lambda self, indices: self[_indices(indices)],
    "_unsafe_index_put": FUNCTIONS["index_put"],
    "index": lambda self, indices: self[_indices(indices)],
    "is_leaf": lambda self: self.is_leaf,
    "lift": lambda self: self,
    "lift_fresh_copy": lambda self: self.clone(),
    "mH": lambda self: self.mH,
    "mT": lambda self: self.mT,
    "matrix_H": lambda self: self.H,
    "numpy_T": lambda self: self.T,
    "data": lambda self: self.data,
    "slice": _slice,
    "sym_numel": lambda self: self.numel(),
    "sym_size": lambda self, dim=None: self.size() if dim is None else self.size(dim),
    "sym_storage_offset": lambda self: self.storage_offset(),
    "sym_stride": lambda self, dim=None: self.stride() if dim is None else self.stride(dim),
    "to_here": lambda self: self,
    "unfold": Tensor.unfold,
    "zero": flambeau.zeros_like,
    **{f"_cast_{name}": (lambda self, non_blocking=False, dtype=dtype: self.to(dtype)) for name, dtype in _CASTS.items()},
    "_is_all_true": lambda self: self.all(),
    "_is_any_true": lambda self: self.any(),
    "normal_functional": lambda self, mean=0.0, std=1.0, *, generator=None: self.clone().normal_(mean, std, generator=generator),
    "uniform": lambda self, low=0.0, high=1.0, *, generator=None: self.clone().uniform_(low, high, generator=generator),
    "_assert_async": lambda self, message="": flambeau._assert_async(self, message),
    "_functional_assert_async": _nothing,
    "_functional_sym_constrain_range": _nothing,
    "_functional_sym_constrain_range_for_size": _nothing,
    "_assert_scalar": _nothing,
    "_assert_tensor_metadata": _nothing,
    "sym_constrain_range": _nothing,
    "sym_constrain_range_for_size": _nothing,
    "_autocast_to_full_precision": lambda self, *enabled: self,
    "_autocast_to_reduced_precision": lambda self, *enabled: self,
    # convolutions and normalisation
    "_batch_norm_impl_index": lambda *args: (*_batch_norm_legit(*args[:8]), flambeau.empty(0, dtype=flambeau.uint8), 0),
    "_batch_norm_no_update": lambda input, *args: (*flambeau.native_batch_norm(input, *args[:4], False, *args[4:]), flambeau.empty(0)),
    "_batch_norm_with_update": lambda input, *args: (*flambeau.native_batch_norm(input, *args[:4], True, *args[4:]), flambeau.empty(0)),
    "_convolution": _convolution,
    "_convolution_mode": _convolution_mode,
    "_native_batch_norm_legit": _batch_norm_legit,
    "_native_batch_norm_legit_functional": _batch_norm_functional,
    "_native_batch_norm_legit_no_training": lambda input, weight, bias, mean, var, momentum, eps: flambeau.native_batch_norm(
        input, weight, bias, mean, var, False, momentum, eps),
    "_weight_norm": _weight_norm,
    "_weight_norm_interface": lambda v, g, dim=0: (_weight_norm(v, g, dim), flambeau.norm_except_dim(v, 2, dim)),
    # activations and attention
    "_native_multi_head_attention": _multi_head_attention,
    "_prelu_kernel": lambda self, weight: flambeau.where(self > 0, self, self * weight),
    "_safe_softmax": _safe_softmax,
    "_scaled_dot_product_attention_math": lambda *args, dropout_mask=None, enable_gqa=False, **named: _flash_attention(
        *args[:3], *args[4:6], attn_mask=args[3] if len(args) > 3 else None, **named),
    "_scaled_dot_product_flash_attention_for_cpu": _flash_attention,
    "_transformer_encoder_layer_fwd": _transformer_encoder_layer,
    "elu_": _in_place(FUNCTIONS["elu"]),
    **{f"{name}_": _in_place(getattr(F, name)) for name in ("gelu", "hardsigmoid", "hardswish", "mish", "relu6", "silu")},
    "log_sigmoid": F.logsigmoid,
    "log_sigmoid_forward": lambda self: (F.logsigmoid(self), flambeau.empty(0)),
    "rrelu": _rrelu,
    "rsub": _rsub,
    # images
    "__interpolate": F.interpolate,
    **{f"adaptive_max_pool{n}d": _with_indices(getattr(F, f"adaptive_max_pool{n}d")) for n in (1, 2, 3)},
    "_adaptive_avg_pool2d": F.adaptive_avg_pool2d,
    "_adaptive_avg_pool3d": F.adaptive_avg_pool3d,
    "_pad_circular": lambda self, pad: F.pad(self, tuple(pad), "circular"),
    "_pad_enum": _pad_enum,
    "col2im": lambda self, output_size, kernel_size, dilation, padding, stride: F.fold(self, output_size, kernel_size, dilation, padding, stride),
    "fractional_max_pool2d": _fractional_pool(F.fractional_max_pool2d),
    "fractional_max_pool3d": _fractional_pool(F.fractional_max_pool3d),
    "im2col": F.unfold,
    **{f"reflection_pad{n}d": _padding("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _padding("replicate") for n in (1, 2, 3)},
    **{f"upsample_nearest{n}d": _upsampling("nearest") for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _upsampling("nearest-exact") for n in (1, 2, 3)},
    "upsample_linear1d": _upsampling("linear"),
    "upsample_bilinear2d": _upsampling("bilinear"),
    "upsample_bicubic2d": _upsampling("bicubic"),
    "upsample_trilinear3d": _upsampling("trilinear"),
    "_upsample_bilinear2d_aa": _upsampling("bilinear", antialias=True),
    "_upsample_bicubic2d_aa": _upsampling("bicubic", antialias=True),
    # sequences, bags and losses
    **CELLS,
    **{mode: _recurrent(mode) for mode in LAYERS},
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_pack_padded_sequence": _pack_padded,
    "_pad_packed_sequence": _pad_packed,
    "pad_sequence": pad_sequence,
    "embedding_bag": _embedding_bag,
    **LOSSES,
    "cosine_embedding_loss": lambda input1, input2, target, margin=0.0, reduction=1: flambeau.cosine_embedding_loss(
        input1, input2, target, margin, reduction),
    "ctc_loss": lambda log_probs, targets, input_lengths, target_lengths, blank=0, reduction=1, zero_infinity=False: flambeau.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity),
    "hinge_embedding_loss": lambda self, target, margin=1.0, reduction=1: flambeau.hinge_embedding_loss(self, target, margin, reduction),
    "margin_ranking_loss": lambda input1, input2, target, margin=0.0, reduction=1: flambeau.margin_ranking_loss(
        input1, input2, target, margin, reduction),
    "triplet_margin_loss": lambda anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction=1: flambeau.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction),
    "multi_margin_loss": _multi_margin,
    "multilabel_margin_loss": _multilabel_margin,
    "nll_loss": _nll,
    "nll_loss2d": _nll,
    "nll_loss2d_forward": _nll_forward,
    "soft_margin_loss": _soft_margin,
    # linear algebra and others
    "_cdist_forward": lambda x1, x2, p, compute_mode=None: flambeau.cdist(x1, x2, p),
    "_euclidean_dist": flambeau.cdist,
    "_fft_c2c": _fft_c2c,
    "_fft_c2r": _fft_c2r,
    "_fft_r2c": _fft_r2c,
    "_pdist_forward": F.pdist,
    "_linalg_det": lambda A: (flambeau.linalg.det(A), *flambeau.linalg.lu_factor(A)),
    "_linalg_eigh": lambda A, UPLO="L", compute_v=True: flambeau.linalg.eigh(A, UPLO),
    "_linalg_svd": lambda A, full_matrices=False, compute_uv=True, *, driver=None: flambeau.linalg.svd(A, full_matrices),
    "_unique2": _unique2,
    "block_diag": lambda tensors: flambeau.block_diag(*tensors),
    "cartesian_prod": lambda tensors: flambeau.cartesian_prod(*tensors),
    "chain_matmul": lambda matrices: flambeau.chain_matmul(*matrices),
    "stft": _stft,
    "tensordot": _tensordot,
    "unique_consecutive": _unique_consecutive,
    "_unique": lambda self, sorted=True, return_inverse=False: _unique2(self, sorted)[:2],
    "unique_dim": _unique_dim,
    "unique_dim_consecutive": lambda self, dim, *how: _unique_consecutive(self, dim=dim),
}  # fmt: skip
"""The operators by name."""
