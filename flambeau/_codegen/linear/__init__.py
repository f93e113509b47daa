"""Kernels of linear algebra: LU, Cholesky and QR decompositions, triangular systems and eigenvalues, of real matrices.

A matrix lies in memory column after column, so that lanes go down the rows, and each column begins at a multiple of a vector: ``columns.py``
has what all kernels do with such matrices. Up to ``BLOCK`` columns (a *panel*) are decomposed one after the other; what a panel does to the columns
behind it are products of matrices, by the micro-kernels of contractions. See ``docs/design/0012-linear-algebra.md``.
"""

from __future__ import annotations

from flambeau._codegen.linear.cholesky import cholesky as cholesky
from flambeau._codegen.linear.columns import BLOCK as BLOCK
from flambeau._codegen.linear.columns import Structure as Structure
from flambeau._codegen.linear.columns import pitch as pitch
from flambeau._codegen.linear.lu import lu as lu
from flambeau._codegen.linear.lu import permutation as permutation
from flambeau._codegen.linear.merging import RESULTS as RESULTS
from flambeau._codegen.linear.merging import merge as merge
from flambeau._codegen.linear.reflections import TOGETHER as TOGETHER
from flambeau._codegen.linear.reflections import qr as qr
from flambeau._codegen.linear.reflections import reflection as reflection
from flambeau._codegen.linear.substitution import substitution as substitution
from flambeau._codegen.linear.tridiagonal import GROUP as GROUP
from flambeau._codegen.linear.tridiagonal import tridiagonal as tridiagonal
