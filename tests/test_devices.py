"""The modules of devices: the CPU has one stream, and there is no accelerator."""

from __future__ import annotations

import pytest

import flambeau as torch


def test_the_cpu_has_one_stream() -> None:
    stream = torch.cpu.Stream()
    with torch.cpu.stream(stream):
        y = torch.ones(2) + 1
        event = stream.record_event()
    torch.cpu.current_stream().wait_stream(stream)
    event.synchronize()
    assert event.query() and y.tolist() == [2, 2] and torch.cpu.is_initialized()


def test_generic_streams_are_the_cpus() -> None:
    with torch.Stream("cpu") as stream:
        event = stream.record_event()
    event.synchronize()
    assert stream.query() and stream.device == torch.device("cpu") and isinstance(event, torch.Event) and torch.Event().query()
    for kind in (torch.Stream, torch.Event):
        with pytest.raises(RuntimeError, match="cuda"):
            kind("cuda")


def test_older_names_of_mixed_precision() -> None:
    with pytest.warns(FutureWarning, match=r"torch.amp.autocast\('cpu'"):
        region = torch.cpu.amp.autocast()
    with region:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    with pytest.warns(FutureWarning, match="GradScaler"):
        assert torch.cpu.amp.GradScaler().is_enabled()
    assert torch.GradScaler is torch.amp.GradScaler


def test_there_is_no_accelerator() -> None:
    assert torch.accelerator.current_accelerator() is None and not torch.accelerator.is_available()
    for call in (torch.accelerator.synchronize, torch.accelerator.memory_allocated, lambda: torch.accelerator.device_index(0)):
        with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
            call()
