"""Padded and packed sequences, and recurrent layers that take them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau._tape.trie import TRIE
from flambeau.nn.utils import rnn


def sequences(*lengths, features=2):
    flambeau.manual_seed(0)
    return [flambeau.rand(length, features) for length in lengths]


def equal(a, b):
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_pad_sequence():
    a, b = flambeau.tensor([1.0, 2.0, 3.0]), flambeau.tensor([4.0])
    assert rnn.pad_sequence([a, b]).tolist() == [[1, 4], [2, 0], [3, 0]]
    assert rnn.pad_sequence([a, b], batch_first=True, padding_value=9.0, padding_side="left").tolist() == [[1, 2, 3], [9, 9, 4]]
    assert [s.tolist() for s in rnn.unpad_sequence(rnn.pad_sequence([a, b]), flambeau.tensor([3, 1]))] == [[1, 2, 3], [4]]
    with pytest.raises(RuntimeError, match="received an empty list of sequences"):
        rnn.pad_sequence([])
    with pytest.raises(RuntimeError, match=r"sequence 1 has shape \(1, 2\) and sequence 0 has shape \(3,\)"):
        rnn.pad_sequence([a, flambeau.zeros(1, 2)])


def test_samples_in_memory_are_padded_without_a_program():
    """Lengths that hardly come again would make a new one for each batch."""
    samples = [flambeau.arange(length) for length in (3, 5, 2, 7, 1)]
    for sample in samples:
        sample.tolist()
    before = TRIE.size
    for chosen in itertools.permutations(samples, 4):
        padded = rnn.pad_sequence(chosen, batch_first=True, padding_value=-1)
        length = max(map(len, chosen))
        assert padded.tolist() == [[*sample.tolist(), *[-1] * (length - len(sample))] for sample in chosen]
    assert TRIE.size == before


def test_gradients_of_padded_sequences():
    sequences = [flambeau.randn(length, 2, requires_grad=True) for length in (2, 4)]
    for side in ("left", "right"):
        grads = flambeau.autograd.grad(rnn.pad_sequence(sequences, padding_side=side).square().sum() / 2, sequences)
        assert all(flambeau.equal(grad, sequence) for grad, sequence in zip(grads, sequences, strict=True))


def test_packing():
    packed = rnn.pack_sequence(sequences(3, 2, 1))
    assert packed.batch_sizes.tolist() == [3, 2, 1] and packed.data.shape == (6, 2) and packed.sorted_indices is None
    padded, lengths = rnn.pad_packed_sequence(packed, padding_value=7.0)
    assert lengths.tolist() == [3, 2, 1] and padded[2, 1].tolist() == [7.0, 7.0]
    equal(padded[:, 0], sequences(3, 2, 1)[0])
    longer, _ = rnn.pad_packed_sequence(packed, batch_first=True, total_length=5)
    assert longer.shape == (3, 5, 2)
    assert packed.double().data.dtype == flambeau.float64 and packed.to(flambeau.float32) is packed


def test_packing_sorts():
    given = sequences(1, 3, 2)
    packed = rnn.pack_sequence(given, enforce_sorted=False)
    assert packed.sorted_indices.tolist() == [1, 2, 0] and packed.unsorted_indices.tolist() == [2, 0, 1]
    for mine, expected in zip(rnn.unpack_sequence(packed), given):
        equal(mine, expected)


@pytest.mark.parametrize(
    ("lengths", "options", "text"),
    [
        ([1, 2], {}, "must be sorted in decreasing order"),
        ([2, 0], {}, "has to be greater than 0"),
        ([2], {}, r"equal to batch_size, but got 1 \(batch_size=2\)"),
        ([4, 1], {}, "lengths of at most 3"),
    ],
)
def test_packing_errors(lengths, options, text):
    with pytest.raises(RuntimeError, match=text):
        rnn.pack_padded_sequence(flambeau.zeros(3, 2, 1), lengths, **options)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_packed_is_each_sequence_alone(kind, bidirectional):
    flambeau.manual_seed(1)
    layer = kind(2, 3, num_layers=2, bidirectional=bidirectional)
    given = sequences(2, 4, 1)
    output, state = layer(rnn.pack_sequence(given, enforce_sorted=False))
    padded, _ = rnn.pad_packed_sequence(output)
    states = state if isinstance(state, tuple) else (state,)
    for i, sequence in enumerate(given):
        alone, own = layer(sequence)
        np.testing.assert_allclose(padded[: len(sequence), i].detach().numpy(), alone.detach().numpy(), rtol=1e-5, atol=1e-6)
        for whole, single in zip(states, own if isinstance(own, tuple) else (own,)):
            np.testing.assert_allclose(whole[:, i].detach().numpy(), single.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_packed_gradients_reach_every_weight():
    layer = nn.LSTM(2, 3, bidirectional=True, proj_size=2)
    output, _ = layer(rnn.pack_sequence(sequences(3, 1)))
    output.data.sum().backward()
    assert all(bool(p.grad.any()) for p in layer.parameters())


def test_cells_are_one_step():
    flambeau.manual_seed(0)
    layer, cell = nn.LSTM(2, 3), nn.LSTMCell(2, 3)
    cell.load_state_dict({name[:-3]: value for name, value in layer.state_dict().items()})
    x = flambeau.rand(4, 5, 2)
    output, (_, memory) = layer(x)
    state = None
    for step in x:
        state = cell(step, state)
    np.testing.assert_allclose(output[-1].detach().numpy(), state[0].detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(memory[0].detach().numpy(), state[1].detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda: nn.LSTM(2, 3)(flambeau.zeros(1, 2, 3, 4)), ValueError, "LSTM: Expected input to be 2D or 3D, got 4D"),
        (lambda: nn.GRU(2, 3)(flambeau.zeros(5, 1, 4)), RuntimeError, "Expected 2, got 4"),
        (lambda: nn.GRU(2, 3)(flambeau.zeros(5, 1, 2), flambeau.zeros(1, 2, 3)), RuntimeError, r"Expected hidden size \(1, 1, 3\)"),
        (lambda: nn.LSTM(2, 3)(flambeau.zeros(5, 2), (flambeau.zeros(1, 1, 3),) * 2), RuntimeError, "hx and cx should also be 2-D"),
        (lambda: nn.LSTM(2, 3)(flambeau.zeros(5, 2, dtype=flambeau.float64)), ValueError, "does not match weight dtype"),
        (lambda: nn.LSTM(2, 3, proj_size=3), ValueError, r"proj_size \(=3\) has to be smaller than hidden_size \(=3\)"),
        (lambda: nn.RNN(2, 3, nonlinearity="x"), ValueError, "Unknown nonlinearity 'x'"),
        (lambda: nn.GRU(0, 3), ValueError, "input_size must be greater than zero, got 0"),
        (lambda: nn.GRU(2, 3, dropout=2), ValueError, "dropout should be a number in range"),
        (lambda: nn.GRUCell(2, 3)(flambeau.zeros(1, 4)), RuntimeError, "got 4 expected 2"),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act()


def test_dropout_needs_layers():
    with pytest.warns(UserWarning, match="non-zero dropout expects num_layers greater than 1"):
        nn.GRU(2, 3, dropout=0.5)


def test_pad_packed_sequence_that_was_unsorted_is_contiguous_batch_first():
    packed = rnn.pack_sequence(sequences(2, 4, 3), enforce_sorted=False)
    padded, _ = rnn.pad_packed_sequence(packed, batch_first=True, total_length=5)
    assert padded.stride() == (10, 2, 1)
    assert padded.view(3, 10).shape == (3, 10)
