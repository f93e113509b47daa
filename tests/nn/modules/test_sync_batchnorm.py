from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import distributed, nn
from tests.distributed.jobs import run


def _norm(cls, dtype=torch.float32, **settings):
    norm = cls(3, **settings).to(dtype)
    with torch.no_grad():
        if norm.weight is not None:
            norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
            norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    return norm


def _compare(rank, rows):
    """Against batch normalisation of the whole batch, whose mean is far from 0."""
    generator = torch.Generator().manual_seed(0)
    for shape, cls in (((3, 4, 5), nn.BatchNorm2d), ((3,), nn.BatchNorm1d)):
        for settings in ({}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}):
            whole = (torch.randn(sum(rows), *shape, generator=generator) + 100).double().requires_grad_()
            weight = torch.randn(sum(rows), *shape, generator=generator)
            alone, together = _norm(cls, torch.float64, **settings), _norm(nn.SyncBatchNorm, **settings)
            start = sum(rows[:rank])
            part = whole.detach()[start : start + rows[rank]].float().requires_grad_()
            expected, found = alone(whole), together(part)
            close = {"rtol": 1e-4, "atol": 1e-4, "check_dtype": False}  # 100 is known in float32 to 4e-6
            torch.testing.assert_close(found, expected[start : start + rows[rank]], **close)
            (expected * weight).sum().backward()
            (found * weight[start : start + rows[rank]]).sum().backward()
            torch.testing.assert_close(part.grad, whole.grad[start : start + rows[rank]], **close)
            for name, buffer in alone.named_buffers():
                torch.testing.assert_close(dict(together.named_buffers())[name], buffer, check_dtype=False)
            if alone.weight is not None:
                for one, other in zip(alone.parameters(), together.parameters(), strict=True):
                    distributed.all_reduce(other.grad)
                    torch.testing.assert_close(other.grad, one.grad, **close)
            together.eval()
            alone.eval()
            if settings.get("track_running_stats", True):
                torch.testing.assert_close(together(whole.float()), alone(whole), **close)


@pytest.mark.parametrize("rows", [(2, 3), (4, 0), (1, 1, 2)])
def test_statistics_are_of_all_processes(rows):
    run(_compare, len(rows), rows)


def _halves(rank):
    norm = _norm(nn.SyncBatchNorm, torch.bfloat16)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(rank)).to(torch.bfloat16).requires_grad_()
    y = norm(x)
    y.sum().backward()
    assert y.dtype is x.grad.dtype is norm.weight.grad.dtype is torch.bfloat16
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        norm(x[: 1 - rank].detach())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    model = nn.parallel.DistributedDataParallel(converted)
    model(torch.randn(5, 2, generator=torch.Generator().manual_seed(rank))).square().sum().backward()
    every = [None, None]
    distributed.all_gather_object(every, list(model.buffers()))
    assert all(map(torch.equal, *every))


def test_halves_and_conversion():
    run(_halves)
