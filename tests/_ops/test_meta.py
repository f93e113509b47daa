"""The meta device: every operator gives the shapes, strides and histories that it gives on the CPU, and no elements; who asks for these is told so."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import flambeau
import flambeau as torch
from flambeau._tape.storage import NoElements
from tests.samples import linear_algebra  # noqa: F401  (more samples)
from tests.samples.inputs import Inputs
from tests.samples.operators import KINDS, ROUGH, SAMPLES

DTYPES = {"f": "float32", "F": "float32", "c": "complex64", "i": "int64", "b": "bool"}
DEPEND_ON_DATA = frozenset({
    "allclose", "argwhere", "bincount", "equal", "histogram", "histogramdd", "masked_select", "nonzero", "unique", "unique_consecutive",
})  # fmt: skip
"""The shape of the result, or the result itself, follows from the elements; PyTorch has none of these on its meta device either."""
ONLY_BY_NUMBER = frozenset({"repeat_interleave"})
"""One sample repeats by the elements of a tensor: that needs ``output_size``."""


def flat(result: Any) -> list:
    return [result] if isinstance(result, flambeau.Tensor) else [each for part in result for each in flat(part)]


def described(name: str, number: int, dtype: str, strided: bool, device: str) -> tuple[list, list]:
    """What is known of a sample's results and gradients without their elements."""
    with torch.device(device):
        inputs = Inputs(torch, getattr(torch, dtype), strided=strided, grad=name not in ROUGH)
        results = flat(SAMPLES[name][number](torch, inputs))
        tracked = [result for result in results if result.requires_grad]
        histories = [result.grad_fn and result.grad_fn.name() for result in results]
        gradients = []
        if tracked and inputs.leaves:
            ones = [torch.ones_like(result) for result in tracked]
            gradients = [each for each in torch.autograd.grad(tracked, inputs.leaves, ones, allow_unused=True) if each is not None]
    assert {each.device.type for each in results + gradients} <= {device}
    return [(*layout(each), history) for each, history in zip(results, histories, strict=True)], [layout(each) for each in gradients]


def layout(tensor: Any) -> tuple:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.requires_grad


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - DEPEND_ON_DATA - ONLY_BY_NUMBER))
def test_layouts_and_histories_are_those_of_the_cpu(name: str) -> None:
    for number in range(len(SAMPLES[name])):
        for place, kind in enumerate(KINDS[name]):
            for strided in (False, True)[: 2 if place == 0 else 1]:
                case = (name, number, DTYPES[kind], strided)
                assert described(*case, "meta") == described(*case, "cpu"), case


@pytest.mark.parametrize("name", sorted(DEPEND_ON_DATA))
def test_what_depends_on_data_says_so(name: str) -> None:
    with torch.device("meta"), pytest.raises(NotImplementedError, match="no elements that could be looked at"):
        SAMPLES[name][0](torch, Inputs(torch, torch.int64 if KINDS[name] == "i" else torch.float32))


def test_repeat_interleave_needs_to_know_how_many() -> None:
    x, repeats = torch.empty(2, 3, device="meta"), torch.empty(2, dtype=torch.int64, device="meta")
    assert torch.repeat_interleave(x, 2, 1).shape == (2, 6) and torch.repeat_interleave(x, repeats, 0, output_size=5).shape == (5, 3)
    with pytest.raises(NotImplementedError, match="no elements"):
        torch.repeat_interleave(x, repeats, 0)


# -- who asks for elements ---------------------------------------------------------------------------------------------

LOOKS: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "item": (lambda x: x[0, 0].item(), RuntimeError),
    "bool": (lambda x: bool(x[0, 0]), RuntimeError),
    "float": (lambda x: float(x[0, 0]), RuntimeError),
    "int": (lambda x: int(x[0, 0]), RuntimeError),
    "in": (lambda x: 1.0 in x, RuntimeError),
    "numpy": (lambda x: x.numpy(), TypeError),
    "array": (lambda x: np.asarray(x), TypeError),
    "tolist": (lambda x: x.tolist(), NotImplementedError),
    "cpu": (lambda x: x.cpu(), NotImplementedError),
    "to": (lambda x: x.to("cpu", torch.float64), NotImplementedError),
    "to like": (lambda x: x.to(torch.ones(1)), NotImplementedError),
    "tensor": (lambda x: torch.tensor(x, device="cpu"), NotImplementedError),
    "mask": (lambda x: x[x > 0], NotImplementedError),
    "copy": (lambda x: torch.ones(2, 3).copy_(x), NotImplementedError),
    "set": (lambda x: torch.ones(2, 3).__setitem__(0, x[0]), NotImplementedError),
    "add_": (lambda x: torch.ones(2, 3).add_(x), NotImplementedError),
    "bytes": (lambda x: x.untyped_storage().tolist(), NotImplementedError),
    "arange": (lambda x: torch.arange(x[0, 0]), RuntimeError),
}


@pytest.mark.parametrize("name", LOOKS)
def test_there_is_nothing_to_look_at(name: str) -> None:
    look, error = LOOKS[name]
    with pytest.raises(error, match=r"no elements") as raised:
        look(torch.empty(2, 3, device="meta"))
    assert raised.value.__context__ is None
    assert not torch.ones(2, 3).add_(1).sub_(2).any()  # the tape goes on


def test_the_message_says_what_to_do() -> None:
    with pytest.raises(NoElements, match=re.escape("module.to_empty(device='cpu')")):
        torch.empty(3, device="meta").tolist()


def test_addresses() -> None:
    x = torch.empty(3, device="meta")
    assert x.data_ptr() == x.untyped_storage().data_ptr() == 0 and x.untyped_storage().nbytes() == 12


def test_native_code_is_given_no_address() -> None:
    """``data_ptr()`` is 0 for those who call this package, as PyTorch's is, and an error for the package itself, also where functions ask classes first."""
    x = torch.empty(3, device="meta")
    for context in (nullcontext(), torch.device("meta")):
        with context:
            assert x.data_ptr() == 0
            for read in (x.nonzero, x.unique, lambda: torch.bincount(x.long()), lambda: x[x > 0]):
                with pytest.raises(NotImplementedError, match="no elements"):
                    read()


# -- together with the CPU ---------------------------------------------------------------------------------------------


def test_operands_of_two_devices() -> None:
    x, y = torch.empty(3, 4, device="meta"), torch.ones(3, 4)
    for call in (
        lambda: x + y, lambda: y * x, lambda: torch.cat([x, y]), lambda: torch.stack((y, x)), lambda: torch.where(y > 0, x, x), lambda: torch.lerp(x, y, 0.5),
        lambda: torch.nn.Linear(4, 2)(x), lambda: torch.nn.Linear(4, 2, device="meta")(y), lambda: torch.nn.functional.mse_loss(x, y),
        lambda: x.masked_fill(y > 0, 1.0), lambda: y[x.long()],
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
            call()
    assert ((x + 2) * torch.tensor(3.0)).is_meta and (torch.tensor(3.0) - x).is_meta


def test_places_may_be_on_the_cpu() -> None:
    x, rows = torch.empty(3, 4, device="meta"), torch.tensor([0, 2])
    assert x[rows].shape == x.index_select(0, rows).shape == torch.nn.functional.embedding(rows, x).shape == (2, 4)
    assert x[torch.tensor([True, False, True])].shape == (2, 4) and x.gather(0, rows.view(1, 2)).shape == (1, 2)


def test_writing_takes_what_it_is_given() -> None:
    x = torch.empty(3, 4, device="meta")
    for write in (lambda: x.copy_(torch.ones(4)), lambda: x.add_(torch.ones(3, 4)), lambda: x.__setitem__(0, torch.ones(4))):
        before = x._version
        write()
        assert x.is_meta and x._version == before + 1


# -- one by one --------------------------------------------------------------------------------------------------------


def test_what_a_tensor_says_of_itself() -> None:
    x = torch.empty(3, 4, device="meta")
    assert x.is_meta and not x.is_cpu and x.device == torch.device("meta") and x.device.type == "meta" and x.get_device() == -1
    assert repr(x) == "tensor(..., device='meta', size=(3, 4))" and f"{x.sum()}" == "tensor(..., device='meta', size=())"
    assert repr(x.long()) == "tensor(..., device='meta', size=(3, 4), dtype=torch.int64)"
    assert repr(x.requires_grad_() * 2) == "tensor(..., device='meta', size=(3, 4), grad_fn=<MulBackward0>)"
    assert x.type() == "torch.meta.FloatTensor" and str(x.untyped_storage()) == "[torch.storage.UntypedStorage(device=meta) of size 48]"
    assert torch.ones(2).is_cpu and not torch.ones(2).is_meta


@pytest.mark.parametrize("name", ["empty", "zeros", "ones", "rand", "randn"])
def test_made_of_sizes(name: str) -> None:
    made = getattr(torch, name)(2, 3, dtype=torch.float64, device="meta", requires_grad=True)
    assert made.is_meta and made.shape == (2, 3) and made.dtype is torch.float64 and made.requires_grad and made.is_leaf
    assert getattr(torch, name)(size=(2, 3), device="meta").shape == (2, 3)


def test_made_otherwise() -> None:
    for made, shape in (
        (torch.full((2,), 1.5, device="meta"), (2,)), (torch.arange(5, device="meta"), (5,)), (torch.linspace(0, 1, 4, device="meta"), (4,)),
        (torch.logspace(0, 1, 4, device="meta"), (4,)), (torch.eye(3, 4, device="meta"), (3, 4)), (torch.tensor([[1, 2]], device="meta"), (1, 2)),
        (torch.as_tensor(np.ones(3), device="meta"), (3,)), (torch.randint(0, 5, (3,), device="meta"), (3,)), (torch.randperm(4, device="meta"), (4,)),
        (torch.empty_strided((2, 3), (1, 2), device="meta"), (2, 3)), (torch.normal(0.0, 1.0, (2,), device="meta"), (2,)),
        (torch.hann_window(5, device="meta"), (5,)), (torch.tril_indices(3, 3, device="meta"), (2, 6)), (torch.fft.fftfreq(4, device="meta"), (4,)),
        (torch.range(0, 3, device="meta"), (4,)), (torch.scalar_tensor(1, device="meta"), ()), (torch.empty_permuted((2, 3), (1, 0), device="meta"), (2, 3)),
    ):  # fmt: skip
        assert made.is_meta and made.shape == shape
    assert torch.empty_strided((2, 3), (1, 2), device="meta").stride() == (1, 2)


def test_made_like_another() -> None:
    x, y = torch.empty(2, 3, device="meta").t(), torch.ones(2, 3)
    for name in ("empty_like", "zeros_like", "ones_like", "rand_like", "randn_like"):
        like = getattr(torch, name)
        assert like(x).is_meta and like(x).stride() == x.stride() and like(y, device="meta").is_meta and like(x, device="cpu").is_cpu
    assert torch.full_like(x, 2).is_meta and torch.randint_like(x, 5).is_meta
    for made in (x.new_zeros(2), x.new_ones(2), x.new_empty(2), x.new_full((2,), 1.0), x.new_tensor([1.0, 2.0]), x.new(2)):
        assert made.is_meta and made.shape == (2,)
    assert x.new_zeros(2, device="cpu").is_cpu and y.new_zeros(2, device="meta").is_meta


def test_moving() -> None:
    x = torch.arange(6.0).reshape(2, 3).t()
    moved = x.to("meta")
    assert (
        moved.is_meta and moved.stride() == (1, 3) and moved.to("meta") is moved and moved.to("meta", torch.float16).dtype is torch.float16
    )
    assert (
        x.to(moved).is_meta
        and x.type_as(moved).is_meta
        and torch.ones(2, requires_grad=True).to("meta").grad_fn.name() == "ToCopyBackward0"
    )


def test_no_random_numbers_are_drawn() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    x = torch.rand(5, device="meta")
    torch.randn(5, device="meta"), torch.randint(9, (2,), device="meta"), torch.randperm(3, device="meta")
    (
        x.normal_(),
        x.uniform_(),
        x.bernoulli_(),
        x.bernoulli_(x),
        x.exponential_(),
        x.random_(),
        torch.rand_like(x),
        torch.bernoulli(x),
        torch.poisson(x),
    )
    torch.nn.functional.dropout(x), torch.nn.functional.rrelu(x, training=True), torch.multinomial(x, 2), torch.normal(x, x)
    assert torch.rand(3).tolist() == expected


def test_views_and_writes() -> None:
    x = torch.empty(3, 4, device="meta")
    row = x[1]
    assert row._base is x and row.storage_offset() == 4 and row.untyped_storage() == x.untyped_storage()
    row.add_(1)
    assert x._version == row._version == 1
    x.resize_(5, 5)
    assert x.shape == (5, 5) and x.untyped_storage().nbytes() == 100
    out = torch.empty(0, device="meta")
    assert torch.add(x, 1, out=out) is out and out.shape == (5, 5) and out.is_meta


def test_gradients() -> None:
    x = torch.empty(3, 4, device="meta", requires_grad=True)
    y = x * 2
    y[0] = 0
    y.exp().sum().backward()
    assert x.grad.is_meta and x.grad.shape == (3, 4)
    x.grad.zero_()
    (x * x).sum().backward()
    (first,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    assert torch.autograd.grad(first.sum(), x)[0].is_meta
    z = x * x
    z.mul_(2)
    saved = x.exp()
    saved.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="on the device meta"):
        torch.ones(2).grad = torch.empty(2, device="meta")


def test_a_pass_on_the_cpu_within_one_that_is_not() -> None:
    """A hook differentiates numbers of its own meanwhile, whose formulas make zeros and ones, too."""
    x, leaf, seen = torch.empty(3, device="meta", requires_grad=True), torch.ones(4, requires_grad=True), []

    def hook(grad: Any) -> None:
        with torch.enable_grad():
            seen.extend(torch.autograd.grad(leaf[1:3].sum(), leaf)[0].tolist())

    y = x * 2
    y.register_hook(hook)
    y[1:].sum().backward()
    assert seen == [0.0, 1.0, 1.0, 0.0] and x.grad.is_meta


def test_huge_shapes_cost_nothing() -> None:
    start = time.perf_counter()
    x = torch.empty(10**12, device="meta")
    assert (x * 2 + torch.ones(10**12, device="meta")).sum().shape == ()
    layer = torch.nn.Linear(100_000, 100_000, device="meta")
    layer(torch.empty(7, 100_000, device="meta"))[1:].square().sum().backward()
    optimizer = torch.optim.AdamW(layer.parameters())
    optimizer.step()
    assert layer.weight.grad.shape == (100_000, 100_000) and time.perf_counter() - start < 5


def test_copies_and_pickles() -> None:
    x = torch.empty(2, 3, device="meta").t()
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone(memory_format=torch.preserve_format)):
        assert other.is_meta and other.stride() == (1, 3) and other.untyped_storage() != x.untyped_storage()
    parameter = torch.nn.Parameter(x)
    assert copy.deepcopy(parameter).requires_grad and isinstance(pickle.loads(pickle.dumps(parameter)), torch.nn.Parameter)


def test_in_functions_that_vmap_maps() -> None:
    x, y = torch.empty(5, 3, 4, device="meta"), torch.empty(4, device="meta")
    assert layout(torch.func.vmap(lambda each: each @ y + 1)(x)) == layout(torch.empty(5, 3, device="meta"))
    assert torch.func.jacrev(torch.sin)(y).is_meta


def test_nothing_is_kept() -> None:
    """A call leaves no reference to its operands."""
    x = torch.empty(1000, device="meta")
    before = len(gc.get_objects())
    for _ in range(100):
        x = x + 1
    assert len(gc.get_objects()) - before < 50
