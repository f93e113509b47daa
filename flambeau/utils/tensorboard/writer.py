"""``SummaryWriter``: what a training loop calls to have things shown in TensorBoard.

The calls check their arguments, take snapshots, and queue (see ``_event_file``); encoding and writing happen elsewhere.
"""

from __future__ import annotations

import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

from flambeau.utils.tensorboard import _convert, _embedding, summary
from flambeau.utils.tensorboard import _media as media
from flambeau.utils.tensorboard import _storage as storage
from flambeau.utils.tensorboard._event_file import SOFT_LIMIT, EventFile, Later, tag_bytes
from flambeau.utils.tensorboard._file_writer import FileWriter
from flambeau.utils.tensorboard._graph import load_onnx_graph
from flambeau.utils.tensorboard._messages import Summary

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FileWriter", "SummaryWriter"]

_MAX_STEP = (1 << 63) - 1
_SERIES_CATEGORY = "add_scalars"
_now = time.time
_opening = RLock()  # held while writers are opened and closed, and layouts changed

# Directories whose own run has a session of hyperparameters; TensorBoard shows one a run.
_directories_with_session: set[str] = set()


def _default_bins() -> list[float]:
    positive = []
    edge = 1e-12
    while edge < 1e20:
        positive.append(edge)
        edge *= 1.1
    return [-edge for edge in reversed(positive)] + [0] + positive


_DEFAULT_BINS = _default_bins()


def _renew_lock() -> None:
    global _opening
    _opening = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class SummaryWriter:
    """Writes scalars, images, histograms and more to an event file in ``log_dir``, for TensorBoard to show.

    Calls take a few microseconds: they keep a snapshot of what they are given, which later changes in place do not reach, and
    a thread in the background encodes and writes it. What is pending when the program ends is written then. Any number of
    writers, threads and processes may share a directory; a forked child goes on in a file of its own, and so does a writer
    that is used after ``close`` or that was pickled.

    Args:
        log_dir: Directory of the event file, or an fsspec URL such as ``s3://bucket/run``. Default:
            ``runs/DATE_TIME_HOSTNAME``. Each directory is a run of its own in TensorBoard: ``runs/exp1``, ``runs/exp2``, ...
        comment: Appended to the default ``log_dir``; ignored if ``log_dir`` is given.
        purge_step: TensorBoard will hide what was logged to ``log_dir`` before with this step or a later one, as when
            training crashed and resumes there.
        max_queue: How many events with data of their own (images, histograms, ...) may wait to be encoded before a call
            waits for one. Numbers, and texts, wait by the thousand. 0 means any number.
        flush_secs: A local file lags behind by a quarter of a second; a remote one is uploaded so often.
        filename_suffix: Appended to the names of event files.
        subdirectories: Whether ``add_scalars`` and ``add_hparams`` make a run of their own, in a subdirectory, for each
            series and session, as PyTorch does. Default: ``add_scalars`` writes tags ``main_tag/tag`` and a chart, on the
            Custom Scalars page, that overlays them; the first ``add_hparams`` without a ``run_name`` belongs to this run.

    Example:
        >>> import tempfile
        >>> from flambeau.utils.tensorboard import SummaryReader
        >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
        ...     for step in range(3):
        ...         writer.add_scalar("loss", 1 / 2**step, step)
        >>> SummaryReader(writer.get_logdir()).scalars("loss").values.tolist()
        [1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        log_dir=None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
        *,
        subdirectories: bool = False,
    ) -> None:
        if not log_dir:
            log_dir = os.path.join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}{comment}")
        self.log_dir = log_dir
        self.purge_step = None if purge_step is None else _convert.step(purge_step)
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.subdirectories = subdirectories
        self.default_bins = list(_DEFAULT_BINS)
        self._layout: dict[str, dict[str, list]] = {}  # charts for the Custom Scalars page
        self._purged: set[str] = set()  # directories that purge_step was written to
        self._connect()
        self._get_file_writer()

    def _connect(self) -> None:
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self._events: EventFile | None = None  # of file_writer

    def __getstate__(self) -> dict:
        """All but the open files: a copy opens its own when it is first used."""
        connections = ("file_writer", "all_writers", "_events")
        return {name: value for name, value in self.__dict__.items() if name not in connections}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._connect()

    def _get_file_writer(self) -> FileWriter:
        """The writer of ``log_dir``, opened (again) if need be."""
        with _opening:
            if self.file_writer is None:
                self.file_writer = self._writer_of(os.fspath(self.log_dir))
                self._events = self.file_writer.event_writer
            return self.file_writer

    def _writer_of(self, directory: str) -> FileWriter:
        if self.all_writers is None:
            self.all_writers = {}
        if directory not in self.all_writers:
            self.all_writers[directory] = self._open(directory)
        return self.all_writers[directory]

    def _open(self, directory: str) -> FileWriter:
        """A new event file, which purges what is to be purged from its run, the first time."""
        purge_step = None if directory in self._purged else self.purge_step
        self._purged.add(directory)
        return FileWriter(directory, self.max_queue, self.flush_secs, self.filename_suffix, purge_step=purge_step)

    def get_logdir(self):
        """The directory of the event files, as it was given."""
        return self.log_dir

    def _put(self, tag: str, summary: Summary, step, walltime: float | None) -> None:
        """Queue what is encoded already."""
        tag_bytes[tag]
        events = self._events or self._get_file_writer().event_writer
        events.put(summary.payload, *_when(step, walltime))

    def _put_later(self, tag: str, step, walltime: float | None, encode: Callable[..., Summary], *values) -> None:
        """Queue ``encode(*values)``, which takes a while, with snapshots of the values."""
        tag_bytes[tag]
        snapshots = [None if value is None else _convert.snapshot(value) for value in values]
        events = self._events or self._get_file_writer().event_writer
        events.put_later(Later(tag, lambda: encode(*snapshots).payload, snapshots), *_when(step, walltime))

    def add_scalar(
        self,
        tag: str,
        scalar_value,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Log a number.

        Args:
            tag: Name of the series; what precedes a ``/`` groups them.
            scalar_value: A number, or a tensor or array of one element. A tensor is not computed by this call.
            global_step: x coordinate.
            walltime: Seconds since the epoch; default: now.
            new_style: Write it as a tensor, not as the classic float32 ``simple_value``.
            double_precision: With ``new_style``: as float64.

        Raises AssertionError unless there is one element, NotImplementedError for other types.
        """
        if new_style:
            self._put(tag, summary.scalar(tag, scalar_value, new_style=True, double_precision=double_precision), global_step, walltime)
            return
        if type(scalar_value) is not float:
            scalar_value = _convert.scalar(scalar_value)
        if type(global_step) is not int or not -_MAX_STEP <= global_step <= _MAX_STEP:
            global_step = 0 if global_step is None else _convert.step(global_step)
        events = self._events or self._get_file_writer().event_writer
        queue = events.queue
        queue.append((tag_bytes[tag], scalar_value, global_step, _now() if walltime is None else float(walltime)))
        if events.idle or len(queue) > SOFT_LIMIT:
            events.wake()

    def add_scalars(self, main_tag: str, tag_scalar_dict: dict[str, object], global_step: int | None = None, walltime=None) -> None:
        """Log several numbers to be seen in one chart.

        Each is a series ``main_tag/tag`` of this run, and the Custom Scalars page has a chart ``main_tag`` of them, beside
        those of ``add_custom_scalars``. With ``subdirectories=True`` each is a series ``main_tag`` of a run of its own.

        Args:
            main_tag: Name of the chart.
            tag_scalar_dict: Names of the series and their values, as ``add_scalar`` takes them.
        """
        walltime = _now() if walltime is None else float(walltime)
        if self.subdirectories:
            directory = self._get_file_writer().get_logdir()
            step = _convert.step(global_step or 0)
            for tag, scalar_value in tag_scalar_dict.items():
                with _opening:
                    events = self._writer_of(f"{directory}/{main_tag.replace('/', '_')}_{tag}").event_writer
                events.put_scalar(tag_bytes[main_tag], _convert.scalar(scalar_value), step, walltime)
            return
        for tag, scalar_value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{tag}", scalar_value, global_step, walltime)
        patterns = [f"^{re.escape(f'{main_tag}/{tag}')}$" for tag in tag_scalar_dict]
        _, known = self._layout.get(_SERIES_CATEGORY, {}).get(main_tag, ("Multiline", []))
        new = [pattern for pattern in patterns if pattern not in known]
        if new:
            self.add_custom_scalars({_SERIES_CATEGORY: {main_tag: ["Multiline", known + new]}})

    def add_tensor(self, tag: str, tensor, global_step: int | None = None, walltime: float | None = None) -> None:
        """Log a whole tensor, half precision and complex numbers too. Raises ValueError from 2 GiB on."""
        summary.check_tensor(tag, tensor)
        self._put_later(tag, global_step, walltime, partial(summary.tensor_proto, tag), tensor)

    def add_histogram(
        self,
        tag: str,
        values,
        global_step: int | None = None,
        bins="tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Log the distribution of all elements.

        Args:
            values: Tensor or array of any shape.
            bins: ``"tensorflow"`` (``default_bins``), or what ``numpy.histogram`` takes: a number, edges, or ``"auto"``,
                ``"fd"``, ...
            max_bins: Merge bins that there be at most about so many.

        Raises ValueError if there is no element, or for bins that ``numpy.histogram`` does not take. Elements that lie in no bin,
        such as NaN, are not counted; if none does, the histogram is not logged, and a warning says so.
        """
        summary.check_histogram(values, bins, max_bins)
        if isinstance(bins, str) and bins == "tensorflow":
            bins = self.default_bins
        self._put_later(tag, global_step, walltime, partial(summary.histogram, tag, bins=bins, max_bins=max_bins), values)

    def add_histogram_raw(
        self,
        tag: str,
        min,
        max,
        num,
        sum,
        sum_squares,
        bucket_limits,
        bucket_counts,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log a histogram that was counted elsewhere.

        Args:
            min, max, num, sum, sum_squares: Statistics of the elements.
            bucket_limits: Upper edge of each bin.
            bucket_counts: Number of elements in each bin.

        Raises ValueError unless ``bucket_limits`` and ``bucket_counts`` are equally long.
        """
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError(f"there are {len(bucket_limits)} bucket_limits but {len(bucket_counts)} bucket_counts")
        encoded = summary.histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._put(tag, encoded, global_step, walltime)

    def add_image(
        self, tag: str, img_tensor, global_step: int | None = None, walltime: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """Log an image: floats in [0, 1] or uint8 in [0, 255], with 1 (grey), 3 (RGB) or 4 (RGBA) channels.

        Args:
            img_tensor: Shape ``(C, H, W)``, or as ``dataformats`` says.
            dataformats: Names of the dimensions in their order: ``CHW``, ``HWC``, ``HW``, ``WH``, ``NCHW``, ...
        """
        media.check_image(_convert.shape(img_tensor), dataformats)
        self._put_later(tag, global_step, walltime, partial(summary.image, tag, dataformats=dataformats), img_tensor)

    def add_images(
        self, tag: str, img_tensor, global_step: int | None = None, walltime: float | None = None, dataformats: str = "NCHW"
    ) -> None:
        """Log a batch of images as one, eight to a row: ``(N, C, H, W)``, or as ``dataformats`` says."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor,
        box_tensor,
        global_step: int | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: str | Sequence[str] | None = None,
    ) -> None:
        """Log an image with red frames. Needs Pillow.

        Args:
            img_tensor: As for ``add_image``.
            box_tensor: Shape ``(N, 4)``: xmin, ymin, xmax, ymax in pixels.
            rescale: Factor by which the result is scaled.
            labels: A string for each frame; ignored if they are not as many.
        """
        media.pillow()
        media.check_positive("rescale", rescale)
        media.check_image(_convert.shape(img_tensor), dataformats)
        boxes = _convert.shape(box_tensor)
        if len(boxes) != 2 or boxes[1] < 4:
            raise ValueError(f"box_tensor must have shape (N, 4), got {boxes}")
        labels = [labels] if isinstance(labels, str) else labels
        if labels is not None and len(labels) != boxes[0]:
            labels = None
        encode = partial(summary.image_boxes, tag, rescale=rescale, dataformats=dataformats, labels=labels)
        self._put_later(tag, global_step, walltime, encode, img_tensor, box_tensor)

    def add_figure(self, tag: str, figure, global_step: int | None = None, close: bool = True, walltime: float | None = None) -> None:
        """Log a matplotlib figure, or a list of them, and close it."""
        pixels = media.figure_pixels(figure, close)
        self.add_image(tag, pixels, global_step, walltime, "NCHW" if isinstance(figure, list) else "CHW")

    def add_video(self, tag: str, vid_tensor, global_step: int | None = None, fps: float = 4, walltime: float | None = None) -> None:
        """Log videos of shape ``(N, T, C, H, W)``, side by side, as an animated GIF. Needs Pillow.

        Values are as for ``add_image``; ``fps`` is in frames a second.
        """
        media.pillow()
        media.check_positive("fps", fps)
        media.check_video(_convert.shape(vid_tensor))
        self._put_later(tag, global_step, walltime, partial(summary.video, tag, fps=fps), vid_tensor)

    def add_audio(
        self, tag: str, snd_tensor, global_step: int | None = None, sample_rate: int = 44100, walltime: float | None = None
    ) -> None:
        """Log a mono sound: ``(L,)`` samples in [-1, 1], ``sample_rate`` a second."""
        media.check_positive("sample_rate", sample_rate)
        media.check_sound(_convert.shape(snd_tensor))
        self._put_later(tag, global_step, walltime, partial(summary.audio, tag, sample_rate=sample_rate), snd_tensor)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None) -> None:
        """Log a text, which is shown as Markdown."""
        self._put(tag, summary.text(tag, text_string), global_step, walltime)

    def add_onnx_graph(self, prototxt) -> None:
        """Log the graph of an ONNX file. Needs ``onnx``."""
        self._get_file_writer().add_onnx_graph(load_onnx_graph(prototxt))

    def add_graph(self, model, input_to_model=None, verbose: bool = False, use_strict_trace: bool = True) -> None:
        """Log what a network does with an input as a graph: its operators, in a box for each module, and their shapes.

        The network is called in evaluation mode and without gradients. Nothing is computed unless it looks at its own numbers.

        Args:
            model: A module, or any function.
            input_to_model: Its argument, or a tuple of its arguments: tensors, None, numbers, and nested tuples, lists and
                dictionaries of them.
            verbose: Print the graph, too.
            use_strict_trace: Without effect: containers may change while the network runs.
        """
        from flambeau.utils.tensorboard._trace import graph

        self._get_file_writer().add_graph(graph(model, input_to_model, verbose))

    def add_embedding(
        self,
        mat,
        metadata: Sequence | None = None,
        label_img=None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        """Log points for the embedding projector.

        Args:
            mat: Shape ``(N, D)``: N points of D coordinates.
            metadata: A label for each point or, with ``metadata_header``, a row of labels.
            label_img: Shape ``(N, C, H, W)``: a picture for each point.
            tag: Name of the embedding.
            metadata_header: Names of the columns of ``metadata``.
        """
        step = 0 if global_step is None else _convert.step(global_step)
        pictures = None if label_img is None else _convert.shape(label_img)
        _embedding.check(_convert.shape(mat), metadata, metadata_header, pictures)
        picture_size = None if pictures is None else (pictures[2], pictures[3])
        log_dir = self._get_file_writer().get_logdir()
        directory = storage.join(log_dir, *_embedding.subdirectory(tag, step).split("/"))
        if storage.is_directory(directory):
            warnings.warn(f"{directory} exists and is overwritten; does each add_embedding have its own global_step?", stacklevel=2)
        snapshots = [_convert.snapshot(mat)]
        files = {"tensors.tsv": lambda: _embedding.vectors_file(_convert.array(snapshots[0]))}
        if metadata is not None:
            files["metadata.tsv"] = partial(_embedding.metadata_file, list(metadata), metadata_header)
        if pictures is not None:
            snapshots.append(_convert.snapshot(label_img))
            files["sprite.png"] = lambda: _embedding.sprite_file(_convert.array(snapshots[1]))
        entry = _embedding.configuration(tag, step, metadata is not None, picture_size)

        def write() -> None:
            storage.make_directory(directory)
            for name, encode in files.items():
                storage.write(storage.join(directory, name), encode())
            storage.append_once(storage.join(log_dir, "projector_config.pbtxt"), entry)

        self._get_file_writer().event_writer.put_later(Later(tag, write, snapshots), *_when(step, None))

    def add_pr_curve(
        self,
        tag: str,
        labels,
        predictions,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights=None,
        walltime: float | None = None,
    ) -> None:
        """Log precision against recall.

        Args:
            labels: Truth, 0 or 1 for each element.
            predictions: Probability of 1 for each element.
            num_thresholds: Points of the curve; at most 127.
            weights: Weight of each element; default: 1.
        """
        shapes = _convert.shape(labels), _convert.shape(predictions)
        if shapes[0] != shapes[1] or 0 in shapes[0]:
            raise ValueError(f"labels and predictions must have one shape and an element, got {shapes[0]} and {shapes[1]}")
        summary.check_curve(num_thresholds)
        weights = np.asarray(weights) if isinstance(weights, Sequence) else weights
        encode = partial(summary.pr_curve, tag, num_thresholds=num_thresholds)
        self._put_later(tag, global_step, walltime, lambda *values: encode(*values[:2], weights=values[2]), labels, predictions, weights)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts,
        false_positive_counts,
        true_negative_counts,
        false_negative_counts,
        precision,
        recall,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights=None,
        walltime: float | None = None,
    ) -> None:
        """Log precision against recall from what was computed elsewhere: six arrays of ``num_thresholds`` elements."""
        counts = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts)
        encoded = summary.pr_curve_raw(tag, *counts, precision, recall, num_thresholds, weights)
        self._put(tag, encoded, global_step, walltime)

    def add_custom_scalars_multilinechart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """A chart with a line for each of ``tags``, on the Custom Scalars page."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """A chart of a value with a margin, on the Custom Scalars page; ``tags`` are those of value, lower and upper."""
        if len(tags) != 3:
            raise AssertionError(f"a margin chart needs 3 tags (value, lower, upper), got {len(tags)}: {tags}")
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_custom_scalars(self, layout: dict[str, dict[str, list]]) -> None:
        """Charts of several scalars, on the Custom Scalars page.

        Args:
            layout: ``{category: {title: [kind, tags]}}`` with the kind ``"Multiline"`` (a line for each tag) or ``"Margin"``
                (three tags: value, lower, upper). Charts of earlier calls stay, unless they have the same title.
        """
        summary.custom_scalars(layout)  # raises what is wrong before anything changes
        with _opening:
            for category, charts in layout.items():
                self._layout.setdefault(category, {}).update({title: [kind, list(tags)] for title, (kind, tags, *_) in charts.items()})
            encoded = summary.custom_scalars(self._layout)
            self._get_file_writer().add_summary(encoded)

    def add_mesh(
        self,
        tag: str,
        vertices,
        colors=None,
        faces=None,
        config_dict: dict | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log a mesh or a cloud of points.

        Args:
            vertices: Shape ``(B, N, 3)``: coordinates.
            colors: Shape ``(B, N, 3)``: in [0, 255].
            faces: Shape ``(B, M, 3)``: the vertices of each triangle, by their numbers.
            config_dict: Classes of three.js and their options: camera, lights, material.
        """
        summary.check_mesh(vertices, colors, faces)
        encode = partial(summary.mesh, tag, config_dict=summary.mesh_config(config_dict))
        self._put_later(tag, global_step, walltime, encode, vertices, colors, faces)

    def add_hparams(
        self,
        hparam_dict: dict,
        metric_dict: dict,
        hparam_domain_discrete: dict[str, list] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Log hyperparameters and the metrics they led to, for the HParams page.

        TensorBoard shows one session a run. The first call without a ``run_name`` belongs to this writer's run; others make
        a run in a subdirectory, as all do with ``subdirectories=True``.

        Args:
            hparam_dict: Names and values: numbers, strings, booleans, or None (left out).
            metric_dict: Names and values, as ``add_scalar`` takes them.
            hparam_domain_discrete: For any of the names, the list of values that it can have.
            run_name: Name of the subdirectory; default: the time.
        """
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict must be dictionaries")
        sessions = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        metrics = {tag_bytes[name]: _convert.scalar(metric) for name, metric in metric_dict.items()}
        step, walltime = 0 if global_step is None else _convert.step(global_step), _now()
        writer = self._get_file_writer()
        directory = writer.get_logdir()
        key = directory if storage.is_remote(directory) else os.path.abspath(directory)
        own_run = not run_name and not self.subdirectories and key not in _directories_with_session
        if own_run:
            _directories_with_session.add(key)
        else:
            directory = storage.join(directory, run_name or str(walltime))
            writer = self._open(directory)
        for session in sessions:
            writer.add_summary(session, step, walltime)
        for name, metric in metrics.items():
            writer.event_writer.put_scalar(name, metric, step, walltime)
        if not own_run:
            writer.close()

    def flush(self) -> None:
        """Write everything logged so far; embeddings' files too."""
        with _opening:
            writers = list((self.all_writers or {}).values())
        for writer in writers:
            writer.flush()

    def close(self) -> None:
        """Flush and close the files. Logging more opens new ones."""
        with _opening:
            writers, self.all_writers, self.file_writer, self._events = self.all_writers or {}, None, None, None
        for writer in writers.values():
            writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type, exc_val, exc_tb) -> None:
        self.close()


def _when(step, walltime: float | None) -> tuple[int | None, float]:
    return None if step is None else _convert.step(step), _now() if walltime is None else float(walltime)
