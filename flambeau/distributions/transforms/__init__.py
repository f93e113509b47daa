"""Invertible functions of random variables, with the logarithms of their Jacobian determinants.

``transform(x)`` is the value, ``transform.inv(y)`` goes back, ``transform.log_abs_det_jacobian(x, y)`` has the shape of the batch.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms
"""

from __future__ import annotations

from flambeau.distributions.transforms.elementwise import (
    AbsTransform,
    AffineTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    SoftplusTransform,
    TanhTransform,
)
from flambeau.distributions.transforms.shape import CatTransform, IndependentTransform, ReshapeTransform, StackTransform
from flambeau.distributions.transforms.transform import ComposeTransform, Transform, identity_transform
from flambeau.distributions.transforms.transform import _InverseTransform as _InverseTransform
from flambeau.distributions.transforms.vectors import (
    CorrCholeskyTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    SoftmaxTransform,
    StickBreakingTransform,
)

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform", "CumulativeDistributionTransform", "ExpTransform",
    "IndependentTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform",
    "SoftmaxTransform", "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform", "identity_transform",
]  # fmt: skip
