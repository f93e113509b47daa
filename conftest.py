"""What the examples in docstrings and documents may use without importing it (`make docs` runs them)."""

from __future__ import annotations

import doctest

import pytest

import flambeau


@pytest.fixture(autouse=True)
def example(request):
    """Examples know `flambeau`, `nn` and `F`, draw the same random numbers each time, and write files to a folder of their own."""
    if isinstance(getattr(request.node, "dtest", None), doctest.DocTest):
        request.getfixturevalue("doctest_namespace").update(flambeau=flambeau, nn=flambeau.nn, F=flambeau.nn.functional)
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path_factory").mktemp("example"))
        flambeau.manual_seed(0)
