"""Results that PyTorch gives where another choice would be as good: shapes, edges, strides, gradients."""

from __future__ import annotations

import cmath
import math

import pytest

import flambeau


def test_addbmm_takes_the_shape_of_its_result() -> None:
    x = flambeau.ones(1)
    assert x.addbmm_(flambeau.ones(2, 3, 3), flambeau.ones(2, 3, 4), beta=2) is x and x.tolist() == [[8.0] * 4] * 3


def test_products_are_added_to_their_own_dtype() -> None:
    for name, shapes in (("addmm", ((2, 2), (2, 2))), ("addmv", ((2, 2), (2,))), ("baddbmm", ((1, 2, 2), (1, 2, 2)))):
        with pytest.raises(RuntimeError, match="float64 and torch.float32"):
            getattr(flambeau, name)(flambeau.ones(2, dtype=flambeau.float64), *map(flambeau.ones, shapes))


def test_edges_of_histograms_of_equal_numbers() -> None:
    x = flambeau.tensor([3.0, 3.0])
    assert x.histogram(2).bin_edges.tolist() == [2.5, 3, 3.5] and x[0].histogram(1).hist.tolist() == [1]
    assert x.histogram(2, range=(0.0, 0.0)).bin_edges.tolist() == [-0.5, 0, 0.5] and x.histc(2).tolist() == [0, 2]


def test_logaddexp_of_complex_numbers() -> None:
    a, b = [1 + 2j, 3 - 1j, complex(-math.inf), 2 + 1j, -700 + 3j], [1 - 2j, 3 - 1j, complex(-math.inf), complex(-math.inf), 0.5j]
    found = flambeau.logaddexp(flambeau.tensor(a, dtype=flambeau.complex128), flambeau.tensor(b, dtype=flambeau.complex128)).tolist()
    expected = [
        cmath.log(cmath.exp(x) + cmath.exp(y)) if math.isfinite(x.real + y.real) else max(x, y, key=lambda z: z.real)
        for x, y in zip(a, b, strict=True)
    ]
    for one, two in zip(found, expected, strict=True):
        assert one == pytest.approx(two, rel=1e-12)
    pair = [flambeau.tensor(each, dtype=flambeau.complex128, requires_grad=True) for each in ([1 + 0.5j, 3 - 1j], [1 - 0.4j, 2 + 1j])]
    assert flambeau.autograd.gradcheck(flambeau.logaddexp, pair)


def test_the_gradient_of_the_next_number() -> None:
    x, y = flambeau.tensor([1.0, 2.0], requires_grad=True), flambeau.tensor([2.0, 2.0], requires_grad=True)
    flambeau.nextafter(x, y).backward(flambeau.tensor([0.5, 0.5]))
    assert x.grad.tolist() == [0.5, 0] and y.grad.tolist() == [0, 0]


def test_coordinates_lie_side_by_side() -> None:
    rows, columns = flambeau.unravel_index(flambeau.arange(6).view(2, 3), (4, 5))
    assert rows.stride() == columns.stride() == (6, 2) and columns.storage_offset() == 1 and columns.tolist() == [[0, 1, 2], [3, 4, 0]]


def test_to_copies_when_it_is_asked_to() -> None:
    x = flambeau.ones(2)
    assert x.to(flambeau.float32, False, True) is not x and x.to("cpu", flambeau.float32, True, True) is not x and x.to(x, True) is x


def test_sums_of_bools_are_counts() -> None:
    x = flambeau.ones(5, dtype=flambeau.bool)
    assert x.sum_to_size(1).tolist() == [5] and x.sum_to_size(1).dtype is flambeau.int64 and x.sum_to_size(5).dtype is flambeau.bool


REFUSED = {
    "abs_ of complex": (lambda: flambeau.ones(2, dtype=flambeau.complex64).abs_(), "not supported for complex"),
    "polygamma_ of ints": (lambda: flambeau.arange(2).polygamma_(1), "can't be cast"),
    "65 dimensions": (lambda: flambeau.ones([1] * 65).amax(), "up to 64 dims"),
    "a start with dimensions": (lambda: flambeau.ones(3).narrow(0, flambeau.tensor([1]), 1), "0-dim integral Tensor"),
    "a start that is no integer": (lambda: flambeau.ones(3).narrow(0, flambeau.tensor(1.0), 1), "0-dim integral Tensor"),
    "multinomial's out": (lambda: flambeau.multinomial(flambeau.ones(2), 1, out=flambeau.ones(1)), "int64 tensor for out"),
    "cat over what it reads": (lambda: (lambda x: flambeau.cat((x, x), out=x))(flambeau.ones(2)), "refer to a single memory location"),
    "pieces of a number": (lambda: flambeau.tensor(1.0).chunk(2), "at least a 1-dimensional tensor"),
    "bool from float": (lambda: flambeau.ones(2) - flambeau.ones(2, dtype=flambeau.bool), "bool tensors"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(call, message) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()


@pytest.mark.parametrize("name", ["silu", "gelu", "elu", "mish", "softplus", "hardswish"])
def test_activations_are_of_floating_point_numbers(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name}.*int64"):
        getattr(flambeau.nn.functional, name)(flambeau.arange(4))


def test_ldexp_takes_tensors() -> None:
    with pytest.raises(TypeError, match=r"ldexp\(\): argument 'input'( \(position 1\))? must be Tensor, not int"):
        flambeau.ldexp(2, flambeau.ones(2))
