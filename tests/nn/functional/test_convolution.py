"""Convolutions and transposed ones: against their definition over random settings, and as adjoints of each other."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flambeau
from flambeau._runtime import jit
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F
from tests.nn.functional.direct import Settings, convolution, same_sides, transposed

EXAMPLES = int(os.environ.get("FLAMBEAU_EXAMPLES", "60"))
"""How many random cases each test takes; 10 000 is a thorough run of some minutes."""

FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

# How fast cases are drawn says how busy the machine is, no more.
random_cases = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def cases(draw):
    """Settings, and the sizes of an input for which they leave an output."""
    rank = draw(st.integers(1, 3))
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))
    kernel, stride, dilation, pads = numbers(1, 4), numbers(1, 3), numbers(1, 3), numbers(0, 3)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    sizes = tuple(draw(st.integers(max(1, r - 2 * p), max(1, r - 2 * p) + 5)) for r, p in zip(reach, pads))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    channels = tuple(groups * draw(st.integers(1, 3)) for _ in range(2))
    return Settings(kernel, stride, tuple((p, p) for p in pads), dilation, groups), draw(st.integers(0, 3)), channels, sizes


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def tensor(values):
    return flambeau.tensor(values, dtype=flambeau.float64)


def close(ours, expected):
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-11, atol=1e-11)


def arguments(case):
    return {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}


@random_cases
@given(cases(), st.booleans())
def test_convolution_is_its_sum(case, has_bias):
    setting, batch, (c_in, c_out), sizes = case
    x, w = numbers(batch, c_in, *sizes), numbers(c_out, c_in // setting.groups, *setting.kernel, seed=1)
    b = numbers(c_out, seed=2) if has_bias else None
    padding = tuple(before for before, _ in setting.sides)
    out = FORWARD[len(sizes)](tensor(x), tensor(w), None if b is None else tensor(b), padding=padding, **arguments(setting))
    expected = convolution(x, w, setting)
    close(out, expected if b is None else expected + b.reshape(-1, *(1,) * len(sizes)))


@random_cases
@given(cases())
def test_same_gives_an_output_for_each_step(case):
    setting, batch, (c_in, c_out), sizes = case
    setting = setting._replace(sides=same_sides(sizes, setting))
    x, w = numbers(batch, c_in, *sizes), numbers(c_out, c_in // setting.groups, *setting.kernel, seed=1)
    out = FORWARD[len(sizes)](tensor(x), tensor(w), padding="same", **arguments(setting))
    assert out.shape[2:] == tuple(-(-size // step) for size, step in zip(sizes, setting.stride))
    close(out, convolution(x, w, setting))


@random_cases
@given(cases())
def test_the_gradients_are_the_sums_that_they_should_be(case):
    setting, batch, (c_in, c_out), sizes = case
    x, w = numbers(batch, c_in, *sizes), numbers(c_out, c_in // setting.groups, *setting.kernel, seed=1)
    padding = tuple(before for before, _ in setting.sides)
    leaves = [tensor(x).requires_grad_(), tensor(w).requires_grad_()]
    out = FORWARD[len(sizes)](*leaves, padding=padding, **arguments(setting))
    ahead = numbers(*out.shape, seed=3)
    to_input, to_weight = flambeau.autograd.grad(out, leaves, tensor(ahead))
    close(to_input, transposed(ahead, w, setting, sizes))
    # Linear in the weight: along any direction, the gradient says how the output changes.
    direction = numbers(*w.shape, seed=4)
    change = (convolution(x, direction, setting) * ahead).sum()
    np.testing.assert_allclose((to_weight.numpy() * direction).sum(), change, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "size", "seen"),
    [(3, 1, 1, 1, 1, 1), (7, 1, 3, 1, 2, 3), (3, 1, 6, 6, 5, 1), (3, 2, 3, 3, 4, 2), (5, 1, 4, 1, 3, 5), (2, 7, 5, 1, 1, 1)],
)
def test_places_of_a_kernel_that_see_padding_alone_are_left_out(kernel, stride, padding, dilation, size, seen, channels_last):
    setting = Settings((kernel,) * 2, (stride,) * 2, ((padding, padding),) * 2, (dilation,) * 2, 1)
    x, w = numbers(2, 3, size, size), numbers(4, 3, kernel, kernel, seed=1)
    form = flambeau.channels_last if channels_last else flambeau.contiguous_format
    leaves = [tensor(each).to(memory_format=form).requires_grad_() for each in (x, w)]
    call = lambda: F.conv2d(*leaves, None, stride, padding, dilation)
    out = call()
    close(out, convolution(x, w, setting))
    ahead = numbers(*out.shape, seed=3)
    to_input, to_weight = flambeau.autograd.grad(out, leaves, tensor(ahead).to(memory_format=form))
    close(to_input, transposed(ahead, w, setting, (size, size)))
    direction = numbers(*w.shape, seed=4)
    np.testing.assert_allclose(
        (to_weight.numpy() * direction).sum(), (convolution(x, direction, setting) * ahead).sum(), rtol=1e-10, atol=1e-10
    )
    with flambeau.no_grad():
        assert flambeau.explain(call).kernels[-1].flops == 2 * out.numel() * 3 * seen**2


def test_one_position_meets_each_place_of_a_kernel_once():
    x, w = (tensor(numbers(*shape)) for shape in ((8, 6, 1, 1), (6, 5, 4, 4)))
    close(F.conv_transpose2d(x, w), np.einsum("ncij,cdkl->ndkl", x.numpy(), w.numpy()))
    kernels = flambeau.explain(F.conv_transpose2d, x, w).kernels
    assert sum(kernel.flops for kernel in kernels) == 2 * 8 * 6 * w.numel() // 6


@st.composite
def transposed_cases(draw):
    """A case, the padding as it is given to the function, what is added at the end, and the sizes of the output (if there is one)."""
    setting, batch, channels, sizes = draw(cases())
    if draw(st.booleans()):
        extra = tuple(draw(st.integers(1 - s, 0)) for s in setting.stride)
        outputs = tuple(size * s + e for size, s, e in zip(sizes, setting.stride, extra))
        return setting._replace(sides=same_sides(outputs, setting)), batch, channels, sizes, "same", extra, outputs
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(setting.stride, setting.dilation))
    outputs = tuple(
        (size - 1) * s - sum(side) + d * (k - 1) + e + 1
        for size, s, side, d, k, e in zip(sizes, setting.stride, setting.sides, setting.dilation, setting.kernel, extra)
    )
    return setting, batch, channels, sizes, tuple(before for before, _ in setting.sides), extra, outputs


@random_cases
@given(transposed_cases())
def test_transposed_convolution_and_its_gradients_are_their_sums(case):
    setting, batch, (c_in, c_out), sizes, padding, extra, outputs = case
    y, w, b = numbers(batch, c_in, *sizes), numbers(c_in, c_out // setting.groups, *setting.kernel, seed=1), numbers(c_out, seed=2)
    leaves = [tensor(each).requires_grad_() for each in (y, w, b)]
    call = lambda: TRANSPOSED[len(sizes)](*leaves, padding=padding, output_padding=extra, **arguments(setting))
    if min(outputs) <= 0:
        with pytest.raises(RuntimeError, match=f"\\+ 1 = {next(size for size in outputs if size <= 0)}\\."):
            call()
        return
    out = call()
    close(out, transposed(y, w, setting, outputs) + b.reshape(-1, *(1,) * len(sizes)))
    ahead = numbers(*outputs, seed=3) * numbers(batch, c_out, *(1,) * len(sizes), seed=4)
    to_input, to_weight, to_bias = flambeau.autograd.grad(out, leaves, tensor(ahead))
    # Windows of what came back, as many as there are inputs; those that leave it meet zeros.
    reach = tuple(
        (before, size * s + d * k)
        for (before, _), size, s, d, k in zip(setting.sides, sizes, setting.stride, setting.dilation, setting.kernel)
    )
    windows = convolution(ahead, w, setting._replace(sides=reach))
    close(to_input, windows[(..., *map(slice, sizes))])
    close(to_bias, ahead.sum((0, *range(2, ahead.ndim))))
    for seed in (5, 6):  # linear in the weight: along any direction, the gradient says how the output changes
        direction = numbers(*w.shape, seed=seed)
        change = (transposed(y, direction, setting, outputs) * ahead).sum()
        scale = np.abs(ahead).sum() * np.abs(direction).max() + 1
        assert abs((to_weight.numpy() * direction).sum() - change) <= 1e-12 * scale


@random_cases
@given(cases(), st.booleans())
def test_the_gradients_of_same_are_the_sums_that_they_should_be(case, has_bias):
    setting, batch, (c_in, c_out), sizes = case
    setting = setting._replace(sides=same_sides(sizes, setting))
    x, w, b = numbers(batch, c_in, *sizes), numbers(c_out, c_in // setting.groups, *setting.kernel, seed=1), numbers(c_out, seed=2)
    leaves = [tensor(each).requires_grad_() for each in ((x, w, b) if has_bias else (x, w))]
    out = FORWARD[len(sizes)](*leaves, padding="same", **arguments(setting))
    ahead = numbers(*out.shape, seed=3)
    to_input, to_weight, *to_bias = flambeau.autograd.grad(out, leaves, tensor(ahead))
    close(to_input, transposed(ahead, w, setting, sizes))
    for grad in to_bias:
        close(grad, ahead.sum((0, *range(2, ahead.ndim))))
    direction = numbers(*w.shape, seed=4)
    change = (convolution(x, direction, setting) * ahead).sum()
    np.testing.assert_allclose((to_weight.numpy() * direction).sum(), change, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "sizes"), [((1, 2, 3), (1, 1, 2), (1, 2, 2)), ((3, 3), (2, 1), (9, 4)), ((5, 4), (1, 3), (6, 3))]
)
def test_gradients_whose_sum_goes_backward_through_what_was_ahead(batch, kernel, stride, sizes):
    """Few channels: a sum over the kernel's places alone, along which the rows that it reads come from the last to the first."""
    setting = Settings(kernel, stride, ((0, 0),) * len(sizes), (1,) * len(sizes), 1)
    setting = setting._replace(sides=same_sides(sizes, setting))
    x, w = tensor(numbers(batch, 1, *sizes)).requires_grad_(), numbers(1, 1, *kernel, seed=1)
    out = FORWARD[len(sizes)](x, tensor(w), padding="same", stride=stride)
    ahead = numbers(*out.shape, seed=3)
    (to_input,) = flambeau.autograd.grad(out, x, tensor(ahead))
    close(to_input, transposed(ahead, w, setting, sizes))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups", "channels", "sizes"),
    [
        ((2, 4, 1), (3, 1, 1), (0, 1, 0), 3, (9, 3), (13, 6, 2)),
        ((2, 1, 1), (2, 1, 1), (0, 1, 0), 1, (3, 2), (7, 5, 2)),
        ((3, 2), (2, 1), (0, 1), 2, (32, 40), (12, 6)),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_dilation_that_is_the_stride(kernel, stride, padding, groups, channels, sizes, channels_last):
    """A position and a place of the kernel move equally far along the first dimension."""
    rank, (c_in, c_out) = len(kernel), channels
    setting = Settings(kernel, stride, tuple((each, each) for each in padding), stride, groups)
    x, w = numbers(2, c_in, *sizes), numbers(c_out, c_in // groups, *kernel, seed=1)
    expected = convolution(x, w, setting)
    ahead = numbers(*expected.shape, seed=2)
    formats = {2: flambeau.channels_last, 3: flambeau.channels_last_3d}
    image = lambda values: tensor(values).contiguous(memory_format=formats[rank] if channels_last else flambeau.contiguous_format)
    forward, back, weight = image(x).requires_grad_(), image(ahead).requires_grad_(), tensor(w).requires_grad_()
    options = {"stride": stride, "padding": padding, "dilation": stride, "groups": groups}
    out = FORWARD[rank](forward, weight, **options)
    close(out, expected)
    to_input, to_weight = flambeau.autograd.grad(out, (forward, weight), image(ahead))
    close(to_input, transposed(ahead, w, setting, sizes))
    # The adjoint's gradients are the same sums, with the operands in other places.
    extra = tuple(size - ((o - 1) * s - 2 * p + s * (k - 1) + 1) for size, o, s, p, k in zip(sizes, out.shape[2:], stride, padding, kernel))
    adjoint = TRANSPOSED[rank](back, weight, output_padding=extra, **options)
    to_ahead, again = flambeau.autograd.grad(adjoint, (back, weight), image(x))
    close(to_ahead, expected)
    close(again, to_weight.numpy())
    direction = numbers(*w.shape, seed=3)
    np.testing.assert_allclose((to_weight.numpy() * direction).sum(), (convolution(x, direction, setting) * ahead).sum(), rtol=1e-10)


# -- beyond PyTorch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 6, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_follows_the_formula(size, stride, kernel):
    """total = max((ceil(H / s) - 1) s + d (k - 1) + 1 - H, 0), the odd one at the end."""
    total = max((-(-size // stride) - 1) * stride + 2 * (kernel - 1) + 1 - size, 0)
    x, w = tensor(numbers(1, 1, size)), tensor(numbers(1, 1, kernel, seed=1))
    padded = F.pad(x, (total // 2, total - total // 2))
    close(F.conv1d(x, w, stride=stride, padding="same", dilation=2), F.conv1d(padded, w, stride=stride, dilation=2).numpy())


@pytest.mark.parametrize("output_padding", [0, -1, -2])
def test_same_transposed_is_the_adjoint_of_same(output_padding):
    size = 4 * 3 + output_padding
    w = tensor(numbers(2, 3, 4, seed=1))
    x, y = tensor(numbers(2, 3, size)), tensor(numbers(2, 2, 4, seed=2))
    forward = F.conv1d(x, w, stride=3, padding="same", dilation=2)
    back = F.conv_transpose1d(y, w, stride=3, padding="same", dilation=2, output_padding=output_padding)
    assert forward.shape == y.shape and back.shape == x.shape
    np.testing.assert_allclose((forward * y).sum().item(), (x * back).sum().item(), rtol=1e-13)


def test_valid_transposed_cuts_nothing():
    x, w = tensor(numbers(1, 2, 4, 5)), tensor(numbers(2, 3, 3, 2, seed=1))
    close(F.conv_transpose2d(x, w, stride=2, padding="valid"), F.conv_transpose2d(x, w, stride=2, padding=0).numpy())


@pytest.mark.parametrize(
    ("function", "shape", "weight", "options"),
    [
        (F.conv2d, (1, 2, 5, 4), (2, 1, 3, 2), {"stride": 2, "padding": "same", "groups": 2}),
        (F.conv2d, (2, 4, 5), (3, 2, 2, 3), {"stride": (3, 1), "padding": "same", "dilation": 2}),
        (F.conv_transpose2d, (1, 2, 3, 2), (2, 1, 3, 2), {"stride": 2, "padding": "same", "groups": 2, "output_padding": (0, -1)}),
        (F.conv_transpose2d, (1, 2, 3, 2), (2, 2, 2, 2), {"stride": 3, "padding": "valid", "output_padding": 2}),
        (F.conv_transpose1d, (1, 2, 3), (2, 2, 2), {"stride": 6, "output_padding": 5}),
    ],
)
def test_gradients_of_what_is_beyond(function, shape, weight, options):
    x, w = (tensor(numbers(*each, seed=1)).requires_grad_() for each in (shape, weight))
    call = lambda *operands: function(*operands, **options)
    assert gradcheck(call, (x, w))
    assert gradgradcheck(call, (x, w))


# -- dtypes and layouts ----------------------------------------------------------------------------------------------


ALIKE_PHASES = {
    "4 x 4 windows": (Settings((4, 4), (2, 2), ((1, 1), (1, 1)), (1, 1), 1), (4, 4)),
    "2 x 2 windows, which do not overlap": (Settings((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1), (3, 7)),
    "a stride along one dimension": (Settings((3, 4), (1, 2), ((1, 1), (1, 1)), (1, 1), 1), (5, 4)),
    "groups, other strides, more padding": (Settings((6, 4), (3, 4), ((3, 3), (0, 0)), (1, 1), 2), (5, 2)),
    "dilation": (Settings((2, 4), (2, 2), ((1, 1), (2, 2)), (3, 3), 1), (4, 5)),
    "one dimension": (Settings((4,), (2,), ((1, 1),), (1,), 1), (6,)),
    "volumes": (Settings((4, 2, 2), (2, 2, 1), ((1, 1), (0, 0), (0, 0)), (1, 1, 1), 2), (2, 3, 4)),
}


@pytest.mark.parametrize("name", ALIKE_PHASES)
def test_alike_phases_of_small_images_are_one_contraction(name):
    setting, sizes = ALIKE_PHASES[name]
    c_in, c_out = 4 * setting.groups, 17 * setting.groups
    y, w, b = numbers(3, c_in, *sizes), numbers(c_in, 17, *setting.kernel, seed=1), numbers(c_out, seed=2)
    call = lambda *operands: TRANSPOSED[len(sizes)](*operands, padding=tuple(side for side, _ in setting.sides), **arguments(setting))
    explanation = flambeau.explain(call, *map(tensor, (y, w, b)))
    out = explanation.result
    assert sum("contract" in kernel.summary for kernel in explanation.kernels) == 1
    close(out, transposed(y, w, setting, tuple(out.shape[2:])) + b.reshape(-1, *(1,) * len(sizes)))
    if len(sizes) == 2:  # with the channels innermost the phases are computed one by one
        other = call(tensor(y).contiguous(memory_format=flambeau.channels_last), tensor(w), tensor(b))
        assert other.is_contiguous(memory_format=flambeau.channels_last)
        assert flambeau.equal(out, other)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64", "complex128", "int64", "uint8"])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_dtypes(name, dtype):
    dtype = getattr(flambeau, dtype)
    values = np.random.default_rng(0).integers(0, 3, (2, 4, 5, 5)), np.random.default_rng(1).integers(0, 3, (4, 4, 3, 3))
    x, w = (flambeau.tensor(each).to(dtype) for each in values)
    if dtype.is_complex:
        x, w = x * (1 + 2j), w * (2 - 1j)
    out = getattr(F, name)(x, w, stride=2, padding=1)
    assert out.dtype is dtype
    setting = Settings((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1)
    exact = convolution(*values, setting) if name == "conv2d" else transposed(*values, setting, (9, 9))
    factor = (1 + 2j) * (2 - 1j) if dtype.is_complex else 1
    wide = out.to(flambeau.complex128 if dtype.is_complex else flambeau.float64).numpy()
    np.testing.assert_array_equal(wide, exact * factor)  # small integers are exact in every dtype


def test_bool_has_no_arithmetic():
    operand = flambeau.ones(1, 1, 3, 3, dtype=flambeau.bool)
    with pytest.raises(NotImplementedError, match=r"conv2d is not implemented for torch.bool"):
        F.conv2d(operand, operand)


@pytest.mark.parametrize("function", [F.conv2d, F.conv_transpose2d])
def test_channels_last_is_kept(function):
    x, w = flambeau.rand(2, 4, 5, 6), flambeau.rand(4, 4, 3, 3)
    plain = function(x, w)
    assert plain.is_contiguous()
    for given_x, given_w in ((x.to(memory_format=flambeau.channels_last), w), (x, w.to(memory_format=flambeau.channels_last))):
        out = function(given_x, given_w)
        assert out.is_contiguous(memory_format=flambeau.channels_last) and not out.is_contiguous()
        np.testing.assert_array_equal(out.numpy(), plain.numpy())  # the order of the sum does not depend on the layout


@pytest.mark.parametrize("channels, kernel, stride", [(3, 3, 2), (3, 7, 2), (3, 2, 3), (20, 3, 2)])
def test_strided_gradients_have_the_bits_and_the_layout_of_their_format(channels, kernel, stride):
    """Phases of few channels are put together with places innermost, and a gradient by the weight lies as the weight does."""
    x, w = flambeau.randn(2, channels, 37, 41), flambeau.randn(24, channels, kernel, kernel)
    found = []
    for memory_format in (flambeau.contiguous_format, flambeau.channels_last):
        image, weight = (each.contiguous(memory_format=memory_format).requires_grad_() for each in (x, w))
        out = F.conv2d(image, weight, stride=stride, padding=1)
        ahead = flambeau.ones_like(out) * flambeau.arange(out.shape[-1])
        gradients = flambeau.autograd.grad(out, (image, weight), ahead.contiguous(memory_format=memory_format))
        assert all(each.is_contiguous(memory_format=memory_format) for each in gradients)
        found.append([each.numpy() for each in gradients])
    for plain, other in zip(*found, strict=True):
        np.testing.assert_array_equal(other, plain)


def test_channels_last_of_one_channel_is_what_the_strides_say():
    x, w = flambeau.rand(2, 1, 5, 6), flambeau.rand(4, 1, 3, 3)
    assert F.conv2d(x, w).is_contiguous()
    assert F.conv2d(x.to(memory_format=flambeau.channels_last), w).stride() == (48, 1, 16, 4)


def test_unbatched_and_empty():
    x, w = flambeau.rand(3, 7), flambeau.rand(2, 3, 3)
    np.testing.assert_array_equal(F.conv1d(x, w).numpy(), F.conv1d(x.unsqueeze(0), w)[0].numpy())
    assert F.conv1d(flambeau.zeros(0, 3, 7), w).shape == (0, 2, 5)
    assert F.conv_transpose1d(flambeau.zeros(0, 2, 7), w).shape == (0, 3, 9)


def test_sizes_are_no_reason_to_compile():
    def run(size: int) -> None:
        x, w = flambeau.rand(2, 3, size, size + 1).requires_grad_(), flambeau.rand(4, 3, 3, 3).requires_grad_()
        F.conv2d(x, w, padding=1).sum().backward()
        w.grad.sum().item()

    def kernels() -> float:
        counts = jit.statistics()
        return counts["compiled"] + counts["loaded"]

    run(20)
    before = kernels()
    for size in range(21, 30):
        run(size)
    assert kernels() == before


# -- errors ----------------------------------------------------------------------------------------------------------


def zeros(*shape):
    return flambeau.zeros(shape)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: F.conv2d(zeros(2, 4, 8, 8), zeros(16, 8, 3, 3)),
            r"conv2d: the input of shape \(2, 4, 8, 8\) has 4 channels, but the weight of shape \(16, 8, 3, 3\) takes 8; an input of shape "
            r"\(2, 8, 8, 8\) fits, and so would a weight of shape \(16, 4, 3, 3\) \(in_channels=4\)$",
        ),
        (
            lambda: F.conv2d(zeros(2, 32, 30, 8), zeros(16, 8, 3, 3)),
            r"The last dimension has 8: channels come second here, so input.movedim\(-1, 1\) may be what is meant",
        ),
        (lambda: F.conv2d(zeros(1, 6, 8, 8), zeros(16, 4, 3, 3), groups=2), r"takes 4 \* groups \(=2\) = 8"),
        (
            lambda: F.conv2d(zeros(1, 1, 2, 9), zeros(1, 1, 3, 3), dilation=2),
            r"H_out = floor\(\(H \+ 2\*padding - dilation\*\(kernel - 1\) - 1\) / stride\) \+ 1 = floor\(\(2 \+ 2\*0 - 2\*\(3 - 1\) - 1\) / 1\) \+ 1 = "
            r"-2\. A kernel of 3 at dilation 2 reaches over 5 positions, and there are 2: H >= 5 fits, or padding >= 2",
        ),
        (
            lambda: F.conv_transpose1d(zeros(1, 1, 2), zeros(1, 1, 1), padding=4, stride=3),
            r"L_out = \(L - 1\)\*stride - 2\*padding \+ dilation\*\(kernel - 1\) \+ output_padding \+ 1 = \(2 - 1\)\*3 - 2\*4 \+ 1\*\(1 - 1\) \+ 0 \+ 1 = "
            r"-4\. L >= 4 fits, or padding <= 1",
        ),
        (lambda: F.conv2d(zeros(1, 4, 8, 8), zeros(5, 2, 3, 3), groups=2), r"must be divisible by groups: 5 % 2 = 1"),
        (lambda: F.conv2d(zeros(1, 2, 8, 8), zeros(5, 2, 3, 3), zeros(4)), r"bias of shape \(4,\) must have shape \(5,\)"),
        (lambda: F.conv2d(zeros(8, 8), zeros(5, 2, 3, 3)), r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"),
        (
            lambda: F.conv2d(zeros(1, 2, 8, 8), zeros(5, 2, 3)),
            r"expected a weight of 4 dimensions \(C_out, C_in / groups, kernel_h, kernel_w\)",
        ),
        (
            lambda: F.conv2d(zeros(1, 2, 8, 8), zeros(5, 2, 3, 3).double()),
            r"Input type \(torch.float32\) and weight type \(torch.float64\)",
        ),
        (lambda: F.conv2d(zeros(1, 2, 8, 8), zeros(5, 2, 3, 3), stride=0), "non-positive stride is not supported"),
        (lambda: F.conv2d(zeros(1, 2, 8, 8), zeros(5, 2, 3, 3), padding=-1), "negative padding is not supported"),
        (lambda: F.conv2d(zeros(1, 2, 8, 8), zeros(5, 2, 3, 3), padding="full"), "Invalid padding string: 'full'"),
        (lambda: F.conv2d(zeros(1, 2, 0, 8), zeros(5, 2, 3, 3)), r"only the batch and the channels may be empty, but .* has H = 0"),
        (lambda: F.conv_transpose2d(zeros(1, 2, 8, 8), zeros(2, 5, 3, 3), output_padding=-1), "negative output_padding is not supported"),
        (
            lambda: F.conv_transpose2d(zeros(1, 2, 8, 8), zeros(2, 5, 3, 3), stride=(2, 1), dilation=(1, 3), output_padding=(2, 0)),
            r"smaller than either stride or dilation: .* got output_padding \(2, 0\), stride \(2, 1\) and dilation \(1, 3\)",
        ),
        (
            lambda: F.conv_transpose2d(zeros(1, 2, 8, 8), zeros(2, 5, 3, 3), stride=2, padding="same", output_padding=1),
            r"output_padding must be above -stride and at most 0, but got output_padding \(1, 1\) and stride \(2, 2\)",
        ),
    ],
)
def test_errors_state_the_rule_and_the_numbers(call, text):
    with pytest.raises(RuntimeError, match=text):
        call()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2), stride=True),
            TypeError,
            "stride must be an int or a tuple of 2 ints, not True",
        ),
        (
            lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2), stride="2"),
            TypeError,
            "stride must be an int or a tuple of 2 ints, not '2'",
        ),
        (lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2), dilation=(1, 1.0)), TypeError, r"dilation .* not \(1, 1.0\)"),
        (lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2), groups=1.0), TypeError, "groups must be an int, not 1.0"),
        (lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2), padding=1 << 63), ValueError, r"padding must be below 2\*\*63"),
        (lambda: F.conv2d(np.zeros((1, 1, 4, 4)), zeros(1, 1, 2, 2)), TypeError, "argument 'input' must be Tensor, not ndarray"),
        (lambda: F.conv2d(zeros(1, 1, 4, 4), None), TypeError, "argument 'weight' must be Tensor, not NoneType"),
        (lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2), 1.0), TypeError, "argument 'bias' must be Tensor, not float"),
        (
            lambda: F.conv_transpose1d([[1.0]], zeros(1, 1, 2)),
            TypeError,
            r"conv_transpose1d\(\): argument 'input' must be Tensor, not list",
        ),
    ],
)
def test_arguments_of_a_wrong_type(call, error, text):
    F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 2, 2))  # its plan is remembered under stride (1, 1), which equals (True, True)
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(
    "two", [np.int64(2), np.int32(2), flambeau.tensor(2), (np.int64(2),), [2, np.int64(2)], flambeau.Size([2, 2])], ids=repr
)
def test_what_can_be_an_index_is_a_size(two):
    x, w = flambeau.rand(1, 2, 7, 7), flambeau.rand(2, 2, 2, 2)
    for function in (F.conv2d, F.conv_transpose2d):
        expected = function(x, w, stride=2, padding=2, dilation=2)
        assert (function(x, w, stride=two, padding=two, dilation=two) == expected).all()
    assert (F.conv2d(x, w[:, :1], stride=2, groups=np.int64(2)) == F.conv2d(x, w[:, :1], stride=2, groups=2)).all()
    ours = flambeau.convolution(x, w, None, (2,), (0,), (1,), False, (0,), 1)
    assert (ours == F.conv2d(x, w, stride=2)).all()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding", "groups"),
    [
        ((8, 8), (8, 8), (0, 0), (0, 0), 1),
        ((9, 5), (5, 5), (2, 0), (1, 4), 1),
        ((8, 4), (4, 4), (3, 1), (0, 2), 3),
        ((16,), (16,), (7,), (3,), 2),
        ((40,), (20,), (25,), (0,), 1),
        ((3, 3), (50, 40), (1, 0), (20, 0), 1),
        ((20,), (1000,), (0,), (999,), 1),
    ],
)
@pytest.mark.parametrize("has_bias", [False, True])
def test_transposed_convolutions_with_many_phases(kernel, stride, padding, output_padding, groups, has_bias):
    rank, sizes = len(kernel), (3, 4)[: len(kernel)]
    setting = Settings(kernel, stride, tuple((each, each) for each in padding), (1,) * rank, groups)
    outputs = tuple(
        (size - 1) * s - 2 * p + k + extra for size, s, p, k, extra in zip(sizes, stride, padding, kernel, output_padding, strict=True)
    )
    y, w, b = numbers(2, 2 * groups, *sizes), numbers(2 * groups, 3, *kernel, seed=1), numbers(3 * groups, seed=2)
    out = TRANSPOSED[rank](tensor(y), tensor(w), tensor(b) if has_bias else None, stride, padding, output_padding, groups)
    close(out, transposed(y, w, setting, outputs) + (b.reshape(-1, *(1,) * rank) if has_bias else 0))


def test_a_stride_far_beyond_the_kernel():
    out = F.conv_transpose2d(flambeau.ones(1, 1, 3, 3), flambeau.ones(1, 1, 2, 2), stride=1000)
    assert out.shape == (1, 1, 2002, 2002) and out.sum() == 36 and out[0, 0, :2, 2000:].tolist() == [[1.0, 1.0], [1.0, 1.0]]
