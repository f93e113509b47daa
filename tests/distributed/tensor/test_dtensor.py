from __future__ import annotations

import copy

import pytest

import flambeau as torch
from flambeau import distributed
from flambeau.distributed import DeviceMesh, init_device_mesh
from flambeau.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_module, distribute_tensor, full, ones, randn, zeros
from flambeau.distributed.tensor._utils import compute_local_shape_and_global_offset
from flambeau.distributed.tensor.placement_types import _StridedShard
from tests.distributed.jobs import run


def test_placements_say_what_they_are():
    assert [repr(each) for each in (Shard(1), Replicate(), Partial())] == ["Shard(dim=1)", "Replicate()", "Partial(sum)"]
    assert [str(each) for each in (Shard(1), Replicate(), Partial("avg"))] == ["S(1)", "R", "P(avg)"]
    assert Shard(0) == Shard(0) != Shard(1) and Replicate() == Replicate() and Partial() != Partial("max")
    assert Shard(0).is_shard(0) and not Shard(0).is_shard(1) and Partial().is_partial("sum") and Replicate().is_replicate()
    assert len({Shard(0), Shard(0), Replicate(), Replicate(), Partial()}) == 3
    with pytest.raises(ValueError, match="'mean'"):
        Partial("mean")
    with pytest.raises(TypeError, match="number of a dimension"):
        Shard("0")


def _pieces(rank):
    mesh = init_device_mesh("cpu", (3,))
    whole = torch.arange(20.0).view(5, 4)
    x = distribute_tensor(whole if rank == 0 else torch.zeros(5, 4), mesh, [Shard(0)])
    assert x.shape == (5, 4) and x.stride() == (4, 1) and x.numel() == 20 and len(x) == 5 and x.is_leaf
    assert torch.equal(x.to_local(), whole[2 * rank : 2 * rank + 2]) and x.placements == (Shard(0),) and x.device_mesh is mesh
    for wanted in (Shard(1), Replicate(), Shard(0), Shard(-1)):
        moved = x.redistribute(placements=[wanted])
        assert torch.equal(moved.full_tensor(), whole)
        assert moved.placements[0] == (Shard(1) if wanted == Shard(-1) else wanted)
    few = distribute_tensor(torch.arange(2.0), mesh, [Shard(0)])
    assert few.to_local().tolist() == [[0.0], [1.0], []][rank] and few.full_tensor().tolist() == [0, 1] and (few + 1).sum().item() == 3
    with pytest.raises(RuntimeError, match="Can not redistribute from"):
        x.redistribute(placements=[Partial()])
    with pytest.raises(ValueError, match="distributed already"):
        distribute_tensor(x, mesh, [Shard(1)])
    with pytest.raises(ValueError, match="must have the same length"):
        distribute_tensor(whole, mesh, [Shard(0), Shard(0)])
    with pytest.raises(IndexError, match="has 2 dimensions"):
        distribute_tensor(whole, mesh, [Shard(2)])
    uneven = DTensor.from_local(x.to_local(), mesh, [Shard(0)], shape=(5, 4), stride=(4, 1))
    assert torch.equal(uneven.full_tensor(), whole)
    with pytest.raises(ValueError, match="lies as a piece of"):
        DTensor.from_local(torch.ones(1, 4), mesh, [Shard(0)], shape=(9, 4))
    checked = DTensor.from_local(torch.tensor([float(rank)]), mesh, [Replicate()], run_check=True)
    assert checked.to_local().item() == 0
    assert DTensor.from_local(torch.tensor([float(rank)]), mesh, [Partial("max")]).full_tensor().item() == 2
    assert zeros(5, 2, device_mesh=mesh, placements=[Shard(0)]).to_local().shape == ((2, 2), (2, 2), (1, 2))[rank]
    assert full((4,), 3.0, device_mesh=mesh).sum().item() == 12 and ones((2, 2), dtype=torch.int64, device_mesh=mesh).dtype == torch.int64
    torch.manual_seed(0)
    drawn = randn(4, 3, device_mesh=mesh, placements=[Shard(0)], requires_grad=True)
    torch.manual_seed(0)
    assert torch.equal(drawn.full_tensor(), torch.randn(4, 3)) and drawn.requires_grad
    if rank == 0:
        assert (
            repr(few) == "DTensor(local_tensor=tensor([0.]), device_mesh=DeviceMesh((3,), 'cpu', stride=(1,)), placements=(Shard(dim=0),))"
        )
    with mesh:
        assert distribute_tensor(torch.ones(2)).device_mesh is mesh


def test_pieces_and_wholes():
    run(_pieces, 3)


def _several_pieces_each(rank):
    mesh = init_device_mesh("cpu", (2,))
    for size in (8, 7, 3, 0):
        whole = torch.arange(size * 2.0).view(size, 2)
        placement = _StridedShard(-2, split_factor=2)
        x = distribute_tensor(whole, mesh, [placement])
        rows = [row for start, end in placement.pieces(size, 2)[rank] for row in range(start, end)]
        assert torch.equal(x.to_local(), whole[rows]) and x.placements == (_StridedShard(0, split_factor=2),)
        assert compute_local_shape_and_global_offset(whole.shape, mesh, x.placements)[0] == (len(rows), 2)
        for wanted in (Replicate(), Shard(0), Shard(1)):
            assert torch.equal(x.redistribute(placements=[wanted]).full_tensor(), whole)
        assert torch.equal((x + 1).full_tensor(), whole + 1)
    assert compute_local_shape_and_global_offset((5, 2), mesh, [Shard(0)]) == (((3, 2), (2, 2))[rank], ((0, 0), (3, 0))[rank])
    assert compute_local_shape_and_global_offset((5, 2), mesh, [Shard(0)], skip_offset=True)[1] == ()
    assert DTensor.from_local(torch.ones(2, 4), mesh, [_StridedShard(1, sf=2)]).shape == (2, 8)


def test_processes_that_have_several_pieces_of_a_tensor():
    run(_several_pieces_each, 2)
    placement = _StridedShard(0, split_factor=2)
    assert repr(placement) == "_StridedShard(dim=0, sf=2)" and str(placement) == "_S(0, 2)" and not placement.is_shard()
    assert (
        placement == _StridedShard(0, sf=2) != _StridedShard(0) and placement != Shard(0) and len({placement, _StridedShard(0, sf=2)}) == 1
    )
    assert Shard.local_shard_size_and_offset(5, 2, 1) == (2, 3)
    with pytest.raises(TypeError, match="give one"):
        _StridedShard(0, split_factor=2, sf=2)


def _cut_again(rank):
    mesh = init_device_mesh("cpu", (2, 2))
    whole = torch.arange(8.0)
    x = distribute_tensor(whole, mesh, [_StridedShard(0, split_factor=2), Shard(0)])
    assert x.to_local().tolist() == [[0, 1], [4, 5], [2, 3], [6, 7]][rank] and torch.equal(x.full_tensor(), whole)


def test_cut_first_along_the_last_dimension_of_the_mesh():
    run(_cut_again, 4)


def _gradients(rank):
    mesh = init_device_mesh("cpu", (2,))
    local = torch.full((2, 3), float(rank + 1), requires_grad=True)
    y = DTensor.from_local(local, mesh, [Shard(0)])
    assert not y.is_leaf or y.grad_fn is not None
    seen = []
    y.register_hook(lambda grad: seen.append(grad))
    (y * torch.tensor(2.0)).full_tensor().square().sum().backward()
    assert torch.equal(local.grad, torch.full((2, 3), 8.0 * (rank + 1)))
    assert isinstance(seen[0], DTensor) and seen[0].shape == (4, 3)

    part = torch.tensor([rank + 1.0], requires_grad=True)  # the gradient of each part of a sum is that of the sum
    (DTensor.from_local(part, mesh, [Partial()]).redistribute(placements=[Replicate()]) ** 2).to_local().backward()
    assert part.grad.item() == 6
    part = torch.tensor([rank + 1.0], requires_grad=True)
    (DTensor.from_local(part, mesh, [Partial("avg")]).redistribute(placements=[Replicate()]) ** 2).to_local().backward()
    assert part.grad.item() == 3  # as PyTorch has it: that of the average

    x = distribute_tensor(torch.ones(4), mesh, [Replicate()]).requires_grad_()
    (x.to_local(grad_placements=[Partial()]) * (rank + 1.0)).sum().backward()
    assert x.grad.full_tensor().tolist() == [3] * 4
    x.grad = None
    x.to_local().sum().backward(retain_graph=True)
    assert x.grad.placements == (Replicate(),) and x.grad.to_local().tolist() == [1] * 4
    (x.grad * 2).sum()
    w = distribute_tensor(torch.tensor([1.0, 2.0]), mesh, [Shard(0)]).requires_grad_()
    (w**3).sum().backward(create_graph=True)
    (w.grad**2).sum().backward()
    assert torch.allclose(w.grad.full_tensor(), torch.tensor([3 + 36.0, 12 + 288.0]))
    (found,) = torch.autograd.grad((w**2).mean(), w)
    assert found.placements == (Shard(0),) and found.full_tensor().tolist() == [1, 2]
    (w**2).backward(distribute_tensor(torch.tensor([1.0, 10.0]), mesh, [Replicate()]), inputs=[w])


def test_gradients_lie_as_their_tensors():
    run(_gradients)


def _modules(rank):
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    model = copy.deepcopy(plain)

    def cut(name, part, mesh):
        if name == "0":
            for key, parameter in list(part.named_parameters()):
                part.register_parameter(key, torch.nn.Parameter(distribute_tensor(parameter, mesh, [Shard(0)])))

    distribute_module(
        model, mesh, cut, lambda part, inputs, mesh: (DTensor.from_local(inputs[0], mesh, [Shard(0)]),), lambda part, outputs, mesh: outputs.full_tensor()
    )  # fmt: skip
    weight = model[0].weight
    assert isinstance(weight, torch.nn.Parameter) and isinstance(weight, DTensor) and weight.to_local().shape == (3, 4)
    assert model[2].weight.placements == (Replicate(),) and list(model.state_dict()) == list(plain.state_dict())
    x = torch.randn(6, 4)
    optimizers = [torch.optim.AdamW(each.parameters(), lr=0.05) for each in (plain, model)]
    for _ in range(3):
        for each, optimizer, inputs in zip((plain, model), optimizers, (x, x[rank * 3 : rank * 3 + 3])):
            optimizer.zero_grad()
            each(inputs).square().mean().backward()
            norm = torch.nn.utils.clip_grad_norm_(each.parameters(), 0.5)
            optimizer.step()
        assert norm.placements == (Replicate(),)
    for own, expected in zip(model.parameters(), plain.parameters()):
        assert own.grad.placements == own.placements
        torch.testing.assert_close(own.full_tensor(), expected)
    assert optimizers[1].state[weight]["exp_avg"].placements == (Shard(0),)
    again = copy.deepcopy(model[0])
    assert isinstance(again.weight, torch.nn.Parameter) and torch.equal(again.weight.full_tensor(), weight.full_tensor())
    torch.nn.init.ones_(again.weight)
    again.load_state_dict({**model[0].state_dict(), "bias": again.bias * 0})
    assert torch.equal(again.weight.to_local(), weight.to_local()) and again.bias.sum().item() == 0
    assert again.double().weight.dtype == torch.float64 and again.weight.shape == (6, 4)
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        torch.save(weight, "/dev/null")


def test_modules_of_distributed_parameters_train():
    run(_modules)


def _outside(rank):
    half = DeviceMesh("cpu", [1])
    x = distribute_tensor(torch.arange(3.0), half, [Shard(0)])
    assert x.shape == (3,) and x.to_local().numel() == (3 if rank == 1 else 0)
    distributed.barrier()


def test_processes_outside_of_the_mesh_have_nothing():
    run(_outside)


def _again(rank, path):
    for turn in range(2):
        if turn:
            distributed.destroy_process_group()
            distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
        mesh = init_device_mesh("cpu", (2,))
        y = distribute_tensor(torch.ones(4), mesh, [Shard(0)]) + 1
        assert y.device_mesh is mesh and y.full_tensor().sum().item() == 8


def test_groups_that_come_after_others(tmp_path):
    run(_again, 2, str(tmp_path / "again"))
