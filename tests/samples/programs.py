"""Small programs that reach every family of operators: a row each, made of the package's public functions.

A program takes the package and returns tensors. It is deterministic: the random stream is started from a fixed seed before each run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[Any], tuple]] = {}


def program(function: Callable[[Any], Any]) -> Callable:
    """Enter a program under its name."""

    def run(package: Any) -> tuple:
        package.manual_seed(0)
        result = function(package)
        return result if isinstance(result, tuple) else (result,)

    PROGRAMS[function.__name__] = run
    return function


def leaf(package: Any, *shape: int, dtype: Any = None) -> Any:
    return package.randn(*shape, dtype=dtype or package.float32).requires_grad_()


def gradients(loss: Any, *leaves: Any) -> tuple:
    loss.backward()
    return (loss.detach(), *[each.grad for each in leaves])


@program
def chain(f: Any) -> tuple:
    x = leaf(f, 5, 33)
    return gradients(((x * 2 + 1).tanh() - x.exp() / 3).abs().sum(), x)


@program
def chain_float64(f: Any) -> tuple:
    x = leaf(f, 5, 33, dtype=f.float64)
    return gradients(((x * 2 + 1).tanh() - x.exp() / 3).abs().sum(), x)


@program
def chain_bfloat16(f: Any) -> tuple:
    x = leaf(f, 5, 33).detach().bfloat16().requires_grad_()
    return gradients((x * 1.3 + 0.1).sigmoid().sum(), x)


@program
def chain_float16(f: Any) -> tuple:
    x = leaf(f, 5, 33).detach().half().requires_grad_()
    return gradients((x * 1.3 + 0.1).sigmoid().mean(), x)


@program
def complex_numbers(f: Any) -> tuple:
    x = f.randn(7, 5, dtype=f.complex64)
    return x * x + 2, x.conj().real, (x @ x.transpose(0, 1)).abs()


@program
def integers(f: Any) -> tuple:
    x = f.arange(-20, 20)
    return x // 3, x % 7, x * x, (x > 0) & (x < 9), x.sum(), x.to(f.int8) * 3, ~x


@program
def broadcasting(f: Any) -> tuple:
    a, b, c = leaf(f, 4, 1, 6), leaf(f, 3, 1), leaf(f, 1)
    return gradients((a * b + c / (b * b + 1)).sum(), a, b, c)


@program
def transposed_layouts(f: Any) -> tuple:
    x = leaf(f, 4, 6, 5, 7)
    y = x.permute(3, 1, 0, 2) * 2 + x.permute(3, 1, 0, 2).contiguous()
    return gradients(y.reshape(42, 20).exp().sum(0).prod(), x)


@program
def sums_over_every_axis(f: Any) -> tuple:
    x = f.randn(4, 6, 5, 70)
    axes = [(0,), (1,), (2,), (3,), (0, 2), (1, 3), (0, 2, 3), (0, 1, 2, 3)]
    return tuple(x.sum(each) for each in axes) + tuple(x.permute(0, 2, 3, 1).sum(each) for each in axes)


@program
def long_sums(f: Any) -> tuple:
    x = f.randn(3, 50_000)
    return x.sum(), x.sum(1), x.t().sum(0), x.t().contiguous().sum(0), x.mean(), x.var(1), x.amax(1), x.argmax(1)


@program
def extrema(f: Any) -> tuple:
    x = leaf(f, 6, 40)
    values, indices = x.max(1)
    return (indices, *gradients(values.sum() + x.amin(0).sum() + f.maximum(x, -x).sum(), x))


@program
def softmaxes(f: Any) -> tuple:
    x = leaf(f, 6, 10, 9)
    return gradients((f.softmax(x, -1) * f.log_softmax(x, 1)).sum() + x.logsumexp(0).sum(), x)


@program
def matrix_products(f: Any) -> tuple:
    a, b, c = leaf(f, 37, 65), leaf(f, 65, 50), leaf(f, 3, 50, 21)
    return gradients((a @ b).sigmoid().sum() + (b @ c).square().mean(), a, b, c)


@program
def linear_layers(f: Any) -> tuple:
    x, w, b = leaf(f, 32, 20), leaf(f, 17, 20), leaf(f, 17)
    return gradients(f.nn.functional.linear(x, w, b).relu().sum(), x, w, b)


@program
def convolutions(f: Any) -> tuple:
    x, w, b = leaf(f, 2, 6, 11, 12), leaf(f, 8, 3, 3, 3), leaf(f, 8)
    return gradients(f.convolution(x, w, b, (2, 1), (1, 1), (1, 2), False, (0, 0), 2).square().sum(), x, w, b)


@program
def convolutions_channels_last(f: Any) -> tuple:
    x = f.randn(2, 6, 11, 12).contiguous(memory_format=f.channels_last).requires_grad_()
    w = leaf(f, 8, 6, 3, 3)
    return gradients(f.convolution(x, w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1).square().sum(), x, w)


@program
def transposed_convolutions(f: Any) -> tuple:
    x, w, b = leaf(f, 2, 6, 5, 7), leaf(f, 6, 4, 3, 3), leaf(f, 4)
    return gradients(f.convolution(x, w, b, (2, 2), (1, 1), (1, 1), True, (1, 0), 1).square().sum(), x, w, b)


@program
def norms(f: Any) -> tuple:
    x, w, b = leaf(f, 4, 6, 7, 9), leaf(f, 6), leaf(f, 6)
    mean, var = f.zeros(6), f.ones(6)
    loss = f.group_norm(x, 3, w, b).relu().sum() + f.batch_norm(x, w, b, mean, var, True, 0.1, 1e-5, False).square().mean()
    return (*gradients(loss + f.layer_norm(x, (7, 9)).exp().mean(), x, w, b), mean, var)


@program
def pools(f: Any) -> tuple:
    x = leaf(f, 2, 3, 9, 10)
    F = f.nn.functional
    return gradients(F.max_pool2d(x, 3, 2, 1).sum() + F.avg_pool2d(x, 2).square().sum() + F.adaptive_avg_pool2d(x, (4, 5)).exp().sum(), x)


@program
def losses(f: Any) -> tuple:
    x = leaf(f, 12, 7)
    target = f.randint(0, 7, (12,))
    F = f.nn.functional
    return gradients(
        F.cross_entropy(x, target, label_smoothing=0.1) + F.mse_loss(x, x.detach() * 2) + F.smooth_l1_loss(x, x.detach() + 1), x
    )


@program
def gathers_and_scatters(f: Any) -> tuple:
    x, y = leaf(f, 6, 9), leaf(f, 6, 9)
    index = f.randint(0, 6, (6, 9))
    out = x.scatter_add(0, index, y) + x.gather(0, index) * f.zeros(6, 9).scatter(0, index, y)
    return gradients(out.square().sum() + x.index_select(1, index[:, 0]).sum(), x, y)


@program
def indexing(f: Any) -> tuple:
    x = leaf(f, 6, 9)
    y = x * 1
    y[1:3, ::2] = y[3:5, ::2] * 2
    y[f.tensor([0, 5])] = 0.5
    return gradients((y[y > 0].sum() + y[:, f.tensor([1, 1, 2])].square().sum()), x)


@program
def views_written_through(f: Any) -> tuple:
    x = leaf(f, 4, 5)
    y = x * 1
    y[0].mul_(x[1])
    y.t()[2].add_(3)
    z = y.view(2, 2, 5).select(1, 1)
    z.exp_()
    return (y.detach(), *gradients(y.square().sum(), x))


@program
def joins(f: Any) -> tuple:
    x, y = leaf(f, 3, 4), leaf(f, 2, 4)
    z = f.cat([x, y * 2, x])
    return gradients((f.stack([z, z.flip(0)], 1).cumsum(0) * f.nn.functional.pad(z, (1, 2), value=0.5)[:, None, :4]).sum(), x, y)


@program
def embeddings(f: Any) -> tuple:
    table = leaf(f, 11, 6)
    return gradients(f.embedding(table, f.randint(0, 11, (4, 5))).tanh().sum(), table)


@program
def dropouts(f: Any) -> tuple:
    x = leaf(f, 40, 30)
    return gradients(f.nn.functional.gelu(f.dropout(x, 0.3, True)).sum(), x)


@program
def attention(f: Any) -> tuple:
    q, k, v = leaf(f, 2, 4, 90, 12), leaf(f, 2, 2, 40, 12), leaf(f, 2, 2, 40, 20)
    attend = f.nn.functional.scaled_dot_product_attention
    causal, masked = attend(q, k, v, is_causal=True, enable_gqa=True), attend(q, k, v, q.detach()[:1, :, :, :1] > 0, enable_gqa=True)
    return gradients((causal * causal).sum() + masked.sum(), q, k, v)


@program
def attention_bfloat16(f: Any) -> tuple:
    q, k, v = (leaf(f, 3, 300, 16).detach().bfloat16().requires_grad_() for _ in range(3))
    return gradients(f.nn.functional.scaled_dot_product_attention(q, k, v, k.detach()[:, :, 0].unsqueeze(1)).sum(), q, k, v)


@program
def windows_and_borders_summed_up(f: Any) -> tuple:
    """The gradient that comes back is one number, expanded."""
    functional = f.nn.functional
    x, one = leaf(f, 2, 3, 9), f.full((1, 1, 1), 3.0) * 2
    pads = [functional.pad(x, (3, 2), mode=mode).sum() for mode in ("constant", "reflect", "replicate", "circular")]
    pools = functional.avg_pool1d(x, 3, 2, 1).sum() + functional.avg_pool1d(one, 3, padding=1).sum()
    return (*gradients(sum(pads), x), *gradients(pools * 2, x))


@program
def double_backward(f: Any) -> tuple:
    x, w = leaf(f, 5, 6), leaf(f, 6, 4)
    loss = (x @ w).tanh().square().sum()
    (first,) = f.autograd.grad(loss, x, create_graph=True)
    return gradients(first.square().sum(), x, w)


@program
def einsums(f: Any) -> tuple:
    a, b = leaf(f, 3, 4, 5), leaf(f, 5, 4, 2)
    return gradients(f.einsum("ijk,kjl->il", a, b).square().sum(), a, b)


@program
def training(f: Any) -> tuple:
    nn = f.nn
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 10))
    optimizer = f.optim.AdamW(net.parameters(), lr=1e-2)
    x, target = f.randn(8, 1, 8, 8), f.randint(0, 10, (8,))
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return (*losses, *[parameter.detach() for parameter in net.parameters()])


@program
def transformer(f: Any) -> tuple:
    nn, functional = f.nn, f.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(48), nn.LayerNorm(48)
            self.attend, self.project = nn.Linear(48, 144), nn.Linear(48, 48)
            self.mlp = nn.Sequential(nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48))

        def forward(self, x: Any) -> Any:
            q, k, v = (part.view(3, 14, 2, 24).transpose(1, 2) for part in self.attend(self.norm1(x)).split(48, dim=2))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.project(y.transpose(1, 2).reshape(3, 14, 48))
            return x + self.mlp(self.norm2(x))

    tokens, places, head = nn.Embedding(20, 48), nn.Embedding(14, 48), nn.Linear(48, 20, bias=False)
    blocks, norm, words = nn.Sequential(Block(), Block(), Block()), nn.LayerNorm(48), f.randint(0, 20, (3, 14))
    scores = head(norm(blocks(tokens(words) + places(f.arange(14)))))
    loss = functional.cross_entropy(scores.flatten(0, 1), words.flatten())
    return gradients(loss, *blocks.parameters(), *tokens.parameters(), *head.parameters())


@program
def recurrent_lstm(f: Any) -> tuple:
    layer, x = f.nn.LSTM(5, 19, num_layers=2, bidirectional=True), leaf(f, 4, 3, 5)
    output, (hidden, cell) = layer(x)
    return gradients((output * output).sum() + hidden.sum() + (cell * hidden).sum(), x, *layer.parameters())


@program
def recurrent_gru_of_several_lengths(f: Any) -> tuple:
    layer, x = f.nn.GRU(5, 16, bidirectional=True, bias=False), leaf(f, 4, 9, 5)
    packed = f.nn.utils.rnn.pack_padded_sequence(x, f.tensor([4, 4, 3, 3, 3, 2, 1, 1, 1]))
    output, hidden = layer(packed)
    return gradients((output.data * output.data).sum() + hidden.sum(), x, *layer.parameters())


@program
def recurrent_relu_float16(f: Any) -> tuple:
    layer, x = f.nn.RNN(5, 7, nonlinearity="relu").half(), leaf(f, 4, 3, 5).detach().half().requires_grad_()
    return gradients(layer(x)[0].sum(), x, *layer.parameters())
