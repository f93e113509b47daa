"""A few eigenvalues of symmetric matrices, against all of them."""

from __future__ import annotations

import pytest

import flambeau as torch

pytest.importorskip("scipy")


def symmetric(*batch: int, seed: int = 0) -> torch.Tensor:
    root = torch.randn(*batch, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.mT + torch.eye(12, dtype=torch.float64)


def aligned(vectors: torch.Tensor) -> torch.Tensor:
    """The vectors with a sign of their own: that of their largest component."""
    return vectors * vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True)).sign()


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_finds_the_best_pairs(batch: tuple[int, ...], largest: bool) -> None:
    a = symmetric(*batch)
    values, vectors = torch.lobpcg(a, k=2, largest=largest)
    every, basis = torch.linalg.eigh(a)
    best = slice(-1, -3, -1) if largest else slice(0, 2)
    chosen = torch.tensor(range(12)[best])
    torch.testing.assert_close(values, every[..., chosen])
    torch.testing.assert_close(aligned(vectors), aligned(basis[..., chosen]), rtol=1e-5, atol=1e-5)


def test_pairs_of_two_matrices_from_a_given_start() -> None:
    a, b = symmetric(), symmetric(seed=1)
    start = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values, vectors = torch.lobpcg(a, B=b, X=start)
    torch.testing.assert_close(a @ vectors, b @ vectors * values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values, torch.linalg.eigvals(torch.linalg.solve(b, a)).real.sort(descending=True).values[:2])


def test_a_sparse_matrix() -> None:
    diagonal = torch.arange(1.0, 101.0)
    places = torch.arange(100)
    values, vectors = torch.lobpcg(torch.sparse_coo_tensor(torch.stack([places, places]), diagonal, (100, 100)), k=2)
    torch.testing.assert_close(values, torch.tensor([100.0, 99.0]))
    assert vectors.abs().argmax(0).tolist() == [99, 98]


def test_gradients_are_those_of_all_pairs() -> None:
    weights = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    a, c = symmetric().requires_grad_(), symmetric().requires_grad_()
    values, vectors = torch.lobpcg(a, k=2)
    every, basis = torch.linalg.eigh(c)
    (values.square().sum() + (vectors**4 * weights).sum()).backward()
    (every[-2:].square().sum() + (basis[:, [-1, -2]] ** 4 * weights).sum()).backward()
    torch.testing.assert_close(a.grad + a.grad.mT, c.grad + c.grad.mT, rtol=1e-5, atol=1e-5)


def test_gradients_of_two_matrices() -> None:
    def best(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.lobpcg((a + a.mT) / 2, B=(b + b.mT) / 2, X=torch.eye(12, 2, dtype=torch.float64), tol=1e-11)
        return torch.cat([values, (vectors**2).sum(1)])

    operands = symmetric().requires_grad_(), symmetric(seed=1).requires_grad_()
    assert torch.autograd.gradcheck(best, operands, eps=1e-5, atol=1e-3, rtol=1e-3, fast_mode=True)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows \(=12\) is smaller than 3 x the number of requested eigenpairs \(=5\)"):
        torch.lobpcg(symmetric(), k=5)
    with pytest.raises(ValueError, match="square"):
        torch.lobpcg(torch.ones(3, 4))
    with pytest.raises(ValueError, match="method"):
        torch.lobpcg(symmetric(), method="other")
