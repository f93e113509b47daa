"""Sobol sequences: points that fill a cube more evenly than random ones do."""

from __future__ import annotations

from typing import Any

import numpy

import flambeau
from flambeau import Tensor

__all__ = ["SobolEngine"]


class SobolEngine:
    """A Sobol sequence in ``[0, 1)`` to the power of ``dimension`` (Joe and Kuo 2008, whose direction numbers SciPy brings along).

    Point ``n`` is the exclusive or of the direction numbers at which the Gray code of ``n`` has a bit, as fractions of 30 bits.

    Args:
        dimension: of the points, 1 to :attr:`MAXDIM`.
        scramble: whether the sequence is randomised: the bits of each direction number are multiplied by a random lower triangular matrix, and all points
            are shifted (Owen 1998; Matoušek 1998).
        seed: of what scrambling draws; ``None`` draws from the default generator.

    Raises:
        ValueError: there are no sequences of that dimension.
        ImportError: SciPy is not there.

    Example:
        >>> flambeau.quasirandom.SobolEngine(dimension=2).draw(3)
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000],
                [0.7500, 0.2500]])
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}], got {dimension}")
        self.seed, self.scramble, self.dimension = seed, scramble, dimension
        self.sobolstate = flambeau.from_numpy(_direction_numbers(dimension, self.MAXBIT))
        self.shift = flambeau.zeros(dimension, dtype=flambeau.long)
        if scramble:
            self._scramble()
        self.quasi = self.shift.clone()
        self.num_generated = 0

    def _scramble(self) -> None:
        generator = None if self.seed is None else flambeau.Generator().manual_seed(self.seed)
        bits = self.MAXBIT
        shifts = flambeau.randint(2, (self.dimension, bits), generator=generator).numpy()
        matrices = flambeau.randint(2, (self.dimension, bits, bits), generator=generator).numpy()
        lower = numpy.tril(matrices, -1) + numpy.eye(bits, dtype=matrices.dtype)
        places = numpy.arange(bits)  # bit 0 of a shift is the last one, row 0 of a matrix makes the first one
        self.shift = flambeau.from_numpy((shifts << places).sum(axis=1))
        numbers = self.sobolstate.numpy()
        of_numbers = numbers[:, None, :] >> (bits - 1 - places)[:, None] & 1
        self.sobolstate = flambeau.from_numpy(((lower @ of_numbers & 1) << (bits - 1 - places)[:, None]).sum(axis=1))

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next points.

        Args:
            n: how many.
            out: a tensor to write them into.
            dtype: of the points; the default dtype if left out.

        Returns:
            A tensor of shape ``(n, dimension)``.
        """
        dtype = flambeau.get_default_dtype() if dtype is None else dtype
        codes = numpy.arange(self.num_generated, self.num_generated + n)
        points = self._points(codes)
        if n:
            self.quasi = flambeau.from_numpy(points[-1].copy())
        self.num_generated += n
        result = flambeau.from_numpy(points).to(dtype) * 2.0**-self.MAXBIT
        if out is None:
            return result
        return out.resize_(result.shape).copy_(result)

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next ``2**m`` points, of which all that were drawn must be a power of two: only then are they balanced.

        Raises:
            ValueError: together with those drawn before they would be another number.
        """
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                f"draw_base2({m}): Sobol points are balanced if their number is a power of 2; {self.num_generated} were drawn before, "
                f"which makes {total}. Use draw({n}) if that is meant."
            )
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Begin again with the first point."""
        self.quasi, self.num_generated = self.shift.clone(), 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Skip so many points."""
        self.num_generated += n
        if self.num_generated:
            self.quasi = flambeau.from_numpy(self._points(numpy.array([self.num_generated - 1]))[0])
        return self

    def _points(self, numbers: Any) -> Any:
        """The points of those numbers, as whole numbers of 30 bits."""
        codes, directions = numbers ^ numbers >> 1, self.sobolstate.numpy()
        points = numpy.repeat(self.shift.numpy()[None], len(codes), axis=0)
        for bit in range(int(codes.max(initial=0)).bit_length()):
            points[codes >> bit & 1 == 1] ^= directions[:, bit]
        return points

    def __repr__(self) -> str:
        details = [f"dimension={self.dimension}"] + ["scramble=True"] * self.scramble + [f"seed={self.seed}"] * (self.seed is not None)
        return f"{type(self).__name__}({', '.join(details)})"


def _direction_numbers(dimension: int, bits: int) -> Any:
    try:
        from scipy.stats import qmc
    except ImportError:
        raise ImportError('quasirandom.SobolEngine needs SciPy: pip install "flambeau[scipy]"') from None
    return qmc.Sobol(dimension, scramble=False, bits=bits)._sv.astype(numpy.int64)
