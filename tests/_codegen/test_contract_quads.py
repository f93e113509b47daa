"""Contractions of bytes four by four, against sums of NumPy's integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flambeau._codegen.contract import Contract, plan
from flambeau._runtime import targets
from flambeau._types import dtype as types
from tests._codegen.contractions import convolution, dense, matmul, needed, positions, run
from tests._codegen.test_contract import check_every_way

pytestmark = pytest.mark.skipif(not targets.current().has_vnni, reason="needs a processor with dot products of bytes (AVX512-VNNI)")


def buffers_of(contract: Contract, extreme: bool = False) -> dict[str, np.ndarray]:
    """Random bytes, or those whose products are the largest, as quads."""
    random = np.random.default_rng(0)
    groups = {"a": contract.batch + contract.m + contract.k, "b": contract.batch + contract.k + contract.n}
    made = {}
    for name, extents in groups.items():
        shape = (needed(getattr(contract, name), extents), 4)
        low, high, of = (0, 255, np.uint8) if name == contract.bundle else (-128, 127, np.int8)
        values = np.full(shape, high if name == contract.bundle else low) if extreme else random.integers(low, high, shape, endpoint=True)
        made[name] = values.astype(of).view(np.int32).reshape(-1)
    made["out"] = np.zeros(needed(contract.out, contract.batch + contract.m + contract.n), np.int32)
    return made


def reference(contract: Contract, buffers: dict[str, np.ndarray]) -> np.ndarray:
    """What ``out`` must hold."""
    a = dense(contract.a, buffers["a"], (contract.batch, contract.m, contract.k))
    b = dense(contract.b, buffers["b"], (contract.batch, contract.k, contract.n))
    a, b = (each[..., None].view(np.uint8 if name == contract.bundle else np.int8).astype(np.int64) for name, each in (("a", a), ("b", b)))
    out = buffers["out"].copy()
    where = positions(contract.out, contract.batch + contract.m + contract.n)
    out[where.reshape(-1)] = np.einsum("gmkq,gknq->gmn", a, b).reshape(-1)
    return out


def check(contract: Contract, extreme: bool = False, split: int | None = None) -> None:
    buffers = buffers_of(contract, extreme)
    expected = reference(contract, buffers)
    run(contract, buffers, split=split)
    np.testing.assert_array_equal(buffers["out"], expected)


@pytest.mark.parametrize("bundle", ["a", "b"])
@pytest.mark.parametrize("order", ["mk,kn,mn", "mk,nk,mn", "km,nk,mn", "mk,nk,nm"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 7, 3), (17, 300, 33), (70, 700, 130), (1, 100, 200), (3, 53, 90), (200, 90, 1)])
def test_matrix_product(m, k, n, order, bundle):
    check(replace(matmul(m, k, n, types.int32, order=order), bundle=bundle))


@pytest.mark.parametrize("bundle", ["a", "b"])
@pytest.mark.parametrize("m", [1, 30])
def test_nothing_saturates(m, bundle):
    """Four products of 255 * -128 are -130560, and 1000 of them are beyond 16 bits by far."""
    check(replace(matmul(m, 1000, 40, types.int32, order="mk,nk,mn"), bundle=bundle), extreme=True)


@pytest.mark.parametrize("bundle", ["a", "b"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows(stride, groups, bundle):
    shape = (2, 6, 20, (11, 9), (3, 3), (stride, stride), (1, 1), (1, 1), groups)
    check(replace(convolution(*shape, of=types.int32, channels_last=True), bundle=bundle))


@pytest.mark.parametrize("bundle", ["a", "b"])
def test_every_way_gives_the_same(bundle, monkeypatch):
    contract = replace(matmul(147, 130, 70, types.int32, order="mk,nk,mn"), bundle=bundle)
    buffers = buffers_of(contract)
    check_every_way(contract, buffers, reference(contract, buffers), monkeypatch)


def test_kernels_differ_by_the_side_without_a_sign():
    """They are cached by their structure, which has to know."""
    contract = matmul(30, 40, 50, types.int32)
    names = {plan(replace(contract, bundle=bundle), targets.current()).calls[-1].kernel for bundle in ("", "a", "b")}
    assert len(names) == 3
