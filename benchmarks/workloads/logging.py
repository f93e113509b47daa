"""Logging for TensorBoard: what a call costs the training loop, and what it costs until it is in the file; reading it back.

Where tensorboardX is installed, its writer is measured in PyTorch's place once more.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

SCALARS = 10_000


def workloads() -> Iterator[Workload]:
    for peer in ("torch", "tensorboardX"):
        if peer == "tensorboardX" and importlib.util.find_spec(peer) is None:
            continue
        beside = "" if peer == "torch" else f"{peer}: "
        yield Workload("logging", f"{beside}add_scalar, the call", partial(scalars, peer, False), per=SCALARS, record_only=True)
        yield Workload("logging", f"{beside}add_scalar, until it is written", partial(scalars, peer, True), per=SCALARS)
        yield Workload("logging", f"{beside}add_scalars of four", partial(series, peer), per=100)
        yield Workload("logging", f"{beside}add_histogram of a million, the call", partial(histogram, peer, False), record_only=True)
        yield Workload("logging", f"{beside}add_histogram of a million", partial(histogram, peer, True))
        yield Workload("logging", f"{beside}add_image 3×64×64", partial(image, peer))
        yield Workload("logging", f"{beside}add_text", partial(text, peer), per=100)
    yield Workload("logging", f"reading {10 * SCALARS} scalars, each", reading, per=10 * SCALARS)


def writer(torch: ModuleType, peer: str) -> Any:
    directory = tempfile.mkdtemp(prefix="flambeau-bench-")
    if peer == "tensorboardX" and "flambeau" not in torch.__version__:
        from tensorboardX import SummaryWriter
    else:
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(directory)


def scalars(peer: str, flush: bool, torch: ModuleType) -> Callable[[], Any]:
    log = writer(torch, peer)

    def run() -> Any:
        for step in range(SCALARS):
            log.add_scalar("Loss/train", 0.5, step)
        return log.flush() or 0 if flush else 0

    return run


def series(peer: str, torch: ModuleType) -> Callable[[], Any]:
    log, values = writer(torch, peer), {"a": 0.5, "b": 1.5, "c": 2.5, "d": 3.5}

    def run() -> Any:
        for step in range(100):
            log.add_scalars("Loss", values, step)
        return log.flush() or 0

    return run


def histogram(peer: str, flush: bool, torch: ModuleType) -> Callable[[], Any]:
    log, values = writer(torch, peer), torch.randn(1_000_000)
    values.sum().item()

    def run() -> Any:
        log.add_histogram("weights", values, 0)
        return log.flush() or 0 if flush else 0

    return run


def image(peer: str, torch: ModuleType) -> Callable[[], Any]:
    log, pixels = writer(torch, peer), torch.rand(3, 64, 64)

    def run() -> Any:
        log.add_image("image", pixels, 0)
        return log.flush() or 0

    return run


def text(peer: str, torch: ModuleType) -> Callable[[], Any]:
    log = writer(torch, peer)

    def run() -> Any:
        for step in range(100):
            log.add_text("notes", "**bold** and plain", step)
        return log.flush() or 0

    return run


def reading(torch: ModuleType) -> Callable[[], Any]:
    """All scalars of a file: by `SummaryReader`, and on PyTorch's side by TensorBoard's own reader."""
    log = writer(torch, "torch")
    for step in range(10 * SCALARS):
        log.add_scalar("Loss/train", 0.5, step)
    log.close()
    directory = log.get_logdir()

    def run() -> Any:
        if "flambeau" not in torch.__version__:  # by the version, since both sides go by the name torch
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

            events = EventAccumulator(directory, size_guidance={"scalars": 0})
            events.Reload()
            return sum(event.value for event in events.Scalars("Loss/train"))
        from torch.utils.tensorboard import SummaryReader

        return float(SummaryReader(directory).scalars("Loss/train").values.sum())

    return run
