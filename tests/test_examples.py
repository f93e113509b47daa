"""The examples, run as a reader would run them: in processes of their own, with `torch` meaning Flambeau; and what the text that they illustrate says besides."""

from __future__ import annotations

import gzip
import importlib
import inspect
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def run(example: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flambeau", str(EXAMPLES / example), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
    )


def output(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def write_idx(path: Path, values: np.ndarray) -> None:
    """The IDX format of http://yann.lecun.com/exdb/mnist: zero, zero, type (8: bytes), dimensions, extents, values."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    with gzip.open(path, "wb") if path.suffix == ".gz" else open(path, "wb") as file:
        file.write(header + values.tobytes())


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder with a training split of 80 made-up digits."""
    random = np.random.default_rng(0)
    folder = tmp_path / "mnist_train" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    write_idx(folder / "train-images-idx3-ubyte.gz", random.integers(0, 256, (80, 28, 28), dtype=np.uint8))
    write_idx(folder / "train-labels-idx1-ubyte", random.integers(0, 10, 80, dtype=np.uint8))
    return tmp_path / "mnist_train"


def events(folder: Path):
    """What TensorBoard reads from a log folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    log = accumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    log.Reload()
    return log


def log_folder(cwd: Path) -> Path:
    (folder,) = (cwd / "runs").iterdir()
    return folder


def test_scatter_examples_print_the_tensors_of_the_text(tmp_path):
    rows = "tensor([[0., 6., 0., 0., 9.],\n        [0., 0., 2., 8., 0.],\n        [5., 1., 7., 0., 4.]])\n"
    one_hot = "tensor([[0., 1., 0., 0., 0.],\n        [0., 0., 0., 1., 0.]])\n"
    assert output(run("seed/scatter_rows.py", cwd=tmp_path)) == rows
    assert output(run("seed/scatter_one_hot.py", cwd=tmp_path)) == one_hot


@pytest.mark.parametrize(
    ("name", "arguments"),
    {
        "nn.Conv2d": "in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode='zeros', device=None, dtype=None",
        "nn.ConvTranspose2d": "in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None",
        "nn.GroupNorm": "num_groups, num_channels, eps=1e-05, affine=True, device=None, dtype=None",
        "utils.tensorboard.writer.SummaryWriter": "log_dir=None, comment='', purge_step=None, max_queue=10, flush_secs=120, filename_suffix=''",
    }.items(),
)
def test_arguments_are_those_of_the_text(name, arguments):
    module, _, layer = name.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(f"flambeau.{module}"), layer)).parameters.values()
    written = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters if parameter.kind != parameter.KEYWORD_ONLY
    ]
    assert ", ".join(map(str, written)) == arguments


def test_writer_has_the_attributes_of_the_text(tmp_path):
    writer = flambeau.utils.tensorboard.SummaryWriter(tmp_path / "logs", max_queue=5, flush_secs=60, filename_suffix=".x")
    assert (writer.purge_step, writer.max_queue, writer.flush_secs, writer.filename_suffix) == (None, 5, 60, ".x")
    assert writer.log_dir == writer.get_logdir() == tmp_path / "logs"
    assert writer._get_file_writer() is writer.file_writer and list(writer.all_writers.values()) == [writer.file_writer]
    positive = [1e-12]
    while positive[-1] * 1.1 < 1e20:
        positive.append(positive[-1] * 1.1)
    assert writer.default_bins == [*(-v for v in reversed(positive)), 0, *positive]
    writer.close()
    assert writer.file_writer is None and writer.all_writers is None


def test_chapters_of_the_text_are_modules():
    chapters = """
        nn nn.functional amp autograd library cuda backends distributed distributed.algorithms.join distributed.elastic distributed.fsdp
        distributed.optim distributions fft futures fx hub jit linalg monitor special overrides package profiler nn.init onnx optim
        distributed.algorithms.ddp_comm_hooks distributed.pipelining quantization ao.quantization distributed.rpc random nested sparse storage
        testing utils.benchmark utils.bottleneck utils.checkpoint utils.cpp_extension utils.data utils.dlpack utils.mobile_optimizer
        utils.model_zoo utils.tensorboard __config__
    """
    for chapter in chapters.split():
        assert importlib.import_module(f"flambeau.{chapter}").__doc__, chapter
    assert flambeau.finfo(flambeau.float32).eps == 2.0**-23 and flambeau.iinfo(flambeau.int8).max == 127  # "Type Info"


@pytest.mark.parametrize("example", ["conv2d", "conv_transpose2d", "group_norm"])
def test_layers_follow_their_formulas(example, tmp_path):
    assert output(run(f"seed/{example}.py", cwd=tmp_path))  # the example asserts


def test_grouped_scalars(tmp_path):
    output(run("seed/grouped_scalars.py", cwd=tmp_path))
    log = events(log_folder(tmp_path))
    assert sorted(log.Tags()["scalars"]) == ["Accuracy/test", "Accuracy/train", "Loss/test", "Loss/train"]
    series = log.Scalars("Loss/train")
    assert [event.step for event in series] == list(range(100))
    assert all(0 <= event.value < 1 for event in series)


def test_tensorboard_of_mnist(mnist, tmp_path):
    output(run("seed/tensorboard_mnist.py", cwd=tmp_path))
    log = events(log_folder(tmp_path))
    (image,) = log.Images("images")
    assert (image.width, image.height) == (8 * 30 + 2, 8 * 30 + 2)  # 64 digits of 28 pixels, 2 pixels between
    scopes = {node.name.partition("/")[0] for node in log.Graph().node}
    names = " ".join(node.name for node in log.Graph().node)
    assert any("ResNet" in scope for scope in scopes)
    assert "layer4" in names and "conv1" in names


def test_tensorboard_of_mnist_says_which_files_it_looks_for(tmp_path):
    result = run("seed/tensorboard_mnist.py", "nowhere", cwd=tmp_path)
    assert result.returncode == 1
    assert "train-images-idx3-ubyte" in result.stderr and "nowhere" in result.stderr
    assert "t10k" not in result.stderr


def test_demo_learns_logs_and_resumes(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("rich")
    first = output(run("demo.py", "--epochs", "2", "--workers", "1", cwd=tmp_path))
    assert float(re.search(r"([\d.]+)% of 359 held-out digits right", first).group(1)) > 80
    folder = tmp_path / "runs" / "demo"
    assert (folder / "reconstructions.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "checkpoint.pt").exists() and not (folder / "checkpoint.partial").exists()

    second = output(run("demo.py", "--epochs", "3", "--workers", "0", "--resume", cwd=tmp_path))
    assert float(re.search(r"([\d.]+)% of 359 held-out digits right", second).group(1)) > 80
    earlier, later = sorted((folder / "logs").iterdir())
    assert [event.step for event in events(earlier).Scalars("Accuracy/test")] == [1, 2]
    log = events(later)
    assert [event.step for event in log.Scalars("Accuracy/test")] == [3]
    assert "reconstructions" in log.Tags()["images"]
    assert "encoder/0/weight" in log.Tags()["histograms"]
    assert (later / "projector_config.pbtxt").exists()


def test_demo_says_what_is_wrong_with_its_data(tmp_path):
    (tmp_path / "empty").mkdir()
    result = run("demo.py", "--data", "empty", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "cannot read MNIST from empty" in result.stderr and "idx3-ubyte" in result.stderr
    assert "nothing to resume" in run("demo.py", "--resume", cwd=tmp_path).stderr
