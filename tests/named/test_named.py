"""Named tensors: what may be a name, which names results have, and what is refused. The rules are those of PyTorch's documentation of version 2.9."""

from __future__ import annotations

import copy
import pickle

import pytest

import flambeau
from flambeau import Tensor
from flambeau._named.inference import ALONG, NAMELESS, RULES, kept
from flambeau.nn import functional as F


def named(*names, size=3, **options):
    return flambeau.rand((size,) * len(names), names=names, **options)


# -- making and renaming ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [flambeau.empty, flambeau.ones, flambeau.rand, flambeau.randn, flambeau.zeros])
def test_functions_that_make_tensors(make):
    made = make(2, 3, names=("N", None), dtype=flambeau.float64)
    assert made.names == ("N", None) and made.has_names() and made.dtype is flambeau.float64 and made.shape == (2, 3)
    assert make(2, 3, names=None).names == (None, None) and make(2, names="C").names == ("C",)
    with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
        make(2, 3, name=("N", "C"))


def test_values_with_names():
    assert flambeau.tensor([[1, 2]], names=("a", "b")).names == ("a", "b")
    assert flambeau.full((2,), 3.0, names=["z"]).names == ("z",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("N", "N"), r"duplicate names. Got names: \['N', 'N'\]"),
        (("N",), r"Number of names \(1\) and number of dimensions in tensor \(2\) do not match"),
        (("1a", "b"), "'1a' is no identifier"),
        (("", "b"), "is no identifier"),
    ],
)
def test_names_that_are_refused(names, message):
    with pytest.raises(RuntimeError, match=message):
        flambeau.zeros(2, 2, names=names)


def test_a_name_is_text():
    with pytest.raises(TypeError, match="expected str or None"):
        flambeau.zeros(2, 2, names=(1, 2))


def test_ordinary_tensors_have_no_names():
    x = flambeau.zeros(2, 3)
    assert x.names == (None, None) and not x.has_names() and type(x.rename(None)) is Tensor


def test_rename():
    x = named("N", "C", "H")
    assert x.rename("a", "b", "c").names == ("a", "b", "c")
    assert x.rename(C="channels", H=None).names == ("N", "channels", None)
    assert x.rename("batch", ...).names == ("batch", "C", "H") and x.rename("...", "w").names == ("N", "C", "w")
    plain = x.rename(None)
    assert type(plain) is Tensor and plain.data_ptr() == x.data_ptr() and x.names == ("N", "C", "H")
    with pytest.raises(RuntimeError, match="not both"):
        x.rename("a", "b", "c", N="d")
    with pytest.raises(RuntimeError, match=r"Name 'Q' not found in Tensor\['N', 'C', 'H'\]"):
        x.rename(Q="d")
    with pytest.raises(RuntimeError, match="once"):
        x.rename(..., ...)


def test_renaming_in_place():
    x = flambeau.zeros(2, 3)
    assert x.rename_("N", "C") is x and x.names == ("N", "C")
    x.names = ("a", None)
    assert x.names == ("a", None)
    x.names = None
    assert type(x) is Tensor and x.names == (None, None)
    with pytest.raises(TypeError, match="a Parameter is given no names"):
        flambeau.nn.Parameter(flambeau.zeros(2)).rename_("N")


def test_refine_names():
    x = named("N", None, None)
    assert x.refine_names("N", ..., "W").names == ("N", None, "W")
    with pytest.raises(RuntimeError, match="'N' is different from 'M'"):
        x.refine_names("M", "C", "W")
    with pytest.raises(RuntimeError, match="'N' is different from None"):
        x.refine_names(None, "C", "W")


def test_align():
    x = flambeau.rand(2, 3, 4, names=("N", "C", "H"))
    moved = x.align_to("H", ..., "W")
    assert moved.names == ("H", "N", "C", "W") and moved.shape == (4, 2, 3, 1) and moved.data_ptr() == x.data_ptr()
    flambeau.testing.assert_close(moved.rename(None)[..., 0], x.rename(None).permute(2, 0, 1))
    scale = flambeau.arange(3.0).refine_names("C")
    flambeau.testing.assert_close((x * scale.align_as(x)).rename(None), x.rename(None) * flambeau.arange(3.0)[:, None])
    small, large = flambeau.align_tensors(scale, x)
    assert small.shape == (1, 3, 1) and large.names == small.names == x.names
    with pytest.raises(RuntimeError, match=r"the dims \['N'\] of"):
        x.align_to("C", "H")
    with pytest.raises(RuntimeError, match="must have names"):
        named("N", None).align_to("N", "C")


# -- which names results have ------------------------------------------------------------------------------------------------


def test_every_name_in_the_tables_is_a_function():
    homes = (flambeau, Tensor, F)
    for name in {*RULES, *ALONG, *NAMELESS}:
        assert any(hasattr(home, each) for home in homes for each in (name, name + "_")), name


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if rule is kept and hasattr(Tensor, name)))
def test_names_are_kept(name):
    x = named("N", "C", size=3)
    given = {
        "broadcast_to": ((2, 3, 3),), "expand": (2, 3, 3), "expand_as": (flambeau.zeros(3, 3),), "type_as": (flambeau.zeros(1),), "to": (flambeau.float64,),
        "index_fill": ("C", flambeau.tensor([0]), 1.0), "index_select": ("C", flambeau.tensor([0])), "masked_fill": (flambeau.ones(3, 3) > 0, 1.0), "narrow": ("C", 0, 1),
        "chunk": (2, "C"), "split": (2, "C"), "topk": (2, "C"), "roll": (1, "C"), "flip": ("C",), "type": (flambeau.float64,),
    }.get(name, ("C",) if name in ALONG else ())  # fmt: skip
    if name in ("bitwise_not", "conj", "imag"):
        x = x.to(flambeau.int32 if name == "bitwise_not" else flambeau.complex64)
    result = getattr(x, name)(*given) if callable(getattr(Tensor, name)) else getattr(x, name)
    for each in result if isinstance(result, tuple) else (result,):
        assert each.names[-2:] == ("N", "C") and each.names[:-2] in ((), (None,))


@pytest.mark.parametrize(
    "name", ["amax", "argmax", "logsumexp", "max", "mean", "median", "min", "mode", "prod", "std", "sum", "var", "nansum", "all", "any"]
)
def test_reductions_remove_dimensions(name):
    x = named("N", "C", "H", size=2)
    values = getattr(x, name)("C")
    wanted = getattr(x.rename(None), name)(1)
    for found, plain in zip(*[each if isinstance(each, tuple) else (each,) for each in (values, wanted)], strict=True):
        assert found.names == ("N", "H") and flambeau.equal(found.rename(None), plain)
    kept_dims = getattr(x, name)("C", keepdim=True)
    assert (kept_dims[0] if isinstance(kept_dims, tuple) else kept_dims).names == ("N", "C", "H")


def test_several_dimensions():
    x = named("N", "C", "H", "W")
    assert (
        x.sum(["N", "C"]).names == ("H", "W") and x.mean(("H", -1)).names == ("N", "C") and x.sum(("N", "C"), keepdim=True).names == x.names
    )
    assert x.sum().names == () and x.max().names == () and flambeau.var_mean(x, "W")[1].names == ("N", "C", "H")
    assert x.kthvalue(2, "C").values.names == x.kthvalue(2, "C").indices.names == ("N", "H", "W")
    with pytest.raises(RuntimeError, match="Name 'Q' not found"):
        x.sum("Q")


def test_names_are_unified():
    x = named("N", None)
    assert (
        (x + named(None, "C")).names == ("N", "C")
        and (x * 2).names == (2 - x).names == ("N", None)
        and (x + flambeau.ones(2, 3, 3)).names == (None, "N", None)
    )
    assert flambeau.where(x > 0, x, named("N", "C")).names == ("N", "C") and flambeau.cat([x, named("N", "C")], "N").names == ("N", "C")
    with pytest.raises(
        RuntimeError, match=r"broadcast dims \['N', 'C'\] and dims \['N'\]: dim 'C' and dim 'N' are at the same position from the right"
    ):
        named("N", "C") + named("N")
    with pytest.raises(RuntimeError, match=r"Misaligned dims when attempting to broadcast dims \['N', None\] and dims \['N'\]"):
        x + named("N")


def test_products():
    x, y = named("N", "D"), named("in", "out")
    assert (
        x.mm(y).names == (x @ y).names == ("N", "out")
        and x.mv(named("something")).names == ("N",)
        and named("a").dot(named("b")).names == ()
    )
    assert flambeau.matmul(named(*"ABCD"), named(*"BEF")).names == tuple("ABCF")
    assert flambeau.addmm(named(None, "out"), x, y).names == ("N", "out") and F.linear(x, flambeau.ones(4, 3)).names == ("N", None)
    with pytest.raises(RuntimeError, match="duplicate names"):
        x.mm(named("D", "N"))
    with pytest.raises(RuntimeError, match="at the same position"):
        flambeau.bmm(named("A", "B", "C"), named("Z", "C", "D"))


def test_dimensions_move():
    x = flambeau.rand(2, 3, 4, names=("N", "C", "H"))
    assert (
        x.transpose("N", "H").names == ("H", "C", "N")
        and x.permute("C", "H", "N").names == ("C", "H", "N")
        and x.mT.names == ("N", "H", "C")
    )
    assert x.movedim("H", 0).names == ("H", "N", "C") and x.unsqueeze(1).names == ("N", None, "C", "H")
    assert [each.names for each in x.unbind("C")] == [("N", "H")] * 3 and [each.names for each in x] == [("C", "H")] * 2
    ones = flambeau.rand(1, 3, 1, names=("N", "C", "H"))
    assert ones.squeeze().names == ("C",) and ones.squeeze("N").names == ("C", "H") and ones.squeeze("C").names == ("N", "C", "H")
    assert x.size("C") == 3 and x.stride("N") == 12 and x.select("C", 0).names == ("N", "H")


def test_indices():
    x = named("N", "C", "H")
    assert (
        x[0].names == ("C", "H") and x[:, 1:].names == x.names and x[..., 0].names == ("N", "C") and x[:, None, 0].names == ("N", None, "H")
    )
    x[0, :, 1] = 7
    assert (x.rename(None)[0, :, 1] == 7).all()
    with pytest.raises(RuntimeError, match="indexed by numbers, slices"):
        x[flambeau.tensor([0, 1])]
    with pytest.raises(RuntimeError, match="not written at places"):
        x[flambeau.tensor([0, 1])] = 0


def test_flatten_and_unflatten():
    images = flambeau.rand(5, 2, 3, 4, names=("N", "C", "H", "W"))
    flat = images.flatten(["C", "H", "W"], "features")
    assert flat.names == ("N", "features") and flat.shape == (5, 24)
    assert flat.unflatten("features", (("C", 2), ("H", 3), ("W", 4))).names == images.names
    assert flat.unflatten("features", (2, 12)).names == ("N", None, None)
    assert images.flatten("C", "W", "f").names == images.flatten(1, -1, "f").names == ("N", "f") and images.flatten(1).names == ("N", None)
    with pytest.raises(RuntimeError, match="follow each other"):
        images.flatten(["N", "H"], "f")
    with pytest.raises(RuntimeError, match="duplicate names"):
        images.flatten(["C", "H"], "N")


def test_in_place_and_out():
    x, y = flambeau.zeros(3, 3), named("N", "C")
    same = x
    x += y
    assert x is same and x.names == ("N", "C") and flambeau.equal(x.rename(None), y.rename(None))
    out = flambeau.empty(3, 3)
    assert flambeau.add(y, y, out=out) is out and out.names == ("N", "C")
    with pytest.raises(RuntimeError, match="must be equal"):
        flambeau.add(y, y, out=named("a", "b"))
    z = flambeau.zeros(3, 3).copy_(y)
    assert z.names == ("N", "C") and y.zero_().names == ("N", "C")


def test_gradients_have_no_names():
    x, weight = named("D"), flambeau.rand(3, names=("D",), requires_grad=True)
    loss = ((x - weight) ** 2).sum("D")
    loss.backward()
    assert type(weight.grad) is Tensor
    flambeau.testing.assert_close(weight.grad, (-2 * (x - weight)).detach().rename(None))
    (x - weight).abs().backward(flambeau.ones(3).refine_names("C"))
    plain = flambeau.ones(3, requires_grad=True)
    (plain.refine_names("D") * x).sum().backward()
    flambeau.testing.assert_close(plain.grad, x.rename(None))


def test_what_has_no_rule_is_refused():
    with pytest.raises(RuntimeError, match="reshape is not supported with named tensors. Drop names"):
        named("N", "C").reshape(9)
    with pytest.raises(RuntimeError, match="serialization"):
        pickle.dumps(named("N"))


def test_copies_and_text():
    x = flambeau.ones(1, 2, names=("N", "C"))
    assert copy.deepcopy(x).names == x.clone().names == x.detach().names == flambeau.zeros_like(x).names == ("N", "C")
    assert repr(x) == str(x) == "tensor([[1., 1.]], names=('N', 'C'))" and x.tolist() == [[1.0, 1.0]] and len(x) == 1


def test_layers_keep_the_names_of_a_batch():
    layer = flambeau.nn.Sequential(flambeau.nn.Linear(3, 4), flambeau.nn.ReLU(), flambeau.nn.Dropout(0.0))
    assert layer(named("N", "D")).names == ("N", None)
