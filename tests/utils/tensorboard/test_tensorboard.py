"""TensorBoard itself, with its data server, over a run with every kind of record: what its pages would ask for."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import threading
from urllib.parse import parse_qsl, urlencode
from urllib.request import Request, urlopen

import numpy as np
import pytest

from flambeau import nn
from flambeau.utils.tensorboard import SummaryWriter

pytest.importorskip("tensorboard")

X = np.linspace(0, 1, 60, dtype=np.float32)


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    import flambeau

    directory = tmp_path_factory.mktemp("logs")
    with SummaryWriter(directory / "run") as writer:
        for step in range(10):
            writer.add_scalar("loss/train", 1 / (step + 1), step)
            writer.add_scalar("new", step, step, new_style=True)
            writer.add_scalars("compared", {"a": step, "b": -step}, step)
            writer.add_histogram("histogram", X * step, step)
        writer.add_image("image", X.reshape(3, 4, 5), 1)
        writer.add_image_with_boxes("boxes", np.zeros((3, 20, 20)), np.array([[2, 2, 9, 9]]), 1)
        writer.add_video("video", np.zeros((1, 2, 3, 8, 8), np.uint8), 1)
        writer.add_audio("audio", X, 1)
        writer.add_text("text", "**bold**", 1)
        writer.add_tensor("tensor", X.astype(np.float16), 1)
        writer.add_pr_curve("curve", X > 0.4, X, 1)
        writer.add_mesh("mesh", X[:12].reshape(1, 4, 3), faces=np.array([[[0, 1, 2]]]), global_step=1)
        writer.add_custom_scalars({"mine": {"chart": ["Multiline", ["loss/train"]]}})
        writer.add_embedding(X.reshape(20, 3), metadata=list("abcdefghijklmnopqrst"))
        writer.add_hparams({"lr": 0.1, "optimizer": "sgd"}, {"accuracy": 0.75})
        writer.add_hparams({"lr": 0.2, "optimizer": "sgd"}, {"accuracy": 0.5}, run_name="second")
        writer.add_graph(nn.Sequential(nn.ReLU()), flambeau.ones(2, 3))
    return directory


@pytest.fixture(scope="module", params=["true", "false"], ids=["data server", "Python"])
def server(log_dir, request):
    """The address of a TensorBoard."""
    if request.param == "true":
        pytest.importorskip("tensorboard_data_server")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir), "--port", "0", "--load_fast", request.param]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(120, process.kill)
    killer.start()
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if address := re.search(r"http://\S+", line):
                break
        else:
            pytest.fail("".join(lines))
        yield address[0].rstrip("/")
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def get(server):
    def get(path: str, body: dict | None = None, **query):
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{server}/data/{path}?{urlencode(query)}", data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as response:
            content = response.read()
        return json.loads(content) if response.headers.get_content_type() == "application/json" else content

    for _ in range(200):  # it loads in the background
        if get("runs") == ["run", "run/second"] and "loss/train" in get("plugin/scalars/tags").get("run", {}) and get("plugin/graphs/info"):
            return get
    pytest.fail(f"runs: {get('runs')}")


def test_scalars(get):
    tags = get("plugin/scalars/tags")
    assert set(tags["run"]) == {"loss/train", "new", "compared/a", "compared/b", "accuracy"}
    assert [row[1:] for row in get("plugin/scalars/scalars", run="run", tag="compared/b")] == [[step, -float(step)] for step in range(10)]
    assert [row[2] for row in get("plugin/scalars/scalars", run="run", tag="new")] == list(range(10))


def test_histograms(get):
    assert set(get("plugin/histograms/tags")["run"]) == {"histogram"}
    rows = get("plugin/histograms/histograms", run="run", tag="histogram")
    assert [row[1] for row in rows] == list(range(10))
    assert sum(bucket[2] for bucket in rows[-1][2]) == 60


def test_images(get):
    assert set(get("plugin/images/tags")["run"]) == {"image", "boxes", "video"}
    (image,) = get("plugin/images/images", run="run", tag="image", sample=0)
    with_query = dict(parse_qsl(image["query"]))
    assert get("plugin/images/individualImage", **with_query).startswith(b"\x89PNG")


def test_audio(get):
    (sound,) = get("plugin/audio/audio", run="run", tag="audio", sample=0)
    with_query = dict(parse_qsl(sound["query"]))
    assert get("plugin/audio/individualAudio", **with_query).startswith(b"RIFF")


def test_text(get):
    (row,) = get("plugin/text/text", run="run", tag="text/text_summary")
    assert "<strong>bold</strong>" in row["text"]


def test_pr_curves(get):
    (curve,) = get("plugin/pr_curves/pr_curves", run="run", tag="curve")["run"]
    assert len(curve["precision"]) == 127
    assert max(curve["precision"]) == 1.0


def test_mesh(get):
    assert get("plugin/mesh/tags")["run"]["mesh"]
    metadata = get("plugin/mesh/meshes", run="run", tag="mesh", sample=0)
    assert sorted(row["content_type"] for row in metadata) == [1, 2]


def test_custom_scalars(get):
    layout = get("plugin/custom_scalars/layout")
    charts = {chart["title"]: chart["multiline"]["tag"] for category in layout["category"] for chart in category["chart"]}
    assert set(charts) == {"chart", "compared"}
    found = {tag for regex in charts["compared"] for tag in get("plugin/custom_scalars/scalars", run="run", tag=regex)["tag_to_events"]}
    assert found == {"compared/a", "compared/b"}


def test_projector(get):
    (run,) = get("plugin/projector/runs")
    (embedding,) = get("plugin/projector/info", run=run)["embeddings"]
    assert embedding["tensorShape"] == [20, 3]
    name = embedding["tensorName"]
    assert get("plugin/projector/metadata", run=run, name=name).split() == [bytes([letter]) for letter in b"abcdefghijklmnopqrst"]
    assert np.frombuffer(get("plugin/projector/tensor", run=run, name=name), "<f4").tolist() == X.tolist()


def test_hparams(get):
    get("plugin/hparams/experiment", {"experimentName": ""})
    columns = [{"hparam": "lr"}, {"hparam": "optimizer"}]
    request = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": columns, "startIndex": 0, "sliceSize": 10}
    groups = get("plugin/hparams/session_groups", request)["sessionGroups"]
    found = {(group["hparams"]["lr"], group["hparams"]["optimizer"]) for group in groups}
    assert found == {(0.1, "sgd"), (0.2, "sgd")}
    experiment = get("plugin/hparams/experiment", {"experimentName": ""})
    assert {info["name"]["tag"] for info in experiment["metricInfos"]} >= {"accuracy"}


def test_graph(get):
    text = get("plugin/graphs/graph", run="run", conceptual="false").decode()
    assert 'name: "Sequential/ReLU[0]/relu"' in text
    assert 'op: "IO Node"' in text


def test_page(get, server, tmp_path):
    """What a reader sees: the page has a card for each series, and a picture of it has been drawn."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium")
    picture = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,4000", "--virtual-time-budget=20000"]
    command = [browser, *options, f"--screenshot={picture}", "--dump-dom", f"{server}/#timeseries"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    for name in ("run/second", "accuracy", "histogram", "image", "boxes"):
        assert name in text, name
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (1400, 4000)
    assert picture.stat().st_size > 100_000  # an empty page is a fifth of that
