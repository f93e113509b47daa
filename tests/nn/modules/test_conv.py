"""Convolution layers: how they are drawn, what they print and keep, and that the transposed ones are adjoints."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn.utils.stateless import functional_call
from tests.nn.functional.direct import Settings, convolution, same_sides

EXAMPLES = int(os.environ.get("FLAMBEAU_EXAMPLES", "60"))
# How fast cases are drawn says how busy the machine is, no more.
random_cases = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MODES = ("zeros", "reflect", "replicate", "circular")

# From PyTorch 2.13 after manual_seed(0): the weight's first and last number, the bias' last, and what rand(1) gives afterwards.
DRAWN = {
    "Conv1d(3, 4, 3)": (-0.0024956068955361843, -0.3121870160102844, 0.16155752539634705, 0.5262957811355591),
    "Conv2d(3, 8, 3)": (-0.0014408392598852515, 0.02455529198050499, 0.0054488470777869225, 0.06669503450393677),
    "Conv2d(4, 8, (3, 5), groups=2)": (-0.001366900047287345, 0.05369921028614044, -0.15097469091415405, 0.5068912506103516),
    "Conv2d(4, 8, 3, bias=False)": (-0.0012478034477680922, 0.049092572182416916, None, 0.38566190004348755),
    "Conv3d(2, 4, 3)": (-0.0010188271990045905, 0.01736321486532688, -0.11043751984834671, 0.46409690380096436),
    "ConvTranspose1d(4, 6, 3)": (-0.0017646604683250189, -0.08637774735689163, -0.2049625962972641, 0.5459962487220764),
    "ConvTranspose2d(4, 6, 3, groups=2)": (-0.0014408392598852515, -0.1484476625919342, 0.17462345957756042, 0.8426499366760254),
    "ConvTranspose3d(2, 4, 2)": (-0.0013234952930361032, 0.05340549349784851, 0.04095999151468277, 0.8101882934570312),
    "Conv2d(2, 2, 1, dtype=flambeau.float64)": (0.6647553301890121, 0.595027081222347, 0.411745297777725, 0.022325754165649414),
    "Conv2d(2, 3, 2, dtype=flambeau.bfloat16)": (-0.0026397705078125, 0.263671875, 0.3203125, 0.036164820194244385),
}


@pytest.mark.parametrize("layer", DRAWN)
def test_parameters_are_drawn_from_pytorchs_stream(layer):
    flambeau.manual_seed(0)
    made = eval(f"nn.{layer}")
    weight = made.weight.detach().double().reshape(-1)
    bias = None if made.bias is None else made.bias.detach().double()[-1].item()
    ours = weight[0].item(), weight[-1].item(), bias, flambeau.rand(1).item()
    for number, expected in zip(ours, DRAWN[layer], strict=True):
        assert number == expected or abs(number - expected) <= 1e-7 * abs(
            expected
        )  # PyTorch may round a multiplication and an addition as one


@st.composite
def drawn_layers(draw):
    """A layer of either kind as an expression, and a seed."""
    rank, transposed = draw(st.integers(1, 3)), draw(st.booleans())
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    c_in, c_out = (groups * draw(st.integers(1, 5)) for _ in range(2))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    bias, lazy = draw(st.booleans()), draw(st.booleans())
    dtype = draw(st.sampled_from(("float32", "float32", "float64", "bfloat16", "float16")))
    name = f"{'Lazy' if lazy else ''}Conv{'Transpose' if transposed else ''}{rank}d"
    channels = f"{c_out}" if lazy else f"{c_in}, {c_out}"
    call = f"{name}({channels}, {kernel}, groups={groups}, bias={bias}, dtype=torch.{dtype})"
    return call, (1, c_in, *kernel), dtype, draw(st.integers(0, 2**64 - 1))


@random_cases
@given(drawn_layers(), st.integers(0, 40))
def test_parameters_and_what_follows_are_pytorchs(case, before):
    """What a layer draws, after ``before`` numbers of others, and what the generator gives next."""
    torch = pytest.importorskip("torch")
    call, shape, dtype, seed = case
    found = []
    for library in (flambeau, torch):
        library.manual_seed(seed)
        library.rand(before)
        layer = eval(f"library.nn.{call}", {"library": library, "torch": library})
        if "Lazy" in call:
            layer.initialize_parameters(library.zeros(shape, dtype=getattr(library, dtype)))
        found.append([each.detach().double().numpy() for each in layer.parameters()] + [library.rand(3).numpy(), library.randn(2).numpy()])
    assert len(found[0]) == len(found[1])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        # Equal to the last bit here; where PyTorch rounds a multiplication and an addition as one they may be a unit apart.
        unit = torch.finfo(getattr(torch, dtype)).eps * np.abs(theirs).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=unit)


@pytest.mark.parametrize("lazy", [nn.LazyConv2d, nn.LazyConvTranspose2d])
def test_lazy_layers_draw_as_their_plain_ones(lazy):
    layer = lazy(6, 3, groups=2)
    flambeau.manual_seed(0)
    layer(flambeau.zeros(1, 4, 5, 5))
    flambeau.manual_seed(0)
    plain = lazy.cls_to_become(4, 6, 3, groups=2)
    assert type(layer) is type(plain)
    assert all((ours == theirs).all() for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True))
    assert repr(layer) == repr(plain)


def test_repr():
    assert repr(nn.Conv2d(4, 8, 3, padding="same", stride=2)) == "Conv2d(4, 8, kernel_size=(3, 3), stride=(2, 2), padding=same)"
    assert repr(nn.ConvTranspose1d(4, 8, 3, 2, 1, 1, bias=False, padding_mode="circular")) == (
        "ConvTranspose1d(4, 8, kernel_size=(3,), stride=(2,), padding=(1,), output_padding=(1,), bias=False, padding_mode=circular)"
    )


def test_state_and_pickle():
    layer = nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect", padding=1, groups=2)
    state = layer.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {"weight": (4, 3, 3, 3), "bias": (6,)}
    other = nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect", padding=1, groups=2)
    other.load_state_dict(state)
    x = flambeau.rand(2, 4, 5, 5)
    for copy in (other, pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(copy(x).detach().numpy(), layer(x).detach().numpy())


# -- a transposed convolution is the adjoint of the convolution with the same arguments ------------------------------


@st.composite
def layers(draw):
    """Arguments for both layers, and an input's sizes that suit the padding mode."""
    rank = draw(st.integers(1, 3))
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    kernel, stride, dilation = numbers(1, 4), numbers(1, 3), numbers(1, 2)
    padding = draw(st.sampled_from(("same", "valid", "numbers")))
    padding = numbers(0, 2) if padding == "numbers" else padding
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    sizes = tuple(max(r, 3) + draw(st.integers(0, 4)) for r in reach)  # no padding is then wider than the input
    groups = draw(st.sampled_from((1, 1, 2)))
    channels = tuple(groups * draw(st.integers(1, 2)) for _ in range(2))
    mode = draw(st.sampled_from(MODES))
    return (
        channels,
        {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "padding_mode": mode},
        sizes,
    )


def sides(sizes, options):
    setting = Settings(options["kernel_size"], options["stride"], (), options["dilation"], options["groups"])
    padding = options["padding"]
    if padding == "same":
        return setting._replace(sides=same_sides(sizes, setting))
    return setting._replace(sides=tuple((p, p) for p in ((0,) * len(sizes) if padding == "valid" else padding)))


@random_cases
@given(layers())
def test_layers_are_their_definition_and_adjoint_to_each_other(case):
    (c_in, c_out), options, sizes = case
    down = CONV[len(sizes)](c_in, c_out, bias=False, dtype=flambeau.float64, **options)
    up = TRANSPOSED[len(sizes)](c_out, c_in, bias=False, dtype=flambeau.float64, **options)
    up.weight = down.weight
    x = flambeau.randn(2, c_in, *sizes, dtype=flambeau.float64)
    forward = down(x)
    expected = convolution(x.numpy(), down.weight.detach().numpy(), sides(sizes, options), options["padding_mode"])
    np.testing.assert_allclose(forward.detach().numpy(), expected, rtol=1e-12, atol=1e-12)

    y = flambeau.randn(*forward.shape, dtype=flambeau.float64)
    back = up(y, output_size=sizes)
    assert back.shape == x.shape
    one, other = (forward * y).sum().item(), (x * back).sum().item()
    scale = (forward.abs() * y.abs()).sum().item() + 1
    assert abs(one - other) <= 1e-14 * scale


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", ["same", (2, 1)])
def test_it_is_the_gradient_with_respect_to_the_input(mode, padding):
    options = {"stride": (2, 1), "padding": padding, "padding_mode": mode, "bias": False, "dtype": flambeau.float64}
    down, up = nn.Conv2d(3, 4, 3, **options), nn.ConvTranspose2d(4, 3, 3, **options)
    up.weight = down.weight
    x = flambeau.randn(2, 3, 6, 5, dtype=flambeau.float64, requires_grad=True)
    out = down(x)
    ahead = flambeau.randn(*out.shape, dtype=flambeau.float64)
    np.testing.assert_allclose(
        up(ahead, output_size=(6, 5)).detach().numpy(), flambeau.autograd.grad(out, x, ahead)[0].numpy(), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("mode", MODES[1:])
def test_gradients_with_padding_modes(kind, mode):
    layer = kind(2, 2, (3, 2), stride=2, padding=(2, 1), dilation=(1, 2), padding_mode=mode, dtype=flambeau.float64)
    x = flambeau.randn(1, 2, 4, 5, dtype=flambeau.float64, requires_grad=True)
    call = lambda x, weight, bias: functional_call(layer, {"weight": weight, "bias": bias}, (x,))
    assert gradcheck(call, (x, layer.weight, layer.bias))
    assert gradgradcheck(call, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("mode", MODES)
def test_bias_is_added_once(mode):
    up = nn.ConvTranspose1d(2, 3, 3, padding=1, padding_mode=mode)
    without = nn.ConvTranspose1d(2, 3, 3, padding=1, padding_mode=mode, bias=False)
    without.weight = up.weight
    y = flambeau.rand(2, 5)
    difference = (up(y) - without(y)).detach().numpy()
    np.testing.assert_allclose(difference, np.broadcast_to(up.bias.detach().numpy()[:, None], (3, 5)), rtol=1e-5, atol=1e-6)


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_same_keeps_ceil_of_size_over_stride():
    assert nn.Conv2d(1, 1, (3, 4), stride=(2, 3), padding="same", dilation=2)(flambeau.zeros(1, 7, 9)).shape == (1, 4, 3)
    assert nn.ConvTranspose2d(1, 1, 4, stride=2, padding="same")(flambeau.zeros(1, 5, 7)).shape == (1, 10, 14)
    assert nn.Conv1d(1, 1, 3, stride=2, padding="same", padding_mode="reflect")(flambeau.zeros(1, 9)).shape == (1, 5)


def test_output_size_chooses_among_the_sizes_that_lead_to_one():
    x = flambeau.zeros(2, 3, 5)
    for padding, sizes in ((1, (9, 10)), ("same", (9, 10)), ("valid", (11, 12))):
        layer = nn.ConvTranspose1d(3, 4, 3, stride=2, padding=padding)
        for size in sizes:
            assert layer(x, output_size=[size]).shape == layer(x, output_size=(2, 4, size)).shape == (2, 4, size)
            assert nn.Conv1d(4, 3, 3, stride=2, padding=padding)(flambeau.zeros(2, 4, size)).shape == x.shape
        with pytest.raises(
            ValueError, match=rf"output size of \[{sizes[1] + 1}\], but valid sizes range from \[{sizes[0]}\] to \[{sizes[1]}\]"
        ):
            layer(x, output_size=[sizes[1] + 1])
    with pytest.raises(ValueError, match=r"for 3D input, output_size must have 1 or 3 elements \(got 2\)"):
        layer(x, output_size=(4, 4))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), r"in_channels \(=3\) must be divisible by groups \(=2\)"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), r"out_channels \(=3\) must be divisible by groups \(=2\)"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), r"groups \(=0\) must be a positive integer"),
        (lambda: nn.Conv2d(4, 4, 3, padding="full"), "Invalid padding string 'full'"),
        (lambda: nn.ConvTranspose2d(4, 4, 3, padding_mode="mirror"), "padding_mode must be one of .* but got padding_mode='mirror'"),
    ],
)
def test_arguments_are_checked(build, text):
    with pytest.raises(ValueError, match=text):
        build()


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3, stride=True), "stride must be an int, not True"),
        (lambda: nn.Conv2d(3, 4, 2.0), "kernel_size must be an int, not 2.0"),
        (lambda: nn.Conv2d(3.0, 4, 3), "in_channels must be an int, not 3.0"),
        (lambda: nn.Conv2d(4, 4, 3, groups="2"), "groups must be an int, not '2'"),
        (lambda: nn.Conv2d(1, 1, 1)(np.ones((1, 1, 1, 1))), "argument 'input' must be Tensor, not ndarray"),
    ],
)
def test_types_of_arguments_are_checked(build, text):
    with pytest.raises(TypeError, match=text):
        build()


def test_numpy_integers_become_ints():
    two = np.int64(2)
    layer = nn.Conv2d(two, np.int32(4), (two, 3), stride=two, groups=two)
    assert repr(layer) == "Conv2d(2, 4, kernel_size=(2, 3), stride=(2, 2), groups=2)"
    assert layer(flambeau.zeros(1, 2, 6, 7)).shape == (1, 4, 3, 3)


def test_sizes_that_are_changed_later_are_used():
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
    layer.padding, layer.stride = (2, 2), 2
    assert layer(flambeau.zeros(1, 1, 5, 5)).shape == (1, 1, 4, 4)
    layer.stride = (np.int64(3), 1)
    assert layer(flambeau.zeros(1, 1, 5, 5)).shape == (1, 1, 3, 7)
    layer.stride = (3, 1)  # which equals what was remembered
    assert layer(flambeau.zeros(1, 1, 5, 5)).shape == (1, 1, 3, 7)


def test_an_error_says_where_in_the_network():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 16, 3)

        def forward(self, x):
            return self.conv(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.ReLU(), nn.Identity(), Block())

        def forward(self, x):
            return self.encoder(x)

    with pytest.raises(
        RuntimeError, match=r"^encoder\.2\.conv: Conv2d\(8, 16, kernel_size=\(3, 3\), stride=\(1, 1\)\): conv2d: the input of shape"
    ):
        Net()(flambeau.zeros(1, 4, 9, 9))


def test_layers_ask_a_subclass_by_the_functions_name():
    class Named(flambeau.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = flambeau.rand(1, 2, 4, 4).as_subclass(Named)
    for layer, function in (
        (nn.Conv2d(2, 3, 2), flambeau.nn.functional.conv2d),
        (nn.ConvTranspose2d(2, 3, 2), flambeau.nn.functional.conv_transpose2d),
    ):
        asked = []
        out = layer(x)
        assert type(out) is Named and function in asked
