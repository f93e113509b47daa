"""The READMEs' tables and their chart, made of the rows of a run, so that nobody copies figures by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.chart import draw
from benchmarks.figures import mean
from benchmarks.sides import ROOT

BEGIN, END = "<!-- made by `python -m benchmarks --readme` -->", "<!-- until here -->"
CHARTED = ("models", "networks", "overhead", "startup")

SHOWN: dict[str, tuple[str, str]] = {
    "models/ResNet-50 train step, batch 4, 224²": (
        "a training step of ResNet-50, batch 4, 224×224",
        "ResNet-50 的一个训练步，batch 4，224×224",
    ),
    "models/ResNet-18 train step, batch 4, 224²": (
        "a training step of ResNet-18, batch 4, 224×224",
        "ResNet-18 的一个训练步，batch 4，224×224",
    ),
    "networks/U-Net train step": (
        "a training step of a diffusion U-Net, 32×32, batch 4",
        "扩散 U-Net 的一个训练步，32×32，batch 4",
    ),
    "networks/DCGAN train step": ("a training step of a DCGAN, 32×32, batch 16", "DCGAN 的一个训练步，32×32，batch 16"),
    "networks/GPT train step": ("a training step of a small GPT (4 layers, 128 wide)", "小型 GPT（4 层，宽 128）的一个训练步"),
    "networks/LSTM train step": ("a training step of a two-layer LSTM, 32 steps", "两层 LSTM 的一个训练步，32 个时间步"),
    "networks/GCN train step": ("a training step of a graph network (GCN)", "图网络（GCN）的一个训练步"),
    "models/the demo's step, batch 64": (
        "a training step of `make demo`'s network, batch 64",
        "`make demo` 的网络的一个训练步，batch 64",
    ),
    "overhead/MLP 32→64→64→10, batch 32, Adam step": (
        "a training step of a small MLP (32→64→64→10, batch 32, Adam)",
        "小型 MLP（32→64→64→10，batch 32，Adam）的一个训练步",
    ),
    "overhead/record an add with autograd": ("recording a small addition with autograd", "记录一次带自动求导的小加法"),
    "overhead/one-hot of 64 labels": ("one-hot of 64 labels, looked at once", "64 个标签的 one-hot，立即读出"),
    "overhead/rand(10)": ("`rand(10)`, looked at once", "`rand(10)`，立即读出"),
    "startup/import": ("`import`", "`import`"),
}
"""The rows that are shown, and what they are called in English and in Chinese."""

GROUPS = {
    "conv2d": ("ResNet-50's convolutions", "ResNet-50 的卷积"),
    "conv2d, other": ("depthwise, grouped, dilated, complex convolutions", "逐深度、分组、空洞、复数卷积"),
    "conv_transpose2d": ("transposed convolutions", "转置卷积"),
    "group_norm": ("group normalisation", "组归一化"),
    "group_norm and SiLU": ("group normalisation with SiLU", "组归一化加 SiLU"),
    "scatter": ("`scatter` and its kin", "`scatter` 及同类"),
    "memory": ("elementwise chains, reductions, copies, optimizers", "逐元素链、归约、拷贝、优化器"),
    "matmul": ("matrix products", "矩阵乘法"),
    "fourier": ("Fourier transforms", "傅里叶变换"),
    "linalg": ("linear algebra", "线性代数"),
    "sorting": ("sorting and searching", "排序与查找"),
    "images": ("pooling, resizing, borders", "池化、缩放、边界"),
    "models": ("ResNets and the demo", "ResNet 与示例网络"),
    "networks": ("other networks", "其他网络"),
    "overhead": ("small calls", "小调用"),
}
"""The groups whose means are shown, and what they are called."""


def amount(seconds: float) -> str:
    """`432 ms`, with two digits after the point below ten."""
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-4 else ("µs", 1e-6)
    value = seconds / scale
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}" if value >= 1 else f"{value:.2f} {unit}"


def cells(key: str, row: dict[str, Any]) -> str:
    """What stands beside a row's name."""
    sides = []
    for side in ("flambeau", "peer"):
        memory = f", {row[side]['megabytes']:.0f} MB" if key == "startup/import" else ""
        sides.append(amount(row[side]["seconds"]) + memory)
    return f"{sides[0]} | {sides[1]} | {row['ratio']:.2f} |"


def tables(rows: list[dict[str, Any]], limits: dict[str, Any], language: int) -> str:
    """Both tables, the chart and what ResNet-50's first steps cost, in English (0) or Chinese (1)."""
    found = {f"{row['group']}/{row['name']}": row for row in rows if "ratio" in row}
    head = (("work", "Flambeau", "PyTorch", "ratio"), ("工作", "Flambeau", "PyTorch", "比值"))[language]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | --- |"]
    lines += [f"| {names[language]} | {cells(key, found[key])}" for key, names in SHOWN.items() if key in found]
    caption = ("How many times as fast as PyTorch: models, networks and small calls", "速度比：模型、网络与小调用")[language]
    lines += ["", f"![{caption}](docs/benchmarks.png)", ""]
    big = found.get("models/ResNet-50 train step, batch 4, 224²")
    if big:
        ours, peer = big["flambeau"], big["peer"]
        cold, warm = (max(0.0, ours[name] - ours["seconds"]) for name in ("first_cold_seconds", "first_seconds"))
        lines += [
            (
                f"The first step of ResNet-50 takes {cold:.1f} s more than a later one on a machine that never saw it, and {warm:.1f} s more once its\n"
                f"programs are in the cache on disk; training it takes {ours['megabytes']:.0f} MB where PyTorch takes {peer['megabytes']:.0f}.",
                f"在第一次遇到 ResNet-50 的机器上，第一步比后面的步多 {cold:.1f} 秒；程序进入磁盘缓存之后，只多 {warm:.1f} 秒。训练它占用\n"
                f"{ours['megabytes']:.0f} MB 内存，PyTorch 占用 {peer['megabytes']:.0f} MB。",
            )[language],
            "",
        ]
    head = (("rows of the benchmark", "how many", "geometric mean", "worst"), ("基准测试的组", "行数", "几何平均", "最差"))[language]
    lines += [f"| {' | '.join(head)} |", "| --- | --- | --- | --- |"]
    for group, names in GROUPS.items():
        ratios = [row["ratio"] for row in found.values() if row["group"] == group]
        if ratios:
            lines.append(f"| {names[language]} | {len(ratios)} | {mean(ratios):.2f} | {min(ratios):.2f} |")
    note = ("Measured on {processor}, {threads} threads.", "测量环境：{processor}，{threads} 个线程。")[language]
    return "\n".join([*lines, "", note.format(**limits)])


def write(rows: list[dict[str, Any]], limits: dict[str, Any]) -> None:
    """Put the tables between the marks in both READMEs, and draw the chart."""
    for language, name in enumerate(("README.md", "README.zh-CN.md")):
        path = Path(ROOT, name)
        marked = re.compile(f"(?s)(?<={re.escape(BEGIN)}\n).*(?=\n{re.escape(END)})")
        made = tables(rows, limits, language)
        text, count = marked.subn(lambda _, made=made: f"\n{made}\n", path.read_text("utf-8"))
        if not count:
            raise ValueError(f"{name} has lost the marks between which its table stands: {BEGIN!r} and {END!r}")
        path.write_text(text, "utf-8")
    draw([row for row in rows if row["group"] in CHARTED], "torch", Path(ROOT, "docs", "benchmarks.png"))
