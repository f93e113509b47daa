"""Log directories that are URLs."""

from __future__ import annotations

import os
import sys
import types

import numpy as np
import pytest

from flambeau.utils.tensorboard import SummaryReader, SummaryWriter, _storage
from flambeau.utils.tensorboard.__main__ import main


@pytest.fixture
def url():
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    yield "memory://bucket/run"
    filesystem.rm("/bucket", recursive=True)


def test_remote_run(url, capsys):
    writer = SummaryWriter(url, subdirectories=True)
    writer.add_scalar("loss", 1.0, 1)
    writer.add_scalars("main", {"a": 2.0}, 1)
    writer.add_image("image", np.zeros((3, 5, 5)))
    writer.add_embedding(np.eye(3), tag="first")
    writer.add_embedding(np.eye(3), tag="second")
    writer.flush()
    reader = SummaryReader(url)
    assert reader.scalars("loss").values.tolist() == [1.0]
    writer.add_scalar("loss", 2.0, 2)
    writer.flush()
    assert reader.scalars("loss").values.tolist() == [1.0, 2.0]
    writer.close()
    writer.add_scalar("loss", 3.0, 3)
    writer.close()
    assert reader.scalars("loss").values.tolist() == [1.0, 2.0, 3.0]
    assert SummaryReader(f"{url}/main_a").tags() == ["main"]
    import fsspec

    config = fsspec.filesystem("memory").cat("/bucket/run/projector_config.pbtxt")
    assert config.count(b"embeddings {") == 2
    main(["export", url])
    assert "main_a,main,1," in capsys.readouterr().out


def test_remote_file_is_uploaded_every_flush_secs(url):
    writer = SummaryWriter(url, flush_secs=1e6)
    file = writer.file_writer.event_writer
    writer.add_scalar("loss", 1.0, 1)
    assert not file.tend()
    assert SummaryReader(url).tags() == []
    file._sync_at = 0
    assert file.tend()
    assert SummaryReader(url).tags() == ["loss"]
    writer.close()


def test_remote_store_that_fails(url, monkeypatch):
    writer = SummaryWriter(url)
    writer.add_scalar("loss", 1.0, 1)

    def fail(*_, **__):
        raise RuntimeError("no credentials")

    with monkeypatch.context() as patch:
        patch.setattr(type(writer.file_writer.event_writer._file._filesystem), "open", fail)
        with pytest.warns(RuntimeWarning, match="no credentials"):
            writer.flush()
    writer.add_scalar("loss", 2.0, 2)
    writer.close()
    assert SummaryReader(url).scalars("loss").values.tolist() == [1.0, 2.0]


def test_fsspec_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"flambeau\[fsspec\]"):
        SummaryWriter("s3://bucket/run")


def test_names_do_not_collide(log_dir, monkeypatch):
    """Another container may have our host name and process id."""
    monkeypatch.setattr(_storage, "_serial", iter([0, 0, 0, 1, 2]))
    monkeypatch.setattr(_storage, "time", types.SimpleNamespace(time=lambda: 1.0))
    for file in [_storage.new_event_file(log_dir, "") for _ in range(3)]:
        file.close()
    assert sorted(name.rpartition(".")[2] for name in os.listdir(log_dir)) == ["0", "1", "2"]
