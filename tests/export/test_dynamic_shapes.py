"""Free sizes: what they are called, what they may be, and what may not depend on them."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._dynamo.exc import UserError
from flambeau.export import AdditionalInputs, Dim, ShapesCollection, dims, export
from flambeau.fx.experimental.symbolic_shapes import ConstraintViolationError


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, y=None):
        return self.function(x) if y is None else self.function(x, y)


X = torch.arange(12.0).reshape(3, 4)
ROWS = Dim("rows")


def test_dims():
    a, b = dims("a", "b", min=2, max=8)
    assert (a.__name__, a.min, b.max) == ("a", 2, 8) and repr(2 * a + 1) == "2*a + 1" and repr(b - 1) == "b - 1"
    assert (2 * a + 1).min == 5 and repr(Dim.AUTO) == "DimHint(AUTO)" and repr(a) == "Dim('a', min=2, max=8)"
    for make in (lambda: Dim("1d"), lambda: Dim("d", min=5, max=3), lambda: Dim.STATIC(min=2)):
        with pytest.raises(AssertionError):
            make()
    with pytest.raises(NotImplementedError, match="positive"):
        a * -1


@pytest.mark.parametrize(
    "shapes",
    [{"x": {0: ROWS}}, ({0: ROWS},), [(ROWS, None)], ((ROWS, 4),), {"x": [ROWS, Dim.STATIC]}, ({-2: ROWS},)],
)  # fmt: skip
def test_ways_to_say_it(shapes):
    program = export(Apply(lambda x: x * 2), (X,), dynamic_shapes=shapes)
    assert list(program.range_constraints) == ["rows"] and program.module()(torch.ones(7, 4)).shape == (7, 4)
    with pytest.raises(AssertionError, match="== 4, not 5"):
        program.module()(torch.ones(7, 5))


@pytest.mark.parametrize(
    ("shapes", "error", "match"),
    [
        ({"y": {0: ROWS}}, UserError, r"\['y'\].*\['x'\]"),
        (({0: ROWS}, None), UserError, "2 arguments"),
        (({5: ROWS},), IndexError, "dimension 5"),
        (([ROWS],), UserError, "1 sizes"),
        (({0: "rows"},), UserError, "'rows'"),
        (({0: 5},), UserError, "said to be 5"),
        (({0: Dim("rows", min=5)},), ConstraintViolationError, "rows = 3"),
        (({0: Dim("rows", min=3, max=3)},), UserError, "STATIC"),
        (({0: 2 * Dim("half")},), UserError, "no half"),
        (({0: ROWS, 1: ROWS},), UserError, "rows = 4.*rows = 3"),
    ],
)
def test_what_does_not_fit(shapes, error, match):
    with pytest.raises(error, match=match):
        export(Apply(lambda x: x * 2), (X,), dynamic_shapes=shapes)


def test_one_is_special():
    with pytest.raises(UserError, match="2 or more"):
        export(Apply(lambda x: x * 2), (torch.ones(1, 4),), dynamic_shapes=({0: ROWS},))
    with pytest.raises(ValueError, match="2 or more"):
        export(Apply(lambda x: x * 2), (torch.ones(1, 4),), dynamic_shapes=({0: Dim.DYNAMIC},))
    assert not export(Apply(lambda x: x * 2), (torch.ones(1, 4),), dynamic_shapes=({0: Dim.AUTO},)).range_constraints


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: x + torch.ones(3, 4), "as a plain number"),
        (lambda x: x * len(x), "plain number"),
        (lambda x: sum(x[i] for i in range(x.shape[0])), "plain number"),
        (lambda x: x.view(12), "Constraints violated"),
        (lambda x: x * (x.shape[0] == 3), "another way"),
        (lambda x: x + 1 if x.shape[0] < 5 else x, "another way"),
        (lambda x: torch.stack(list(x)), "plain number|another number"),
        (lambda x: torch.tensor([x.shape[0]]) * x, "plain number"),
        (lambda x: x.reshape(x.shape[0] // 3, 3, 4), "Constraints violated"),
    ],
)
def test_programs_that_depend_on_the_size(function, match):
    for size in (ROWS, Dim.DYNAMIC):
        with pytest.raises(UserError, match=match):
            export(Apply(function), (X,), dynamic_shapes=({0: size},))
    fixed = export(Apply(function), (X,), dynamic_shapes=({0: Dim.AUTO},))
    assert not fixed.range_constraints and torch.equal(fixed.module()(X), function(X))


def test_arithmetic_with_sizes():
    def function(x):
        n, m = x.shape
        half = (n + 1) // 2
        return (
            x[:half] * n / x.numel() - 2 * half,
            torch.arange(n * 2 - 1),
            x.reshape(1, n * m),
            torch.full((n,), n % 2 + n**2),
            x.stride(),
        )

    exported = export(Apply(function), (X,), dynamic_shapes=({0: ROWS, 1: Dim("columns")},)).module()
    for shape in ((3, 4), (6, 4), (7, 8), (1, 4)):
        x = torch.arange(float(shape[0] * shape[1])).reshape(shape)
        for got, expected in zip(exported(x), function(x)):
            assert torch.equal(got, expected) if isinstance(got, torch.Tensor) else got == expected


def test_sizes_as_arguments():
    def function(x):
        rows, columns = x.size()
        wide = nn.functional.interpolate(x[None, None], size=(rows * 2, columns))[0, 0]
        return (
            wide,
            nn.functional.pad(x, (0, columns % 2)),
            x.expand(2, rows, columns),
            torch.zeros(rows, columns // 2),
            x[: rows - 1, columns - 2],
        )

    exported = export(Apply(function), (X,), dynamic_shapes=({0: ROWS, 1: Dim("columns")},)).module()
    for shape in ((3, 4), (5, 7), (8, 2)):
        x = torch.arange(float(shape[0] * shape[1])).reshape(shape)
        assert all(torch.equal(got, expected) for got, expected in zip(exported(x), function(x), strict=True))


def test_a_branch_holds_at_run_time():
    exported = export(Apply(lambda x: x + 1 if x.shape[0] > 2 else -x), (X,), dynamic_shapes=({0: ROWS},)).module()
    assert torch.equal(exported(torch.ones(5, 4)), torch.full((5, 4), 2.0))
    with pytest.raises(AssertionError, match="rows gt 2"):
        exported(torch.ones(2, 4))


def test_equal_and_related_sizes():
    both = export(Apply(lambda x, y: x + y), (X, X), dynamic_shapes=({0: ROWS}, {0: ROWS})).module()
    assert both(torch.ones(5, 4), torch.ones(5, 4)).shape == (5, 4)
    with pytest.raises(AssertionError, match="rows = 6, but another size gives 5"):
        both(torch.ones(5, 4), torch.ones(6, 4))
    with pytest.raises(UserError, match=r"rows.*other"):
        export(Apply(lambda x, y: x + y), (X, X), dynamic_shapes=({0: ROWS}, {0: Dim("other")}))
    half = Dim("half")
    related = export(
        Apply(lambda x, y: x[1:] + y), (torch.ones(5, 4), torch.ones(4, 4)), dynamic_shapes=({0: 2 * half + 1}, {0: 2 * half})
    ).module()
    assert related(torch.ones(7, 4), torch.ones(6, 4)).shape == (6, 4)
    for sizes in ((6, 6), (7, 4)):
        with pytest.raises(AssertionError, match="Guard failed"):
            related(torch.ones(sizes[0], 4), torch.ones(sizes[1], 4))


def test_shapes_by_tensor_and_by_further_examples():
    y = {"deep": [torch.ones(3, 4), 2]}
    module = Apply(lambda x, y: x + y["deep"][0] * y["deep"][1])
    shapes = ShapesCollection()
    shapes[X] = {0: ROWS}
    shapes[y["deep"][0]] = {0: ROWS}
    assert len(shapes) == 2
    assert export(module, (X, y), dynamic_shapes=shapes).module()(torch.ones(6, 4), {"deep": [torch.ones(6, 4), 2]}).shape == (6, 4)
    shapes[torch.ones(2)] = {0: ROWS}
    with pytest.raises(ValueError, match="not among"):
        export(module, (X, y), dynamic_shapes=shapes)
    more = AdditionalInputs()
    more.add((torch.ones(5, 4),))
    program = export(nn.ReLU(), (X,), dynamic_shapes=more)
    assert len(program.range_constraints) == 1
    more.verify(program)
    more.add((torch.ones(5, 5),))
    with pytest.raises(AssertionError, match="Guard"):
        more.verify(program)
