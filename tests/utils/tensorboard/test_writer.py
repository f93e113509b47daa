"""SummaryWriter's own behaviour: checks at the call, snapshots, directories, what goes beyond PyTorch."""

from __future__ import annotations

import inspect
import math
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau.utils.tensorboard import FileWriter, SummaryReader, SummaryWriter, writer
from flambeau.utils.tensorboard import summary as summaries
from flambeau.utils.tensorboard.writer import SummaryWriter as SummaryWriterOfWriter


def tags_of(events: list) -> list[str]:
    return [value.tag for event in events for value in event.summary.value]


def layouts_of(events: list) -> list:
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    values = [value for event in events for value in event.summary.value if value.tag == "custom_scalars__config__"]
    return [Layout.FromString(value.tensor.string_val[0]) for value in values]


# The surface


def test_names():
    assert SummaryWriterOfWriter is SummaryWriter
    assert writer.__all__ == ["FileWriter", "SummaryWriter"]


def test_signatures_are_pytorchs():
    theirs = pytest.importorskip("torch.utils.tensorboard")
    gaps = {"SummaryWriter.add_graph"} - {f"SummaryWriter.{name}" for name in dir(SummaryWriter)}
    for name in ("SummaryWriter", "FileWriter", "RecordWriter"):
        our_class = getattr(sys.modules["flambeau.utils.tensorboard"], name)
        for method, function in inspect.getmembers(getattr(theirs, name), inspect.isfunction):
            if f"{name}.{method}" in gaps or (method.startswith("_") and method != "__init__"):
                continue
            parameters = list(inspect.signature(function).parameters.values())
            ours = list(inspect.signature(getattr(our_class, method)).parameters.values())
            ours = [parameter for parameter in ours if parameter.kind is not inspect.Parameter.KEYWORD_ONLY]
            assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in parameters], (name, method)


def test_default_bins_are_pytorchs(log_dir, tmp_path):
    theirs = pytest.importorskip("torch.utils.tensorboard")
    with SummaryWriter(log_dir) as ours, theirs.SummaryWriter(str(tmp_path / "theirs")) as other:
        assert ours.default_bins == other.default_bins


def test_default_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_lr0.1") as default:
        default.add_scalar("loss", 1.0, 1)
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.endswith(f"_{socket.gethostname()}_lr0.1")
    assert default.get_logdir() == os.path.join("runs", directory.name)


def test_file_name(log_dir):
    with SummaryWriter(log_dir, filename_suffix=".suffix"):
        (name,) = os.listdir(log_dir)
    assert name.startswith("events.out.tfevents.1")
    assert f".{socket.gethostname()}.{os.getpid()}." in name
    assert name.endswith(".suffix")


def test_path_as_directory(tmp_path):
    with SummaryWriter(tmp_path / "run") as path_writer:
        path_writer.add_scalar("loss", 1.0, 1)
        path_writer.add_scalars("main", {"a": 1.0}, 1)
    assert path_writer.get_logdir() == tmp_path / "run"
    assert SummaryReader(tmp_path / "run").tags() == ["loss", "main/a"]


def test_nothing_foreign_is_imported(log_dir, run_script):
    run_script(
        """
        import sys
        from flambeau.utils.tensorboard import SummaryWriter
        with SummaryWriter(sys.argv[1]) as writer:
            writer.add_scalar("loss", 1.0, 1)
            writer.add_image("image", __import__("numpy").zeros((3, 4, 4)))
            writer.add_text("text", "text")
        foreign = {"tensorboard", "google.protobuf", "tensorflow", "torch", "PIL"} & set(sys.modules)
        assert not foreign, foreign
        """,
        log_dir,
    )


@pytest.mark.parametrize(
    "log",
    [
        lambda w: w.add_scalar("a", 1.0, 2.5),
        lambda w: w.add_text("a", "b", flambeau.tensor(2.5)),
        lambda w: w.add_image("a", IMAGE, np.float32(2.5)),
    ],
)
def test_a_fraction_of_a_step_is_cut_off(log_dir, read_events, log):
    with pytest.warns(UserWarning, match="whole number, got .*2.5.*: the event is at step 2"), SummaryWriter(log_dir) as summary_writer:
        log(summary_writer)
    assert [event.step for event in read_events(log_dir)[1:]] == [2]


# Checks at the call

IMAGE = np.zeros((3, 4, 5), np.float32)

WRONG = {
    "two elements": (AssertionError, r"one element, got shape \(2,\)", lambda w: w.add_scalar("a", np.zeros(2))),
    "no number": (NotImplementedError, "got list", lambda w: w.add_scalar("a", [1.0])),
    "no number in a string": (ValueError, "could not convert", lambda w: w.add_scalar("a", "one")),
    "tag": (TypeError, "tag must be a string, got int", lambda w: w.add_scalar(1, 1.0)),
    "tag of an image": (TypeError, "tag must be a string, got NoneType", lambda w: w.add_image(None, IMAGE)),
    "tag that is not Unicode": (UnicodeEncodeError, "surrogates", lambda w: w.add_scalar("\ud800", 1.0)),
    "step": (ValueError, "invalid literal", lambda w: w.add_scalar("a", 1.0, "first")),
    "step in a string": (ValueError, "whole number, got '3'", lambda w: w.add_histogram("a", IMAGE, "3")),
    "step nan": (ValueError, "NaN", lambda w: w.add_scalar("a", 1.0, math.nan)),
    "step too large": (ValueError, "64-bit integer, got 9223372036854775808", lambda w: w.add_scalar("a", 1.0, 1 << 63)),
    "step of an image": (TypeError, "int", lambda w: w.add_image("a", IMAGE, [1])),
    "walltime": (ValueError, "could not convert", lambda w: w.add_scalar("a", 1.0, 1, "now")),
    "series": (AssertionError, r"got shape \(2,\)", lambda w: w.add_scalars("a", {"b": np.zeros(2)})),
    "empty histogram": (ValueError, r"needs an element, got an input of shape \(0, 3\)", lambda w: w.add_histogram("a", np.zeros((0, 3)))),
    "histogram of a list": (NotImplementedError, "got list", lambda w: w.add_histogram("a", [1.0, 2.0])),
    "bins": (ValueError, "'what' is not a valid estimator", lambda w: w.add_histogram("a", IMAGE, bins="what")),
    "number of bins": (ValueError, "must be positive", lambda w: w.add_histogram("a", IMAGE, bins=0)),
    "edges": (ValueError, "increase monotonically", lambda w: w.add_histogram("a", IMAGE, bins=[3, 2, 1])),
    "max_bins": (ValueError, "at least 1, got 0", lambda w: w.add_histogram("a", IMAGE, max_bins=0)),
    "histogram of texts": (ValueError, "numbers, got an array of dtype <U1", lambda w: w.add_histogram("a", np.array(["x"]))),
    "raw histogram": (ValueError, "2 bucket_limits but 1 bucket_counts", lambda w: w.add_histogram_raw("a", 0, 1, 1, 1, 1, [1, 2], [1])),
    "image dimensions": (AssertionError, r"names 3 dimensions, but the image has shape \(4, 5\)", lambda w: w.add_image("a", IMAGE[0])),
    "dataformats twice": (AssertionError, "names a dimension twice", lambda w: w.add_image("a", IMAGE, dataformats="CHH")),
    "dataformats": (ValueError, "ordering of HW, CHW or NCHW, got 'XYZ'", lambda w: w.add_image("a", IMAGE, dataformats="XYZ")),
    "channels": (TypeError, "1 to 4 channels, got 5", lambda w: w.add_image("a", np.zeros((5, 2, 2)))),
    "channels of a batch": (AssertionError, "1 or 3 channels, got 4", lambda w: w.add_images("a", np.zeros((2, 4, 2, 2)))),
    "empty image": (ValueError, "no pixels", lambda w: w.add_image("a", np.zeros((3, 0, 4)))),
    "boxes": (ValueError, r"shape \(N, 4\), got \(4,\)", lambda w: w.add_image_with_boxes("a", IMAGE, np.zeros(4))),
    "rescale": (ValueError, "rescale must be positive, got 0", lambda w: w.add_image_with_boxes("a", IMAGE, np.zeros((1, 4)), rescale=0)),
    "fps": (ValueError, "fps must be positive, got 0", lambda w: w.add_video("a", np.zeros((1, 2, 3, 4, 4)), fps=0)),
    "sample rate": (ValueError, "sample_rate must be positive, got -1", lambda w: w.add_audio("a", np.zeros(5), sample_rate=-1)),
    "thresholds": (ValueError, "at least 1, got 0", lambda w: w.add_pr_curve("a", np.ones(2), np.ones(2), num_thresholds=0)),
    "mesh's options": (TypeError, "not JSON", lambda w: w.add_mesh("a", np.zeros((1, 5, 3)), config_dict={"a": object()})),
    "video": (ValueError, r"shape \(N, T, C, H, W\), got \(3, 4, 5\)", lambda w: w.add_video("a", IMAGE)),
    "empty video": (ValueError, "no pixels", lambda w: w.add_video("a", np.zeros((0, 2, 3, 4, 4)))),
    "sound": (AssertionError, r"got shape \(2, 5\)", lambda w: w.add_audio("a", np.zeros((2, 5)))),
    "empty sound": (ValueError, "no samples", lambda w: w.add_audio("a", np.zeros(0))),
    "text": (AttributeError, "encode", lambda w: w.add_text("a", 1)),
    "mesh": (ValueError, r"vertices must have shape \(B, N, 3\), got \(5, 3\)", lambda w: w.add_mesh("a", np.zeros((5, 3)))),
    "margin chart": (AssertionError, "3 tags .* got 2", lambda w: w.add_custom_scalars_marginchart(["a", "b"])),
    "margin chart in a layout": (AssertionError, "'t' has 1", lambda w: w.add_custom_scalars({"c": {"t": ["Margin", ["a"]]}})),
    "curve": (ValueError, r"one shape and an element, got \(2,\) and \(3,\)", lambda w: w.add_pr_curve("a", np.ones(2), np.ones(3))),
    "embedding": (AssertionError, r"shape \(N, D\).*got \(3,\)", lambda w: w.add_embedding(np.zeros(3))),
    "labels": (AssertionError, "each of the 3 data points, got 1", lambda w: w.add_embedding(np.eye(3), metadata=["a"])),
    "label images": (
        AssertionError,
        "each of the 3 data points, got 2",
        lambda w: w.add_embedding(np.eye(3), label_img=np.zeros((2, 3, 4, 4))),
    ),
    "header": (
        AssertionError,
        "has 1 columns, but metadata has 2",
        lambda w: w.add_embedding(np.eye(1), metadata=[["a", "b"]], metadata_header=["x"]),
    ),
    "hparams": (TypeError, "must be dictionaries", lambda w: w.add_hparams([], {})),
    "hyperparameter": (ValueError, "'lr' must be .* got list", lambda w: w.add_hparams({"lr": [1]}, {})),
    "domain": (TypeError, "'lr'.* must be a list", lambda w: w.add_hparams({"lr": 1.0}, {}, {"lr": ["a"]})),
    "tensor": (ValueError, "dtype <U1", lambda w: w.add_tensor("a", np.array(["x"]))),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_raised_at_the_call(name, log_dir, read_events):
    error, message, call = WRONG[name]
    summary_writer = SummaryWriter(log_dir)
    with pytest.raises(error, match=message):
        call(summary_writer)
    summary_writer.close()
    assert len(read_events(log_dir)) == 1


def test_histogram_of_nothing_finite_is_left_out_with_a_warning(log_dir, read_events):
    summary_writer = SummaryWriter(log_dir)
    summary_writer.add_histogram("a", np.full(5, math.nan), 3)
    summary_writer.add_scalar("b", 1.0, 4)
    with pytest.warns(RuntimeWarning, match="'a' of step 3 was not logged .*ValueError: none of the 5 elements lies in a bin"):
        summary_writer.close()
    assert tags_of(read_events(log_dir)) == ["b"]


@pytest.mark.parametrize("step", [3, 3.0, np.int32(3), np.float32(3), flambeau.tensor(3), flambeau.tensor(3.0)], ids=repr)
def test_whole_numbers_of_any_kind_are_steps(step, log_dir, read_events):
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_scalar("a", 1.0, step)
        summary_writer.add_text("b", "c", step)
    assert [event.step for event in read_events(log_dir)[1:]] == [3, 3]


# Snapshots


def test_later_changes_are_not_seen(log_dir, read_events):
    values = np.ones((3, 4, 4), np.float32)
    scalar = np.ones(())
    series = {"b": scalar}
    camera = {"fov": 1}
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_scalar("a", scalar)
        summary_writer.add_scalars("a", series)
        summary_writer.add_image("image", values)
        summary_writer.add_histogram("histogram", values)
        summary_writer.add_tensor("tensor", values)
        summary_writer.add_mesh("mesh", values[:, :, :3], config_dict=camera)
        values[:] = 0
        scalar[()] = 0
        camera["fov"] = 2
    found = {value.tag: value for event in read_events(log_dir) for value in event.summary.value}
    assert found["a"].simple_value == found["a/b"].simple_value == 1
    assert found["histogram"].histo.min == 1
    assert set(found["tensor"].tensor.float_val) == set(found["mesh_VERTEX"].tensor.float_val) == {1.0}
    assert b'"fov": 1' in found["mesh_VERTEX"].metadata.plugin_data.content


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_later_changes_of_a_tensor_are_not_seen(dtype, log_dir, read_events):
    computed = flambeau.ones(3, dtype=getattr(flambeau, dtype))
    flambeau.flush()
    with SummaryWriter(log_dir) as summary_writer:
        for tag, x in (("computed", computed), ("pending", computed * 2)):
            summary_writer.add_histogram(f"{tag} histogram", x)
            summary_writer.add_scalar(tag, x[0])
            x.zero_()
    found = {value.tag: value for event in read_events(log_dir) for value in event.summary.value}
    assert (found["computed"].simple_value, found["pending"].simple_value) == (1, 2)
    assert (found["computed histogram"].histo.min, found["pending histogram"].histo.min) == (1, 2)


def test_tensors_of_ours(log_dir, read_events):
    x = flambeau.ones(3, 4, 4)
    loss = (x * 0.5).sum()
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_scalar("loss", loss, 1)
        assert loss.memory.pending
        summary_writer.add_histogram("x", x * 2, 1)
        summary_writer.add_image("image", x.to(flambeau.bfloat16), 1)
        assert loss.memory.pending
        loss += 1
        summary_writer.add_scalar("loss", loss, 2)
        summary_writer.add_scalar("half", flambeau.ones(1).to(flambeau.bfloat16), 2)
        summary_writer.add_hparams({"lr": flambeau.ones(1)}, {"loss": loss})
    found = read_events(log_dir)
    assert [event.summary.value[0].simple_value for event in found if tags_of([event]) == ["loss"]] == [24.0, 25.0, 25.0]
    assert tags_of(found)[:5] == ["loss", "x", "image", "loss", "half"]
    assert found[2].summary.value[0].histo.sum == 96


def test_tensor_that_requires_grad(log_dir):
    x = flambeau.ones(3, requires_grad=True)
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_scalar("loss", (x * 2).sum(), 1)
        summary_writer.add_histogram("x", x, 1)
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [6.0]


# Opening, closing, copying


def test_use_after_close_goes_to_a_new_file(log_dir):
    summary_writer = SummaryWriter(log_dir)
    for step in range(3):
        summary_writer.add_scalar("loss", 1.0, step)
        summary_writer.close()
        summary_writer.close()
        summary_writer.flush()
    assert len(os.listdir(log_dir)) == 3
    assert SummaryReader(log_dir).scalars("loss").steps.tolist() == [0, 1, 2]


def test_pickled_writer_goes_on_in_a_file_of_its_own(log_dir):
    with SummaryWriter(log_dir, max_queue=7, filename_suffix=".s") as summary_writer:
        copy = pickle.loads(pickle.dumps(summary_writer))
        summary_writer.add_scalar("loss", 1.0, 1)
        assert len(os.listdir(log_dir)) == 1
        with copy:
            copy.add_scalar("loss", 1.0, 2)
        assert copy.max_queue == 7
    assert len(os.listdir(log_dir)) == 2
    assert sorted(SummaryReader(log_dir).scalars("loss").steps.tolist()) == [1, 2]


def test_file_writer(log_dir, read_events):
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    file_writer = FileWriter(log_dir, filename_suffix=".x")
    assert file_writer.get_logdir() == log_dir
    file_writer.add_summary(summaries.scalar("ours", 1.0), 3, walltime=5.0)
    file_writer.add_event(event_pb2.Event(file_version="theirs"), step=4)
    file_writer.flush()
    assert len(read_events(log_dir)) == 3
    file_writer.close()
    with pytest.raises(OSError, match="closed"):
        file_writer.add_summary(summaries.scalar("a", 1.0))
    file_writer.reopen()
    file_writer.reopen()
    file_writer.add_summary(summaries.text("text", "t"))
    file_writer.close()
    found = read_events(log_dir)
    assert [(event.step, event.wall_time) for event in found if tags_of([event]) == ["ours"]] == [(3, 5.0)]
    assert [event.step for event in found if event.file_version == "theirs"] == [4]
    assert tags_of(found) == ["ours", "text/text_summary"]


def test_purge_step(log_dir):
    """What TensorBoard hides, our reader leaves out; series and sessions in subdirectories too."""
    for purge_step in (None, 5):
        with SummaryWriter(log_dir, purge_step=purge_step, subdirectories=True) as summary_writer:
            for step in range(purge_step or 0, 8):
                summary_writer.add_scalar("loss", float(purge_step is None), step)
                summary_writer.add_scalars("main", {"a": step}, step)
            summary_writer.add_hparams({"lr": 1}, {"m": 1.0}, run_name="session", global_step=7)
            summary_writer.close()
            summary_writer.add_scalar("again", 1.0, 6)  # purged at its first opening only
    for directory, tag in ((log_dir, "loss"), (os.path.join(log_dir, "main_a"), "main")):
        assert SummaryReader(directory).scalars(tag).steps.tolist() == list(range(8))
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [1.0] * 5 + [0.0] * 3
    assert SummaryReader(log_dir).scalars("again").steps.tolist() == [6]
    assert SummaryReader(os.path.join(log_dir, "session")).scalars("m").steps.tolist() == [7]


def test_purge_step_as_tensorboard_sees_it(log_dir):
    accumulator_module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for purge_step in (None, 5):
        with SummaryWriter(log_dir, purge_step=purge_step) as summary_writer:
            for step in range(purge_step or 0, 8):
                summary_writer.add_scalar("loss", 1.0, step)
        os.rename(os.path.join(log_dir, max(os.listdir(log_dir))), os.path.join(log_dir, f"events.out.tfevents.{purge_step or 0}"))
    accumulator = accumulator_module.EventAccumulator(log_dir).Reload()
    assert [event.step for event in accumulator.Scalars("loss")] == list(range(8))


# add_scalars


def test_scalars_are_tags_of_the_run_and_a_chart(log_dir, read_events):
    with SummaryWriter(log_dir) as summary_writer:
        for step in range(3):
            summary_writer.add_scalars("loss (x+y)", {"train": 1.0, "test": 2.0}, step, walltime=step)
        summary_writer.add_scalars("loss (x+y)", {"train": 1.0}, 3)
        summary_writer.add_scalars("loss (x+y)", {"dev": 1.0}, 3)
    assert os.listdir(log_dir) == [os.listdir(log_dir)[0]]
    reader = SummaryReader(log_dir)
    assert reader.tags() == ["loss (x+y)/dev", "loss (x+y)/test", "loss (x+y)/train"]
    assert reader.scalars("loss (x+y)/test").wall_times.tolist() == [0, 1, 2]
    layouts = layouts_of(read_events(log_dir))
    assert len(layouts) == 2  # again only because of the new series
    (category,) = layouts[-1].category
    (chart,) = category.chart
    assert chart.title == "loss (x+y)"
    import re

    matched = [tag for tag in [*reader.tags(), "loss x", "loss (x+y)/tested"] if any(re.match(regex, tag) for regex in chart.multiline.tag)]
    assert matched == reader.tags()


def test_chart_of_scalars_stands_beside_the_users(log_dir, read_events):
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_custom_scalars_multilinechart(["a", "b"], "mine", "first")
        summary_writer.add_scalars("main", {"x": 1.0})
        summary_writer.add_custom_scalars({"mine": {"second": ["Margin", ["a", "b", "c"]]}})
    layout = layouts_of(read_events(log_dir))[-1]
    charts = {category.title: [chart.title for chart in category.chart] for category in layout.category}
    assert charts == {"mine": ["first", "second"], "add_scalars": ["main"]}


def test_scalars_in_subdirectories_equal_pytorchs(tmp_path, read_events):
    theirs = pytest.importorskip("torch.utils.tensorboard")
    for name, make in (("ours", lambda path: SummaryWriter(path, subdirectories=True)), ("theirs", theirs.SummaryWriter)):
        with make(str(tmp_path / name)) as summary_writer:
            for step in range(3):
                summary_writer.add_scalars("run/main", {"a": step, "b": 2.0}, step, walltime=1.0 + step)
            summary_writer.add_scalars("run/main", {"a": 5}, None, walltime=9.0)
    found = []
    for name in ("ours", "theirs"):
        directories = sorted(path for path in (tmp_path / name).rglob("*") if path.is_dir())
        found.append({directory.name: [str(event) for event in read_events(directory)[1:]] for directory in directories})
    assert found[0] == found[1]
    assert list(found[0]) == ["run_main_a", "run_main_b"]


# add_hparams


def sessions_of(events: list) -> list[str]:
    return [tag for tag in tags_of(events) if tag.startswith("_hparams_")]


def test_first_session_belongs_to_the_run(log_dir, read_events):
    with SummaryWriter(log_dir) as summary_writer:
        for index in range(3):
            summary_writer.add_hparams({"lr": 0.1 * index}, {"loss": index})
        summary_writer.add_hparams({"lr": 1}, {"loss": 5}, run_name="named")
    assert len(sessions_of(read_events(log_dir))) == 3
    assert SummaryReader(log_dir).scalars("loss").values.tolist() == [0.0]
    directories = [name for name in os.listdir(log_dir) if os.path.isdir(os.path.join(log_dir, name))]
    assert len(directories) == 3
    assert "named" in directories
    for name in directories:
        assert len(sessions_of(read_events(os.path.join(log_dir, name)))) == 3


def test_second_writer_of_a_directory_does_not_write_a_second_session(log_dir, read_events):
    for _ in range(2):
        with SummaryWriter(log_dir) as summary_writer:
            summary_writer.add_hparams({"lr": 1}, {"loss": 1})
    assert len(sessions_of(read_events(log_dir))) == 3


def test_sessions_in_subdirectories(log_dir, read_events):
    with SummaryWriter(log_dir, subdirectories=True) as summary_writer:
        summary_writer.add_hparams({"lr": 1}, {"loss": 1})
    assert sessions_of(read_events(log_dir)) == []
    (directory,) = (name for name in os.listdir(log_dir) if "tfevents" not in name)
    assert float(directory) > 1e9


def test_hyperparameters_that_are_numpy_numbers_or_tensors(log_dir, read_events):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_hparams({"a": np.float32(0.5), "b": np.int64(3), "c": np.array([2.0]), "d": np.bool_(True)}, {})
    value = next(value for event in read_events(log_dir) for value in event.summary.value if value.tag.endswith("start_info"))
    hparams = HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info.hparams
    assert {name: hparams[name].number_value for name in "abcd"} == {"a": 0.5, "b": 3.0, "c": 2.0, "d": 1.0}


# add_embedding


def test_embedding_directory_that_exists(log_dir):
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_embedding(np.eye(2))
        summary_writer.flush()
        with pytest.warns(UserWarning, match="exists and is overwritten"):
            summary_writer.add_embedding(np.eye(2))
        Path(log_dir, "00003").mkdir()
        Path(log_dir, "00003", "default").write_text("a file")
        with pytest.raises(NotADirectoryError, match="default is a file"):
            summary_writer.add_embedding(np.eye(2), global_step=3)
    config = Path(log_dir, "projector_config.pbtxt").read_text()
    assert config.count("embeddings {") == 1


def test_embeddings_of_two_processes(log_dir):
    script = """import sys, numpy
from flambeau.utils.tensorboard import SummaryWriter
SummaryWriter(sys.argv[1]).add_embedding(numpy.eye(2), tag=sys.argv[2])"""
    processes = [subprocess.Popen([sys.executable, "-c", script, log_dir, tag], cwd=Path(__file__).parents[3]) for tag in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    config = Path(log_dir, "projector_config.pbtxt").read_text()
    assert config.count("embeddings {") == 2


def test_tall_label_images(log_dir):
    image = pytest.importorskip("PIL.Image")
    pictures = np.zeros((3, 1, 8, 2), np.uint8)
    pictures[2] = 200
    with SummaryWriter(log_dir) as summary_writer:
        summary_writer.add_embedding(np.eye(3), label_img=pictures)
    sprite = np.asarray(image.open(Path(log_dir, "00000", "default", "sprite.png")))
    assert sprite.shape == (16, 4, 3)
    assert (sprite[8:, :2] == 200).all()
    assert sprite[:8].max() == 0
