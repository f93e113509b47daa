"""Planners and storages of one's own."""

from __future__ import annotations

import io

import pytest

import flambeau as torch
from flambeau.distributed import checkpoint, init_device_mesh
from flambeau.distributed.checkpoint import CheckpointException, DefaultLoadPlanner, DefaultSavePlanner, Metadata
from flambeau.distributed.checkpoint.planner import LoadItemType, WriteItemType
from flambeau.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from flambeau.distributed.tensor import Shard, distribute_tensor
from flambeau.futures import Future
from tests.distributed.jobs import run


def _state():
    return {"model": {"weight": torch.arange(6.0).view(2, 3)}, "step": 3}


class HalfPlanner(DefaultSavePlanner):
    """Saves tensors in half precision."""

    def create_local_plan(self):
        plan = super().create_local_plan()
        for item in plan.items:
            if item.tensor_data is not None:
                item.tensor_data.properties.dtype = torch.float16
        return plan

    def resolve_data(self, write_item):
        data = super().resolve_data(write_item)
        return data if write_item.type is WriteItemType.BYTE_IO else data.to(torch.float16)


class RenamePlanner(DefaultLoadPlanner):
    """Loads what has another name in the checkpoint."""

    def set_up_planner(self, state_dict, metadata=None, is_coordinator=False):
        super().set_up_planner({"model": {"weight": state_dict["kernel"]}, "step": state_dict["epoch"]}, metadata, is_coordinator)
        self.wanted, self.committed = state_dict, []

    def load_bytes(self, read_item, value):
        assert read_item.type is LoadItemType.BYTE_IO
        self.wanted["epoch"] = torch.load(value)

    def commit_tensor(self, read_item, tensor):
        self.committed.append((read_item.dest_index.fqn, tuple(tensor.shape)))


def test_planners_of_ones_own(tmp_path):
    listing = checkpoint.save(_state(), checkpoint_id=tmp_path, planner=HalfPlanner())
    assert listing.state_dict_metadata["model.weight"].properties.dtype == torch.float16
    assert listing.storage_meta.checkpoint_id == str(tmp_path) and listing.planner_data["model.weight"] == ("model", "weight")
    state, planner = {"kernel": torch.zeros(2, 3), "epoch": None}, RenamePlanner()
    checkpoint.load(state, checkpoint_id=tmp_path, planner=planner)
    assert state["kernel"].tolist() == [[0, 1, 2], [3, 4, 5]] and state["epoch"] == 3
    assert planner.committed == [("model.weight", (2, 3))]

    class Elsewhere(DefaultLoadPlanner):
        def resolve_tensor(self, read_item):
            return torch.empty(self.lengths or read_item.lengths)

        def commit_tensor(self, read_item, tensor):
            self.original_state_dict["model"]["weight"] = tensor

    Elsewhere.lengths = None
    state = {"model": {"weight": torch.zeros(2, 3, device="meta")}, "step": 0}
    checkpoint.load(state, checkpoint_id=tmp_path, planner=Elsewhere())
    assert state["model"]["weight"].sum().item() == 15
    Elsewhere.lengths = (3, 2)
    with pytest.raises(CheckpointException, match=r"size \[2, 3\] cannot be copied to what resolve_tensor gave, of size \[3, 2\]"):
        checkpoint.load(state, checkpoint_id=tmp_path, planner=Elsewhere())
    future = checkpoint.async_save(saved := _state(), checkpoint_id=tmp_path / "later", planner=HalfPlanner())
    saved["model"]["weight"].zero_()
    assert future.result(60).state_dict_metadata["model.weight"].properties.dtype == torch.float16
    checkpoint.load(saved, checkpoint_id=tmp_path / "later")
    assert saved["model"]["weight"].sum().item() == 15


SHELF: dict = {}


class ShelfWriter(StorageWriter):
    """Keeps everything in a dictionary."""

    def reset(self, checkpoint_id=None):
        SHELF.clear()

    def set_up_storage_writer(self, is_coordinator, *args, **kwargs):
        self.is_coordinator = is_coordinator

    def prepare_local_plan(self, plan):
        return plan

    def prepare_global_plan(self, plans):
        return plans

    def write_data(self, plan, planner):
        results = []
        for item in plan.items:
            data = planner.resolve_data(item)
            SHELF[item.index] = data.clone() if isinstance(data, torch.Tensor) else data.getvalue()
            results.append(WriteResult(item.index, 1, "shelf"))
        future = Future()
        future.set_result(results)
        return future

    def finish(self, metadata, results):
        assert self.is_coordinator
        metadata.storage_data = {each.index: each.storage_data for theirs in results for each in theirs}
        SHELF["listing"] = metadata

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id):
        return True


class ShelfReader(StorageReader):
    def reset(self, checkpoint_id=None):
        pass

    def read_metadata(self):
        return SHELF["listing"]

    def set_up_storage_reader(self, metadata, is_coordinator, *args, **kwargs):
        assert isinstance(metadata, Metadata)

    def prepare_local_plan(self, plan):
        return plan

    def prepare_global_plan(self, plans):
        return plans

    def read_data(self, plan, planner):
        for item in plan.items:
            saved = SHELF[item.storage_index]
            if item.type is LoadItemType.BYTE_IO:
                planner.load_bytes(item, io.BytesIO(saved))
            else:
                target = planner.resolve_tensor(item)
                target.copy_(saved)
                planner.commit_tensor(item, target)
        future = Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id):
        return "listing" in SHELF


def test_storages_of_ones_own():
    checkpoint.save(_state(), storage_writer=ShelfWriter())
    state = {"model": {"weight": torch.zeros(2, 3)}, "step": 0}
    checkpoint.load(state, storage_reader=ShelfReader())
    assert state["model"]["weight"].sum().item() == 15 and state["step"] == 3
    with pytest.raises(TypeError, match="storage_writer is a StorageWriter"):
        checkpoint.save(_state(), storage_writer=3)
    with pytest.raises(TypeError, match="can't|Can't"):
        StorageWriter()


class LastPlanner(DefaultSavePlanner):
    """Lets the last process that has something write it."""

    def create_global_plan(self, all_plans):
        plans, listing = super().create_global_plan(all_plans[::-1])
        return plans[::-1], listing


def _last(rank, path):
    mesh = init_device_mesh("cpu", (2,))
    state = {"rows": distribute_tensor(torch.arange(6.0).view(3, 2), mesh, [Shard(0)]), "same": torch.ones(4)}
    listing = checkpoint.save(state, checkpoint_id=path, planner=LastPlanner(dedup_save_to_lowest_rank=True))
    places = {index.fqn: info.relative_path for index, info in listing.storage_data.items()}
    assert places["same"] == "__1_0.distcp"
    whole = {"rows": torch.zeros(3, 2), "same": torch.zeros(4)}
    checkpoint.load(whole, checkpoint_id=path)
    assert whole["rows"].tolist() == [[0, 1], [2, 3], [4, 5]] and whole["same"].sum().item() == 4


def test_the_first_process_plans_for_all(tmp_path):
    run(_last, 2, str(tmp_path))
