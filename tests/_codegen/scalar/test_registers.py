from __future__ import annotations

import ctypes

import numpy as np
import pytest

from flambeau._codegen import scalar
from flambeau._codegen.ir import Module, Value, constant
from flambeau._types import dtype as types
from tests._codegen.elementwise import element, features, link, run, sample

EVERY = pytest.mark.parametrize("of", types.DTYPES, ids=repr)
WIDTHS = pytest.mark.parametrize("width", [1, 4, 16])


def _call(module: Module, *arrays: np.ndarray, count: int) -> None:
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * len(arrays))(link(str(module)))
    function(count, *[array.ctypes.data for array in arrays])


def _function(pointers: int):
    module = Module(features())
    return module, module.function("kernel", [("i64", "n"), *[("ptr", f"p{number}") for number in range(pointers)]])


def _mask(builder, count: Value, width: int) -> Value:
    return builder.lane_mask(count, width) if width > 1 else builder.compare("sgt", count, 0)


@EVERY
@WIDTHS
def test_load_and_store(of, width):
    array = sample(of, 64)
    got = run(lambda builder, operands: operands[0], [array], [of], of, width)
    assert np.array_equal(got, array, equal_nan=of.numpy.kind in "fc")


@EVERY
@WIDTHS
def test_masked_lanes_do_not_touch_memory(of, width):
    """Null pointers prove it where no lane is active; a canary where some are."""
    module, builder = _function(2)
    count, source, destination = builder.parameters
    mask = _mask(builder, count, width)
    scalar.store(builder, scalar.load(builder, source, of, width, mask), destination, of, mask)
    builder.ret()
    text = link(str(module))
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(text)(0, None, None)
    array, output = sample(of, width), np.zeros(width + 1, of.numpy)
    active = max(1, width - 1)
    _call(module, array, output, count=active)
    assert np.array_equal(output[:active], array[:active], equal_nan=of.numpy.kind in "fc")
    assert not output[active:].any()


@EVERY
@WIDTHS
@pytest.mark.parametrize("masked", [False, True])
def test_strided(of, width, masked):
    """Every third element, reversed into every second."""
    module, builder = _function(2)
    count, source, destination = builder.parameters
    mask = _mask(builder, count, width) if masked else None
    one = width == 1
    source_step, destination_step = constant("i64", 0 if one else 3), constant("i64", 0 if one else -2)
    value = scalar.load_strided(builder, source, source_step, of, width, mask)
    last = element(builder, destination, constant("i64", 2 * (width - 1)), of)
    scalar.store_strided(builder, value, last, destination_step, of, mask)
    builder.ret()
    array, output = sample(of, 3 * width), np.zeros(2 * width, of.numpy)
    active = max(1, width - 1) if masked else width
    _call(module, array, output, count=active)
    want = np.zeros_like(output)
    want[2 * (width - 1) :: -2][:active] = array[::3][:active]
    assert np.array_equal(output, want, equal_nan=of.numpy.kind in "fc")


@EVERY
def test_indexed(of):
    module, builder = _function(3)
    _, source, index, destination = builder.parameters
    lanes = builder.load(index, "<16 x i64>")
    scalar.store(builder, scalar.load_strided(builder, source, lanes, of, 16), destination, of)
    builder.ret()
    array, order, output = sample(of, 40), np.random.default_rng(0).integers(0, 40, 16), np.zeros(16, of.numpy)
    _call(module, array, order, output, count=0)
    assert np.array_equal(output, array[order], equal_nan=of.numpy.kind in "fc")


@EVERY
def test_constants(of):
    for number in (0, 1, 2, -3) if of.is_signed else (0, 1, 255):
        got = run(lambda builder, operands, number=number: scalar.splat_constant(of, number, 4), [sample(of, 4)], [of], of, 4)
        want = scalar.convert(np.full(4, number, np.int64), types.int64, of)
        np.testing.assert_array_equal(got, want)


def test_integer_constants_wrap_around():
    assert scalar.splat_constant(types.uint8, 300, 1) == constant("i8", 44)
    assert scalar.splat_constant(types.int8, 255, 1) == constant("i8", -1)


@EVERY
def test_select_and_splat(of):
    array = sample(of, 16)

    def body(builder, operands):
        condition = builder.lane_mask(constant("i64", 2), 4)
        zero = scalar.splat(builder, scalar.splat_constant(of, 0, 1), of, 4)
        return scalar.select(builder, condition, operands[0], zero)

    got = run(body, [array], [of], of, 4)
    want = np.where(np.arange(16) % 4 < 2, array, np.zeros(1, of.numpy))
    assert np.array_equal(got, want, equal_nan=of.numpy.kind in "fc")


@EVERY
def test_register_types_describe_operands(of):
    _, builder = _function(1)
    operand = scalar.load(builder, builder.parameters[1], of, 8)
    assert [part.type for part in scalar.unpack(operand)] == scalar.register_types(of, 8)
    assert scalar.pack(scalar.unpack(operand)) == operand
