"""Programs drawn at random have the same bits whenever their bytes are needed, and on any number of threads."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import flambeau
from tests.samples.random_programs import Run, Writer


def outcome(lines: list[str], flushes: Callable[[], bool], threads: int = 1) -> dict[str, tuple]:
    """The bytes of a program's tensors."""
    flambeau.set_num_threads(threads)
    run = Run(flambeau)
    for line in lines:
        assert run.line(line) is None, line
        if flushes():
            flambeau.flush()
    return {name: (tuple(each.shape), each.dtype, _bits(each)) for name, each in run.tensors().items()}


def _bits(tensor: flambeau.Tensor) -> bytes:
    """A tensor's bytes, all NaNs being the same."""
    array = np.ascontiguousarray(tensor.detach().resolve_conj().resolve_neg()._array())
    if tensor.dtype.is_floating_point and tensor.dtype is not flambeau.bfloat16:
        array = np.where(np.isnan(array), array.dtype.type("nan"), array)
    return array.tobytes()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = flambeau.get_num_threads()
    yield
    flambeau.set_num_threads(before)


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_the_same_bits_in_every_way(seed: int, gradients: bool, layers: bool) -> None:
    writer = Writer(flambeau, seed, gradients, layers)
    lines = writer.write(10)
    lines = [line for number, line in enumerate(lines) if number not in writer.failing]
    draw = random.Random(seed)
    eager = outcome(lines, lambda: True)
    assert outcome(lines, lambda: False) == eager
    assert outcome(lines, lambda: draw.random() < 0.3, threads=2) == eager
