"""Batches and images of many sizes: no kernel is compiled for a size, and what is kept of them all is bounded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import lru_cache

import pytest

import flambeau
from flambeau import nn
from flambeau._compiler import contraction, lazy, patterns
from flambeau._runtime import allocator, jit
from flambeau._tape import tape, trie
from flambeau._tape.trie import TRIE


@pytest.fixture(autouse=True)
def fresh_trie() -> Iterator[None]:
    flambeau.flush()
    TRIE.clear()
    flambeau.flush()
    yield


def training_step() -> Callable[[int, int, int], float]:
    """A step of a small convolutional network on a batch of images of some height and width."""
    layers = [layer for number in range(2) for layer in (nn.Conv2d(8 if number else 3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    update = flambeau.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(batch: int, height: int, width: int) -> float:
        images, labels = flambeau.randn(batch, 3, height, width), flambeau.zeros(batch, dtype=flambeau.int64)
        update.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        update.step()
        return loss.item()

    return step


def kernels() -> float:
    counts = jit.statistics()
    return counts["compiled"] + counts["loaded"]


def test_a_new_size_compiles_nothing() -> None:
    """Kernels follow from structure: a few more come while small images become large ones, then none."""
    step = training_step()
    counts = []
    for number in range(50):
        step(2 + number % 7, 36 + 29 * number % 91, 39 + 31 * number % 97)
        counts.append(kernels())
    assert counts[5] - counts[0] < 30 and counts[29] - counts[5] <= 6 and counts[49] - counts[29] <= 1, counts


def compiled_by(step: Callable[..., object], sizes: list[tuple]) -> float:
    """How many kernels a step needs at some sizes that it has not had before."""
    before = kernels()
    for size in sizes:
        step(*size)
    return kernels() - before


def test_small_batches_share_kernels() -> None:
    """Gradients of biases, sums over the batch, are loops however small it is."""
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    update = flambeau.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: int) -> float:
        update.zero_grad()
        loss = nn.functional.cross_entropy(model(flambeau.randn(batch, 20)), flambeau.zeros(batch, dtype=flambeau.int64))
        loss.backward()
        update.step()
        return loss.item()

    step(16)
    # Two products, one of 10 columns and one of 15 rows, and the loss of fewer rows than a vector has.
    assert compiled_by(step, [(batch,) for batch in (9, 12, 15, 17, 24, 30)]) <= 3
    few = range(2, 9)  # rows for which some of the five products are written out
    assert compiled_by(step, [(batch,) for batch in few]) <= 3 * len(few)


def test_images_of_another_size_share_pooling_and_batch_norm() -> None:
    """The width of an image, from which max pooling makes indices, is no structure; nor is the number of images that a batch norm reduces."""
    layers = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(24))

    def step(batch: int, height: int, width: int) -> float:
        images = flambeau.randn(batch, 24, height, width, requires_grad=True)
        layers(images).square().mean().backward()
        return images.grad.sum().item()

    for size in [(4, 40, 44), (3, 6, 6), (4, 5, 6)]:
        step(*size)
    assert compiled_by(step, [(4, 41, 49), (3, 40, 60), (3, 5, 5), (5, 6, 5), (6, 6, 6), (7, 5, 6)]) <= 1


def test_nested_tensors_of_other_lengths_share_kernels() -> None:
    """The number of rows, of pieces, and of rows in the longest one."""
    project, normalize = nn.Linear(16, 16), nn.LayerNorm(16)

    def step(lengths: tuple[int, ...]) -> float:
        rows = flambeau.nested.nested_tensor([flambeau.randn(length, 16) for length in lengths], layout=flambeau.jagged)
        loss = project(normalize(rows)).softmax(-1).sum(1).square().mean()
        loss.backward()
        return loss.item()

    step((11, 30, 7))
    step((9, 14, 21, 5))
    assert (
        compiled_by(step, [((12, 25, 8),), ((10, 17, 13, 9, 20),), ((28, 9),), ((6, 31, 15, 12),)]) <= 1
    )  # norms of so many rows are written out


def objects() -> int:
    """How many of Python's objects the garbage collector knows."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("is_on_disk", [True, False])
def test_what_is_kept_of_many_sizes_is_bounded(is_on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once some generations of records have come and gone Python's objects are no more, whether programs are read or planned; tensors are bounded by what
    the allocator reserves."""
    step = training_step()
    for name, value in (("GENERATION", 200), ("PROGRAMS", 0)):
        monkeypatch.setattr(trie, name, value)
    monkeypatch.setattr(patterns, "_MOST", 20)  # memos of a fixed size, which are to be full at once
    monkeypatch.setattr(patterns, "_KNOWN", {})
    monkeypatch.setattr(contraction, "_planned", lru_cache(maxsize=8)(contraction._planned.__wrapped__))
    TRIE.clear()

    def kept_of(numbers: range) -> list[int]:
        found = []
        for number in numbers:
            step(2, 30 + 3 * number % 25, 32 + number)
            if number % 10 == 9:
                found.append(objects())
        return found

    planned = 40 if is_on_disk else 100  # at first all are, so that what plans is imported
    with monkeypatch.context() as patch:
        patch.setattr(lazy, "_read", lambda key: None)
        kept = kept_of(range(planned))
    kept += kept_of(range(planned, 100))
    assert max(kept[7:]) - min(kept[4:7]) < 3_000, kept
    now = allocator.statistics()
    assert now["reserved"] - now["allocated"] <= max(64 << 20, now["peak"]) + now["peak"]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: flambeau.optim.SGD(parameters, lr=1e-3, momentum=0.9),
        lambda parameters: flambeau.optim.Adam(parameters, lr=1e-3, amsgrad=True),
        lambda parameters: flambeau.optim.RMSprop(parameters, lr=1e-3, momentum=0.9, centered=True),
    ],
    ids=["SGD", "Adam", "RMSprop"],
)
def test_the_second_step_is_the_first_ones_program(optimizer: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    original = tape._compile
    assert original is not None

    def compile(path: list, *given: object) -> object:
        found.append(len(path))
        return original(path, *given)

    monkeypatch.setattr(tape, "_compile", compile)
    model = nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3))
    update = optimizer(model.parameters())
    images = flambeau.randn(5, 6)
    made = []
    for _ in range(3):
        update.zero_grad()
        model(images).square().mean().backward()
        update.step()
        made.append(len(found))
    assert 0 < made[0] == made[1] == made[2], found
