"""Steps of optimizers on lists of tensors: they do what the optimizers do."""

from __future__ import annotations

import importlib
import inspect

import pytest

import flambeau as torch

KINDS = {
    "adadelta": ("Adadelta", {"lr": 0.5, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.01, "maximize": False}, {}),
    "adagrad": ("Adagrad", {"lr": 0.1, "weight_decay": 0.01, "lr_decay": 0.1, "eps": 1e-10, "maximize": True}, {}),
    "adam": ("Adam", {"amsgrad": True, "lr": 0.1, "weight_decay": 0.01, "eps": 1e-8, "maximize": False}, {"betas": (0.8, 0.9)}),
    "adamw": ("AdamW", {"amsgrad": False, "lr": 0.1, "weight_decay": 0.1, "eps": 1e-8, "maximize": True}, {"betas": (0.8, 0.9)}),
    "adamax": ("Adamax", {"eps": 1e-8, "lr": 0.1, "weight_decay": 0.01}, {"betas": (0.8, 0.9)}),
    "asgd": ("ASGD", {"lambd": 1e-2, "lr": 0.1, "t0": 1.0, "alpha": 0.75, "weight_decay": 0.01}, {}),
    "nadam": ("NAdam", {"lr": 0.1, "weight_decay": 0.01, "momentum_decay": 4e-3, "eps": 1e-8}, {"betas": (0.8, 0.9)}),
    "radam": ("RAdam", {"lr": 0.1, "weight_decay": 0.01, "eps": 1e-8}, {"betas": (0.8, 0.9)}),
    "rmsprop": ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.01, "momentum": 0.5, "centered": True}, {}),
    "rprop": ("Rprop", {}, {"etas": (0.4, 1.3), "step_sizes": (1e-6, 2.0)}),
    "sgd": ("SGD", {"weight_decay": 0.01, "momentum": 0.5, "lr": 0.1, "dampening": 0.25, "nesterov": False, "maximize": False}, {}),
}  # fmt: skip
PAIRS = {"betas": ("beta1", "beta2"), "etas": ("etaminus", "etaplus"), "step_sizes": ("step_size_min", "step_size_max")}
STATES = {
    "square_avgs": "square_avg", "acc_deltas": "acc_delta", "state_steps": "step", "state_sums": "sum", "exp_avgs": "exp_avg",
    "exp_avg_sqs": "exp_avg_sq", "max_exp_avg_sqs": "max_exp_avg_sq", "exp_infs": "exp_inf", "axs": "ax", "mus": "mu", "etas": "eta",
    "mu_products": "mu_product", "grad_avgs": "grad_avg", "momentum_buffer_list": "momentum_buffer", "prevs": "prev", "step_sizes": "step_size",
}  # fmt: skip


def parameters() -> list:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, generator=generator), torch.randn(5, generator=generator, dtype=torch.float64)]


def gradients(step: int) -> list:
    generator = torch.Generator().manual_seed(step + 2)
    return [torch.randn(4, 3, generator=generator), torch.randn(5, generator=generator, dtype=torch.float64)]


def own(state: torch.Tensor | None) -> torch.Tensor | None:
    """A copy: parameters of an optimizer share the tensor that counts their steps."""
    return None if state is None else state.clone()


@pytest.mark.parametrize("name", KINDS)
def test_does_what_the_optimizer_does(name: str) -> None:
    kind, settings, pairs = KINDS[name]
    function = getattr(importlib.import_module(f"flambeau.optim.{name}"), name)
    reference = [torch.nn.Parameter(value) for value in parameters()]
    optimizer = getattr(torch.optim, kind)(reference, **settings, **pairs)
    initial = [optimizer._new_state(parameter, optimizer.param_groups[0]) for parameter in reference]
    arguments = list(inspect.signature(function).parameters)
    lists = {each: [own(state[STATES[each]]) for state in initial if STATES[each] in state] for each in arguments if each in STATES}
    kept = {each: list(values) for each, values in lists.items()}
    numbers = {end: value for pair, values in pairs.items() for end, value in zip(PAIRS[pair], values, strict=True)}
    values = parameters()
    for step in range(3):
        function(values, gradients(step), **lists, **settings, **numbers)
        for parameter, gradient in zip(reference, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()
        for value, parameter in zip(values, reference, strict=True):
            assert torch.equal(value, parameter)
    for each, states in lists.items():
        for i, (state, before) in enumerate(zip(states, kept[each], strict=True)):
            assert before is None or state is before  # changed in place
            assert torch.equal(state, optimizer.state[reference[i]][STATES[each]])


def test_counts_steps_in_place() -> None:
    value, steps = torch.zeros(2), torch.tensor(0.0)
    torch.optim.adam.adam(
        [value], [torch.ones(2)], [torch.zeros(2)], [torch.zeros(2)], [], [steps],
        amsgrad=False, beta1=0.9, beta2=0.999, lr=0.25, weight_decay=0, eps=0.0, maximize=False,
    )  # fmt: skip
    assert steps.item() == 1
    torch.testing.assert_close(value, torch.tensor([-0.25, -0.25]))


def test_gradients_that_are_scaled_or_not_finite() -> None:
    value, rest = torch.zeros(2), {"weight_decay": 0, "momentum": 0, "lr": 1.0, "dampening": 0, "nesterov": False, "maximize": False}
    torch.optim.sgd.sgd([value], [torch.ones(2)], [None], grad_scale=torch.tensor(4.0), found_inf=torch.tensor(0.0), **rest)
    assert value.tolist() == [-0.25, -0.25]
    torch.optim.sgd.sgd([value], [torch.ones(2)], [None], grad_scale=torch.tensor(4.0), found_inf=torch.tensor(1.0), **rest)
    assert value.tolist() == [-0.25, -0.25]


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 parameters, and momentum_buffer has 1"):
        torch.optim.sgd.sgd(
            [torch.zeros(1), torch.zeros(1)], [torch.zeros(1), torch.zeros(1)], [None],
            weight_decay=0, momentum=0.5, lr=1.0, dampening=0, nesterov=False, maximize=False,
        )  # fmt: skip
