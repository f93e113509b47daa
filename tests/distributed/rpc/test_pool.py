"""Jobs in threads: no more at a time than is allowed, and none that waits for ever."""

from __future__ import annotations

import threading
import time

from flambeau.distributed.rpc.pool import Clock, Pool, waiting


def _until(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_a_limit():
    pool, lock, running, most, done = Pool(3, "test"), threading.Lock(), [0], [0], []

    def job(number):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.002)
        with lock:
            running[0] -= 1
        done.append(number)

    for number in range(60):
        pool.submit(lambda number=number: job(number))
    assert _until(lambda: len(done) == 60) and 1 < most[0] <= 3
    pool.close()


def test_jobs_that_wait_for_jobs():
    """Each job waits for the next one, deeper than there are places; also if many do at the same time."""
    pool, done = Pool(2, "test"), []

    def job(depth, over):
        if depth:
            inner = threading.Event()
            pool.submit(lambda: job(depth - 1, inner))
            with waiting():
                assert inner.wait(20)
        done.append(depth)
        over.set()

    every = [threading.Event() for _ in range(20)]
    for each in every:
        pool.submit(lambda each=each: job(9, each))
    assert all(each.wait(20) for each in every) and len(done) == 200
    pool.close()


def test_an_error_costs_no_place(capsys):
    pool, done = Pool(1, "test"), threading.Event()
    pool.submit(lambda: 1 / 0)
    pool.submit(done.set)
    assert done.wait(20) and "ZeroDivisionError" in capsys.readouterr().err
    pool.close()


def test_clock():
    found, wanted = [], set(range(3000))
    clock = Clock(found.append, wanted.__contains__)
    for number in range(3000):
        clock.add(number, 60)
    wanted.clear()
    for number in range(3000, 3100):  # at some point it is looked who still waits: nobody
        clock.add(number, 60)
    assert len(clock.entries) < 200
    clock.add(-1, 0.05)
    clock.add(-2, 0.01)
    assert _until(lambda: len(found) == 2) and found == [-2, -1]
    clock.close()
