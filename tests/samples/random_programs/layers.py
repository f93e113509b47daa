"""Lines that call what networks are made of, on images of one to three dimensions and on rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.samples.random_programs.inputs import FLOATS

if TYPE_CHECKING:
    from tests.samples.random_programs.writer import Writer

ACTIVATIONS = ["relu", "gelu", "silu", "softplus", "leaky_relu", "sigmoid", "tanh", "elu", "hardswish"]
LOSSES = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "soft_margin_loss", "kl_div"]


def _floats(least: int, most: int) -> Callable[[Any], bool]:
    return lambda each: each.is_floating_point() and least <= each.dim() <= most


def _images(w: Writer, least: int = 3, most: int = 5) -> tuple[str, tuple[int, ...], str]:
    """Images, sometimes with their channels last: an expression, its shape and its dtype."""
    x = w.pick(_floats(least, most))
    if not _floats(least, most)(w.look(x)):
        dtypes = [dtype for dtype in w.dtypes if dtype in FLOATS]
        x = w.fresh(w.image(w.random.randint(least, most)), w.random.choice(dtypes or FLOATS))
    tensor = w.look(x)
    if tensor.dim() == 4 and w.random.random() < 0.2:
        x = f"{x}.to(memory_format=torch.channels_last)"
    return x, tuple(tensor.shape), str(tensor.dtype)[6:]


def _each(w: Writer, count: int, low: int, high: int) -> str:
    """A number for all of so many dimensions, or one for each."""
    if w.random.random() < 0.5:
        return str(w.random.randint(low, high))
    return str(tuple(w.random.randint(low, high) for _ in range(count)))


def _divisor(w: Writer, number: int) -> int:
    return w.random.choice([each for each in range(1, number + 1) if number % each == 0] or [1])


def _perhaps(w: Writer, shape: tuple[int, ...], dtype: str) -> str:
    return w.wanted(shape, dtype) if w.random.random() < 0.6 else "None"


def _convolution(w: Writer) -> str:
    x, (_, channels, *sizes), dtype = _images(w)
    groups = _divisor(w, channels) if w.random.random() < 0.4 else 1
    kernel = tuple(w.random.choice([1, 2, 3, 3, 5]) for _ in sizes)
    out = groups * w.random.choice([1, 2, 3, 8, 17])
    weight = w.wanted((out, channels // groups, *kernel), dtype)
    count = len(sizes)
    padding = w.random.choice([_each(w, count, 0, 2), _each(w, count, 0, 2), "'same'", "'valid'"])
    stride = "1" if padding == "'same'" else _each(w, count, 1, 2)
    bias = _perhaps(w, (out,), dtype)
    return f"F.conv{count}d({x}, {weight}, {bias}, {stride}, {padding}, {_each(w, count, 1, 2)}, {groups})"


def _transposed(w: Writer) -> str:
    x, (_, channels, *sizes), dtype = _images(w)
    groups = _divisor(w, channels) if w.random.random() < 0.4 else 1
    kernel = tuple(w.random.choice([1, 2, 3, 4]) for _ in sizes)
    out = w.random.choice([1, 2, 3, 8])
    weight = w.wanted((channels, out, *kernel), dtype)
    count = len(sizes)
    bias = _perhaps(w, (groups * out,), dtype)
    places = f"{_each(w, count, 1, 2)}, {_each(w, count, 0, 1)}, {_each(w, count, 0, 1)}, {groups}, {_each(w, count, 1, 2)}"
    return f"F.conv_transpose{count}d({x}, {weight}, {bias}, {places})"


def _normalised(w: Writer) -> str:
    x, shape, dtype = _images(w, 2, 5)
    channels = shape[1]
    last = shape[-w.random.randint(1, 2) :]
    each = f"{_perhaps(w, (channels,), dtype)}, {_perhaps(w, (channels,), dtype)}"
    statistics = f"{w.fresh((channels,), dtype)}, {w.fresh((channels,), dtype)}.abs()"
    return w.random.choice(
        [
            f"F.group_norm({x}, {_divisor(w, channels)}, {each})",
            f"F.group_norm({x}, {_divisor(w, channels)}, {each})",
            f"F.batch_norm({x}, None, None, {each}, True)",
            f"F.batch_norm({x}, {statistics}, {each}, {w.random.random() < 0.5})",
            f"F.layer_norm({x}, {last}, {_perhaps(w, last, dtype)}, {_perhaps(w, last, dtype)})",
            f"F.layer_norm({x}, {last}, {_perhaps(w, last, dtype)}, {_perhaps(w, last, dtype)})",
            f"F.rms_norm({x}, {last}, {_perhaps(w, last, dtype)})",
            f"F.instance_norm({x})" if len(shape) > 2 else f"F.normalize({x})",
            f"F.normalize({x}, dim={w.random.randrange(len(shape))})",
            f"F.local_response_norm({x}, 3)" if len(shape) > 2 else f"F.normalize({x}, 1.0)",
        ]
    )


def _pooled(w: Writer) -> str:
    x, (_, _, *sizes), _ = _images(w)
    count = len(sizes)
    kernel, stride, padding = _each(w, count, 1, 3), _each(w, count, 1, 3), w.random.choice(["0", "0", "1"])
    target = w.random.choice([str(w.random.randint(1, 4)), str(tuple(w.random.randint(1, 5) for _ in sizes))])
    return w.random.choice(
        [
            f"F.max_pool{count}d({x}, {kernel}, {stride}, {padding}, ceil_mode={w.random.random() < 0.3})",
            f"F.max_pool{count}d({x}, 3, 2, 1, dilation={_each(w, count, 1, 2)})",
            f"F.avg_pool{count}d({x}, {kernel}, {stride}, {padding}, {w.random.random() < 0.3}, {w.random.random() < 0.5})",
            f"F.adaptive_avg_pool{count}d({x}, {target})",
            f"F.adaptive_max_pool{count}d({x}, {target})",
            f"F.lp_pool{count}d({x}.abs() + 1, 2, {kernel})",
        ]
    )


def _resized(w: Writer) -> str:
    x, (images, channels, *sizes), dtype = _images(w)
    count = len(sizes)
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[count]
    mode = w.random.choice(["nearest", "nearest-exact", "area", linear, linear, *["bicubic"] * (count == 2)])
    corners = f", align_corners={w.random.random() < 0.5}" if mode in (linear, "bicubic") else ""
    to = w.random.choice(["scale_factor=2", "scale_factor=0.6", f"size={tuple(w.random.randint(1, 9) for _ in sizes)}"])
    borders = tuple(w.random.randint(0, 2) for _ in range(2 * count))
    ways = [
        f"F.interpolate({x}, {to}, mode={mode!r}{corners})",
        f"F.interpolate({x}, {to}, mode={mode!r}{corners})",
        f"F.pad({x}, {borders}, {w.random.choice(['reflect', 'replicate', 'circular'])!r})",
        f"F.pad({x}, {borders})",
    ]
    if count == 2:
        points = w.fresh((images, w.random.randint(1, 4), w.random.randint(1, 5), 2), dtype)
        where = f"{w.random.choice(['bilinear', 'nearest'])!r}, {w.random.choice(['zeros', 'border', 'reflection'])!r}"
        ways += [
            f"F.unfold({x}, {_each(w, 2, 1, 3)}, padding=1, stride={_each(w, 2, 1, 2)})",
            f"F.grid_sample({x}, {points}, {where}, align_corners={w.random.random() < 0.5})",
            f"F.pixel_unshuffle({x}, 2)" if sizes[0] % 2 == sizes[1] % 2 == 0 else f"F.pixel_shuffle({x}, 2)",
            f"F.channel_shuffle({x}, {_divisor(w, channels)})",
        ]
    return w.random.choice(ways)


def _attention(w: Writer) -> str:
    x = w.pick(_floats(3, 4))
    tensor = w.look(x)
    if tensor.dim() < 3:
        return f"F.softmax({x}, -1)"
    *batch, _, width = tuple(tensor.shape)
    dtype, keys = str(tensor.dtype)[6:], w.random.choice([1, 2, 5, 17, 33])
    key, value = w.wanted((*batch, keys, width), dtype), w.wanted((*batch, keys, w.random.choice([width, 3, 8])), dtype)
    how = w.random.choice(
        ["", ", is_causal=True", f", {w.fresh((tensor.shape[-2], keys), 'bool')}", f", {w.wanted((tensor.shape[-2], keys), dtype)}"]
    )
    return f"F.scaled_dot_product_attention({x}, {key}, {value}{how})"


def _rows(w: Writer) -> str:
    x = w.pick(_floats(2, 5))
    tensor = w.look(x)
    width, dtype, wide = (tuple(tensor.shape) or (1,))[-1], str(tensor.dtype)[6:], w.random.choice([1, 3, 8, 19, 64])
    bias = _perhaps(w, (wide,), dtype)
    return w.random.choice(
        [
            f"F.linear({x}, {w.wanted((wide, width), dtype)}, {bias})",
            f"F.linear({x}, {w.wanted((wide, width), dtype)}, {bias})",
            f"F.{w.random.choice(ACTIVATIONS)}(F.linear({x}, {w.wanted((wide, width), dtype)}, {bias}))",
            f"F.bilinear({x}, {w.fresh(tuple(tensor.shape), dtype)}, {w.wanted((wide, width, width), dtype)}, {bias})",
            f"F.embedding(places({w.random.randrange(1000)}, (2, 3), {max(wide, 1)}), {w.wanted((wide, 4), dtype)})",
            f"F.glu({x}, -1)",
            f"F.cosine_similarity({x}, {w.fresh(tuple(tensor.shape), dtype)}, -1)",
        ]
    )


def _activation(w: Writer) -> str:
    x = w.pick(_floats(1, 5))
    return f"F.{w.random.choice(ACTIVATIONS)}({x}) " + w.random.choice(["", f"+ {w.partner(x)}", f"* {w.partner(x)}"])


def _loss(w: Writer) -> str:
    x = w.pick(_floats(2, 4))
    tensor = w.look(x)
    shape, dtype = tuple(tensor.shape), str(tensor.dtype)[6:]
    reduction = f", reduction={w.random.choice(['mean', 'sum', 'none'])!r}"
    if len(shape) < 2 or w.random.random() < 0.5:
        return f"F.{w.random.choice(LOSSES)}({x}, {w.fresh(shape, dtype)}{reduction})"
    classes, rest = shape[1], (shape[0], *shape[2:])
    labels = f"places({w.random.randrange(1000)}, {rest}, {classes})"
    more = w.random.choice(["", "", ", label_smoothing=0.1", f", {w.fresh((classes,), dtype)}.abs()", ", ignore_index=0"])
    return w.random.choice(
        [
            f"F.cross_entropy({x}, {labels}{more}{reduction})",
            f"F.cross_entropy({x}, {w.fresh(shape, dtype)}.softmax(1){reduction})",
            f"F.nll_loss(F.log_softmax({x}, 1), {labels}{reduction})",
        ]
    )


def _recurrent(w: Writer) -> str:
    """Steps of a loop that reads its own result."""
    x = w.pick(_floats(2, 2))
    tensor = w.look(x)
    width, dtype = (tuple(tensor.shape) or (1,))[-1], str(tensor.dtype)[6:]
    steps = w.random.randint(1, 4)
    text = x
    weight = w.fresh((width, width), dtype)
    for _ in range(steps):
        text = f"torch.tanh({text} @ {weight} + {x})"
    return text


_KINDS: dict[Callable[[Writer], str], int] = {
    _convolution: 10, _transposed: 5, _normalised: 10, _pooled: 6, _resized: 5, _attention: 5, _rows: 8, _activation: 6, _loss: 4, _recurrent: 1,
}  # fmt: skip


def _layer(w: Writer) -> str:
    """A layer's result, sometimes computed under autocast."""
    kind = w.random.choices(list(_KINDS), list(_KINDS.values()))[0]
    cast = "with torch.autocast('cpu', torch.bfloat16): " if w.random.random() < 0.06 else ""
    text = kind(w)
    return f"{cast}{w.new()} = {text}"


def _large(w: Writer) -> str:
    """Something whose sums are long."""
    dtype = w.random.choice([dtype for dtype in w.dtypes if dtype in FLOATS] or FLOATS)
    rows, terms, columns = (w.random.choice([1, 3, 17, 64, 130]) for _ in range(3))
    return f"{w.new()} = F.linear({w.wanted((rows, terms), dtype)}, {w.wanted((columns, terms), dtype)}, {w.wanted((columns,), dtype)})"


LAYERS: dict[Callable[[Writer], str], int] = {_layer: 60, _large: 2}
"""What lines of programs with layers are beside those of all programs, and how often."""
