"""Places that are numbered as they are found: where a condition holds, and triangles. Kernels in the language of ``numbers.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

_SOURCE = '''
def find(mask: uint8, rows: int64, columns: int64, height: int, width: int) -> int:
    """How often a matrix is true, and where. The next place is written whether it holds or not: a branch would often be mistaken."""
    found = 0
    for row in range(height):
        begin = row * width
        for column in range(width):
            rows[found] = row
            columns[found] = column
            found += mask[begin + column]
    return found


def split(flat: int64, above: int64, within: int64, size: int, count: int) -> int:
    """Positions that rise as the number of a row of so many and the place in it. Most have the row of the one before: then nothing is divided."""
    row = 0
    begin = 0
    for i in range(count):
        place = flat[i]
        if place >= begin + size:
            row = place // size
            begin = row * size
        above[i] = row
        within[i] = place - begin
    return 0


def select(mask: uint8, source: element, target: element, count: int) -> int:
    """The elements of a vector where a condition holds, one behind the other; returns how many there are."""
    found = 0
    for i in range(count):
        target[found] = source[i]
        found += mask[i]
    return found


def insert(mask: uint8, source: element, target: element, count: int, available: int) -> int:
    """Overwrite a vector by the elements of another one, in order, where a condition holds; returns how many, -1 if there are too few."""
    found = 0
    for i in range(count):
        if mask[i] != 0:
            if found == available:
                return -1
            target[i] = source[found]
            found += 1
    return found


def triangle(target: int64, rows: int, columns: int, offset: int, upper: int, count: int) -> int:
    """The rows, and ``count`` further on the columns, of a matrix's elements up to the diagonal ``offset``, or from it on."""
    found = 0
    for row in range(rows):
        edge = row + offset + (1 - upper)
        edge = 0 if edge < 0 else edge
        edge = columns if edge > columns else edge
        begin = edge if upper != 0 else 0
        end = columns if upper != 0 else edge
        for column in range(begin, end):
            target[found] = row
            target[count + found] = column
            found += 1
    return found


def runs(line: element, values: element, first: int64, inverse: int64, count: int) -> int:
    """The first element of each run of equal ones, where it stands, and the run of each element; ``first`` has room for the end, too."""
    found = 0
    for i in range(count):
        if i == 0 or line[i] != line[i - 1]:
            values[found] = line[i]
            first[found] = i
            found += 1
        inverse[i] = found - 1
    first[found] = count
    return found


def bound(numbers: int64, count: int) -> int:
    """One more than the largest number; -1 if one is negative."""
    largest = -1
    lowest = 0
    for i in range(count):
        largest = numbers[i] if numbers[i] > largest else largest
        lowest = numbers[i] if numbers[i] < lowest else lowest
    return largest + 1 if lowest == 0 else -1


def tally(numbers: int64, counts: int64, count: int, size: int) -> int:
    for i in range(size):
        counts[i] = 0
    for i in range(count):
        counts[numbers[i]] = counts[numbers[i]] + 1
    return 0


def weigh(numbers: int64, weights: element, sums: element, count: int, size: int) -> int:
    for i in range(size):
        sums[i] = 0
    for i in range(count):
        sums[numbers[i]] = sums[numbers[i]] + weights[i]
    return 0
'''


@cache
def kernel(name: str, element: str = "uint8") -> Callable[..., int]:
    """One of the functions above, of addresses and numbers; what is ``element`` in it has a dtype of the language, or of as many bytes."""
    from flambeau._runtime import numbers

    return numbers.build(_SOURCE.replace("element", element), name)
