"""Modules for `python -m parity.programs`, which PyTorch writes as files: layers, and what the language of TorchScript has."""

from enum import Enum
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union  # noqa: UP035 (TorchScript's own names)

import torch
from torch import nn
from torch.nn import functional as F

# ruff: noqa: B007, I002, UP006, UP007, UP031, UP032, UP045 - what torch.jit.script reads, and the forms of the language
# mypy: ignore-errors


class Block(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=2, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(channels, channels, 1, stride), nn.BatchNorm2d(channels)) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    """As torchvision's, small."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.layers = nn.Sequential(Block(4, 1), Block(4, 2))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(4, 3)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)

    def forward(self, x):
        return self.fc(torch.flatten(self.pool(self.layers(self.stem(x))), 1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4, padding_idx=0)
        self.lstm = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(6, 2)

    def forward(self, tokens):
        steps, (h, c) = self.lstm(self.embedding(tokens))
        out, last = self.gru(steps.transpose(0, 1))
        return out, last, h, c


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        out, (h, _) = self.lstm(packed)
        padded, sizes = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        return padded, sizes, h


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)

    def forward(self, x, mask: Optional[torch.Tensor] = None):
        return self.encoder(x, mask)


class Images(nn.Module):
    def forward(self, x):
        y = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        z = F.interpolate(x, size=[5, 7], mode="nearest")
        p = F.pad(x, [1, 1, 2, 0], "reflect") + 0
        e = F.elu(F.gelu(x)) + F.silu(x) + F.hardswish(x) + F.softplus(x)
        w = F.grid_sample(x, torch.zeros(1, 2, 2, 2), align_corners=False)
        return y, z, p, e, w, F.log_softmax(x, 1, dtype=torch.float64), F.unfold(x, 2), F.avg_pool2d(x, 2)


class Pair(NamedTuple):
    values: torch.Tensor
    count: int


class Colour(Enum):
    RED = 1
    BLUE = 2


@torch.jit.script
class Counter:
    def __init__(self, start: int) -> None:
        self.total = start
        self.seen: List[int] = []

    def add(self, number: int) -> "Counter":
        self.total += number
        self.seen.append(number)
        return self

    def __len__(self) -> int:
        return len(self.seen)


@torch.jit.interface
class Mapping(nn.Module):
    def one(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Plus(nn.Module):
    def one(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def doubled(x):
    return x * 2


class Language(nn.Module):
    """Loops, branches, containers, classes, and what else TorchScript's language has."""

    mapping: Mapping
    cache: Optional[torch.Tensor]
    table: Dict[str, List[int]]

    def __init__(self) -> None:
        super().__init__()
        self.mapping = Plus()
        self.cache = None
        self.table = {"a": [1, 2], "b": []}
        self.colour = Colour.RED
        self.plain = torch.ones(2)
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.again = [self.weight]
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.names = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)})

    @torch.jit.export
    def table_of(self, x, count: int = 2) -> Dict[str, torch.Tensor]:
        out: Dict[str, torch.Tensor] = {}
        for i in range(count):
            out[str(i)] = x * i
        return out

    def forward(
        self, x: torch.Tensor, names: List[str], flag: bool = True, any_: Union[int, str, None] = None, colour: Colour = Colour.BLUE
    ) -> Tuple[Pair, Dict[str, torch.Tensor], List[str], Any]:
        counter = Counter(4).add(2)
        y = self.mapping.one(x) * len(counter) + counter.total
        if self.cache is None:
            self.cache = y.detach()
        cache = self.cache
        assert cache is not None
        y = y + cache + (1 if colour == Colour.BLUE else 0) + self.colour.value
        for name, module in self.names.items():
            y = module(y)
        for i, (number, name) in enumerate(zip([5, 6, 7], names)):
            if name == "stop":
                break
            if number == 6:
                continue
            y = y + number * i
        count = 0
        while count < 3 and bool(y.sum() > -1e9):
            count += 1
        for step in range(10, 0, -3):
            count += step
        self.steps += 1
        out = self.table_of(y, count=3)
        for key, value in out.items():
            y = y + value * self.again[0]
        del out["1"]
        lines = [f"{name} {count} {2.5} {name in self.table}" for name in names]
        lines.extend(["x".upper() + "-".join(names), "%d %s" % (7 // 2, 1.0)])
        if isinstance(any_, int):
            lines.append("int " + str(any_ + 1))
        elif isinstance(any_, str):
            lines.append("str " + any_[1:])
        y[y > 1e9] = 0.0
        part = y[0, ..., None] if y.dim() == 2 else y
        part = part[torch.tensor([0])] + y.max(dim=-1)[0].sum() + torch.jit.wait(torch.jit.fork(doubled, y)).mean()
        with torch.no_grad():
            level = int(y.to(torch.float64).abs().clamp(max=3.0).sum().item() > 0) + round(2.6) + max(1, 2) + min([3, 4]) + (7 % 4) + 2**3
        if not flag:
            raise ValueError("the flag is {}".format(flag))
        return Pair(part, int(level)), out, lines, (x.shape, self.table, torch.zeros([2], dtype=x.dtype, device=x.device), float("inf"))


class Arithmetic(nn.Module):
    """Buffers that are written to, constants, sizes that are computed with, and arguments in containers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2))
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.weight = nn.Parameter(torch.ones(2))
        self.constant = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, x, y):
        self.count.add_(1)
        z = x[:, 1:] * 2.5 + self.count.sum() ** 0.5 + y.mean() + self.weight.sum() + self.hidden
        z = torch.where(z > 0, z, float("-inf")).masked_fill(z > 1e9, 0).clamp(min=-10.0).reshape(x.shape[0] * 2, -1)
        picked = z[torch.tensor([0, 1])] + torch.full((2,), float("nan")).nan_to_num(0.5)
        steps = torch.arange(y.shape[0] // 2 + 1, device=x.device).float().to(torch.float16)
        x[:, 0] = x[:, 0] + x.shape[0]
        values, positions = picked.max(-1)
        parts = torch.cat([z, z], 1).split([1, 3], 1)
        with torch.no_grad():
            level = z.clamp(max=1.0).mean() * self.weight.sum()
            bound = level + 1
        steps = steps * level.clamp(0.5, 0.5).item()
        complex_ = torch.ones(2, dtype=torch.complex64) * 2j
        return {
            "all": z.sum() + self.constant,
            "rest": [picked * level + bound, steps, values, positions, parts[1], complex_.abs(), None, 3, x.clone(), z > 1],
        }


SCRIPTED: Dict[str, Tuple[Any, tuple]] = {
    "resnet": (ResNet, (torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8),)),
    "recurrent": (Recurrent, (torch.tensor([[1, 2, 3], [4, 5, 0]]),)),
    "packed": (Packed, (torch.linspace(-1, 1, 12).reshape(2, 3, 2), torch.tensor([3, 2]))),
    "encoder": (Encoder, (torch.linspace(-1, 1, 24).reshape(2, 3, 4),)),
    "images": (Images, (torch.linspace(-1, 1, 32).reshape(1, 2, 4, 4),)),
    "language": (Language, (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), ["p", "q", "stop"], True, 3)),
}
"""What is scripted, by name: a module, and arguments."""

SCRIPTED["arithmetic"] = (Arithmetic, (torch.linspace(-1, 1, 15).reshape(3, 5), torch.ones(4)))

TRACED = ("resnet", "recurrent", "encoder", "images")
"""What is traced besides."""

EXPORTED = (*TRACED, "arithmetic")
"""What is exported."""
