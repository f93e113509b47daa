"""Looking never changes a result: the same bits whatever is fused, wherever a flush happens, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau._tape import tape as tapes
from tests.samples.programs import PROGRAMS


def bits(tensors: tuple) -> list[bytes]:
    return [np.ascontiguousarray(tensor.detach()._array()).tobytes() for tensor in tensors]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch):
    """Flush after every record, as ``FLAMBEAU_EAGER=1`` does."""
    flambeau.flush()
    monkeypatch.setattr(tapes, "MAX_SLOTS", -1)
    monkeypatch.setattr(tapes.LOCAL.tape, "limit", -1)
    yield
    flambeau.flush()
    tapes.LOCAL.tape.limit = 8192


@pytest.mark.parametrize("name", PROGRAMS)
def test_eager_and_fused_agree(name: str, request: pytest.FixtureRequest) -> None:
    fused = bits(PROGRAMS[name](flambeau))
    request.getfixturevalue("eager")
    assert bits(PROGRAMS[name](flambeau)) == fused


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_thread_and_many_agree(name: str) -> None:
    before = flambeau.get_num_threads()
    try:
        flambeau.set_num_threads(1)
        alone = bits(PROGRAMS[name](flambeau))
        flambeau.set_num_threads(3)
        assert bits(PROGRAMS[name](flambeau)) == alone
    finally:
        flambeau.set_num_threads(before)


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_runs_agree(name: str) -> None:
    assert bits(PROGRAMS[name](flambeau)) == bits(PROGRAMS[name](flambeau))
