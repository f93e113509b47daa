"""The transformer's encoder: what padding becomes."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn

PADDING = flambeau.tensor([[False, False, True, True], [False, False, False, False]])


def encoder(norm: nn.Module | None = None, *, nested: bool = True, **kwargs: object) -> nn.TransformerEncoder:
    flambeau.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, kwargs.pop("heads", 2), 16, batch_first=True, **kwargs)
    return nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=nested).eval()


@pytest.mark.parametrize("padding", [PADDING, flambeau.zeros(2, 4).masked_fill(PADDING, float("-inf"))], ids=["bool", "float"])
def test_padding_is_zero_in_evaluation(padding):
    model, x = encoder(), flambeau.randn(2, 4, 8)
    with flambeau.no_grad():
        found = model(x, src_key_padding_mask=padding)
        every = encoder(nested=False)(x, src_key_padding_mask=padding)
    assert not found[0, 2:].any() and every[0, 2:].all()
    assert flambeau.equal(found[0, :2], every[0, :2]) and flambeau.equal(found[1], every[1])
    assert not model.requires_grad_(False)(x, src_key_padding_mask=padding)[0, 2:].any()


def test_the_last_normalisation_sees_zeros():
    norm = nn.LayerNorm(8)
    nn.init.constant_(norm.bias, 3.0)
    with flambeau.no_grad():
        assert (encoder(norm)(flambeau.randn(2, 4, 8), src_key_padding_mask=PADDING)[0, 2:] == 3.0).all()


@pytest.mark.parametrize(
    "kwargs",
    [{"norm_first": True}, {"activation": nn.functional.silu}, {"heads": 1}, {"bias": False}],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_padding_is_computed_where_there_is_no_fused_kernel(kwargs):
    with flambeau.no_grad():
        assert encoder(**kwargs)(flambeau.randn(2, 4, 8), src_key_padding_mask=PADDING)[0, 2:].all()


def test_padding_is_computed_in_training_beside_a_mask_and_before_elements():
    model, x = encoder(), flambeau.randn(2, 4, 8)
    assert model(x, src_key_padding_mask=PADDING)[0, 2:].all()  # with gradients
    with flambeau.no_grad():
        assert model(x, mask=flambeau.zeros(4, 4, dtype=flambeau.bool), src_key_padding_mask=PADDING)[0, 2:].all()
        assert model(x, src_key_padding_mask=PADDING.roll(1, 1))[0].all()
        model.train()
        assert model(x, src_key_padding_mask=PADDING)[0, 2:].any()
