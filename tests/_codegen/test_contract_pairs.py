"""Contractions of pairs of bfloat16: the bits of their definition, whichever way they are computed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from flambeau._codegen.bundles import PAIRS
from flambeau._codegen.contract import Contract, plan, planning
from flambeau._codegen.contract.casting import best_casting
from flambeau._runtime import targets
from flambeau._types import dtype as types
from tests._codegen.contractions import chain_stops, convolution, dense, matmul, needed, positions, run
from tests._codegen.test_contract import check_every_way

pytestmark = pytest.mark.skipif(not targets.current().has_pairs, reason="needs a processor with dot products of bfloat16 (AVX512-BF16)")


def pairs(contract: Contract, extents: tuple[int, ...], name: str, random: np.random.Generator) -> np.ndarray:
    bits = random.standard_normal((needed(getattr(contract, name), extents), 2)).astype(np.float32).view(np.uint32) >> 16
    return bits.astype(np.uint16).view(np.float32).reshape(-1)


def buffers_of(contract: Contract) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    groups = {"a": contract.batch + contract.m + contract.k, "b": contract.batch + contract.k + contract.n}
    made = {name: pairs(contract, extents, name, random) for name, extents in groups.items()}
    made["out"] = np.zeros(needed(contract.out, contract.batch + contract.m + contract.n), np.float32)
    return made


def halves(operand: np.ndarray) -> np.ndarray:
    """The first and the second number of each pair along one more axis, float32."""
    return (operand[..., None].view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def reference(contract: Contract, buffers: dict[str, np.ndarray]) -> np.ndarray:
    """What ``out`` must hold: of each step the second product is added first. Products of two numbers of 8 bits are exact."""
    a = halves(dense(contract.a, buffers["a"], (contract.batch, contract.m, contract.k)))
    b = halves(dense(contract.b, buffers["b"], (contract.batch, contract.k, contract.n)))
    total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
    for number, (start, stop) in enumerate(pairwise(chain_stops(contract.k))):
        chain = np.zeros_like(total)
        for step in range(start, stop):
            for half in (1, 0):
                chain += a[:, :, step, None, half] * b[:, step, None, :, half]
        total = total + chain if number else chain
    out = buffers["out"].copy()
    out[positions(contract.out, contract.batch + contract.m + contract.n).reshape(-1)] = total.reshape(-1)
    return out


def check(contract: Contract, split: int | None = None) -> None:
    buffers = buffers_of(contract)
    expected = reference(contract, buffers)
    run(contract, buffers, split=split)
    np.testing.assert_array_equal(buffers["out"], expected)


def multiplied(m: int, k: int, n: int, order: str) -> Contract:
    return replace(matmul(m, k, n, types.float32, order=order), bundle=PAIRS)


@pytest.mark.parametrize("order", ["mk,kn,mn", "mk,nk,mn", "km,nk,mn", "mk,nk,nm"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 7, 3), (17, 300, 33), (70, 700, 130), (1, 100, 200), (3, 53, 90), (200, 90, 1)])
def test_matrix_product(m, k, n, order):
    check(multiplied(m, k, n, order))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows(stride, groups, channels_last):
    shape = (2, 6, 20, (11, 9), (3, 3), (stride, stride), (1, 1), (1, 1), groups)
    check(replace(convolution(*shape, of=types.float32, channels_last=channels_last), bundle=PAIRS))


@pytest.mark.parametrize("stride", [1, 2])
def test_casting_gives_the_same(stride, monkeypatch):
    contract = replace(
        convolution(2, 16, 40, (11, 20), (3, 3), (stride, stride), (1, 1), (1, 1), of=types.float32, channels_last=True), bundle=PAIRS
    )
    found = []
    monkeypatch.setattr(planning, "best_skinny", lambda *_: None)
    monkeypatch.setattr(planning, "best_casting", lambda *args: found.append(replace(best_casting(*args), cycles=0)) or found[-1])
    check(contract, split=2)
    assert found


def test_every_way_gives_the_same(monkeypatch):
    contract = multiplied(147, 330, 70, "mk,nk,mn")
    buffers = buffers_of(contract)
    check_every_way(contract, buffers, reference(contract, buffers), monkeypatch)


def test_kernels_of_pairs_differ_from_those_of_numbers():
    contract = matmul(30, 40, 50, types.float32)
    names = {plan(replace(contract, bundle=bundle), targets.current()).calls[-1].kernel for bundle in ("", PAIRS)}
    assert len(names) == 2


def test_bits_of_pairs_pass_through_registers_unchanged():
    """A pair may look like a NaN or a subnormal number of float32."""
    contract = multiplied(20, 40, 30, "km,nk,mn")
    buffers = buffers_of(contract)
    a = buffers["a"].view(np.uint16).reshape(-1, 2)
    a[:, 1] = 0  # of a pair the high half: subnormal as float32
    a[::3, 0], a[::3, 1] = 0x3F80, 0x7F80  # 1 and infinity
    b = buffers["b"].view(np.uint16).reshape(-1, 2)
    b[:, 1] = 0x3F80
    with np.errstate(invalid="ignore"):
        expected = reference(contract, buffers)
    run(contract, buffers)
    np.testing.assert_array_equal(buffers["out"], expected)
    assert np.isinf(expected).any()
