"""What holds for every test: caches of the project's own, and no trace left in the modes that Flambeau keeps globally."""

from __future__ import annotations

import gc
import os
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest

# Before Flambeau is imported: compiled kernels stay within the project, for the next run and for all workers of this one.
# A run makes some 600 MB of them.
os.environ.setdefault("XDG_CACHE_HOME", str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "kernels"))
os.environ.setdefault("FLAMBEAU_CACHE_MB", "2048")


MANY = 20
"""Cases of a test, of which every second one will do to see whether a change broke something."""
VERY_MANY = 100
"""Cases of a test, of which every fourth one will do."""
FEW_EXAMPLES = "20"
"""Of random cases, which are the first of the same sequence, so many will do."""


def pytest_addoption(parser):
    parser.addoption(
        "--some",
        action="store_true",
        help=f"of tests with more than {MANY} cases run every second one, of those with more than {VERY_MANY} every fourth, always the same ones, and "
        f"{FEW_EXAMPLES} examples of those with random cases",
    )


def pytest_configure(config):
    if config.getoption("some"):
        os.environ.setdefault("FLAMBEAU_EXAMPLES", FEW_EXAMPLES)


def pytest_collection_modifyitems(config, items):
    """With ``--some``, which cases run follows from their names, so that it does not change when others are added."""
    if not config.getoption("some"):
        return
    cases = Counter(map(_test_of, items))
    left_out = [item for item in items if crc32(item.nodeid.encode()) % _share(cases[_test_of(item)])]
    known = set(left_out)
    items[:] = [item for item in items if item not in known]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish():
    """Let the garbage collector pass over what all tests have in common: modules and thousands of items, through which each ``gc.collect()`` would go."""
    gc.collect()
    gc.freeze()


def _test_of(item):
    """What the cases of a test have in common."""
    return item.nodeid.partition("[")[0]


def _share(cases):
    """Of how many cases one runs, for a test that has so many."""
    return 4 if cases > VERY_MANY else 2 if cases > MANY else 1


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
