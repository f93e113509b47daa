"""Small Fourier transforms written out: the numbers of a transform are registers, and each lane is a transform of its own.

``transform`` writes any length: a product of coprime lengths as a transform of two dimensions without factors in between (Good, "The
interaction algorithm and practical Fourier analysis", 1958), another product by Cooley and Tukey's rule with constants, and a prime by its
definition, with what is symmetric computed once. It is meant for lengths up to some 31.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flambeau._codegen.ir import Builder, Value, constant

Complex = tuple[Value, Value]
"""Real and imaginary parts, of as many lanes."""


def root(n: int, power: int) -> tuple[float, float]:
    """The parts of ``exp(-2 pi i power / n)``, from an angle of at most an eighth of a turn."""
    quarters, rest = divmod(4 * (power % n), n)
    if 2 * rest > n:
        angle = math.pi * (n - rest) / (2 * n)
        c, s = math.sin(angle), math.cos(angle)
    else:
        angle = math.pi * rest / (2 * n)
        c, s = math.cos(angle), math.sin(angle) if 2 * rest < n else math.cos(angle)
    for _ in range(quarters):
        c, s = -s, c
    return c, -s


def add(f: Builder, x: Complex, y: Complex) -> Complex:
    return f.add(x[0], y[0]), f.add(x[1], y[1])


def sub(f: Builder, x: Complex, y: Complex) -> Complex:
    return f.sub(x[0], y[0]), f.sub(x[1], y[1])


def product(f: Builder, x: Complex, y: Complex) -> Complex:
    return f.fma(x[0], y[0], f.neg(f.mul(x[1], y[1]))), f.fma(x[0], y[1], f.mul(x[1], y[0]))


def turned(f: Builder, x: Complex, quarters: int) -> Complex:
    """``x`` times ``(-i) ** quarters``."""
    re, im = x
    return [(re, im), (im, f.neg(re)), (f.neg(re), f.neg(im)), (f.neg(im), re)][quarters % 4]


def _scaled(f: Builder, x: Complex, n: int, power: int) -> Complex:
    """``x`` times a constant root of one."""
    quarters, rest = divmod(4 * (power % n), n)
    x = turned(f, x, quarters)
    if not rest:
        return x
    re, im = x
    if 2 * rest == n:  # (1 - i) / sqrt(2)
        half = constant(re.type, math.sqrt(0.5))
        return f.mul(f.add(re, im), half), f.mul(f.sub(im, re), half)
    # ``rest`` quarters of a step: the root of 4 n
    c, s = root(4 * n, rest)
    return product(f, x, (constant(re.type, c), constant(re.type, s)))


def transform(f: Builder, x: Sequence[Complex]) -> list[Complex]:
    """The Fourier transform of registers: ``X[k] = sum over j of x[j] exp(-2 pi i j k / n)``."""
    n = len(x)
    if n == 1:
        return list(x)
    if n == 2:
        return [add(f, *x), sub(f, *x)]
    if n == 4:
        return _four(f, x)
    prime = next((p for p in range(2, math.isqrt(n) + 1) if n % p == 0), n)
    if prime == n:
        return _prime(f, x)
    power = prime
    while n // power % prime == 0:
        power *= prime
    return _coprime(f, x, power) if power < n else _product(f, x, 4 if prime == 2 else prime)


def _four(f: Builder, x: Sequence[Complex]) -> list[Complex]:
    even, odd = (add(f, x[0], x[2]), sub(f, x[0], x[2])), (add(f, x[1], x[3]), sub(f, x[1], x[3]))
    (re, im), (other_re, other_im) = even[1], odd[1]
    return [
        add(f, even[0], odd[0]), (f.add(re, other_im), f.sub(im, other_re)),
        sub(f, even[0], odd[0]), (f.sub(re, other_im), f.add(im, other_re)),
    ]  # fmt: skip


def _prime(f: Builder, x: Sequence[Complex]) -> list[Complex]:
    """By definition; ``x[j]`` and ``x[n - j]`` come with the same cosines, and with opposite sines."""
    n = len(x)
    half = range(1, n // 2 + 1)
    sums = [add(f, x[j], x[n - j]) for j in half]
    differences = [sub(f, x[j], x[n - j]) for j in half]
    total = x[0]
    for each in sums:
        total = add(f, total, each)
    found = [total] * n
    for k in half:
        a, b = x[0], None
        for j, (even, odd) in enumerate(zip(sums, differences, strict=True), 1):
            cosine, sine = (constant(total[0].type, each) for each in root(n, j * k))
            a = f.fma(even[0], cosine, a[0]), f.fma(even[1], cosine, a[1])
            if b is None:
                b = f.mul(odd[0], sine), f.mul(odd[1], sine)
            else:
                b = f.fma(odd[0], sine, b[0]), f.fma(odd[1], sine, b[1])
        assert b is not None
        found[k] = f.sub(a[0], b[1]), f.add(a[1], b[0])
        found[n - k] = f.add(a[0], b[1]), f.sub(a[1], b[0])
    return found


def _product(f: Builder, x: Sequence[Complex], a: int) -> list[Complex]:
    """Transforms of length ``a`` over every ``n / a``-th number, factors, and transforms of length ``n / a`` across."""
    n = len(x)
    b = n // a
    lines = [transform(f, x[j::b]) for j in range(b)]
    columns = [transform(f, [_scaled(f, lines[j][k], n, j * k) for j in range(b)]) for k in range(a)]
    return [columns[k % a][k // a] for k in range(n)]


def _coprime(f: Builder, x: Sequence[Complex], a: int) -> list[Complex]:
    n = len(x)
    b = n // a
    lines = [transform(f, [x[(b * i + a * j) % n] for i in range(a)]) for j in range(b)]
    columns = [transform(f, [lines[j][k] for j in range(b)]) for k in range(a)]
    return [columns[k % a][k % b] for k in range(n)]
