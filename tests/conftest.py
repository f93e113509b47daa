"""What holds for every test: caches of the project's own, and no trace left in the modes that Flambeau keeps globally."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest

# Before Flambeau is imported: compiled kernels stay within the project, for the next run and for all workers of this one.
os.environ.setdefault("XDG_CACHE_HOME", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "kernels"))


MANY = 40
"""Cases of a test, of which every second one will do to see whether a change broke something."""


def pytest_addoption(parser):
    parser.addoption(
        "--half", action="store_true", help=f"of tests that have more than {MANY} cases run about every second one, always the same"
    )


def pytest_collection_modifyitems(config, items):
    """With ``--half``, which cases run follows from their names, so that it does not change when others are added."""
    if not config.getoption("half"):
        return
    cases = Counter(item.nodeid.partition("[")[0] for item in items)
    left_out = [item for item in items if cases[item.nodeid.partition("[")[0]] > MANY and crc32(item.nodeid.encode()) & 1]
    known = set(left_out)
    items[:] = [item for item in items if item not in known]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def _no_lasting_modes():
    """Fail the test that leaves gradients off or another default dtype behind, instead of those that come after it."""
    import flambeau

    before = flambeau.is_grad_enabled(), flambeau.is_inference_mode_enabled(), flambeau.get_default_dtype()
    yield
    after = flambeau.is_grad_enabled(), flambeau.is_inference_mode_enabled(), flambeau.get_default_dtype()
    assert after == before, "grad mode, inference mode or the default dtype is not what it was before the test"


@pytest.fixture(autouse=True)
def _whole_tapes():
    """Let no test cut the tapes of those after it, however many long programs it has run once."""
    yield
    from flambeau._tape.cuts import CUTS

    CUTS.single = 0
    CUTS.ways.clear()
