"""Functions of ``torch`` that are those of ``nn.functional`` with their arguments as PyTorch's operators take them: a reduction, a mode as a number.

Reductions are 0 (none), 1 (mean) and 2 (sum), and 0 if they are not given, as in PyTorch. Loaded when one of them is first used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau._ops.refusals import guard
from flambeau.nn import functional as F
from flambeau.nn.functional._common import reduce
from flambeau.nn.functional._dropout import feature_dropout as drop_features
from flambeau.nn.functional._embedding import counted_bags, renormalize
from flambeau.nn.functional._recurrent import run
from flambeau.nn.functional._recurrent_operators import CELLS, LAYERS

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(code: int) -> str:
    if code.__class__ is not int:
        raise TypeError(f"reduction must be int, not {type(code).__name__}: 0 (none), 1 (mean) or 2 (sum); nn.functional takes words")
    if code not in (0, 1, 2):
        raise RuntimeError(f"reduction must be 0 (none), 1 (mean) or 2 (sum), but got {code!r}")
    return _REDUCTIONS[code]


# -- losses ----------------------------------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 0
) -> Tensor:
    """``nn.functional.binary_cross_entropy_with_logits`` with the reduction as a number."""
    return F.binary_cross_entropy_with_logits(input, target, weight, reduction=_reduction(reduction), pos_weight=pos_weight)


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0) -> Tensor:
    """``nn.functional.cosine_embedding_loss`` with the reduction as a number."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 0, zero_infinity: bool = False
) -> Tensor:  # fmt: skip
    """``nn.functional.ctc_loss`` with the reduction as a number."""
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, _reduction(reduction), zero_infinity)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """``nn.functional.hinge_embedding_loss`` with the reduction as a number."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """``nn.functional.kl_div`` with the reduction as a number."""
    return reduce(F.kl_div(input, target, reduction="none", log_target=log_target), _reduction(reduction))


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0) -> Tensor:
    """``nn.functional.margin_ranking_loss`` with the reduction as a number."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """``nn.functional.poisson_nll_loss`` with the reduction as a number."""
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_reduction(reduction))


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: int = 0
) -> Tensor:  # fmt: skip
    """``nn.functional.triplet_margin_loss`` with the reduction as a number."""
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction))


# -- sampling --------------------------------------------------------------------------------------------------------

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def grid_sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """``nn.functional.grid_sample`` with 0 for bilinear, 1 for nearest, 2 for bicubic, and for what lies outside 0 for zeros, 1 for the border,
    2 for the reflection."""
    for name, value in (("interpolation_mode", interpolation_mode), ("padding_mode", padding_mode)):
        if value not in (0, 1, 2):
            raise RuntimeError(f"grid_sampler(): {name} must be 0, 1 or 2, but got {value!r}")
    return F.grid_sample(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


def _sampler(n: int) -> Callable[..., Tensor]:
    def sampler(
        input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool, *, out: Tensor | None = None
    ) -> Tensor:
        if input.dim() != n + 2:
            raise RuntimeError(f"grid_sampler_{n}d(): expected input of {n + 2} dimensions, but got shape {list(input.shape)}")
        result = grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)
        return result if out is None else out.resize_(result.shape).copy_(result)

    sampler.__name__ = sampler.__qualname__ = f"grid_sampler_{n}d"
    sampler.__doc__ = f"``grid_sampler`` of {'images' if n == 2 else 'volumes'}."
    return sampler


grid_sampler_2d, grid_sampler_3d = _sampler(2), _sampler(3)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """``nn.functional.affine_grid``."""
    return F.affine_grid(theta, size, align_corners)


# -- recurrent layers ------------------------------------------------------------------------------------------------


def _layers(name: str) -> Callable[..., tuple[Tensor, ...]]:
    padded = LAYERS[name]

    def layers(input: Tensor, *args: Any) -> tuple[Tensor, ...]:
        if len(args) == 8 and isinstance(args[5], bool):
            return padded(input, *args)
        if len(args) != 8:
            raise TypeError(f"{name}() takes 9 arguments, but got {len(args) + 1}")
        sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional = args
        count = num_layers * (2 if bidirectional else 1)
        each = len(params) // count
        weights = [params[position * each : (position + 1) * each] for position in range(count)]
        state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        rows = sizes.tolist()
        data, final = run(name.upper(), input, rows, state, weights, has_biases, bidirectional, dropout if train else 0.0)
        return (data, *final)

    layers.__name__ = layers.__qualname__ = name
    layers.__doc__ = f"""The layers of ``nn.{"RNN" if name.startswith("rnn") else name.upper()}`` on their weights; returns the outputs, and the final state.

    Called as ``{name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or, with packed data and how many
    sequences have a t-th element, as ``{name}(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)``. ``params``
    has for each layer and direction W_ih, W_hh, and, if there are some, b_ih, b_hh, and W_hr.
    """
    return layers


def _cell(name: str) -> Callable[..., Any]:
    step = CELLS[name]

    def cell(
        input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        return step(input, hx, w_ih, w_hh, b_ih, b_hh)

    cell.__name__ = cell.__qualname__ = name
    cell.__doc__ = f"One step of ``{name.removesuffix('_cell')}``: (N, input_size) and the state (N, hidden_size) to the next state."
    return cell


gru, lstm, rnn_relu, rnn_tanh = map(_layers, ("gru", "lstm", "rnn_relu", "rnn_tanh"))
gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell = map(_cell, ("gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"))

# -- embeddings ------------------------------------------------------------------------------------------------------


def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """``nn.functional.embedding_bag`` of indices in one row, with the mode as a number: 0 (sum), 1 (mean), 2 (max).

    Returns:
        The bags (B, D); the bag of each index; how many indices each bag has; and of maxima the row of ``weight`` that each comes from
        (B, D), 0 in an empty bag.
    """
    if mode not in (0, 1, 2):
        raise RuntimeError(f"embedding_bag: mode must be 0 (sum), 1 (mean) or 2 (max), but got {mode!r}")
    found = F.embedding_bag(
        indices, weight, offsets, None, 2.0, scale_grad_by_freq, ("sum", "mean", "max")[mode], sparse, per_sample_weights, include_last_offset, padding_idx
    )  # fmt: skip
    return found, *counted_bags(indices, weight, offsets, found if mode == 2 else None, include_last_offset, padding_idx)


def embedding_renorm_(self: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows that ``indices`` names and whose norm is larger than ``max_norm`` down to it, in place."""
    renormalize(self, indices.reshape(-1), max_norm, norm_type)
    return self


# -- dropout, shuffles, norms ----------------------------------------------------------------------------------------


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``nn.functional.alpha_dropout`` in place."""
    return F.alpha_dropout(input, p, train, inplace=True)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """``nn.functional.feature_alpha_dropout``."""
    return F.feature_alpha_dropout(input, p, train)


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``nn.functional.feature_alpha_dropout`` in place."""
    return F.feature_alpha_dropout(input, p, train, inplace=True)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Zeros in whole channels of (N, C, ...) with probability ``p``, and the others divided by 1 - ``p``."""
    return drop_features(input, p, train, inplace=False)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """``feature_dropout`` in place."""
    return drop_features(input, p, train, inplace=True)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """``dropout``, and which elements were kept."""
    if train is False:
        return input, flambeau.ones(input.shape, dtype=flambeau.bool, device=input.device)
    noise = flambeau.dropout(flambeau.ones_like(input), p, True)
    return input * noise, noise != 0


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """``nn.functional.rrelu`` in place."""
    return F.rrelu(input, lower, upper, training, inplace=True)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """``nn.functional.channel_shuffle``."""
    return F.channel_shuffle(input, groups)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """The convolution of sequences (T, N, C_in) with weights (K, C_in, C_out): (T + 2 * pad - K + 1, N, C_out)."""
    if input.dim() != 3 or weight.dim() != 3 or bias.dim() != 1:
        raise RuntimeError(
            f"conv_tbc: expected input (T, N, C_in), weight (K, C_in, C_out) and bias (C_out), but got shapes {list(input.shape)}, "
            f"{list(weight.shape)} and {list(bias.shape)}"
        )
    return F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


def max_pool1d_with_indices(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``nn.functional.max_pool1d`` with the positions of the maxima."""
    return F.max_pool1d(input, kernel_size, stride or None, padding, dilation, ceil_mode, return_indices=True)


def frobenius_norm(input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The root of the sum of the squares over ``dim``."""
    return flambeau.linalg.vector_norm(input, 2, dim or None, keepdim, out=out)


def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The sum of the singular values of the matrices in the two dimensions ``dim``."""
    if isinstance(dim, bool):
        dim, keepdim = (-2, -1), dim
    return flambeau.linalg.matrix_norm(input, "nuc", dim, keepdim, out=out)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norms of all slices along a dimension, in the shape of ``v`` with 1 in the place of all other sizes; of the whole for ``dim=-1``."""
    if dim == -1:
        return v.norm(pow)
    axes = [axis for axis in range(v.dim()) if axis != dim]
    return flambeau.linalg.vector_norm(v, pow, axes, True) if axes else v.abs()


def from_file(
    filename: str | os.PathLike, shared: bool | None = None, size: int = 0, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False
) -> Tensor:  # fmt: skip
    """A vector of the first ``size`` numbers of a file, which are read when they are used.

    Args:
        filename: the file; with ``shared`` it is made, or lengthened, if need be.
        shared: whether writes to the tensor reach the file; otherwise they stay in memory.
        size: how many numbers.
        dtype: of the numbers; the default dtype if left out.

    Raises:
        RuntimeError: the file cannot be opened, or is too short.
    """
    kind = flambeau.get_default_dtype() if dtype is None else dtype
    if size == 0:
        return flambeau.empty(0, dtype=kind)
    nbytes = size * kind.itemsize
    try:
        length = 0 if shared and not os.path.exists(filename) else os.path.getsize(filename)
        if not shared and length < nbytes:
            raise RuntimeError(f"from_file(): {os.fspath(filename)!r} has {length} bytes, and {size} numbers of {kind} take {nbytes}")
        memory = flambeau.UntypedStorage.from_file(filename, bool(shared), nbytes)
    except OSError as error:
        raise RuntimeError(f"from_file(): unable to open {os.fspath(filename)!r}: {error.strerror}") from None
    return flambeau.empty(0, dtype=kind).set_(memory, 0, (size,))


def view_as_real_copy(input: Tensor) -> Tensor:
    """A copy of ``view_as_real``."""
    return flambeau.view_as_real(input).clone()


def view_as_complex_copy(input: Tensor) -> Tensor:
    """A copy of ``view_as_complex``."""
    return flambeau.view_as_complex(input).clone()


def detach_copy(input: Tensor) -> Tensor:
    """A copy that has no history."""
    return input.detach().clone()


def slice_copy(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """A copy of ``input[start:end:step]`` along ``dim``."""
    dim = dim + input.dim() if dim < 0 else dim
    return input[(slice(None),) * dim + (slice(start, end, step),)].clone()


def get_device(input: Tensor) -> int:
    """The number of the tensor's device: -1 on the CPU."""
    return input.get_device()


def get_device_module(device: Any = None) -> Any:
    """The module of a kind of device, such as ``torch.cpu``; that of the CPU by default.

    Raises:
        RuntimeError: there is none.
    """
    kind = "cpu" if device is None else flambeau.device(device).type
    if kind not in ("cpu", "cuda", "mps", "xpu"):
        raise RuntimeError(f"there is no module of the device {kind!r}")
    return getattr(flambeau, kind)


guard(*[value for value in list(globals().values()) if getattr(value, "__module__", None) == __name__])
