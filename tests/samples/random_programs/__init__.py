"""Programs drawn at random: lines of Python on tensors of awkward shapes, strides, dtypes and values, which run on any package with PyTorch's names.

A program is a list of lines such as ``v3 = torch.add(v0, given(7, (2, 1), 'float16'))``, so that what goes wrong can be read, cut down and run by itself. While it is
written, its lines run on the package that writes it, which tells the shapes; a line that raises an error stays in the program, marked as one that fails.
"""

from __future__ import annotations

from tests.samples.random_programs.writer import Run as Run
from tests.samples.random_programs.writer import Writer as Writer
