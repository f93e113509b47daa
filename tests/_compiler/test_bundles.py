"""Products of bfloat16 by pairs: what graphs say by the interpreter, on any processor, and what is computed on those that have pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau
from flambeau import Tensor
from flambeau._codegen.bundles import PAIRS
from flambeau._compiler.interpret import Interpreter
from flambeau._compiler.verify import verify
from flambeau._runtime import targets
from flambeau.nn import functional as F
from tests._compiler.graphs import pending

needs_pairs = pytest.mark.skipif(not targets.current().has_pairs, reason="needs a processor with dot products of bfloat16 (AVX512-BF16)")


def gradient(function: Callable[..., Tensor], wanted: int) -> Callable[..., Tensor]:
    """The gradient of a function by one of its arguments, given that of the result as the last one."""

    def run(*tensors: Tensor) -> Tensor:
        *arguments, grad = (each.detach().requires_grad_(number == wanted) for number, each in enumerate(tensors))
        return flambeau.autograd.grad(function(*arguments), arguments[wanted], grad.detach())[0]

    return run


conv = F.conv2d
strided = lambda x, w: F.conv2d(x, w, None, (2, 1), (1, 2), (1, 2))
grouped = lambda x, w: F.conv2d(x, w, padding=1, groups=2)
transposed = lambda x, w: F.conv_transpose2d(x, w, None, 2, 1)
CASES = {
    "mm": (flambeau.mm, (40, 30), (30, 50)),
    "an odd number of terms": (flambeau.mm, (40, 31), (31, 50)),
    "the left one turned": (lambda a, b: a.T @ b, (30, 40), (30, 50)),
    "the right one turned": (lambda a, b: a @ b.T, (40, 30), (50, 30)),
    "parts of matrices": (lambda a, b: a[1:, 1:] @ b[:, ::2], (41, 31), (30, 100)),
    "one matrix for all": (lambda a, b: a @ b.expand(3, 30, 50), (3, 40, 30), (30, 50)),
    "one row for all": (lambda a, b: a.expand(40, 30) @ b, (1, 30), (30, 50)),
    "what was just computed": (lambda a, b: -a @ (b * 2), (40, 30), (30, 50)),
    "addmm": (lambda c, a, b: flambeau.addmm(c, a, b, beta=0.5, alpha=2), (50,), (40, 30), (30, 50)),
    "linear": (F.linear, (4, 10, 30), (50, 30), (50,)),
    "linear, input": (gradient(F.linear, 0), (40, 30), (50, 30), (40, 50)),
    "linear, weight": (gradient(F.linear, 1), (40, 30), (50, 30), (40, 50)),
    "conv": (conv, (2, 16, 9, 8), (24, 16, 3, 3)),
    "conv, odd channels": (conv, (2, 3, 9, 8), (24, 3, 3, 3)),
    "conv, bias": (conv, (2, 16, 9, 8), (24, 16, 3, 3), (24,)),
    "conv, input": (gradient(conv, 0), (2, 16, 9, 8), (24, 16, 3, 3), (2, 24, 7, 6)),
    "conv, weight": (gradient(conv, 1), (3, 16, 9, 8), (24, 16, 3, 3), (3, 24, 7, 6)),
    "conv, strided": (strided, (2, 16, 9, 8), (24, 16, 3, 3)),
    "conv, strided, input": (gradient(strided, 0), (2, 16, 9, 8), (24, 16, 3, 3), (2, 24, 5, 8)),
    "conv, strided, weight": (gradient(strided, 1), (2, 16, 9, 8), (24, 16, 3, 3), (2, 24, 5, 8)),
    "conv, grouped": (grouped, (2, 32, 9, 8), (24, 16, 3, 3)),
    "conv, grouped, input": (gradient(grouped, 0), (2, 32, 9, 8), (24, 16, 3, 3), (2, 24, 9, 8)),
    "conv, grouped, weight": (gradient(grouped, 1), (2, 32, 9, 8), (24, 16, 3, 3), (2, 24, 9, 8)),
    "transposed": (transposed, (2, 16, 9, 8), (16, 24, 4, 4)),
    "transposed, small": (transposed, (8, 16, 4, 4), (16, 24, 4, 4)),
    "transposed, many phases": (lambda x, w: F.conv_transpose2d(x, w, None, 5), (4, 16, 4, 4), (16, 24, 5, 5)),
    "transposed, one place": (lambda x, w: F.conv_transpose2d(x, w), (20, 16, 1, 1), (16, 24, 4, 4)),
    "volumes": (F.conv3d, (2, 16, 5, 6, 4), (24, 16, 3, 2, 3)),
}


def operands(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    random = np.random.default_rng(0)
    return [flambeau.from_numpy(random.standard_normal(shape).astype(np.float32)).bfloat16() for shape in shapes]


def assert_rounded(found: np.ndarray, exact: np.ndarray) -> None:
    """Rounded once or twice to 8 bits, from sums of float32."""
    np.testing.assert_allclose(found, exact, rtol=2**-7.9, atol=1e-6 * max(1.0, np.abs(exact).max()))


@pytest.mark.parametrize("name", CASES)
def test_graphs_mean_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, *shapes = CASES[name]
    tensors = operands(tuple(shapes))
    exact = function(*[each.double() for each in tensors]).numpy()
    flambeau.flush()
    result = function(*tensors)
    slot = result.memory.slot
    with monkeypatch.context() as patch:
        patch.setattr(targets.Target, "has_pairs", True)
        graph, roots, inputs, numbers = pending()
    verify(graph)
    assert any(node.kind == "contract" and node.attrs[-1] == PAIRS for node in graph.nodes)
    bits = Interpreter(graph, inputs, numbers).memory(roots[slot])
    layout = result.layout
    found = np.lib.stride_tricks.as_strided(
        (bits.astype(np.uint32) << 16).view(np.float32), layout.shape, [4 * step for step in layout.strides]
    )
    assert_rounded(found, exact)


@needs_pairs
@pytest.mark.parametrize("name", CASES)
def test_pairs_are_computed(name: str) -> None:
    function, *shapes = CASES[name]
    tensors = operands(tuple(shapes))
    assert_rounded(function(*tensors).float().numpy(), function(*[each.double() for each in tensors]).numpy())


@needs_pairs
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("conv", "transposed"))])
def test_memory_formats_do_not_change_bits(name: str) -> None:
    function, *shapes = CASES[name]
    tensors = operands(tuple(shapes))
    plain = function(*tensors)
    last = function(*[each.to(memory_format=flambeau.channels_last) if each.ndim == 4 else each for each in tensors])
    np.testing.assert_array_equal(plain.float().numpy(), last.float().numpy())


def test_few_products_and_other_dtypes_are_ordinary() -> None:
    def bundles(function: Callable[..., Tensor], *tensors: Tensor) -> set[str]:
        flambeau.flush()
        result = function(*tensors)
        graph = pending()[0]
        del result
        return {node.attrs[-1] for node in graph.nodes if node.kind == "contract"}

    few, many = operands(((8, 16), (16, 8))), operands(((64, 64), (64, 64)))
    assert bundles(flambeau.mm, *few) == {""}
    assert bundles(flambeau.mm, *[each.float() for each in many]) == {""}
    assert bundles(flambeau.mm, *[each.half() for each in many]) == {""}
    assert bundles(lambda x, w: F.conv2d(x, w, groups=16), *operands(((2, 16, 9, 8), (16, 1, 3, 3)))) == {""}


@needs_pairs
def test_infinities_and_nans_come_out() -> None:
    a, b = flambeau.ones(40, 31, dtype=flambeau.bfloat16), flambeau.ones(31, 50, dtype=flambeau.bfloat16)
    a[3, 30], a[5, 0] = float("inf"), float("nan")
    result = (a @ b).float().numpy()
    assert np.isinf(result[3]).all() and np.isnan(result[5]).all()
    assert (np.delete(result, [3, 5], 0) == 31).all()
