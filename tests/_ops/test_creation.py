"""Tensors from Python data: the short way of ``struct`` and the long way of NumPy give the same elements."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau
from flambeau._ops import creation


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([1.5, -0.0, math.nan, math.inf, 1e-45, 0.1, 16777217.0], "float32"),
        ([1.5, -0.0, math.nan, math.inf, 5e-324], "float64"),
        ([3.5e38, 1.0], "float32"),
        ([0, -1, 2**63 - 1, -(2**63)], "int64"),
        ([0, -1, 2**31 - 1], "int32"),
        ([True, False], "bool"),
        ([1, 0], "bool"),
        ([1, 2**53 + 1], "float32"),
        ([1, 2.5], "float32"),
        ([True, 2], "int64"),
        ((1.0, 2.0), "float16"),
        ([1.0, 2.0], "bfloat16"),
        ([], "float32"),
        (2.5, "float32"),
        (True, "bool"),
        (7, "int64"),
    ],
)
def test_the_short_way_is_no_other(data: object, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = flambeau.tensor(data, dtype=getattr(flambeau, dtype))
    monkeypatch.setattr(creation, "_packed", lambda *args: None)
    expected = flambeau.tensor(data, dtype=getattr(flambeau, dtype))
    assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
    assert made._array().tobytes() == expected._array().tobytes()


@pytest.mark.parametrize(("data", "dtype"), [([1.0], "float32"), ([1], "int64"), ([True], "bool"), (1.0, "float32"), ([1, 2.0], "float32")])
def test_the_dtype_follows_from_the_data(data: object, dtype: str) -> None:
    assert flambeau.tensor(data).dtype is getattr(flambeau, dtype)


def test_the_default_dtype() -> None:
    flambeau.set_default_dtype(flambeau.float64)
    try:
        assert flambeau.tensor([0.1]).item() == 0.1 and flambeau.tensor(0.1).dtype is flambeau.float64
    finally:
        flambeau.set_default_dtype(flambeau.float32)


def test_integers_that_do_not_fit() -> None:
    for data in ([2**63], 2**63, -(2**63) - 1, 2**64):
        with pytest.raises(ValueError, match="64 bits"):
            flambeau.tensor(data)
    for data, dtype in (
        (300, "uint8"),
        ([300], "uint8"),
        (-256, "uint8"),
        ([-129], "int8"),
        (2**31, "int32"),
        (300.5, "uint8"),
        (float("nan"), "int64"),
    ):
        with pytest.raises(RuntimeError, match=f"converted to type {dtype} without overflow"):
            flambeau.tensor(data, dtype=getattr(flambeau, dtype))
    assert flambeau.tensor([-1, 255], dtype=flambeau.uint8).tolist() == [255, 255]  # as in C
    assert flambeau.tensor(2**63, dtype=flambeau.uint64).item() == 2**63
    assert flambeau.tensor([3.7, -1.5], dtype=flambeau.int8).tolist() == [3, -1]
    with pytest.raises(TypeError, match="must be real number"):
        flambeau.tensor(1j, dtype=flambeau.float32)


def test_tensors_in_lists_are_numbers() -> None:
    assert flambeau.tensor([flambeau.ones(1), flambeau.zeros(1, 1), 2]).tolist() == [1.0, 0.0, 2.0]
    with pytest.raises(ValueError, match="only one element tensors"):
        flambeau.tensor([flambeau.ones(2), flambeau.zeros(2)])


def test_what_becomes_an_array_is_one() -> None:
    class Column:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.5, 2.5])

    assert flambeau.tensor(Column()).dtype is flambeau.float64 and flambeau.tensor(Column(), dtype=flambeau.int8).tolist() == [1, 2]


def test_a_tensor_is_a_copy() -> None:
    array = np.ones(2, np.float32)
    made = flambeau.tensor(array)
    array[:] = 2
    assert made.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"]
)
def test_item(dtype: str) -> None:
    made = flambeau.tensor([0, 1, 1], dtype=getattr(flambeau, dtype))
    value = made[2].item()
    expected = {"f": float, "b": bool, "c": complex}.get(dtype[0], int)
    assert value == 1 and type(value) is (float if dtype == "bfloat16" else expected)
    assert (made[1:2] + made[0]).item() == 1


@pytest.mark.parametrize(
    "make",
    [lambda **o: flambeau.zeros(2, **o), lambda **o: flambeau.ones_like(flambeau.ones(2), **o), lambda **o: flambeau.rand(2, **o),
     lambda **o: flambeau.eye(2, **o), lambda **o: flambeau.linspace(0, 1, 3, **o), lambda **o: flambeau.randint(3, (2,), **o),
     lambda **o: flambeau.ones(2).new_zeros(2, **o), lambda **o: flambeau.randperm(3, **o), lambda **o: flambeau.normal(0.0, 1.0, (2,), **o)],
)  # fmt: skip
def test_options_are_known_or_refused(make) -> None:
    with pytest.raises(TypeError, match="dtyp"):
        make(dtyp=flambeau.float64)
    with pytest.raises(RuntimeError, match="CPU"):
        make(device="cuda")
    assert make(layout=flambeau.strided, device="cpu").numel() > 0


@pytest.mark.parametrize("name", ["empty", "ones", "rand", "eye", "arange", "randperm"])
def test_what_is_not_zero_is_strided(name: str) -> None:
    with pytest.raises(RuntimeError, match="strided"):
        getattr(flambeau, name)(2, layout=flambeau.sparse_coo)


def test_zeros_may_be_sparse() -> None:
    for made in (flambeau.zeros(2, 3, layout=flambeau.sparse_csr), flambeau.ones(1).new_zeros(2, 3, layout=flambeau.sparse_csr)):
        assert made.layout == flambeau.sparse_csr and made.shape == (2, 3) and made._nnz() == 0
    with pytest.raises(RuntimeError, match="CPU"):
        flambeau.zeros(2, layout=flambeau.sparse_coo, device="cuda")


def test_bounds_of_random_integers_by_place_and_by_name() -> None:
    flambeau.manual_seed(0)
    expected = flambeau.randint(2, 9, (5,)).tolist()
    for arguments, named in (((2, 9), {"size": (5,)}), ((2,), {"high": 9, "size": (5,)}), ((), {"low": 2, "high": 9, "size": (5,)})):
        flambeau.manual_seed(0)
        assert flambeau.randint(*arguments, **named).tolist() == expected
    with pytest.raises(TypeError, match="needs"):
        flambeau.randint(3)
    with pytest.raises(TypeError, match="takes 3 arguments"):
        flambeau.randint(1, 2, 3, (4,))


@pytest.mark.parametrize(("given", "dtype"), [(bool, "bool"), (int, "int64"), (float, "float64"), (complex, "complex128")])
def test_classes_of_python_are_dtypes(given, dtype):
    x, expected = flambeau.ones(2), getattr(flambeau, dtype)
    made = [
        flambeau.zeros(2, dtype=given), flambeau.empty(2, dtype=given), flambeau.full((2,), 1, dtype=given), flambeau.tensor([1, 0], dtype=given),
        flambeau.as_tensor(x, dtype=given), flambeau.ones_like(x, dtype=given), x.new_zeros(2, dtype=given), x.to(given), x.to(dtype=given),
        flambeau.eye(2, dtype=given),
    ]  # fmt: skip
    assert [each.dtype for each in made] == [expected] * len(made)
    assert given is bool or given is complex or flambeau.arange(2, dtype=given).dtype is expected
    for found, number in ((x.sum(dtype=given), 2), (x.cumsum(0, dtype=given)[1], 2), (x.prod(dtype=given), 1)):
        assert found.dtype is expected and found.item() == (True if given is bool else number)
    assert all(each.tolist() is not None for each in made)


def test_lists_of_arrays_have_the_dtype_of_the_arrays() -> None:
    with pytest.warns(UserWarning, match="list of numpy.ndarrays is extremely slow"):
        assert flambeau.tensor([np.array([1.0, 2.0])]).dtype is flambeau.float64
    assert flambeau.tensor([np.float32(1), np.float32(2)]).dtype is flambeau.float32
    assert flambeau.tensor([np.int32(1), np.int32(2)]).dtype is flambeau.int32
    for data in ([np.float64(1)], [1.0, np.float64(2)], [[np.float64(1)]], [np.float32(1), np.float64(2)]):
        assert flambeau.tensor(data).dtype is flambeau.float64
    for data in ([np.int64(1), 2.0], [np.float32(1), 1], [1, np.float32(1)]):
        assert flambeau.tensor(data).dtype is flambeau.float32
    assert flambeau.tensor([flambeau.tensor(1.0, dtype=flambeau.float64), 2]).dtype is flambeau.float64
    assert flambeau.tensor([[np.array([1, 2])], [np.array([3.5, 4])]]).tolist() == [[[1.0, 2.0]], [[3.5, 4.0]]]


def test_ranges_of_integers_cut_fractions_off_first() -> None:
    whole = flambeau.int64
    assert flambeau.arange(0.5, 5.7, 1.2, dtype=whole).tolist() == [0, 1, 2, 3, 4]
    assert flambeau.arange(0.0, -8.000001, -4.0, dtype=whole).tolist() == [0, -4]
    assert flambeau.arange(0, 5, 0.7, dtype=flambeau.int32).tolist() == [0] * 8
    assert flambeau.linspace(4.3, -3.9, 8, dtype=whole).tolist() == [4, 3, 2, 1, 0, -1, -2, -3]


@pytest.mark.parametrize("make", [lambda: flambeau.hann_window(3, dtype=float), lambda: flambeau.logspace(0, 1, 3, dtype=float)])
def test_classes_of_pythons_as_dtypes(make) -> None:
    assert make().dtype is flambeau.float64
    assert flambeau.tensor([1.5, 2.5], dtype=flambeau.float64).view(int).dtype is flambeau.int64
    assert flambeau.nn.Linear(2, 2).to(float).weight.dtype is flambeau.float64


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.bfloat16, flambeau.int64, flambeau.bool, flambeau.complex64])
@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 5), (3, 3), (2, 4), (4, 2)])
def test_eye_has_ones_on_the_diagonal(rows: int, columns: int, dtype: flambeau.dtype) -> None:
    made = flambeau.eye(rows, columns, dtype=dtype)
    assert made.dtype is dtype and made.shape == (rows, columns)
    assert made.tolist() == np.eye(rows, columns).tolist()
