"""The text of tensors. What is expected was printed by PyTorch 2.13 (``repr(torch.tensor(...))`` under the same options)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from flambeau._tensor.printing import format_tensor, get_printoptions, printoptions, set_printoptions
from flambeau._types import dtype as dt
from flambeau._types.promotion import set_default_dtype


@dataclass
class Case:
    name: str
    array: np.ndarray
    dtype: dt.dtype
    text: str
    options: dict[str, Any] = field(default_factory=dict)
    gradient: dict[str, Any] = field(default_factory=dict)


# fmt: off
CASES = [
    Case(
        "0-dim float",
        np.array(3.0),
        dt.float32,
        "tensor(3.)",
    ),
    Case(
        "0-dim int",
        np.array(7),
        dt.int64,
        "tensor(7)",
    ),
    Case(
        "0-dim small",
        np.array(1e-5),
        dt.float32,
        "tensor(1.0000e-05)",
    ),
    Case(
        "empty vector",
        np.zeros(0),
        dt.float32,
        "tensor([])",
    ),
    Case(
        "empty matrix",
        np.zeros((0, 3)),
        dt.float32,
        "tensor([], size=(0, 3))",
    ),
    Case(
        "empty int64 shows its dtype",
        np.zeros((2, 0)),
        dt.int64,
        "tensor([], size=(2, 0), dtype=torch.int64)",
    ),
    Case(
        "bool",
        np.array([[True, False], [False, True]]),
        dt.bool,
        (
            "tensor([[ True, False],\n"
            "        [False,  True]])"
        ),
    ),
    Case(
        "uint8",
        np.array([1, 20, 255]),
        dt.uint8,
        "tensor([  1,  20, 255], dtype=torch.uint8)",
    ),
    Case(
        "negative integers pad",
        np.array([-1, 20, -300]),
        dt.int64,
        "tensor([  -1,   20, -300])",
    ),
    Case(
        "int32",
        np.arange(6).reshape(2, 3),
        dt.int32,
        (
            "tensor([[0, 1, 2],\n"
            "        [3, 4, 5]], dtype=torch.int32)"
        ),
    ),
    Case(
        "uint64",
        np.array([2**64 - 1, 0], np.uint64),
        dt.uint64,
        "tensor([18446744073709551615,                    0], dtype=torch.uint64)",
    ),
    Case(
        "integral floats",
        np.array([1.0, -2.0, 300.0]),
        dt.float32,
        "tensor([  1.,  -2., 300.])",
    ),
    Case(
        "integral floats with inf and nan",
        np.array([1.0, np.inf, np.nan, -np.inf]),
        dt.float32,
        "tensor([1., inf, nan, -inf])",
    ),
    Case(
        "only nan and inf",
        np.array([np.nan, np.inf]),
        dt.float32,
        "tensor([nan, inf])",
    ),
    Case(
        "zeros and negative zero",
        np.array([0.0, -0.0]),
        dt.float32,
        "tensor([0., -0.])",
    ),
    Case(
        "fixed point",
        np.array([0.5, -1.25, 100.0]),
        dt.float32,
        "tensor([  0.5000,  -1.2500, 100.0000])",
    ),
    Case(
        "fixed point with nan",
        np.array([0.5, np.nan]),
        dt.float32,
        "tensor([0.5000,    nan])",
    ),
    Case(
        "ratio just at the limit",
        np.array([1.5, 1500.0]),
        dt.float32,
        "tensor([   1.5000, 1500.0000])",
    ),
    Case(
        "ratio over the limit",
        np.array([1.5, 1501.0]),
        dt.float32,
        "tensor([1.5000e+00, 1.5010e+03])",
    ),
    Case(
        "tiny is scientific",
        np.array([0.00009, 0.0002]),
        dt.float32,
        "tensor([9.0000e-05, 2.0000e-04])",
    ),
    Case(
        "large integral is scientific",
        np.array([2e8, 1e8]),
        dt.float32,
        "tensor([2.0000e+08, 1.0000e+08])",
    ),
    Case(
        "integral up to 1e8 is not",
        np.array([1e8, 1e6]),
        dt.float32,
        "tensor([100000000.,   1000000.])",
    ),
    Case(
        "float32 keeps its own digits",
        np.array([0.1]),
        dt.float32,
        "tensor([0.1000000015])",
        {"precision": 10},
    ),
    Case(
        "float64",
        np.array([0.1, 0.2]),
        dt.float64,
        "tensor([0.1000, 0.2000], dtype=torch.float64)",
    ),
    Case(
        "float16",
        np.array([0.1, 60000.0]),
        dt.float16,
        "tensor([9.9976e-02, 6.0000e+04], dtype=torch.float16)",
    ),
    Case(
        "bfloat16",
        np.array([0.1, 3.0]),
        dt.bfloat16,
        "tensor([0.1001, 3.0000], dtype=torch.bfloat16)",
    ),
    Case(
        "complex64",
        np.array([1 + 2j, -1.5 - 0.25j]),
        dt.complex64,
        "tensor([ 1.0000+2.0000j, -1.5000-0.2500j])",
    ),
    Case(
        "complex integral",
        np.array([1 + 2j, -10 - 0j]),
        dt.complex64,
        "tensor([  1.+2.j, -10.+0.j])",
    ),
    Case(
        "complex 0-dim",
        np.array(1 - 1e-5j),
        dt.complex128,
        "tensor(1.-1.0000e-05j, dtype=torch.complex128)",
    ),
    Case(
        "complex nan",
        np.array([complex(np.nan, -np.inf), 1j]),
        dt.complex64,
        "tensor([nan-infj, 0.+1.j])",
    ),
    Case(
        "matrix",
        np.arange(12.0).reshape(3, 4) / 8,
        dt.float32,
        (
            "tensor([[0.0000, 0.1250, 0.2500, 0.3750],\n"
            "        [0.5000, 0.6250, 0.7500, 0.8750],\n"
            "        [1.0000, 1.1250, 1.2500, 1.3750]])"
        ),
    ),
    Case(
        "three dimensions",
        np.arange(8.0).reshape(2, 2, 2),
        dt.float32,
        (
            "tensor([[[0., 1.],\n"
            "         [2., 3.]],\n"
            "\n"
            "        [[4., 5.],\n"
            "         [6., 7.]]])"
        ),
    ),
    Case(
        "four dimensions",
        np.arange(16).reshape(2, 2, 2, 2),
        dt.int64,
        (
            "tensor([[[[ 0,  1],\n"
            "          [ 2,  3]],\n"
            "\n"
            "         [[ 4,  5],\n"
            "          [ 6,  7]]],\n"
            "\n"
            "\n"
            "        [[[ 8,  9],\n"
            "          [10, 11]],\n"
            "\n"
            "         [[12, 13],\n"
            "          [14, 15]]]])"
        ),
    ),
    Case(
        "long vector wraps",
        np.arange(40),
        dt.int64,
        (
            "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
            "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,\n"
            "        36, 37, 38, 39])"
        ),
    ),
    Case(
        "summary of a vector",
        np.arange(1001),
        dt.int64,
        "tensor([   0,    1,    2,  ...,  998,  999, 1000])",
    ),
    Case(
        "at the threshold whole",
        np.arange(4),
        dt.int64,
        "tensor([0, 1, 2, 3])",
        {"threshold": 4},
    ),
    Case(
        "summary of a matrix",
        np.arange(1200).reshape(30, 40),
        dt.int64,
        (
            "tensor([[   0,    1,    2,  ...,   37,   38,   39],\n"
            "        [  40,   41,   42,  ...,   77,   78,   79],\n"
            "        [  80,   81,   82,  ...,  117,  118,  119],\n"
            "        ...,\n"
            "        [1080, 1081, 1082,  ..., 1117, 1118, 1119],\n"
            "        [1120, 1121, 1122,  ..., 1157, 1158, 1159],\n"
            "        [1160, 1161, 1162,  ..., 1197, 1198, 1199]])"
        ),
    ),
    Case(
        "summary cuts long dimensions only",
        np.arange(1200).reshape(2, 3, 200),
        dt.int64,
        (
            "tensor([[[   0,    1,    2,  ...,  197,  198,  199],\n"
            "         [ 200,  201,  202,  ...,  397,  398,  399],\n"
            "         [ 400,  401,  402,  ...,  597,  598,  599]],\n"
            "\n"
            "        [[ 600,  601,  602,  ...,  797,  798,  799],\n"
            "         [ 800,  801,  802,  ...,  997,  998,  999],\n"
            "         [1000, 1001, 1002,  ..., 1197, 1198, 1199]]])"
        ),
    ),
    Case(
        "summary hides extremes",
        np.concatenate([np.ones(500), [1e9], np.ones(500)]),
        dt.float32,
        "tensor([1., 1., 1.,  ..., 1., 1., 1.])",
    ),
    Case(
        "no edge items",
        np.arange(6).reshape(2, 3),
        dt.int64,
        "tensor([...], size=(2, 3))",
        {"threshold": 0, "edgeitems": 0},
    ),
    Case(
        "no edge items of a vector",
        np.arange(6),
        dt.int64,
        "tensor([...], size=(6,))",
        {"threshold": 0, "edgeitems": 0},
    ),
    Case(
        "one edge item",
        np.arange(30.0).reshape(5, 6),
        dt.float32,
        (
            "tensor([[ 0.,  ...,  5.],\n"
            "        ...,\n"
            "        [24.,  ..., 29.]])"
        ),
        {"threshold": 10, "edgeitems": 1},
    ),
    Case(
        "precision",
        np.array([1.123456789]),
        dt.float32,
        "tensor([1.12])",
        {"precision": 2},
    ),
    Case(
        "precision 0",
        np.array([1.5, 2.25]),
        dt.float32,
        "tensor([2, 2])",
        {"precision": 0},
    ),
    Case(
        "narrow lines",
        np.arange(12.0) / 4,
        dt.float32,
        (
            "tensor([0.0000, 0.2500,\n"
            "        0.5000, 0.7500,\n"
            "        1.0000, 1.2500,\n"
            "        1.5000, 1.7500,\n"
            "        2.0000, 2.2500,\n"
            "        2.5000, 2.7500])"
        ),
        {"linewidth": 30},
    ),
    Case(
        "scientific on demand",
        np.array([1.0, 2.5]),
        dt.float32,
        "tensor([1.0000e+00, 2.5000e+00])",
        {"sci_mode": True},
    ),
    Case(
        "never scientific",
        np.array([1e-7, 1e9, 0.5]),
        dt.float32,
        "tensor([         0.0000, 1000000000.0000,          0.5000])",
        {"sci_mode": False},
    ),
    Case(
        "short profile",
        np.arange(2000.0) / 3,
        dt.float32,
        "tensor([0.00e+00, 3.33e-01,  ..., 6.66e+02, 6.66e+02])",
        {"profile": "short"},
    ),
    Case(
        "profile and override",
        np.arange(2000.0) / 3,
        dt.float32,
        "tensor([0.000e+00, 3.333e-01,  ..., 6.660e+02, 6.663e+02])",
        {"profile": "short", "precision": 3},
    ),
    Case(
        "requires grad",
        np.array([1.0, 2.0]),
        dt.float32,
        "tensor([1., 2.], requires_grad=True)",
        {},
        {"requires_grad": True},
    ),
    Case(
        "gradient function",
        np.array([1.0, 2.0]),
        dt.float32,
        "tensor([1., 2.], grad_fn=<CloneBackward0>)",
        {},
        {"requires_grad": True, "grad_fn": "CloneBackward0"},
    ),
    Case(
        "suffixes go to a new line",
        np.arange(9.0) / 8,
        dt.float64,
        (
            "tensor([0.0000, 0.1250, 0.2500, 0.3750, 0.5000, 0.6250, 0.7500, 0.8750, 1.0000],\n"
            "       dtype=torch.float64, grad_fn=<CloneBackward0>)"
        ),
        {},
        {"requires_grad": True, "grad_fn": "CloneBackward0"},
    ),
]
# fmt: on


@pytest.fixture(autouse=True)
def _default_options() -> Iterator[None]:
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")
    set_default_dtype(dt.float32)


def elements(array: np.ndarray, dtype: dt.dtype) -> np.ndarray:
    """The array as the dtype stores it."""
    if dtype is dt.bfloat16:
        bits = array.astype(np.float32).view(np.uint32)
        return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)
    return array.astype(dtype.numpy)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_text_is_pytorchs(case: Case) -> None:
    set_printoptions(**case.options)
    assert format_tensor(elements(case.array, case.dtype), case.dtype, **case.gradient) == case.text


def test_bfloat16_may_come_as_bits_or_widened() -> None:
    widened = np.array([0.5, -3.0], np.float32)
    text = "tensor([ 0.5000, -3.0000], dtype=torch.bfloat16)"
    assert format_tensor(widened, dt.bfloat16) == text
    assert format_tensor(elements(widened, dt.bfloat16), dt.bfloat16) == text


@pytest.mark.parametrize(
    ("default", "shown"),
    [
        (dt.float32, {dt.float64, dt.complex128}),
        (dt.float64, {dt.float32, dt.complex64}),
        (dt.float16, {dt.float32, dt.float64, dt.complex128}),
    ],
)
def test_the_default_dtype_is_not_shown(default: dt.dtype, shown: set[dt.dtype]) -> None:
    set_default_dtype(default)
    for dtype in (dt.float32, dt.float64, dt.complex64, dt.complex128, dt.int64, dt.bool, default):
        assert ("dtype" in format_tensor(np.ones(1, dtype.numpy), dtype)) == (dtype in shown)


def test_a_summary_reads_only_what_it_shows() -> None:
    million = np.broadcast_to(np.float32(1.0), (10**6, 10**6))  # 4 TB if it were copied
    row = "[1., 1., 1.,  ..., 1., 1., 1.]"
    lines = (",\n" + " " * 8).join([row, row, row, "...", row, row, row])
    assert format_tensor(million, dt.float32) == f"tensor([{lines}])"


def test_the_full_profile_shows_everything() -> None:
    set_printoptions(profile="full")
    text = format_tensor(np.arange(5000), dt.int64)
    assert [int(number) for number in text.removeprefix("tensor([").removesuffix("])").split(",")] == list(range(5000))


def test_name_contents_and_device() -> None:
    text = format_tensor(np.ones(2), dt.float32, name="Wrapper", contents="...", device="meta", requires_grad=True)
    assert text == "Wrapper(..., device='meta', requires_grad=True)"


def test_options_by_keyword_and_context() -> None:
    assert get_printoptions() == {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
    set_printoptions(precision=2, sci_mode=True)
    with printoptions(edgeitems=1):
        assert get_printoptions() == {"precision": 2, "threshold": 1000, "edgeitems": 1, "linewidth": 80, "sci_mode": None}
    assert get_printoptions()["sci_mode"] is True and get_printoptions()["edgeitems"] == 3
    set_printoptions(linewidth=60)
    assert get_printoptions() == {"precision": 2, "threshold": 1000, "edgeitems": 3, "linewidth": 60, "sci_mode": None}


def test_a_context_restores_options_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), printoptions(precision=1):
        raise ZeroDivisionError
    assert get_printoptions()["precision"] == 4
