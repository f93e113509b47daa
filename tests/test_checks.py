from __future__ import annotations

import pytest

import flambeau as torch


def test_conditions_that_hold():
    torch._check(True)
    torch._check_is_size(3, max=3)
    torch._check_tensor_all(torch.tensor([True, True]))
    torch._check_with(ValueError, True, lambda: 1 / 0)


@pytest.mark.parametrize(
    ("check", "error"),
    [
        (torch._check, RuntimeError), (torch._check_value, ValueError), (torch._check_index, IndexError), (torch._check_type, TypeError),
        (torch._check_not_implemented, NotImplementedError),
    ],
)  # fmt: skip
def test_conditions_that_do_not(check, error):
    with pytest.raises(error, match="n must be even"):
        check(False, lambda: "n must be even")
    with pytest.raises(error, match="does not hold"):
        check(False)


def test_sizes_and_tensors():
    with pytest.raises(RuntimeError, match="negative"):
        torch._check_is_size(-1, lambda: "negative")
    with pytest.raises(RuntimeError, match="does not hold"):
        torch._check_is_size(4, max=3)
    with pytest.raises(KeyError, match="not all"):
        torch._check_tensor_all_with(KeyError, torch.tensor([True, False]), lambda: "not all")


def test_what_is_no_condition():
    with pytest.raises(TypeError, match="_check_tensor_all"):
        torch._check(torch.tensor(True))
    with pytest.raises(TypeError, match="a int"):
        torch._check(1)
    with pytest.raises(TypeError, match="message must be a callable"):
        torch._check(False, "text")
    with pytest.raises(TypeError, match="tensor of bools"):
        torch._check_tensor_all(torch.ones(2))
