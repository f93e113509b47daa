from __future__ import annotations

import subprocess
import sys

import pytest

import flambeau as torch
from flambeau import distributed
from tests.distributed.jobs import run


def _grid(rank):
    mesh = distributed.init_device_mesh("cpu", (2, 2), mesh_dim_names=("rows", "columns"))
    assert (mesh.shape, mesh.ndim, mesh.size(), mesh.get_rank()) == ((2, 2), 2, 4, rank)
    assert mesh.get_coordinate() == [rank // 2, rank % 2] and mesh.get_local_rank("columns") == rank % 2
    for name, expected in (("rows", [2, 4, 2, 4]), ("columns", [1, 1, 5, 5])):
        x = torch.tensor(rank)
        distributed.all_reduce(x, group=mesh.get_group(name))
        assert x == expected[rank] and mesh[name].get_group() is mesh.get_group(name)
    assert mesh["columns"].mesh.tolist() == [rank // 2 * 2, rank // 2 * 2 + 1]
    with pytest.raises(RuntimeError, match="needs to be specified when mesh.ndim > 1"):
        mesh.get_group()
    with pytest.raises(IndexError, match="the mesh has 2 dimensions, of which 2 is none"):
        mesh.get_group(2)
    with pytest.raises(KeyError, match="Invalid mesh_dim_name depth"):
        mesh["depth"]
    assert repr(mesh) == "DeviceMesh((rows=2, columns=2), 'cpu', stride=(2, 1))" and repr(mesh["columns", "rows"]).endswith(
        "stride=(1, 2))"
    )
    assert mesh["columns", "rows"].mesh.tolist() == [[0, 2], [1, 3]] and mesh["rows"]._parent is mesh
    flat = mesh._flatten("all")
    assert flat.size() == 4 and mesh["all"] is flat and flat.get_group().size() == 4
    again = distributed.DeviceMesh.from_group(mesh.get_group("rows"), "cpu")
    assert again.get_group() is mesh.get_group("rows") and again.get_local_rank() == rank // 2
    line = distributed.init_device_mesh("cpu", (4,))
    assert line.get_group() is distributed.group.WORLD
    half = distributed.DeviceMesh("cpu", [1, 2])
    if rank in (1, 2):
        assert half.get_local_rank() == rank - 1
    else:
        assert half.get_group() == distributed.GroupMember.NON_GROUP_MEMBER and half.get_coordinate() is None
        with pytest.raises(RuntimeError, match=f"rank {rank} is not in DeviceMesh"):
            half.get_local_rank()
    with pytest.raises(RuntimeError, match="a mesh of 6 different ranks is wanted of 4 processes"):
        distributed.init_device_mesh("cpu", (2, 3))


def test_rows_and_columns_are_groups():
    run(_grid, 4)


def test_what_is_missing_says_so():
    for backend in ("nccl", "mpi"):
        with pytest.raises(RuntimeError, match=f"doesn't have {backend.upper()} built in"):
            distributed.init_process_group(backend)
    with pytest.raises(AssertionError, match="Unknown backend type carrier-pigeon"):
        distributed.init_process_group("carrier-pigeon")
    with pytest.raises(ValueError, match="has not been initialized"):
        distributed.all_reduce(torch.ones(1))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("env://", "environment variable RANK expected, but not set"),
        ("tcp://localhost", "host or port number missing"),
        ("tcp://localhost:1", "rank parameter missing"),
        ("file:///nowhere", "rank parameter missing"),
    ],
)
def test_what_is_needed_to_meet(method, message, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match=message):
        distributed.init_process_group(init_method=method)
    with pytest.raises(RuntimeError, match="No rendezvous handler for smoke://"):
        distributed.init_process_group(init_method="smoke://signal")


def test_a_job_of_one_process_in_this_one():
    with pytest.raises(ValueError, match="Cannot specify both init_method and store"):
        distributed.init_process_group(store=distributed.HashStore(), init_method="env://", rank=0, world_size=1)
    distributed.init_process_group(store=distributed.HashStore(), rank=0, world_size=1)
    try:
        x = torch.ones(3)
        distributed.all_reduce(x)
        assert x.tolist() == [1, 1, 1] and len(torch.utils.data.DistributedSampler(range(4))) == 4
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
        model(torch.ones(1, 1)).sum().backward()
        assert model.module.weight.grad.item() == 1
    finally:
        distributed.destroy_process_group()
    assert not distributed.is_initialized()


def test_import_does_not_load_what_few_need():
    code = "import flambeau, sys; sys.exit(any(name.startswith('flambeau.distributed') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
