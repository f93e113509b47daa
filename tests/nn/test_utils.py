"""``nn.utils``: clipping, vectors, normalised weights, parametrisations, fusion, functional calls."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.nn.utils import parametrizations, parametrize, stateless


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)


def with_gradients(*values):
    parameters = []
    for value in values:
        p = nn.Parameter(flambeau.zeros(len(value)))
        p.grad = flambeau.tensor(value)
        parameters.append(p)
    return parameters


def test_clip_grad_norm():
    a, b = with_gradients([3.0, 0.0], [4.0])
    assert nn.utils.clip_grad_norm_([a, b], 1.0).item() == 5.0
    np.testing.assert_allclose(a.grad.tolist() + b.grad.tolist(), [0.6, 0.0, 0.8], rtol=1e-5)
    assert nn.utils.clip_grad_norm_(iter([a, b]), 10.0).item() == pytest.approx(1.0)
    np.testing.assert_allclose(a.grad.tolist(), [0.6, 0.0], rtol=1e-5)
    assert nn.utils.clip_grad_norm_([a, b], 0.4, norm_type=float("inf")).item() == pytest.approx(0.8)
    assert nn.utils.clip_grad_norm_(nn.Parameter(flambeau.ones(1)), 1.0).item() == 0.0
    a.grad = flambeau.tensor([float("inf"), 0.0])
    with pytest.raises(RuntimeError, match="non-finite, so it cannot be clipped"):
        nn.utils.clip_grad_norm_(a, 1.0, error_if_nonfinite=True)
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((p for p in []), 1.0)


def test_clip_grad_value():
    (p,) = with_gradients([3.0, -3.0, 0.1])
    nn.utils.clip_grad_value_(p, 0.5)
    np.testing.assert_allclose(p.grad.tolist(), [0.5, -0.5, 0.1])


def test_vectors():
    layer = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (9,)
    nn.utils.vector_to_parameters(flambeau.arange(9.0), layer.parameters())
    assert layer.weight.tolist() == [[0, 1], [2, 3], [4, 5]] and layer.bias.tolist() == [6, 7, 8]
    with pytest.raises(TypeError, match=r"expected torch.Tensor, but got: list"):
        nn.utils.vector_to_parameters([1.0], layer.parameters())


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_weight_norm_keeps_the_function(dim):
    layer = nn.Linear(3, 4)
    x, before = flambeau.rand(2, 3), copy.deepcopy(layer)
    nn.utils.weight_norm(layer, dim=dim)
    assert sorted(name for name, _ in layer.named_parameters()) == ["bias", "weight_g", "weight_v"]
    close(layer(x), before(x))
    layer.weight_g.data.mul_(2)
    close(layer(x) - layer.bias, 2 * (before(x) - before.bias))
    layer(x).sum().backward()
    assert bool(layer.weight_v.grad.isfinite().all())
    with pytest.raises(RuntimeError, match="Cannot register two weight_norm hooks"):
        nn.utils.weight_norm(layer)
    nn.utils.remove_weight_norm(layer)
    assert isinstance(layer.weight, nn.Parameter) and not layer._forward_pre_hooks
    close(layer.weight, 2 * before.weight)
    with pytest.raises(ValueError, match="weight_norm of 'weight' not found"):
        nn.utils.remove_weight_norm(layer)


@pytest.mark.parametrize("normalize", [nn.utils.spectral_norm, parametrizations.spectral_norm], ids=["hook", "parametrization"])
def test_spectral_norm_has_norm_one(normalize):
    flambeau.manual_seed(0)
    layer = normalize(nn.Linear(5, 4), n_power_iterations=30)
    x = flambeau.rand(2, 5)
    layer(x)
    values = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)
    assert values[0] == pytest.approx(1.0, rel=1e-3)
    layer(x).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters())
    layer.eval()
    assert bool((layer(x) == layer(x)).all())


def test_remove_spectral_norm():
    layer = nn.utils.spectral_norm(nn.ConvTranspose2d(2, 3, 2))
    assert layer.weight_u.numel() == 3
    layer(flambeau.rand(1, 2, 4, 4))
    weight = layer.weight.detach().clone()
    nn.utils.remove_spectral_norm(layer)
    assert isinstance(layer.weight, nn.Parameter) and list(layer.state_dict()) == ["bias", "weight"]
    close(layer.weight, weight)


def test_weight_norm_parametrization():
    layer = nn.Conv2d(2, 3, 2)
    weight = layer.weight.detach().clone()
    parametrizations.weight_norm(layer)
    assert [name for name, _ in layer.named_parameters()] == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    close(layer.weight, weight)
    layer.weight = 3 * weight
    close(layer.weight, 3 * weight)
    old = {"bias": layer.bias.detach(), "weight_g": flambeau.ones(3, 1, 1, 1), "weight_v": weight}
    layer.load_state_dict(old)
    norms = layer.weight.detach().flatten(1).norm(2, 1)
    close(norms, flambeau.ones(3))


class Doubled(nn.Module):
    """Twice the original."""

    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


class Symmetric(nn.Module):
    """The upper triangle, mirrored."""

    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


def test_parametrization():
    layer = nn.Linear(3, 3)
    original = layer.weight
    start = original.detach().clone()
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert type(layer).__name__ == "ParametrizedLinear" and parametrize.type_before_parametrizations(layer) is nn.Linear
    assert layer.parametrizations.weight.original is original
    close(layer.weight, start)
    close(original, start / 2)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert bool((layer.weight == layer.weight.T).all())
    layer(flambeau.rand(2, 3)).sum().backward()
    assert bool(original.grad.any())
    other = copy.deepcopy(layer)
    close(other.weight, layer.weight)
    assert other.parametrizations.weight.original is not original
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        layer.__getstate__()
    with pytest.raises(RuntimeError, match="parametrization Symmetric does not implement right_inverse"):
        layer.weight = start
    value = layer.weight.detach()
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and layer.weight is original
    close(layer.weight, value)
    assert not hasattr(layer, "parametrizations")


def test_parametrization_is_cached_in_its_context():
    calls = []

    class Counting(nn.Module):
        def forward(self, x):
            calls.append(1)
            return x

    layer = nn.Linear(2, 2)
    parametrize.register_parametrization(layer, "weight", Counting(), unsafe=True)
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert len(calls) == 1
    assert layer.weight is not None and layer.weight is not None
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: parametrize.register_parametrization(nn.Linear(2, 2), "nothing", Doubled()), "with name 'nothing'"),
        (lambda: parametrize.register_parametrization(nn.Linear(2, 3), "weight", nn.Flatten(0)), "may not change the shape"),
        (lambda: parametrize.remove_parametrizations(nn.Linear(2, 2), "weight"), "does not have a parametrization on weight"),
        (lambda: parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="x"), "orthogonal_map has to be one of"),
        (lambda: parametrizations.spectral_norm(nn.Linear(2, 2), "x"), "no parameter or buffer with name 'x'"),
    ],
)
def test_parametrization_errors(act, text):
    with pytest.raises(ValueError, match=text):
        act()


def test_transferred_parametrizations():
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    parametrize.register_parametrization(source, "weight", Doubled())
    parametrize.transfer_parametrizations_and_params(source, target)
    close(source.weight, target.weight)
    assert target.parametrizations.weight.original is source.parametrizations.weight.original


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 2), nn.Conv2d(3, 4, 2, bias=False), nn.ConvTranspose2d(3, 4, 2)])
def test_fused_batch_norm(layer):
    norm = nn.BatchNorm2d(4)
    x = flambeau.rand(2, 3, 5, 5)
    for _ in range(3):
        norm(layer(x) * 3 + 1)
    layer.eval(), norm.eval()
    fused = nn.utils.fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
    close(fused(x), norm(layer(x)))
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        nn.utils.fuse_conv_bn_eval(layer.train(), norm)


def test_fused_linear():
    layer, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
    x = flambeau.rand(6, 3)
    norm(layer(x))
    layer.eval(), norm.eval()
    close(nn.utils.fuse_linear_bn_eval(layer, norm)(x), norm(layer(x)))


def test_skip_init_draws_nothing():
    flambeau.manual_seed(0)
    expected = flambeau.rand(3).tolist()
    flambeau.manual_seed(0)
    layer = nn.utils.skip_init(nn.Linear, 3, 4)
    assert isinstance(layer, nn.Linear) and flambeau.rand(3).tolist() == expected
    with pytest.raises(RuntimeError, match="must support a 'device' arg"):
        nn.utils.skip_init(nn.ReLU)
    with pytest.raises(RuntimeError, match="Expected a Module"):
        nn.utils.skip_init(int)


def test_functional_call():
    layer = nn.Linear(2, 1)
    own = layer.weight
    given = {"weight": flambeau.ones(1, 2, requires_grad=True), "bias": flambeau.zeros(1)}
    output = stateless.functional_call(layer, given, flambeau.tensor([1.0, 2.0]))
    output.backward()
    assert output.item() == 3.0 and given["weight"].grad.tolist() == [[1.0, 2.0]]
    assert layer.weight is own and own.grad is None
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): 'x'.\n\tMissing key\(s\): 'weight', 'bias'."):
        stateless.functional_call(layer, {"x": own}, flambeau.ones(2), strict=True)
    with pytest.raises(AttributeError, match="has no parameter or buffer `x`"):
        stateless.functional_call(layer, {"x": own}, flambeau.ones(2))
    assert layer.weight is own


def test_functional_call_with_tied_parameters_and_buffers():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    net[1].weight = net[0].weight
    x, eye = flambeau.rand(4, 2), flambeau.eye(2)
    given = {"0.weight": eye, "2.running_mean": flambeau.zeros(2)}
    close(stateless.functional_call(net, given, x), net[2](x))
    assert bool(given["2.running_mean"].any())
    with pytest.raises(ValueError, match="multiple values for keys"):
        stateless.functional_call(net, {"0.weight": eye, "1.weight": eye.clone()}, x)


def test_other_parameters_within_a_context():
    layer = flambeau.nn.Linear(2, 1, bias=False)
    own = layer.weight
    with stateless._reparametrize_module(layer, {"weight": flambeau.ones(1, 2)}):
        assert layer(flambeau.tensor([1.0, 2.0])).item() == 3
    assert layer.weight is own
