from __future__ import annotations

import json

import pytest

import flambeau as torch
from flambeau.distributed import checkpoint, init_device_mesh
from flambeau.distributed.checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files
from flambeau.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from flambeau.distributed.tensor import Shard, distribute_tensor, zeros
from tests.distributed.jobs import run


def state():
    return {"a": torch.arange(10.0).view(5, 2), "b": torch.tensor(1.5, dtype=torch.bfloat16), "c": torch.zeros(0, 2, dtype=torch.int64)}


def test_one_process_writes_what_the_safetensors_package_reads(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    checkpoint.save(
        {name: value for name, value in state().items() if name != "b"},
        no_dist=True,
        storage_writer=HuggingFaceStorageWriter(tmp_path, {"a": 1, "c": 2}),
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    assert safetensors.load_file(tmp_path / "model-00001-of-00002.safetensors")["a"].tolist() == state()["a"].tolist()
    assert safetensors.load_file(tmp_path / "model-00002-of-00002.safetensors")["c"].shape == (0, 2)
    listing = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert listing == {
        "metadata": {"total_size": 40},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"},
    }


def test_there_and_back(tmp_path):
    checkpoint.save(state(), no_dist=True, storage_writer=HuggingFaceStorageWriter(tmp_path))
    loaded = {name: torch.full_like(value, 7) for name, value in state().items()}
    checkpoint.load(loaded, no_dist=True, storage_reader=HuggingFaceStorageReader(tmp_path))
    assert all(torch.equal(loaded[name], value) for name, value in state().items())
    checkpoint.save({"a": state()["a"]}, no_dist=True, storage_writer=HuggingFaceStorageWriter(tmp_path))
    with pytest.raises(checkpoint.CheckpointException, match="Missing key"):
        checkpoint.load({"b": torch.tensor(1.0)}, no_dist=True, storage_reader=HuggingFaceStorageReader(tmp_path))


def _pieces(rank, path):
    mesh = init_device_mesh("cpu", (2,))
    whole = state()["a"]
    x = distribute_tensor(whole, mesh, [Shard(0)])
    writer = HuggingFaceStorageWriter(f"{path}/pieces", save_distributed=True)
    checkpoint.save({"a": x, "b": state()["b"]}, storage_writer=writer)
    y = zeros(5, 2, device_mesh=mesh, placements=[Shard(1)])
    checkpoint.load({"a": y}, storage_reader=HuggingFaceStorageReader(f"{path}/pieces"))
    assert torch.equal(y.full_tensor(), whole)
    checkpoint.save({"a": x}, storage_writer=HuggingFaceStorageWriter(f"{path}/joined", save_distributed=True, enable_consolidation=True))


def test_each_process_writes_its_pieces(tmp_path):
    run(_pieces, 2, str(tmp_path))
    assert sorted(each.name for each in (tmp_path / "pieces").iterdir()) == [
        "shard-00001-model-00001-of-00001.safetensors", "shard-00002-model-00001-of-00001.safetensors",
    ]  # fmt: skip
    (tmp_path / "whole").mkdir()
    consolidate_safetensors_files(str(tmp_path / "pieces"), str(tmp_path / "whole"), {"a": 1, "b": 1})
    for folder in ("whole", "joined"):
        loaded = {"a": torch.zeros(5, 2)}
        checkpoint.load(loaded, no_dist=True, storage_reader=HuggingFaceStorageReader(tmp_path / folder))
        assert torch.equal(loaded["a"], state()["a"])


def test_what_cannot_be_written_or_read(tmp_path):
    with pytest.raises(checkpoint.CheckpointException, match="tensors alone"):
        checkpoint.save({"a": 1}, no_dist=True, storage_writer=HuggingFaceStorageWriter(tmp_path))
    with pytest.raises(FileNotFoundError, match="safetensors in"):
        HuggingFaceStorageReader(tmp_path / "nowhere").read_metadata()
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match="no safetensors file"):
        HuggingFaceStorageReader(tmp_path).read_metadata()
    header = b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match="does not fit its 67 bytes"):
        HuggingFaceStorageReader(tmp_path).read_metadata()


def entry(**changed):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": entry(dtype="F17")}, "no safetensors file"),
        ({"a": entry(dtype=["F32"])}, "no safetensors file"),
        ({"a": entry(shape=[-1, -2])}, "none below 0"),
        ({"a": entry(shape=[2.0])}, "lists of integers"),
        ({"a": entry(shape=[True, 2])}, "lists of integers"),
        ({"a": entry(shape=2)}, "lists of integers"),
        ({"a": entry(shape=[2**63, 0], data_offsets=[0, 0])}, "lists of integers"),
        ({"a": entry(shape=[3])}, "does not have 8 bytes"),
        ({"a": entry(data_offsets=[8, 0])}, "does not have -8 bytes"),
        ({"a": entry(data_offsets=[0])}, "no safetensors file"),
        ({"a": entry(), "b": entry(data_offsets=[4, 12])}, "does not fit its"),
        ({"a": entry(data_offsets=[16, 24])}, "does not fit its"),
        ({"a": 1}, "no safetensors file"),
        ([1], "no safetensors file"),
        ({"__metadata__": {"DCP_SHARDING_INFO": "{"}, "a": entry()}, "DCP_SHARDING_INFO cannot be read"),
        ({"__metadata__": {"DCP_SHARDING_INFO": '{"a": {"saved_offsets": [-1]}}'}, "a": entry()}, "does not fit its tensors"),
        ({"__metadata__": {"DCP_SHARDING_INFO": '{"a": {"saved_offsets": [0, 0]}}'}, "a": entry()}, "does not fit its tensors"),
    ],
)
def test_headers_that_make_no_sense(header, message, tmp_path):
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(ValueError, match=message):
        HuggingFaceStorageReader(tmp_path).read_metadata()


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{\xff}", b"", b"\xff" * 7])
def test_headers_that_are_no_json(content, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(ValueError, match="no safetensors file"):
        HuggingFaceStorageReader(tmp_path).read_metadata()
