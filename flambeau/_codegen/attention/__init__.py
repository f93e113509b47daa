"""Attention: softmax(q kᵀ) v and its gradients without the matrix of scores (``docs/design/0007-attention.md``)."""

from __future__ import annotations

from flambeau._codegen.attention.plan import Call as Call
from flambeau._codegen.attention.plan import Extents as Extents
from flambeau._codegen.attention.plan import Operand as Operand
from flambeau._codegen.attention.plan import backward as backward
from flambeau._codegen.attention.plan import forward as forward
