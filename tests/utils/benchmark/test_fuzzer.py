"""Random inputs for timing."""

from __future__ import annotations

import math

import pytest

import flambeau as torch
from flambeau.utils.benchmark import FuzzedParameter, FuzzedSparseTensor, FuzzedTensor, Fuzzer, ParameterAlias, dtype_size


def fuzzer(seed=0, **options):
    parameters = [
        FuzzedParameter("dim", distribution={2: 0.5, 3: 0.5}),
        [FuzzedParameter(f"k{number}", 1, 64, "loguniform") for number in range(3)],
        FuzzedParameter("step", distribution={1: 0.6, 2: 0.4}),
        FuzzedParameter("same", distribution={ParameterAlias("k0"): 0.5, 1: 0.5}),
    ]
    tensors = [
        FuzzedTensor("x", ("k0", "k1", "k2"), ("step",) * 3, 0.75, 4, 4096, dim_parameter="dim"),
        [FuzzedTensor("y", ("same", 3), dtype=torch.int64, probability_contiguous=1.0)],
    ]
    return Fuzzer(parameters, tensors, seed=seed, **options)


def test_tensors_are_what_the_parameters_say():
    orders, aliases = set(), 0
    for tensors, properties, params in fuzzer().take(60):
        x, y = tensors["x"], tensors["y"]
        assert x.shape == tuple(params[f"k{number}"] for number in range(params["dim"])) and 4 <= x.numel() <= 4096
        assert properties["x"]["steps"] == (params["step"],) * params["dim"] and properties["x"]["numel"] == x.numel()
        assert properties["x"]["is_contiguous"] == x.is_contiguous() and properties["x"]["dtype"] == "torch.float32"
        assert y.dtype is torch.int64 and y.is_contiguous() and params["same"] in (1, params["k0"]) and int(y.min()) >= 1
        orders.add(tuple(properties["x"]["order"]))
        aliases += params["same"] == params["k0"] != 1
    assert len(orders) > 4 and 15 < aliases < 45


def test_a_seed_gives_the_same_examples():
    first, second, other = ([params for _, _, params in fuzzer(seed).take(5)] for seed in (1, 1, 2))
    assert first == second != other
    assert [params for _, _, params in fuzzer(1).take(2)] == first[:2]


def test_constraints_reject():
    made = fuzzer(constraints=[lambda k0, k1, **others: k0 > k1])
    assert all(params["k0"] > params["k1"] for _, _, params in made.take(10)) and 0 < made.rejection_rate < 1
    assert fuzzer().rejection_rate == 0
    with pytest.raises(ValueError, match="none was within the limits"):
        next(fuzzer(constraints=[lambda **params: False]).take(1))


def test_distributions():
    examples = Fuzzer([FuzzedParameter("a", 1, 1024, "loguniform"), FuzzedParameter("b", 0.5, 2.0), FuzzedParameter("c", 3, 5)], [], seed=3)
    drawn = [params for _, _, params in examples.take(400)]
    logs = sum(math.log2(each["a"]) for each in drawn) / len(drawn)
    assert 4 < logs < 6 and {each["c"] for each in drawn} == {3, 4, 5} and all(1 <= each["a"] <= 1024 for each in drawn)
    assert all(isinstance(each["a"], int) and isinstance(each["b"], float) and 0.5 <= each["b"] <= 2 for each in drawn)


def test_steps_and_rolls():
    parameters = [FuzzedParameter("roll", distribution={1: 1.0}), FuzzedParameter("n", distribution={7: 1.0})]
    tensor = FuzzedTensor("x", ("n", 2, 3), (2, 1, 1), 1.0, roll_parameter="roll", max_allocation_bytes=7 * 2 * 3 * 2 * 4)
    ((tensors, properties, _),) = Fuzzer(parameters, [tensor], seed=0).take(1)
    assert tensors["x"].shape == (3, 7, 2) and properties["x"]["steps"] == (1, 2, 1) and tensors["x"].stride() == (28, 4, 1)


def test_constructors_and_sparse_tensors():
    made = FuzzedTensor("x", ("n",), tensor_constructor=lambda size, dtype, n, **others: torch.full(size, float(n), dtype=dtype))
    sparse = FuzzedSparseTensor("s", ("n", 5), nnz="share", coalesced="sorted")
    parameters = [
        FuzzedParameter("n", 2, 9),
        FuzzedParameter("share", 0.2, 0.8),
        FuzzedParameter("sorted", distribution={True: 0.5, False: 0.5}),
    ]
    for tensors, properties, params in Fuzzer(parameters, [made, sparse], seed=0).take(8):
        assert tensors["x"].tolist() == [params["n"]] * params["n"]
        assert tensors["s"].is_sparse and tensors["s"].shape == (params["n"], 5)
        assert properties["s"]["is_coalesced"] == params["sorted"] == tensors["s"].is_coalesced()
    assert dtype_size(torch.float16) == 2 and dtype_size(torch.bool) == 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: FuzzedParameter("a", 1, 2, "normal"), "not 'normal'"),
        (lambda: FuzzedParameter("a", 3, 2), "minval <= maxval"),
        (lambda: FuzzedParameter("a", distribution={1: 0.5}, strict=True), "sum 0.5"),
        (lambda: FuzzedTensor("x", (1, 2), (1,)), "2 sizes, but 1 steps"),
        (lambda: FuzzedTensor("x", (1,), cuda=True), "GPU"),
        (lambda: Fuzzer([FuzzedParameter("a", 1, 2), FuzzedParameter("a", 1, 2)], []), "a is there more than once"),
        (lambda: list(Fuzzer([FuzzedParameter("a", distribution={ParameterAlias("b"): 1.0})], []).take(1)), "leads nowhere"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()
