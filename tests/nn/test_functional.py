"""What ``nn.functional`` checks, and small examples with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F


def rand(*shape):
    return flambeau.rand(*shape)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: F.linear(rand(8, 5), rand(4, 3)), RuntimeError, "mat1 and mat2 shapes cannot be multiplied"),
        (lambda: F.bilinear(rand(2, 3), rand(3, 3), rand(4, 3, 3)), RuntimeError, "batch dimensions do not match"),
        (lambda: F.conv2d(rand(1, 4, 8, 8), rand(16, 3, 3, 3)), RuntimeError, r"\(1, 4, 8, 8\) has 4 channels.* takes 3"),
        (lambda: F.conv2d(rand(1, 3, 2, 8), rand(16, 3, 3, 3)), RuntimeError, r"H_out = floor.*\(2 \+ 2\*0 - 1\*\(3 - 1\) - 1\) / 1"),
        (lambda: F.conv2d(rand(8, 8), rand(16, 3, 3, 3)), RuntimeError, r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"),
        (lambda: F.conv2d(rand(1, 3, 8, 8), rand(4, 3, 3, 3), padding="full"), RuntimeError, "should be one of 'same' or 'valid'"),
        (
            lambda: F.conv2d(rand(1, 3, 8, 8), rand(4, 3, 3, 3), stride=(1, 2, 3)),
            RuntimeError,
            r"stride must be an int or a tuple of 2 ints",
        ),
        (lambda: F.conv2d(rand(1, 3, 8, 8), rand(4, 3, 3, 3), stride="x"), (TypeError, ValueError), "stride|invalid literal"),
        (lambda: F.max_pool2d(rand(1, 1, 2, 2), 3), RuntimeError, "the output would be empty: H_out = floor"),
        (lambda: F.max_pool2d(rand(1, 1, 9, 9), 3, padding=2), RuntimeError, "pad should be at most half"),
        (lambda: F.avg_pool2d(rand(1, 1, 4, 4), 2, divisor_override=0), RuntimeError, "divisor must be not zero"),
        (lambda: F.adaptive_avg_pool2d(rand(4, 4), 2), RuntimeError, "Input dimension should be at least 3"),
        (lambda: F.adaptive_avg_pool2d(rand(4, 4), (2, 2)), ValueError, "Input dimension should be at least 3"),
        (lambda: F.group_norm(rand(2, 5, 3), 2), RuntimeError, r"num_channels \(=5\) must be divisible by num_groups \(=2\)"),
        (lambda: F.batch_norm(rand(1, 3), None, None, training=True), ValueError, "Expected more than 1 value per channel"),
        (lambda: F.instance_norm(rand(2, 3, 1)), ValueError, "Expected more than 1 spatial element"),
        (lambda: F.layer_norm(rand(2, 3), (2,)), RuntimeError, r"expected input with shape \[\*, 2\]"),
        (lambda: F.local_response_norm(rand(2, 3), 2), ValueError, "Expected 3D or higher"),
        (lambda: F.dropout(rand(2), 1.5), ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
        (lambda: F.dropout1d(rand(2)), RuntimeError, "dropout1d: Expected 2D or 3D input"),
        (lambda: F.hardtanh(rand(2), 2.0, 1.0), ValueError, r"min_val \(=2.0\) cannot be greater than max_val \(=1.0\)"),
        (lambda: F.cross_entropy(rand(3, 4), flambeau.tensor([0, 1])), (ValueError, RuntimeError), "target"),
        (
            lambda: F.cross_entropy(rand(3, 4), flambeau.tensor([0, 1, 2]), reduction="x"),
            ValueError,
            "x is not a valid value for reduction",
        ),
        # Neither reads where there is nothing.
        (lambda: F.nll_loss(rand(2, 3), flambeau.tensor([10**12, 0]), rand(3)).item(), IndexError, "target 1000000000000 is out of range"),
        (lambda: F.nll_loss(rand(2, 0), flambeau.tensor([0, 0])), IndexError, "out of range for 0 classes"),
        (lambda: F.cross_entropy(rand(3), rand(3), label_smoothing=2.0), RuntimeError, "label_smoothing must be between"),
        (lambda: F.binary_cross_entropy_with_logits(rand(3), rand(4)), ValueError, r"Target size .* must be the same as input size"),
        (lambda: F.huber_loss(rand(3), rand(3), delta=0.0), RuntimeError, "non-positive values for delta"),
        (lambda: F.triplet_margin_loss(rand(3), rand(3), rand(3), margin=0.0), ValueError, "margin must be greater than 0"),
        (lambda: F.pad(rand(2, 3), (1,)), RuntimeError, "Padding length must be divisible by 2"),
        (lambda: F.pad(rand(1, 1, 3), (3, 0), mode="reflect"), RuntimeError, "Padding size should be less than"),
        (lambda: F.pad(rand(1, 1, 3), (3, 0), mode="nothing"), NotImplementedError, "Unrecognised padding mode nothing"),
        (lambda: F.interpolate(rand(1, 1, 3)), ValueError, "either size or scale_factor should be defined"),
        (lambda: F.interpolate(rand(1, 1, 3), 2, 2.0), ValueError, "only one of size or scale_factor"),
        (lambda: F.interpolate(rand(1, 1, 3), 2, mode="bilinear"), NotImplementedError, "Got 3D input, but bilinear mode needs 4D input"),
        (lambda: F.pixel_shuffle(rand(1, 3, 2, 2), 2), RuntimeError, r"input.size\(-3\)=3 is not divisible by 4"),
        (lambda: F.channel_shuffle(rand(1, 3, 2), 2), RuntimeError, "Got 3 channels and 2 groups"),
        (lambda: F.fold(rand(1, 12, 5), 5, 2), RuntimeError, r"number of sliding blocks 4 \* 4 = 16"),
        (lambda: F.one_hot(flambeau.tensor([3]), 3), RuntimeError, "class 3 with num_classes"),
        (lambda: F.one_hot(flambeau.tensor([[4, -2], [-1, 0]])), RuntimeError, "must be non-negative, got -2"),
        (lambda: F.embedding_bag(flambeau.tensor([1]), rand(3, 2)), ValueError, "offsets has to be a 1D Tensor"),
        (lambda: F.grid_sample(rand(1, 1, 2, 2), rand(1, 2, 2, 3), align_corners=False), RuntimeError, "size 2 in last dimension"),
        (lambda: F.scaled_dot_product_attention(rand(2, 3), rand(2, 4), rand(2, 4)), RuntimeError, "must agree in E and S"),
        (
            lambda: F.max_unpool2d(rand(1, 1, 2, 2), flambeau.zeros(1, 1, 2, 2, dtype=flambeau.int64), 2, output_size=(9, 9)),
            ValueError,
            "invalid output_size",
        ),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_warnings():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        F.softmax(rand(2, 3))
    with pytest.warns(UserWarning, match="likely lead to incorrect results due to broadcasting"):
        F.mse_loss(rand(3, 1), rand(3))
    with pytest.warns(UserWarning, match="'batchmean' divides only by the batch size"):
        F.kl_div(rand(2, 2).log(), rand(2, 2))


def test_max_unpool_undoes_max_pool():
    x = rand(2, 3, 6, 6)
    values, indices = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(values, indices, 2)
    assert bool((F.max_pool2d(back, 2) == values).all()) and int((back != 0).sum()) == values.numel()
    last = flambeau.channels_last
    other = F.max_unpool2d(*(each.contiguous(memory_format=last) for each in (values, indices)), 2)
    assert other.is_contiguous(memory_format=last) and flambeau.equal(other, back)


def test_unfold_and_matmul_are_convolution():
    x, weight = rand(2, 3, 6, 5), rand(4, 3, 2, 3)
    columns = F.unfold(x, (2, 3))
    product = (weight.reshape(4, -1) @ columns).reshape(2, 4, 5, 3)
    np.testing.assert_allclose(product.numpy(), F.conv2d(x, weight).numpy(), rtol=1e-5)


def test_fold_is_the_adjoint_of_unfold():
    x, columns = rand(2, 3, 6, 5), rand(2, 12, 20)
    left = (F.unfold(x, 2) * columns).sum()
    right = (x * F.fold(columns, (6, 5), 2)).sum()
    np.testing.assert_allclose(left.item(), right.item(), rtol=1e-5)


def test_gumbel_softmax_is_one_hot_when_hard():
    flambeau.manual_seed(0)
    logits = rand(5, 4).requires_grad_()
    sample = F.gumbel_softmax(logits, hard=True)
    assert sample.sum(1).tolist() == [1.0] * 5
    (sample * rand(5, 4)).sum().backward()
    assert bool(logits.grad.any())


def test_dropout_keeps_the_mean():
    flambeau.manual_seed(0)
    x = F.dropout(flambeau.ones(10000), 0.25)
    assert set(x.tolist()) == {0.0, np.float32(1 / 0.75)}
    assert abs(x.mean().item() - 1) < 0.02


def test_feature_dropout_drops_channels():
    flambeau.manual_seed(0)
    x = F.dropout2d(flambeau.ones(8, 16, 3, 3), 0.5)
    per_channel = x.flatten(2)
    assert bool((per_channel == per_channel[:, :, :1]).all()) and set(x.flatten().tolist()) == {0.0, 2.0}


def test_rrelu_draws_slopes_for_negative_elements():
    flambeau.manual_seed(0)
    x = flambeau.tensor([-1.0, 2.0, -1.0, 3.0]).requires_grad_()
    y = F.rrelu(x, 0.1, 0.3, training=True)
    y.sum().backward()
    slopes = x.grad.tolist()
    assert slopes[1] == slopes[3] == 1.0 and 0.1 <= slopes[0] <= 0.3 and slopes[0] != slopes[2]


def test_attention_without_keys_is_zero():
    q, k, v = (rand(1, 2, 3).requires_grad_() for _ in range(3))
    mask = flambeau.tensor([[True, True], [False, False]])
    output = F.scaled_dot_product_attention(q, k, v, mask)
    assert not bool(output[0, 1].any())
    output.sum().backward()
    assert bool(q.grad.isfinite().all()) and not bool(q.grad[0, 1].any())


def test_grouped_attention_shares_heads():
    q, k, v = rand(1, 4, 5, 3), rand(1, 2, 5, 3), rand(1, 2, 5, 3)
    shared = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    repeated = F.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    assert bool((shared == repeated).all())


def test_embedding_renormalises_in_place():
    weight = flambeau.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
    F.embedding(flambeau.tensor([0, 1]), weight, max_norm=1.0)
    np.testing.assert_allclose(weight.tolist(), [[0.6, 0.8], [0.3, 0.4], [6.0, 8.0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (3,), (2, 3, 4)])
def test_where_all_targets_are_ignored_the_loss_is_undefined_but_nothing_moves(shape: tuple) -> None:
    scores = flambeau.ones(shape, requires_grad=True)
    targets = flambeau.full((*shape[:1], *shape[2:]) if len(shape) > 1 else (), 1)
    loss = F.cross_entropy(scores, targets, ignore_index=1)
    loss.backward()
    assert loss.isnan()
    assert scores.grad is not None and not scores.grad.any()


def test_classes_are_int64():
    with pytest.raises(RuntimeError, match=r"expected scalar type Long but found Int.*target\.long\(\)"):
        flambeau.nn.functional.cross_entropy(flambeau.ones(2, 3), flambeau.tensor([0, 1], dtype=flambeau.int32))


@pytest.mark.parametrize("dtype", [flambeau.int64, flambeau.float64])
def test_targets_of_a_binary_cross_entropy_have_the_dtype_of_the_input(dtype):
    with pytest.raises(RuntimeError, match="target must have the dtype of the input"):
        F.binary_cross_entropy(flambeau.full((2,), 0.5), flambeau.ones(2, dtype=dtype))


def test_whole_numbers_are_no_probabilities_and_are_refused_at_the_call():
    whole = flambeau.ones(2, dtype=flambeau.int64)
    with pytest.raises(RuntimeError, match="not implemented for 'Long'"):
        F.binary_cross_entropy(whole, whole)
    assert flambeau.ones(2).add_(flambeau.ones(2), alpha=2).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("kind", [flambeau.nn.RNN, flambeau.nn.GRU])
def test_only_an_lstm_has_projections(kind):
    with pytest.raises(ValueError, match="only supported for LSTM"):
        kind(2, 4, proj_size=2)


def test_logits_and_targets_of_whole_numbers() -> None:
    with pytest.raises(RuntimeError, match=r"must be floating-point .*target.float"):
        F.binary_cross_entropy_with_logits(flambeau.ones(2), flambeau.ones(2).long())
    assert F.binary_cross_entropy_with_logits(flambeau.ones(2), flambeau.ones(2)).item() > 0


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_a_single_number_decides_with_about_the_dtype_of_a_loss(loss):
    """As PyTorch, which broadcasts before it promotes."""
    row, number = flambeau.ones(2), flambeau.zeros((), dtype=flambeau.float64)
    assert loss(row, number).dtype is loss(number, row).dtype is flambeau.float64
    assert loss(flambeau.ones(2, dtype=flambeau.float16), flambeau.ones((), dtype=flambeau.bfloat16)).dtype is flambeau.float32


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("shape", [(2,), ()])
def test_huber_loss_has_the_dtype_of_its_input(shape):
    loss = F.huber_loss(flambeau.ones(2), flambeau.full(shape, 3.0, dtype=flambeau.float64), delta=0.5)
    assert loss.dtype is flambeau.float32 and loss.item() == 0.875
