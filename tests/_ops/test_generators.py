"""Generators of random numbers."""

from __future__ import annotations

import flambeau


def test_the_second_of_a_pair_waits_in_each_generator() -> None:
    one = flambeau.Generator().manual_seed(0)
    flambeau.randn(1, generator=one)
    other = one.clone_state()
    third = flambeau.Generator()
    third.set_state(one.get_state())
    numbers = [flambeau.randn(3, generator=each).tolist() for each in (one, other, third)]
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[0] != flambeau.randn(3, generator=flambeau.Generator().manual_seed(0)).tolist()
