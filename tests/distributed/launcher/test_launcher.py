"""A job that is started by a function."""

from __future__ import annotations

import os

import pytest

import flambeau as torch
from flambeau import distributed
from flambeau.distributed.elastic.multiprocessing.errors import ChildFailedError
from flambeau.distributed.launcher import LaunchConfig, elastic_launch
from flambeau.distributed.launcher.api import _endpoint


def _sum(value, fails):
    distributed.init_process_group("gloo")
    x = torch.tensor([value + distributed.get_rank()])
    distributed.all_reduce(x)
    distributed.destroy_process_group()
    if fails and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        raise ValueError("the first time")
    return x.item()


def test_functions(capfd):
    config = LaunchConfig(1, 1, 2, rdzv_endpoint="localhost:0", start_method="fork", max_restarts=1, monitor_interval=0.02)
    assert elastic_launch(config, _sum)(1.5, False) == {0: 4.0, 1: 4.0}
    assert elastic_launch(config, _sum)(1.5, True) == {0: 4.0, 1: 4.0}
    assert "_sum FAILED: rank 1" in capfd.readouterr().err
    config.max_restarts = 0
    with pytest.raises(ChildFailedError, match="ended with exit code 1: ValueError: the first time"):
        elastic_launch(config, _sum)(1.5, True)


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"min_nodes \(2\) must be positive, and not more than max_nodes \(1\)"):
        LaunchConfig(2, 1, 1)
    with pytest.raises(ValueError, match="rdzv_backend='etcd' is not there"):
        LaunchConfig(1, 1, 1, rdzv_backend="etcd")
    for endpoint in ("host:port", "::1:29500", "host:70000", "a:1:2"):
        with pytest.raises(ValueError, match="the place to meet is host:port"):
            _endpoint(endpoint)
    assert [_endpoint(each) for each in ("", "host", "host:0", "[::1]:29500")] == [
        ("", 29400),
        ("host", 29400),
        ("host", 0),
        ("::1", 29500),
    ]
