"""Sparse tensors against dense ones: what they hold, arithmetic, products, reductions, gradients, files."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck


def matrix(rows: int = 5, columns: int = 7, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.4)
    return torch.tensor(values, dtype=dtype)


def uncoalesced() -> torch.Tensor:
    return torch.sparse_coo_tensor([[1, 0, 1, 1], [2, 0, 2, 0]], [3.0, 4.0, 5.0, -1.0], (2, 3))


def same(sparse: torch.Tensor, dense: torch.Tensor) -> None:
    assert sparse.layout != torch.strided
    assert sparse.shape == dense.shape
    assert torch.equal(sparse.to_dense(), dense)


LAYOUTS = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


# -- making and converting -------------------------------------------------------------------------------------------


def test_prints_as_pytorch_does() -> None:
    made = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3), requires_grad=True)
    assert repr(made) == (
        "tensor(indices=tensor([[0, 1, 1],\n                       [2, 0, 2]]),\n       values=tensor([3., 4., 5.]),\n"
        "       size=(2, 3), nnz=3, layout=torch.sparse_coo, requires_grad=True)"
    )
    by_rows = torch.sparse_csr_tensor([0, 2, 4], [0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0], size=(2, 2))
    assert repr(by_rows) == (
        "tensor(crow_indices=tensor([0, 2, 4]),\n       col_indices=tensor([0, 1, 0, 1]),\n"
        "       values=tensor([1., 2., 3., 4.]), size=(2, 2), nnz=4,\n       layout=torch.sparse_csr)"
    )
    assert repr(torch.zeros(2, 3, layout=torch.sparse_coo)) == (
        "tensor(indices=tensor([], size=(2, 0)),\n       values=tensor([], size=(0,)),\n       size=(2, 3), nnz=0, layout=torch.sparse_coo)"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (0, 3), (3, 0), (4, 4)])
def test_there_and_back(layout: torch.layout, shape: tuple[int, int]) -> None:
    dense = matrix(*shape)
    sparse = dense.to_sparse(layout=layout)
    assert sparse.layout == layout
    assert sparse._nnz() == int((dense != 0).sum())
    same(sparse, dense)
    for other in LAYOUTS:
        same(sparse.to_sparse(layout=other), dense)
    same(sparse.t(), dense.t())


def test_a_tensor_of_vectors() -> None:
    dense = torch.arange(24.0).reshape(2, 3, 4)
    dense[0, 1] = 0
    sparse = dense.to_sparse(2)
    assert (sparse.sparse_dim(), sparse.dense_dim(), sparse._nnz()) == (2, 1, 5)
    same(sparse, dense)
    assert sparse.values().shape == (5, 4)


def test_equal_positions_are_added_up() -> None:
    made = uncoalesced()
    assert not made.is_coalesced()
    with pytest.raises(RuntimeError, match="Cannot get values on an uncoalesced tensor"):
        made.values()
    sorted_ = made.coalesce()
    assert sorted_.is_coalesced()
    assert sorted_.indices().tolist() == [[0, 1, 1], [0, 0, 2]]
    assert sorted_.values().tolist() == [4.0, -1.0, 8.0]
    assert made.to_dense().tolist() == [[4.0, 0.0, 0.0], [-1.0, 0.0, 8.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], [1.0]), "same nnz"),
        (([[5]], [1.0], (2, 2)), "len\\(size\\) == sparse_dim \\+ dense_dim"),
        (([[0]], [[1.0, 2.0]], (2, 3)), "values has incorrect size"),
        (([0, 1], [1.0, 2.0], (2,)), "sparse_dim x nnz"),
    ],
)
def test_parts_that_do_not_fit(arguments: tuple, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        torch.sparse_coo_tensor(*arguments)


def test_invariants_are_checked_if_asked() -> None:
    torch.sparse_coo_tensor([[5]], [1.0], (2,))  # the operators check their indices in any case
    with pytest.raises(RuntimeError):
        torch.sparse_coo_tensor([[5]], [1.0], (2,)).to_dense().tolist()
    with torch.sparse.check_sparse_tensor_invariants(), pytest.raises(RuntimeError, match="found index 5"):
        torch.sparse_coo_tensor([[5]], [1.0], (2,))
    assert not torch.sparse.check_sparse_tensor_invariants.is_enabled()
    with pytest.raises(RuntimeError, match="sorted and distinct"):
        torch.sparse_csr_tensor([0, 2, 3], [1, 0, 1], [1.0, 2.0, 3.0], (2, 2), check_invariants=True)


# -- arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arithmetic(layout: torch.layout) -> None:
    a, b = matrix(seed=1), matrix(seed=2)
    x, y = a.to_sparse(layout=layout), b.to_sparse(layout=layout)
    same(x + y, a + b)
    same(x - y, a - b)
    same(x * y, a * b)
    same(x * 2, a * 2)
    same(2 * x, a * 2)
    same(x / 4, a / 4)
    same(-x, -a)
    same(x**2, a**2)
    same(torch.add(x, y, alpha=3), a + 3 * b)
    same(x * b, a * b)
    same(b * x, a * b)
    assert torch.equal(b + x, a + b)
    assert torch.equal(b - x, b - a)
    with pytest.raises(RuntimeError, match="Use add\\(dense, sparse\\)"):
        x + b
    with pytest.raises(RuntimeError, match="same size"):
        x + y.t()


def test_functions_that_keep_zero() -> None:
    x = uncoalesced()
    for name in ("abs", "sqrt", "sin", "tanh", "log1p", "expm1", "relu", "sign", "square", "neg"):
        result = getattr(torch, name)(x).to_dense()
        assert torch.equal(result.nan_to_num(), getattr(torch, name)(x.to_dense()).nan_to_num()), name
    with pytest.raises(NotImplementedError, match="exp.*to_dense"):
        x.exp()


def test_in_place() -> None:
    x = matrix().to_sparse()
    dense = x.to_dense()
    x.mul_(2).add_(x.clone())
    same(x, dense * 4)
    target = torch.ones(5, 7, dtype=torch.float64)
    target.add_(x, alpha=0.5)
    assert torch.equal(target, 1 + dense * 2)
    x.zero_()
    assert x._nnz() == 0
    leaf = matrix().to_sparse().requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.mul_(2)


# -- products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_products(layout: torch.layout) -> None:
    a, b = matrix(5, 7), matrix(7, 4, seed=3)
    x, y = a.to_sparse(layout=layout), b.to_sparse(layout=layout)
    for product in (x @ b, torch.mm(x, b), torch.matmul(x, b), torch.sparse.mm(x, b), a @ y):
        assert product.layout == torch.strided
        torch.testing.assert_close(product, a @ b)
    both = x @ y
    assert both.layout != torch.strided
    torch.testing.assert_close(both.to_dense(), a @ b)
    torch.testing.assert_close(x @ b[:, 0], a @ b[:, 0])
    torch.testing.assert_close(torch.mv(x, b[:, 0]), a @ b[:, 0])
    torch.testing.assert_close(torch.sparse.addmm(torch.ones(5, 4, dtype=a.dtype), x, b, beta=2, alpha=3), 2 + 3 * (a @ b))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        x @ a
    with pytest.raises(RuntimeError, match="same dtype"):
        x @ b.float()


def test_batches() -> None:
    a, b = torch.stack([matrix(seed=1), matrix(seed=2)]), torch.stack([matrix(7, 3, 3), matrix(7, 3, 4)])
    torch.testing.assert_close(torch.bmm(a.to_sparse(), b), a @ b)


def test_matrices_are_transposed_and_conjugated() -> None:
    dense = torch.zeros(2, 3, 4)
    dense[0, 1, 2], dense[1, 2, 0] = 1.0, 2.0
    same(dense.to_sparse().mT, dense.mT)
    same(dense.to_sparse().adjoint(), dense.mT)
    same(dense.to_sparse().T, dense.permute(2, 1, 0))
    values = torch.tensor([[0, 1 + 2j], [3j, 0], [0, -1]])
    same(values.to_sparse().H, values.H)
    same(values.to_sparse_csr().mH, values.mH)
    with pytest.raises(RuntimeError, match="3 dimensions"):
        dense.to_sparse().H  # noqa: B018
    with pytest.raises(RuntimeError, match="1 dimensions"):
        dense[0, 0].to_sparse().mT  # noqa: B018


def test_parts_are_there_before_equal_positions_are_added_up() -> None:
    made = uncoalesced()
    assert torch.equal(made._values(), torch.tensor([3.0, 4.0, 5.0, -1.0]))
    assert torch.equal(made._indices(), torch.tensor([[1, 0, 1, 1], [2, 0, 2, 0]]))


def test_a_function_of_the_users_goes_backward_with_sparse_tensors() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, by, dense):
            ctx.by = by
            return by @ dense

        @staticmethod
        def backward(ctx, grad):
            return None, ctx.by.mT @ grad

    by, dense = matrix(), torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    Product.apply(by.to_sparse(), dense).sum().backward()
    assert torch.allclose(dense.grad, by.t() @ torch.ones(5, 2, dtype=torch.float64))


def test_products_at_given_positions() -> None:
    where, a, b = matrix(4, 6).to_sparse_csr(), matrix(4, 3, 1), matrix(3, 6, 2)
    result = torch.sparse.sampled_addmm(where, a, b, beta=0.5, alpha=2.0)
    torch.testing.assert_close(result.to_dense(), (0.5 * where.to_dense() + 2 * (a @ b)) * (where.to_dense() != 0))


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin"])
def test_reduced_products(reduce: str) -> None:
    a, b = matrix(4, 6), matrix(6, 3, 1)
    result = torch.sparse.mm(a.to_sparse_csr(), b, reduce)
    terms = np.where((a != 0).numpy()[:, :, None], a.numpy()[:, :, None] * b.numpy()[None], np.nan)
    function = {"sum": np.nansum, "mean": np.nanmean, "amax": np.nanmax, "amin": np.nanmin}[reduce]
    np.testing.assert_allclose(result.numpy(), function(terms, axis=1), rtol=1e-12)


# -- choices and reductions ------------------------------------------------------------------------------------------


def test_choices() -> None:
    a = matrix()
    x = a.to_sparse()
    same(x[1], a[1])
    same(x[1:4], a[1:4])
    same(x[:, 2:5], a[:, 2:5])
    same(x[torch.tensor([3, 3, 0])], a[[3, 3, 0]])
    same(x.index_select(1, torch.tensor([6, 0, 6])), a[:, [6, 0, 6]])
    same(x.unsqueeze(1), a.unsqueeze(1))
    same(torch.cat([x, x], 1), torch.cat([a, a], 1))
    same(torch.stack([x, 2 * x]), torch.stack([a, 2 * a]))
    same(x.unsqueeze(0).permute(2, 0, 1), a.unsqueeze(0).permute(2, 0, 1))
    assert x[1][2].item() == a[1, 2].item()
    with pytest.raises(IndexError):
        x[5]


def test_reductions() -> None:
    a = matrix()
    x = a.to_sparse()
    torch.testing.assert_close(torch.sparse.sum(x), a.sum())
    torch.testing.assert_close(torch.sparse.sum(x, 0).to_dense(), a.sum(0))
    torch.testing.assert_close(x.sum(1, keepdim=True).to_dense(), a.sum(1, keepdim=True))
    torch.testing.assert_close(x.norm(), a.norm())
    filled = torch.where(a == 0, -torch.inf, a)
    for dim in (0, 1):
        expected = torch.softmax(filled, dim).nan_to_num()
        torch.testing.assert_close(torch.sparse.softmax(x, dim).to_dense(), expected)
        logarithms = torch.sparse.log_softmax(x, dim)
        torch.testing.assert_close(logarithms.values(), torch.log_softmax(filled, dim)[tuple(x.indices())])


def test_diagonals() -> None:
    made = torch.sparse.spdiags(torch.arange(9.0).reshape(3, 3), torch.tensor([0, -1, 2]), (3, 3))
    assert made.to_dense().tolist() == [[0.0, 0.0, 8.0], [3.0, 1.0, 0.0], [0.0, 4.0, 2.0]]


# -- gradients -------------------------------------------------------------------------------------------------------


def test_a_sparse_leaf_has_a_sparse_gradient() -> None:
    x = matrix().to_sparse().requires_grad_()
    b = matrix(7, 3, 1).requires_grad_()
    torch.sparse.mm(x, b).pow(2).sum().backward()
    dense = x.detach().to_dense().requires_grad_()
    other = b.detach().requires_grad_()
    (dense @ other).pow(2).sum().backward()
    assert x.is_leaf
    assert x.grad.layout == torch.sparse_coo
    torch.testing.assert_close(x.grad.to_dense(), dense.grad * (dense != 0))
    torch.testing.assert_close(b.grad, other.grad)
    (again,) = torch.autograd.grad(torch.sparse.mm(x, b).pow(2).sum(), x)
    assert torch.equal(again.to_dense(), x.grad.to_dense())


def test_gradients_reach_the_values_and_the_dense_tensor() -> None:
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    made = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], values, (2, 3))
    assert made.requires_grad
    assert not made.is_leaf
    (made.to_dense() * torch.arange(6.0).reshape(2, 3)).sum().backward()
    assert values.grad.tolist() == [2.0, 3.0, 5.0]
    dense = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    (dense.to_sparse() * 3).to_dense().sum().backward()
    assert dense.grad.tolist() == [[3.0, 0.0], [0.0, 3.0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_passes_from_a_sparse_result(layout: torch.layout) -> None:
    x = matrix().to_sparse(layout=layout).requires_grad_()
    ahead = matrix(seed=4)
    for given in (ahead, ahead.to_sparse(layout=layout), (ahead * 1).to_sparse()):
        x.grad = None
        (x * 3).backward(given)
        torch.testing.assert_close(x.grad.to_dense(), 3 * ahead * (x.detach().to_dense() != 0))
        (again,) = torch.autograd.grad(x * 3, x, given)
        assert torch.equal(again.to_dense(), x.grad.to_dense())
    dense = matrix().requires_grad_()
    (dense * 3).backward(gradient=ahead.to_sparse(layout=layout))
    assert torch.equal(dense.grad, 3 * ahead)


def test_gradcheck() -> None:
    x, y, b = (matrix(3, 4, seed).to_sparse().requires_grad_() for seed in (1, 2, 3))
    dense = matrix(4, 2, 5).requires_grad_()
    check, check_twice = torch.sparse.as_sparse_gradcheck(gradcheck), torch.sparse.as_sparse_gradcheck(gradgradcheck)
    for function, inputs in (
        (torch.sparse.mm, (x, dense)),
        (lambda p, q: p @ q.t(), (x, y)),
        (lambda p, q: p + 2 * q, (x, y)),
        (lambda p, q: p * q, (x, y)),
        (lambda p: torch.sparse.softmax(p, 1), (b,)),
        (lambda p: torch.sparse.sum(p, 0), (b,)),
        (lambda p, d: torch.bmm(p.unsqueeze(0), d.unsqueeze(0)), (x, dense)),
    ):
        assert check(function, inputs)
        assert check_twice(function, inputs)


# -- files and copies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_and_copies(layout: torch.layout) -> None:
    x = matrix().to_sparse(layout=layout)
    stream = io.BytesIO()
    torch.save({"x": x}, stream)
    stream.seek(0)
    loaded = torch.load(stream)["x"]
    for each in (loaded, pickle.loads(pickle.dumps(x)), copy.deepcopy(x), x.clone()):
        assert each.layout == layout
        assert torch.equal(each.to_dense(), x.to_dense())
    if layout == torch.sparse_coo:
        assert loaded.is_coalesced()


def test_a_file_with_indices_out_of_range_is_refused() -> None:
    stream = io.BytesIO()
    torch.save(torch.sparse_coo_tensor([[5]], [1.0], (2,)), stream)
    stream.seek(0)
    with pytest.raises(RuntimeError, match="found index 5"):
        torch.load(stream)


def test_what_needs_dense_tensors_says_so() -> None:
    x = matrix().to_sparse()
    with pytest.raises(TypeError, match="to_dense"):
        x.numpy()
    with pytest.raises(TypeError, match="to_dense"):
        np.asarray(x)
    with pytest.raises(NotImplementedError, match="cumsum"):
        x.cumsum(0)
    with pytest.raises(RuntimeError, match="got Strided"):
        torch.ones(2).coalesce()
    with pytest.raises(RuntimeError, match="got Sparse"):
        x.crow_indices()
    assert torch.ones(2, 3).sparse_dim() == 0


def test_products_that_stay_sparse() -> None:
    a, b = torch.tensor([[0.0, 2.0], [3.0, 0.0]]), torch.tensor([[1.0, 4.0], [0.5, 2.0]])
    product = torch.smm(a.to_sparse(), b)
    assert product.is_sparse and torch.equal(product.to_dense(), a @ b)
    total = torch.sspaddmm(a.to_sparse(), a.to_sparse(), b, beta=2, alpha=0.5)
    assert total.is_sparse and torch.equal(total.to_dense(), 2 * a + 0.5 * (a @ b))


def test_joining_along_a_dense_dimension() -> None:
    x = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    for dim in (1, -1):
        joined = torch.cat((x, x * 2), dim)
        assert joined.is_sparse and joined.to_dense().tolist() == [[1, 2, 2, 4], [0, 0, 0, 0], [3, 4, 6, 8]]


def test_products_as_methods() -> None:
    a, b = torch.tensor([[0.0, 2.0], [3.0, 0.0]]), torch.tensor([[1.0, 4.0], [0.5, 2.0]])
    assert torch.equal(a.to_sparse().smm(b).to_dense(), a @ b)
    assert torch.equal(a.to_sparse().sspaddmm(a.to_sparse(), b, beta=2).to_dense(), 2 * a + a @ b)
    for call in (lambda: a.smm(b), lambda: torch.smm(a, b), lambda: a.sspaddmm(a.to_sparse(), b)):
        with pytest.raises(RuntimeError, match="can only be called on sparse tensors|got Strided"):
            call()


def test_resizing() -> None:
    x = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2)).coalesce()
    assert x.sparse_resize_((4, 3), 1, 1) is x
    assert x.shape == (4, 3) and x.is_coalesced() and x.to_dense().tolist() == [[1, 2, 0], [0, 0, 0], [3, 4, 0], [0, 0, 0]]
    for size, dims, message in (
        ((4, 2), (1, 1), "cannot shrink"),
        ((4, 3), (2, 0), "keeps its 1 sparse and 1 dense"),
        ((4,), (1, 1), "len.size. = 1"),
    ):
        with pytest.raises(RuntimeError, match=message):
            x.sparse_resize_(size, *dims)
    assert x.sparse_resize_and_clear_((2, 5), 2, 0).to_dense().tolist() == [[0] * 5] * 2 and x._nnz() == 0 and x.sparse_dim() == 2
    assert x.sparse_resize_((7, 2, 3), 1, 2).shape == (7, 2, 3) and x.dense_dim() == 2
    with pytest.raises(RuntimeError, match="got Strided"):
        torch.ones(2).sparse_resize_((2,), 1, 0)
