from __future__ import annotations

import numpy as np
import pytest

from flambeau._codegen import scalar
from flambeau._types import dtype as types

OPERATORS = {"sum": "add", "prod": "mul", "max": "maximum", "min": "minimum"}


@pytest.mark.parametrize("of", types.DTYPES, ids=repr)
@pytest.mark.parametrize("reduction", OPERATORS)
def test_combining_with_the_identity_changes_nothing(reduction, of):
    if of.category == 3 and reduction in ("max", "min"):
        with pytest.raises(TypeError, match=rf"{reduction} is not defined for {of!r}"):
            scalar.identity(reduction, of)
        return
    number = scalar.identity(reduction, of)
    identity = scalar.convert(np.array([number]), types.float64, of) if isinstance(number, float) else np.array([number]).astype(of.numpy)
    if of.category > 1 and not isinstance(number, float):
        identity = scalar.convert(np.array([number]), types.int64, of)
    values = scalar.convert(np.array([0, 1, 3], np.int64), types.int64, of)
    got = scalar.OPS[OPERATORS[reduction]].reference(of, values, np.repeat(identity, 3))
    np.testing.assert_array_equal(got, values)


def test_any_and_all():
    assert not scalar.identity("any", types.bool)
    assert scalar.identity("all", types.bool)
