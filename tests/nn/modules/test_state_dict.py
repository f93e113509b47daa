"""Saving and loading a module's state."""

from __future__ import annotations

from collections import OrderedDict

import pytest

import flambeau
from flambeau import nn


def net():
    return nn.Sequential(OrderedDict(linear=nn.Linear(2, 3), norm=nn.BatchNorm1d(3)))


def test_round_trip():
    first, second = net(), net()
    result = second.load_state_dict(first.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert bool((first.linear.weight == second.linear.weight).all())
    assert first.linear.weight is not second.linear.weight


def test_keys_prefix_and_metadata():
    state = net().state_dict(prefix="p.")
    assert list(state) == [
        "p.linear.weight",
        "p.linear.bias",
        "p.norm.weight",
        "p.norm.bias",
        "p.norm.running_mean",
        "p.norm.running_var",
        "p.norm.num_batches_tracked",
    ]
    assert state._metadata == {"p": {"version": 1}, "p.linear": {"version": 1}, "p.norm": {"version": 2}}


def test_tensors_share_memory_and_keep_vars():
    model = net()
    state = model.state_dict()
    assert not state["linear.weight"].requires_grad
    state["linear.weight"].zero_()
    assert not bool(model.linear.weight.any())
    assert model.state_dict(keep_vars=True)["linear.weight"] is model.linear.weight


def test_every_problem_is_listed():
    state = net().state_dict()
    del state["linear.bias"]
    state["extra"] = flambeau.zeros(1)
    state["norm.weight"] = flambeau.zeros(4)
    with pytest.raises(RuntimeError) as caught:
        net().load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "linear.bias". \n'
        '\tUnexpected key(s) in state_dict: "extra". \n'
        "\tsize mismatch for norm.weight: copying a param with shape torch.Size([4]) from checkpoint, the shape in current model is "
        "torch.Size([3])."
    )


def test_not_strict():
    state = net().state_dict()
    del state["linear.bias"]
    state["linear.extra"] = flambeau.zeros(1)
    result = net().load_state_dict(state, strict=False)
    assert result.missing_keys == ["linear.bias"] and result.unexpected_keys == ["linear.extra"]
    assert repr(result) == "_IncompatibleKeys(missing_keys=['linear.bias'], unexpected_keys=['linear.extra'])"


def test_wrong_types():
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        net().load_state_dict([1])
    with pytest.raises(RuntimeError, match=r'While copying the parameter named "weight", expected .*Tensor-like object'):
        nn.Linear(1, 1, bias=False).load_state_dict({"weight": 3})


def test_a_vector_of_one_loads_into_a_scalar():
    module = nn.Module()
    module.p = nn.Parameter(flambeau.tensor(1.0))
    module.load_state_dict({"p": flambeau.tensor([5.0])})
    assert module.p.item() == 5.0


def test_assign():
    state = {"weight": flambeau.zeros(3, 2, dtype=flambeau.float64), "bias": nn.Parameter(flambeau.zeros(3))}
    layer = nn.Linear(2, 3)
    layer.bias.requires_grad_(False)
    layer.load_state_dict(state, assign=True)
    assert layer.weight.dtype == flambeau.float64 and isinstance(layer.weight, nn.Parameter)
    assert layer.bias is state["bias"] and not layer.bias.requires_grad


def test_hooks():
    model, seen = net(), []
    model.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append(("save before", prefix, keep)))
    model.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.update(more=flambeau.zeros(1)))
    state = model.state_dict()
    assert "more" in state and seen == [("save before", "", False)]
    model.register_load_state_dict_pre_hook(lambda module, state, *rest: state.pop("more"))
    model.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    del state["linear.bias"]
    assert model.load_state_dict(state).missing_keys == []


def test_a_public_post_hook_must_return_none():
    model = net()
    model.register_state_dict_post_hook(lambda module, state, prefix, metadata: state)
    with pytest.raises(RuntimeError, match="post-hook must return None"):
        model.state_dict()


def test_positional_arguments_are_deprecated():
    with pytest.warns(FutureWarning, match="Positional args are being deprecated"):
        state = nn.Linear(1, 1).state_dict({}, "p.")
    assert list(state) == ["p.weight", "p.bias"]


class Counting(nn.Module):
    """A module with extra state."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def get_extra_state(self):
        return {"count": self.count}

    def set_extra_state(self, state):
        self.count = state["count"]


def test_extra_state():
    first, second = nn.Sequential(Counting()), nn.Sequential(Counting())
    first[0].count = 7
    state = first.state_dict()
    assert list(state) == ["0._extra_state"]
    second.load_state_dict(state)
    assert second[0].count == 7
    with pytest.raises(RuntimeError, match=r'Missing key.*"0._extra_state"'):
        second.load_state_dict({})
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"_extra_state"'):
        nn.Identity().load_state_dict({"_extra_state": 1})


def test_batch_norm_reads_what_version_1_wrote():
    state = nn.BatchNorm1d(3).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    assert nn.BatchNorm1d(3).load_state_dict(state).missing_keys == []
    state._metadata[""]["version"] = 2
    with pytest.raises(RuntimeError, match=r'Missing key.*"num_batches_tracked"'):
        nn.BatchNorm1d(3).load_state_dict(state)


def test_tensors_may_be_exchanged():
    from flambeau import __future__ as ways

    class Scaled(flambeau.Tensor):
        """Loads three times what it is given."""

        def module_load(self, other, assign=False):
            return (other * 3).as_subclass(Scaled) if assign else super().module_load(other * 2)

    first, second = net(), net()
    second.linear.bias = nn.Parameter(flambeau.zeros(3).as_subclass(Scaled))
    weight, mean = second.linear.weight, second.norm.running_mean
    ways.set_swap_module_params_on_conversion(True)
    try:
        assert second.load_state_dict(first.state_dict()).missing_keys == []
        assert second.linear.weight is weight and flambeau.equal(weight, first.linear.weight) and weight.requires_grad
        assert type(weight) is nn.Parameter and second.norm.running_mean is mean and not mean.requires_grad
        assert weight.data_ptr() != first.linear.weight.data_ptr()
        assert flambeau.equal(second.linear.bias.detach(), first.linear.bias * 2)
        second.load_state_dict(first.state_dict(), assign=True)
        assert second.linear.weight is weight and weight.data_ptr() == first.linear.weight.data_ptr()
    finally:
        ways.set_swap_module_params_on_conversion(False)
    other = flambeau.ones(2)
    x = flambeau.zeros(2)
    assert x.module_load(other).data_ptr() == x.data_ptr() and x.tolist() == [1, 1]
    assert x.module_load(other, assign=True).data_ptr() == other.data_ptr()
