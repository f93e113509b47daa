"""Every function of ``nn.functional`` gives PyTorch's values and gradients."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)


def r(*shape, low=-1.5, high=1.5):
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*shape, high=4):
    return RNG.integers(0, high, shape)


def probs(*shape):
    return RNG.uniform(0.05, 0.95, shape).astype(np.float32)


def distributions(*shape):
    values = RNG.uniform(0.1, 1.0, shape)
    return (values / values.sum(1, keepdims=True)).astype(np.float32)


def signs(*shape):
    return np.sign(RNG.uniform(-1, 1, shape)).astype(np.float32)


def bools(*shape):
    return RNG.uniform(0, 1, shape) > 0.5


CASES = {
    # linear
    "linear": ((r(2, 5, 3), r(4, 3), r(4)), {}),
    "linear/no bias": ((r(3), r(4, 3)), {}),
    "bilinear": ((r(2, 5, 3), r(2, 5, 4), r(6, 3, 4), r(6)), {}),
    # convolution
    "conv1d": ((r(2, 4, 11), r(6, 2, 3), r(6)), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}),
    "conv2d": ((r(2, 4, 8, 9), r(6, 4, 3, 2), r(6)), {"stride": (2, 1), "padding": (1, 2)}),
    "conv2d/same": ((r(2, 4, 8, 9), r(6, 4, 4, 3)), {"padding": "same", "dilation": (1, 2)}),
    "conv2d/valid": ((r(4, 8, 9), r(6, 4, 4, 3)), {"padding": "valid"}),
    "conv2d/depthwise": ((r(2, 4, 8, 9), r(8, 1, 3, 3), r(8)), {"groups": 4, "padding": 1}),
    "conv3d": ((r(1, 2, 5, 6, 7), r(3, 2, 2, 3, 2), r(3)), {"stride": (1, 2, 1), "padding": 1}),
    "conv_transpose1d": ((r(2, 4, 5), r(4, 3, 3), r(6)), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}),
    "conv_transpose2d": ((r(2, 4, 5, 4), r(4, 3, 3, 2), r(3)), {"stride": 2, "padding": 1, "dilation": (2, 1)}),
    "conv_transpose3d": ((r(2, 3, 4, 4), r(2, 3, 2, 2, 2), r(3)), {"stride": 2}),
    # activations
    "relu": ((r(3, 4),), {}),
    "threshold": ((r(3, 4), 0.1, 5.0), {}),
    "hardtanh": ((r(3, 4), -0.5, 0.7), {}),
    "relu6": ((r(3, 4, low=-3, high=9),), {}),
    "elu": ((r(3, 4),), {"alpha": 1.3}),
    "selu": ((r(3, 4),), {}),
    "celu": ((r(3, 4),), {"alpha": 0.7}),
    "leaky_relu": ((r(3, 4), 0.2), {}),
    "prelu": ((r(3, 4, 2), r(4)), {}),
    "prelu/one": ((r(3, 4, 2), r(1)), {}),
    "rrelu": ((r(3, 4),), {}),
    "gelu": ((r(3, 4),), {}),
    "gelu/tanh": ((r(3, 4),), {"approximate": "tanh"}),
    "silu": ((r(3, 4),), {}),
    "mish": ((r(3, 4),), {}),
    "hardswish": ((r(3, 4, low=-4, high=4),), {}),
    "hardsigmoid": ((r(3, 4, low=-4, high=4),), {}),
    "sigmoid": ((r(3, 4),), {}),
    "tanh": ((r(3, 4),), {}),
    "tanhshrink": ((r(3, 4),), {}),
    "softsign": ((r(3, 4),), {}),
    "softplus": ((r(3, 4, low=-9, high=9),), {"beta": 2.0, "threshold": 8.0}),
    "logsigmoid": ((r(3, 4),), {}),
    "softshrink": ((r(3, 4), 0.4), {}),
    "hardshrink": ((r(3, 4), 0.4), {}),
    "glu": ((r(3, 4), 1), {}),
    "softmax": ((r(3, 4),), {"dim": 1}),
    "softmin": ((r(3, 4),), {"dim": 0}),
    "log_softmax": ((r(3, 4),), {"dim": -1}),
    # normalisation
    "batch_norm/train": ((r(4, 3, 5), r(3), r(3, low=0.5), r(3), r(3)), {"training": True}),
    "batch_norm/eval": ((r(4, 3, 5), r(3), r(3, low=0.5), r(3), r(3)), {}),
    "instance_norm": ((r(4, 3, 5), None, None, r(3), r(3)), {}),
    "instance_norm/running": ((r(4, 3, 5), r(3), r(3, low=0.5)), {"use_input_stats": False}),
    "group_norm": ((r(4, 6, 5), 3, r(6), r(6)), {}),
    "layer_norm": ((r(4, 6, 5), (6, 5), r(6, 5), r(6, 5)), {}),
    "rms_norm": ((r(4, 6, 5), (5,), r(5)), {}),
    "local_response_norm": ((r(2, 6, 4), 3), {"alpha": 0.3}),
    "local_response_norm/2d": ((r(2, 6, 4, 3), 4), {"alpha": 0.3, "k": 2.0}),
    "normalize": ((r(3, 4),), {"p": 3.0, "dim": 1}),
    # pooling
    "max_pool1d": ((r(2, 3, 11), 3), {"stride": 2, "padding": 1}),
    "max_pool2d": ((r(2, 3, 9, 8), (3, 2)), {"stride": 2, "padding": 1, "ceil_mode": True}),
    "max_pool2d/indices": ((r(3, 9, 8), 2), {"return_indices": True, "dilation": 2}),
    "max_pool3d": ((r(1, 2, 5, 6, 7), 2), {}),
    "avg_pool1d": ((r(2, 3, 11), 3), {"stride": 2, "padding": 1, "count_include_pad": False}),
    "avg_pool2d": ((r(2, 3, 9, 8), (3, 2)), {"stride": 2, "padding": 1, "ceil_mode": True}),
    "avg_pool2d/divisor": ((r(2, 3, 9, 8), 2), {"divisor_override": 3}),
    "avg_pool3d": ((r(1, 2, 5, 6, 7), 2), {}),
    "adaptive_avg_pool1d": ((r(2, 3, 11), 4), {}),
    "adaptive_avg_pool2d": ((r(2, 3, 9, 8), (4, None)), {}),
    "adaptive_avg_pool3d": ((r(2, 3, 5, 4, 6), 1), {}),
    "adaptive_max_pool1d": ((r(2, 3, 11), 4), {}),
    "adaptive_max_pool2d": ((r(2, 3, 9, 8), (4, 3)), {"return_indices": True}),
    "adaptive_max_pool3d": ((r(2, 3, 5, 4, 6), 2), {}),
    "lp_pool1d": ((r(2, 3, 11, low=0.1), 3.0, 2), {}),
    "lp_pool2d": ((r(2, 3, 6, 6, low=0.1), 2.0, 2), {"stride": 1}),
    "lp_pool3d": ((r(2, 3, 4, 4, 4, low=0.1), 2.0, 2), {}),
    "lp_pool2d/inf": ((r(2, 3, 6, 6), float("inf"), 2), {}),
    "fractional_max_pool2d": ((r(2, 3, 9, 8), 2), {"output_size": (5, 4), "_random_samples": probs(2, 3, 2)}),
    "fractional_max_pool3d": ((r(3, 7, 9, 8), 2), {"output_ratio": 0.6, "_random_samples": probs(1, 3, 3)}),
    # dropout without draws
    "dropout": ((r(3, 4),), {"training": False}),
    "dropout2d": ((r(3, 4, 2, 2),), {"training": False}),
    # embedding
    "embedding": ((ints(2, 3), r(4, 5)), {"padding_idx": 1}),
    "embedding/frequency": ((np.array([1, 1, 2]), r(4, 5)), {"scale_grad_by_freq": True}),
    "embedding_bag": ((ints(2, 3), r(4, 5)), {}),
    "embedding_bag/offsets": ((ints(7), r(4, 5), np.array([0, 2, 2, 5])), {"mode": "sum", "per_sample_weights": r(7)}),
    "embedding_bag/max": ((ints(7), r(4, 5), np.array([0, 2, 2, 5])), {"mode": "max"}),
    "embedding_bag/padding": ((ints(3, 4), r(4, 5)), {"mode": "mean", "padding_idx": 1}),
    "one_hot": ((ints(2, 3),), {"num_classes": 5}),
    # padding and rearrangement
    "pad": ((r(2, 3, 4), (1, 2, 0, 1)), {"value": 3.0}),
    "pad/reflect": ((r(2, 3, 4, 5), (2, 1, 3, 2)), {"mode": "reflect"}),
    "pad/replicate": ((r(2, 3, 4, 5, 6), (2, 1, 3, 2, 1, 1)), {"mode": "replicate"}),
    "pad/circular": ((r(2, 3, 4), (3, 2)), {"mode": "circular"}),
    "pad/negative": ((r(2, 3, 6), (-2, 1)), {"mode": "reflect"}),
    "pixel_shuffle": ((r(2, 8, 3, 4), 2), {}),
    "pixel_unshuffle": ((r(2, 2, 6, 4), 2), {}),
    "channel_shuffle": ((r(2, 6, 3, 4), 3), {}),
    "unfold": ((r(2, 3, 6, 7), (2, 3)), {"dilation": (1, 2), "padding": 1, "stride": (2, 1)}),
    "unfold/unbatched": ((r(3, 6, 7), 2), {}),
    "fold": ((r(2, 3 * 4, 20), (5, 6), 2), {}),
    "fold/strided": ((r(2, 3 * 6, 12), (5, 8), (2, 3)), {"stride": 2, "padding": 1}),
    # resizing
    "interpolate/nearest": ((r(2, 3, 5),), {"size": 8}),
    "interpolate/nearest factor": ((r(2, 3, 5, 4),), {"scale_factor": 1.7}),
    "interpolate/nearest-exact": ((r(2, 3, 5, 4),), {"size": (3, 7), "mode": "nearest-exact"}),
    "interpolate/linear": ((r(2, 3, 5),), {"size": 8, "mode": "linear"}),
    "interpolate/bilinear": ((r(2, 3, 5, 4),), {"size": (8, 3), "mode": "bilinear"}),
    "interpolate/bilinear corners": ((r(2, 3, 5, 4),), {"size": (8, 3), "mode": "bilinear", "align_corners": True}),
    "interpolate/bilinear factor": ((r(2, 3, 5, 4),), {"scale_factor": (1.6, 2.3), "mode": "bilinear"}),
    "interpolate/bilinear recompute": ((r(2, 3, 5, 4),), {"scale_factor": (1.6, 2.3), "mode": "bilinear", "recompute_scale_factor": True}),
    "interpolate/trilinear": ((r(1, 2, 3, 4, 5),), {"size": (5, 6, 4), "mode": "trilinear"}),
    "interpolate/bicubic": ((r(2, 3, 5, 6),), {"size": (8, 4), "mode": "bicubic"}),
    "interpolate/bicubic corners": ((r(2, 3, 5, 6),), {"size": (8, 4), "mode": "bicubic", "align_corners": True}),
    "interpolate/area": ((r(2, 3, 6, 9),), {"size": (3, 4), "mode": "area"}),
    "interpolate/antialias": ((r(2, 3, 9, 8),), {"size": (4, 11), "mode": "bilinear", "antialias": True}),
    "interpolate/antialias bicubic": ((r(2, 3, 9, 8),), {"size": (4, 5), "mode": "bicubic", "antialias": True}),
    # sampling
    **{
        f"grid_sample/{mode} {padding} {corners}": (
            (r(2, 3, 5, 4), r(2, 3, 4, 2)),
            {"mode": mode, "padding_mode": padding, "align_corners": corners},
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (False, True)
    },
    "grid_sample/3d": ((r(2, 3, 5, 4, 3), r(2, 3, 4, 2, 3)), {"align_corners": False}),
    "affine_grid": ((r(2, 2, 3), (2, 3, 4, 5)), {"align_corners": False}),
    "affine_grid/3d": ((r(2, 3, 4), (2, 3, 4, 5, 3)), {"align_corners": True}),
    # distances
    "pairwise_distance": ((r(3, 4), r(3, 4)), {"p": 3.0, "keepdim": True}),
    "cosine_similarity": ((r(3, 4, 2), r(3, 1, 2)), {"dim": 2}),
    "pdist": ((r(5, 3),), {}),
    # losses
    "nll_loss": ((r(3, 4), ints(3)), {"weight": probs(4), "ignore_index": 2}),
    "nll_loss/2d": ((r(3, 4, 2, 2), ints(3, 2, 2)), {"reduction": "none"}),
    "nll_loss/one": ((r(4), ints()), {}),
    "cross_entropy": ((r(3, 4), ints(3)), {}),
    "cross_entropy/2d": ((r(3, 4, 2, 5), ints(3, 2, 5)), {"weight": probs(4), "ignore_index": 1}),
    "cross_entropy/smooth": ((r(5, 4), ints(5)), {"label_smoothing": 0.2, "weight": probs(4), "ignore_index": 1}),
    "cross_entropy/smooth sum": ((r(5, 4), ints(5)), {"label_smoothing": 0.2, "reduction": "sum"}),
    "cross_entropy/smooth none": ((r(5, 4, 2), ints(5, 2)), {"label_smoothing": 0.2, "reduction": "none", "ignore_index": 1}),
    "cross_entropy/probabilities": ((r(3, 4, 2), distributions(3, 4, 2)), {"weight": probs(4), "label_smoothing": 0.1}),
    "cross_entropy/one": ((r(4), ints()), {"reduction": "sum"}),
    "linear_cross_entropy": ((r(5, 3), r(4, 3), ints(5)), {"linear_bias": r(4)}),
    "linear_cross_entropy/2d": ((r(5, 3), r(4, 2, 3), ints(5, 2)), {"linear_bias": r(4, 2)}),
    "binary_cross_entropy": ((probs(3, 4), probs(3, 4)), {"weight": probs(4)}),
    "binary_cross_entropy_with_logits": ((r(3, 4), probs(3, 4)), {"weight": probs(4), "pos_weight": probs(4)}),
    "kl_div": ((r(3, 4), probs(3, 4)), {"reduction": "batchmean"}),
    "kl_div/log": ((r(3, 4), r(3, 4)), {"reduction": "sum", "log_target": True}),
    "poisson_nll_loss": ((r(3, 4), probs(3, 4) * 4), {"full": True}),
    "poisson_nll_loss/rate": ((probs(3, 4), probs(3, 4)), {"log_input": False}),
    "gaussian_nll_loss": ((r(3, 4), r(3, 4), probs(3)), {"full": True}),
    "l1_loss": ((r(3, 4), r(3, 4)), {}),
    "l1_loss/weight": ((r(3, 4), r(3, 4)), {"weight": probs(3, 4)}),
    "mse_loss": ((r(3, 4), r(3, 4)), {"reduction": "sum"}),
    "mse_loss/weight": ((r(3, 4), r(3, 4)), {"weight": probs(3, 4)}),
    "smooth_l1_loss": ((r(3, 4), r(3, 4)), {"beta": 0.7}),
    "smooth_l1_loss/zero": ((r(3, 4), r(3, 4)), {"beta": 0.0}),
    "huber_loss": ((r(3, 4), r(3, 4)), {"delta": 0.7, "weight": probs(3, 4)}),
    "margin_ranking_loss": ((r(5), r(5), signs(5)), {"margin": 0.3}),
    "hinge_embedding_loss": ((r(5), signs(5)), {"margin": 0.8}),
    "soft_margin_loss": ((r(5), signs(5)), {}),
    "multilabel_soft_margin_loss": ((r(5, 3), bools(5, 3).astype(np.float32)), {"weight": probs(3)}),
    "multi_margin_loss": ((r(5, 4), ints(5)), {"p": 2, "margin": 0.7, "weight": probs(4)}),
    "multilabel_margin_loss": ((r(2, 4), np.array([[3, 0, -1, 1], [2, -1, 0, 0]])), {"reduction": "none"}),
    "cosine_embedding_loss": ((r(5, 4), r(5, 4), signs(5)), {"margin": 0.1}),
    "triplet_margin_loss": ((r(5, 4), r(5, 4), r(5, 4)), {"swap": True, "p": 3.0}),
    # attention
    "scaled_dot_product_attention": ((r(2, 3, 5, 4), r(2, 3, 6, 4), r(2, 3, 6, 7)), {"attn_mask": bools(5, 6) | np.eye(5, 6, dtype=bool)}),
    "scaled_dot_product_attention/causal": ((r(2, 3, 5, 4), r(2, 3, 5, 4), r(2, 3, 5, 4)), {"is_causal": True, "scale": 0.3}),
}


def convert(value, make, leaves):
    if isinstance(value, np.ndarray):
        tensor = make(value)
        if value.dtype == np.float32:
            tensor.requires_grad_()
            leaves.append(tensor)
        return tensor
    return value


def arguments(name, make):
    args, kwargs = CASES[name]
    leaves = []
    args = [convert(value, make, leaves) for value in args]
    kwargs = {key: convert(value, make, leaves) for key, value in kwargs.items()}
    # Running statistics, targets and weights of losses take no gradient in PyTorch.
    function = name.partition("/")[0]
    if function in ("batch_norm", "instance_norm"):
        frozen = args[1:3]
    elif function in NO_GRADIENT_BEYOND_FIRST:
        frozen = [*args[1:], *kwargs.values()]
    elif function in ("fractional_max_pool2d", "fractional_max_pool3d"):
        frozen = list(kwargs.values())
    else:
        frozen = [kwargs[key] for key in ("weight", "pos_weight") if key in kwargs]
    for tensor in frozen:
        if tensor is not None and hasattr(tensor, "requires_grad_"):
            tensor.requires_grad_(False)
            leaves = [leaf for leaf in leaves if leaf is not tensor]
    return args, kwargs, leaves


NO_GRADIENT_BEYOND_FIRST = {
    "binary_cross_entropy",
    "multi_margin_loss",
    "margin_ranking_loss",
    "hinge_embedding_loss",
    "soft_margin_loss",
    "poisson_nll_loss",
    "cosine_embedding_loss",
    "nll_loss",
    "cross_entropy",
}


def flatten(result):
    return list(result) if isinstance(result, tuple) else [result]


def array(tensor):
    return tensor.detach().numpy()


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    function = name.partition("/")[0]
    ours_args, ours_kwargs, ours_leaves = arguments(name, lambda a: flambeau.tensor(a.tolist(), dtype=getattr(flambeau, str(a.dtype))))
    args, kwargs, leaves = arguments(name, torch.tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = flatten(getattr(F, function)(*ours_args, **ours_kwargs))
        theirs = flatten(getattr(torch.nn.functional, function)(*args, **kwargs))
    assert len(ours) == len(theirs)
    for mine, expected in zip(ours, theirs):
        assert tuple(mine.shape) == tuple(expected.shape)
        assert str(mine.dtype).partition(".")[2] == str(expected.dtype).partition(".")[2]
        np.testing.assert_allclose(array(mine), array(expected), rtol=2e-5, atol=2e-6)
    if not theirs[0].requires_grad:
        return
    weights = RNG.uniform(-1, 1, tuple(theirs[0].shape)).astype(np.float32)
    (ours[0] * flambeau.tensor(weights.tolist())).sum().backward()
    (theirs[0] * torch.tensor(weights)).sum().backward()
    for mine, expected in zip(ours_leaves, leaves):
        if expected.grad is None or mine.grad is None:  # none and all zeros mean the same
            assert all(leaf.grad is None or not array(leaf.grad).any() for leaf in (mine, expected))
        else:
            np.testing.assert_allclose(array(mine.grad), array(expected.grad), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss(reduction):
    """PyTorch's gradient is that of the logits, so a log_softmax comes before."""
    logits, targets = r(12, 3, 5), RNG.integers(1, 5, (3, 4))
    lengths, target_lengths = [12, 11, 9], [4, 3, 2]
    results = []
    for package, make in ((flambeau, lambda a: flambeau.tensor(a.tolist())), (torch, torch.tensor)):
        x = make(logits).requires_grad_()
        loss = package.nn.functional.ctc_loss(x.log_softmax(2), make(targets), lengths, target_lengths, reduction=reduction)
        loss.sum().backward()
        results.append((array(loss), array(x.grad)))
    for mine, expected in zip(*results):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)


def test_ctc_loss_that_is_impossible():
    for zero_infinity in (False, True):
        losses = []
        for package in (flambeau, torch):
            x = package.zeros(2, 1, 3).log_softmax(2)
            target = package.tensor([[1, 1, 2]])
            losses.append(array(package.nn.functional.ctc_loss(x, target, [2], [3], zero_infinity=zero_infinity)))
        np.testing.assert_array_equal(*losses)
