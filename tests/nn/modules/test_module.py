"""``Module``: registration, attributes, traversal, conversion, printing, copies."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest

import flambeau
from flambeau import nn


class Net(nn.Module):
    """Two layers, a parameter, and buffers of both kinds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.scale = nn.Parameter(flambeau.ones(4))
        self.register_buffer("mean", flambeau.zeros(4))
        self.register_buffer("scratch", flambeau.zeros(2), persistent=False)

    def forward(self, x):
        return self.second(self.first(x)) * self.scale


def names(pairs):
    return [name for name, _ in pairs]


def test_registration_and_traversal():
    net = Net()
    assert names(net.named_parameters()) == ["scale", "first.weight", "first.bias", "second.0.weight", "second.0.bias"]
    assert names(net.named_parameters(prefix="net", recurse=False)) == ["net.scale"]
    assert names(net.named_buffers()) == ["mean", "scratch"]
    assert names(net.named_children()) == ["first", "second"]
    assert names(net.named_modules(prefix="n")) == ["n", "n.first", "n.second", "n.second.0", "n.second.1"]
    assert list(net.state_dict()) == ["scale", "mean", "first.weight", "first.bias", "second.0.weight", "second.0.bias"]
    assert net.get_submodule("second.0") is net.second[0]
    assert net.get_parameter("first.weight") is net.first.weight
    assert net.get_buffer("mean") is net.mean
    with pytest.raises(AttributeError, match="Net has no attribute `third`"):
        net.get_submodule("third.0")
    with pytest.raises(AttributeError, match=r"`mean` is not an nn.Parameter"):
        net.get_parameter("mean")


def test_shared_members_come_once():
    net = Net()
    net.again = net.first
    net.tied = net.first.weight
    assert "again.weight" not in names(net.named_parameters())
    assert "again.weight" in names(net.named_parameters(remove_duplicate=False))
    assert len(list(net.modules())) == len(set(map(id, net.modules())))
    assert "again.weight" in net.state_dict()


def test_set_submodule():
    net = Net()
    net.set_submodule("second.0", nn.Identity())
    assert isinstance(net.second[0], nn.Identity)
    with pytest.raises(AttributeError, match="has no attribute `new`"):
        net.set_submodule("new", nn.Identity(), strict=True)
    with pytest.raises(ValueError, match="without a target name"):
        net.set_submodule("", nn.Identity())


def test_members_are_attributes_and_the_dictionaries_are_the_truth():
    net = Net()
    replacement = nn.Parameter(flambeau.zeros(4))
    net._parameters["scale"] = replacement
    assert net.scale is replacement and net.__dict__["scale"] is replacement
    del net._modules["first"]
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'first'"):
        net.first  # noqa: B018
    net._buffers.update(mean=flambeau.ones(1))
    assert net.mean.numel() == 1
    net._modules = dict(net._modules)
    net._modules["second"] = nn.Identity()
    assert isinstance(net.second, nn.Identity)
    net._modules = {}
    assert not hasattr(net, "second")
    del net.mean
    assert not hasattr(net, "mean") and "mean" not in net._buffers


def test_what_the_class_defines_goes_first():
    class WithProperty(nn.Module):
        @property
        def weight(self):
            return "computed"

    module = WithProperty()
    module._parameters["weight"] = nn.Parameter(flambeau.ones(1))
    assert module.weight == "computed"
    assert names(module.named_parameters()) == ["weight"]


def test_assignment_moves_between_kinds():
    net = Net()
    net.scale = None
    assert net.scale is None and "scale" in net._parameters
    net.scale = nn.Parameter(flambeau.ones(2))
    net.first = nn.Identity()
    net.mean = flambeau.ones(3)
    assert net.mean.numel() == 3 and "mean" in net._buffers
    net.mean = nn.Parameter(flambeau.ones(3))
    assert "mean" in net._parameters and "mean" not in net._buffers
    net.scale = None
    net.plain = 3
    net.plain = nn.Linear(1, 1)
    assert "plain" in net._modules
    net.loose = nn.Buffer(flambeau.zeros(1), persistent=False)
    assert "loose" in net._buffers and "loose" not in net.state_dict()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda net: setattr(net, "scale", flambeau.ones(4)), TypeError, "as parameter 'scale'"),
        (lambda net: setattr(net, "first", 3), TypeError, "cannot assign 'int' as child module 'first'"),
        (lambda net: setattr(net, "mean", "x"), TypeError, "cannot assign 'str' as buffer 'mean'"),
        (lambda net: net.register_parameter("a.b", None), KeyError, "got: a.b"),
        (lambda net: net.register_parameter("", None), KeyError, "empty string"),
        (lambda net: net.register_parameter("forward", None), KeyError, "attribute 'forward' already exists"),
        (lambda net: net.register_parameter(3, None), TypeError, "parameter name should be a string. Got int"),
        (lambda net: net.register_parameter("p", flambeau.ones(1)), TypeError, "object to parameter 'p'"),
        (lambda net: net.register_buffer("b", 3), TypeError, "cannot assign 'int' object to buffer 'b'"),
        (lambda net: net.add_module("m", 3), TypeError, "int is not a Module subclass"),
        (lambda net: net.add_module("mean", nn.Identity()), KeyError, "attribute 'mean' already exists"),
        (lambda net: net.train(3), ValueError, "training mode is expected to be boolean"),
        (lambda net: net.to(flambeau.int64), TypeError, "only accepts floating point or complex dtypes"),
        (lambda net: net.missing, AttributeError, "'Net' object has no attribute 'missing'"),
    ],
)
def test_errors(change, error, text):
    with pytest.raises(error, match=text):
        change(Net())


def test_a_parameter_must_be_a_leaf():
    class Holder(nn.Module):
        pass

    scaled = nn.Parameter(flambeau.ones(2)) * 2
    scaled.__class__ = nn.Parameter
    with pytest.raises(ValueError, match="Cannot assign non-leaf Tensor to parameter 'p'"):
        Holder().register_parameter("p", scaled)


@pytest.mark.parametrize(
    "value", [nn.Identity(), nn.Parameter(flambeau.ones(1)), nn.Buffer(flambeau.ones(1))], ids=["module", "parameter", "buffer"]
)
def test_assignment_needs_init(value):
    class Forgetful(nn.Module):
        def __init__(self):
            self.member = value

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Forgetful()


def test_init_takes_no_arguments():
    class Eager(nn.Module):
        def __init__(self):
            super().__init__(3)

    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        Eager()


def test_forward_is_required():
    with pytest.raises(NotImplementedError, match='missing the required "forward" function'):
        nn.Module()(1)


def test_errors_name_the_module_they_come_from():
    net = nn.Sequential(nn.Identity(), nn.ModuleDict({"a": nn.Linear(3, 4)})["a"], nn.Sequential(nn.Linear(5, 2)))
    with pytest.raises(RuntimeError, match=r"^2\.0: Linear\(in_features=5, out_features=2, bias=True\): mat1 and mat2 shapes"):
        net(flambeau.zeros(2, 3))
    with pytest.raises(RuntimeError, match=r"^Linear\(in_features=3, out_features=4, bias=True\): mat1 and mat2 shapes"):
        nn.Linear(3, 4)(flambeau.zeros(2))


def test_errors_of_others_keep_their_message_and_get_a_note():
    class Refusing(nn.Module):
        def forward(self, x):
            raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        nn.Sequential(nn.Sequential(Refusing()))(1)
    assert caught.value.args == ("mine",)
    assert caught.value.__notes__ == ["Raised in the module '0.0' (Refusing) of Sequential."]
    with pytest.raises(KeyError) as caught:
        Refusing()(1)
    assert not hasattr(caught.value, "__notes__")


def test_what_a_flush_reports_names_no_module():
    class Looking(nn.Module):
        def forward(self, x):
            return x.sum().item()

    out_of_range = flambeau.zeros(3)[flambeau.tensor([5])]  # recorded outside of the module, reported when it looks
    with pytest.raises((IndexError, RuntimeError)) as caught:
        nn.Sequential(Looking())(out_of_range)
    assert "Looking" not in str(caught.value) and not hasattr(caught.value, "__notes__")


def test_modes():
    net = Net()
    assert net.eval() is net and not any(module.training for module in net.modules())
    assert net.train().second[0].training
    net.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_zero_grad():
    net = Net()
    net(flambeau.ones(2, 3)).sum().backward()
    gradient = net.scale.grad
    net.zero_grad(set_to_none=False)
    assert net.scale.grad is gradient and not bool(gradient.any())
    net.zero_grad()
    assert net.scale.grad is None


def test_conversion_keeps_identities():
    net = Net()
    weight = net.first.weight
    net(flambeau.ones(2, 3)).sum().backward()
    assert net.double() is net
    assert net.first.weight is weight and weight.dtype == flambeau.float64
    assert weight.grad.dtype == flambeau.float64
    assert net.mean.dtype == flambeau.float64
    assert net.to(flambeau.bfloat16).scale.dtype == flambeau.bfloat16
    assert net.to(flambeau.zeros(1)).scale.dtype == flambeau.float32
    assert net.to("cpu", flambeau.float64).scale.dtype == flambeau.float64
    assert isinstance(net.scale, nn.Parameter) and net.scale.requires_grad
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtyp'"):
        net.to(dtyp=flambeau.float32)


def test_integer_buffers_are_not_converted():
    layer = nn.BatchNorm2d(3).half()
    assert layer.running_mean.dtype == flambeau.float16 and layer.num_batches_tracked.dtype == flambeau.int64


def test_apply_visits_children_first():
    seen = []
    Net().apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "Linear", "ReLU", "Sequential", "Net"]


def test_repr():
    expected = """\
Net(
  (first): Linear(in_features=3, out_features=4, bias=True)
  (second): Sequential(
    (0): Linear(in_features=4, out_features=4, bias=True)
    (1): ReLU()
  )
)"""
    assert repr(Net()) == expected

    class Wordy(nn.Module):
        def extra_repr(self):
            return "one\ntwo"

    assert repr(Wordy()) == "Wordy(\n  one\n  two\n)"
    assert repr(nn.Module()) == "Module()"


def test_dir_has_members_and_no_digits():
    listed = dir(Net())
    assert {"scale", "mean", "first", "forward"} <= set(listed)
    assert "0" not in dir(nn.Sequential(nn.Identity()))


def test_deepcopy_is_independent():
    net = Net()
    net.register_forward_hook(lambda module, args, output: output * 0)
    other = copy.deepcopy(net)
    assert other.first.weight is not net.first.weight
    assert bool((other.first.weight == net.first.weight).all())
    other._parameters["scale"] = nn.Parameter(flambeau.zeros(4))
    assert bool((net.scale == 1).all()) and not bool(other.scale.any())
    assert not bool(other(flambeau.ones(1, 3)).any())


def test_shallow_copy_shares_tensors_and_not_members():
    net = Net()
    other = copy.copy(net)
    assert other.scale is net.scale
    other.scale = nn.Parameter(flambeau.zeros(4))
    assert other.scale is not net.scale


def test_pickle():
    net = pickle.loads(pickle.dumps(Net()))
    assert names(net.named_parameters())[0] == "scale"
    assert net.scale.requires_grad and "scratch" not in net.state_dict()
    net._parameters["scale"] = None
    assert net.scale is None


def test_a_module_is_freed_with_its_last_user():
    gc.disable()
    try:
        net = Net()
        dead = weakref.ref(net), weakref.ref(net.first)
        del net
        assert [reference() for reference in dead] == [None, None]
    finally:
        gc.enable()


def test_global_registration_hooks():
    seen = []
    handles = [
        nn.modules.module.register_module_parameter_registration_hook(lambda module, name, value: seen.append(name)),
        nn.modules.module.register_module_buffer_registration_hook(lambda module, name, value: seen.append(name)),
        nn.modules.module.register_module_module_registration_hook(lambda module, name, value: nn.Identity() if name == "second" else None),
    ]
    try:
        net = Net()
    finally:
        for handle in handles:
            handle.remove()
    assert {"scale", "mean", "weight"} <= set(seen)
    assert isinstance(net.second, nn.Identity)
    seen.clear()
    Net()
    assert not seen
