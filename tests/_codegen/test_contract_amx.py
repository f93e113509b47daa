"""Products of bfloat16 by matrix registers: the bits of their definition, and where they are not used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flambeau._codegen.contract import amx, plan, planning
from flambeau._codegen.contract.amx_blocking import best_matrix_blocking
from flambeau._codegen.contract.normal import normalise
from flambeau._runtime import targets
from flambeau._types import dtype as types
from tests._codegen.contractions import buffers_of, check, convolution, matmul, reference, run

needs_amx = pytest.mark.skipif(not targets.current().has_amx, reason="needs a processor with matrix registers (AMX)")
ORDERS = ["mk,kn,mn", "km,kn,mn", "mk,nk,mn", "km,nk,nm"]
CONVOLUTIONS = [
    (2, 9, 40, (11, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 70, 40, (21, 19), (3, 3), (2, 2), (1, 1), (1, 1)),
    (2, 48, 33, (8, 9), (1, 1), (1, 1), (0, 0), (1, 1)),
    (2, 32, 32, (7, 40), (3, 3), (1, 1), (2, 2), (2, 2), 2),
    (1, 9, 17, (5, 6, 7), (3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2)),
]


@needs_amx
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("m", "k", "n"), [(32, 32, 32), (8, 16, 8), (70, 700, 130), (35, 1217, 20), (99, 33, 65), (150, 64, 90)])
def test_matrix_product(m, k, n, order):
    contract = matmul(m, k, n, types.bfloat16, order=order)
    assert amx.fits(contract, targets.current())
    check(contract)
    check(contract, split=1)


@needs_amx
@pytest.mark.parametrize("broadcast", ["", "b"])
def test_batches(broadcast):
    check(matmul(20, 40, 50, types.bfloat16, batch=(2, 3), broadcast=broadcast))


@needs_amx
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("gradient", ["", "weight"])
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_convolution(shape, gradient, channels_last):
    contract = convolution(*shape, of=types.bfloat16, gradient=gradient, channels_last=channels_last)
    assert amx.fits(contract, targets.current())
    check(contract)


@needs_amx
def test_terms_that_do_not_exist_count_as_zeros():
    contract = matmul(16, 17, 16, types.bfloat16)
    buffers = buffers_of(contract)
    buffers["a"][:] = 0x3F80  # ones
    buffers["b"][:] = 0x7F80  # infinities
    run(contract, buffers)
    assert (buffers["out"] == 0x7F80).all()


@needs_amx
def test_strides_do_not_change_bits():
    plain, other = (matmul(40, 600, 50, types.bfloat16, order=order) for order in ("mk,kn,mn", "km,nk,mn"))
    buffers = buffers_of(plain)
    a, b = buffers["a"].reshape(40, 600), buffers["b"].reshape(600, 50)
    run(plain, buffers)
    turned = {"a": np.ascontiguousarray(a.T).reshape(-1), "b": np.ascontiguousarray(b.T).reshape(-1), "out": np.zeros_like(buffers["out"])}
    run(other, turned)
    np.testing.assert_array_equal(turned["out"], buffers["out"])


def test_elsewhere_products_are_those_of_vectors():
    contract = matmul(33, 70, 40, types.bfloat16)
    target = targets.named("x86-64-v4" if targets.current().vector_bits == 512 else "x86-64-v3")
    assert not amx.fits(contract, target)
    assert "amx" not in "".join(call.source for call in plan(contract, target).calls)
    buffers = buffers_of(contract)
    expected = reference(contract, buffers, target)
    run(contract, buffers, target)
    np.testing.assert_array_equal(buffers["out"], expected)


@pytest.mark.parametrize("of", [types.float32, types.float16])
def test_other_dtypes_do_without(of):
    assert not amx.fits(matmul(33, 70, 40, of), targets.current())


@needs_amx
@pytest.mark.parametrize("where", [("tile", "call"), ("call", "tile"), ("call", "call")], ids="-".join)
@pytest.mark.parametrize(
    "contract",
    [
        matmul(147, 1100, 70, types.bfloat16, batch=(2,)),
        matmul(70, 600, 90, types.bfloat16, order="km,nk,mn", batch=(2, 2), broadcast="b"),
        convolution(2, 80, 40, (11, 9), (3, 3), (1, 1), (1, 1), (1, 1), of=types.bfloat16),
        convolution(3, 9, 10, (41, 39), (3, 3), (2, 2), (1, 1), (1, 1), of=types.bfloat16, gradient="weight"),
        convolution(1, 32, 40, (11, 9), (3, 3), (2, 2), (1, 1), (1, 1), 2, types.bfloat16, channels_last=True),
    ],
    ids=["plain", "transposed", "convolution", "gradient", "channels_last"],
)
def test_every_way_gives_the_same_bits(contract, where, monkeypatch):
    buffers = buffers_of(contract)
    expected = reference(contract, buffers)
    normal = normalise(contract, amx.TERMS)
    for oriented in (normal, normal.swapped()):
        choice = best_matrix_blocking(oriented, amx.matrix_tile(), targets.current())
        for m_block, n_block in ((32, 64), (96, 32)):
            a, b = (replace(side, where=place) for side, place in zip((choice.a, choice.b), where, strict=True))
            forced = replace(choice, a=a, b=b, m_block=m_block, n_block=n_block)
            monkeypatch.setattr(planning, "best_matrix_blocking", lambda *_, forced=forced: forced)
            buffers["out"] = np.zeros_like(buffers["out"])
            run(contract, buffers, split=3)
            np.testing.assert_array_equal(buffers["out"], expected)
