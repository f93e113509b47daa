from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from flambeau._types import dtype as types


@pytest.mark.parametrize("of", types.DTYPES, ids=repr)
def test_a_dtype_is_a_singleton(of):
    assert pickle.loads(pickle.dumps(of)) is of
    assert copy.deepcopy(of) is of
    assert getattr(types, of.name) is of
    assert types.DTYPES[of.code] is of
    assert repr(of) == f"torch.{of.name}"


def test_no_dtype_can_be_made():
    with pytest.raises(TypeError, match="use an existing one"):
        types.dtype()


def test_attributes_are_those_of_pytorch():
    expected = {  # itemsize, is_floating_point, is_complex, is_signed
        "bool": (1, False, False, False),
        "uint8": (1, False, False, False),
        "int8": (1, False, False, True),
        "int16": (2, False, False, True),
        "int32": (4, False, False, True),
        "int64": (8, False, False, True),
        "uint16": (2, False, False, False),
        "uint32": (4, False, False, False),
        "uint64": (8, False, False, False),
        "float32": (4, True, False, True),
        "float64": (8, True, False, True),
        "float16": (2, True, False, True),
        "bfloat16": (2, True, False, True),
        "float8_e4m3fn": (1, True, False, True),
        "float8_e4m3fnuz": (1, True, False, True),
        "float8_e5m2": (1, True, False, True),
        "float8_e5m2fnuz": (1, True, False, True),
        "complex32": (4, False, True, True),
        "complex64": (8, False, True, True),
        "complex128": (16, False, True, True),
    }
    assert {of.name: (of.itemsize, of.is_floating_point, of.is_complex, of.is_signed) for of in types.DTYPES} == expected


def test_aliases():
    assert (types.half, types.float, types.double) == (types.float16, types.float32, types.float64)
    assert (types.short, types.int, types.long) == (types.int16, types.int32, types.int64)
    assert (types.chalf, types.cfloat, types.cdouble) == (types.complex32, types.complex64, types.complex128)


def test_real_and_complex_counterparts():
    assert types.complex64.to_real() is types.float32
    assert types.complex128.to_real() is types.float64
    assert types.int32.to_real() is types.int32
    assert types.float32.to_complex() is types.complex64
    assert types.float64.to_complex() is types.complex128
    assert types.float16.to_complex() is types.complex32 and types.complex32.to_real() is types.float16
    assert types.bfloat16.to_complex() is types.complex64
    assert types.complex64.to_complex() is types.complex64
    with pytest.raises(RuntimeError, match=r"torch\.int32 has no complex dtype"):
        types.int32.to_complex()


def test_half_precision_is_computed_in_float32():
    short = {types.float16, types.bfloat16, *types.FLOAT8}
    assert {of for of in types.DTYPES if of.compute is not of} == {*short, types.complex32}
    assert {of.compute for of in short} == {types.float32} and types.complex32.compute is types.complex64


def test_from_numpy():
    for of in types.DTYPES:
        if of not in types.NO_NUMPY:
            assert types.from_numpy(of.numpy) is of
    assert types.from_numpy(np.dtype(">f4")) is types.float32
    assert types.from_numpy(np.dtype(np.longlong)) is types.int64
    with pytest.raises(TypeError, match=r"can't convert np\.ndarray of type <U3\. The only supported types are: bool, complex128"):
        types.from_numpy(np.dtype("U3"))
