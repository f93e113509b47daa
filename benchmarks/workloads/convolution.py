"""Convolutions: ResNet's and ResNeXt's layers, depthwise and dilated ones, and the transposed ones of generators and of U-Net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload, with_gradients

# channels in, channels out, kernel, stride, size
RESNET = {
    "7×7 s2 3→64 224²": (3, 64, 7, 2, 224),
    "1×1 64→256 56²": (64, 256, 1, 1, 56),
    "3×3 64→64 56²": (64, 64, 3, 1, 56),
    "3×3 s2 128→128 56²": (128, 128, 3, 2, 56),
    "3×3 256→256 14²": (256, 256, 3, 1, 14),
    "3×3 512→512 7²": (512, 512, 3, 1, 7),
    "1×1 1024→2048 s2 14²": (1024, 2048, 1, 2, 14),
}
# batch, channels in, channels out, kernel, stride, size, groups, what else the layer takes, and the memory format
CONV2D: dict[str, tuple[Any, ...]] = {
    f"{name}{ending}": (batch, c_in, c_out, kernel, stride, size, 1, *more)
    for ending, batch, *more in (
        ("", 8),
        (", one image", 1),
        (", channels last", 8, {}, "channels_last"),
        (", bfloat16", 8, {"dtype": "bfloat16"}),
    )
    for name, (c_in, c_out, kernel, stride, size) in RESNET.items()
}
OTHERS: dict[str, tuple[Any, ...]] = {
    "3×3 64→64 56² dilation 2": (4, 64, 64, 3, 1, 56, 1, {"dilation": 2, "padding": 2}),
    "3×3 depthwise 144 56²": (4, 144, 144, 3, 1, 56, 144),
    "3×3 depthwise 144 s2 56²": (4, 144, 144, 3, 2, 56, 144),
    "3×3 depthwise 576 14²": (4, 576, 576, 3, 1, 14, 576),
    "5×5 depthwise 240 28²": (4, 240, 240, 5, 1, 28, 240),
    "7×7 depthwise 96 56²": (4, 96, 96, 7, 1, 56, 96),
    "3×3 depthwise 144 56², channels last": (4, 144, 144, 3, 1, 56, 144, {}, "channels_last"),
    "7×7 depthwise 96 56², channels last": (4, 96, 96, 7, 1, 56, 96, {}, "channels_last"),
    "3×3 of 32 groups 128 56²": (4, 128, 128, 3, 1, 56, 32),
    "3×3 of 32 groups 512 14²": (4, 512, 512, 3, 1, 14, 32),
    "3×3 of 32 groups 512 14², channels last": (4, 512, 512, 3, 1, 14, 32, {}, "channels_last"),
    "3×3 1→32 8² batch 64": (64, 1, 32, 3, 1, 8, 1),
    "3×3 64→64 56² circular": (4, 64, 64, 3, 1, 56, 1, {"padding_mode": "circular"}),
    "3×3 32→32 28² complex": (4, 32, 32, 3, 1, 28, 1, {"dtype": "complex64"}),
}
CONV_TRANSPOSE2D: dict[str, tuple[Any, ...]] = {
    "4×4 s2 64→32 4² batch 64": (64, 64, 32, 4, 2, 4, 1),
    "4×4 s2 512→256 8²": (8, 512, 256, 4, 2, 8, 1),
    "4×4 s2 128→64 32²": (8, 128, 64, 4, 2, 32, 1),
    "2×2 s2 128→64 56²": (2, 128, 64, 2, 2, 56, 1),
    "3×3 s2 64→32 32² output padding 1": (8, 64, 32, 3, 2, 32, 1, {"output_padding": 1}),
    "4×4 s2 depthwise 64 32²": (8, 64, 64, 4, 2, 32, 64),
    "3×3 64→3 64²": (8, 64, 3, 3, 1, 64, 1),
}


def workloads() -> Iterator[Workload]:
    for group, table in (("conv2d", CONV2D), ("conv2d, other", OTHERS), ("conv_transpose2d", CONV_TRANSPOSE2D)):
        transposed = group == "conv_transpose2d"
        for name, sizes in table.items():
            n, c_in, c_out, kernel, stride, size, groups, *_ = sizes
            positions = size if transposed else (size - 1) // stride + 1
            flops = 2.0 * n * c_in * c_out // groups * kernel**2 * positions**2 * (4 if name.endswith("complex") else 1)
            tolerance = 1e-2 if name.endswith("bfloat16") else 1e-3  # two roundings to 8 bits
            for ending, make, passes in (("", forward, 1), (" with gradients", gradients, 3)):
                run = partial(make, transposed=transposed, sizes=sizes)
                yield Workload(group, name + ending, run, flops=passes * flops, tolerance=tolerance)
    yield Workload("conv_transpose2d", "4×4 s2 64→32, another size each call", another_size, per=len(SIZES))


def layer_and_images(torch: ModuleType, transposed: bool, sizes: tuple[Any, ...]) -> tuple[Any, Any]:
    n, c_in, c_out, kernel, stride, size, groups, *rest = sizes
    options = {"stride": stride, "padding": (kernel - 1) // 2, "groups": groups, **(rest[0] if rest else {})}
    options["dtype"] = getattr(torch, options.get("dtype", "float32"))
    memory_format = getattr(torch, rest[1] if rest[1:] else "contiguous_format")
    layer = (torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d)(c_in, c_out, kernel, **options)
    images = torch.randn(n, c_in, size, size, dtype=options["dtype"])
    return layer.to(memory_format=memory_format), images.contiguous(memory_format=memory_format)


def forward(torch: ModuleType, transposed: bool, sizes: tuple[Any, ...]) -> Callable[[], Any]:
    layer, images = layer_and_images(torch, transposed, sizes)

    def run() -> Any:
        with torch.no_grad():
            return layer(images)

    return run


def gradients(torch: ModuleType, transposed: bool, sizes: tuple[Any, ...]) -> Callable[[], Any]:
    layer, images = layer_and_images(torch, transposed, sizes)
    return with_gradients(torch, layer, [images.requires_grad_()], [layer.weight, layer.bias])


SIZES = range(8, 40, 4)


def another_size(torch: ModuleType) -> Callable[[], Any]:
    """One layer on images of several sizes, as a segmentation network sees them."""
    layer = torch.nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
    images = [torch.randn(4, 64, size, size) for size in SIZES]

    def run() -> list[Any]:
        with torch.no_grad():
            return [layer(each) for each in images]

    return run
