"""Inputs on which rounding shows, for `python -m parity.accuracy`: long sums, large means, large logits, functions over their whole domains.

PyTorch's own samples are small and tame. Each case here stands beside its operators, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.testing._internal.opinfo.core import SampleInput

F = torch.nn.functional
HALVES = (torch.bfloat16, torch.float16)
COUNT = 4096
"""Elements of a row or of a domain."""


@dataclass
class HardCase:
    """What the tool asks of an entry of PyTorch's test data: a function, and its samples, drawn anew each time.

    Attributes:
        draw: gives the arguments of each call, in float64; they are rounded to the dtype
        exact: the function in double precision, where PyTorch's is not
        half: whether bfloat16 and float16 make sense as well
        complex: whether the arguments are complex
    """

    formatted_name: str
    op: Callable[..., Any]
    draw: Callable[[], Iterator[tuple]]
    exact: Callable[..., Any] | None = None
    half: bool = False
    complex: bool = False
    supports_autograd: bool = True

    def supported_dtypes(self, device: str) -> set[torch.dtype]:
        if self.complex:
            return {torch.complex64, torch.complex128}
        return {torch.float32, *(HALVES if self.half else ()), *(() if self.exact else (torch.float64,))}

    supported_backward_dtypes = supported_dtypes

    def sample_inputs(self, device: str, dtype: torch.dtype, requires_grad: bool = False, set_seed: bool = False) -> Iterator[SampleInput]:
        def rounded(value: Any) -> Any:
            if isinstance(value, torch.Tensor) and value.dtype in (torch.float64, torch.complex128):
                return value.to(dtype).requires_grad_(requires_grad)
            return value

        for each in self.draw():
            first, *args = map(rounded, each)
            yield SampleInput(first, args=tuple(args))


def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape or (COUNT,), dtype=torch.float64)


def powers(low: float, high: float, both: bool = True) -> torch.Tensor:
    """Magnitudes whose logarithms are uniform, of one sign or of both."""
    size = torch.exp(uniform(float(np.log(low)), float(np.log(high))))
    return size * (torch.rand(COUNT) < 0.5).double().mul(2).sub(1) if both else size


def normal(*shape: int, mean: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64) * scale + mean


def _domains() -> Iterator[HardCase]:
    """Elementwise functions where their results are neither 0 nor infinite, dense about what is near."""
    near, wide = lambda: uniform(-2, 2), lambda: uniform(-20, 20)
    positive, unit = lambda: uniform(1e-3, 5), lambda: uniform(-1, 1)
    table: dict[str, tuple[Callable[[], torch.Tensor], ...]] = {
        "exp": (near, lambda: uniform(-80, 80)), "exp2": (near, lambda: uniform(-120, 120)), "expm1": (near, lambda: uniform(-10, 80), lambda: powers(1e-6, 1)),
        "log": (lambda: uniform(0.5, 2), lambda: powers(1e-35, 1e35, False)), "log2": (lambda: uniform(0.5, 2), lambda: powers(1e-35, 1e35, False)),
        "log10": (lambda: uniform(0.5, 2), lambda: powers(1e-35, 1e35, False)), "log1p": (lambda: uniform(-0.99, 2), lambda: powers(1e-6, 0.9)),
        "sigmoid": (near, wide), "tanh": (near, lambda: powers(1e-4, 9)), "sinh": (near, wide), "cosh": (near, wide),
        "asinh": (near, lambda: powers(1e-4, 1e30)), "acosh": (lambda: uniform(1.01, 3), lambda: powers(1.1, 1e30, False)), "atanh": (lambda: uniform(-0.99, 0.99), lambda: powers(1e-5, 0.5)),
        "sin": (near, lambda: uniform(-1e4, 1e4)), "cos": (near, lambda: uniform(-1e4, 1e4)), "tan": (near, lambda: uniform(-1e4, 1e4)),
        "asin": (lambda: uniform(-0.99, 0.99), lambda: powers(1e-5, 0.9)), "acos": (lambda: uniform(-0.99, 0.99), lambda: powers(1e-5, 0.9)), "atan": (near, lambda: powers(1e-4, 1e6)),
        "erf": (near, lambda: powers(1e-4, 4)), "erfc": (near, lambda: uniform(-4, 9)), "erfinv": (lambda: uniform(-0.99, 0.99), lambda: powers(1e-5, 0.9)),
        "rsqrt": (positive,), "sqrt": (positive,), "reciprocal": (positive,), "lgamma": (lambda: uniform(3, 100),), "digamma": (lambda: uniform(2, 100),),
        "logit": (lambda: uniform(0.01, 0.4),), "special.ndtri": (lambda: uniform(0.01, 0.45),), "special.entr": (positive,), "special.log_ndtr": (wide,), "special.erfcx": (lambda: uniform(-2, 30),),
        "special.i0": (wide,), "special.i0e": (wide,), "special.i1": (wide,), "special.i1e": (wide,), "special.sinc": (unit,),
        "nn.functional.gelu": (lambda: uniform(-3, 5),), "nn.functional.silu": (wide, near), "nn.functional.mish": (wide, near), "nn.functional.softplus": (wide, near),
        "nn.functional.elu": (wide, near), "nn.functional.selu": (wide, near), "nn.functional.logsigmoid": (wide, near), "nn.functional.hardswish": (near,),
    }  # fmt: skip
    for name, draws in table.items():
        yield HardCase(f"{name} (domain)", _function(name), lambda draws=draws: ((draw(),) for draw in draws))
    pairs: dict[str, Callable[[], tuple]] = {
        "atan2": lambda: (near(), near()), "hypot": lambda: (near(), near()), "pow": lambda: (positive(), wide()), "logaddexp": lambda: (wide(), wide()),
        "xlogy": lambda: (near(), positive()), "special.xlog1py": lambda: (near(), positive()), "fmod": lambda: (wide(), positive()), "remainder": lambda: (wide(), positive()),
        "addcdiv": lambda: (near(), near(), positive()), "lerp": lambda: (near(), near(), uniform(0, 1)),
    }  # fmt: skip
    for name, draw in pairs.items():
        yield HardCase(f"{name} (domain)", _function(name), lambda draw=draw: iter((draw(),)))


def _planes() -> Iterator[HardCase]:
    """Functions of complex numbers near the unit circle, and of magnitudes far from it."""
    near = lambda: torch.complex(uniform(-2, 2), uniform(-2, 2))
    apart = lambda: torch.complex(powers(1e-4, 20), powers(1e-4, 20))
    for name in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "sigmoid", "abs", "angle", "sgn",
        "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    ):  # fmt: skip
        yield HardCase(f"{name} (plane)", _function(name), lambda: iter(((near(),), (apart(),))), complex=True)
    for name in ("mul", "div", "pow"):
        yield HardCase(f"{name} (plane)", _function(name), lambda: iter(((near(), near()), (apart(), near()))), complex=True)
    for exponent in (2, 3, -1, 0.5, -2, 7, 2.5):
        yield HardCase(
            f"pow {exponent} (plane)", torch.pow, lambda exponent=exponent: iter(((near(), exponent), (apart(), exponent))), complex=True
        )
    for name in ("sum", "mean", "prod", "cumsum"):
        rows = lambda: torch.complex(normal(8, COUNT), normal(8, COUNT))
        scale = 1 if name != "prod" else 0.78
        yield HardCase(f"{name} (complex)", _function(name), lambda rows=rows, scale=scale: iter(((rows() * scale, -1),)), complex=True)


def _against_scipy() -> Iterator[HardCase]:
    """Functions whose double precision in PyTorch is not exact enough to judge float32 by it."""
    for name, partner, low in (
        ("bessel_j0", "j0", -30), ("bessel_j1", "j1", -30), ("bessel_y0", "y0", 0.1), ("bessel_y1", "y1", 0.1), ("modified_bessel_k0", "k0", 0.1),
        ("modified_bessel_k1", "k1", 0.1), ("modified_bessel_i0", "i0", -30), ("modified_bessel_i1", "i1", -30), ("airy_ai", "airy", -5),
        ("spherical_bessel_j0", "spherical_jn", 0.1),
    ):  # fmt: skip
        high = 5 if name == "airy_ai" else 30
        yield HardCase(
            f"special.{name} (domain)", _function(f"special.{name}"), lambda low=low, high=high: iter(((uniform(low, high),),)),
            exact=lambda x, partner=partner: torch.from_numpy(_scipy(partner, x.numpy())), supports_autograd=False,
        )  # fmt: skip


def _scipy(name: str, x: np.ndarray) -> np.ndarray:
    import scipy.special

    function = getattr(scipy.special, name)
    return {"airy": lambda: function(x)[0], "spherical_jn": lambda: function(0, x)}.get(name, lambda: function(x))()


def _rows(count: int = COUNT) -> Iterator[tuple[str, Callable[[], torch.Tensor]]]:
    """Rows of numbers that are hard to add: of both signs, of one sign, far from 0, far from each other."""
    yield "normal", lambda: normal(16, count)
    yield "positive", lambda: uniform(0, 1, 16, count)
    yield "mean 1000", lambda: normal(16, count, mean=1e3)
    yield "scale 1e18", lambda: normal(16, count, scale=1e18)


def _reductions() -> Iterator[HardCase]:
    one_dim: dict[str, Callable[..., Any]] = {
        "sum": torch.sum, "mean": torch.mean, "var": torch.var, "std": torch.std, "logsumexp": torch.logsumexp, "cumsum": torch.cumsum,
        "softmax": torch.softmax, "log_softmax": torch.log_softmax, "logcumsumexp": torch.logcumsumexp,
    }  # fmt: skip
    for name, function in one_dim.items():
        for what, draw in _rows():
            half = name in ("sum", "mean", "softmax", "log_softmax") and "1e18" not in what
            if "exp" in name and "1e18" in what:
                continue
            yield HardCase(f"{name} ({what})", function, lambda draw=draw: iter(((draw(), -1), (draw().t().contiguous(), 0))), half=half)
    for what, draw in _rows():
        yield HardCase(f"linalg.vector_norm ({what})", torch.linalg.vector_norm, lambda draw=draw: iter(((draw(), 2, -1), (draw(), 1, 0))))
    for scale in (10, 1e3, 1e5):
        logits = lambda scale=scale: normal(16, 1000, scale=scale)
        for name in ("softmax", "log_softmax", "logsumexp"):
            yield HardCase(f"{name} (logits of {scale:g})", one_dim[name], lambda logits=logits: iter(((logits(), -1),)), half=scale < 1e4)
        yield HardCase(
            f"cross_entropy (logits of {scale:g})",
            F.cross_entropy,
            lambda logits=logits: iter(((logits(), torch.randint(1000, (16,))),)),
            half=scale < 1e4,
        )
    for name in ("sum", "mean"):
        yield HardCase(f"{name} (1e8 terms)", _function(name), lambda: iter(((torch.rand(10**8),),)), supports_autograd=False)
        yield HardCase(f"{name} (1e7 terms)", _function(name), lambda: iter(((uniform(0, 1, 10**7),),)), supports_autograd=False)
    yield HardCase("cumsum (1e6 terms)", torch.cumsum, lambda: iter(((uniform(0, 1, 10**6), 0),)), supports_autograd=False)
    yield HardCase("prod (1000 terms)", torch.prod, lambda: iter(((uniform(0.9, 1.1, 16, 1000), -1),)))


def _affine(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    return uniform(0.5, 1.5, size), normal(size)


def _norms() -> Iterator[HardCase]:
    for mean in (0.0, 30.0, 1e4):

        def images(mean: float = mean) -> torch.Tensor:
            return normal(8, 32, 14, 14, mean=mean)

        half = mean < 100
        table: dict[str, tuple[Callable[..., Any], Callable[[], tuple]]] = {
            "layer_norm": (F.layer_norm, lambda mean=mean: (normal(64, 768, mean=mean), (768,), *_affine(768))),
            "rms_norm": (F.rms_norm, lambda mean=mean: (normal(64, 768, mean=mean), (768,), uniform(0.5, 1.5, 768))),
            "group_norm": (F.group_norm, lambda images=images: (images(), 8, *_affine())),
            "instance_norm": (F.instance_norm, lambda images=images: (images(), None, None, *_affine())),
            "batch_norm": (F.batch_norm, lambda images=images: (images(), None, None, *_affine(), True)),
            "batch_norm channels last": (
                F.batch_norm, lambda images=images: (images().to(memory_format=torch.channels_last), None, None, *_affine(), True),
            ),
        }  # fmt: skip
        for name, (function, draw) in table.items():
            yield HardCase(f"{name} (mean {mean:g})", function, lambda draw=draw: iter((draw(),)), half=half)


def _products() -> Iterator[HardCase]:
    for what, draw in (("normal", normal), ("positive", lambda *shape: uniform(0, 1, *shape))):
        table: dict[str, tuple[Callable[..., Any], Callable[[], tuple]]] = {
            "mm": (torch.mm, lambda draw=draw: (draw(64, 1024), draw(1024, 48))),
            "mv": (torch.mv, lambda draw=draw: (draw(64, 300), draw(300))),
            "mv few": (torch.mv, lambda draw=draw: (draw(64, 10), draw(10))),
            "linear": (F.linear, lambda draw=draw: (draw(32, 512), draw(64, 512), draw(64))),
            "conv2d": (F.conv2d, lambda draw=draw: (draw(2, 32, 14, 14), draw(16, 32, 3, 3))),
            "dot": (torch.dot, lambda draw=draw: (draw(COUNT), draw(COUNT))),
            "attention": (F.scaled_dot_product_attention, lambda draw=draw: (draw(2, 2, 64, 32), draw(2, 2, 64, 32), draw(2, 2, 64, 32))),
        }  # fmt: skip
        for name, (function, arguments) in table.items():
            yield HardCase(f"{name} ({what})", function, lambda arguments=arguments: iter((arguments(),)), half=True)


def _function(name: str) -> Callable[..., Any]:
    found: Any = torch
    for part in name.split("."):
        found = getattr(found, part)
    return found


def hard_cases() -> dict[str, HardCase]:
    """All of them, by name."""
    families = (_domains, _planes, _against_scipy, _reductions, _norms, _products)
    return {case.formatted_name: case for family in families for case in family()}
