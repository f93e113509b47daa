"""Small networks of every common kind, a training step and an answer each: attention, recurrence, adversaries, variation, graphs, diffusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload

Setup = Callable[[ModuleType], tuple[Any, Callable[[], Any]]]
"""Makes a network, and a function that returns its loss on a fixed batch."""


def workloads() -> Iterator[Workload]:
    for name, setup in NETWORKS.items():
        yield Workload("networks", f"{name} train step", partial(step, setup=setup), tolerance=1e-2)
        yield Workload("networks", f"{name} answers", partial(answers, setup=setup), tolerance=1e-2)
    yield Workload("networks", "DCGAN train step", dcgan_step, tolerance=2e-2)


def step(torch: ModuleType, setup: Setup) -> Callable[[], Any]:
    torch.manual_seed(0)
    model, loss_of = setup(torch)
    update = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def run() -> Any:
        update.zero_grad()
        loss = loss_of()
        loss.backward()
        update.step()
        return loss

    return run


def answers(torch: ModuleType, setup: Setup) -> Callable[[], Any]:
    torch.manual_seed(0)
    model, loss_of = setup(torch)
    model.eval()

    def run() -> Any:
        with torch.no_grad():
            return loss_of()

    return run


def gpt(torch: ModuleType) -> tuple[Any, Callable[[], Any]]:
    """Radford et al., 2019: 4 layers of 4 heads, 128 wide, 128 tokens of a vocabulary of 256, batch 8."""
    nn, functional = torch.nn, torch.nn.functional
    width, heads, length, vocabulary = 128, 4, 128, 256

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            batch, tokens, _ = x.shape
            q, k, v = (part.view(batch, tokens, heads, -1).transpose(1, 2) for part in self.attend(self.norm1(x)).split(width, dim=2))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.project(y.transpose(1, 2).reshape(batch, tokens, width))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(4)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens: Any) -> Any:
            places = torch.arange(tokens.shape[1])
            return self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))

    model, text = GPT(), torch.randint(0, vocabulary, (8, length + 1))
    return model, lambda: functional.cross_entropy(model(text[:, :-1]).reshape(-1, vocabulary), text[:, 1:].reshape(-1))


def lstm(torch: ModuleType) -> tuple[Any, Callable[[], Any]]:
    """Two layers, 128 wide, 32 steps, batch 16."""
    nn = torch.nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.lstm, self.head = nn.Embedding(100, 64), nn.LSTM(64, 128, num_layers=2, batch_first=True), nn.Linear(128, 100)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.lstm(self.tokens(tokens))[0])

    model, text = Reader(), torch.randint(0, 100, (16, 33))
    return model, lambda: nn.functional.cross_entropy(model(text[:, :-1]).reshape(-1, 100), text[:, 1:].reshape(-1))


def vae(torch: ModuleType) -> tuple[Any, Callable[[], Any]]:
    """Kingma and Welling, 2014: 784 to 400 to 20 and back, batch 128."""
    nn, functional = torch.nn, torch.nn.functional

    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.mean, self.spread = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.decode = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

        def forward(self, x: Any) -> tuple[Any, Any, Any]:
            hidden = functional.relu(self.encode(x))
            mean, spread = self.mean(hidden), self.spread(hidden)
            return self.decode(mean + torch.exp(0.5 * spread) * torch.randn_like(spread)), mean, spread

    model, images = VAE(), torch.rand(128, 784)

    def loss() -> Any:
        drawn, mean, spread = model(images)
        likelihood = functional.binary_cross_entropy_with_logits(drawn, images, reduction="sum")
        return likelihood - 0.5 * torch.sum(1 + spread - mean.pow(2) - spread.exp())

    return model, loss


def gcn(torch: ModuleType) -> tuple[Any, Callable[[], Any]]:
    """Kipf and Welling, 2017, on a graph of 2,700 nodes, 10,000 edges and 256 features."""
    nn, functional = torch.nn, torch.nn.functional
    nodes, edges, features = 2700, 10_000, 256
    source, target = torch.randint(0, nodes, (2, edges))
    degree = torch.ones(nodes).scatter_add(0, target, torch.ones(edges))
    weight = (degree[source] * degree[target]).rsqrt().unsqueeze(1)

    class Convolution(nn.Module):
        def __init__(self, c_in: int, c_out: int) -> None:
            super().__init__()
            self.linear = nn.Linear(c_in, c_out, bias=False)

        def forward(self, x: Any) -> Any:
            hidden = self.linear(x)
            return hidden.index_add(0, target, hidden[source] * weight)

    model = nn.ModuleList([Convolution(features, 64), Convolution(64, 7)])
    x, labels = torch.randn(nodes, features), torch.randint(0, 7, (nodes,))
    return model, lambda: functional.cross_entropy(model[1](functional.relu(model[0](x))), labels)


def unet(torch: ModuleType) -> tuple[Any, Callable[[], Any]]:
    """A denoising U-Net as of Ho et al., 2020, 32 channels wide, 32×32, batch 4: GroupNorm, SiLU, time embedding, attention in the middle."""
    nn, functional = torch.nn, torch.nn.functional
    width = 32

    class Block(nn.Module):
        def __init__(self, c_in: int, c_out: int) -> None:
            super().__init__()
            self.norm1, self.conv1 = nn.GroupNorm(8, c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
            self.time = nn.Linear(4 * width, c_out)
            self.norm2, self.conv2 = nn.GroupNorm(8, c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
            self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

        def forward(self, x: Any, time: Any) -> Any:
            hidden = self.conv1(functional.silu(self.norm1(x))) + self.time(functional.silu(time))[:, :, None, None]
            return self.skip(x) + self.conv2(functional.silu(self.norm2(hidden)))

    class Attention(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm, self.qkv, self.project = (
                nn.GroupNorm(8, channels),
                nn.Conv2d(channels, 3 * channels, 1),
                nn.Conv2d(channels, channels, 1),
            )

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)
            y = functional.scaled_dot_product_attention(q, k, v)
            return x + self.project(y.transpose(1, 2).reshape(x.shape))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))
            self.first = nn.Conv2d(3, width, 3, padding=1)
            self.down1, self.shrink = Block(width, width), nn.Conv2d(width, width, 3, stride=2, padding=1)
            self.down2, self.middle, self.up2 = Block(width, 2 * width), Attention(2 * width), Block(2 * width, 2 * width)
            self.grow = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
            self.up1 = Block(2 * width, width)
            self.last = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))

        def forward(self, x: Any, t: Any) -> Any:
            rates = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2))
            angles = t[:, None] * rates
            time = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
            x1 = self.down1(self.first(x), time)
            x2 = self.up2(self.middle(self.down2(self.shrink(x1), time)), time)
            return self.last(self.up1(torch.cat([self.grow(x2), x1], dim=1), time))

    model = UNet()
    images, noise, t = torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32), torch.tensor([1.0, 10.0, 100.0, 500.0])
    return model, lambda: functional.mse_loss(model(images + noise, t), noise)


def dcgan_step(torch: ModuleType) -> Callable[[], Any]:
    """Radford et al., 2016: a generator and a discriminator of 32×32 images, 32 channels wide, batch 16."""
    nn, width, depth = torch.nn, 32, 64
    torch.manual_seed(0)
    draw = nn.Sequential(
        nn.ConvTranspose2d(depth, 4 * width, 4, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU(True),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(True),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
        nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    judge = nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True),
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2, True),
        nn.Conv2d(4 * width, 1, 4, bias=False), nn.Flatten(),
    )  # fmt: skip
    updates = [torch.optim.Adam(net.parameters(), lr=2e-5, betas=(0.5, 0.999)) for net in (judge, draw)]
    loss_of = nn.BCEWithLogitsLoss()
    real, noise = torch.randn(16, 3, 32, 32), torch.randn(16, depth, 1, 1)
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)

    def run() -> Any:
        fake = draw(noise)
        updates[0].zero_grad()
        judged = loss_of(judge(real), ones) + loss_of(judge(fake.detach()), zeros)
        judged.backward()
        updates[0].step()
        updates[1].zero_grad()
        drawn = loss_of(judge(fake), ones)
        drawn.backward()
        updates[1].step()
        return torch.stack([judged.detach(), drawn.detach()])

    return run


NETWORKS: dict[str, Setup] = {"GPT": gpt, "LSTM": lstm, "VAE": vae, "GCN": gcn, "U-Net": unet}
