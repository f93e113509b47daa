"""What `TORCH_DISTRIBUTED_DEBUG` says."""

from __future__ import annotations

import pytest

from flambeau import distributed


def test_levels(monkeypatch):
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "info")
    distributed.set_debug_level_from_env()
    assert distributed.get_debug_level() is distributed.DebugLevel.INFO
    distributed.set_debug_level(distributed.DebugLevel.DETAIL)
    assert distributed.get_debug_level() is distributed.DebugLevel.DETAIL
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "loud")
    with pytest.raises(ValueError, match="TORCH_DISTRIBUTED_DEBUG is 'loud', but it must be one of OFF, INFO, DETAIL"):
        distributed.set_debug_level_from_env()
    monkeypatch.delenv("TORCH_DISTRIBUTED_DEBUG")
    distributed.set_debug_level_from_env()
    assert distributed.get_debug_level() is distributed.DebugLevel.OFF
