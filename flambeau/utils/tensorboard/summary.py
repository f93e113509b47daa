"""Summaries, one function for each kind: what ``SummaryWriter`` and ``FileWriter.add_summary`` write.

Each returns an encoded ``Summary`` message with the fields that PyTorch 2.13 writes, as TensorBoard reads them. Functions
named ``check_*`` raise what the others would, without looking at an element.
"""

from __future__ import annotations

import json
import numbers

import numpy as np

from flambeau.utils.tensorboard import _media as media
from flambeau.utils.tensorboard import _messages as messages
from flambeau.utils.tensorboard import _wire as wire
from flambeau.utils.tensorboard._convert import array, dtype_name, is_array, is_tensor, shape, size
from flambeau.utils.tensorboard._convert import scalar as checked_scalar
from flambeau.utils.tensorboard._messages import Summary, value
from flambeau.utils.tensorboard._records import VALUE_SIMPLE

_VALUE_IMAGE, _VALUE_HISTOGRAM, _VALUE_AUDIO = 4, 5, 6


def scalar(name: str, tensor, collections=None, new_style: bool = False, double_precision: bool = False) -> Summary:
    """One number: as ``simple_value``, or with ``new_style`` as a tensor of float32 or, if asked for, float64."""
    number = float(array(checked_scalar(tensor)).item())
    if not new_style:
        return Summary(value(name, wire.float32(VALUE_SIMPLE, number)))
    if double_precision:
        content = messages.tensor(messages.DT_DOUBLE, wire.float64s(messages.DOUBLE_VALUES, [number]), None)
    else:
        content = messages.tensor(messages.DT_FLOAT, wire.float32s(messages.FLOAT_VALUES, [number]), None)
    return Summary(value(name, content, "scalars"))


def _content(field: int, elements: np.ndarray) -> bytes:
    return wire.data(field, elements.tobytes())


# dtype name -> TensorProto's dtype, the field of its elements, how they are encoded, and the NumPy dtype to encode from.
# TensorBoard decodes every one of these: half precision travels as its bits; bfloat16, which TensorBoard cannot decode
# in any form, as the same numbers in float32.
_TENSOR_FIELDS = {
    "float16": (messages.DT_HALF, messages.HALF_VALUES, wire.integers, np.uint16),
    "bfloat16": (messages.DT_FLOAT, messages.FLOAT_VALUES, wire.float32s, np.float32),
    "float32": (messages.DT_FLOAT, messages.FLOAT_VALUES, wire.float32s, np.float32),
    "float64": (messages.DT_DOUBLE, messages.DOUBLE_VALUES, wire.float64s, np.float64),
    "int8": (messages.DT_INT8, messages.INT_VALUES, wire.integers, np.int8),
    "uint8": (messages.DT_UINT8, messages.INT_VALUES, wire.integers, np.uint8),
    "int16": (messages.DT_INT16, messages.INT_VALUES, wire.integers, np.int16),
    "uint16": (messages.DT_UINT16, messages.INT_VALUES, wire.integers, np.uint16),
    "int32": (messages.DT_INT32, messages.INT_VALUES, wire.integers, np.int32),
    "uint32": (messages.DT_UINT32, messages.TENSOR_CONTENT, _content, np.uint32),
    "int64": (messages.DT_INT64, messages.INT64_VALUES, wire.integers, np.int64),
    "uint64": (messages.DT_UINT64, messages.TENSOR_CONTENT, _content, np.uint64),
    "bool": (messages.DT_BOOL, messages.BOOL_VALUES, wire.integers, np.bool_),
    "complex64": (messages.DT_COMPLEX64, messages.COMPLEX_VALUES, wire.float32s, np.float32),
    "complex128": (messages.DT_COMPLEX128, messages.DOUBLE_COMPLEX_VALUES, wire.float64s, np.float64),
}


def check_tensor(tag: str, tensor) -> None:
    name = dtype_name(tensor)
    if name not in _TENSOR_FIELDS:
        raise ValueError(f"{tag} has dtype {tensor.dtype}, which a tensor summary cannot hold")
    itemsize = np.dtype(_TENSOR_FIELDS[name][3]).itemsize * (2 if name.startswith("complex") else 1)
    if size(tensor) * itemsize >= 1 << 31:
        raise ValueError(f"{tag} of shape {tuple(tensor.shape)} takes 2 GiB or more, the limit of a protocol buffer")


def tensor_proto(tag: str, tensor) -> Summary:
    """A whole tensor. Raises ValueError for a dtype that has no encoding, and from 2 GiB on."""
    check_tensor(tag, tensor)
    dtype, field, encode, element = _TENSOR_FIELDS[dtype_name(tensor)]
    elements = np.ascontiguousarray(array(tensor)).reshape(-1)
    if elements.dtype != element:  # the same bits in another way: half precision as integers, complex numbers as pairs
        elements = elements.view(element)
    content = messages.tensor(dtype, encode(field, elements) if size(tensor) else b"", tuple(tensor.shape))
    return Summary(value(tag, content, "tensor"))


def check_histogram(values, bins="tensorflow", max_bins: int | None = None) -> None:
    if not (isinstance(bins, str) and bins == "tensorflow"):
        np.histogram([0.0], bins)  # knows which names, numbers and edges it takes
    if max_bins is not None and max_bins < 1:
        raise ValueError(f"max_bins must be at least 1, got {max_bins}")
    if is_array(values) and getattr(values.dtype, "kind", "f") not in "biufc":
        raise ValueError(f"a histogram is made of numbers, got an array of dtype {values.dtype}")
    if not is_array(values) and not np.isscalar(values):
        raise NotImplementedError(f"a histogram is made of a tensor, an array or a number, got {type(values).__name__}")
    if is_array(values) and size(values) == 0:
        raise ValueError(f"a histogram needs an element, got an input of shape {tuple(values.shape)}")


def histogram(name: str, values, bins, max_bins: int | None = None) -> Summary:
    """How many elements lie between each two ``bins``, or as many as ``numpy.histogram`` makes of a number or name.

    Empty bins at both ends are left out, save one in front. With ``max_bins``, neighbours are merged. NaN and infinities lie
    in no bin; ValueError is raised if nothing does.
    """
    check_histogram(values)
    given = array(values).reshape(-1)
    values = given.astype(np.float64)
    # Between edges elements are counted by sorting them, which takes two thirds of the time in single precision and gives the same order.
    is_sorted_alike = given.dtype == np.float32 and np.ndim(bins) == 1
    counts, limits = np.histogram(given if is_sorted_alike else values, bins)
    if max_bins is not None and len(counts) > max_bins:
        together = len(counts) // max_bins
        counts = np.pad(counts, (0, -len(counts) % together)).reshape(-1, together).sum(axis=1)
        limits = np.append(limits[:-1:together], limits[-1])
    used = np.flatnonzero(counts)
    if len(used) == 0:
        raise ValueError(f"none of the {len(values)} elements lies in a bin: they are NaN, infinite, or beyond the outermost edges")
    first, last = int(used[0]), int(used[-1])
    counts = counts[first - 1 : last + 1] if first > 0 else np.append(0, counts[: last + 1])
    with np.errstate(over="ignore", invalid="ignore"):
        total, squares = values.sum(), values.dot(values)
    return histogram_raw(name, values.min(), values.max(), len(values), total, squares, limits[first : last + 2], counts)


def histogram_raw(name: str, min, max, num, sum, sum_squares, bucket_limits, bucket_counts) -> Summary:
    """A histogram that was counted elsewhere: ``bucket_counts[i]`` elements lie below ``bucket_limits[i]``, and not in earlier bins."""
    fields = [wire.float64(field, float(number)) for field, number in enumerate((min, max, num, sum, sum_squares), 1)]
    histogram = b"".join((*fields, wire.float64s(6, _array_like(bucket_limits)), wire.float64s(7, _array_like(bucket_counts))))
    return Summary(value(name, wire.data(_VALUE_HISTOGRAM, histogram)))


def _array_like(values) -> np.ndarray:
    """As ``array``, and lists."""
    return array(values) if is_array(values) else np.asarray(values)


def _image_value(tag: str, encoded: bytes, height: int, width: int, channels: int) -> Summary:
    fields = wire.integer(1, height) + wire.integer(2, width) + wire.integer(3, channels) + wire.data(4, encoded)
    return Summary(value(tag, wire.data(_VALUE_IMAGE, fields)))


def image(tag: str, tensor, rescale: float = 1, dataformats: str = "NCHW") -> Summary:
    """An image, or a batch of them as a grid, as PNG. Floats are in [0, 1], uint8 in [0, 255]."""
    pixels = media.to_bytes(media.to_hwc(array(tensor), dataformats))
    return _image_value(tag, media.png(media.scale(pixels, rescale)), *pixels.shape)


def image_boxes(tag: str, tensor_image, tensor_boxes, rescale: float = 1, dataformats: str = "CHW", labels=None) -> Summary:
    """An image with a red frame for each row ``(xmin, ymin, xmax, ymax)`` of ``tensor_boxes``."""
    pixels = media.to_bytes(media.to_hwc(array(tensor_image), dataformats))
    drawn = media.draw_boxes(pixels, array(tensor_boxes), labels)
    return _image_value(tag, media.png(media.scale(drawn, rescale)), *pixels.shape)


def video(tag: str, tensor, fps: float = 4) -> Summary:
    """``(N, T, C, H, W)`` videos side by side, as an animated GIF."""
    frames = media.video_frames(array(tensor))
    return _image_value(tag, media.gif(frames, fps), *frames.shape[1:])


def audio(tag: str, tensor, sample_rate: int = 44100) -> Summary:
    """A mono sound with samples in [-1, 1], as 16-bit WAV."""
    samples = array(tensor)
    media.check_sound(samples.shape)
    samples = samples.reshape(-1)
    fields = (
        wire.float32(1, sample_rate),
        wire.integer(2, 1),
        wire.integer(3, len(samples)),
        wire.data(4, media.wav(samples, sample_rate)),
        wire.text(5, "audio/wav"),
    )
    return Summary(value(tag, wire.data(_VALUE_AUDIO, b"".join(fields))))


def text(tag: str, text: str) -> Summary:
    """A string, which TensorBoard shows as Markdown."""
    content = messages.tensor(messages.DT_STRING, wire.text(messages.STRING_VALUES, text), [1])
    return Summary(value(f"{tag}/text_summary", content, "text"))


def custom_scalars(layout: dict) -> Summary:
    """Charts of several scalars: ``{category: {title: [kind, tags]}}``; a ``"Margin"`` chart has the tags of value, lower and
    upper, any other is a line for each tag (in fact, for each tag that a regular expression in ``tags`` matches)."""
    categories = []
    for title, charts in layout.items():
        encoded = []
        for chart_title, (kind, tags, *_) in charts.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise AssertionError(f"a margin chart needs 3 tags (value, lower, upper), {chart_title!r} has {len(tags)}: {tags}")
                series = b"".join(wire.text(field, tag) for field, tag in enumerate(tags, 1))
                content = wire.data(3, wire.data(1, series))
            else:
                content = wire.data(2, b"".join(wire.text(1, tag) for tag in tags))
            encoded.append(wire.text(1, chart_title) + content)
        categories.append(wire.text(1, title) + wire.repeated(2, encoded))
    content = messages.tensor(messages.DT_STRING, wire.data(messages.STRING_VALUES, wire.repeated(2, categories)), ())
    return Summary(value("custom_scalars__config__", content, "custom_scalars"))


def compute_curve(labels: np.ndarray, predictions: np.ndarray, num_thresholds: int, weights=None) -> np.ndarray:
    """Rows of true and false positives, true and false negatives, precision and recall, at ``num_thresholds`` thresholds
    evenly spaced in [0, 1]."""
    buckets = np.floor(predictions * (num_thresholds - 1)).astype(np.int32)
    positive = labels.astype(np.float64)
    weights = 1.0 if weights is None else weights
    limits = (0, num_thresholds - 1)
    hits = np.histogram(buckets, num_thresholds, limits, weights=positive * weights)[0]
    misses = np.histogram(buckets, num_thresholds, limits, weights=(1.0 - positive) * weights)[0]
    true_positives, false_positives = hits[::-1].cumsum()[::-1], misses[::-1].cumsum()[::-1]
    true_negatives, false_negatives = false_positives[0] - false_positives, true_positives[0] - true_positives
    smallest = 1e-7  # instead of a division by zero
    precision = true_positives / np.maximum(smallest, true_positives + false_positives)
    recall = true_positives / np.maximum(smallest, true_positives + false_negatives)
    return np.stack((true_positives, false_positives, true_negatives, false_negatives, precision, recall))


def pr_curve(tag: str, labels, predictions, num_thresholds: int = 127, weights=None) -> Summary:
    """Precision and recall of ``predictions`` in [0, 1] against binary ``labels``."""
    num_thresholds = min(num_thresholds, 127)
    weights = _array_like(weights) if weights is not None else None
    return _pr_curve(tag, compute_curve(array(labels), array(predictions), num_thresholds, weights), num_thresholds)


def pr_curve_raw(tag: str, tp, fp, tn, fn, precision, recall, num_thresholds: int = 127, weights=None) -> Summary:
    """Precision and recall that were computed elsewhere, one element for each threshold."""
    rows = np.stack([_array_like(row) for row in (tp, fp, tn, fn, precision, recall)])
    return _pr_curve(tag, rows, min(num_thresholds, 127))


def _pr_curve(tag: str, rows: np.ndarray, num_thresholds: int) -> Summary:
    content = messages.tensor(messages.DT_FLOAT, wire.float32s(messages.FLOAT_VALUES, rows.reshape(-1)), rows.shape[:2])
    return Summary(value(tag, content, "pr_curves", wire.integer(2, num_thresholds)))


_MESH_PARTS = (("VERTEX", 1), ("FACE", 2), ("COLOR", 3))


def check_curve(num_thresholds: int) -> None:
    if num_thresholds < 1:
        raise ValueError(f"num_thresholds must be at least 1, got {num_thresholds}")


def check_mesh(vertices, colors, faces) -> None:
    for name, part in (("vertices", vertices), ("colors", colors), ("faces", faces)):
        if part is not None and len(shape(part)) != 3:
            raise ValueError(f"{name} must have shape (B, N, 3), got {shape(part)}")


def mesh_config(config_dict: dict | None) -> str:
    """What three.js is told, as JSON. Raises TypeError for what JSON has no form for."""
    return "{}" if config_dict is None else json.dumps(config_dict, sort_keys=True)


def mesh(tag: str, vertices, colors, faces, config_dict: dict | str | None, display_name=None, description=None) -> Summary:
    """A mesh or, without ``faces``, a point cloud; all parts have shape ``(B, N, 3)``.

    ``config_dict`` is for three.js; it may be encoded already, see :func:`mesh_config`.
    """
    check_mesh(vertices, colors, faces)
    config = config_dict if isinstance(config_dict, str) else mesh_config(config_dict)
    arrays = {"VERTEX": vertices, "FACE": faces, "COLOR": colors}
    parts = [(name, kind, _array_like(arrays[name])) for name, kind in _MESH_PARTS if arrays[name] is not None]
    components = sum(1 << kind for _, kind, _ in parts)
    values = []
    for name, kind, part in parts:
        plugin_data = (
            wire.text(2, tag) + wire.integer(3, kind) + wire.text(5, config) + wire.integers(6, part.shape) + wire.integer(7, components)
        )
        content = messages.tensor(messages.DT_FLOAT, wire.float32s(messages.FLOAT_VALUES, part.reshape(-1)), part.shape)
        values.append(value(f"{tag}_{name}", content, "mesh", plugin_data, display_name or "", description or ""))
    return Summary(b"".join(values))


_HPARAM_STRING, _HPARAM_FLOAT64 = 1, 3
_STATUS_SUCCESS = 1


def _hparam_value(number_or_string) -> bytes:
    """A ``google.protobuf.Value``."""
    if isinstance(number_or_string, str):
        return wire.text(3, number_or_string)
    return wire.float64(2, float(number_or_string))


def hparams(hparam_dict: dict, metric_dict: dict, hparam_domain_discrete: dict | None = None) -> tuple[Summary, Summary, Summary]:
    """The three summaries of TensorBoard's HParams page: the experiment, the start of a session with its values, its end.

    Values may be numbers, booleans (written as numbers), strings, tensors of one element, or None (left out). For each name
    in ``hparam_domain_discrete``, the list of values that it can have.
    """
    for name, argument in (("hparam_dict", hparam_dict), ("metric_dict", metric_dict)):
        if not isinstance(argument, dict):
            raise TypeError(f"{name} must be a dictionary, got {type(argument).__name__}; nothing was logged")
    domains = hparam_domain_discrete or {}
    if not isinstance(domains, dict):
        raise TypeError(f"hparam_domain_discrete must be a dictionary, got {type(domains).__name__}; nothing was logged")
    for name, domain in domains.items():
        same_type = name in hparam_dict and isinstance(domain, list)
        if not same_type or not all(isinstance(item, type(hparam_dict[name])) for item in domain):
            raise TypeError(f"hparam_domain_discrete[{name!r}] must be a list of values of the type of hparam_dict[{name!r}]")

    infos, values = [], []
    for name, setting in hparam_dict.items():
        if setting is None:
            continue
        if is_tensor(setting) or isinstance(setting, np.ndarray):
            setting = float(array(checked_scalar(setting)).item())
        elif not isinstance(setting, (str, numbers.Real, np.bool_)):
            raise ValueError(f"hyperparameter {name!r} must be an int, float, str, bool or tensor, got {type(setting).__name__}")
        kind = _HPARAM_STRING if isinstance(setting, str) else _HPARAM_FLOAT64
        domain = b""
        if name in domains:
            domain = wire.data(5, wire.repeated(1, [_hparam_value(item) for item in domains[name]]))
        infos.append(wire.text(1, name) + wire.integer(4, kind) + domain)
        values.append(wire.text(1, name) + wire.data(2, _hparam_value(setting)))

    metrics = [wire.data(1, wire.text(2, name)) for name in metric_dict]
    contents = {
        "_hparams_/experiment": wire.data(2, wire.repeated(4, infos) + wire.repeated(5, metrics)),
        "_hparams_/session_start_info": wire.data(3, wire.repeated(1, values)),
        "_hparams_/session_end_info": wire.data(4, wire.integer(1, _STATUS_SUCCESS)),
    }
    experiment, start, end = [Summary(value(tag, b"", "hparams", content)) for tag, content in contents.items()]
    return experiment, start, end
