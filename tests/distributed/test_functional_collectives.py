from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import distributed
from flambeau.distributed import _functional_collectives as collectives
from flambeau.distributed import init_device_mesh
from tests.distributed.jobs import run


def _all(rank):
    mesh = init_device_mesh("cpu", (2,))
    x = torch.full((2, 2), rank + 1.0, requires_grad=True)
    assert collectives.all_reduce(x, "sum", mesh).tolist() == [[3, 3], [3, 3]]
    assert collectives.all_reduce(x, "max", (mesh, 0)).tolist() == [[2, 2], [2, 2]]
    assert collectives.broadcast(x, 1, mesh.get_group()).tolist() == [[2, 2], [2, 2]]
    gathered = collectives.wait_tensor(collectives.all_gather_tensor(x, 1, mesh))
    assert gathered.tolist() == [[1, 1, 2, 2]] * 2
    (gathered * (rank + 1)).sum().backward()
    assert x.grad.tolist() == [[3, 3], [3, 3]] and x.is_leaf
    part = collectives.reduce_scatter_tensor(x * torch.tensor([1.0, 10.0]), "sum", 1, mesh)
    assert part.tolist() == [[[3], [3]], [[30], [30]]][rank]
    sizes = [[1, 2], [2, 0]]
    rows = torch.arange(sum(sizes[rank]) * 1.0, requires_grad=True)
    moved = collectives.all_to_all_single_autograd(rows, [each[rank] for each in sizes], sizes[rank], distributed.group.WORLD)
    assert moved.tolist() == [[0, 0, 1], [1, 2]][rank]
    (moved * (rank + 1)).sum().backward()
    assert rows.grad.tolist() == [[1, 2, 2], [1, 1]][rank]
    assert (
        collectives.all_to_all_single(torch.tensor([10.0 * rank, 10.0 * rank + 1]), None, None, mesh).tolist() == [[0, 10], [1, 11]][rank]
    )
    with pytest.raises(ValueError, match="2 equal parts"):
        collectives.reduce_scatter_tensor(torch.ones(3), "sum", 0, mesh)
    with pytest.raises(ValueError, match="'mean' is none of|'mean'\\) is none of"):
        collectives.all_reduce(x, "mean", mesh)


def test_they_return_new_tensors_with_gradients():
    run(_all, 2)
