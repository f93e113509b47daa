"""Nested tensors: making them, what they say of themselves, indexing, copies, files, and what they refuse."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from typing import Any

import pytest

import flambeau as torch
from flambeau.nested import strided

LAYOUTS = (torch.jagged, torch.strided)


def pieces() -> list[torch.Tensor]:
    return [torch.arange(6.0).reshape(2, 3), torch.arange(9.0).reshape(3, 3) + 10]


def nested(layout: torch.layout = torch.jagged, **options: Any) -> Any:
    return torch.nested.nested_tensor(pieces(), layout=layout, **options)


def same(tensor: Any, expected: list[torch.Tensor]) -> None:
    found = tensor.unbind()
    assert len(found) == len(expected)
    for piece, wanted in zip(found, expected):
        assert torch.equal(piece, wanted), f"{piece} is not {wanted}"


# -- making ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_holds_copies_of_a_list(layout: torch.layout) -> None:
    first = torch.ones(2, 3)
    made = torch.nested.nested_tensor([first, torch.zeros(1, 3)], layout=layout)
    first.mul_(5)
    same(made, [torch.ones(2, 3), torch.zeros(1, 3)])
    assert made.is_nested
    assert made.layout == layout
    assert made.is_leaf
    assert not made.requires_grad
    assert (made.dim(), made.size(0), len(made), made.numel()) == (3, 2, 2, 9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dtype_and_gradient_can_be_asked_for(layout: torch.layout) -> None:
    made = torch.nested.nested_tensor([torch.arange(2), torch.arange(3)], dtype=torch.float64, layout=layout, requires_grad=True)
    assert made.dtype is torch.float64
    assert made.requires_grad
    (made * made).values().sum().backward()
    same(made.grad, [2 * torch.arange(2.0, dtype=torch.float64), 2 * torch.arange(3.0, dtype=torch.float64)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_go_back_to_the_pieces(layout: torch.layout) -> None:
    first, second = (piece.requires_grad_() for piece in pieces())
    made = torch.nested.as_nested_tensor([first, second], layout=layout)
    assert not made.is_leaf
    made.pow(2).values().sum().backward()
    assert torch.equal(first.grad, 2 * first.detach())
    assert torch.equal(second.grad, 2 * second.detach())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dense_tensor_is_a_batch_of_equal_pieces(layout: torch.layout) -> None:
    dense = torch.arange(12.0).reshape(2, 3, 2).requires_grad_()
    made = torch.nested.as_nested_tensor(dense, layout=layout)
    same(made.detach(), list(dense.detach()))
    (made.values() ** 2).sum().backward()
    assert torch.equal(dense.grad, 2 * dense.detach())


def test_a_jagged_tensor_is_ragged_where_pieces_differ() -> None:
    made = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(2, 4)], layout=torch.jagged)
    assert repr(made.shape[2]).startswith("j")
    assert made.shape[:2] == (2, 2)
    assert made.values().shape == (2, 7)
    same(made, [torch.ones(2, 3), torch.ones(2, 4)])


def test_lists_of_numbers() -> None:
    made = torch.nested.nested_tensor([[1.0, 2.0], [3.0]])
    same(made, [torch.tensor([1.0, 2.0]), torch.tensor([3.0])])
    assert list(torch.nested.nested_tensor([])) == []


def test_from_jagged_shares_memory_and_history() -> None:
    values = torch.arange(10.0).reshape(5, 2)
    made = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 2, 5]))
    values[0] = -1
    assert made[0].tolist() == [[-1, -1], [2, 3]]
    made.requires_grad_()
    assert not values.requires_grad
    values.requires_grad_()
    torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 2, 5])).sum(1)[1].sum().backward()
    assert values.grad.tolist() == [[0, 0]] * 2 + [[1, 1]] * 3


def test_from_jagged_with_lengths() -> None:
    values = torch.arange(6)
    same(torch.nested.nested_tensor_from_jagged(values, lengths=torch.tensor([2, 4])), [values[:2], values[2:]])
    holes = torch.nested.nested_tensor_from_jagged(values, torch.tensor([0, 3, 6]), torch.tensor([2, 0]))
    same(holes, [values[:2], values[:0]])
    assert holes.numel() == 2
    assert not holes.is_contiguous()
    packed = holes.contiguous()
    assert packed.is_contiguous()
    assert packed.lengths() is None
    assert packed.values().tolist() == [0, 1]
    across = torch.nested.nested_tensor_from_jagged(torch.ones(3, 6), torch.tensor([0, 2, 6], dtype=torch.int32), jagged_dim=2)
    same(across, [torch.ones(3, 2), torch.ones(3, 4)])


def test_narrow_takes_a_range_of_each_row() -> None:
    dense = torch.arange(30.0).reshape(2, 5, 3).requires_grad_()
    made = torch.nested.narrow(dense, 1, torch.tensor([0, 1]), torch.tensor([2, 3]), layout=torch.jagged)
    same(made.detach(), [dense.detach()[0, 0:2], dense.detach()[1, 1:4]])
    assert made.offsets().tolist() == [0, 6, 9]
    assert made.lengths().tolist() == [2, 3]
    made.sum().backward()
    assert dense.grad.sum() == 15
    same(torch.nested.narrow(dense.detach(), 1, 1, 2), list(dense.detach()[:, 1:3]))


def test_masked_select_keeps_rows_apart() -> None:
    dense = torch.arange(10.0).reshape(2, 5).requires_grad_()
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]]).bool()
    made = torch.nested.masked_select(dense, mask)
    same(made.detach(), [torch.tensor([0.0, 2.0, 3.0]), torch.tensor([7.0])])
    made.values().sum().backward()
    assert torch.equal(dense.grad, mask.float())
    assert torch.nested.masked_select(torch.ones(2, 2, 2), torch.tensor([True, False])).shape[0] == 4


# -- what they say of themselves -------------------------------------------------------------------------------------


def test_sizes_of_a_jagged_tensor() -> None:
    made = nested()
    size = made.size(1)
    assert made.shape == (2, size, 3)
    assert made.size() == made.shape
    assert made.size(-1) == 3
    assert made.stride() == (size * 3, 3, 1)
    assert made.shape != nested().shape
    assert made.is_same_size(made * 2)
    assert not made.is_same_size(nested())
    with pytest.raises(IndexError, match="Dimension out of range"):
        made.size(3)


def test_sizes_of_a_strided_nested_tensor() -> None:
    made = nested(torch.strided)
    assert (made.size(0), made.size(2), made.size(-1)) == (2, 3, 3)
    with pytest.raises(RuntimeError, match="dimension 1 is irregular"):
        made.size(1)
    with pytest.raises(RuntimeError, match="has no shape"):
        made.shape  # noqa: B018
    with pytest.raises(IndexError, match="Dimension out of range"):
        made.size(5)


def test_names_of_pytorchs_that_people_use() -> None:
    jagged, other = nested(), nested(torch.strided)
    assert jagged._offsets is jagged.offsets()
    assert jagged._lengths is None
    assert (jagged._max_seqlen, jagged._min_seqlen, jagged._ragged_idx) == (3, 2, 1)
    assert other._nested_tensor_size().tolist() == [[2, 3], [3, 3]]
    assert other._nested_tensor_storage_offsets().tolist() == [0, 6]


def test_positions_in_large_padded_batches_are_not_kept_for_long() -> None:
    before = strided._kept_places.cache_info().currsize
    for columns in (299, 298, 297):
        made = torch.nested.nested_tensor([torch.ones(600, 300), torch.ones(1, columns)])
        assert made.to_padded_tensor(0).sum() == 600 * 300 + columns
    assert strided._kept_places.cache_info().currsize == before
    assert strided._kept_large_places.cache_info().currsize == 2


def test_prints_as_pytorch_does() -> None:
    made = nested()
    number = repr(made.shape[1])
    assert repr(made) == f"NestedTensor(size=(2, {number}, 3), offsets=tensor([0, 2, 5]), contiguous=True)"
    assert "requires_grad=True, contiguous=True" in repr(made.requires_grad_())
    assert "grad_fn=<MulBackward0>" in repr(made * 2)
    assert repr(nested(torch.strided)) == (
        "nested_tensor([\n  tensor([[0., 1., 2.],\n          [3., 4., 5.]]),\n"
        "  tensor([[10., 11., 12.],\n          [13., 14., 15.],\n          [16., 17., 18.]])\n])"
    )
    assert repr(nested(torch.strided, requires_grad=True)).endswith("requires_grad=True)\n], requires_grad=True)")


def test_offsets_that_have_changed_are_another_structure() -> None:
    offsets, values = torch.tensor([0, 2, 5]), torch.arange(5.0)
    before = torch.nested.nested_tensor_from_jagged(values, offsets)
    assert before.sum(1).tolist() == [1, 9]
    offsets.copy_(torch.tensor([0, 1, 5]))
    after = torch.nested.nested_tensor_from_jagged(values, offsets)
    assert after.shape != before.shape
    assert after.sum(1).tolist() == [0, 10]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_is_returned_at_once(layout: torch.layout) -> None:
    gc.collect()
    gc.disable()
    try:
        made = nested(layout, requires_grad=True)
        result = (made * 2).softmax(1).sum(-1)
        assert result.values().isfinite().all()
        left = [weakref.ref(made), weakref.ref(made.values()), weakref.ref(result)]
        if layout == torch.jagged:
            left.append(weakref.ref(made._ragged))
        del made, result
        assert [each() for each in left] == [None] * len(left)
    finally:
        gc.enable()


def test_structures_are_told_apart() -> None:
    first, second = nested(), nested()
    with pytest.raises(RuntimeError, match="pieces are the same where offsets"):
        first + second
    again = torch.nested.nested_tensor_from_jagged(second.values(), first.offsets())
    same(first + again, [2 * piece for piece in pieces()])
    for other in (first * 2, first.detach(), first.double(), first.clone(), first.transpose(1, 2).transpose(1, 2)):
        assert other.shape == first.shape
        assert other.offsets() is first.offsets()
    with pytest.raises(RuntimeError, match="does not go with"):
        first + nested(torch.strided)


# -- indices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pieces_share_memory(layout: torch.layout) -> None:
    made = nested(layout)
    made[0].mul_(10)
    list(made)[1].zero_()
    same(made, [10 * pieces()[0], torch.zeros(3, 3)])
    assert torch.equal(made[-1], torch.zeros(3, 3))
    made[1] = torch.ones(3)
    made[-1, 0] = 5
    assert made[1].tolist() == [[5, 5, 5], [1, 1, 1], [1, 1, 1]]
    with pytest.raises(NotImplementedError, match="piece by piece"):
        made[:, 0] = 1
    with pytest.raises(IndexError, match="2 pieces|out of bounds"):
        made[2]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "index",
    [
        (Ellipsis, 0), (Ellipsis, slice(0, 2)), (slice(None), slice(None), 1), (slice(None), slice(None), slice(1, None)), (Ellipsis, -1),
        (slice(None), None), (slice(None), slice(None), None, 2), (slice(1, 2),),
    ],
)  # fmt: skip
def test_indices_of_each_piece(layout: torch.layout, index: tuple) -> None:
    chosen = pieces()[index[0]] if isinstance(index[0], slice) else pieces()
    rest = index if index[0] is Ellipsis else index[1:]
    same(nested(layout)[index], [piece[rest] for piece in chosen])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_index_of_one_piece(layout: torch.layout) -> None:
    assert nested(layout)[1, :, -1].tolist() == [12, 15, 18]
    assert nested(layout)[1, 2, 0].item() == 16


@pytest.mark.parametrize("index", [(slice(None), 0), (slice(None), slice(0, 1)), (None,)])
def test_ragged_dimensions_are_not_indexed(index: tuple) -> None:
    with pytest.raises(RuntimeError, match="not supported for NestedTensor"):
        nested()[index]


def test_lists_of_pieces_are_refused() -> None:
    for layout in LAYOUTS:
        with pytest.raises(NotImplementedError, match="cannot be indexed"):
            nested(layout)[torch.tensor([0, 1])]


# -- copies and files ------------------------------------------------------------------------------------------------


def every_kind() -> list[Any]:
    holes = torch.nested.narrow(torch.arange(30.0).reshape(2, 5, 3), 1, torch.tensor([0, 1]), torch.tensor([2, 3]), layout=torch.jagged)
    return [
        nested(), nested(requires_grad=True), nested().transpose(1, 2), holes, nested(torch.strided), nested(torch.strided).transpose(1, 2),
        torch.nested.nested_tensor([torch.ones(2, 0), torch.ones(3, 4)]),
    ]  # fmt: skip


def through_a_file(tensor: Any) -> Any:
    file = io.BytesIO()
    torch.save({"x": tensor}, file)
    file.seek(0)
    return torch.load(file)["x"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_a_file, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("number", range(7))
def test_copies_and_files(copied: Any, number: int) -> None:
    tensor = every_kind()[number]
    again = copied(tensor)
    same(again.detach(), list(tensor.detach().unbind()))
    assert again.layout == tensor.layout
    assert again.requires_grad == tensor.requires_grad
    assert again.dtype is tensor.dtype


def test_a_deep_copy_has_a_structure_of_its_own() -> None:
    first = nested()
    one, two = copy.deepcopy([first, first * 2])
    assert one.shape == two.shape != first.shape
    one.values().zero_()
    same(first, pieces())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_conversions(layout: torch.layout) -> None:
    made = nested(layout)
    assert made.to(torch.int64).dtype is torch.int64
    assert made.double().dtype is torch.float64
    assert made.to("cpu") is made
    assert made.cpu() is made
    assert made.type_as(torch.ones(1, dtype=torch.float16)).dtype is torch.float16
    assert made.contiguous() is made
    assert made.tolist() == [piece.tolist() for piece in pieces()]
    with pytest.raises(RuntimeError, match="no NumPy array"):
        made.numpy()
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"):
        made.item()
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(made)


# -- padded batches --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padded(layout: torch.layout) -> None:
    padded = torch.nested.to_padded_tensor(nested(layout), -1.0)
    assert padded.shape == (2, 3, 3)
    assert torch.equal(padded[0, :2], pieces()[0])
    assert torch.equal(padded[0, 2], torch.full((3,), -1.0))
    assert torch.equal(padded[1], pieces()[1])
    assert nested(layout).to_padded_tensor(0, (2, 5, 3)).shape == (2, 5, 3)
    assert torch.nested.nested_tensor([torch.tensor([True]), torch.tensor([True, True])], layout=layout).to_padded_tensor(False).tolist() == [
        [True, False], [True, True]
    ]  # fmt: skip


def test_padding_cuts_jagged_tensors_only() -> None:
    assert torch.nested.to_padded_tensor(nested(), 0, (2, 2, 3)).tolist() == [piece[:2].tolist() for piece in pieces()]
    assert torch.nested.to_padded_tensor(nested(torch.strided), 0, (3, 3, 4)).shape == (3, 3, 4)
    with pytest.raises(RuntimeError, match="Truncation is not supported"):
        torch.nested.to_padded_tensor(nested(torch.strided), 0, (2, 2, 3))
    with pytest.raises(RuntimeError, match="must have 3 sizes"):
        torch.nested.to_padded_tensor(nested(), 0, (2, 2))
    with pytest.raises(NotImplementedError, match="this one is dense"):
        torch.nested.to_padded_tensor(torch.ones(2, 3), 0)


def test_empty_pieces() -> None:
    made = torch.nested.nested_tensor([torch.ones(0, 2), torch.ones(3, 2), torch.ones(0, 2)], layout=torch.jagged)
    assert made.sum(1).tolist() == [[0, 0], [3, 3], [0, 0]]
    assert made.softmax(1).values().shape == (3, 2)
    nothing = torch.nested.nested_tensor([torch.ones(0, 2)], layout=torch.jagged, requires_grad=True)
    assert nothing.to_padded_tensor(0).shape == (1, 0, 2)
    (nothing * 2).sum(1).sum().backward()
    assert nothing.grad.values().shape == (0, 2)


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: torch.nested.nested_tensor(torch.ones(2)), TypeError, "expected a list"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(2, 2)]), RuntimeError, "dimension 2 for Tensor at index 1"),
        (lambda: torch.nested.nested_tensor([torch.ones(2)], layout=torch.sparse_coo), RuntimeError, "unsupported for nested tensors"),
        (lambda: torch.nested.nested_tensor([], layout=torch.jagged), RuntimeError, "empty tensor list"),
        (lambda: torch.nested.nested_tensor([torch.tensor(1)], layout=torch.jagged), RuntimeError, "zero-dim"),
        (lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(1).int()], layout=torch.jagged), RuntimeError, "same dtype"),
        (lambda: torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 4)], layout=torch.jagged), RuntimeError, r"differ in \[0, 1\]"),
        (lambda: torch.nested.as_nested_tensor([1, 2]), TypeError, "list / tuple of tensors"),
        (lambda: torch.nested.as_nested_tensor(torch.ones(3)), RuntimeError, r"dim\(\) > 1"),
        (lambda: torch.nested.as_nested_tensor(nested()), RuntimeError, "Converting between nested tensor layouts"),
        (lambda: torch.nested.nested_tensor_from_jagged(torch.ones(3)), RuntimeError, "At least one"),
        (lambda: torch.nested.nested_tensor_from_jagged(torch.ones(3), [0, 3]), TypeError, "offsets must be a Tensor"),
        (lambda: torch.nested.nested_tensor_from_jagged(torch.ones(3), torch.tensor([[0, 3]])), AssertionError, "must be 1D"),
        (lambda: torch.nested.nested_tensor_from_jagged(torch.ones(3), torch.tensor([0.0, 3.0])), RuntimeError, "int64 or int32"),
        (lambda: torch.nested.nested_tensor_from_jagged(torch.ones(3), torch.tensor([0, 3]), jagged_dim=2), IndexError, "jagged_dim"),
        (lambda: torch.nested.nested_tensor_from_jagged(torch.ones(3), torch.tensor([0, 3]), jagged_dim=0), ValueError, "jagged_dim >=1"),
        (lambda: torch.nested.narrow(torch.ones(2, 3), 1, 0, torch.tensor([1, 2])), RuntimeError, "must be integers"),
        (lambda: torch.nested.narrow(torch.ones(2, 3), 0, 0, 1, layout=torch.jagged), RuntimeError, "only supports dim=1"),
        (lambda: torch.nested.narrow(torch.ones(2, 3), 1, 0, torch.tensor([1, 2, 3]), layout=torch.jagged), RuntimeError, "broadcast"),
        (lambda: torch.nested.masked_select(torch.ones(2), torch.ones(2)), RuntimeError, "mask of booleans"),
        (lambda: nested().backward(), RuntimeError, "only for scalar outputs"),
        (lambda: nested().cholesky(), NotImplementedError, "'cholesky' is not implemented for nested tensors"),
        (lambda: torch.ones(2, 3, 3).add_(nested()), RuntimeError, "cannot be written into a dense one"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("offsets", "lengths", "message"),
    [
        ([0, 2, 9], None, "values has 5 rows"), ([0, 4, 3], None, "must not fall"), ([0, 2, 5], [3, 1], "piece 1 begins at 2"),
        ([0, 2, 5], [1, -1], "negative"), ([-1, 2, 5], None, "piece 0 has the rows -1"),
    ],
)  # fmt: skip
def test_offsets_that_make_no_sense_are_found_before_memory_is_read(offsets: list, lengths: list | None, message: str) -> None:
    given = None if lengths is None else torch.tensor(lengths)
    for use in (
        lambda x: x.unbind(),
        lambda x: x.to_padded_tensor(0),
        lambda x: x[0],
        lambda x: x.sum(1),
        lambda x: x + torch.ones(2, 1, 2),
    ):
        with pytest.raises(RuntimeError, match=message):
            use(torch.nested.nested_tensor_from_jagged(torch.ones(5, 2), torch.tensor(offsets), given))


def test_a_file_that_describes_no_tensor_is_refused() -> None:
    bad = torch.nested.nested_tensor_from_jagged(torch.ones(5), torch.tensor([0, 2, 9]))
    with pytest.raises(RuntimeError, match="values has 5 rows"):
        through_a_file(bad)


# -- autograd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hooks_and_gradients_are_nested(layout: torch.layout) -> None:
    leaf = nested(layout, requires_grad=True)
    seen: list[Any] = []
    result = leaf * 3
    result.retain_grad()
    result.register_hook(lambda grad: seen.append(grad.is_nested))
    result.register_hook(lambda grad: grad * 2)
    result.backward(torch.ones_like(result))
    same(leaf.grad, [torch.full_like(piece, 6) for piece in pieces()])
    same(result.grad, [torch.full_like(piece, 2) for piece in pieces()])
    assert seen == [True]
    assert result.grad_fn.name() == "MulBackward0"
    found = torch.autograd.grad((leaf * leaf).values().sum(), leaf)[0]
    same(found, [2 * piece for piece in pieces()])
    leaf.grad = None
    assert leaf.grad is None
    with pytest.raises(RuntimeError, match="same pieces|same sizes"):
        leaf.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf.mul_(2)
    with torch.no_grad():
        same(leaf.mul_(2).detach(), [2 * piece for piece in pieces()])
    assert not leaf.detach().requires_grad


@pytest.mark.parametrize("layout", LAYOUTS)
def test_checkpoints(layout: torch.layout) -> None:
    first, second = nested(layout, requires_grad=True), nested(layout, requires_grad=True)
    layer = torch.nn.Linear(3, 3)
    (layer(first).sigmoid() * first).values().sum().backward()
    expected = layer.weight.grad
    layer.zero_grad()
    result = torch.utils.checkpoint.checkpoint(lambda x: layer(x).sigmoid() * x, second, use_reentrant=False)
    assert result.is_nested
    result.values().sum().backward()
    same(second.grad, list(first.grad.unbind()))
    assert torch.equal(layer.weight.grad, expected)


def test_what_needs_memory_of_its_own_says_so() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    for call in (lambda: Double.apply(nested(requires_grad=True)), lambda: torch.nn.Parameter(nested())):
        with pytest.raises(NotImplementedError, match="not implemented for nested tensors"):
            call()
