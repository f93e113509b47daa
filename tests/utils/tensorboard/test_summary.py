"""Every kind of event, field by field against PyTorch's ``SummaryWriter``, as TensorBoard's reader decodes both."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

from flambeau.utils.tensorboard import SummaryWriter

RNG = np.random.default_rng(0)
IMAGE = RNG.random((3, 13, 17), np.float32)
LABELS, PREDICTIONS = RNG.integers(0, 2, 200), RNG.random(200)
VERTICES = RNG.random((2, 5, 3), np.float32)
LAYOUT = {
    "Taiwan": {"twse": ["Multiline", ["twse/0050", "twse/2330"]]},
    "USA": {"dow": ["Margin", ["dow/aaa", "dow/bbb", "dow/ccc"]], "nasdaq": ["Margin", ["n/a", "n/b", "n/c"]]},
}

CALLS = {
    "scalar": lambda w: w.add_scalar("loss/train", 0.1, 3, walltime=12.5),
    "scalar without step": lambda w: w.add_scalar("loss", 1),
    "scalar of a negative step": lambda w: w.add_scalar("loss", True, -7),
    "scalar of a large step": lambda w: w.add_scalar("loss", np.float32(0.1), 1 << 62),
    "scalar of a float step": lambda w: w.add_scalar("loss", np.array([[2.5]]), 3.0),
    "scalar as string": lambda w: w.add_scalar("loss", "1e-3", np.int32(4)),
    "scalar nan": lambda w: w.add_scalar("loss", math.nan, 1),
    "scalar inf": lambda w: w.add_scalar("loss", -math.inf, 1),
    "scalar beyond float32": lambda w: w.add_scalar("loss", 1e300, 1),
    "scalar with a tag beyond ASCII": lambda w: w.add_scalar("Verlust/größe 损失", 1e-45, 1),
    "scalar with an empty tag": lambda w: w.add_scalar("", 0.0, 0),
    "new style": lambda w: w.add_scalar("loss", 0.1, 3, new_style=True),
    "new style, double": lambda w: w.add_scalar("loss", 0.1, 3, new_style=True, double_precision=True),
    "histogram": lambda w: w.add_histogram("h", RNG_VALUES, 5),
    "histogram of integers": lambda w: w.add_histogram("h", np.arange(-50, 70).reshape(2, 60), 5),
    "histogram of a number": lambda w: w.add_histogram("h", 3.0, 5),
    "histogram of one value": lambda w: w.add_histogram("h", np.zeros(10), 5),
    "histogram of tiny and large values": lambda w: w.add_histogram("h", np.array([1e-30, -1e-30, 1e19, -1e19, 1e25]), 5),
    "histogram with nan": lambda w: w.add_histogram("h", np.array([math.nan, 1, 2, math.inf]), 5),
    "histogram max_bins": lambda w: w.add_histogram("h", RNG_VALUES, 5, max_bins=100),
    "histogram max_bins 7": lambda w: w.add_histogram("h", RNG_VALUES, 5, max_bins=7),
    "histogram auto": lambda w: w.add_histogram("h", PREDICTIONS, 5, bins="auto"),
    "histogram fd": lambda w: w.add_histogram("h", PREDICTIONS, 5, bins="fd", walltime=3.0),
    "histogram ten bins": lambda w: w.add_histogram("h", RNG_VALUES, 5, bins=10),
    "histogram edges": lambda w: w.add_histogram("h", RNG_VALUES, 5, bins=[-1.0, 0.0, 0.5, 2.0]),
    "histogram raw": lambda w: w.add_histogram_raw("h", 0, 9, 10, 45, 285, [1, 5, 10.0], [1, 4, 5], 2),
    "image": lambda w: w.add_image("i", IMAGE, 1),
    "image out of range": lambda w: w.add_image("i", IMAGE * 4 - 2, 1),
    "image uint8": lambda w: w.add_image("i", (IMAGE * 255).astype(np.uint8), 1),
    "image float64": lambda w: w.add_image("i", IMAGE.astype(np.float64), 1),
    "image bool": lambda w: w.add_image("i", IMAGE > 0.5, 1),
    "image HWC": lambda w: w.add_image("i", IMAGE.transpose(1, 2, 0), 1, dataformats="HWC"),
    "image RGBA": lambda w: w.add_image("i", RNG_RGBA, 1, dataformats="HWC"),
    "image with alpha": lambda w: w.add_image("i", RNG_RGBA[..., :2], 1, dataformats="hwc"),
    "image grey": lambda w: w.add_image("i", IMAGE[:1], 1),
    "image HW": lambda w: w.add_image("i", IMAGE[0], 1, dataformats="HW"),
    "image WH": lambda w: w.add_image("i", IMAGE[0], 1, dataformats="WH"),
    "images": lambda w: w.add_images("i", RNG_IMAGES, 1),
    "images grey": lambda w: w.add_images("i", RNG_IMAGES[:, :1], 1),
    "images NHWC": lambda w: w.add_images("i", RNG_IMAGES.transpose(0, 2, 3, 1), 1, dataformats="NHWC"),
    "image with boxes": lambda w: w.add_image_with_boxes("i", RNG_LARGE, np.array([[10, 10, 40, 40], [30, 5, 60, 50.5]]), 1),
    "image with labels": lambda w: w.add_image_with_boxes("i", RNG_LARGE, np.array([[10, 10, 40, 40]]), 1, labels="cat"),
    "image with boxes, scaled": lambda w: w.add_image_with_boxes("i", RNG_LARGE, np.array([[10, 10, 40, 40]]), 1, rescale=0.5),
    "image with too few labels": lambda w: w.add_image_with_boxes("i", RNG_LARGE, np.array([[1, 1, 9, 9]] * 2), 1, labels=["a"]),
    "audio": lambda w: w.add_audio("a", np.sin(np.arange(1000) / 20), 1, sample_rate=8000),
    "audio (1, L)": lambda w: w.add_audio("a", np.sin(np.arange(1000, dtype=np.float32) / 20)[None], 1),
    "text": lambda w: w.add_text("t", "some *Markdown*, 中文", 1),
    "pr curve": lambda w: w.add_pr_curve("p", LABELS, PREDICTIONS, 1),
    "pr curve, few thresholds": lambda w: w.add_pr_curve("p", LABELS, PREDICTIONS, 1, num_thresholds=5),
    "pr curve, many thresholds": lambda w: w.add_pr_curve("p", LABELS, PREDICTIONS, 1, num_thresholds=500),
    "pr curve with weights": lambda w: w.add_pr_curve("p", LABELS, PREDICTIONS, 1, weights=np.linspace(0, 2, 200)),
    "pr curve raw": lambda w: w.add_pr_curve_raw("p", *np.arange(30.0).reshape(6, 5), 1, num_thresholds=5),
    "custom scalars": lambda w: w.add_custom_scalars(LAYOUT),
    "multiline chart": lambda w: w.add_custom_scalars_multilinechart(["a/1", "a/2"]),
    "margin chart": lambda w: w.add_custom_scalars_marginchart(["a", "b", "c"], "category", "title"),
    "point cloud": lambda w: w.add_mesh("m", VERTICES, global_step=1),
    "mesh": lambda w: w.add_mesh("m", VERTICES, VERTICES * 255, np.zeros((2, 4, 3), np.int32), {"camera": {"fov": 5}, "a": 1}, 1),
}
RNG_VALUES = RNG.standard_normal(5000) * 10.0 ** RNG.integers(-6, 3, 5000)
RNG_RGBA = RNG.random((9, 11, 4), np.float32)
RNG_IMAGES = RNG.random((11, 3, 7, 5), np.float32)
RNG_LARGE = RNG.random((3, 60, 70), np.float32)


def pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(pytest.importorskip("PIL.Image").open(io.BytesIO(encoded)))


def hparams_of(value):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    return HParamsPluginData.FromString(value.metadata.plugin_data.content)


def assert_same_events(ours: list, theirs: list) -> None:
    """The same but for the writer's name and the times that were not given; PNGs have the same pixels."""
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert (our.wall_time == their.wall_time) or min(our.wall_time, their.wall_time) > 1e9
        our.wall_time = their.wall_time
        if our.HasField("source_metadata"):
            assert our.source_metadata.writer == "flambeau.utils.tensorboard"
            our.source_metadata.CopyFrom(their.source_metadata)
        for our_value, their_value in zip(our.summary.value, their.summary.value, strict=True):
            if our_value.HasField("image"):
                np.testing.assert_array_equal(pixels(our_value.image.encoded_image_string), pixels(their_value.image.encoded_image_string))
                our_value.image.encoded_image_string = their_value.image.encoded_image_string
            if our_value.metadata.plugin_data.plugin_name == "hparams":  # its map has no order
                assert hparams_of(our_value) == hparams_of(their_value)
                our_value.metadata.plugin_data.content = their_value.metadata.plugin_data.content
        assert str(our) == str(their)  # NaN is not equal to itself, but prints the same


@pytest.fixture
def both(tmp_path, read_events):
    """Make a call on our writer and on PyTorch's; returns the events of both."""
    torch_tensorboard = pytest.importorskip("torch.utils.tensorboard")

    def run(call, convert=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, cls in (("ours", SummaryWriter), ("theirs", torch_tensorboard.SummaryWriter)):
                with cls(str(tmp_path / name)) as writer:
                    call(writer)
        return read_events(tmp_path / "ours"), read_events(tmp_path / "theirs")

    return run


@pytest.mark.parametrize("name", CALLS)
def test_event_equals_pytorchs(name, both):
    ours, theirs = both(CALLS[name])
    assert len(ours) > 1
    assert_same_events(ours, theirs)


@pytest.mark.parametrize(
    "domains", [None, {"optimizer": ["sgd", "adam"], "lr": [0.1, 0.2]}, {"lr": []}], ids=["no domain", "domains", "empty domain"]
)
def test_hparams_equal_pytorchs(domains, both, tmp_path, read_events):
    hparams = {"lr": 0.1, "batch": 32, "optimizer": "sgd", "nesterov": True, "nothing": None}
    metrics = {"accuracy": 0.5, "loss": 2}
    ours, theirs = both(lambda writer: writer.add_hparams(hparams, metrics, domains, "named", 7))
    assert_same_events(ours, theirs)
    named = read_events(tmp_path / "ours" / "named"), read_events(tmp_path / "theirs" / "named")
    assert len(named[0]) == 6
    assert_same_events(*named)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int16", "int32", "int64", "bool", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (3, 4), (0, 2)])
def test_tensor_equals_pytorchs(dtype, shape, both):
    torch = pytest.importorskip("torch")
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 50).to(getattr(torch, dtype))
    assert_same_events(*both(lambda writer: writer.add_tensor("t", tensor, 2)))


DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool", "complex64"]


@pytest.mark.filterwarnings("ignore:Setting the dtype on a NumPy array")  # as TensorBoard does, which NumPy 2.5 warns of
@pytest.mark.parametrize("dtype", [*DTYPES, "complex128"])
def test_tensor_decodes_in_tensorboard(dtype, log_dir, read_events):
    """The decoder is TensorBoard's, which cannot read PyTorch's uint8 and float16."""
    util = pytest.importorskip("tensorboard.util.tensor_util")
    array = (RNG.standard_normal((4, 5)) * 100).astype(np.int64).astype(dtype)
    with SummaryWriter(log_dir) as writer:
        writer.add_tensor("t", array)
    decoded = util.make_ndarray(read_events(log_dir)[-1].summary.value[0].tensor)
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


def test_bfloat16_tensor_decodes_in_tensorboard(log_dir, read_events):
    util = pytest.importorskip("tensorboard.util.tensor_util")
    flambeau = pytest.importorskip("flambeau")
    tensor = flambeau.tensor([1.5, -2.0, 3e38, 0.1]).to(flambeau.bfloat16)
    with SummaryWriter(log_dir) as writer:
        writer.add_tensor("t", tensor)
    decoded = util.make_ndarray(read_events(log_dir)[-1].summary.value[0].tensor)
    assert decoded.dtype == np.float32
    assert decoded.tolist() == tensor.tolist()


def test_video_is_an_animation_of_all_frames(log_dir, read_events):
    image = pytest.importorskip("PIL.Image")
    video = np.zeros((3, 4, 3, 8, 6), np.uint8)
    for clip in range(3):
        for time in range(4):
            video[clip, time, clip] = 60 * time
    with SummaryWriter(log_dir) as writer:
        writer.add_video("v", video, 1, fps=5)
    encoded = read_events(log_dir)[-1].summary.value[0].image
    assert (encoded.height, encoded.width, encoded.colorspace) == (8, 24, 3)  # three clips in four places
    animation = image.open(io.BytesIO(encoded.encoded_image_string))
    assert (animation.n_frames, animation.info["duration"], animation.info["loop"]) == (4, 200, 0)
    animation.seek(2)
    frame = np.asarray(animation.convert("RGB"))
    assert [frame[0, 6 * clip + 3].tolist() for clip in range(4)] == [[120, 0, 0], [0, 120, 0], [0, 0, 120], [0, 0, 0]]


def test_loud_sound_is_clipped_with_a_warning(log_dir, read_events):
    with pytest.warns(UserWarning, match=r"outside \[-1, 1\]"), SummaryWriter(log_dir) as writer:
        writer.add_audio("a", np.array([0.5, 2.0, -3.0]))
    samples = np.frombuffer(read_events(log_dir)[-1].summary.value[0].audio.encoded_audio_string[44:], "<i2")
    assert samples.tolist() == [16383, 32767, -32767]


def test_figure(log_dir, read_events):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(2, 1), dpi=50)
    axes.plot([1, 2, 3])
    with SummaryWriter(log_dir) as writer:
        writer.add_figure("f", figure, 1)
    assert pixels(read_events(log_dir)[-1].summary.value[0].image.encoded_image_string).shape == (50, 100, 3)
    assert not pyplot.fignum_exists(figure.number)


def test_onnx_graph_equals_pytorchs(tmp_path, both, capsys):
    onnx = pytest.importorskip("onnx")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in "xy")
    nodes = [onnx.helper.make_node("Relu", ["x"], ["h"]), onnx.helper.make_node("LeakyRelu", ["h"], ["y"], alpha=0.5)]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y])), str(tmp_path / "m.onnx"))
    ours, theirs = both(lambda writer: writer.add_onnx_graph(str(tmp_path / "m.onnx")))
    assert_same_graphs(ours, theirs)


def assert_same_graphs(ours: list, theirs: list) -> None:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    graphs = [GraphDef.FromString(next(event.graph_def for event in events if event.HasField("graph_def"))) for events in (ours, theirs)]
    assert graphs[0] == graphs[1]
    assert len(graphs[0].node) == 4


EMBEDDINGS = {
    "plain": {},
    "labels": {"metadata": ["a", "b", 3, 4.5, 'quote " and \\ and 中']},
    "rows of labels": {"metadata": [[i, f"name {i}"] for i in range(5)], "metadata_header": ["number", "name"]},
    "images": {"label_img": RNG.random((5, 3, 4, 6), np.float32)},
    "grey images, labels, tag and step": {
        "label_img": RNG.random((5, 1, 6, 6), np.float32),
        "metadata": list("abcde"),
        "tag": "a/b%c\\d 'e\" é",
        "global_step": 12,
    },
}


def projector_files(directory: Path) -> dict[str, Path]:
    return {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file() and "tfevents" not in path.name}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embedding_files_equal_pytorchs(name, both, tmp_path):
    torch = pytest.importorskip("torch")
    vectors = RNG.standard_normal((5, 3)).astype(np.float32)
    arguments = dict(EMBEDDINGS[name])
    if "label_img" in arguments:  # PyTorch wants the method size()
        arguments["label_img"] = torch.from_numpy(arguments["label_img"])
    both(lambda writer: writer.add_embedding(vectors, **arguments))
    ours, theirs = projector_files(tmp_path / "ours"), projector_files(tmp_path / "theirs")
    assert set(ours) == set(theirs)
    for name, path in ours.items():
        if name.endswith(".png"):
            np.testing.assert_array_equal(pixels(path.read_bytes()), pixels(theirs[name].read_bytes()))
        else:
            assert path.read_bytes() == theirs[name].read_bytes()


def test_second_embedding_is_added_to_the_configuration(log_dir):
    projector = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    from google.protobuf import text_format

    for step in (0, 1):
        with SummaryWriter(log_dir) as writer:
            writer.add_embedding(np.eye(3), global_step=step)
    config = text_format.Parse((Path(log_dir) / "projector_config.pbtxt").read_text(), projector.ProjectorConfig())
    assert [embedding.tensor_name for embedding in config.embeddings] == ["default:00000", "default:00001"]
