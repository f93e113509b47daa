"""Second names, small methods, old classes of tensors, and tensors over foreign memory."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau


def test_second_names() -> None:
    x = flambeau.tensor([0.5, -0.5])
    assert flambeau.arctan2(x, x).equal(flambeau.atan2(x, x)) and flambeau.concat((x, x)).equal(flambeau.cat((x, x)))
    assert flambeau.abs_(x) is x and x.tolist() == [0.5, 0.5]
    assert x.greater_(0.2).tolist() == [1, 1] and flambeau.zero_(x).tolist() == [0, 0]


def test_methods_of_the_object() -> None:
    x = flambeau.arange(6.0).reshape(2, 3)
    assert x.get_device() == -1 and x.t().dim_order() == (1, 0)
    assert x.is_set_to(x.view(2, 3)) and not x.is_set_to(x.clone())
    assert x.new([1, 2]).dtype == flambeau.float32 and x.new(2, 2).shape == (2, 2)
    assert x.clone().apply_(lambda value: value + 1).tolist() == (x + 1).tolist()
    assert x.clone().map_(x, lambda one, other: one * other).tolist() == (x * x).tolist()
    with pytest.raises(TypeError, match="do not require grad"):
        flambeau.ones(1, requires_grad=True).apply_(float)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (7, 3), (3, 3, 3)])
def test_fill_diagonal(shape: tuple, wrap: bool) -> None:
    expected = np.zeros(shape)
    np.fill_diagonal(expected, 5, wrap=wrap)
    assert flambeau.zeros(*shape).fill_diagonal_(5, wrap).tolist() == expected.tolist()


def test_old_classes() -> None:
    assert flambeau.FloatTensor([1, 2]).dtype == flambeau.float32 and flambeau.LongTensor(2, 3).shape == (2, 3)
    assert isinstance(flambeau.ones(1), flambeau.FloatTensor) and not isinstance(flambeau.ones(1), flambeau.DoubleTensor)
    assert flambeau.BoolTensor([True]).dtype == flambeau.bool and flambeau.ByteTensor(flambeau.Size([2])).shape == (2,)


def test_foreign_memory() -> None:
    data = bytearray(np.arange(4, dtype=np.float32).tobytes())
    found = flambeau.frombuffer(data, dtype=flambeau.float32, offset=4)
    assert found.tolist() == [1, 2, 3]
    found[0] = 7
    assert np.frombuffer(data, np.float32).tolist() == [0, 7, 2, 3]
    with pytest.raises(ValueError, match="must not be greater than 16"):
        flambeau.frombuffer(data, dtype=flambeau.float32, count=5)
    array = np.ones(3)
    shared = flambeau.asarray(array)
    array[0] = 2
    assert shared.tolist() == [2, 1, 1] and flambeau.asarray(array, copy=True)[0].item() == 2
    assert flambeau.from_dlpack(array).tolist() == [2, 1, 1]
    with pytest.raises(ValueError, match="can't alias"):
        flambeau.asarray([1, 2], copy=False)
    assert flambeau.range(1, 3).tolist() == [1, 2, 3]


def test_layout_is_strided() -> None:
    assert flambeau.ones(2).layout == flambeau.strided and repr(flambeau.strided) == "torch.strided"
    assert isinstance(flambeau.strided, flambeau.layout)
    assert flambeau.ones(2).layout != flambeau.sparse_coo and flambeau.sparse_coo != flambeau.sparse_csr


def test_what_makes_no_sparse_tensors_says_so() -> None:
    for make in (flambeau.empty, flambeau.rand, flambeau.eye):
        with pytest.raises(RuntimeError, match="strided tensors only"):
            make(2, layout=flambeau.sparse_coo)
    assert flambeau.zeros(2, layout=flambeau.sparse_coo).is_sparse
    assert flambeau.e == np.e and flambeau.newaxis is None


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_a_device_that_is_not_there(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="computes on the CPU"):
        flambeau.zeros(2).cuda()
    with pytest.raises(kind, match="computes on the CPU"):
        flambeau.nn.Linear(2, 2).to("cuda")


@pytest.mark.parametrize("kind", [int, float, complex])
def test_several_elements_are_no_number(kind):
    with pytest.raises(ValueError, match="only one element tensors .* not one with 2 elements"):
        kind(flambeau.ones(2))
    assert kind(flambeau.ones(1, 1)) == 1


def test_indices_as_often_as_they_are_to_be_repeated():
    assert flambeau.repeat_interleave(flambeau.tensor([1, 0, 2])).tolist() == [0, 2, 2]


def test_capsules_are_taken() -> None:
    x = flambeau.arange(3)
    taken = flambeau.utils.dlpack.from_dlpack(flambeau.utils.dlpack.to_dlpack(x))
    taken[0] = 5
    assert x.tolist() == taken.tolist() == [5, 1, 2]


def test_rows_in_reverse_order_and_what_cannot_be_among_them() -> None:
    assert reversed(flambeau.arange(4).view(2, 2)).tolist() == [[2, 3], [0, 1]] and reversed(flambeau.tensor(1)).item() == 1
    assert 2 in flambeau.arange(3) and np.int64(2) in flambeau.arange(3) and flambeau.tensor(7) not in flambeau.arange(3)
    for other in ("a", None, [1]):
        with pytest.raises(RuntimeError, match="only supports Tensor or scalar"):
            other in flambeau.arange(3)  # noqa: B015


def test_the_data_of_what_requires_grad_is_of_floats() -> None:
    x = flambeau.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="must be floating point or complex"):
        x.data = flambeau.zeros(3, dtype=flambeau.int32)
    x.data = flambeau.zeros(3, dtype=flambeau.float16)
    assert x.dtype is flambeau.float16 and x.requires_grad
