"""Futures: values, errors, what follows on them, and many at once."""

from __future__ import annotations

import threading

import pytest

from flambeau.futures import Future, collect_all, wait_all


def test_value():
    future = Future()
    assert not future.done()
    with pytest.raises(RuntimeError, match="no value yet"):
        future.value()
    threading.Timer(0.01, future.set_result, [3]).start()
    assert future.wait() == 3 and future.done() and future.value() == 3
    with pytest.raises(RuntimeError, match="set before"):
        future.set_result(4)


def test_then_and_errors():
    future = Future()
    doubled = future.then(lambda done: done.value() * 2)
    failed = doubled.then(lambda done: 1 / 0)
    future.set_result(5)
    assert doubled.wait() == 10
    with pytest.raises(ZeroDivisionError):
        failed.wait()
    other = Future()
    other.set_exception(KeyError("k"))
    with pytest.raises(KeyError):
        other.wait()
    with pytest.raises(AssertionError, match="not an exception"):
        Future().set_exception("text")


def test_many():
    futures = [Future() for _ in range(3)]
    every = collect_all(futures)
    for number, future in enumerate(futures):
        assert not every.done()
        future.set_result(number)
    assert every.wait() == futures and wait_all(futures) == [0, 1, 2] and wait_all([]) == []
