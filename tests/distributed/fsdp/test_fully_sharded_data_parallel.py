from __future__ import annotations

import copy
from functools import partial

import pytest

import flambeau as torch
from flambeau import distributed, nn
from flambeau.distributed import init_device_mesh
from flambeau.distributed.fsdp import (
    CPUOffload,
    FlatParameter,
    FullStateDictConfig,
    FullyShardedDataParallel,
    MixedPrecision,
    ShardingStrategy,
    StateDictType,
)
from flambeau.distributed.fsdp.wrap import (
    CustomPolicy,
    ModuleWrapPolicy,
    enable_wrap,
    size_based_auto_wrap_policy,
    transformer_auto_wrap_policy,
    wrap,
)
from flambeau.distributed.tensor import DTensor, Shard
from flambeau.nn import functional as F
from tests.distributed.fsdp.test_fully_shard import Block, Model
from tests.distributed.jobs import run


def _wrapped(model, **settings):
    return FullyShardedDataParallel(model, auto_wrap_policy=ModuleWrapPolicy({Block}), **settings)


def _steps(rank, name, originals):
    strategy = ShardingStrategy[name]
    torch.manual_seed(0)
    plain = Model()
    model = _wrapped(copy.deepcopy(plain), sharding_strategy=strategy, use_orig_params=originals, cpu_offload=CPUOffload(True))
    names = [key for key, _ in model.named_parameters()]
    assert ("_fsdp_wrapped_module._flat_param" in names) != originals and len(names) == (14 if originals else 3)
    whole = sum(each.numel() for each in plain.parameters())
    own = sum(each.numel() for each in model.parameters())
    assert own == whole if strategy is ShardingStrategy.NO_SHARD else abs(own - whole / 2) <= 3  # pieces are padded
    optimizers = [torch.optim.AdamW(each.parameters(), lr=0.01) for each in (plain, model)]
    for _ in range(3):
        indices, targets = torch.randint(0, 11, (2, 4, 5))
        norms = []
        for each, optimizer in zip((plain, model), optimizers):
            batch = slice(None) if each is plain else slice(2 * rank, 2 * rank + 2)
            optimizer.zero_grad()
            F.cross_entropy(each(indices[batch]).flatten(0, 1), targets[batch].flatten()).backward()
            norms.append(model.clip_grad_norm_(0.1) if each is model else nn.utils.clip_grad_norm_(plain.parameters(), 0.1))
            optimizer.step()
        torch.testing.assert_close(norms[0], norms[1])
    with torch.no_grad():
        torch.testing.assert_close(model(indices), plain(indices))
    with FullyShardedDataParallel.summon_full_params(model):
        for (key, found), (name, expected) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
            assert key == name
            torch.testing.assert_close(found, expected)
            with torch.no_grad():
                found.mul_(2)
    assert names == [key for key, _ in model.named_parameters()]
    state = model.state_dict()
    assert state.keys() == plain.state_dict().keys()
    torch.testing.assert_close(state["head.weight"], plain.head.weight.detach() * 2)
    if strategy is not ShardingStrategy.NO_SHARD:
        _states(rank, model, optimizers[1], state, plain, strategy, originals)


def _states(rank, model, optimizer, state, plain, strategy, originals):
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(rank0_only=True)):
        assert len(model.state_dict()) == (len(state) if rank == 0 else 0)
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        cut = model.state_dict()
        assert isinstance(cut["head.weight"], DTensor) and cut["head.weight"].placements == (Shard(0),)
        assert torch.equal(cut["blocks.0.up.bias"].full_tensor(), state["blocks.0.up.bias"])
    with FullyShardedDataParallel.state_dict_type(model, StateDictType.LOCAL_STATE_DICT):
        assert ("_flat_param" in model.state_dict()) != originals
    optimizers = FullyShardedDataParallel.optim_state_dict(model, optimizer)
    expected = dict(plain.named_parameters())
    assert optimizers["state"].keys() == expected.keys()
    assert all(optimizers["state"][name]["exp_avg"].shape == each.shape for name, each in expected.items())
    torch.manual_seed(5)
    again = _wrapped(Model(), sharding_strategy=strategy, use_orig_params=originals)
    second = torch.optim.AdamW(again.parameters(), lr=1.0)
    kind = StateDictType.SHARDED_STATE_DICT if originals else StateDictType.FULL_STATE_DICT
    with FullyShardedDataParallel.state_dict_type(again, kind):
        assert not again.load_state_dict(cut if originals else state).missing_keys
    second.load_state_dict(FullyShardedDataParallel.optim_state_dict_to_load(again, second, optimizers))
    for each, own in ((model, optimizer), (again, second)):
        own.zero_grad()
        each(torch.full((1, 3), rank)).square().mean().backward()
        own.step()
    for own, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize(("name", "originals"), [("FULL_SHARD", False), ("FULL_SHARD", True), ("SHARD_GRAD_OP", False), ("NO_SHARD", True)])
def test_steps_and_states(name, originals):
    run(_steps, 2, name, originals)


def _settings(rank):
    torch.manual_seed(0)
    plain, indices = Model(), torch.randint(0, 11, (4, 5))
    own = indices[2 * rank : 2 * rank + 2]

    def gradients(model):
        return torch.cat([each.grad.flatten() for each in model.parameters()])

    model = _wrapped(copy.deepcopy(plain))
    with model.no_sync():
        model(own[:1]).square().mean().backward()
        assert all(each.grad is None for each in model.parameters())
    model(own[1:]).square().mean().backward()
    found = gradients(model)
    model.zero_grad()
    (model(own[:1]).square().mean() + model(own[1:]).square().mean()).backward()
    torch.testing.assert_close(found, gradients(model))

    mixed = _wrapped(copy.deepcopy(plain), mixed_precision=MixedPrecision(param_dtype=torch.bfloat16, reduce_dtype=torch.float32))
    assert mixed(own).dtype == torch.bfloat16
    mixed(own).square().mean().backward()
    assert all(each.grad.dtype == torch.float32 for each in mixed.parameters())

    mesh = init_device_mesh("cpu", (2, 1))
    hybrid = _wrapped(copy.deepcopy(plain), sharding_strategy=ShardingStrategy.HYBRID_SHARD, device_mesh=mesh)
    assert len({id(each.process_group) for each in FullyShardedDataParallel.fsdp_modules(hybrid)}) == 1
    alike = _wrapped(copy.deepcopy(plain), sharding_strategy=ShardingStrategy.HYBRID_SHARD)
    assert len({id(each.process_group) for each in FullyShardedDataParallel.fsdp_modules(alike)}) == 1
    hybrid(own).square().mean().backward()
    whole = _wrapped(copy.deepcopy(plain), sharding_strategy=ShardingStrategy.NO_SHARD)
    whole(own).square().mean().backward()
    torch.testing.assert_close(gradients(hybrid), gradients(whole))

    torch.manual_seed(rank)
    layer = nn.Linear(3, 3)
    synchronized = FullyShardedDataParallel(layer, sync_module_states=True).state_dict()["weight"]
    distributed.broadcast(theirs := synchronized.clone(), 0)
    assert torch.equal(theirs, synchronized)

    kept = Model()
    assert FullyShardedDataParallel(kept, ignored_modules=[kept.blocks]).module.blocks[0].up.weight.shape == (14, 7)
    frozen = Model()
    frozen.table.requires_grad_(False)
    with pytest.raises(ValueError, match="uniform `requires_grad`"):
        FullyShardedDataParallel(copy.deepcopy(frozen))
    model = FullyShardedDataParallel(frozen, use_orig_params=True)
    model(own).square().mean().backward()
    assert model.table.weight.grad is None and model.head.weight.grad is not None
    with pytest.raises(AssertionError, match="is not copied"):
        copy.deepcopy(model)
    with pytest.raises(ValueError, match="uniform dtype"):
        FullyShardedDataParallel(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).double()))
    with pytest.raises(NotImplementedError, match="param_init_fn"):
        FullyShardedDataParallel(nn.Linear(1, 1), param_init_fn=print)


def _applied(rank):
    """``apply`` and contexts within each other see whole parameters, and what they change is kept."""

    def number(part):
        if isinstance(part, nn.Linear):
            with torch.no_grad():
                part.weight.copy_(torch.arange(12.0).view(part.weight.shape))

    for originals in (False, True):
        model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 3)))
        model = FullyShardedDataParallel(model, auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), use_orig_params=originals)
        names = [name for name, _ in model.named_parameters()]
        model.apply(number)
        with FullyShardedDataParallel.summon_full_params(model), FullyShardedDataParallel.summon_full_params(model):
            for _, each in model.named_parameters():
                with torch.no_grad():
                    each.add_(1)
        assert [name for name, _ in model.named_parameters()] == names
        state = model.state_dict()
        for name in ("0.weight", "1.0.weight"):
            assert torch.equal(state[name].flatten(), torch.arange(1.0, 13.0))
        model(torch.ones(2, 3)).sum().backward()
        assert all(each.grad is not None for each in model.parameters())
        outer = nn.Sequential(nn.Linear(3, 3), FullyShardedDataParallel(model, use_orig_params=originals))  # a module around it loads, too
        state = {name: torch.full_like(each, 5.0) for name, each in outer.state_dict().items()}
        assert sorted(state) == ["0.bias", "0.weight", "1.0.bias", "1.0.weight", "1.1.0.bias", "1.1.0.weight"]
        for kind in (StateDictType.FULL_STATE_DICT, StateDictType.SHARDED_STATE_DICT):
            with FullyShardedDataParallel.state_dict_type(outer, kind):
                assert not any(outer.load_state_dict(state))
                state = outer.state_dict()
        assert all((each.full_tensor() if isinstance(each, DTensor) else each).eq(5).all() for each in state.values())
        assert [name for name, _ in model.named_parameters()] == names


def test_whole_parameters_may_be_changed():
    run(_applied)


def test_settings():
    run(_settings)


def _policies(rank):
    def units(policy):
        model = FullyShardedDataParallel(Model(), auto_wrap_policy=policy)
        assert all(isinstance(each, FlatParameter) for each in model.parameters())
        return [type(each.module).__name__ for each in FullyShardedDataParallel.fsdp_modules(model)]

    assert units(partial(transformer_auto_wrap_policy, transformer_layer_cls={Block})) == ["Model", "Block", "Block"]
    assert units(partial(size_based_auto_wrap_policy, min_num_params=100)) == [
        "Model",
        *["Linear"] * 4,
    ]  # of 112 and 105 elements; a block has 14 more
    assert units(CustomPolicy(lambda part: isinstance(part, nn.Embedding))) == ["Model", "Embedding"]
    with enable_wrap(wrapper_cls=FullyShardedDataParallel):
        assert isinstance(wrap(nn.Linear(2, 2)), FullyShardedDataParallel)
    assert type(wrap(nn.Linear(2, 2))) is nn.Linear


def test_policies():
    run(_policies, 1)
