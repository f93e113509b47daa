from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import tempfile

import pytest

import flambeau as torch
from flambeau import distributed
from flambeau.distributed import checkpoint, init_device_mesh
from flambeau.distributed.checkpoint import CheckpointException, DefaultLoadPlanner, FileSystemReader, FileSystemWriter
from flambeau.distributed.checkpoint.filesystem import _checked, _makes_sense
from flambeau.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp
from flambeau.distributed.checkpoint.metadata import MetadataIndex
from flambeau.distributed.tensor import Partial, Replicate, Shard, distribute_tensor
from tests.distributed.jobs import run


def _state():
    return {
        "model": {"weight": torch.arange(6.0).view(2, 3), "half": torch.ones(2, dtype=torch.bfloat16), "none": torch.zeros(0, 3)},
        "optimizer": {"groups": [{"lr": 0.1, "betas": (0.9, 0.99)}], "state": {}}, "mixed": [torch.ones(1), 2], "plain": [1, 2],
        "text": "x", "scalar": torch.tensor(3), "pair": (torch.ones(2), 1), "view": torch.arange(8.0).view(2, 4)[:, ::2],
    }  # fmt: skip


def _cleared():
    state = _state()
    (
        state["model"]["weight"].zero_(),
        state["model"]["half"].zero_(),
        state["mixed"][0].zero_(),
        state["scalar"].zero_(),
        state["view"].zero_(),
    )
    state["optimizer"]["groups"][0]["lr"] = state["mixed"][1] = state["text"] = state["pair"] = None
    return state


def test_one_process_saves_and_loads(tmp_path):
    listing = checkpoint.save(_state(), checkpoint_id=tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".metadata", "__0_0.distcp"]
    assert listing.planner_data["optimizer.groups.0.lr"] == ("optimizer", "groups", 0, "lr")
    state = _cleared()
    weight = state["model"]["weight"]
    checkpoint.load(state, checkpoint_id=tmp_path)
    assert state["model"]["weight"] is weight and weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["view"].tolist() == [[0, 2], [4, 6]] and state["scalar"].item() == 3 and state["model"]["half"].tolist() == [1, 1]
    assert state["optimizer"]["groups"] == [{"lr": 0.1, "betas": (0.9, 0.99)}] and state["mixed"][1] == 2 and state["text"] == "x"
    assert state["pair"][0].tolist() == [1, 1]
    some = {"model": {"weight": torch.zeros(2, 3, dtype=torch.float64)}}
    checkpoint.load(some, checkpoint_id=tmp_path)
    assert some["model"]["weight"].dtype == torch.float64 and some["model"]["weight"].sum().item() == 15
    checkpoint.load({"new": torch.ones(1), "text": ""}, checkpoint_id=tmp_path, planner=DefaultLoadPlanner(allow_partial_load=True))

    class Counter:
        count = 5

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    counter = Counter()
    checkpoint.save({"counter": counter}, storage_writer=FileSystemWriter(tmp_path / "more", single_file_per_rank=False))
    counter.count = 0
    checkpoint.load({"counter": counter}, storage_reader=FileSystemReader(tmp_path / "more"))
    assert counter.count == 5
    future = checkpoint.async_save(copied := {"x": torch.ones(3)}, checkpoint_id=tmp_path / "async")
    copied["x"].zero_()
    future.result(60)
    checkpoint.load(copied, checkpoint_id=tmp_path / "async")
    assert copied["x"].tolist() == [1, 1, 1]
    dcp_to_torch_save(tmp_path, tmp_path / "whole.pt")
    whole = torch.load(tmp_path / "whole.pt")
    assert whole["model"]["weight"].tolist() == [[0, 1, 2], [3, 4, 5]] and whole["optimizer"]["groups"][0]["lr"] == 0.1
    torch_save_to_dcp(tmp_path / "whole.pt", tmp_path / "again")
    again = _cleared()
    checkpoint.load(again, checkpoint_id=tmp_path / "again")
    assert again["text"] == "x" and again["model"]["weight"].sum().item() == 15


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"nothing": torch.ones(1)}, "Missing key in checkpoint state_dict: nothing"),
        ({"model": {"weight": torch.ones(3, 2)}}, r"Size mismatch between saved \[2, 3\] and current: \[3, 2\] for model.weight"),
        ({"scalar": 1}, "'scalar' is a tensor in the checkpoint"),
        ({"text": torch.ones(1)}, "'text' is a tensor here"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, state, message):
    checkpoint.save(_state(), checkpoint_id=tmp_path)
    with pytest.raises(CheckpointException, match=message) as caught:
        checkpoint.load(state, checkpoint_id=tmp_path)
    assert list(caught.value.failures) == [0]


def test_errors_of_saving(tmp_path):
    with pytest.raises(CheckpointException, match="two values with the flat name 'a.b'"):
        checkpoint.save({"a": {"b": 1}, "a.b": 2}, checkpoint_id=tmp_path)
    with pytest.raises(RuntimeError, match="checkpoint_id"):
        checkpoint.save({})
    checkpoint.save({"a": 1}, checkpoint_id=tmp_path)
    with pytest.raises(CheckpointException, match="overwrite=False"):
        checkpoint.save({"a": 1}, storage_writer=FileSystemWriter(tmp_path, overwrite=False))
    with pytest.raises(CheckpointException, match="there is no checkpoint"):
        checkpoint.load({"a": 1}, checkpoint_id=tmp_path / "nowhere")


class _Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def _reloads(folder, change=lambda listing: None):
    """Change the list of a checkpoint, and load all of it."""
    reader = FileSystemReader(folder)
    listing = reader.read_metadata()
    change(listing)
    FileSystemWriter(folder).write_listing(listing)
    checkpoint.load(_cleared(), checkpoint_id=folder)


def test_files_run_no_code_and_stay_in_their_folder(tmp_path):
    folder, proof = tmp_path / "saved", tmp_path / "proof"
    harm = pickle.dumps(_Harm(proof))
    checkpoint.save(_state(), checkpoint_id=folder)
    _reloads(folder)
    listing = (folder / ".metadata").read_bytes()
    (folder / ".metadata").write_bytes(harm)
    with pytest.raises(CheckpointException, match="system"):
        checkpoint.load(_cleared(), checkpoint_id=folder)
    (folder / ".metadata").write_bytes(pickle.dumps(["no", "list"]))
    with pytest.raises(CheckpointException, match="is damaged"):
        checkpoint.load(_cleared(), checkpoint_id=folder)
    (folder / ".metadata").write_bytes(listing[: len(listing) // 2])
    with pytest.raises(CheckpointException, match="Unpickling"):
        checkpoint.load(_cleared(), checkpoint_id=folder)
    (folder / ".metadata").write_bytes(listing)

    index = MetadataIndex("text")
    secret = tmp_path / "secret"
    stream = io.BytesIO()
    torch.save("secret", stream)
    secret.write_bytes(stream.getvalue())

    def elsewhere(path):
        def change(listing):
            info = listing.storage_data[index]
            info.relative_path, info.offset, info.length = path, 0, os.path.getsize(secret)

        return change

    for path in ("../secret", str(secret)):
        with pytest.raises(CheckpointException, match="not in its folder"):
            _reloads(folder, elsewhere(path))
    os.symlink(secret, folder / "link")
    with pytest.raises(CheckpointException, match="link to outside"):
        _reloads(folder, elsewhere("link"))
    (folder / "evil").write_bytes(harm)
    with pytest.raises(CheckpointException):
        _reloads(folder, elsewhere("evil"))

    def long(listing):
        listing.storage_data[index].relative_path, listing.storage_data[index].length = "evil", 1 << 60

    with pytest.raises(CheckpointException, match="is too short"):
        _reloads(folder, long)

    def large(listing):
        listing.state_dict_metadata["scalar"].size = torch.Size([1 << 40])

    with pytest.raises((CheckpointException, pickle.UnpicklingError)):
        _reloads(folder, large)
    assert not proof.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda listing: listing.state_dict_metadata.update(text=3),
        lambda listing: listing.state_dict_metadata.update({3: listing.state_dict_metadata["text"]}),
        lambda listing: setattr(listing.state_dict_metadata["scalar"], "chunks", [3]),
        lambda listing: setattr(listing.state_dict_metadata["scalar"].properties, "dtype", "float32"),
        lambda listing: setattr(listing.state_dict_metadata["model.weight"].chunks[0], "sizes", torch.Size([9, 9])),
        lambda listing: setattr(listing.state_dict_metadata["model.weight"].chunks[0], "offsets", torch.Size([0])),
        lambda listing: setattr(listing.storage_data[MetadataIndex("text")], "offset", -1),
        lambda listing: setattr(listing.storage_data[MetadataIndex("text")], "length", 1.5),
        lambda listing: setattr(listing.storage_data[MetadataIndex("text")], "relative_path", 3),
    ],
)
def test_lists_that_make_no_sense_are_refused(change):
    """Also by ``python -O``, which takes ``assert`` away."""
    listing = _listing()
    assert _makes_sense(listing)
    change(listing)
    with pytest.raises(pickle.UnpicklingError, match="is damaged"):
        _checked(listing)


def _listing():
    with tempfile.TemporaryDirectory() as folder:
        return checkpoint.save(_state(), checkpoint_id=folder)


def test_pieces_must_not_overlap_and_places_not_lie_within_values(tmp_path):
    checkpoint.save(_state(), checkpoint_id=tmp_path)
    with pytest.raises(CheckpointException, match="pieces of 'model.weight' overlap"):
        _reloads(
            tmp_path,
            lambda listing: listing.state_dict_metadata["model.weight"].chunks.append(
                listing.state_dict_metadata["model.weight"].chunks[0]
            ),
        )
    listing = checkpoint.save(_state(), checkpoint_id=tmp_path)
    listing.planner_data["view"] = ("scalar", "within")
    FileSystemWriter(tmp_path).write_listing(listing)
    with pytest.raises(ValueError, match="what is at 'scalar' is a Tensor"):
        dcp_to_torch_save(tmp_path, tmp_path / "whole.pt")


def test_lists_that_are_cut_or_changed_are_refused(tmp_path):
    checkpoint.save(_state(), checkpoint_id=tmp_path)
    listing = (tmp_path / ".metadata").read_bytes()
    for place in range(12, len(listing) - 1, 41):
        for changed in (listing[:place], listing[:place] + struct.pack("B", listing[place] ^ 0x55) + listing[place + 1 :]):
            (tmp_path / ".metadata").write_bytes(changed)
            with contextlib.suppress(CheckpointException):
                checkpoint.load(_cleared(), checkpoint_id=tmp_path)


# -- several processes -----------------------------------------------------------------------------------------------------


def _whole():
    return torch.arange(35.0).view(7, 5)


def _saves(rank, path):
    mesh = init_device_mesh("cpu", (2,))
    state = {
        "rows": distribute_tensor(_whole(), mesh, [Shard(0)]), "columns": distribute_tensor(_whole(), mesh, [Shard(1)]),
        "everywhere": distribute_tensor(_whole(), mesh, [Replicate()]), "tensor": _whole(), "rank": rank, "few": distribute_tensor(torch.ones(1), mesh, [Shard(0)]),
    }  # fmt: skip
    listing = checkpoint.save(state, checkpoint_id=path)
    distributed.barrier()
    assert len(listing.state_dict_metadata["rows"].chunks) == 2 and len(listing.state_dict_metadata["everywhere"].chunks) == 1
    assert sorted(os.listdir(path)) == [".metadata", "__0_0.distcp", "__1_0.distcp"]
    with pytest.raises(CheckpointException, match="of which no process has an element"):
        checkpoint.save({"x": torch.distributed.tensor.DTensor.from_local(torch.ones(1), mesh, [Partial()])}, checkpoint_id=path)
    assert os.path.exists(path + "/.metadata")  # what could not be saved has not cost what was
    futures = [checkpoint.async_save(state, checkpoint_id=f"{path}-async{more}") for more in ("", *range(5))]  # one after the other
    distributed.all_reduce(torch.ones(1))  # meanwhile
    for future in futures:
        future.result(60)
    if rank == 0:
        os.unlink(path + "-async/__1_0.distcp")
    distributed.barrier()
    with pytest.raises(CheckpointException, match="failed on rank"):
        checkpoint.load({name: state[name] for name in ("rows", "columns", "everywhere", "tensor")}, checkpoint_id=path + "-async")
    if rank == 0:
        with pytest.raises(CheckpointException):
            checkpoint.load({"rows": torch.zeros(7, 5)}, checkpoint_id=path + "-async", no_dist=True)


def _loads(rank, path, size):
    mesh = init_device_mesh("cpu", (size,))
    for placement in (Shard(0), Shard(1), Replicate()):
        state = {name: distribute_tensor(torch.zeros(7, 5), mesh, [placement]) for name in ("rows", "columns", "everywhere")}
        state.update(tensor=torch.zeros(7, 5), rank=None, few=torch.zeros(1))
        checkpoint.load(state, checkpoint_id=path)
        assert all(torch.equal(state[name].full_tensor(), _whole()) for name in ("rows", "columns", "everywhere"))
        assert torch.equal(state["tensor"], _whole()) and state["rank"] == 0 and state["few"].item() == 1


def test_as_many_as_will_load_what_two_have_saved(tmp_path):
    path = str(tmp_path / "saved")
    run(_saves, 2, path)
    for size in (1, 2, 3):
        run(_loads, size, path, size)
    state = {"rows": torch.zeros(7, 5)}
    checkpoint.load(state, checkpoint_id=path)
    assert torch.equal(state["rows"], _whole())


def test_files_are_those_of_pytorch(tmp_path):
    reference = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch.distributed.checkpoint")
    checkpoint.save(_state(), checkpoint_id=tmp_path / "ours")
    state = {"model": {"weight": reference.zeros(2, 3)}, "text": "", "optimizer": {"groups": [{"lr": 0.0}]}}
    with pytest.warns(UserWarning):
        theirs.load(state, checkpoint_id=tmp_path / "ours")
        assert state["model"]["weight"].sum() == 15 and state["text"] == "x" and state["optimizer"]["groups"][0]["lr"] == 0.1
        theirs.save({"model": {"weight": reference.arange(6.0).view(2, 3)}, "text": "y"}, checkpoint_id=tmp_path / "theirs")
    own = {"model": {"weight": torch.zeros(2, 3)}, "text": ""}
    checkpoint.load(own, checkpoint_id=tmp_path / "theirs")
    assert own["model"]["weight"].sum().item() == 15 and own["text"] == "y"
