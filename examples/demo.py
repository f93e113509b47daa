"""Learn to read handwritten digits, and to draw them again.

An encoder of convolutions looks at the digit, a classifier names it, and a decoder of transposed convolutions draws it
again from what the encoder kept. `make demo` runs this file on Flambeau; `python examples/demo.py` runs it on PyTorch.

    python -m flambeau examples/demo.py                    scikit-learn's digits: 1,797 images of 8×8 pixels
    python -m flambeau examples/demo.py --data mnist       MNIST, from its IDX files in the folder `mnist`
    python -m flambeau examples/demo.py --resume           go on from the last checkpoint
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torch.utils.tensorboard import SummaryWriter

CLASSES = 10


class Reader(nn.Module):
    """Names a digit and draws it again: images (N, 1, H, W) to scores (N, 10) and images (N, 1, H, W); H and W even."""

    def __init__(self, height: int, width: int, channels: int = 32) -> None:
        super().__init__()
        deep = 2 * channels
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            nn.Conv2d(channels, deep, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, deep),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(deep * (height // 2) * (width // 2), CLASSES))
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(deep, channels, 4, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, 1, 3, padding=1),
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encoder(images)
        return self.classifier(features), torch.sigmoid(self.decoder(features))


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    """Labels (N,) to rows (N, 10) with a 1 in the label's column."""
    return torch.zeros(len(labels), CLASSES).scatter(1, labels.unsqueeze(-1), 1.0)


def loss_of(scores: torch.Tensor, drawn: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the names, and the mean squared error of the drawings."""
    return F.cross_entropy(scores, one_hot(labels), label_smoothing=0.05) + F.mse_loss(drawn, images)


def load_digits() -> tuple[Dataset, Dataset]:
    """Scikit-learn's digits, in [0, 1]: four fifths to learn from, one fifth held out."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target, dtype=torch.int64)
    held_out = len(labels) // 5
    parts = random_split(TensorDataset(images, labels), [len(labels) - held_out, held_out], torch.Generator().manual_seed(0))
    return parts[0], parts[1]


def load_mnist(folder: str) -> tuple[Dataset, Dataset]:
    """MNIST from its IDX files, which must be in the folder already."""
    from torchvision import datasets, transforms

    to_tensor = transforms.ToTensor()
    train, test = (datasets.MNIST(folder, train=train, transform=to_tensor, download=False) for train in (True, False))
    return train, test


def grid(images: torch.Tensor, columns: int) -> torch.Tensor:
    """Tile images (N, 1, H, W) into one (1, rows·H, columns·W), row by row."""
    n, _, height, width = images.shape
    rows = n // columns
    tiles = images[: rows * columns].reshape(rows, columns, height, width)
    return tiles.permute(0, 2, 1, 3).reshape(1, rows * height, columns * width)


def beside(images: torch.Tensor, drawn: torch.Tensor, columns: int = 16) -> torch.Tensor:
    """Rows of originals, each above the row of their reconstructions."""
    n = len(images) // columns * columns
    pairs = torch.stack([part[:n].reshape(n // columns, columns, *part.shape[1:]) for part in (images, drawn)], dim=1)
    return grid(pairs.reshape(-1, *images.shape[1:]), columns)


def save_png(image: torch.Tensor, path: Path, scale: int = 4) -> None:
    """Write an image (1, H, W) with values in [0, 1], each pixel as a square of `scale`."""
    from PIL import Image

    pixels = (image[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(np.kron(pixels, np.ones((scale, scale), np.uint8))).save(path)


@torch.no_grad()
def evaluate(model: Reader, loader: DataLoader) -> dict[str, torch.Tensor]:
    """Everything that the model says of the held-out digits."""
    model.eval()
    seen: dict[str, list[torch.Tensor]] = {"images": [], "labels": [], "scores": [], "drawn": [], "features": []}
    for images, labels in loader:
        scores, drawn = model(images)
        features = model.encoder(images).mean((2, 3))
        for name, value in zip(seen, (images, labels, scores, drawn, features), strict=True):
            seen[name].append(value)
    return {name: torch.cat(values) for name, values in seen.items()}


def accuracy_of(seen: dict[str, torch.Tensor]) -> float:
    return (seen["scores"].argmax(1) == seen["labels"]).float().mean().item()


def log_epoch(writer: SummaryWriter, model: Reader, seen: dict[str, torch.Tensor], train: tuple[float, float], epoch: int) -> None:
    """Write an epoch's scalars, reconstructions and weights."""
    loss = loss_of(seen["scores"], seen["drawn"], seen["images"], seen["labels"]).item()
    writer.add_scalar("Loss/train", train[0], epoch)
    writer.add_scalar("Loss/test", loss, epoch)
    writer.add_scalar("Accuracy/train", train[1], epoch)
    writer.add_scalar("Accuracy/test", accuracy_of(seen), epoch)
    writer.add_image("reconstructions", beside(seen["images"][:64], seen["drawn"][:64]), epoch)
    for name, parameter in model.named_parameters():
        writer.add_histogram(name.replace(".", "/"), parameter, epoch)


def log_end(writer: SummaryWriter, seen: dict[str, torch.Tensor], options: argparse.Namespace, accuracy: float) -> None:
    """Write what is worth seeing once: the space of features, precision against recall, and the settings."""
    shown = min(500, len(seen["labels"]))
    writer.add_embedding(
        seen["features"][:shown],
        metadata=seen["labels"][:shown].tolist(),
        label_img=seen["images"][:shown],
        global_step=options.epochs,
        tag="features",
    )
    chances = torch.softmax(seen["scores"], 1)
    for digit in range(CLASSES):
        writer.add_pr_curve(f"digit {digit}", seen["labels"] == digit, chances[:, digit])
    settings = {"lr": options.lr, "batch": options.batch, "epochs": options.epochs}
    writer.add_hparams(settings, {"hparam/accuracy": accuracy}, run_name=".")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", help="a folder with MNIST's IDX files; without it, scikit-learn's digits")
    parser.add_argument("--epochs", type=int, default=None, help="default: 20, for MNIST 3")
    parser.add_argument("--batch", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--lr", type=float, default=3e-3, help="the highest learning rate (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that load data (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), help="default: %(default)s")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    options = parser.parse_args()
    if options.epochs is None:
        options.epochs = 3 if options.data else 20
    return options


class Job:
    """A model in training: what a checkpoint holds, and how to take a step."""

    def __init__(self, model: Reader, lr: float, steps: int) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.epoch = 0
        self.step_seconds: list[float] = []

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
        """Learn from one batch; returns its loss and how many of it were named right."""
        began = time.perf_counter()
        self.optimizer.zero_grad()
        scores, drawn = self.model(images)
        loss = loss_of(scores, drawn, images, labels)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        result = loss.item(), int((scores.argmax(1) == labels).sum().item())
        self.step_seconds.append(time.perf_counter() - began)
        return result

    def train_epoch(self, loader: DataLoader, report: Callable[..., None]) -> tuple[float, float]:
        """Learn from every batch once; returns the mean loss and the accuracy."""
        self.epoch += 1
        self.model.train()
        total_loss, right, count, began = 0.0, 0, 0, time.perf_counter()
        for images, labels in loader:
            loss, named = self.step(images, labels)
            total_loss, right, count = total_loss + loss * len(labels), right + named, count + len(labels)
            speed = count / (time.perf_counter() - began)
            report(advance=1, epoch=self.epoch, loss=total_loss / count, accuracy=right / count, speed=speed)
        return total_loss / count, right / count

    def save(self, path: Path) -> None:
        """Write beside the old checkpoint and then take its place, so that a failure leaves the old one whole."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")}
        partial = path.with_suffix(".partial")
        torch.save({**parts, "epoch": self.epoch, "random": torch.get_rng_state()}, partial)
        os.replace(partial, path)

    def restore(self, path: Path) -> None:
        """Go on where `save` left off."""
        state = torch.load(path)
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]
        torch.set_rng_state(state["random"])


def progress_bar(console: Console) -> Progress:
    """Epoch, steps, and how it goes."""
    return Progress(
        TextColumn("epoch {task.fields[epoch]:>2}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:6.2%}  {task.fields[speed]:6.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
    )


def main() -> None:
    options = parse_arguments()
    console = Console()
    torch.manual_seed(0)
    try:
        train, test = load_mnist(options.data) if options.data else load_digits()
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"cannot read MNIST from {options.data}: {error}")
    height, width = train[0][0].shape[-2:]
    loader = DataLoader(
        train, options.batch, shuffle=True, drop_last=True, num_workers=options.workers, persistent_workers=options.workers > 0
    )
    held_out = DataLoader(test, 256)
    total = options.epochs * len(loader)
    job = Job(Reader(height, width), options.lr, total)
    checkpoint = options.output / "checkpoint.pt"
    if options.resume:
        try:
            job.restore(checkpoint)
        except FileNotFoundError:
            sys.exit(f"nothing to resume: there is no {checkpoint}")

    logs = options.output / "logs"
    writer = SummaryWriter(str(logs / time.strftime("%Y-%m-%d_%H-%M-%S")))  # each run beside those before it
    writer.add_graph(job.model, next(iter(held_out))[0][:1])
    began = time.perf_counter()
    with progress_bar(console) as progress:
        task = progress.add_task("", total=total, completed=job.epoch * len(loader), epoch=job.epoch, loss=0, accuracy=0, speed=0)
        while job.epoch < options.epochs:
            trained = job.train_epoch(loader, partial(progress.update, task))
            log_epoch(writer, job.model, evaluate(job.model, held_out), trained, job.epoch)
            job.save(checkpoint)
    seen = evaluate(job.model, held_out)
    accuracy = accuracy_of(seen)
    log_end(writer, seen, options, accuracy)
    writer.close()
    picture = options.output / "reconstructions.png"
    save_png(beside(seen["images"][:64], seen["drawn"][:64]), picture)

    console.print(
        f"\n{accuracy:.2%} of {len(seen['labels'])} held-out digits right, after {time.perf_counter() - began:.1f} s", style="bold"
    )
    if job.step_seconds:
        console.print(f"first step {job.step_seconds[0] * 1e3:.0f} ms, then {statistics.median(job.step_seconds) * 1e3:.1f} ms a step")
    console.print(f"originals above reconstructions: {picture}\ncheckpoint: {checkpoint}\nlogs: {logs}", soft_wrap=True)
    console.print(f"look at them with: tensorboard --logdir {logs}", soft_wrap=True)


if __name__ == "__main__":
    main()
