"""Normalisations: against their formulas in extended precision, also where float32 would lose the statistics."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

RANDOM = np.random.default_rng(0)


def normalised(values, axes, eps=1e-5, centered=True):
    """(x - E[x]) / √(Var[x] + eps) over the axes; without centering, E[x] counts as 0."""
    x = values.astype(np.longdouble)
    x = x - x.mean(axes, keepdims=True) if centered else x
    return x / np.sqrt((x * x).mean(axes, keepdims=True) + eps)


def grouped(values, groups):
    n, c, *rest = values.shape
    return normalised(values.reshape(n, groups, c // groups, *rest), tuple(range(2, values.ndim + 1))).reshape(values.shape)


# name: (the function, what it must give)
NORMS = {
    "group_norm": (lambda x: F.group_norm(x, 2), lambda v: grouped(v, 2)),
    "layer_norm": (lambda x: F.layer_norm(x, x.shape[2:]), lambda v: normalised(v, tuple(range(2, v.ndim)))),
    "instance_norm": (F.instance_norm, lambda v: normalised(v, tuple(range(2, v.ndim)))),
    "batch_norm": (
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda v: normalised(v, (0, *range(2, v.ndim))),
    ),
    "rms_norm": (lambda x: F.rms_norm(x, x.shape[2:], eps=1e-5), lambda v: normalised(v, tuple(range(2, v.ndim)), centered=False)),
}

DATA = {
    "standard": RANDOM.standard_normal((3, 4, 5, 6)),
    "mean 1e6": 1e6 + RANDOM.standard_normal((3, 4, 5, 6)),
    "mean 1e6, many": 1e6 + RANDOM.standard_normal((2, 4, 64, 64)),
    "scale 1e30": 1e30 * RANDOM.standard_normal((3, 4, 5, 6)),
    "mean and scale 1e30": 1e30 * (1 + RANDOM.standard_normal((3, 4, 5, 6))),
    "constant 1e30": np.full((3, 4, 5, 6), 1e30),
    "scale 1e-30": 1e-30 * RANDOM.standard_normal((3, 4, 5, 6)),
    "one dimension": RANDOM.standard_normal((3, 4, 7)),
    "four dimensions": RANDOM.standard_normal((2, 4, 3, 2, 2, 3)),
}


LAYOUTS = [(data, layout) for data in DATA for layout in ("contiguous", "transposed")]
LAYOUTS += [(data, "channels_last") for data in DATA if DATA[data].ndim == 4]


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(("data", "layout"), LAYOUTS)
def test_values_and_gradients_of_float32(name, data, layout):
    function, formula = NORMS[name]
    values = DATA[data].astype(np.float32)
    x = flambeau.tensor(values)
    if layout == "channels_last":
        x = x.to(memory_format=flambeau.channels_last)
    elif layout == "transposed":
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    x.requires_grad_()
    out = function(x)
    expected = formula(values)
    np.testing.assert_allclose(
        out.detach().numpy(), expected.astype(np.float64), rtol=2e-6, atol=2e-6 * max(1e-30, float(np.abs(expected).max()))
    )

    # Along any direction the gradient says how the output changes (in float64, where all of this data is harmless).
    ahead = RANDOM.standard_normal(values.shape)
    wide = flambeau.tensor(values.astype(np.float64), requires_grad=True)
    exact = flambeau.autograd.grad(function(wide), wide, flambeau.tensor(ahead))[0].numpy()
    ours = flambeau.autograd.grad(out, x, flambeau.tensor(ahead.astype(np.float32)))[0].numpy()
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=2e-6 * float(np.abs(exact).max()))


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(name, dtype):
    function, formula = NORMS[name]
    x = flambeau.tensor(RANDOM.standard_normal((2, 4, 50, 6)) * 3 + 5).to(getattr(flambeau, dtype))
    exact = formula(x.double().numpy()).astype(np.float64)
    out = function(x)
    assert out.dtype is x.dtype
    unit = 2.0 ** (-11 if dtype == "float16" else -8)  # half a unit in the last place, and what float32 adds to it
    np.testing.assert_allclose(out.double().numpy(), exact, rtol=unit * 1.01, atol=1e-6)


@pytest.mark.parametrize("name", NORMS)
def test_gradients(name):
    function = NORMS[name][0]
    x = flambeau.randn(2, 4, 3, 2, dtype=flambeau.float64, requires_grad=True)
    assert gradcheck(function, (x,)) and gradgradcheck(function, (x,))


@pytest.mark.parametrize(
    ("function", "length"),
    [
        (lambda x, w, b: F.group_norm(x, 2, w, b), (4,)),
        (lambda x, w, b: F.layer_norm(x, (3, 2), w, b), (3, 2)),
        (lambda x, w, b: F.instance_norm(x, weight=w, bias=b), (4,)),
        (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (4,)),
        (lambda x, w, b: F.batch_norm(x, flambeau.ones(4).double(), flambeau.ones(4).double() * 2, w, b), (4,)),
        (lambda x, w, b: F.rms_norm(x, (3, 2), w) + b, (3, 2)),
    ],
)
def test_gradients_of_weight_and_bias(function, length):
    x, w, b = (flambeau.randn(*shape, dtype=flambeau.float64, requires_grad=True) for shape in ((2, 4, 3, 2), length, length))
    call = lambda x, w, b: function(x, w, b).reshape(-1)
    assert gradcheck(call, (x, w, b)) and gradgradcheck(call, (x, w, b))


@pytest.mark.parametrize("function", [F.batch_norm, F.instance_norm])
def test_running_statistics(function):
    values = RANDOM.standard_normal((5, 3, 4)) * 2 + 1
    mean, var = flambeau.full((3,), 0.5, dtype=flambeau.float64), flambeau.full((3,), 2.0, dtype=flambeau.float64)
    options = {"training": True} if function is F.batch_norm else {"use_input_stats": True}
    function(flambeau.tensor(values), mean, var, momentum=0.25, **options)
    axes = (0, 2) if function is F.batch_norm else (2,)
    batch = values.mean(axes), values.var(axes, ddof=1)
    if function is F.instance_norm:
        batch = tuple(each.mean(0) for each in batch)
    np.testing.assert_allclose(mean.numpy(), 0.75 * 0.5 + 0.25 * batch[0], rtol=1e-13)
    np.testing.assert_allclose(var.numpy(), 0.75 * 2.0 + 0.25 * batch[1], rtol=1e-13)
    still = function(flambeau.tensor(values), mean, var, **dict.fromkeys(options, False))
    expected = (values - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None] + 1e-5)
    np.testing.assert_allclose(still.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_instance_norm_layer_tracks_and_uses_statistics():
    layer = nn.InstanceNorm2d(3, track_running_stats=True, momentum=1.0)
    values = RANDOM.standard_normal((4, 3, 5, 5)).astype(np.float32)
    layer(flambeau.tensor(values))
    np.testing.assert_allclose(layer.running_mean.numpy(), values.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    layer.eval()
    unbatched = layer(flambeau.tensor(values[0]))
    np.testing.assert_array_equal(unbatched.numpy(), layer(flambeau.tensor(values[:1]))[0].numpy())


def test_layouts_of_results():
    images = flambeau.rand(2, 4, 5, 6).to(memory_format=flambeau.channels_last)
    kept = {"group_norm", "batch_norm", "rms_norm"}  # as in PyTorch
    for name, (function, _) in NORMS.items():
        assert function(images).is_contiguous(memory_format=flambeau.channels_last) == (name in kept), name
        assert function(flambeau.rand(4, 2, 5, 6).transpose(0, 1)).is_contiguous()


def test_nothing_to_normalise():
    w = flambeau.ones(4, requires_grad=True)
    for shape in ((0, 4, 3), (2, 4, 0), (0, 4)):
        x = flambeau.zeros(shape, requires_grad=True)
        for out in (F.group_norm(x, 2, w, w), F.batch_norm(x, None, None, w, w, training=True)):
            assert out.shape == shape
            out.sum().backward()
            assert w.grad.tolist() == [0.0] * 4 and x.grad.shape == shape
    assert F.layer_norm(flambeau.zeros(0, 4), (4,)).shape == (0, 4)
    assert F.rms_norm(flambeau.zeros(0, 4), (4,)).shape == (0, 4)
    assert F.local_response_norm(flambeau.zeros(0, 3, 4), 2).shape == (0, 3, 4)


def test_local_response_norm():
    values = RANDOM.standard_normal((2, 5, 3))
    padded = np.pad(values**2, ((0, 0), (1, 1), (0, 0)))
    means = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    out = F.local_response_norm(flambeau.tensor(values), 3, alpha=0.5, beta=0.75, k=2.0)
    np.testing.assert_allclose(out.numpy(), values / (2 + 0.5 * means) ** 0.75, rtol=1e-13)


def test_native_functions_return_the_statistics():
    values = RANDOM.standard_normal((3, 4, 5))
    x = flambeau.tensor(values)
    out, mean, rstd = flambeau.native_group_norm(x, None, None, 3, 4, 5, 2, 1e-5)
    groups = values.reshape(3, 2, 10)
    np.testing.assert_allclose(out.numpy(), grouped(values, 2).astype(float), rtol=1e-12)
    np.testing.assert_allclose(mean.numpy(), groups.mean(2), rtol=1e-12)
    np.testing.assert_allclose(rstd.numpy(), 1 / np.sqrt(groups.var(2) + 1e-5), rtol=1e-12)
    assert flambeau.native_layer_norm(x, (4, 5), None, None, 1e-5)[1].shape == (3, 1, 1)
    assert flambeau.native_batch_norm(x, None, None, flambeau.zeros(4).double(), flambeau.ones(4).double(), False, 0.1, 1e-5)[1].shape == (
        0,
    )
    out, mean, rstd = flambeau.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)
    np.testing.assert_allclose(rstd.numpy(), 1 / np.sqrt(values.var((0, 2)) + 1e-5), rtol=1e-12)


def ones(*shape):
    return flambeau.ones(shape)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.group_norm(ones(2, 6, 3), 4), RuntimeError, r"num_channels \(=6\) must be divisible by num_groups \(=4\): 6 % 4 = 2"),
        (lambda: nn.GroupNorm(4, 6), ValueError, r"num_channels \(6\) must be divisible by num_groups \(4\)"),
        (
            lambda: F.group_norm(ones(2, 6, 3), 2, ones(5)),
            RuntimeError,
            r"weight of shape \[5\] and input of shape \[2, 6, 3\]: \(6,\) would fit",
        ),
        (lambda: F.group_norm(ones(2, 6), 2.0), TypeError, "num_groups must be an int, not 2.0"),
        (lambda: F.group_norm(ones(2, 6), True), TypeError, "num_groups must be an int, not True"),
        (lambda: F.group_norm(ones(2, 6), 2, 1.0), TypeError, "must be Tensors, not float"),
        (lambda: nn.LayerNorm(True), TypeError, "normalized_shape must be an int, not True"),
        (lambda: F.batch_norm(ones(2, 6), ones(6), None), RuntimeError, "must be defined in evaluation mode"),
        (
            lambda: F.batch_norm(ones(2, 6), ones(6).requires_grad_(), ones(6), training=True),
            RuntimeError,
            r"running_mean has no gradient.*give running_mean\.detach\(\)",
        ),
        (lambda: F.instance_norm(ones(2, 6, 3), ones(6), ones(6).requires_grad_()), RuntimeError, "running_var has no gradient"),
        (lambda: F.group_norm(ones(6), 2), RuntimeError, "Expected at least 2 dimensions"),
        (lambda: F.group_norm(ones(1, 2), 2), ValueError, "Expected more than 1 value per channel when training"),
        (lambda: F.batch_norm(ones(2, 6), None, None, ones(5), training=True), RuntimeError, r"weight should contain 6 elements not 5"),
        (lambda: F.batch_norm(ones(2, 6), ones(5), ones(6), training=True), RuntimeError, r"running_mean should contain 6 elements not 5"),
        (lambda: F.batch_norm(ones(2, 6), ones(6), None, training=True), ValueError, "either both be None or neither"),
        (lambda: F.batch_norm(ones(2, 6), None, None), RuntimeError, "must be defined in evaluation mode"),
        (lambda: F.batch_norm(ones(1, 6), None, None, training=True), ValueError, "Expected more than 1 value per channel"),
        (lambda: F.instance_norm(ones(2, 6, 1)), ValueError, "Expected more than 1 spatial element"),
        (lambda: F.instance_norm(ones(2, 6, 3), None, None, ones(12)), RuntimeError, "weight should contain 6 elements not 12"),
        (lambda: F.layer_norm(ones(2, 6), (5,)), RuntimeError, r"expected input with shape \[\*, 5\], but got input of size\[2, 6\]"),
        (lambda: F.rms_norm(ones(2, 6), (6,), ones(5)), RuntimeError, r"weight of shape \[5\] and normalized_shape = \[6\]"),
        (
            lambda: F.group_norm(ones(2, 6), 2, ones(6).half()),
            RuntimeError,
            "mixed dtype: with an input of torch.float32 the parameters must all be",
        ),
        (lambda: F.group_norm(ones(2, 6).long(), 2), NotImplementedError, "group_norm is not implemented for torch.int64"),
        (lambda: F.local_response_norm(ones(2, 3), 2), ValueError, "Expected 3D or higher dimensionality"),
    ],
)
def test_errors_state_the_rule_and_the_numbers(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_numpy_integers_are_sizes():
    x = flambeau.rand(2, 6, 3)
    assert (F.group_norm(x, np.int64(2)) == F.group_norm(x, 2)).all()
    assert nn.LayerNorm(np.int64(3)).normalized_shape == (3,)
    assert nn.RMSNorm((np.int64(6), 3))(x).shape == x.shape


def test_running_statistics_may_require_grad_where_nothing_is_recorded():
    with flambeau.no_grad():
        F.batch_norm(ones(2, 6), flambeau.zeros(6).requires_grad_(), ones(6), training=True)


def test_half_precision_takes_float32_parameters():
    x = flambeau.rand(2, 4, 3).half()
    assert F.group_norm(x, 2, flambeau.ones(4), flambeau.zeros(4)).dtype is flambeau.float16


@pytest.mark.parametrize(
    ("dtype", "of_weight", "tolerance"), [("float64", "float32", 1e-14), ("float32", "float64", 5e-7), ("float16", "float64", 1e-3)]
)
def test_root_mean_square_norm_with_a_weight_of_another_precision(dtype, of_weight, tolerance):
    x = flambeau.rand(3, 5).to(getattr(flambeau, dtype)).requires_grad_()
    weight = flambeau.rand(5).to(getattr(flambeau, of_weight)).requires_grad_()
    out = F.rms_norm(x, (5,), weight)
    assert out.dtype is x.dtype
    exact = F.rms_norm(x.double(), (5,), weight.double(), eps=2.0**-52 if dtype == "float64" else 2.0**-23)
    np.testing.assert_allclose(out.detach().double().numpy(), exact.detach().numpy(), rtol=tolerance)
    out.sum().backward()
    assert x.grad.dtype is x.dtype and weight.grad.dtype is weight.dtype


def test_no_groups_at_all():
    for error in (ValueError, ZeroDivisionError):
        with pytest.raises(error, match=r"num_channels \(4\) must be divisible by num_groups \(0\)"):
            nn.GroupNorm(0, 4)
