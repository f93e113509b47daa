"""Functions of the package itself: those that take a reduction or a mode as a number are the same as those of ``nn.functional``."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import flambeau
from flambeau import nn
from flambeau.nn import functional as F

flambeau.manual_seed(0)
X, Y, P = flambeau.randn(4, 5), flambeau.randn(4, 5), flambeau.rand(4, 5)
ROW = flambeau.tensor([1.0, -1.0, 1.0, -1.0])
SIGNS = Y.sign()
SPOKEN = flambeau.randn(6, 2, 5).log_softmax(2)
SAID = flambeau.tensor([[1, 2], [3, 4]])
LOSSES = {
    "binary_cross_entropy_with_logits": (X, P),
    "cosine_embedding_loss": (X, Y, ROW, 0.1),
    "ctc_loss": (SPOKEN, SAID, [6, 5], [2, 1], 0),
    "hinge_embedding_loss": (X, SIGNS, 1.5),
    "kl_div": (X, P),
    "margin_ranking_loss": (X, Y, SIGNS, 0.2),
    "triplet_margin_loss": (X, Y, P),
}


@pytest.mark.parametrize("name", LOSSES)
def test_reductions_are_numbers(name: str) -> None:
    function = getattr(flambeau, name)
    for code, word in enumerate(("none", "mean", "sum")):
        if name == "kl_div" and word == "mean":
            continue  # of which nn.functional warns
        assert flambeau.equal(function(*LOSSES[name], reduction=code), getattr(F, name)(*LOSSES[name], reduction=word))
    assert flambeau.equal(function(*LOSSES[name]), function(*LOSSES[name], reduction=0))  # as in PyTorch
    with pytest.raises(TypeError, match="must be int, not str"):
        function(*LOSSES[name], reduction="sum")
    with pytest.raises(RuntimeError, match="but got 7"):
        function(*LOSSES[name], reduction=7)


def test_bags_of_embeddings_are_counted() -> None:
    weight, indices = flambeau.randn(6, 3), flambeau.tensor([1, 2, 4, 5, 4, 3, 2, 1])
    offsets = flambeau.tensor([0, 4, 4])
    for code, mode in enumerate(("sum", "mean", "max")):
        found, bags, sizes, largest = flambeau.embedding_bag(weight, indices, offsets, False, code)
        assert flambeau.equal(found, F.embedding_bag(indices, weight, offsets, mode=mode))
        assert bags.tolist() == [0] * 4 + [2] * 4 and sizes.tolist() == [4, 0, 4]
        if mode == "max":
            assert largest[1].tolist() == [0] * 3
            assert flambeau.equal(weight.gather(0, largest[::2]), found[::2])
    assert flambeau.embedding_bag(weight, indices, offsets, padding_idx=4)[2].tolist() == [3, 0, 3]
    with pytest.raises(RuntimeError, match="mode must be 0"):
        flambeau.embedding_bag(weight, indices, offsets, mode=3)
    with pytest.raises(TypeError, match="must be int, not str"):
        flambeau.embedding_bag(weight, indices, offsets, mode="sum")


def test_poisson() -> None:
    assert flambeau.equal(flambeau.poisson_nll_loss(X, P, True, True, 1e-8, 2), F.poisson_nll_loss(X, P, full=True, reduction="sum"))


def test_grids_are_sampled_with_modes_as_numbers() -> None:
    image, grid = flambeau.randn(1, 2, 4, 4), flambeau.rand(1, 3, 3, 2)
    assert flambeau.equal(flambeau.grid_sampler(image, grid, 2, 1, True), F.grid_sample(image, grid, "bicubic", "border", True))
    out = flambeau.empty(0)
    assert flambeau.grid_sampler_2d(image, grid, 0, 0, False, out=out) is out
    assert flambeau.equal(out, F.grid_sample(image, grid, align_corners=False))
    with pytest.raises(RuntimeError, match="5 dimensions"):
        flambeau.grid_sampler_3d(image, grid, 0, 0, False)
    with pytest.raises(RuntimeError, match="interpolation_mode must be 0, 1 or 2, but got 5"):
        flambeau.grid_sampler(image, grid, 5, 0, False)
    theta = flambeau.randn(1, 2, 3)
    assert flambeau.equal(flambeau.affine_grid_generator(theta, [1, 1, 3, 4], False), F.affine_grid(theta, [1, 1, 3, 4], False))


@pytest.mark.parametrize(("name", "layer"), [("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn_tanh", nn.RNN)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers_take_their_weights(name: str, layer: type, bidirectional: bool) -> None:
    network = layer(3, 4, 2, bidirectional=bidirectional)
    inputs = flambeau.randn(5, 2, 3)
    state = [flambeau.randn(4 if bidirectional else 2, 2, 4) for _ in range(2 if name == "lstm" else 1)]
    given = tuple(state) if name == "lstm" else state[0]
    expected, final = network(inputs, given)
    weights = [weight for each in network.all_weights for weight in each]
    output, *rest = getattr(flambeau, name)(inputs, given, weights, True, 2, 0.0, False, bidirectional, False)
    assert flambeau.equal(output, expected)
    assert all(flambeau.equal(*pair) for pair in zip(rest, final if name == "lstm" else [final], strict=True))
    packed = nn.utils.rnn.pack_padded_sequence(inputs, [5, 3])
    expected, _ = network(packed, given)
    data, *_ = getattr(flambeau, name)(packed.data, packed.batch_sizes, given, weights, True, 2, 0.0, False, bidirectional)
    assert flambeau.equal(data, expected.data)
    with pytest.raises(TypeError, match="takes 9 arguments"):
        getattr(flambeau, name)(inputs, given, weights)


def test_cells_take_their_weights() -> None:
    cell = nn.GRUCell(3, 4)
    inputs, state = flambeau.randn(2, 3), flambeau.randn(2, 4)
    assert flambeau.equal(flambeau.gru_cell(inputs, state, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh), cell(inputs, state))
    long = nn.LSTMCell(3, 4, bias=False)
    found = flambeau.lstm_cell(inputs, (state, state), long.weight_ih, long.weight_hh)
    assert all(flambeau.equal(*pair) for pair in zip(found, long(inputs, (state, state)), strict=True))


def test_the_others() -> None:
    steps, weight, bias = flambeau.randn(6, 2, 3), flambeau.randn(3, 3, 4), flambeau.randn(4)
    expected = F.conv1d(steps.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=1).permute(2, 0, 1)
    assert flambeau.equal(flambeau.conv_tbc(steps, weight, bias, 1), expected)
    with pytest.raises(RuntimeError, match="expected input"):
        flambeau.conv_tbc(steps[0], weight, bias)
    rows = flambeau.ones(3, 4)
    assert flambeau.embedding_renorm_(rows, flambeau.tensor([0, 2]), 1.0, 2.0) is rows
    assert rows.norm(dim=1).tolist() == pytest.approx([1, 2, 1], abs=1e-5)
    assert flambeau.norm_except_dim(X, 2, 1).shape == (1, 5) and flambeau.norm_except_dim(X, 2, -1).shape == ()
    assert flambeau.allclose(flambeau.nuclear_norm(X, True), flambeau.linalg.svdvals(X).sum().reshape(1, 1))
    assert flambeau.equal(flambeau.frobenius_norm(X, [0]), X.norm(dim=0)) and flambeau.get_device(X) == -1
    values, places = flambeau.max_pool1d_with_indices(X[None], 2)
    assert flambeau.equal(values, F.max_pool1d(X[None], 2)) and flambeau.equal(X[None].gather(2, places), values)
    kept, mask = flambeau.native_dropout(flambeau.ones(100), 0.5, True)
    assert flambeau.equal(kept, mask * 2.0) and 20 < mask.sum().item() < 80
    assert flambeau.native_dropout(X, 0.5, False)[1].all()
    assert flambeau.equal(flambeau.feature_dropout(X, 0.5, False), X) and flambeau.equal(
        flambeau.rrelu_(X.clone(), 0.1, 0.1), F.leaky_relu(X, 0.1)
    )
    for name in ("alpha_dropout_", "feature_dropout_", "feature_alpha_dropout_"):
        x = flambeau.ones(4, 5)
        assert getattr(flambeau, name)(x, 0.5, True) is x and (x != 1).any()


def test_a_file_as_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(struct.pack("4f", 1, 2, 3, 4))
    private = flambeau.from_file(path, size=3)
    private[0] = 9
    shared = flambeau.from_file(str(path), True, 2)
    shared[1] = 7
    assert private.tolist() == [9, 2, 3] and struct.unpack("4f", path.read_bytes()) == (1, 7, 3, 4)
    assert flambeau.from_file(tmp_path / "new", shared=True, size=2, dtype=flambeau.int64).tolist() == [0, 0]
    assert flambeau.from_file(path).shape == (0,)
    with pytest.raises(RuntimeError, match="has 16 bytes, and 5 numbers of torch.float32 take 20"):
        flambeau.from_file(path, size=5)
    with pytest.raises(RuntimeError, match="unable to open"):
        flambeau.from_file(tmp_path / "no folder" / "file", shared=True, size=5)


def test_copies_of_views() -> None:
    x = flambeau.arange(6.0).reshape(2, 3).requires_grad_()
    part = flambeau.slice_copy(x, -1, 1, None, 1)
    assert flambeau.equal(part, x[:, 1:]) and part.data_ptr() != x.data_ptr() and not flambeau.detach_copy(x).requires_grad
    pairs = flambeau.ones(2, 2)
    assert flambeau.equal(flambeau.view_as_real_copy(flambeau.view_as_complex_copy(pairs)), pairs)
    assert flambeau.view_as_complex_copy(pairs).data_ptr() != pairs.data_ptr()
