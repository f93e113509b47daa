"""Linear algebra: decompositions, systems of equations, and what trains with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks.workload import Workload, with_gradients

Shape = tuple[int, ...]

# what is computed, shape of the matrices; of results that are determined up to signs only the sizes are read
CALLS: dict[str, tuple[str, Shape]] = {
    "solve, 64 of 8²": ("solve", (64, 8, 8)),
    "solve, 512²": ("solve", (512, 512)),
    "inv, 1024 of 4²": ("inv", (1024, 4, 4)),
    "inv, 512²": ("inv", (512, 512)),
    "cholesky, 32 of 32²": ("cholesky", (32, 32, 32)),
    "cholesky, 1024²": ("cholesky", (1024, 1024)),
    "slogdet, 128²": ("slogdet", (128, 128)),
    "triangular system, 512²": ("solve_triangular", (512, 512)),
    "qr, 32 of 32²": ("qr", (32, 32, 32)),
    "qr, 512²": ("qr", (512, 512)),
    "least squares, 1000×20": ("lstsq", (1000, 20)),
    "pinv, 64 of 8²": ("pinv", (64, 8, 8)),
    "eigh, 32 of 32²": ("eigh", (32, 32, 32)),
    "eigh, 256²": ("eigh", (256, 256)),
    "svd, 128²": ("svd", (128, 128)),
    "svd, 512²": ("svd", (512, 512)),
    "matrix_exp, 64 of 8²": ("matrix_exp", (64, 8, 8)),
}


def workloads() -> Iterator[Workload]:
    for name, (function, shape) in CALLS.items():
        yield Workload("linalg", name, partial(call, function=function, shape=shape))
    for name, (function, shape) in {"solve": ("solve", (64, 8, 8)), "cholesky": ("cholesky", (128, 128))}.items():
        yield Workload("linalg", f"{name} with gradients, {'×'.join(map(str, shape))}", partial(gradients, function=function, shape=shape))
    yield Workload("linalg", "log_prob of MultivariateNormal, 256 of 16, with gradients", log_prob)
    yield Workload("linalg", "train step of a Gaussian process, 256 points", gaussian_process)


def definite(torch: ModuleType, shape: Shape) -> Any:
    a = torch.randn(shape)
    return a @ a.mT / shape[-1] + torch.eye(shape[-1])


def prepared(torch: ModuleType, function: str, shape: Shape) -> tuple[Callable[..., Any], list[Any]]:
    """A function and its operands; its results are unique."""
    linalg = torch.linalg
    right = torch.randn(*shape[:-1], 4)
    symmetric = function in ("cholesky", "eigh")
    a = definite(torch, shape) if symmetric else torch.randn(shape)
    if function == "eigh":  # eigenvalues apart: vectors of those that nearly coincide are not unique in the last digits
        a = a + torch.arange(shape[-1]).float().diag()
    if function == "solve_triangular":
        return partial(linalg.solve_triangular, upper=False), [a.tril() + 30 * torch.eye(shape[-1]), right]
    if function == "solve":
        return linalg.solve, [a + 4 * torch.eye(shape[-1]), right]
    if function == "inv":
        return linalg.inv, [a + 4 * torch.eye(shape[-1])]
    if function == "lstsq":
        return lambda a, b: linalg.lstsq(a, b).solution, [a, right]
    if function in ("qr", "eigh", "svd"):  # all results are read: what nobody looks at would not be computed
        return lambda a: [each.abs() for each in getattr(linalg, function)(a)], [a]
    if function == "slogdet":
        return lambda a: linalg.slogdet(a)[1], [a]
    return getattr(linalg, function), [a]


def call(torch: ModuleType, function: str, shape: Shape) -> Callable[[], Any]:
    compute, operands = prepared(torch, function, shape)
    return lambda: compute(*operands)


def gradients(torch: ModuleType, function: str, shape: Shape) -> Callable[[], Any]:
    compute, operands = prepared(torch, function, shape)
    return with_gradients(torch, compute, [each.requires_grad_() for each in operands], [])


def log_prob(torch: ModuleType) -> Callable[[], Any]:
    mean, covariance, x = torch.randn(16, requires_grad=True), definite(torch, (16, 16)).requires_grad_(), torch.randn(256, 16)

    def run() -> Any:
        loss = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).mean()
        return [loss, *torch.autograd.grad(loss, [mean, covariance])]

    return run


def gaussian_process(torch: ModuleType) -> Callable[[], Any]:
    x = torch.linspace(0, 1, 256).unsqueeze(1)
    y = torch.sin(6 * x) + 0.1 * torch.randn(256, 1)
    length, noise = torch.tensor(0.3, requires_grad=True), torch.tensor(0.1, requires_grad=True)

    def run() -> Any:
        kernel = torch.exp(-0.5 * ((x - x.t()) / length) ** 2) + noise * torch.eye(256)
        factor = torch.linalg.cholesky(kernel)
        loss = (y * torch.cholesky_solve(y, factor)).sum() / 2 + factor.diagonal().log().sum()
        return [loss, *torch.autograd.grad(loss, [length, noise])]

    return run
