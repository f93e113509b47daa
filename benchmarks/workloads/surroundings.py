"""What surrounds the tensors: starting up, loading data, logging (until it is in the file), saving."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

IMPORT = "import"  # the driver shows the time and the memory of the import itself for this one


def workloads() -> Iterator[Workload]:
    yield Workload("startup", IMPORT, nothing)
    yield Workload("logging", "add_scalar", scalars, per=100)
    yield Workload("logging", "add_histogram of 100,000", histogram)
    yield Workload("logging", "add_image 3×64×64", image)
    yield Workload("data", "DataLoader over 4,096 small images, batch 64", loader)
    yield Workload("data", "save and load 16 MB", save_and_load)


def nothing(torch: ModuleType) -> Callable[[], Any]:
    return lambda: 0


def writer() -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(tempfile.mkdtemp(prefix="flambeau-bench-"))


def scalars(torch: ModuleType) -> Callable[[], Any]:
    log = writer()

    def run() -> Any:
        for step in range(100):
            log.add_scalar("Loss/train", 0.5, step)
        log.flush()
        return 0

    return run


def histogram(torch: ModuleType) -> Callable[[], Any]:
    log, values = writer(), torch.randn(100_000)

    def run() -> Any:
        log.add_histogram("weights", values, 0)
        log.flush()
        return 0

    return run


def image(torch: ModuleType) -> Callable[[], Any]:
    log, pixels = writer(), torch.rand(3, 64, 64)

    def run() -> Any:
        log.add_image("image", pixels, 0)
        log.flush()
        return 0

    return run


def loader(torch: ModuleType) -> Callable[[], Any]:
    images = torch.utils.data.TensorDataset(torch.rand(4096, 1, 8, 8), torch.randint(0, 10, (4096,)))
    batches = torch.utils.data.DataLoader(images, batch_size=64)
    return lambda: [batch[0] for batch in batches][-1]


def save_and_load(torch: ModuleType) -> Callable[[], Any]:
    state = {f"layer {number}": torch.randn(1024, 1024) for number in range(4)}

    def run() -> Any:
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        return torch.load(file)["layer 3"]

    return run
