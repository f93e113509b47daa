"""Whole networks: the demo's, and ResNets, training and answering."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


def workloads() -> Iterator[Workload]:
    yield Workload("models", "the demo's step, batch 64", demo_step)
    yield Workload("models", "digits CNN with GroupNorm, train step, batch 64", digits_step)
    yield Workload("models", "the demo's network, batch 256, no gradients", demo_answers)
    for name, (blocks, bottleneck) in RESNETS.items():
        yield Workload("models", f"{name} train step, batch 4, 224²", partial(resnet_step, blocks=blocks, bottleneck=bottleneck))
        if name == "ResNet-50":
            normalised = partial(resnet_step, blocks=blocks, bottleneck=bottleneck, group_norm=True)
            yield Workload("models", f"{name} with GroupNorm, train step, batch 4, 224²", normalised)
        yield Workload("models", f"{name} answers, batch 1, 224²", partial(resnet_answers, blocks=blocks, bottleneck=bottleneck))


RESNETS = {"ResNet-18": ((2, 2, 2, 2), False), "ResNet-50": ((3, 4, 6, 3), True)}


def demo() -> ModuleType:
    """The demo as a module, under its name also for `torch.compile`, which imports what it traces."""
    if "demo" in sys.modules:
        return sys.modules["demo"]
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None and spec.loader is not None
    module = sys.modules["demo"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def demo_step(torch: ModuleType) -> Callable[[], Any]:
    job = demo().Job(demo().Reader(8, 8), lr=3e-3, steps=10_000)
    images, labels = torch.rand(64, 1, 8, 8), torch.randint(0, 10, (64,))
    return lambda: job.step(images, labels)


def demo_answers(torch: ModuleType) -> Callable[[], Any]:
    model, images = demo().Reader(8, 8).eval(), torch.rand(256, 1, 8, 8)

    def run() -> Any:
        with torch.no_grad():
            return model(images)

    return run


def digits_step(torch: ModuleType) -> Callable[[], Any]:
    nn = torch.nn
    layers: list[Any] = []
    for c_in, c_out, stride in ((1, 32, 1), (32, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(c_in, c_out, 3, stride, 1), nn.GroupNorm(8, c_out), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return step_of(torch, model, torch.randn(64, 1, 8, 8), torch.randint(0, 10, (64,)))


def resnet(torch: ModuleType, blocks: tuple[int, ...], bottleneck: bool, group_norm: bool = False) -> Any:
    """He et al., Deep Residual Learning for Image Recognition (2015), with the stride in the 3×3 convolution."""
    nn = torch.nn
    expansion = 4 if bottleneck else 1

    def conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> list[Any]:
        return [
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.GroupNorm(32, c_out) if group_norm else nn.BatchNorm2d(c_out),
        ]

    class Block(nn.Module):
        def __init__(self, c_in: int, width: int, stride: int) -> None:
            super().__init__()
            c_out = width * expansion
            if bottleneck:
                layers = [*conv(c_in, width, 1), nn.ReLU(True), *conv(width, width, 3, stride), nn.ReLU(True), *conv(width, c_out, 1)]
            else:
                layers = [*conv(c_in, width, 3, stride), nn.ReLU(True), *conv(width, c_out, 3)]
            self.body = nn.Sequential(*layers)
            self.skip = nn.Identity() if stride == 1 and c_in == c_out else nn.Sequential(*conv(c_in, c_out, 1, stride))

        def forward(self, images: Any) -> Any:
            return torch.relu(self.body(images) + self.skip(images))

    layers, c_in = [*conv(3, 64, 7, 2), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate(blocks):
        for block in range(count):
            layers.append(Block(c_in, 64 << stage, 2 if stage and not block else 1))
            c_in = (64 << stage) * expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, 1000))


def step_of(torch: ModuleType, model: Any, images: Any, labels: Any) -> Callable[[], Any]:
    update = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def run() -> Any:
        update.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        update.step()
        return loss

    return run


def resnet_step(torch: ModuleType, blocks: tuple[int, ...], bottleneck: bool, group_norm: bool = False) -> Callable[[], Any]:
    return step_of(torch, resnet(torch, blocks, bottleneck, group_norm), torch.randn(4, 3, 224, 224), torch.randint(0, 1000, (4,)))


def resnet_answers(torch: ModuleType, blocks: tuple[int, ...], bottleneck: bool) -> Callable[[], Any]:
    model, images = resnet(torch, blocks, bottleneck).eval(), torch.randn(1, 3, 224, 224)

    def run() -> Any:
        with torch.no_grad():
            return model(images)

    return run
