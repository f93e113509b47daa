from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.distributed import checkpoint, init_device_mesh
from flambeau.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from flambeau.distributed.fsdp import FullyShardedDataParallel, fully_shard
from flambeau.distributed.fsdp.wrap import ModuleWrapPolicy
from flambeau.distributed.tensor import DTensor
from flambeau.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from tests.distributed.jobs import run

WHOLE = StateDictOptions(full_state_dict=True)


def _made(kind, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 2))
    if kind == "fully_shard":
        fully_shard(model[0])
        fully_shard(model)
    elif kind.startswith("fsdp"):
        model = FullyShardedDataParallel(model, auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), use_orig_params=kind == "fsdp, parameters")
    elif kind == "ddp":
        model = nn.parallel.DistributedDataParallel(model)
    elif kind == "tensor":
        parallelize_module(
            model, init_device_mesh("cpu", (2,)), {"0": ColwiseParallel(output_layouts=torch.distributed.tensor.Replicate())}
        )
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def _step(model, optimizer):
    optimizer.zero_grad()
    model(torch.arange(12.0).view(4, 3)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def _same(first, second):
    for (model, optimizer), (other, theirs) in ((first, second),):
        state, expected = get_model_state_dict(model, options=WHOLE), get_model_state_dict(other, options=WHOLE)
        assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
        found, wanted = (get_optimizer_state_dict(*pair, options=WHOLE)["state"] for pair in ((model, optimizer), (other, theirs)))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name][key], wanted[name][key]) for name in found for key in found[name])


NAMES = ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"]


def _kinds(rank, path):
    for kind in ("fully_shard", "fsdp", "fsdp, parameters", "ddp", "tensor", "plain"):
        trained = _made(kind, 0)
        _step(*trained)
        model, optimizer = get_state_dict(*trained)
        assert sorted(model) == sorted([*NAMES, "2.running_mean", "2.running_var", "2.num_batches_tracked"])
        assert (
            sorted(optimizer["state"]) == sorted(NAMES) == sorted(name for group in optimizer["param_groups"] for name in group["params"])
        )
        assert isinstance(model["0.weight"], DTensor) == (kind not in ("ddp", "plain"))
        folder = f"{path}/{kind}"
        checkpoint.save({"model": model, "optimizer": optimizer}, checkpoint_id=folder)
        again = _made(kind, 1)
        model, optimizer = get_state_dict(*again)
        state = {"model": model, "optimizer": optimizer}
        checkpoint.load(state, checkpoint_id=folder)
        assert not set_state_dict(*again, model_state_dict=state["model"], optim_state_dict=state["optimizer"]).missing_keys
        _same(trained, again)
        _step(*trained), _step(*again)
        _same(trained, again)

        flat = StateDictOptions(full_state_dict=True, flatten_optimizer_state_dict=True)
        whole, numbers = get_state_dict(*trained, options=flat)
        assert (
            not isinstance(whole["0.weight"], DTensor)
            and numbers["state.0.weight.exp_avg"].shape == (5, 3)
            and "param_groups.0.bias.lr" in numbers
        )
        other = _made(kind, 2)
        set_state_dict(*other, model_state_dict=whole, optim_state_dict=numbers, options=flat)
        _same(trained, other)


def test_states_go_through_checkpoints(tmp_path):
    run(_kinds, 2, str(tmp_path))


def _across(rank):
    trained = _made("fully_shard", 0)
    _step(*trained)
    whole, numbers = get_state_dict(*trained, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    assert bool(whole) == bool(numbers) == (rank == 0)
    from_first = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    for kind in ("plain", "fsdp", "fully_shard"):
        other = _made(kind, 3)
        set_model_state_dict(other[0], whole, options=from_first)
        set_optimizer_state_dict(*other, numbers, options=from_first)
        _same(trained, other)
    frozen = _made("plain", 0)[0]
    frozen[0].weight.requires_grad_(False)
    assert "0.weight" not in get_model_state_dict(frozen, options=StateDictOptions(ignore_frozen_params=True))
    with pytest.raises(RuntimeError, match="Missing key"):
        set_model_state_dict(frozen, {})
    assert set_model_state_dict(frozen, {}, options=StateDictOptions(strict=False)).missing_keys
    with pytest.raises(ValueError, match="full_state_dict must be True"):
        set_model_state_dict(frozen, {}, options=StateDictOptions(broadcast_from_rank0=True))
    with pytest.raises(NotImplementedError, match="submodules"):
        get_model_state_dict(frozen, submodules={frozen[0]})


def test_states_go_from_one_kind_to_another():
    run(_across)
